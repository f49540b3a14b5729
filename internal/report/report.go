// Package report counts, logs and passes on what the plugin does.
package report

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cacheplugin/cacheplugin/cache"
)

// Kind is what an Event tells of.
type Kind uint8

// The kinds of events, in the order of the root package's.
const (
	Hit Kind = iota + 1
	Miss
	Store
	Skip
	Invalidate
	Error
	Repair
	Stale
	Shadow
	Follow
)

// Event is one thing that the plugin did. The root package documents the
// fields.
type Event struct {
	Kind                  Kind
	Table                 string
	Op                    cache.Op
	Key                   string
	Reason                string
	Unstored              bool
	Rows, Bytes           int
	Near, Validated       bool
	Whole                 bool
	Images, Keys, Dropped int
	Duration              time.Duration
	Query, Shape          string
	Tables                []string
	Age                   time.Duration
	Err                   error
}

// Stats are counters. The root package documents them.
type Stats struct {
	Hits, Misses, Stores, Skips int64
	NearHits, NearValidated     int64
	Refused                     int64
	Overflowed                  int64
	Invalidations, Dropped      int64
	Queued                      int64
	Repaired                    int64
	Followed                    int64
	ShadowReads, Stale          int64
	Errors                      int64
}

// Reporter takes what happens. It is safe for concurrent use.
type Reporter struct {
	logger  *slog.Logger
	observe func(context.Context, Event) // nil if nobody listens
	last    sync.Map                     // string -> *atomic.Int64: when a kind of message was logged, in nanoseconds

	hits, misses, stores, skips, nearHits, nearValidated, refused, overflowed      atomic.Int64
	invalidations, dropped, queued, repaired, followed, shadowReads, stale, errors atomic.Int64
}

// New returns a Reporter that logs to logger and passes events on to observe,
// which may be nil.
func New(logger *slog.Logger, observe func(context.Context, Event)) *Reporter {
	return &Reporter{logger: logger, observe: observe}
}

// Observed reports whether somebody is told of events. Where nobody is, a hit
// need only be counted.
func (r *Reporter) Observed() bool { return r.observe != nil }

// Event counts an event and passes it on.
func (r *Reporter) Event(ctx context.Context, e Event) {
	r.count(e)
	if r.observe != nil {
		r.observe(ctx, e)
	}
}

func (r *Reporter) count(e Event) {
	switch e.Kind {
	case Hit:
		r.CountHit(e.Near, e.Validated)
	case Miss:
		r.misses.Add(1)
	case Store:
		r.stores.Add(1)
	case Skip:
		r.skips.Add(1)
	case Invalidate:
		r.invalidations.Add(1)
		r.dropped.Add(int64(e.Dropped))
	case Repair:
		r.repaired.Add(1)
	case Follow:
		r.followed.Add(1)
	case Stale:
		r.stale.Add(1)
	case Shadow:
		r.shadowReads.Add(1)
	case Error:
		r.errors.Add(1)
	}
}

// CountHit counts a hit that nobody is told of.
func (r *Reporter) CountHit(near, validated bool) {
	r.hits.Add(1)
	if near {
		r.nearHits.Add(1)
	}
	if validated {
		r.nearValidated.Add(1)
	}
}

// CountRefused counts a result that was invalidated while it was read.
func (r *Reporter) CountRefused() { r.refused.Add(1) }

// CountOverflowed counts a result that found no room among those to be stored.
func (r *Reporter) CountOverflowed() { r.overflowed.Add(1) }

// CountQueued counts an invalidation that had to be queued.
func (r *Reporter) CountQueued() { r.queued.Add(1) }

// Stats returns a snapshot of the counters.
func (r *Reporter) Stats() Stats {
	return Stats{
		Hits: r.hits.Load(), Misses: r.misses.Load(), Stores: r.stores.Load(), Skips: r.skips.Load(),
		NearHits: r.nearHits.Load(), NearValidated: r.nearValidated.Load(),
		Refused: r.refused.Load(), Overflowed: r.overflowed.Load(),
		Invalidations: r.invalidations.Load(), Dropped: r.dropped.Load(),
		Queued: r.queued.Load(), Repaired: r.repaired.Load(), Followed: r.followed.Load(),
		ShadowReads: r.shadowReads.Load(), Stale: r.stale.Load(), Errors: r.errors.Load(),
	}
}

// Clock is the time, or zero if nobody is told how long something took.
func (r *Reporter) Clock() time.Time {
	if r.observe == nil {
		return time.Time{}
	}
	return time.Now()
}

// Since is the time since a Clock, zero if that was.
func Since(start time.Time) time.Duration {
	if start.IsZero() {
		return 0
	}
	return time.Since(start)
}

// Failed reports an error that the caller goes on without.
func (r *Reporter) Failed(ctx context.Context, what, table string, err error) {
	r.Event(ctx, Event{Kind: Error, Table: table, Reason: what, Err: err})
	r.Warn(ctx, what, what, "table", table, "error", err)
}

// logEvery is how often a message of a kind is logged at most.
const logEvery = 10 * time.Second

// Warn logs a message unless one of its kind was logged a moment ago.
func (r *Reporter) Warn(ctx context.Context, kind, message string, args ...any) {
	v, _ := r.last.LoadOrStore(kind, new(atomic.Int64))
	last := v.(*atomic.Int64) //nolint:forcetypeassert // only these are stored
	now := time.Now().UnixNano()
	then := last.Load()
	if (then == 0 || now-then >= int64(logEvery)) && last.CompareAndSwap(then, now) {
		r.logger.WarnContext(ctx, prefix+message, args...)
	}
}

// WarnOnce logs a message if none of its kind has been logged yet.
func (r *Reporter) WarnOnce(ctx context.Context, kind, message string, args ...any) {
	if r.first(kind) {
		r.logger.WarnContext(ctx, prefix+message, args...)
	}
}

// first reports whether no message of a kind was logged yet, and notes that one is.
func (r *Reporter) first(kind string) bool {
	if _, known := r.last.Load(kind); known {
		return false
	}
	_, known := r.last.LoadOrStore(kind, new(atomic.Int64))
	return !known
}

// WarnAlways logs a message.
func (r *Reporter) WarnAlways(ctx context.Context, message string, args ...any) {
	r.logger.WarnContext(ctx, prefix+message, args...)
}

// Hint logs once what somebody may want to change, and how.
func (r *Reporter) Hint(ctx context.Context, kind, message string, args ...any) {
	if r.first(kind) {
		r.logger.InfoContext(ctx, prefix+message, args...)
	}
}

// Info logs a message.
func (r *Reporter) Info(ctx context.Context, message string, args ...any) {
	r.logger.InfoContext(ctx, prefix+message, args...)
}

// Error logs a message that somebody should act on.
func (r *Reporter) Error(ctx context.Context, message string, args ...any) {
	r.logger.ErrorContext(ctx, prefix+message, args...)
}

const prefix = "cacheplugin: "
