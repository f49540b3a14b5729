package prometheus

import (
	"context"
	"errors"
	"slices"
	"strings"

	client "github.com/prometheus/client_golang/prometheus"

	"github.com/cacheplugin/cacheplugin"
	"github.com/cacheplugin/cacheplugin/internal/store"
)

// The defaults of Options.
const (
	DefaultNamespace  = "cacheplugin"
	DefaultMaxTables  = 100
	DefaultMaxReasons = 50
)

// Options configure the metrics. The zero value is fine.
type Options struct {
	// Namespace is what the metrics' names begin with.
	//
	// Defaults to "cacheplugin".
	Namespace string

	// ConstLabels are put on every metric, to tell apart plugins that share a
	// registry.
	ConstLabels client.Labels

	// MaxTables is the number of tables that have series of their own: the
	// first that are met. All others are counted as "other".
	//
	// Defaults to 100.
	MaxTables int

	// MaxReasons is the number of reasons of skips, and of errors, that have
	// series of their own.
	//
	// Defaults to 50.
	MaxReasons int

	// DurationBuckets are the bounds of the histograms of durations, in
	// seconds.
	//
	// Defaults to 50 microseconds and its doubles, up to 1.6 seconds.
	DurationBuckets []float64
}

func (o Options) withDefaults() Options {
	if o.Namespace == "" {
		o.Namespace = DefaultNamespace
	}
	if o.MaxTables == 0 {
		o.MaxTables = DefaultMaxTables
	}
	if o.MaxReasons == 0 {
		o.MaxReasons = DefaultMaxReasons
	}
	if o.DurationBuckets == nil {
		o.DurationBuckets = client.ExponentialBuckets(50e-6, 2, 16)
	}
	return o
}

// Metrics counts the plugin's events. It is an Observer and a Collector, safe
// for concurrent use. Give each plugin one of its own only if their series are
// to be told apart by ConstLabels.
type Metrics struct {
	tables, skipReasons, errorReasons labels

	lookups, nearHits, stores, skips, invalidations, dropped, shadowReads, stale, errors *client.CounterVec
	refused, queued, repaired, followed                                                  client.Counter
	lookupSeconds, invalidationSeconds                                                   *client.HistogramVec
	storeSeconds, resultBytes, resultRows, followLag                                     client.Histogram

	all []client.Collector
}

var (
	_ cacheplugin.Observer = (*Metrics)(nil)
	_ client.Collector     = (*Metrics)(nil)
)

// New returns metrics to be registered and to be given to Config.Observer.
func New(o Options) *Metrics {
	o = o.withDefaults()
	m := &Metrics{}
	m.tables.max = int64(o.MaxTables)
	m.skipReasons.max, m.errorReasons.max = int64(o.MaxReasons), int64(o.MaxReasons)

	counters := func(name, help string, labels ...string) *client.CounterVec {
		v := client.NewCounterVec(client.CounterOpts{Namespace: o.Namespace, Name: name, Help: help, ConstLabels: o.ConstLabels}, labels)
		m.all = append(m.all, v)
		return v
	}
	counter := func(name, help string) client.Counter {
		c := client.NewCounter(client.CounterOpts{Namespace: o.Namespace, Name: name, Help: help, ConstLabels: o.ConstLabels})
		m.all = append(m.all, c)
		return c
	}
	histograms := func(name, help string, buckets []float64, labels ...string) *client.HistogramVec {
		v := client.NewHistogramVec(client.HistogramOpts{Namespace: o.Namespace, Name: name, Help: help, ConstLabels: o.ConstLabels, Buckets: buckets}, labels)
		m.all = append(m.all, v)
		return v
	}
	histogram := func(name, help string, buckets []float64) client.Histogram {
		h := client.NewHistogram(client.HistogramOpts{Namespace: o.Namespace, Name: name, Help: help, ConstLabels: o.ConstLabels, Buckets: buckets})
		m.all = append(m.all, h)
		return h
	}

	m.lookups = counters("lookups_total", "Queries that were answered from the cache (hit), that could have been (miss), and that were not cached for a reason (skip).", "table", "op", "result")
	m.nearHits = counters("near_hits_total", "Hits out of the process's own memory: confirmed by Redis (validated), or without asking it (bounded).", "table", "grade")
	m.stores = counters("stores_total", "Results that were stored.", "table", "op")
	m.skips = counters("skips_total", "Queries that were not looked up or not stored, by reason.", "reason")
	m.refused = counter("refused_total", "Results that were not stored because what they depend on was invalidated while they were read.")
	m.invalidations = counters("invalidations_total", "Invalidations of a table, as a whole (whole) or of the conjunctions of the rows that changed (keys).", "table", "scope")
	m.dropped = counters("dropped_total", "Results that invalidations have dropped; a whole table counts as one.", "table")
	m.errors = counters("errors_total", "Errors of Redis and of the catalog that queries and writes went on without.", "reason")
	m.queued = counter("queued_total", "Invalidations that did not get through to Redis and were queued.")
	m.repaired = counter("repaired_total", "Tables that were invalidated out of the outbox, for a writer that had died or could not reach Redis.")
	m.followed = counter("followed_total", "Tables that a follower in this process has invalidated, for what its database's log had.")
	m.followLag = histogram("follow_lag_seconds", "How long after their commit changes were told of that a follower has read in the log.", client.ExponentialBuckets(1e-3, 2, 16))
	m.shadowReads = counters("shadow_reads_total", "Hits that shadow reads have checked against the database.", "table")
	m.stale = counters("stale_total", "Results that shadow reads found to be stale.", "table")
	m.lookupSeconds = histograms("lookup_duration_seconds", "How long look-ups took, without the database.", o.DurationBuckets, "result")
	m.storeSeconds = histogram("store_duration_seconds", "How long it took to store a result.", o.DurationBuckets)
	m.invalidationSeconds = histograms("invalidation_duration_seconds", "How long invalidations took; those of one commit are one and count for each table.", o.DurationBuckets, "scope")
	m.resultBytes = histogram("result_bytes", "Size of the results that were stored.", client.ExponentialBuckets(64, 4, 11))
	m.resultRows = histogram("result_rows", "Rows of the results that were stored.", slices.Concat([]float64{0}, client.ExponentialBuckets(1, 4, 9)))
	return m
}

// Describe implements prometheus.Collector.
func (m *Metrics) Describe(ch chan<- *client.Desc) {
	for _, c := range m.all {
		c.Describe(ch)
	}
}

// Collect implements prometheus.Collector.
func (m *Metrics) Collect(ch chan<- client.Metric) {
	for _, c := range m.all {
		c.Collect(ch)
	}
}

// Observe implements cacheplugin.Observer.
func (m *Metrics) Observe(_ context.Context, e cacheplugin.Event) {
	switch e.Kind {
	case cacheplugin.EventHit, cacheplugin.EventMiss:
		result := e.Kind.String()
		m.lookups.WithLabelValues(m.tables.value(e.Table), e.Op.String(), result).Inc()
		m.lookupSeconds.WithLabelValues(result).Observe(e.Duration.Seconds())
		switch {
		case e.Validated:
			m.nearHits.WithLabelValues(m.tables.value(e.Table), "validated").Inc()
		case e.Near:
			m.nearHits.WithLabelValues(m.tables.value(e.Table), "bounded").Inc()
		}
	case cacheplugin.EventSkip:
		m.skips.WithLabelValues(m.skipReasons.value(reason(e.Reason))).Inc()
		if e.Reason == cacheplugin.ReasonRefused {
			m.refused.Inc()
		}
		if !e.Unstored { // else it was counted as a miss
			m.lookups.WithLabelValues(m.tables.value(e.Table), e.Op.String(), "skip").Inc()
		}
	case cacheplugin.EventStore:
		m.stores.WithLabelValues(m.tables.value(e.Table), e.Op.String()).Inc()
		m.storeSeconds.Observe(e.Duration.Seconds())
		m.resultBytes.Observe(float64(e.Bytes))
		m.resultRows.Observe(float64(e.Rows))
	case cacheplugin.EventInvalidate:
		scope := "keys"
		if e.Whole {
			scope = "whole"
		}
		table := m.tables.value(e.Table)
		m.invalidations.WithLabelValues(table, scope).Inc()
		m.dropped.WithLabelValues(table).Add(float64(e.Dropped))
		m.invalidationSeconds.WithLabelValues(scope).Observe(e.Duration.Seconds())
	case cacheplugin.EventShadow:
		m.shadowReads.WithLabelValues(m.tables.value(e.Table)).Inc()
	case cacheplugin.EventStale:
		m.stale.WithLabelValues(m.tables.value(e.Table)).Inc()
	case cacheplugin.EventRepair:
		m.repaired.Inc()
	case cacheplugin.EventFollow:
		m.followed.Inc()
		m.followLag.Observe(e.Age.Seconds())
	case cacheplugin.EventError:
		m.errors.WithLabelValues(m.errorReasons.value(reason(e.Reason))).Inc()
		if errors.Is(e.Err, store.ErrQueued) {
			m.queued.Inc()
		}
	}
}

// reason is what an event's reason has in common with others of its sort: the
// rest names tables and functions.
func reason(text string) string {
	sort, _, _ := strings.Cut(text, ":")
	return sort
}
