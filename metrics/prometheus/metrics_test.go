package prometheus_test

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	client "github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"
	"gorm.io/gorm"

	"github.com/cacheplugin/cacheplugin"
	"github.com/cacheplugin/cacheplugin/cache"
	"github.com/cacheplugin/cacheplugin/internal/store"
	"github.com/cacheplugin/cacheplugin/internal/testenv"
	"github.com/cacheplugin/cacheplugin/metrics/prometheus"
)

func TestMain(m *testing.M) { testenv.Main(m) }

// everyEvent is at least one of each kind.
func everyEvent() []cacheplugin.Event {
	return []cacheplugin.Event{
		{Kind: cacheplugin.EventMiss, Table: "users", Op: cache.Get, Duration: time.Millisecond},
		{Kind: cacheplugin.EventStore, Table: "users", Op: cache.Get, Rows: 1, Bytes: 100, Duration: time.Millisecond},
		{Kind: cacheplugin.EventHit, Table: "users", Op: cache.Get, Rows: 1, Bytes: 100, Duration: time.Millisecond},
		{Kind: cacheplugin.EventHit, Table: "users", Op: cache.Count, Duration: time.Millisecond},
		{Kind: cacheplugin.EventHit, Table: "users", Op: cache.Get, Near: true, Duration: time.Microsecond},
		{Kind: cacheplugin.EventHit, Table: "users", Op: cache.Get, Near: true, Validated: true, Duration: time.Millisecond},
		{Kind: cacheplugin.EventSkip, Table: "users", Reason: "volatile: now(); cache it by hand"},
		{Kind: cacheplugin.EventSkip, Table: "users", Reason: "volatile: random(); cache it by hand"},
		{Kind: cacheplugin.EventSkip, Table: "users", Op: cache.Get, Reason: cacheplugin.ReasonRefused, Unstored: true},
		{Kind: cacheplugin.EventInvalidate, Table: "public.users", Keys: 3, Dropped: 2, Duration: time.Millisecond},
		{Kind: cacheplugin.EventInvalidate, Table: "public.users", Whole: true, Dropped: 1, Duration: time.Millisecond},
		{Kind: cacheplugin.EventError, Reason: "a look-up failed", Err: errors.New("down")},
		{Kind: cacheplugin.EventError, Reason: "an invalidation did not get through", Err: fmt.Errorf("x: %w", store.ErrQueued)},
		{Kind: cacheplugin.EventShadow, Table: "users", Op: cache.Get},
		{Kind: cacheplugin.EventStale, Table: "users", Op: cache.Get, Query: "SELECT", Age: time.Minute},
		{Kind: cacheplugin.EventRepair, Table: "public.users", Dropped: 1, Duration: time.Millisecond},
		{Kind: cacheplugin.EventFollow, Table: "public.users", Dropped: 1, Duration: time.Millisecond, Age: 3 * time.Millisecond},
	}
}

func TestEventsAreCounted(t *testing.T) {
	m := prometheus.New(prometheus.Options{})
	for _, e := range everyEvent() {
		m.Observe(t.Context(), e)
	}
	require.NoError(t, testutil.CollectAndCompare(m, strings.NewReader(`
# HELP cacheplugin_dropped_total Results that invalidations have dropped; a whole table counts as one.
# TYPE cacheplugin_dropped_total counter
cacheplugin_dropped_total{table="public.users"} 3
# HELP cacheplugin_errors_total Errors of Redis and of the catalog that queries and writes went on without.
# TYPE cacheplugin_errors_total counter
cacheplugin_errors_total{reason="a look-up failed"} 1
cacheplugin_errors_total{reason="an invalidation did not get through"} 1
# HELP cacheplugin_invalidations_total Invalidations of a table, as a whole (whole) or of the conjunctions of the rows that changed (keys).
# TYPE cacheplugin_invalidations_total counter
cacheplugin_invalidations_total{scope="keys",table="public.users"} 1
cacheplugin_invalidations_total{scope="whole",table="public.users"} 1
# HELP cacheplugin_lookups_total Queries that were answered from the cache (hit), that could have been (miss), and that were not cached for a reason (skip).
# TYPE cacheplugin_lookups_total counter
cacheplugin_lookups_total{op="count",result="hit",table="users"} 1
cacheplugin_lookups_total{op="get",result="hit",table="users"} 3
cacheplugin_lookups_total{op="get",result="miss",table="users"} 1
cacheplugin_lookups_total{op="none",result="skip",table="users"} 2
# HELP cacheplugin_near_hits_total Hits out of the process's own memory: confirmed by Redis (validated), or without asking it (bounded).
# TYPE cacheplugin_near_hits_total counter
cacheplugin_near_hits_total{grade="bounded",table="users"} 1
cacheplugin_near_hits_total{grade="validated",table="users"} 1
# HELP cacheplugin_queued_total Invalidations that did not get through to Redis and were queued.
# TYPE cacheplugin_queued_total counter
cacheplugin_queued_total 1
# HELP cacheplugin_refused_total Results that were not stored because what they depend on was invalidated while they were read.
# TYPE cacheplugin_refused_total counter
cacheplugin_refused_total 1
# HELP cacheplugin_repaired_total Tables that were invalidated out of the outbox, for a writer that had died or could not reach Redis.
# TYPE cacheplugin_repaired_total counter
cacheplugin_repaired_total 1
# HELP cacheplugin_followed_total Tables that a follower in this process has invalidated, for what its database's log had.
# TYPE cacheplugin_followed_total counter
cacheplugin_followed_total 1
# HELP cacheplugin_shadow_reads_total Hits that shadow reads have checked against the database.
# TYPE cacheplugin_shadow_reads_total counter
cacheplugin_shadow_reads_total{table="users"} 1
# HELP cacheplugin_skips_total Queries that were not looked up or not stored, by reason.
# TYPE cacheplugin_skips_total counter
cacheplugin_skips_total{reason="invalidated while it was read"} 1
cacheplugin_skips_total{reason="volatile"} 2
# HELP cacheplugin_stale_total Results that shadow reads found to be stale.
# TYPE cacheplugin_stale_total counter
cacheplugin_stale_total{table="users"} 1
# HELP cacheplugin_stores_total Results that were stored.
# TYPE cacheplugin_stores_total counter
cacheplugin_stores_total{op="get",table="users"} 1
`), "cacheplugin_lookups_total", "cacheplugin_near_hits_total", "cacheplugin_stores_total", "cacheplugin_skips_total", "cacheplugin_refused_total",
		"cacheplugin_invalidations_total", "cacheplugin_dropped_total", "cacheplugin_errors_total", "cacheplugin_queued_total", "cacheplugin_repaired_total", "cacheplugin_followed_total",
		"cacheplugin_shadow_reads_total", "cacheplugin_stale_total"))

	require.Equal(t, map[string]uint64{
		"cacheplugin_lookup_duration_seconds hit": 4, "cacheplugin_lookup_duration_seconds miss": 1,
		"cacheplugin_invalidation_duration_seconds keys": 1, "cacheplugin_invalidation_duration_seconds whole": 1,
		"cacheplugin_store_duration_seconds": 1, "cacheplugin_follow_lag_seconds": 1, "cacheplugin_result_bytes": 1, "cacheplugin_result_rows": 1,
	}, histograms(t, m))
	problems, err := testutil.CollectAndLint(m)
	require.NoError(t, err)
	require.Empty(t, problems)
}

// histograms returns the numbers of observations.
func histograms(t *testing.T, c client.Collector) map[string]uint64 {
	registry := client.NewPedanticRegistry()
	require.NoError(t, registry.Register(c))
	families, err := registry.Gather()
	require.NoError(t, err)
	counts := map[string]uint64{}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			if h := m.GetHistogram(); h != nil {
				name := f.GetName()
				for _, l := range m.GetLabel() {
					name += " " + l.GetValue()
				}
				counts[name] = h.GetSampleCount()
			}
		}
	}
	return counts
}

func TestTheNumberOfSeriesIsBounded(t *testing.T) {
	m := prometheus.New(prometheus.Options{MaxTables: 3, MaxReasons: 2})
	var group sync.WaitGroup
	for range 4 {
		group.Go(func() {
			for i := range 100 {
				m.Observe(t.Context(), cacheplugin.Event{Kind: cacheplugin.EventHit, Table: fmt.Sprint("t", i), Op: cache.Get})
				m.Observe(t.Context(), cacheplugin.Event{Kind: cacheplugin.EventSkip, Table: "t0", Reason: fmt.Sprint("r", i)})
			}
		})
	}
	group.Wait()
	// While several meet a new name at once, "other" may take one too many.
	require.LessOrEqual(t, testutil.CollectAndCount(m, "cacheplugin_lookups_total"), 5)
	require.LessOrEqual(t, testutil.CollectAndCount(m, "cacheplugin_skips_total"), 3)
}

func TestPluginsCanShareARegistry(t *testing.T) {
	registry := client.NewPedanticRegistry()
	for _, name := range []string{"a", "b"} {
		o := prometheus.Options{ConstLabels: client.Labels{"cache": name}}
		registry.MustRegister(prometheus.New(o), prometheus.NewStats(func() cacheplugin.Stats { return cacheplugin.Stats{} }, o))
	}
}

func TestStatsAreCollectedAllOfThem(t *testing.T) {
	var stats cacheplugin.Stats
	v := reflect.ValueOf(&stats).Elem()
	for i := range v.NumField() {
		v.Field(i).SetInt(int64(i + 1))
	}
	s := prometheus.NewStats(func() cacheplugin.Stats { return stats }, prometheus.Options{Namespace: "my"})
	require.Equal(t, v.NumField(), testutil.CollectAndCount(s), "a counter of the plugin is not exported")
	require.NoError(t, testutil.CollectAndCompare(s, strings.NewReader(`
# HELP my_stats_hits_total Queries that were answered from the cache.
# TYPE my_stats_hits_total counter
my_stats_hits_total 1
`), "my_stats_hits_total"))
}

func TestThePluginIsMeasured(t *testing.T) {
	type Article struct{ ID, TagID int }
	env := testenv.NeedSQLite(t)
	db := env.Open(t, &gorm.Config{})
	require.NoError(t, db.AutoMigrate(&Article{}))
	m := prometheus.New(prometheus.Options{})
	var others int
	plugin := cacheplugin.New(cacheplugin.Config{
		Redis: testenv.Redis(t), Prefix: "test-" + rand.Text(), RedisTimeout: 10 * time.Second,
		Profiles: cacheplugin.Profiles{"*": {Ops: cache.All, Timeout: time.Hour}},
		Observer: cacheplugin.Observers(m, cacheplugin.ObserverFunc(func(context.Context, cacheplugin.Event) { others++ })),
	})
	require.NoError(t, db.Use(plugin))
	defer plugin.Close(context.Background())
	stats := prometheus.NewStats(plugin.Stats, prometheus.Options{})

	var articles []Article
	for range 3 {
		require.NoError(t, db.Where("tag_id = ?", 2).Find(&articles).Error)
	}
	require.NoError(t, db.Create(&Article{TagID: 2}).Error)
	require.NoError(t, testutil.CollectAndCompare(m, strings.NewReader(`
# HELP cacheplugin_dropped_total Results that invalidations have dropped; a whole table counts as one.
# TYPE cacheplugin_dropped_total counter
cacheplugin_dropped_total{table="main.articles"} 1
# HELP cacheplugin_lookups_total Queries that were answered from the cache (hit), that could have been (miss), and that were not cached for a reason (skip).
# TYPE cacheplugin_lookups_total counter
cacheplugin_lookups_total{op="fetch",result="hit",table="articles"} 2
cacheplugin_lookups_total{op="fetch",result="miss",table="articles"} 1
`), "cacheplugin_lookups_total", "cacheplugin_dropped_total"))
	require.Equal(t, 5, others)
	require.NoError(t, testutil.CollectAndCompare(stats, strings.NewReader(`
# HELP cacheplugin_stats_hits_total Queries that were answered from the cache.
# TYPE cacheplugin_stats_hits_total counter
cacheplugin_stats_hits_total 2
`), "cacheplugin_stats_hits_total"))
}
