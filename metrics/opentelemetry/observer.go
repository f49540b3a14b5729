package opentelemetry

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/trace"

	"github.com/cacheplugin/cacheplugin"
	"github.com/cacheplugin/cacheplugin/internal/store"
)

// ScopeName is the instrumentation scope of the metrics and spans.
const ScopeName = "github.com/cacheplugin/cacheplugin/metrics/opentelemetry"

// The attributes. Those that begin with db are named as GORM's tracing names
// them.
const (
	SystemKey    = attribute.Key("db.system")
	OperationKey = attribute.Key("db.operation") // "select", or "invalidate"
	TableKey     = attribute.Key("db.sql.table")

	OpKey      = attribute.Key("cacheplugin.op")     // such as "fetch"
	ResultKey  = attribute.Key("cacheplugin.result") // "hit", "miss" or "skip"
	ReasonKey  = attribute.Key("cacheplugin.reason") // of a skip or an error
	GradeKey   = attribute.Key("cacheplugin.grade")  // of a hit out of the process's memory: validated or bounded
	EntryKey   = attribute.Key("cacheplugin.key")    // the entry's key in Redis
	RowsKey    = attribute.Key("cacheplugin.rows")
	BytesKey   = attribute.Key("cacheplugin.bytes")
	ScopeKey   = attribute.Key("cacheplugin.scope")   // of an invalidation: "whole" or "keys"
	ImagesKey  = attribute.Key("cacheplugin.images")  // row images looked at
	KeysKey    = attribute.Key("cacheplugin.keys")    // conjunctions dropped
	DroppedKey = attribute.Key("cacheplugin.dropped") // results dropped
)

// Options configure an Observer. The zero value is fine.
type Options struct {
	// TracerProvider and MeterProvider default to OpenTelemetry's global ones.
	TracerProvider trace.TracerProvider
	MeterProvider  metric.MeterProvider

	// System is the value of db.system, such as "postgresql", "mysql",
	// "mariadb" or "sqlite". Left out if empty.
	System string

	// Spans gives each look-up, store and invalidation a span of its own, with
	// the time that it took, beside the event on the current span. A span is
	// made when its work is done, as a child of the current one.
	Spans bool

	// WithoutTables leaves the table out of the metrics (not out of the
	// traces), for programs that make up table names.
	WithoutTables bool
}

// Observer turns the plugin's events into span events, metrics and, if asked
// for, spans. It is safe for concurrent use.
type Observer struct {
	o      Options
	tracer trace.Tracer
	system []attribute.KeyValue

	lookups, nearHits, stores, skips, refused, invalidations, dropped, errors, queued, repaired, followed, shadowReads, stale metric.Int64Counter
	lookupTime, storeTime, invalidationTime                                                                                   metric.Float64Histogram
	resultBytes, resultRows                                                                                                   metric.Int64Histogram
}

var _ cacheplugin.Observer = (*Observer)(nil)

// New returns an Observer for Config.Observer. It fails if the meter refuses
// an instrument.
func New(o Options) (*Observer, error) {
	if o.TracerProvider == nil {
		o.TracerProvider = otel.GetTracerProvider()
	}
	if o.MeterProvider == nil {
		o.MeterProvider = otel.GetMeterProvider()
	}
	x := &Observer{o: o, tracer: o.TracerProvider.Tracer(ScopeName)}
	if o.System != "" {
		x.system = []attribute.KeyValue{SystemKey.String(o.System)}
	}
	if err := x.instruments(o.MeterProvider.Meter(ScopeName)); err != nil {
		return nil, fmt.Errorf("opentelemetry: make the instruments: %w", err)
	}
	return x, nil
}

// durationBounds are in seconds: look-ups take fractions of a millisecond, for
// which the SDK's own bounds are too wide.
var durationBounds = []float64{.0001, .00025, .0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5}

func (x *Observer) instruments(m metric.Meter) error {
	var errs []error
	counter := func(name, unit, description string) metric.Int64Counter {
		c, err := m.Int64Counter(name, metric.WithUnit(unit), metric.WithDescription(description))
		errs = append(errs, err)
		return c
	}
	duration := func(name, description string) metric.Float64Histogram {
		h, err := m.Float64Histogram(name, metric.WithUnit("s"), metric.WithDescription(description), metric.WithExplicitBucketBoundaries(durationBounds...))
		errs = append(errs, err)
		return h
	}
	size := func(name, unit, description string, bounds ...float64) metric.Int64Histogram {
		h, err := m.Int64Histogram(name, metric.WithUnit(unit), metric.WithDescription(description), metric.WithExplicitBucketBoundaries(bounds...))
		errs = append(errs, err)
		return h
	}
	x.lookups = counter("cacheplugin.lookups", "{query}", "Queries by what the cache did: hit, miss, or skip.")
	x.nearHits = counter("cacheplugin.near_hits", "{query}", "Hits out of the process's own memory, by grade: confirmed by Redis, or without asking it.")
	x.stores = counter("cacheplugin.stores", "{result}", "Results that were stored.")
	x.skips = counter("cacheplugin.skips", "{query}", "Queries that were not looked up or not stored, by reason.")
	x.refused = counter("cacheplugin.refused", "{result}", "Results that were not stored because what they depend on was invalidated while they were read.")
	x.invalidations = counter("cacheplugin.invalidations", "{table}", "Tables that were invalidated, whole or by conjunctions of the rows that changed.")
	x.dropped = counter("cacheplugin.dropped", "{result}", "Results that invalidations have dropped; a whole table counts as one.")
	x.errors = counter("cacheplugin.errors", "{error}", "Errors of Redis and of the catalog that queries and writes went on without.")
	x.queued = counter("cacheplugin.queued", "{invalidation}", "Invalidations that did not get through to Redis and were queued.")
	x.followed = counter("cacheplugin.followed", "{table}", "Tables that a follower in this process has invalidated, for what its database's log had.")
	x.repaired = counter("cacheplugin.repaired", "{table}", "Tables that were invalidated out of the outbox, for a writer that had died or could not reach Redis.")
	x.shadowReads = counter("cacheplugin.shadow_reads", "{query}", "Hits that shadow reads have checked against the database.")
	x.stale = counter("cacheplugin.stale", "{result}", "Results that shadow reads found to be stale.")
	x.lookupTime = duration("cacheplugin.lookup.duration", "How long look-ups took, without the database.")
	x.storeTime = duration("cacheplugin.store.duration", "How long it took to store a result.")
	x.invalidationTime = duration("cacheplugin.invalidation.duration", "How long invalidations took.")
	x.resultBytes = size("cacheplugin.result.size", "By", "Size of the results that were stored.", 64, 256, 1<<10, 4<<10, 16<<10, 64<<10, 256<<10, 1<<20, 4<<20, 16<<20)
	x.resultRows = size("cacheplugin.result.rows", "{row}", "Rows of the results that were stored.", 0, 1, 4, 16, 64, 256, 1024, 4096, 16384)
	return errors.Join(errs...)
}

// Observe implements cacheplugin.Observer.
func (x *Observer) Observe(ctx context.Context, e cacheplugin.Event) {
	x.measure(ctx, e)
	x.trace(ctx, e)
}

func (x *Observer) measure(ctx context.Context, e cacheplugin.Event) {
	table := x.system
	if !x.o.WithoutTables && e.Table != "" {
		table = append(x.system[:len(x.system):len(x.system)], TableKey.String(e.Table))
	}
	with := func(more ...attribute.KeyValue) metric.MeasurementOption {
		return metric.WithAttributes(append(more, table...)...)
	}
	op := OpKey.String(e.Op.String())
	switch e.Kind {
	case cacheplugin.EventHit, cacheplugin.EventMiss:
		result := ResultKey.String(e.Kind.String())
		x.lookups.Add(ctx, 1, with(op, result))
		x.lookupTime.Record(ctx, e.Duration.Seconds(), with(op, result))
		if e.Near {
			x.nearHits.Add(ctx, 1, with(op, grade(e)))
		}
	case cacheplugin.EventSkip:
		x.skips.Add(ctx, 1, with(op, ReasonKey.String(reasonSort(e.Reason))))
		if e.Reason == cacheplugin.ReasonRefused {
			x.refused.Add(ctx, 1, with(op))
		}
		// One that was not stored has been a miss already.
		if !e.Unstored {
			x.lookups.Add(ctx, 1, with(op, ResultKey.String("skip"), ReasonKey.String(reasonSort(e.Reason))))
		}
	case cacheplugin.EventStore:
		x.stores.Add(ctx, 1, with(op))
		x.storeTime.Record(ctx, e.Duration.Seconds(), with(op))
		x.resultBytes.Record(ctx, int64(e.Bytes), with(op))
		x.resultRows.Record(ctx, int64(e.Rows), with(op))
	case cacheplugin.EventInvalidate:
		x.invalidations.Add(ctx, 1, with(scope(e)))
		x.dropped.Add(ctx, int64(e.Dropped), with())
		x.invalidationTime.Record(ctx, e.Duration.Seconds(), with(scope(e)))
	case cacheplugin.EventShadow:
		x.shadowReads.Add(ctx, 1, with(op))
	case cacheplugin.EventStale:
		x.stale.Add(ctx, 1, with(op))
	case cacheplugin.EventRepair:
		x.repaired.Add(ctx, 1, with())
	case cacheplugin.EventFollow:
		x.followed.Add(ctx, 1, with())
	case cacheplugin.EventError:
		x.errors.Add(ctx, 1, with(ReasonKey.String(reasonSort(e.Reason))))
		if errors.Is(e.Err, store.ErrQueued) {
			x.queued.Add(ctx, 1, with())
		}
	}
}

func (x *Observer) trace(ctx context.Context, e cacheplugin.Event) {
	current := trace.SpanFromContext(ctx)
	recording := current.IsRecording()
	name := spanName(e.Kind)
	spans := x.o.Spans && name != ""
	if !recording && !spans {
		return
	}
	attributes := x.attributes(e)
	if recording {
		now := time.Now()
		current.AddEvent("cacheplugin."+e.Kind.String(), trace.WithTimestamp(now), trace.WithAttributes(attributes...))
		switch e.Kind {
		case cacheplugin.EventHit, cacheplugin.EventMiss:
			current.SetAttributes(ResultKey.String(e.Kind.String()))
		case cacheplugin.EventSkip:
			if !e.Unstored {
				current.SetAttributes(ResultKey.String("skip"), ReasonKey.String(e.Reason))
			}
		case cacheplugin.EventError:
			// The query or write went on: the span is not to fail for it.
			current.RecordError(e.Err, trace.WithTimestamp(now))
		}
	}
	if !spans {
		return
	}
	end := time.Now()
	_, span := x.tracer.Start(ctx, name, trace.WithSpanKind(trace.SpanKindClient),
		trace.WithTimestamp(end.Add(-e.Duration)), trace.WithAttributes(attributes...))
	if e.Err != nil {
		span.RecordError(e.Err, trace.WithTimestamp(end))
		span.SetStatus(codes.Error, e.Reason)
	}
	span.End(trace.WithTimestamp(end))
}

// spanName names the span of what takes time; errors and skips have none.
func spanName(kind cacheplugin.EventKind) string {
	switch kind {
	case cacheplugin.EventHit, cacheplugin.EventMiss:
		return "cacheplugin.lookup"
	case cacheplugin.EventStore:
		return "cacheplugin.store"
	case cacheplugin.EventInvalidate:
		return "cacheplugin.invalidate"
	}
	return ""
}

// attributes are those of a span or span event.
func (x *Observer) attributes(e cacheplugin.Event) []attribute.KeyValue {
	as := append([]attribute.KeyValue(nil), x.system...)
	if e.Table != "" {
		as = append(as, TableKey.String(e.Table))
	}
	if e.Kind == cacheplugin.EventInvalidate {
		return append(as, OperationKey.String("invalidate"), scope(e),
			ImagesKey.Int(e.Images), KeysKey.Int(e.Keys), DroppedKey.Int(e.Dropped))
	}
	if e.Op != 0 {
		as = append(as, OperationKey.String("select"), OpKey.String(e.Op.String()))
	}
	switch e.Kind {
	case cacheplugin.EventHit, cacheplugin.EventMiss, cacheplugin.EventSkip:
		as = append(as, ResultKey.String(e.Kind.String()))
	}
	if e.Key != "" {
		as = append(as, EntryKey.String(e.Key))
	}
	if e.Reason != "" {
		as = append(as, ReasonKey.String(e.Reason))
	}
	if e.Kind == cacheplugin.EventHit || e.Kind == cacheplugin.EventStore {
		as = append(as, RowsKey.Int(e.Rows), BytesKey.Int(e.Bytes))
	}
	if e.Near {
		as = append(as, grade(e))
	}
	return as
}

func grade(e cacheplugin.Event) attribute.KeyValue {
	if e.Validated {
		return GradeKey.String("validated")
	}
	return GradeKey.String("bounded")
}

func scope(e cacheplugin.Event) attribute.KeyValue {
	if e.Whole {
		return ScopeKey.String("whole")
	}
	return ScopeKey.String("keys")
}

// reasonSort is what a reason has in common with others of its sort: the rest names
// tables and functions, of which there may be any number.
func reasonSort(reason string) string {
	s, _, _ := strings.Cut(reason, ":")
	return s
}
