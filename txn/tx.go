package txn

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
)

// Tx is a transaction whose end is seen. Its methods are safe for concurrent
// use.
type Tx struct {
	conn    *Conn // nil for one that is over
	options *Options
	begun   *sql.TxOptions // nil if begun by text

	// The context of BeginTx. COMMIT and ROLLBACK have none of their own, and
	// the flush needs its values.
	ctx context.Context

	dirty, opaque, ddl atomic.Bool

	// partly: a statement inside has, or may have, committed what was done
	// before it. A rollback does not undo that.
	partly atomic.Bool

	// savepoints are those of a transaction that SQLite has begun at the first of
	// them. The connection alone uses them.
	savepoints []string

	mu         sync.Mutex
	journal    Journal
	attempted  bool // COMMIT was sent
	rolledBack bool // ROLLBACK was sent, and was what ended the transaction
	flushed    bool // the end was reached: what is recorded now is flushed at once
	outlives   outlives
}

// newTx returns the state of a transaction that database/sql has begun.
func newTx(ctx context.Context, c *Conn, o driver.TxOptions) *Tx {
	return &Tx{conn: c, options: c.options, ctx: ctx, begun: &sql.TxOptions{Isolation: sql.IsolationLevel(o.Isolation), ReadOnly: o.ReadOnly}}
}

// newTextualTx returns the state of a transaction that was begun by text, which may
// have given it any isolation, or by a savepoint on SQLite.
func newTextualTx(ctx context.Context, c *Conn, savepoint string) *Tx {
	t := &Tx{conn: c, options: c.options, ctx: context.WithoutCancel(ctx)}
	if savepoint != "" {
		t.savepoints = []string{savepoint}
	}
	t.MarkOpaque()
	return t
}

// follow takes over from a transaction that was begun by text on the same
// connection, and not ended: PostgreSQL only warns of a second BEGIN, and one COMMIT
// ends both; MySQL's BEGIN commits what was before.
func (t *Tx) follow(ctx context.Context, before *Tx) error {
	if t.options.Dialect == mysql {
		return before.end(ctx, nil)
	}
	before.mu.Lock()
	defer before.mu.Unlock()
	t.journal, before.journal = before.journal, nil
	before.rolledBack = true
	t.dirty.Store(before.Dirty())
	t.ddl.Store(before.DDL())
	t.MarkOpaque()
	return nil
}

// over returns what stands for a transaction that has ended: nothing that is
// noted of it matters any longer.
func over() *Tx { return &Tx{options: &Options{}, ctx: context.Background(), rolledBack: true} }

// Options returns the options that the transaction was begun with, nil if it was
// begun by text, or is over.
func (t *Tx) Options() *sql.TxOptions { return t.begun }

// Err returns nil while statements can be sent, sql.ErrTxDone after COMMIT or
// ROLLBACK, and the context's error when its context has ended and database/sql
// has not rolled it back yet. A result from a cache must not be served in a transaction in which
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
// Record, which has no race with a concurrent COMMIT.
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
// journal was flushed already, because COMMIT ran concurrently or the
// transaction was ended by a statement or an error, what is noted is flushed at once
// and Flush's error returned. After a rollback note is not called.
func (t *Tx) Record(ctx context.Context, note func(Journal)) error {
	t.mu.Lock()
	if t.rolledBack && !t.partly.Load() {
		t.mu.Unlock()
		return nil
	}
	note(t.journalLocked())
	var j Journal
	switch {
	case t.flushed, t.outlives == surely:
		j = t.takeLocked()
	case t.outlives == maybe:
		j = t.journal // and once more at the end
	}
	t.mu.Unlock()
	return t.flush(ctx, j)
}

// outlives reports whether a transaction of database/sql goes on after the end of the
// database's own, so that what is sent commits by itself.
type outlives uint8

const (
	no outlives = iota
	maybe
	surely
)

// outlive notes what a statement has done to the database's transaction. It is lost
// if an error of the statement may have ended it.
func (t *Tx) outlive(s *traits, outcome error, lost bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case s.leaves:
		t.outlives = no // another one was begun
		return
	case outcome == nil && (s.ends > 0 || s.commits && s.ddl && !s.temporary):
		t.outlives = surely
	case lost, s.ends > 0, s.commits:
		t.outlives = max(t.outlives, maybe)
	default:
		return
	}
	t.partly.Store(true)
	t.MarkOpaque()
}

// Observe notes what the text of a statement tells about the transaction: SET
// and the like make it opaque, DDL is marked, and the result reports whether
// the statement commits what was done before it (COMMIT sent as text, DDL on
// MySQL). FlushCommitted is to be called after such a statement.
//
// The connection does so for each statement that it sends, too.
func (t *Tx) Observe(query string) (committed bool) {
	return t.observe(scan(query, t.options.Dialect))
}

func (t *Tx) observe(s traits) (committed bool) {
	if s.ddl {
		t.MarkDDL()
	}
	// A transaction ended by text leaves the connection in autocommit or in
	// another transaction, with the defaults of the session.
	if s.session || s.detaches || s.begins+s.ends > 0 {
		t.MarkOpaque()
	}
	commits := s.commits || t.releases(s)
	// What database/sql has begun goes on after an end by text, outside of a
	// transaction.
	if commits || !t.textual() && s.begins+s.ends > 0 {
		t.partly.Store(true)
	}
	return commits
}

// textual reports whether the transaction was begun by text.
func (t *Tx) textual() bool { return t.begun == nil }

// releases reports whether a statement releases the savepoint that SQLite has
// begun the transaction at, which commits it.
func (t *Tx) releases(s traits) bool {
	return s.release != "" && len(t.savepoints) > 0 && lastIndex(t.savepoints, s.release) == 0
}

// FlushCommitted flushes the journal in the middle of the transaction, after
// a statement that committed what was done so far. What follows gets a new
// journal; that one is flushed by a rollback as well as by COMMIT. outcome is
// what the statement has returned: after an error it may have committed nothing,
// and so may a statement that commits only at times; then the journal is kept, to be
// flushed once more at the end.
func (t *Tx) FlushCommitted(ctx context.Context, outcome error) error {
	t.partly.Store(true)
	t.mu.Lock()
	if outcome == nil && t.outlives == maybe {
		outcome = errUnsure
	}
	j := t.journal
	if outcome == nil {
		j = t.takeLocked()
	}
	t.mu.Unlock()
	tell(j, outcome)
	return t.flush(ctx, j)
}

// errUnsure is the outcome of what may have committed, and may not.
var errUnsure = errors.New("what became of the transaction is not known")

// doubt notes that nobody can tell whether the transaction goes on. What it has changed
// is flushed, and kept: end flushes it once more.
func (t *Tx) doubt(ctx context.Context) error {
	t.mu.Lock()
	t.outlives = maybe
	t.mu.Unlock()
	return t.FlushCommitted(ctx, errUnsure)
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

// prepareCommit runs Options.BeforeCommit, if there is something to commit.
func (t *Tx) prepareCommit(ctx context.Context) error {
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

// commit sends COMMIT and flushes the journal before it returns, whatever COMMIT
// returned, for a COMMIT that failed may have happened. The error is COMMIT's
// own, unchanged, if the flush succeeded; the flush's, if COMMIT succeeded; else
// both, joined.
func (t *Tx) commit(send driver.Tx) error {
	if err := t.prepareCommit(t.ctx); err != nil {
		if rollbackErr := t.rollback(send); rollbackErr != nil {
			return errors.Join(err, fmt.Errorf("roll back: %w", rollbackErr))
		}
		return err
	}
	t.mu.Lock()
	t.attempted = true
	t.mu.Unlock()
	err := send.Commit()
	return both(err, t.end(t.ctx, err))
}

// end notes that the transaction has ended by COMMIT, which has returned outcome,
// and flushes its journal. A Record from now on flushes by itself, and must not
// take what has to be waited for.
func (t *Tx) end(ctx context.Context, outcome error) error {
	t.mu.Lock()
	t.attempted, t.flushed = true, true
	j := t.takeLocked()
	t.mu.Unlock()
	tell(j, outcome)
	return t.flush(ctx, j)
}

// rollback sends ROLLBACK and drops the journal, unless a part of the transaction
// may have been committed by other means: then the journal is flushed.
func (t *Tx) rollback(send driver.Tx) error {
	err := send.Rollback()
	return both(err, t.undo())
}

// undo notes that the transaction was rolled back.
func (t *Tx) undo() error {
	t.mu.Lock()
	t.rolledBack = true
	if !t.partly.Load() {
		t.journal = nil
		t.mu.Unlock()
		return nil
	}
	t.flushed = true
	j := t.takeLocked()
	t.mu.Unlock()
	return t.flush(t.ctx, j)
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

// ExecContext sends a statement in the transaction, which nobody is shown. It is
// for Options.BeforeCommit.
func (t *Tx) ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error) {
	if t.conn == nil {
		return nil, sql.ErrTxDone
	}
	return (&Direct{conn: t.conn}).ExecContext(ctx, query, args...)
}

// DB returns the pool that the transaction's connection is of; nil if it is over,
// or the pool is not known.
func (t *Tx) DB() *sql.DB {
	if t.conn == nil {
		return nil
	}
	return t.conn.connector.DB()
}
