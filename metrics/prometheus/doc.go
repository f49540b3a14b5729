// Package prometheus exports what the plugin does as Prometheus metrics.
//
// Metrics is both an Observer, which the plugin tells of every look-up, store
// and invalidation, and a Collector, which a registry asks:
//
//	metrics := prometheus.New(prometheus.Options{})
//	registry.MustRegister(metrics)
//	plugin := cacheplugin.New(cacheplugin.Config{Observer: metrics, ...})
//
// The number of series is bounded, whatever names and reasons come along; see
// Options. It is a module of its own, so that nobody else needs Prometheus'
// client.
package prometheus
