package opentelemetry_test

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	"go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"gorm.io/gorm"

	"github.com/cacheplugin/cacheplugin"
	"github.com/cacheplugin/cacheplugin/cache"
	"github.com/cacheplugin/cacheplugin/internal/store"
	"github.com/cacheplugin/cacheplugin/internal/testenv"
	"github.com/cacheplugin/cacheplugin/metrics/opentelemetry"
)

func TestMain(m *testing.M) { testenv.Main(m) }

// telemetry is an Observer and what it has told.
type telemetry struct {
	*opentelemetry.Observer
	spans    *tracetest.SpanRecorder
	provider *trace.TracerProvider
	reader   *metric.ManualReader
}

func newTelemetry(t *testing.T, o opentelemetry.Options) *telemetry {
	x := &telemetry{spans: tracetest.NewSpanRecorder(), reader: metric.NewManualReader()}
	x.provider = trace.NewTracerProvider(trace.WithSpanProcessor(x.spans))
	o.TracerProvider = x.provider
	o.MeterProvider = metric.NewMeterProvider(metric.WithReader(x.reader))
	var err error
	x.Observer, err = opentelemetry.New(o)
	require.NoError(t, err)
	return x
}

// during observes events in a span, and returns that span.
func (x *telemetry) during(t *testing.T, events ...cacheplugin.Event) trace.ReadOnlySpan {
	ctx, span := x.provider.Tracer("gorm").Start(t.Context(), "gorm.Query")
	for _, e := range events {
		x.Observe(ctx, e)
	}
	span.End()
	ended := x.spans.Ended()
	return ended[len(ended)-1]
}

// sums returns the counters' values, and the histograms' numbers of values.
func (x *telemetry) sums(t *testing.T) map[string]int64 {
	var data metricdata.ResourceMetrics
	require.NoError(t, x.reader.Collect(t.Context(), &data))
	sums := map[string]int64{}
	for _, scope := range data.ScopeMetrics {
		require.Equal(t, opentelemetry.ScopeName, scope.Scope.Name)
		for _, m := range scope.Metrics {
			name := func(set attribute.Set) string { return m.Name + "{" + set.Encoded(attribute.DefaultEncoder()) + "}" }
			switch d := m.Data.(type) {
			case metricdata.Sum[int64]:
				for _, p := range d.DataPoints {
					sums[name(p.Attributes)] = p.Value
				}
			case metricdata.Histogram[int64]:
				for _, p := range d.DataPoints {
					sums[name(p.Attributes)] = int64(p.Count)
				}
			case metricdata.Histogram[float64]:
				for _, p := range d.DataPoints {
					sums[name(p.Attributes)] = int64(p.Count)
				}
			}
		}
	}
	return sums
}

var events = []cacheplugin.Event{
	{Kind: cacheplugin.EventMiss, Table: "users", Op: cache.Get, Key: "k", Duration: time.Millisecond},
	{Kind: cacheplugin.EventStore, Table: "users", Op: cache.Get, Key: "k", Rows: 1, Bytes: 100, Duration: time.Millisecond},
	{Kind: cacheplugin.EventHit, Table: "users", Op: cache.Get, Key: "k", Rows: 1, Bytes: 100, Duration: time.Millisecond},
	{Kind: cacheplugin.EventSkip, Table: "users", Reason: "volatile: now(); cache it by hand"},
	{Kind: cacheplugin.EventSkip, Table: "users", Op: cache.Get, Reason: cacheplugin.ReasonRefused, Unstored: true},
	{Kind: cacheplugin.EventInvalidate, Table: "public.users", Images: 2, Keys: 3, Dropped: 2, Duration: time.Millisecond},
	{Kind: cacheplugin.EventInvalidate, Table: "*", Whole: true, Duration: time.Millisecond},
	{Kind: cacheplugin.EventError, Table: "users", Reason: "a look-up failed", Err: errors.New("down")},
	{Kind: cacheplugin.EventError, Reason: "it did not get through", Err: fmt.Errorf("x: %w", store.ErrQueued)},
	{Kind: cacheplugin.EventShadow, Table: "users", Op: cache.Get},
	{Kind: cacheplugin.EventStale, Table: "users", Op: cache.Get, Query: "SELECT", Age: time.Minute},
	{Kind: cacheplugin.EventHit, Table: "users", Op: cache.Count, Near: true, Duration: time.Millisecond},
	{Kind: cacheplugin.EventHit, Table: "users", Op: cache.Count, Near: true, Validated: true, Duration: time.Millisecond},
	{Kind: cacheplugin.EventRepair, Table: "public.users", Dropped: 1, Duration: time.Millisecond},
	{Kind: cacheplugin.EventFollow, Table: "public.users", Dropped: 1, Duration: time.Millisecond},
}

func TestEventsAreMeasured(t *testing.T) {
	x := newTelemetry(t, opentelemetry.Options{System: "postgresql"})
	for _, e := range events {
		x.Observe(t.Context(), e)
	}
	require.Equal(t, map[string]int64{
		"cacheplugin.lookups{cacheplugin.op=get,cacheplugin.result=hit,db.sql.table=users,db.system=postgresql}":                               1,
		"cacheplugin.lookups{cacheplugin.op=get,cacheplugin.result=miss,db.sql.table=users,db.system=postgresql}":                              1,
		"cacheplugin.lookups{cacheplugin.op=none,cacheplugin.reason=volatile,cacheplugin.result=skip,db.sql.table=users,db.system=postgresql}": 1,
		"cacheplugin.lookups{cacheplugin.op=count,cacheplugin.result=hit,db.sql.table=users,db.system=postgresql}":                             2,
		"cacheplugin.lookup.duration{cacheplugin.op=count,cacheplugin.result=hit,db.sql.table=users,db.system=postgresql}":                     2,
		"cacheplugin.near_hits{cacheplugin.grade=bounded,cacheplugin.op=count,db.sql.table=users,db.system=postgresql}":                        1,
		"cacheplugin.near_hits{cacheplugin.grade=validated,cacheplugin.op=count,db.sql.table=users,db.system=postgresql}":                      1,
		"cacheplugin.lookup.duration{cacheplugin.op=get,cacheplugin.result=hit,db.sql.table=users,db.system=postgresql}":                       1,
		"cacheplugin.lookup.duration{cacheplugin.op=get,cacheplugin.result=miss,db.sql.table=users,db.system=postgresql}":                      1,
		"cacheplugin.stores{cacheplugin.op=get,db.sql.table=users,db.system=postgresql}":                                                       1,
		"cacheplugin.store.duration{cacheplugin.op=get,db.sql.table=users,db.system=postgresql}":                                               1,
		"cacheplugin.result.size{cacheplugin.op=get,db.sql.table=users,db.system=postgresql}":                                                  1,
		"cacheplugin.result.rows{cacheplugin.op=get,db.sql.table=users,db.system=postgresql}":                                                  1,
		"cacheplugin.invalidations{cacheplugin.scope=keys,db.sql.table=public.users,db.system=postgresql}":                                     1,
		"cacheplugin.invalidations{cacheplugin.scope=whole,db.sql.table=*,db.system=postgresql}":                                               1,
		"cacheplugin.invalidation.duration{cacheplugin.scope=keys,db.sql.table=public.users,db.system=postgresql}":                             1,
		"cacheplugin.invalidation.duration{cacheplugin.scope=whole,db.sql.table=*,db.system=postgresql}":                                       1,
		"cacheplugin.dropped{db.sql.table=public.users,db.system=postgresql}":                                                                  2,
		"cacheplugin.dropped{db.sql.table=*,db.system=postgresql}":                                                                             0,
		"cacheplugin.errors{cacheplugin.reason=a look-up failed,db.sql.table=users,db.system=postgresql}":                                      1,
		"cacheplugin.errors{cacheplugin.reason=it did not get through,db.system=postgresql}":                                                   1,
		"cacheplugin.followed{db.sql.table=public.users,db.system=postgresql}":                                                                 1,
		"cacheplugin.repaired{db.sql.table=public.users,db.system=postgresql}":                                                                 1,
		"cacheplugin.skips{cacheplugin.op=none,cacheplugin.reason=volatile,db.sql.table=users,db.system=postgresql}":                           1,
		"cacheplugin.skips{cacheplugin.op=get,cacheplugin.reason=invalidated while it was read,db.sql.table=users,db.system=postgresql}":       1,
		"cacheplugin.refused{cacheplugin.op=get,db.sql.table=users,db.system=postgresql}":                                                      1,
		"cacheplugin.shadow_reads{cacheplugin.op=get,db.sql.table=users,db.system=postgresql}":                                                 1,
		"cacheplugin.stale{cacheplugin.op=get,db.sql.table=users,db.system=postgresql}":                                                        1,
		"cacheplugin.queued{db.system=postgresql}":                                                                                             1,
	}, x.sums(t))
	require.Empty(t, x.spans.Ended(), "spans are made on demand only")
}

func TestTablesCanBeLeftOutOfTheMetrics(t *testing.T) {
	x := newTelemetry(t, opentelemetry.Options{WithoutTables: true})
	x.Observe(t.Context(), events[1])
	require.Equal(t, int64(1), x.sums(t)["cacheplugin.stores{cacheplugin.op=get}"])
}

func TestTheCurrentSpanTellsWhatTheCacheDid(t *testing.T) {
	x := newTelemetry(t, opentelemetry.Options{System: "postgresql"})
	for _, test := range []struct {
		event      cacheplugin.Event
		name       string
		attributes []attribute.KeyValue // of the event
		span       []attribute.KeyValue
	}{
		{events[0], "cacheplugin.miss", []attribute.KeyValue{
			opentelemetry.SystemKey.String("postgresql"), opentelemetry.TableKey.String("users"), opentelemetry.OperationKey.String("select"),
			opentelemetry.OpKey.String("get"), opentelemetry.ResultKey.String("miss"), opentelemetry.EntryKey.String("k"),
		}, []attribute.KeyValue{opentelemetry.ResultKey.String("miss")}},
		{events[2], "cacheplugin.hit", []attribute.KeyValue{
			opentelemetry.SystemKey.String("postgresql"), opentelemetry.TableKey.String("users"), opentelemetry.OperationKey.String("select"),
			opentelemetry.OpKey.String("get"), opentelemetry.ResultKey.String("hit"), opentelemetry.EntryKey.String("k"),
			opentelemetry.RowsKey.Int(1), opentelemetry.BytesKey.Int(100),
		}, []attribute.KeyValue{opentelemetry.ResultKey.String("hit")}},
		{events[3], "cacheplugin.skip", []attribute.KeyValue{
			opentelemetry.SystemKey.String("postgresql"), opentelemetry.TableKey.String("users"),
			opentelemetry.ResultKey.String("skip"), opentelemetry.ReasonKey.String("volatile: now(); cache it by hand"),
		}, []attribute.KeyValue{opentelemetry.ResultKey.String("skip"), opentelemetry.ReasonKey.String("volatile: now(); cache it by hand")}},
		{events[5], "cacheplugin.invalidate", []attribute.KeyValue{
			opentelemetry.SystemKey.String("postgresql"), opentelemetry.TableKey.String("public.users"), opentelemetry.OperationKey.String("invalidate"),
			opentelemetry.ScopeKey.String("keys"), opentelemetry.ImagesKey.Int(2), opentelemetry.KeysKey.Int(3), opentelemetry.DroppedKey.Int(2),
		}, nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			span := x.during(t, test.event)
			require.Len(t, span.Events(), 1)
			require.Equal(t, test.name, span.Events()[0].Name)
			require.Equal(t, test.attributes, span.Events()[0].Attributes)
			require.Equal(t, test.span, span.Attributes())
		})
	}

	t.Run("a result that was refused was a miss", func(t *testing.T) {
		span := x.during(t, events[0], events[4])
		require.Equal(t, []attribute.KeyValue{opentelemetry.ResultKey.String("miss")}, span.Attributes())
	})
	t.Run("an error does not fail the query", func(t *testing.T) {
		span := x.during(t, events[7])
		require.Equal(t, "exception", span.Events()[1].Name)
		require.Empty(t, span.Status().Description)
	})
}

func TestSpansOnDemandTakeAsLongAsTheWork(t *testing.T) {
	x := newTelemetry(t, opentelemetry.Options{Spans: true})
	parent := x.during(t, events...)
	var names []string
	for _, span := range x.spans.Ended() {
		if span.Name() == parent.Name() {
			continue
		}
		names = append(names, span.Name())
		require.Equal(t, parent.SpanContext().SpanID(), span.Parent().SpanID())
		require.Equal(t, time.Millisecond, span.EndTime().Sub(span.StartTime()))
	}
	require.Equal(t, []string{"cacheplugin.lookup", "cacheplugin.store", "cacheplugin.lookup", "cacheplugin.invalidate", "cacheplugin.invalidate", "cacheplugin.lookup", "cacheplugin.lookup"}, names)
}

func TestThePluginIsTraced(t *testing.T) {
	type Article struct{ ID, TagID int }
	env := testenv.NeedSQLite(t)
	db := env.Open(t, &gorm.Config{})
	require.NoError(t, db.AutoMigrate(&Article{}))
	x := newTelemetry(t, opentelemetry.Options{System: "sqlite"})
	plugin := cacheplugin.New(cacheplugin.Config{
		Redis: testenv.Redis(t), Prefix: "test-" + rand.Text(), RedisTimeout: 10 * time.Second,
		Profiles: cacheplugin.Profiles{"*": {Ops: cache.All, Timeout: time.Hour}},
		Observer: x,
	})
	require.NoError(t, db.Use(plugin))
	defer plugin.Close(context.Background())

	in := func(work func(db *gorm.DB) error) (names []string) {
		ctx, span := x.provider.Tracer("app").Start(t.Context(), "request")
		require.NoError(t, work(db.WithContext(ctx)))
		span.End()
		ended := x.spans.Ended()
		for _, e := range ended[len(ended)-1].Events() {
			names = append(names, e.Name)
		}
		return names
	}
	var articles []Article
	find := func(db *gorm.DB) error { return db.Where("tag_id = ?", 2).Find(&articles).Error }
	require.Equal(t, []string{"cacheplugin.miss", "cacheplugin.store"}, in(find))
	require.Equal(t, []string{"cacheplugin.hit"}, in(find))
	require.Equal(t, []string{"cacheplugin.invalidate"}, in(func(db *gorm.DB) error { return db.Create(&Article{TagID: 2}).Error }))
	require.Equal(t, []string{"cacheplugin.invalidate"}, in(func(db *gorm.DB) error {
		return db.Transaction(func(tx *gorm.DB) error { return tx.Create(&Article{TagID: 2}).Error })
	}), "at the commit")
}
