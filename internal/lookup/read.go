package lookup

import (
	"context"
	"database/sql/driver"
	"errors"
	"slices"
	"time"

	"gorm.io/gorm"

	"github.com/cacheplugin/cacheplugin/cache"
	"github.com/cacheplugin/cacheplugin/conj"
	"github.com/cacheplugin/cacheplugin/internal/database"
	"github.com/cacheplugin/cacheplugin/internal/namespace"
	"github.com/cacheplugin/cacheplugin/internal/report"
	"github.com/cacheplugin/cacheplugin/internal/rowset"
	"github.com/cacheplugin/cacheplugin/internal/shapes"
	"github.com/cacheplugin/cacheplugin/internal/store"
)

// Read is one query, or one computation, that may be answered from the cache.
type Read struct {
	cache  *Cache
	pool   gorm.ConnPool // a source, or the transaction
	filler gorm.ConnPool // what fills the cache: the same, or a replica
	query  string
	args   []any

	info     *cache.Recorder     // nil if nobody asks how the read is answered
	unstored func(reason string) // tells there why a result was not stored; nil as well

	table   string // for events
	shape   *shapes.Shape
	op      cache.Op
	timeout time.Duration
	lock    bool
	near    nearRead
	peek    bool // a clean transaction: look up, but store nothing
	drain   bool // complete the copy of a result that is read in part
	scans   bool // the reader may stop after the first row, if there is one more or not
	atOnce  bool // store the result before going on, whatever StoreQueue says

	space  *namespace.Namespace
	key    store.EntryKey
	deps   []store.Dependency
	tables []string

	database *database.Database
	version  uint64 // of the catalog when the query was compiled

	depBuffer    [2]store.Dependency
	tableBuffer  [2]string
	keyBuffer    [4]conj.Key
	schemeBuffer [4]conj.Scheme

	columns int // how many SELECT * must give on SQLite; 0 if that isn't known

	checked *conj.Plan     // of a query whose hits may be checked
	joined  []*conj.Joined // tables whose rows the result tells, in the order of deps
}

// newRead returns what carries a decision out.
func (h *Handle) newRead(ctx context.Context, d *decision, adm admission) (*Read, error) {
	q := d.query
	r := &Read{
		cache: h.Cache, pool: d.pool, filler: d.pool, query: q.Text, args: q.Args,
		table: d.table, op: d.op, timeout: adm.timeout, lock: adm.lock,
		peek: q.tx != nil, drain: !q.Streams, scans: q.Scans,
		space: d.space, key: d.key, info: q.info,
		database: d.database, version: d.version, joined: d.joined,
	}
	r.shape = h.Shapes.OfPlan(h.dialect, d.plan, q.Text, d.op, d.table)
	r.dependOn(d.deps)
	for _, j := range d.joined {
		i := d.dependencyOn(j.Table)
		r.deps[i] = store.Dependency{Table: j.Table.ID, Schemes: []conj.Scheme{j.Scheme}, Joined: true}
	}
	if h.dialect == conj.SQLite && d.plan.AllColumns {
		r.columns = len(d.plan.Sole.Columns())
	}
	if h.ReplicaLag > 0 && q.tx == nil {
		var err error
		if r.filler, err = h.filler(ctx, d.pool, q.Pool); err != nil {
			return nil, err
		}
	}
	if h.checks != nil && d.checkable(ctx) {
		r.checked = d.plan
	}
	h.useNear(ctx, r, d)
	return r, nil
}

// Pool is what answers the query in the cache's place: a source, since a
// replica may be behind the cache, or the transaction.
func (r *Read) Pool() gorm.ConnPool { return r.pool }

// Drain has the copy of a result completed whose reader stops early.
func (r *Read) Drain() { r.drain = true }

// Open answers from the cache, or asks the database and keeps a copy. It
// returns nil where the caller is to ask the database and nothing is to be kept.
func (r *Read) Open(ctx context.Context) (driver.Rows, error) {
	start := r.clock()
	if rows := r.openNear(ctx, start); rows != nil {
		return rows, nil
	}
	found, err := r.find(ctx, start)
	if err != nil {
		return nil, err
	}
	switch found.State {
	case store.Hit:
		rows, err := r.cache.layouts.Decode(found.Payload)
		if err != nil {
			r.discard(ctx, err)
			return nil, nil
		}
		r.reportHit(ctx, found.Payload, start, r.near.confirms)
		r.informHit(ctx, found.Payload, found.Version, r.near.confirms)
		r.putNear(found.Payload, found.Version, r.near.asked)
		r.check(ctx, found.Payload, found.Version)
		return rows, nil
	case store.Leased:
		return r.fill(ctx, found.Lease)
	}
	return nil, nil
}

// find looks the result up, and reports what it finds unless that is a hit: it
// is for the caller to say whether the payload is good. A result that is neither
// a hit nor leased has to come from elsewhere, and is not to be stored.
func (r *Read) find(ctx context.Context, start time.Time) (store.Lookup, error) {
	found, err := r.lookUp(ctx)
	if err != nil {
		if ctxErr := ctx.Err(); ctxErr != nil {
			return store.Lookup{}, ctxErr
		}
		r.cache.Report.Failed(ctx, "a look-up failed; the database answers", r.table, err)
		r.inform(cache.Bypassed, "a look-up failed: "+err.Error())
		// A damaged entry has been dropped: the next one who asks is served.
		if r.cache.ReturnErrors && !errors.Is(err, store.ErrDamaged) {
			return store.Lookup{}, err
		}
		return store.Lookup{}, nil
	}
	switch found.State {
	case store.Hit:
	case store.Fenced:
		r.report(ctx, report.Event{Kind: report.Skip, Reason: r.fencedReason(), Duration: report.Since(start)})
		r.inform(cache.Bypassed, r.fencedReason())
	default:
		misses := r.cache.Shapes.Miss(r.shape, r.entry(), r.tables, time.Now())
		if advice := r.shape.Advice(misses); advice != "" {
			r.cache.Report.Hint(ctx, "shape "+r.shape.ID, "a query is cached to no effect: "+advice, "query", r.shape.Text)
		}
		r.report(ctx, report.Event{Kind: report.Miss, Duration: report.Since(start)})
		r.inform(cache.Miss, r.keptFrom(found.State))
	}
	return found, nil
}

// lookUp asks the store, and waits for another's result under Lock.
func (r *Read) lookUp(ctx context.Context) (store.Lookup, error) {
	if r.peek {
		found, err := r.space.Store.Peek(ctx, r.key, r.deps)
		if err == nil && found.State != store.Hit {
			r.cache.hintTransaction(ctx)
		}
		return found, err
	}
	found, err := r.acquire(ctx)
	if err != nil || found.State != store.Busy || !r.lock {
		return found, err
	}
	return r.wait(ctx, found)
}

// discard drops an entry that is of another version, or damaged.
func (r *Read) discard(ctx context.Context, why error) {
	r.cache.Report.Failed(ctx, "an entry could not be decoded; the database answers", r.table, why)
	r.inform(cache.Bypassed, "an entry could not be decoded: "+why.Error())
	if err := r.space.Store.Forget(ctx, r.key); err != nil {
		r.cache.Report.Failed(ctx, "an entry could not be dropped", r.table, err)
	}
}

// report tells of the read.
func (r *Read) report(ctx context.Context, e report.Event) {
	e.Table, e.Op = r.table, r.op
	if e.Kind == report.Skip {
		r.shape.Skip(e.Reason)
	}
	if r.cache.Report.Observed() {
		e.Key, e.Tables = r.key.String(), r.tables
		e.Shape = r.shape.ID
		if e.Query == "" {
			e.Query = r.shape.Text
		}
	}
	r.cache.Report.Event(ctx, e)
}

func (r *Read) reportHit(ctx context.Context, payload []byte, start time.Time, near bool) {
	validated := near && r.near.confirms
	r.shape.Hit(near, report.Since(start))
	if !r.cache.Report.Observed() {
		r.cache.Report.CountHit(near, validated)
		return
	}
	r.report(ctx, report.Event{
		Kind: report.Hit, Rows: rowset.Count(payload), Bytes: len(payload), Duration: report.Since(start),
		Near: near, Validated: validated,
	})
}

// clock is the time, or zero if nobody needs to know how long the look-up takes.
func (r *Read) clock() time.Time {
	if r.cache.Report.Observed() || r.shape.Timed() {
		return time.Now()
	}
	return time.Time{}
}

// entry names the result for what is counted of it.
func (r *Read) entry() shapes.Entry { return shapes.Entry{Namespace: r.space.ID, Key: r.key} }

// fencedReason says why a look-up was answered by a fence.
func (r *Read) fencedReason() string {
	if r.cache.ReplicaLag > 0 {
		return "a write is being committed, or on its way to the replicas"
	}
	return "a write is being committed"
}

// dependOn names a query's conjunctions to the store. The read has room for
// what most queries need.
func (r *Read) dependOn(deps []conj.Dependency) {
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

// Table is the table whose profile applies.
func (r *Read) Table() string { return r.table }
