package cacheplugin

import (
	"context"
	"reflect"
	"time"

	"github.com/cacheplugin/cacheplugin/cache"
	"github.com/cacheplugin/cacheplugin/internal/lookup"
	"github.com/cacheplugin/cacheplugin/internal/report"
)

// Observer is told what the plugin does. Observe is called synchronously, from
// many goroutines.
type Observer interface {
	Observe(ctx context.Context, event Event)
}

// ObserverFunc makes a function an Observer.
type ObserverFunc func(ctx context.Context, event Event)

// Observe implements Observer.
func (f ObserverFunc) Observe(ctx context.Context, event Event) { f(ctx, event) }

// Observers returns an Observer that tells each of the given ones, in their
// order; nil ones are left out. It is nil if none is left, so that nothing is
// measured for nobody.
func Observers(observers ...Observer) Observer {
	all := make(several, 0, len(observers))
	for _, o := range observers {
		if o != nil {
			all = append(all, o)
		}
	}
	switch len(all) {
	case 0:
		return nil
	case 1:
		return all[0]
	}
	return all
}

type several []Observer

func (s several) Observe(ctx context.Context, event Event) {
	for _, o := range s {
		o.Observe(ctx, event)
	}
}

// EventKind is what an Event tells of.
type EventKind uint8

// The kinds of events.
const (
	// EventHit is a query that was answered from the cache.
	EventHit EventKind = iota + 1
	// EventMiss is a query that could have been, and went to the database.
	EventMiss
	// EventStore is a result that was stored.
	EventStore
	// EventSkip is a query on a profiled table, or one that opted in, that
	// was not looked up or not stored, and Event.Reason says why.
	EventSkip
	// EventInvalidate is the invalidation of one table.
	EventInvalidate
	// EventError is an error of Redis or of the catalog. The query or write
	// went on unless the configuration says otherwise.
	EventError
	// EventRepair is the invalidation of one table out of the outbox: the
	// writer has died before its own, or could not reach Redis.
	EventRepair
	// EventStale is a result that was served although the database had another
	// one for a while, found by a shadow read. It has been dropped.
	EventStale
	// EventShadow is a hit that a shadow read checks against the database.
	EventShadow
	// EventFollow is the invalidation of one table by a follower, which has read
	// of the change in the database's log. Event.Age says how long after the commit
	// it was, as far as the clocks agree.
	EventFollow
)

// String returns the kind's name in lower case, such as "hit".
func (k EventKind) String() string {
	switch k {
	case EventHit:
		return "hit"
	case EventMiss:
		return "miss"
	case EventStore:
		return "store"
	case EventSkip:
		return "skip"
	case EventInvalidate:
		return "invalidate"
	case EventError:
		return "error"
	case EventRepair:
		return "repair"
	case EventStale:
		return "stale"
	case EventShadow:
		return "shadow"
	case EventFollow:
		return "follow"
	}
	return "unknown"
}

// ReasonRefused is the reason of the skip of a result that was not stored
// because what it depends on had been invalidated while it was read.
const ReasonRefused = lookup.ReasonRefused

// ReasonQueueFull is the reason of the skip of a result that was not stored
// because as many were waiting as Config.StoreQueue has room for.
const ReasonQueueFull = lookup.ReasonQueueFull

// Event is one thing that the plugin did. Fields that don't concern the kind
// are zero.
type Event struct {
	Kind EventKind
	// Table is the query's main table, or the table that was invalidated;
	// "*" for everything.
	Table string
	// Op is the query's operation.
	Op cache.Op
	// Key is the entry's key, as it is spelled in Redis.
	Key string
	// Reason says why a query was skipped, or what an error was met at.
	Reason string
	// Unstored says of a skip that it follows a miss: the result was read and
	// not stored.
	Unstored bool
	// Rows and Bytes are the size of a result.
	Rows, Bytes int
	// Near says that a hit came out of the process's own memory (NearCache),
	// Validated that Redis had been asked and confirmed it.
	Near, Validated bool
	// Whole says that a table was dropped whole, Images how many row images
	// were looked at, Keys how many conjunctions, Dropped how many results.
	Whole                 bool
	Images, Keys, Dropped int
	// Duration is how long a look-up (of a hit or miss, waiting for another's
	// result under Lock included, the database not), a store or an
	// invalidation took.
	Duration time.Duration
	// Query is the text of the query, its values left out, or of the statement
	// that an EventInvalidate is for: empty if that is not one alone, or an
	// invalidation by hand. Reason then says why a table was dropped whole.
	Query string
	// Shape names the query's shape, as Report does.
	Shape string
	// Tables are the tables that a query reads, in the spelling that Table has in
	// invalidations: with the schema or database. It must not be changed.
	Tables []string
	// Age says for how long a stale result had been stored, as far as its
	// remaining time and the query's timeout tell. Of an EventFollow it is how old
	// the changes were.
	Age time.Duration
	// Err is the error of an EventError.
	Err error
}

// Stats are counters since the plugin was made. They count this process's
// events; see EventKind.
type Stats struct {
	// Hits, Misses, Stores and Skips count queries. One whose result was read
	// and not stored is a miss and a skip.
	Hits, Misses, Stores, Skips int64
	// NearHits are those of the hits that came out of the process's own memory,
	// NearValidated those of these that Redis had confirmed.
	NearHits, NearValidated int64
	// Refused are results that were not stored because what they depend on
	// had been invalidated while they were read.
	Refused int64
	// Overflowed are results that were not stored because StoreQueue was full.
	Overflowed int64
	// Invalidations counts tables dropped from, one for each commit; Dropped the
	// results dropped, of which a table dropped whole counts as one.
	Invalidations, Dropped int64
	// Queued counts invalidations that had to be queued, because Redis could
	// not be told within RetryFor.
	Queued int64
	// Repaired counts tables invalidated out of the outbox.
	Repaired int64
	// Followed counts tables that a follower in this process has invalidated.
	Followed int64
	// ShadowReads counts hits that were checked, Stale those that were stale.
	ShadowReads, Stale int64
	// Errors counts those of Redis and of the catalog, Queued included.
	Errors int64
}

// Stats returns a snapshot of the counters.
func (p *Plugin) Stats() Stats {
	if p.report == nil {
		return Stats{}
	}
	return Stats(p.report.Stats())
}

// plus returns the sums.
func (s Stats) plus(o Stats) Stats {
	sum, more := reflect.ValueOf(&s).Elem(), reflect.ValueOf(o)
	for i := range sum.NumField() {
		sum.Field(i).SetInt(sum.Field(i).Int() + more.Field(i).Int())
	}
	return s
}

// observe returns what passes events on to the Observer, nil without one.
func (c Config) observe() func(context.Context, report.Event) {
	if c.Observer == nil {
		return nil
	}
	return func(ctx context.Context, e report.Event) {
		c.Observer.Observe(ctx, Event{
			Kind: EventKind(e.Kind), Table: e.Table, Op: e.Op, Key: e.Key, Reason: e.Reason, Unstored: e.Unstored,
			Rows: e.Rows, Bytes: e.Bytes, Near: e.Near, Validated: e.Validated,
			Whole: e.Whole, Images: e.Images, Keys: e.Keys, Dropped: e.Dropped,
			Duration: e.Duration, Query: e.Query, Shape: e.Shape, Tables: e.Tables, Age: e.Age, Err: e.Err,
		})
	}
}
