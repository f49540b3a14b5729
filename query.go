package cacheplugin

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"

	"gorm.io/gorm"
	"gorm.io/gorm/clause"

	"github.com/cacheplugin/cacheplugin/cache"
	"github.com/cacheplugin/cacheplugin/conj"
	"github.com/cacheplugin/cacheplugin/rowset"
	"github.com/cacheplugin/cacheplugin/store"
	"github.com/cacheplugin/cacheplugin/txn"
)

// onQuery wraps the handlers of queries. The handler runs with a pool in the
// statement's place that looks its one query up: nothing of GORM's building
// and scanning is repeated here, so a result from the cache reaches every kind
// of destination and every hook as one from the database does.
func (e *engine) onQuery(next func(*gorm.DB), row bool) func(*gorm.DB) {
	return func(db *gorm.DB) {
		stmt := db.Statement
		if db.Error != nil || db.DryRun {
			next(db)
			return
		}
		if stmt.SQL.Len() > 0 && !e.readsOnly(stmt) {
			e.runWrite(db, next, row)
			return
		}
		pool := stmt.ConnPool
		from := pool
		if leased(stmt.Context) {
			if _, tx := txn.Of(pool); tx == nil {
				from = e.source(db, pool)
			}
		}
		stmt.ConnPool = &readPool{ConnPool: from, engine: e, db: db, row: row}
		defer func() { stmt.ConnPool = pool }()
		next(db)
		if db.Error != nil && !errors.Is(db.Error, gorm.ErrRecordNotFound) {
			failedIn(pool)
		}
	}
}

// failedIn notes that a query has failed: PostgreSQL refuses every later one
// of its transaction, so that the cache must not answer there either.
func failedIn(pool gorm.ConnPool) {
	if _, tx := txn.Of(pool); tx != nil {
		tx.MarkOpaque()
	}
}

// readsOnly tells whether a text made by hand is sure to write nothing.
func (e *engine) readsOnly(stmt *gorm.Statement) bool {
	text := stmt.SQL.String()
	if startsWithSelect(text) {
		return true
	}
	_, tx := txn.Of(stmt.ConnPool)
	plan, err := e.database(stmt.ConnPool).plan(stmt.Context, stmt.ConnPool, text, keep(tx))
	return err == nil && plan.Statement == conj.Select && len(plan.Writes) == 0 && !plan.HasSideEffects
}

// readPool answers one statement's query from the cache where it may.
type readPool struct {
	gorm.ConnPool
	engine *engine
	db     *gorm.DB
	row    bool // from the row processor: Scan, Row, Rows
}

// Unwrap returns the pool underneath.
func (r *readPool) Unwrap() gorm.ConnPool { return r.ConnPool }

// QueryContext implements gorm.ConnPool.
func (r *readPool) QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error) {
	rd, err := r.engine.prepare(ctx, r.db, r.ConnPool, query, args, r.row)
	if err != nil {
		return nil, err
	}
	if rd == nil {
		return r.ConnPool.QueryContext(ctx, query, args...)
	}
	kept, err := rd.open(ctx)
	if err != nil {
		return nil, err
	}
	if kept == nil {
		return rd.pool.QueryContext(ctx, query, args...) // a source: a replica may be behind the cache
	}
	rows, err := rowset.Rows(kept)
	if err != nil {
		r.engine.failed(ctx, "a result could not be replayed; the database answers", rd.table, errors.Join(err, kept.Close()))
		return rd.pool.QueryContext(ctx, query, args...)
	}
	return rows, nil
}

// QueryRowContext implements gorm.ConnPool.
func (r *readPool) QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row {
	rd, err := r.engine.prepare(ctx, r.db, r.ConnPool, query, args, r.row)
	if err != nil {
		return rowset.RowError(err)
	}
	if rd == nil {
		return askRow(ctx, r.ConnPool, query, args)
	}
	rd.drain = true // a row's reader stops after the first
	kept, err := rd.open(ctx)
	if err != nil {
		return rowset.RowError(err)
	}
	if kept == nil {
		return askRow(ctx, rd.pool, query, args)
	}
	return rowset.Row(kept)
}

func askRow(ctx context.Context, pool gorm.ConnPool, query string, args []any) *sql.Row {
	found := pool.QueryRowContext(ctx, query, args...)
	if found.Err() != nil {
		failedIn(pool)
	}
	return found
}

// read is one query that may be answered from the cache.
type read struct {
	engine *engine
	pool   gorm.ConnPool // the database that fills the cache
	query  string
	args   []any

	table   string
	op      cache.Op
	timeout time.Duration
	lock    bool
	local   bool // keep the result in the process, too
	mark    uint64
	peek    bool // a clean transaction: look up, but store nothing
	drain   bool // complete the copy of a result that is read in part

	space  *space
	key    store.EntryKey
	deps   []store.Dependency
	tables []string

	columns int // how many SELECT * must give on SQLite; 0 if that isn't known
}

// prepare decides whether a query is looked up; it returns nil if not. An
// error is the query's own.
func (e *engine) prepare(ctx context.Context, db *gorm.DB, pool gorm.ConnPool, query string, args []any, row bool) (*read, error) {
	stmt := db.Statement
	settings := cache.Of(stmt)
	where, tx := txn.Of(pool)
	raw := where == txn.InTx && startsRaw(stmt)
	if raw && !tx.Dirty() {
		e.watchRaw(ctx, pool, tx, query)
	}
	if settings == nil {
		if row {
			return nil, nil // streaming and the migrator: by hand only
		}
		if stmt.TableExpr == nil && stmt.Table != "" {
			p := e.profile(stmt.Table, modelType(stmt))
			if p.err == nil && (p.profile == nil || p.profile.Ops == 0) {
				return nil, nil
			}
		}
	}
	rd, reason, err := e.decide(ctx, db, pool, query, args, row)
	if err != nil {
		e.failed(ctx, "a query could not be prepared for the cache", stmt.Table, err)
		return nil, nil
	}
	if rd == nil {
		if reason != "" {
			e.observe(ctx, Event{Kind: EventSkip, Table: stmt.Table, Reason: reason})
		}
		return nil, nil
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	return rd, nil
}

// decision is what decide and Explain share: what is known of a query before
// the cache is asked.
type decision struct {
	plan    *conj.Plan
	op      cache.Op
	table   string
	profile *Profile
	deps    []conj.Dependency
	key     store.EntryKey
	space   *space
	pool    gorm.ConnPool
	tx      *txn.Tx
}

// decide returns the read, or the reason why the query is not cached; both are
// empty where the profile just doesn't list the operation.
func (e *engine) decide(ctx context.Context, db *gorm.DB, pool gorm.ConnPool, query string, args []any, row bool) (*read, string, error) {
	d, reason, err := e.analyse(ctx, db, pool, query, args)
	if err != nil || reason != "" {
		return nil, reason, err
	}
	adm := d.admit(cache.Of(db.Statement))
	if adm.reason != "" {
		if adm.unasked {
			return nil, "", nil
		}
		return nil, adm.reason, nil
	}
	rd := &read{
		engine: e, pool: d.pool, query: query, args: args,
		table: d.table, op: d.op, timeout: adm.timeout, lock: adm.lock,
		peek: d.tx != nil, drain: !row,
		local: d.profile.LocalGet && d.op == cache.Get && d.tx == nil && !leased(ctx),
		space: d.space, key: d.key, deps: dependencies(d.deps),
	}
	for i := range d.deps {
		rd.tables = append(rd.tables, d.deps[i].Table.ID)
	}
	if e.dialect == conj.SQLite && len(d.plan.Tables) == 1 && len(d.plan.Names) == 1 && startsWithAll(query) {
		rd.columns = len(d.plan.Tables[0].Columns())
	}
	if reason := rd.space.reason(rd.tables); reason != "" {
		return nil, reason, nil
	}
	return rd, "", nil
}

// admission says whether, and how, a query that can be cached is.
type admission struct {
	timeout time.Duration
	lock    bool
	reason  string // why it is not
	unasked bool   // because nobody has asked for it
}

// admit weighs the profile and what the query says of itself.
func (d *decision) admit(settings *cache.Settings) admission {
	a := admission{timeout: d.profile.Timeout, lock: d.profile.Lock}
	ops := d.profile.Ops
	if settings != nil {
		ops, a.lock = settings.Ops, a.lock || settings.Lock
		if settings.Timeout > 0 {
			a.timeout = settings.Timeout
		}
	}
	switch {
	case !ops.Has(d.op):
		a.unasked = true
		a.reason = fmt.Sprintf("%s is not among the operations to cache: %s", d.op, ops)
	case a.timeout <= 0:
		a.reason = "no timeout: no profile matches the table, and Defaults has none"
	case d.plan.Volatile != "" && (settings == nil || settings.Timeout <= 0):
		a.reason = "volatile: " + d.plan.Volatile + "; cache it by hand with a timeout if you accept that"
	}
	return a
}

// analyse compiles and binds a query and says why it can't be cached.
func (e *engine) analyse(ctx context.Context, db *gorm.DB, pool gorm.ConnPool, query string, args []any) (decision, string, error) {
	var d decision
	stmt := db.Statement
	settings := cache.Of(stmt)
	if settings != nil && settings.Off {
		return d, "NoCache", nil
	}
	if cache.IsWithoutCache(ctx) {
		return d, "WithoutCache", nil
	}
	if j := postponed(ctx); j != nil && !j.empty() {
		return d, "invalidations are postponed", nil
	}
	where, tx := txn.Of(pool)
	d.pool, d.tx = pool, tx
	switch where {
	case txn.Foreign:
		return d, "a connection or transaction that the plugin did not open", nil
	case txn.InTx:
		if reason := e.transactionReason(ctx, pool, tx); reason != "" {
			return d, reason, nil
		}
	}
	if tx == nil {
		d.pool = e.source(db, pool)
	}
	base := e.database(d.pool)
	if base.strange.Load() {
		return d, "a statement has changed a pooled session's settings", nil
	}
	plan, err := base.plan(ctx, d.pool, query, keep(tx))
	if err != nil {
		return d, "", err
	}
	d.plan = plan
	if plan.Statement != conj.Select {
		return d, "not a SELECT", nil
	}
	if plan.Skip != "" {
		return d, plan.Skip, nil
	}
	if len(plan.Tables) == 0 {
		return d, "reads no table", nil
	}
	for _, t := range plan.Tables {
		if e.forbidden(t) {
			return d, "forbidden: the profile of " + t.Name + " is nil", nil
		}
	}
	main := mainTable(stmt, plan)
	d.table = main.Name
	p := e.profile(main.Name, modelType(stmt))
	switch {
	case p.err != nil:
		return d, p.err.Error(), nil
	case p.forbidden():
		return d, "forbidden: the profile of " + main.Name + " is nil", nil
	case p.found:
		d.profile = p.profile
	default:
		d.profile = &Profile{Timeout: e.config.Defaults.Timeout, Lock: e.config.Defaults.Lock}
	}
	names := make([]string, len(plan.Tables))
	for i, t := range plan.Tables {
		names[i] = t.Name
	}
	var several bool
	if d.space, several, err = e.space(ctx, d.pool, names...); err != nil {
		return d, "", err
	}
	if several {
		return d, "PrefixFunc makes the prefix of one table, and the query reads several: " + strings.Join(names, ", "), nil
	}
	normal, reason := normalize(args)
	if reason != "" {
		return d, reason, nil
	}
	d.op = operation(stmt, plan, normal)
	if d.deps, err = plan.Bind(normal); err != nil {
		return d, err.Error(), nil
	}
	identity, err := e.identity(ctx, base, d.pool)
	if errors.Is(err, errNoAutocommit) || errors.Is(err, errDirtyReads) {
		return d, err.Error(), nil
	}
	if err != nil {
		return d, "", err
	}
	var extra []any
	if settings != nil {
		extra = settings.Extra
	}
	key, ok := entryKey(e.dialect, identity, plan, query, normal, cache.VaryOf(ctx), extra)
	if !ok {
		return d, "a parameter or an extra value is of a type that has no stable form", nil
	}
	d.key = key
	return d, "", nil
}

// transactionReason says why a transaction's reads must not come from the
// cache: it has written, or it may see an older snapshot than the cache.
func (e *engine) transactionReason(ctx context.Context, pool gorm.ConnPool, tx *txn.Tx) string {
	if tx.Err() != nil {
		return "the transaction is over" // the database says so best
	}
	if tx.Dirty() {
		return "the transaction has written"
	}
	if tx.Opaque() {
		return "the transaction has failed, or changed session settings"
	}
	level := sql.LevelDefault
	if o := tx.Options(); o != nil {
		level = o.Isolation
	}
	switch level {
	case sql.LevelReadCommitted:
		if e.dialect != conj.SQLite {
			return ""
		}
	case sql.LevelDefault:
		if e.dialect == conj.PostgreSQL {
			server, err := e.database(pool).catalog.Server(ctx, pool)
			if err == nil && server.DefaultIsolation == "read committed" {
				return ""
			}
		}
	}
	return "the transaction's isolation is above READ COMMITTED"
}

// watchRaw marks a transaction dirty for hand-made queries that may write:
// functions can.
func (e *engine) watchRaw(ctx context.Context, pool gorm.ConnPool, tx *txn.Tx, query string) {
	plan, err := e.database(pool).plan(ctx, pool, query, keep(tx))
	if err != nil || plan.HasSideEffects || plan.Volatile != "" || plan.Statement != conj.Select {
		tx.MarkDirty()
	}
}

// source returns the pool that fills the cache: the given one, or, under
// dbresolver, a source, since a replica may lag behind the commits whose
// invalidation the cache has already seen.
func (e *engine) source(db *gorm.DB, pool gorm.ConnPool) gorm.ConnPool {
	if _, ok := db.Plugins[resolverPlugin]; !ok {
		return pool
	}
	choose := db.Callback().Query().Get(resolverPlugin)
	if choose == nil {
		return pool
	}
	stmt := db.Statement
	current := stmt.ConnPool
	_, had := stmt.Settings.LoadOrStore(resolverWrite, struct{}{})
	choose(db)
	chosen := stmt.ConnPool
	stmt.ConnPool = current
	if !had {
		stmt.Settings.Delete(resolverWrite)
	}
	if r, ok := chosen.(*readPool); ok {
		return r.ConnPool
	}
	return chosen
}

// startsRaw tells whether the statement's text was made by hand.
func startsRaw(stmt *gorm.Statement) bool {
	_, built := stmt.Clauses["FROM"]
	return !built && stmt.SQL.Len() > 0
}

func modelType(stmt *gorm.Statement) reflect.Type {
	if stmt.Schema == nil {
		return nil
	}
	return stmt.Schema.ModelType
}

// mainTable is the table whose profile applies: the statement's own if the
// query reads it, else the first.
func mainTable(stmt *gorm.Statement, plan *conj.Plan) *conj.Table {
	names := []string{stmt.Table}
	if stmt.Schema != nil {
		names = append(names, stmt.Schema.Table)
	}
	for _, name := range names {
		for _, t := range plan.Tables {
			if t.Name == name {
				return t
			}
		}
	}
	return plan.Tables[0]
}

// operation classifies a query by its text first and by its destination then.
func operation(stmt *gorm.Statement, plan *conj.Plan, args []any) cache.Op {
	switch plan.Shape {
	case conj.Exists:
		return cache.Exists
	case conj.Count:
		return cache.Count
	case conj.Aggregate:
		return cache.Aggregate
	}
	if stmt.RaiseErrorOnNotFound || plan.Single {
		return cache.Get
	}
	if i := plan.LimitParam; i >= 0 && i < len(args) && args[i] == int64(1) {
		return cache.Get
	}
	if c, ok := stmt.Clauses["LIMIT"]; ok {
		if l, ok := c.Expression.(clause.Limit); ok && l.Limit != nil && *l.Limit == 1 {
			return cache.Get
		}
	}
	switch stmt.ReflectValue.Kind() {
	case reflect.Struct, reflect.Map:
		return cache.Get
	}
	return cache.Fetch
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
	if r.local {
		r.mark = e.local.mark()
		if rows, ok := r.openLocal(ctx, start); ok {
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
		rows, err := rowset.Decode(found.Payload)
		if err == nil {
			r.hit(ctx, found.Payload, start)
			if r.local {
				e.local.put(r.mark, r.key, found.Payload, r.tables, r.timeout)
			}
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
		e.observe(ctx, Event{Kind: EventSkip, Table: r.table, Op: r.op, Key: r.key.String(), Reason: "a write is being committed", Duration: since(start)})
	default:
		e.observe(ctx, Event{Kind: EventMiss, Table: r.table, Op: r.op, Key: r.key.String(), Duration: since(start)})
	}
	return nil, nil
}

func (r *read) hit(ctx context.Context, payload []byte, start time.Time) {
	n, _ := rowset.Count(payload) // decoded already: it counts
	r.engine.observe(ctx, Event{
		Kind: EventHit, Table: r.table, Op: r.op, Key: r.key.String(), Rows: n, Bytes: len(payload), Duration: since(start),
	})
}

// openLocal answers from the process's own memory.
func (r *read) openLocal(ctx context.Context, start time.Time) (driver.Rows, bool) {
	payload, ok := r.engine.local.get(r.key)
	if !ok {
		return nil, false
	}
	rows, err := rowset.Decode(payload)
	if err != nil {
		return nil, false
	}
	r.hit(ctx, payload, start)
	return rows, true
}

// lookup asks the store, and waits for another's result under Lock.
func (r *read) lookup(ctx context.Context) (store.Lookup, error) {
	s := r.space.store
	if r.peek {
		return s.Peek(ctx, r.key, r.deps)
	}
	found, err := s.Acquire(ctx, r.key, r.deps, r.timeout)
	if err != nil || found.State != store.Busy || !r.lock {
		return found, err
	}
	deadline := time.NewTimer(r.engine.config.LockWait)
	defer deadline.Stop()
	for wait := lockPollMin; ; wait = min(2*wait, lockPollMax) {
		pause := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			pause.Stop()
			return found, ctx.Err()
		case <-deadline.C:
			pause.Stop()
			return found, nil
		case <-pause.C:
		}
		found, err = s.Acquire(ctx, r.key, r.deps, r.timeout)
		if err != nil || found.State != store.Busy {
			return found, err
		}
	}
}

// fill sends the query to the database and stores what comes back, once it is
// read to its end.
func (r *read) fill(ctx context.Context, lease store.Lease) (driver.Rows, error) {
	e := r.engine
	// A lease outlives a cancelled query no longer than its own time, but
	// others wait for it under Lock: give it back, whatever became of ctx.
	after := context.WithoutCancel(ctx)
	release := func() { r.release(after, lease) }
	rows, err := r.pool.QueryContext(ctx, r.query, r.args...)
	if err != nil {
		release()
		return nil, err
	}
	outdated := r.outdated(rows)
	kept, err := rowset.Tee(rows, rowset.TeeOptions{
		Limits: rowset.Limits{Rows: e.config.MaxRows, Bytes: e.config.MaxBytes},
		Drain:  r.drain,
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
			r.save(after, lease, rec.Payload, rec.Rows)
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
	if err := r.space.store.Release(ctx, lease); err != nil {
		r.engine.failed(ctx, "a lease could not be released", r.table, err)
	}
}

func (r *read) save(ctx context.Context, lease store.Lease, payload []byte, rows int) {
	e := r.engine
	start := time.Now()
	// An invalidation that came to be queued after our look-up will drop what
	// we store, but only later: store nothing that this process would bypass.
	if r.space.guard.Bypass(r.tables...) {
		r.release(ctx, lease)
		return
	}
	stored, err := r.space.store.Save(ctx, lease, payload, r.timeout)
	switch {
	case err != nil:
		e.failed(ctx, "a result could not be stored", r.table, err)
	case !stored:
		e.counters.refused.Add(1)
		e.observe(ctx, Event{Kind: EventSkip, Table: r.table, Op: r.op, Key: r.key.String(), Reason: ReasonRefused, Unstored: true})
	default:
		if r.local {
			e.local.put(r.mark, r.key, payload, r.tables, r.timeout)
		}
		e.observe(ctx, Event{
			Kind: EventStore, Table: r.table, Op: r.op, Key: r.key.String(),
			Rows: rows, Bytes: len(payload), Duration: time.Since(start),
		})
	}
}

// dependencies names a query's conjunctions to the store.
func dependencies(deps []conj.Dependency) []store.Dependency {
	out := make([]store.Dependency, len(deps))
	for i, d := range deps {
		out[i].Table = d.Table.ID
		out[i].Keys = make([]conj.Key, len(d.Conjunctions))
		for n, c := range d.Conjunctions {
			out[i].Keys[n] = c.Key
			if !slices.Contains(out[i].Schemes, c.Scheme) {
				out[i].Schemes = append(out[i].Schemes, c.Scheme)
			}
		}
	}
	return out
}
