package cacheplugin

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"slices"
	"strings"

	"gorm.io/gorm"

	"github.com/cacheplugin/cacheplugin/cache"
	"github.com/cacheplugin/cacheplugin/conj"
	"github.com/cacheplugin/cacheplugin/internal/rowset"
	"github.com/cacheplugin/cacheplugin/txn"
)

// onWrite wraps the handlers of writes. Like onQuery it puts a pool in the
// statement's place, which sees the final SQL and takes the images of the rows
// that the statement changes.
func (e *engine) onWrite(next func(*gorm.DB)) func(*gorm.DB) {
	return func(db *gorm.DB) {
		if db.Error != nil || db.DryRun {
			next(db)
			return
		}
		if e.wraps(db.Statement) {
			e.wrap(db, func() { e.runWrite(db, next, false) })
			return
		}
		e.runWrite(db, next, false)
	}
}

// runWrite runs a handler whose statement may write.
func (e *engine) runWrite(db *gorm.DB, next func(*gorm.DB), row bool) {
	stmt := db.Statement
	pool := stmt.ConnPool
	w := &writePool{ConnPool: pool, engine: e, db: db, row: row}
	stmt.ConnPool = w
	finished := false
	defer func() {
		stmt.ConnPool = pool
		if !finished {
			// A panic on its way through: a Scanner's or a Valuer's, say. The
			// program may recover and commit.
			w.finish(false)
		}
	}()
	next(db)
	stmt.ConnPool = pool
	finished = true
	w.finish(true)
}

// writePool sends one handler's statements and captures what they change.
type writePool struct {
	gorm.ConnPool
	engine   *engine
	db       *gorm.DB
	row      bool // from the row processor: the caller reads the rows later
	captures []*capture
}

// Unwrap returns the pool underneath.
func (w *writePool) Unwrap() gorm.ConnPool { return w.ConnPool }

// ExecContext implements gorm.ConnPool.
func (w *writePool) ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error) {
	c := w.begin(ctx, query, args)
	if err := c.fence(); err != nil {
		return nil, err
	}
	result, err := w.ConnPool.ExecContext(ctx, query, args...)
	c.ran(err)
	if err == nil {
		// Only PostgreSQL counts the rows of a statement whose RETURNING nobody
		// has read; the others say 0.
		if n, err := result.RowsAffected(); err == nil && (w.engine.dialect == conj.PostgreSQL || !c.returning()) {
			c.affected = n
		}
		if id, err := result.LastInsertId(); err == nil {
			c.lastID = id
		}
	}
	return result, err
}

// QueryContext implements gorm.ConnPool. It counts the rows that RETURNING
// gives: GORM stops reading them when its destination is full.
func (w *writePool) QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error) {
	c := w.begin(ctx, query, args)
	if err := c.fence(); err != nil {
		return nil, err
	}
	rows, err := w.ConnPool.QueryContext(ctx, query, args...)
	c.ran(err)
	if err != nil || c.passive {
		return rows, err
	}
	src, err := c.count(rows)
	if err != nil {
		return nil, err
	}
	replayed, err := rowset.Rows(src)
	if err != nil {
		return nil, errors.Join(err, src.Close())
	}
	return replayed, nil
}

// QueryRowContext implements gorm.ConnPool.
func (w *writePool) QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row {
	c := w.begin(ctx, query, args)
	if err := c.fence(); err != nil {
		return rowset.RowError(err)
	}
	if c.passive {
		return w.ConnPool.QueryRowContext(ctx, query, args...)
	}
	rows, err := w.ConnPool.QueryContext(ctx, query, args...)
	c.ran(err)
	if err != nil {
		return rowset.RowError(err)
	}
	src, err := c.count(rows)
	if err != nil {
		return rowset.RowError(err)
	}
	return rowset.Row(src)
}

// finish settles what the statements have changed. whole is false after a
// panic, when nothing more is known than the tables.
func (w *writePool) finish(whole bool) {
	for _, c := range w.captures {
		if !whole {
			c.widen("panic")
			c.unfinished = true
		}
		if !c.settled && !c.reading {
			c.settle()
		}
	}
}

// capture is one statement on its way: what it may change, and what is known
// of the rows.
type capture struct {
	engine *engine
	owner  *writePool
	ctx    context.Context // of the one call that the capture lives in
	pool   gorm.ConnPool
	db     *gorm.DB
	base   *database
	where  txn.Where
	tx     *txn.Tx
	plan   *conj.Plan
	args   []any // normalised
	sent   []any // as they were given, for queries of our own

	passive  bool // the statement writes nothing that is ours to know
	ignored  bool // nothing is to be invalidated: cache.WithoutInvalidation
	reading  bool // the caller reads the rows, and settles when it closes them
	err      error
	affected int64 // -1 if not known
	lastID   int64
	settled  bool
	commits  bool   // the statement ends a transaction, or commits by itself
	calls    string // a function that may write

	everything string // why everything must be dropped
	targets    []*target

	lost       error  // a query of ours has failed in a way that ended the transaction
	fenced     *fence // set before a statement outside of a transaction
	unfinished bool   // a panic has interrupted it
}

// begin looks at a statement before it is sent.
func (w *writePool) begin(ctx context.Context, query string, args []any) *capture {
	e := w.engine
	where, tx := txn.Of(w.ConnPool)
	c := &capture{
		engine: e, owner: w, ctx: ctx, pool: w.ConnPool, db: w.db, base: e.database(w.ConnPool),
		where: where, tx: tx, affected: -1, lastID: -1,
	}
	c.reading = w.row
	w.captures = append(w.captures, c)
	c.ignored = cache.IsWithoutInvalidation(ctx)
	c.reserveSQLite(query)
	plan, err := c.base.plan(ctx, w.ConnPool, query, keep(tx))
	if err != nil {
		e.failed(ctx, "a write could not be looked up in the catalog", w.db.Statement.Table, err)
		c.markDirty()
		c.everything = "the catalog could not be read"
		return c
	}
	c.plan = plan
	if tx != nil {
		// Prepared statements don't pass the transaction's own pool.
		c.commits = tx.Observe(query)
	}
	// The catalog is read for it, and PostgreSQL takes SET TRANSACTION only as a
	// transaction's first statement.
	if plan.Statement != conj.Set {
		c.calls = e.writer(ctx, c.pool, query)
	}
	c.inspect(query)
	if c.calls != "" && c.everything == "" {
		c.unknownWrite(query, "a statement calls a function that may write: "+c.calls)
	}
	if c.passive {
		return c
	}
	c.markDirty()
	if c.base.strange.Load() {
		c.everything = "session settings decide which tables the statement means"
	}
	if c.ignored || c.everything != "" {
		c.recordEarly()
		return c
	}
	var reason string
	if c.args, reason = normalize(args); reason != "" {
		c.args = nil
	} else {
		c.sent = args
	}
	for i := range plan.Writes {
		c.aim(&plan.Writes[i], len(plan.Writes) == 1 && reason == "")
	}
	c.recordEarly()
	return c
}

// returning tells whether the statement gives rows.
func (c *capture) returning() bool {
	return c.plan != nil && slices.ContainsFunc(c.plan.Writes, func(w conj.Write) bool { return w.HasReturning })
}

// inspect decides by the kind of a statement what there is to do.
func (c *capture) inspect(query string) {
	// What CALL has done on MySQL it has committed, or nothing is known of it.
	if c.tx != nil && c.redefines() && (c.plan.Statement == conj.DDL || c.engine.dialect != conj.MySQL) {
		c.tx.MarkDDL()
	}
	switch c.plan.Statement {
	case conj.Insert, conj.Update, conj.Delete, conj.Replace, conj.Merge, conj.Truncate:
	case conj.DDL:
		if len(c.plan.Writes) == 0 {
			c.everything = "a definition that names no table"
		}
	case conj.Set:
		c.passive = true
		c.engine.configured(c.ctx, c.pool, c.plan, query)
	case conj.Call, conj.Unknown:
		c.passive = true
		c.unknownWrite(query, "a statement is not understood")
	case conj.Select:
		c.passive = true
		if len(c.plan.Writes) > 0 {
			c.passive = false
		} else if c.engine.configured(c.ctx, c.pool, c.plan, query); c.plan.HasSideEffects || c.plan.Volatile != "" || c.plan.CallsUnknown() {
			c.markDirty()
		}
	default:
		// The second phase of a commit makes visible what was invalidated at
		// the first.
		if low := strings.ToLower(strings.TrimSpace(query)); strings.HasSuffix(strings.SplitN(low, "'", 2)[0], "prepared ") || strings.HasPrefix(low, "xa ") {
			c.everything = "a prepared transaction ends"
			return
		}
		c.passive = true
	}
}

// unknownWrite notes that nobody knows what a statement writes, besides what it
// may be known to.
func (c *capture) unknownWrite(query, why string) {
	c.markDirty()
	if c.engine.config.OnUnknownWrite == Warn {
		if c.engine.limiter.allow(why) {
			c.engine.config.Logger.WarnContext(c.ctx, "cacheplugin: "+why+"; what it changes stays cached until its timeout", "statement", query)
		}
		return
	}
	c.passive, c.everything = false, why
	if c.engine.limiter.allow(why) {
		c.engine.config.Logger.WarnContext(c.ctx, "cacheplugin: "+why+"; everything cached is dropped", "statement", query)
	}
}

func (c *capture) markDirty() {
	if c.tx != nil {
		c.tx.MarkDirty()
	}
}

// recordEarly notes the tables of a statement whose rows the caller reads
// itself: a transaction may be committed before it has closed them.
func (c *capture) recordEarly() {
	if !c.reading {
		return
	}
	c.widen("read by the caller")
	if c.tx != nil && !c.ignored {
		c.record()
	}
}

// ran notes that the statement was sent.
func (c *capture) ran(err error) {
	c.err = err
	if err != nil {
		c.reading = false
	}
}

// count passes on a statement's rows and counts them.
func (c *capture) count(rows *sql.Rows) (driver.Rows, error) {
	src, err := rowset.Tee(rows, rowset.TeeOptions{
		Limits: rowset.Limits{Rows: c.engine.config.MaxRows, Bytes: c.engine.config.MaxBytes},
		Drain:  !c.reading,
		Done: func(rec rowset.Recording) {
			if rec.Complete {
				c.affected = int64(rec.Rows)
			}
			if c.reading {
				c.settle()
			}
		},
	})
	if err != nil {
		c.reading = false // nobody will close them: the handler's end settles
	}
	return src, err
}

// widen gives up the images of all targets.
func (c *capture) widen(reason string) {
	for _, t := range c.targets {
		t.widen(reason)
	}
}

// settle turns what is known into changes, and sends them where no
// transaction holds them back.
func (c *capture) settle() {
	c.settled = true
	defer c.flushCommitted()
	if c.passive {
		return
	}
	if c.redefines() {
		c.base.forget()
	}
	if c.ignored || c.unchanged() {
		return
	}
	for _, t := range c.targets {
		t.complete()
	}
	if c.lost != nil {
		_ = c.db.AddError(c.lost)
	}
	if c.tx != nil {
		c.record()
		return
	}
	j := newJournal(c.engine.Plugin)
	c.note(j)
	c.announced(j)
	if j.empty() {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(c.ctx), c.engine.flushTimeout())
	defer cancel()
	if err := j.Flush(ctx); err != nil {
		_ = c.db.AddError(err)
	}
	c.engine.warnUncovered(c.ctx)
	if c.where == txn.Foreign {
		c.engine.flushAgain(c.ctx, j)
		if c.engine.limiter.allow("foreign") {
			c.engine.config.Logger.WarnContext(c.ctx, "cacheplugin: a write in a connection or transaction that the plugin did not open: it is invalidated now and once more in a moment, and what is read between that and its commit may be stale; begin transactions with db.Transaction or db.Begin")
		}
	}
}

// flushCommitted flushes the transaction's journal after a statement that has
// committed it, such as DDL on MySQL.
func (c *capture) flushCommitted() {
	if !c.commits {
		return
	}
	if err := c.tx.FlushCommitted(c.ctx, c.err); err != nil {
		_ = c.db.AddError(err)
	}
}

// unchanged tells whether the statement has failed in a way that leaves
// nothing behind. Outside of a transaction a failure may be one of the answer
// only; MySQL keeps what a statement did to tables of its older engines, SQLite
// the rows before the one that failed under ON CONFLICT FAIL.
func (c *capture) unchanged() bool {
	if c.err == nil {
		return false
	}
	c.widen("the statement failed")
	return c.tx != nil && c.engine.dialect == conj.PostgreSQL
}

// record notes the changes in the transaction's journal.
func (c *capture) record() {
	err := c.tx.Record(c.ctx, func(j txn.Journal) { c.note(j.(*journal)) })
	if err != nil {
		_ = c.db.AddError(err)
	}
}

// note writes the changes into a journal.
func (c *capture) note(j *journal) {
	if c.redefines() {
		j.redefine(c.base)
	}
	c.noteRows(j)
	if c.everything == "" {
		c.noteSaved(j)
	}
}

// redefines tells whether the statement may change definitions.
func (c *capture) redefines() bool {
	if c.plan == nil {
		return false
	}
	switch c.plan.Statement {
	case conj.DDL, conj.Unknown, conj.Call:
		return true
	}
	if c.calls != "" && c.engine.config.OnUnknownWrite != Warn {
		return true
	}
	for i := range c.plan.Writes {
		if c.plan.Writes[i].Statement == conj.DDL { // SELECT INTO
			return true
		}
	}
	return false
}

// noteRows notes the rows that the statement changes, as far as is known yet.
func (c *capture) noteRows(j *journal) {
	if c.everything != "" {
		j.all(c.everySpace()...)
		return
	}
	for _, t := range c.targets {
		t.note(j)
	}
}

func (c *capture) everySpace() []*space { return c.engine.everySpace(c.ctx, c.pool) }

// spaceOf returns the namespace of a table's results; if it can't be told,
// nil, and all are dropped.
func (c *capture) spaceOf(j *journal, table string) *space {
	s, _, err := c.engine.space(c.ctx, c.pool, table)
	if err != nil {
		c.engine.failed(c.ctx, "a namespace could not be told", table, err)
		j.all(c.everySpace()...)
		return nil
	}
	return s
}
