package cacheplugin

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"slices"
	"time"

	"gorm.io/gorm"

	"github.com/cacheplugin/cacheplugin/cache"
	"github.com/cacheplugin/cacheplugin/conj"
	"github.com/cacheplugin/cacheplugin/internal/catalog"
	"github.com/cacheplugin/cacheplugin/internal/rowset"
	"github.com/cacheplugin/cacheplugin/internal/store"
)

// read is one query that may be answered from the cache.
type read struct {
	engine *engine
	pool   gorm.ConnPool // a source, or the transaction
	filler gorm.ConnPool // what fills the cache: the same, or a replica
	query  string
	args   []any

	table   string
	op      cache.Op
	timeout time.Duration
	lock    bool
	near    nearRead
	peek    bool // a clean transaction: look up, but store nothing
	drain   bool // complete the copy of a result that is read in part
	atOnce  bool // store the result before going on, whatever StoreQueue says

	space  *space
	key    store.EntryKey
	deps   []store.Dependency
	tables []string

	catalog *catalog.Catalog
	version uint64 // of the catalog when the query was compiled

	depBuffer    [2]store.Dependency
	tableBuffer  [2]string
	keyBuffer    [4]conj.Key
	schemeBuffer [4]conj.Scheme

	columns int // how many SELECT * must give on SQLite; 0 if that isn't known

	plan   *conj.Plan     // of a query whose hits may be checked
	joined []*conj.Joined // tables whose rows the result tells, in the order of deps
}

const (
	lockPollMin = 5 * time.Millisecond
	lockPollMax = 50 * time.Millisecond
)

// open looks the query up, and on a miss asks the database while it keeps a
// copy. It returns nil where the caller is to ask the database and nothing is
// to be kept.
func (r *read) open(ctx context.Context) (driver.Rows, error) {
	e := r.engine
	start := e.clock()
	if r.near.on {
		if rows, ok := r.openNear(ctx, start); ok {
			return rows, nil
		}
	}
	found, err := r.lookup(ctx)
	if err != nil {
		if ctxErr := ctx.Err(); ctxErr != nil {
			return nil, ctxErr
		}
		e.failed(ctx, "a look-up failed; the database answers", r.table, err)
		if e.config.OnReadError == Return {
			return nil, err
		}
		return nil, nil
	}
	switch found.State {
	case store.Hit:
		rows, err := e.layouts.Decode(found.Payload)
		if err == nil {
			r.hit(ctx, found.Payload, start, r.near.confirms)
			r.keep(found.Payload, found.Version, r.near.asked)
			r.shadow(ctx, found.Payload)
			return rows, nil
		}
		// The entry is of another version, or damaged: replace it.
		e.failed(ctx, "an entry could not be decoded; the database answers", r.table, err)
		if err := r.space.store.Forget(ctx, r.key); err != nil {
			e.failed(ctx, "an entry could not be dropped", r.table, err)
		}
		return nil, nil
	case store.Leased:
		e.observe(ctx, Event{Kind: EventMiss, Table: r.table, Op: r.op, Key: r.key.String(), Duration: since(start)})
		return r.fill(ctx, found.Lease)
	case store.Fenced:
		e.observe(ctx, Event{Kind: EventSkip, Table: r.table, Op: r.op, Key: r.key.String(), Reason: r.fencedReason(), Duration: since(start)})
	default:
		e.observe(ctx, Event{Kind: EventMiss, Table: r.table, Op: r.op, Key: r.key.String(), Duration: since(start)})
	}
	return nil, nil
}

func (r *read) hit(ctx context.Context, payload []byte, start time.Time, near bool) {
	validated := near && r.near.confirms
	if r.engine.config.Observer == nil {
		r.engine.counters.hit(near, validated)
		return
	}
	r.engine.observe(ctx, Event{
		Kind: EventHit, Table: r.table, Op: r.op, Key: r.key.String(), Rows: rowset.Count(payload), Bytes: len(payload), Duration: since(start),
		Near: near, Validated: validated,
	})
}

// lookup asks the store, and waits for another's result under Lock.
func (r *read) lookup(ctx context.Context) (store.Lookup, error) {
	if r.peek {
		return r.space.store.Peek(ctx, r.key, r.deps)
	}
	found, err := r.acquire(ctx)
	if err != nil || found.State != store.Busy || !r.lock {
		return found, err
	}
	return r.wait(ctx, found)
}

// fill sends the query to the database and stores what comes back, once it is
// read to its end.
func (r *read) fill(ctx context.Context, lease store.Lease) (driver.Rows, error) {
	e := r.engine
	// A lease outlives a cancelled query no longer than its own time, but
	// others wait for it under Lock: give it back, whatever became of ctx.
	after := context.WithoutCancel(ctx)
	release := func() { r.release(after, lease) }
	rows, err := r.filler.QueryContext(ctx, r.query, r.args...)
	if err != nil {
		release()
		return nil, err
	}
	outdated := r.outdated(rows)
	joined := r.joinedRows(rows)
	kept, err := rowset.Tee(rows, rowset.TeeOptions{
		Limits: rowset.Limits{Rows: e.config.MaxRows, Bytes: e.config.MaxBytes},
		Drain:  r.drain,
		Row:    joined.add(),
		Done: func(rec rowset.Recording) {
			reason := rec.Reason
			if outdated {
				reason = "the connection has not met a change of the table's definition yet"
			}
			if reason != "" {
				release()
				e.observe(after, Event{Kind: EventSkip, Table: r.table, Op: r.op, Key: r.key.String(), Reason: reason, Unstored: true, Rows: rec.Rows})
				return
			}
			r.save(saving{read: r, ctx: after, lease: lease, payload: rec.Payload, rows: rec.Rows, joined: joined.keys()})
		},
	})
	if err != nil {
		release()
		return nil, err
	}
	return kept, nil
}

// outdated tells whether rows of SELECT * lack columns that the table has. A
// connection of SQLite's driver gives the first such result after another one
// has altered the table; kept, it would go on being given.
func (r *read) outdated(rows *sql.Rows) bool {
	if r.columns == 0 {
		return false
	}
	names, err := rows.Columns()
	return err == nil && len(names) != r.columns
}

func (r *read) release(ctx context.Context, lease store.Lease) {
	defer r.engine.flights.end(lease)
	if r.queue(saving{read: r, ctx: ctx, lease: lease, dropped: true}) == queued {
		return
	}
	if err := r.space.store.Release(ctx, lease); err != nil {
		r.engine.failed(ctx, "a lease could not be released", r.table, err)
	}
}

// save stores a result, now or behind the reader's back, and gives it at once to
// those of this process who wait for it.
func (r *read) save(s saving) {
	e := r.engine
	if !r.storable(s.ctx) {
		r.release(s.ctx, s.lease)
		return
	}
	e.flights.land(s.lease, s.payload) // also if it is refused: those who wait began before
	switch r.queue(s) {
	case queued:
	case overflow:
		e.flights.end(s.lease)
		e.counters.overflowed.Add(1)
		e.observe(s.ctx, Event{Kind: EventSkip, Table: r.table, Op: r.op, Key: r.key.String(), Reason: ReasonQueueFull, Unstored: true, Rows: s.rows})
	default:
		start := time.Now()
		stored, err := r.space.store.Save(s.ctx, s.lease, s.payload, r.timeout, s.joined...)
		e.flights.end(s.lease)
		r.saved(s, start, stored, err)
	}
}

func (r *read) queue(s saving) queueing {
	if r.atOnce {
		return notQueued
	}
	return r.engine.queue.add(s)
}

// storable tells whether a result may be stored still, and reports if not.
func (r *read) storable(ctx context.Context) bool {
	// The tables may have other identities now than those that were
	// registered: a partition was attached, a view replaced.
	if r.catalog.Version() != r.version {
		r.engine.observe(ctx, Event{Kind: EventSkip, Table: r.table, Op: r.op, Key: r.key.String(), Reason: "definitions have changed meanwhile", Unstored: true})
		return false
	}
	// An invalidation that came to be queued after our look-up will drop what
	// we store, but only later: store nothing that this process would bypass.
	return !r.space.guard.Bypass(r.tables...)
}

// saved reports what became of a result.
func (r *read) saved(s saving, start time.Time, stored bool, err error) {
	e := r.engine
	switch {
	case err != nil:
		e.failed(s.ctx, "a result could not be stored", r.table, err)
	case !stored:
		e.counters.refused.Add(1)
		e.observe(s.ctx, Event{Kind: EventSkip, Table: r.table, Op: r.op, Key: r.key.String(), Reason: ReasonRefused, Unstored: true})
	default:
		// Known to be valid since the look-up that took the lease, and no longer: a
		// result that something has outdated meanwhile may be stored, and is no hit.
		r.keep(s.payload, s.lease.Version(), r.near.asked)
		e.observe(s.ctx, Event{
			Kind: EventStore, Table: r.table, Op: r.op, Key: r.key.String(),
			Rows: s.rows, Bytes: len(s.payload), Duration: time.Since(start),
		})
	}
}

// dependOn names a query's conjunctions to the store. The read has room for
// what most queries need.
func (r *read) dependOn(deps []conj.Dependency) {
	r.deps, r.tables = r.depBuffer[:0], r.tableBuffer[:0]
	keys, schemes := r.keyBuffer[:0], r.schemeBuffer[:0]
	for _, d := range deps {
		firstKey, firstScheme := len(keys), len(schemes)
		for _, c := range d.Conjunctions {
			keys = append(keys, c.Key)
			if !slices.Contains(schemes[firstScheme:], c.Scheme) {
				schemes = append(schemes, c.Scheme)
			}
		}
		r.tables = append(r.tables, d.Table.ID)
		r.deps = append(r.deps, store.Dependency{
			Table: d.Table.ID, Keys: keys[firstKey:len(keys):len(keys)], Schemes: schemes[firstScheme:len(schemes):len(schemes)],
		})
	}
}
