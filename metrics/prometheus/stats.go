package prometheus

import (
	client "github.com/prometheus/client_golang/prometheus"

	"github.com/cacheplugin/cacheplugin"
)

// stat is one of the plugin's counters.
type stat struct {
	desc  *client.Desc
	value func(cacheplugin.Stats) int64
}

// Stats collects the plugin's own counters. They tell of no tables and cost
// nothing between two scrapes: use it where Metrics is too much, or beside it.
type Stats struct {
	read  func() cacheplugin.Stats
	stats []stat
}

var _ client.Collector = (*Stats)(nil)

// NewStats returns a Collector of what read returns, in practice the method
// Stats of a plugin:
//
//	registry.MustRegister(prometheus.NewStats(plugin.Stats, prometheus.Options{}))
//
// Of the options it takes Namespace and ConstLabels.
func NewStats(read func() cacheplugin.Stats, o Options) *Stats {
	o = o.withDefaults()
	s := &Stats{read: read}
	add := func(name, help string, value func(cacheplugin.Stats) int64) {
		s.stats = append(s.stats, stat{client.NewDesc(client.BuildFQName(o.Namespace, "stats", name+"_total"), help, nil, o.ConstLabels), value})
	}
	add("hits", "Queries that were answered from the cache.", func(s cacheplugin.Stats) int64 { return s.Hits })
	add("near_hits", "Hits out of the process's own memory.", func(s cacheplugin.Stats) int64 { return s.NearHits })
	add("near_validated", "Hits out of the process's own memory that Redis had confirmed.", func(s cacheplugin.Stats) int64 { return s.NearValidated })
	add("misses", "Queries that could have been answered from the cache.", func(s cacheplugin.Stats) int64 { return s.Misses })
	add("stores", "Results that were stored.", func(s cacheplugin.Stats) int64 { return s.Stores })
	add("skips", "Queries that were not looked up or not stored.", func(s cacheplugin.Stats) int64 { return s.Skips })
	add("refused", "Results that were not stored because what they depend on was invalidated while they were read.", func(s cacheplugin.Stats) int64 { return s.Refused })
	add("overflowed", "Results that were not stored because the store queue was full.", func(s cacheplugin.Stats) int64 { return s.Overflowed })
	add("invalidations", "Tables that were dropped from.", func(s cacheplugin.Stats) int64 { return s.Invalidations })
	add("dropped", "Results that invalidations have dropped.", func(s cacheplugin.Stats) int64 { return s.Dropped })
	add("queued", "Invalidations that had to be queued.", func(s cacheplugin.Stats) int64 { return s.Queued })
	add("repaired", "Tables that were invalidated out of the outbox.", func(s cacheplugin.Stats) int64 { return s.Repaired })
	add("followed", "Tables that a follower in this process has invalidated.", func(s cacheplugin.Stats) int64 { return s.Followed })
	add("shadow_reads", "Hits that were checked against the database.", func(s cacheplugin.Stats) int64 { return s.ShadowReads })
	add("stale", "Checked hits that were stale.", func(s cacheplugin.Stats) int64 { return s.Stale })
	add("errors", "Errors of Redis and of the catalog.", func(s cacheplugin.Stats) int64 { return s.Errors })
	return s
}

// Describe implements prometheus.Collector.
func (s *Stats) Describe(ch chan<- *client.Desc) {
	for _, stat := range s.stats {
		ch <- stat.desc
	}
}

// Collect implements prometheus.Collector.
func (s *Stats) Collect(ch chan<- client.Metric) {
	now := s.read()
	for _, stat := range s.stats {
		ch <- client.MustNewConstMetric(stat.desc, client.CounterValue, float64(stat.value(now)))
	}
}
