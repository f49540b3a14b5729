package txn

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"

	"gorm.io/gorm"
)

// Tx is a transaction whose end is seen. It is what GORM has in
// Statement.ConnPool, bare or under a *gorm.PreparedStmtTX.
//
// Its methods are safe for concurrent use.
type Tx struct {
	inner     gorm.ConnPool
	committer gorm.TxCommitter
	pool      *Pool // nil for Wrap
	options   *Options
	begun     *sql.TxOptions
	id        uint64

	// The context of BeginTx. Commit and Rollback have none of their own, and
	// the flush needs its values.
	ctx context.Context

	dirty, opaque, ddl atomic.Bool

	// partly: a statement inside has, or may have, committed what was done
	// before it. A Rollback does not undo that.
	partly atomic.Bool

	// handed: the *sql.Tx was given away by SQL and may be ended by others.
	handed atomic.Bool

	mu         sync.Mutex
	journal    Journal
	attempted  bool // Commit was called
	rolledBack bool // Rollback was called, and was what ended the transaction
	flushed    bool // the end was reached: what is recorded now is flushed at once
}

var (
	_ gorm.Tx             = (*Tx)(nil)
	_ gorm.GetDBConnector = (*Tx)(nil)
)

func newTx(ctx context.Context, inner gorm.ConnPool, committer gorm.TxCommitter, p *Pool, o *Options, begun *sql.TxOptions) *Tx {
	return &Tx{
		inner: inner, committer: committer, pool: p, options: o, begun: begun,
		id: rand.Uint64(), ctx: ctx,
	}
}

// Wrap makes a Tx of a transaction that was not begun through GORM. Commit and
// Rollback have to be called on the Tx from then on; statements that were sent
// before are not known to it. The context is used as that of BeginTx. Of finds
// the Tx in a session that has it as its pool:
//
//	session := db.Session(&gorm.Session{Context: ctx})
//	session.Statement.ConnPool = txn.Wrap(ctx, sqlTx, options)
func Wrap(ctx context.Context, tx *sql.Tx, o Options) *Tx {
	t := newTx(ctx, tx, tx, nil, &o, nil)
	t.handed.Store(true)
	return t
}

// ID tells transactions apart, in logs.
func (t *Tx) ID() uint64 { return t.id }

// Options returns the options that BeginTx was given, nil if none.
func (t *Tx) Options() *sql.TxOptions { return t.begun }

// SQL returns the *sql.Tx below, for libraries that need one. Whoever has it
// can end the transaction unseen; so end it through GORM.
func (t *Tx) SQL() (*sql.Tx, bool) {
	tx, ok := t.inner.(*sql.Tx)
	if ok {
		t.handed.Store(true)
	}
	return tx, ok
}

// Err returns nil while statements can be sent, sql.ErrTxDone after Commit or
// Rollback, and the context's error when the transaction ended with its
// context. A result from a cache must not be served in a transaction in which
// the database would have refused the query.
func (t *Tx) Err() error {
	t.mu.Lock()
	done := t.attempted || t.rolledBack
	t.mu.Unlock()
	if done {
		return sql.ErrTxDone
	}
	return t.ctx.Err()
}

// MarkDirty notes that a write was sent. It stays so until the end: neither
// ROLLBACK TO nor an error of the write takes it back.
func (t *Tx) MarkDirty() { t.dirty.Store(true) }

// Dirty reports whether a write was sent.
func (t *Tx) Dirty() bool { return t.dirty.Load() }

// MarkOpaque notes that reads of this transaction may differ from those of
// others though it has written nothing: isolation, search path or another
// setting of the session was changed.
func (t *Tx) MarkOpaque() { t.opaque.Store(true) }

// Opaque reports whether MarkOpaque was called, or a statement seen that asks
// for it.
func (t *Tx) Opaque() bool { return t.opaque.Load() }

// MarkDDL notes that a table definition was changed: what the catalog says
// inside this transaction holds for no other. On MySQL it also means that all
// before it has been committed.
func (t *Tx) MarkDDL() {
	t.ddl.Store(true)
	if t.options.Dialect == mysql {
		t.partly.Store(true)
	}
}

// DDL reports whether MarkDDL was called, or DDL seen.
func (t *Tx) DDL() bool { return t.ddl.Load() }

// Journal returns the transaction's journal, made at the first call. Prefer
// Record, which has no race with a concurrent Commit.
func (t *Tx) Journal() Journal {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.journalLocked()
}

func (t *Tx) journalLocked() Journal {
	if t.journal == nil {
		t.journal = t.options.NewJournal()
	}
	return t.journal
}

// Record calls note with the journal, under the transaction's lock. If the
// journal was flushed already, because Commit ran concurrently or the
// transaction was ended by a statement, what is noted is flushed at once and
// Flush's error returned. After a Rollback note is not called.
func (t *Tx) Record(ctx context.Context, note func(Journal)) error {
	t.mu.Lock()
	if t.rolledBack && !t.partly.Load() {
		t.mu.Unlock()
		return nil
	}
	note(t.journalLocked())
	var j Journal
	if t.flushed {
		j = t.takeLocked()
	}
	t.mu.Unlock()
	return t.flush(ctx, j)
}

// Observe notes what the text of a statement tells about the transaction: SET
// and the like make it opaque, DDL is marked, and the result reports whether
// the statement commits what was done before it (COMMIT sent as text, DDL on
// MySQL). FlushCommitted is to be called after such a statement.
//
// Texts sent through the Tx are observed by it; prepared statements bypass it.
func (t *Tx) Observe(query string) (committed bool) {
	s := scan(query, t.options.Dialect)
	if s.ddl {
		t.MarkDDL()
	}
	// A transaction ended by text leaves the connection in autocommit or in
	// another transaction, with the defaults of the session.
	if s.session || s.detaches || s.begins+s.ends > 0 {
		t.MarkOpaque()
	}
	if s.commits || s.begins+s.ends > 0 {
		t.partly.Store(true)
	}
	return s.commits
}

// FlushCommitted flushes the journal in the middle of the transaction, after
// a statement that committed what was done so far. What follows gets a new
// journal; that one is flushed by Rollback as well as by Commit. outcome is
// what the statement has returned: after an error it may have committed nothing,
// and the journal is kept, to be flushed once more at the end.
func (t *Tx) FlushCommitted(ctx context.Context, outcome error) error {
	t.partly.Store(true)
	t.mu.Lock()
	j := t.journal
	if outcome == nil {
		j = t.takeLocked()
	}
	t.mu.Unlock()
	tell(j, outcome)
	return t.flush(ctx, j)
}

// tell tells a journal what COMMIT has returned.
func tell(j Journal, outcome error) {
	if o, ok := j.(OutcomeJournal); ok {
		o.Outcome(outcome)
	}
}

// takeLocked takes the journal away, so that nobody flushes it twice.
func (t *Tx) takeLocked() Journal {
	j := t.journal
	t.journal = nil
	return j
}

func (t *Tx) flush(ctx context.Context, j Journal) error {
	if j == nil {
		return nil
	}
	ctx, cancel := t.options.flushContext(ctx)
	defer cancel()
	return j.Flush(ctx)
}

// Commit sends COMMIT and flushes the journal before it returns, whatever
// COMMIT returned, for a COMMIT that failed may have happened. Only after a
// Rollback there is nothing to flush. The error is COMMIT's own, unchanged, if
// the flush succeeded; the flush's, if COMMIT succeeded; else both, joined.
func (t *Tx) Commit() error {
	if err := t.beforeCommit(); err != nil {
		return err
	}
	t.mu.Lock()
	again := t.attempted
	t.attempted = true
	t.mu.Unlock()

	err := t.committer.Commit()

	t.mu.Lock()
	// A second Commit must not take the journal from the first one, whose
	// COMMIT may still be under way. The comparison is plain: a wrapped
	// ErrTxDone is not database/sql's.
	if err == sql.ErrTxDone && (again || t.rolledBack) { //nolint:errorlint // see above
		t.mu.Unlock()
		return err
	}
	// Taken together with the mark: a Record from now on flushes by itself,
	// and must not take what this Commit has to wait for.
	t.flushed = true
	j := t.takeLocked()
	t.mu.Unlock()
	tell(j, err)
	return both(err, t.flush(t.ctx, j))
}

// both keeps err as it is, for callers that compare, unless there are two.
func both(err, flushErr error) error {
	switch {
	case flushErr == nil:
		return err
	case err == nil:
		return flushErr
	}
	return errors.Join(err, flushErr)
}

// beforeCommit runs the hook, and rolls back if it fails.
func (t *Tx) beforeCommit() error {
	err := t.PrepareCommit(t.ctx)
	if err == nil {
		return nil
	}
	if rollbackErr := t.Rollback(); rollbackErr != nil {
		return errors.Join(err, fmt.Errorf("roll back: %w", rollbackErr))
	}
	return err
}

// PrepareCommit runs Options.BeforeCommit, if there is something to commit. It
// is to be called before a statement that commits what was done so far and
// bypasses the Tx, as prepared ones do; after an error that must not be sent.
func (t *Tx) PrepareCommit(ctx context.Context) error {
	if t.options.BeforeCommit == nil {
		return nil
	}
	t.mu.Lock()
	j := t.journal
	if t.attempted || t.rolledBack {
		j = nil
	}
	t.mu.Unlock()
	if j == nil {
		return nil
	}
	return t.options.BeforeCommit(ctx, t, j)
}

// Rollback sends ROLLBACK and drops the journal, unless Commit was tried
// before, or a part of the transaction may have been committed by other means:
// then the journal is flushed.
func (t *Tx) Rollback() error {
	err := t.committer.Rollback()

	t.mu.Lock()
	if t.attempted {
		// Commit has flushed, or is going to.
		t.mu.Unlock()
		return err
	}
	// When done already, without a call here: its context ended it. Or the
	// owner of the *sql.Tx, and how is unknown.
	elsewhere := err == sql.ErrTxDone && !t.rolledBack && t.handed.Load() //nolint:errorlint // see Commit
	t.rolledBack = true
	if !t.partly.Load() && !elsewhere {
		t.journal = nil
		t.mu.Unlock()
		return err
	}
	t.flushed = true
	j := t.takeLocked()
	t.mu.Unlock()
	return both(err, t.flush(t.ctx, j))
}

// StmtContext implements gorm.Tx.
func (t *Tx) StmtContext(ctx context.Context, stmt *sql.Stmt) *sql.Stmt {
	return t.inner.(gorm.Tx).StmtContext(ctx, stmt)
}

// GetDBConn returns the *sql.DB at the bottom, for gorm.DB.DB.
func (t *Tx) GetDBConn() (*sql.DB, error) {
	if t.pool != nil {
		return t.pool.GetDBConn()
	}
	return dbOf(t.inner)
}

// PrepareContext implements gorm.ConnPool.
func (t *Tx) PrepareContext(ctx context.Context, query string) (*sql.Stmt, error) {
	t.Observe(query)
	return t.inner.PrepareContext(ctx, query)
}

// ExecContext implements gorm.ConnPool. If the statement committed what was
// done before it, the journal is flushed before ExecContext returns.
func (t *Tx) ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error) {
	committed := t.Observe(query)
	if committed {
		if err := t.PrepareCommit(ctx); err != nil {
			return nil, err
		}
	}
	result, err := t.inner.ExecContext(ctx, query, args...)
	if committed {
		err = both(err, t.FlushCommitted(ctx, err))
	}
	return result, err
}

// QueryContext implements gorm.ConnPool. Drivers may run a statement no sooner
// than its rows are read: after one that commits, the journal waits for the
// end, where Rollback flushes as well, or for FlushCommitted.
func (t *Tx) QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error) {
	t.Observe(query)
	return t.inner.QueryContext(ctx, query, args...)
}

// QueryRowContext implements gorm.ConnPool, with the same reserve.
func (t *Tx) QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row {
	t.Observe(query)
	return t.inner.QueryRowContext(ctx, query, args...)
}

// unpreparable hides the StmtContext of a Tx whose inner transaction has none:
// GORM refuses to prepare statements in those.
type unpreparable struct {
	gorm.ConnPool
	gorm.TxCommitter
	tx *Tx
}

// Unwrap lets Of find the Tx.
func (u *unpreparable) Unwrap() gorm.ConnPool { return u.tx }

// GetDBConn implements gorm.GetDBConnector.
func (u *unpreparable) GetDBConn() (*sql.DB, error) { return u.tx.GetDBConn() }
