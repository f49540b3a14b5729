package txn

import (
	"context"
	"database/sql/driver"
	"errors"
	"io"

	"github.com/cacheplugin/cacheplugin/internal/rowset"
)

// sending is one statement on its way. Its zero value is for connections that
// nobody watches.
type sending struct {
	conn    *Conn
	traits  traits
	tx      *Tx     // that the connection was in
	commits bool    // what was done in tx before
	known   bool    // somebody else flushes what it commits
	watched Watched // nil if nothing is to be done
	unread  bool    // its rows were closed before their end
}

// errUnread is the outcome of a query whose rows were not read to their end: SQLite
// executes it while they are read.
var errUnread = errors.New("the rows were not read to their end")

// begin looks at a statement before it is sent. After an error it must not be. t is
// what was read from its text before, if it was.
func (c *Conn) begin(ctx context.Context, m *mark, query string, t *traits, args []driver.NamedValue) (sending, error) {
	if c.options == nil {
		return sending{}, nil
	}
	m.arrive(c)
	s := sending{conn: c, tx: c.tx, known: m.knows(c)}
	if t != nil {
		s.traits = *t
	} else {
		s.traits = scan(query, c.options.Dialect)
	}
	if s.tx != nil {
		s.commits = s.tx.observe(s.traits)
	}
	if !s.known && c.options.Watch != nil {
		where, tx := c.where()
		s.watched = c.options.Watch(ctx, Statement{Query: query, Args: plain(args), Pool: &Direct{c}, Where: where, Tx: tx})
	}
	if s.watched != nil {
		if err := s.watched.Announce(ctx); err != nil {
			return s, err
		}
	}
	if s.commits {
		return s, s.tx.prepareCommit(ctx)
	}
	return s, nil
}

// plain are the values of arguments.
func plain(args []driver.NamedValue) []any {
	values := make([]any, len(args))
	for i, a := range args {
		values[i] = a.Value
	}
	return values
}

// executed is done for a statement without rows.
func (s *sending) executed(ctx context.Context, r driver.Result, err error) error {
	o := unknown(err)
	if s.watched == nil || err != nil || r == nil {
		return s.done(ctx, o) // nobody asks the driver
	}
	if n, err := r.RowsAffected(); err == nil {
		o.Affected = n
	}
	if id, err := r.LastInsertId(); err == nil {
		o.LastInsertID = id
	}
	return s.done(ctx, o)
}

// done is called when a statement has returned, and its rows are closed. It returns
// the statement's error, unchanged unless there is another one.
func (s *sending) done(ctx context.Context, o Outcome) error { return both(o.Err, s.finish(ctx, o)) }

// finish is done, but for the statement's own error.
func (s *sending) finish(ctx context.Context, o Outcome) error {
	if s.conn == nil || o.Err == driver.ErrSkip { //nolint:errorlint // database/sql compares so
		return nil // nothing was sent
	}
	executed := o.Err
	if executed == nil && s.unread {
		executed = errUnread
	}
	err := s.conn.follow(ctx, &s.traits, executed)
	switch {
	case s.watched != nil:
		switch {
		case s.conn.left != nil:
			o.Begun = s.conn.left
		case s.conn.tx != s.tx:
			o.Begun = s.conn.tx
		}
		return both(err, s.watched.Done(ctx, o))
	case s.commits && !s.known && s.conn.left != s.tx: // else it was flushed when it came into doubt
		return both(err, s.tx.FlushCommitted(ctx, executed))
	}
	return err
}

// rows passes on the rows of a query: as they are, unless somebody waits for their
// end, or it moves the connection into or out of a transaction.
func (s sending) rows(ctx context.Context, rows driver.Rows, err error) (driver.Rows, error) {
	switch {
	case err != nil:
		return nil, s.done(ctx, unknown(err)) // drivers may give rows of no use with it
	case s.watched == nil && !s.traits.moves():
		return rows, nil
	}
	return &watchedRows{Full: rowset.Full{Rows: rows}, ctx: ctx, sending: s}, nil
}

// watchedRows are the rows of a statement that is done when they are closed, or at
// their end: what comes of it is an error of the rows then, which database/sql would
// not tell of the Close that it calls there.
type watchedRows struct {
	rowset.Full
	ctx     context.Context //nolint:containedctx // the query's, for its end
	sending sending
	count   int64
	whole   bool  // read to the end
	err     error // met on the way
	closed  bool
}

func (r *watchedRows) Next(dest []driver.Value) error {
	err := r.Full.Next(dest)
	switch {
	case err == nil:
		r.count++
	case !errors.Is(err, io.EOF):
		r.err = err
	case !r.HasNextResultSet():
		r.whole = true
		if failed := r.Close(); failed != nil {
			return failed
		}
	}
	return err
}

// HasNextResultSet implements driver.RowsNextResultSet.
func (r *watchedRows) HasNextResultSet() bool { return !r.closed && r.Full.HasNextResultSet() }

// NextResultSet implements driver.RowsNextResultSet: of several sets it isn't known
// which rows were written.
func (r *watchedRows) NextResultSet() error {
	err := r.Full.NextResultSet()
	switch {
	case err == nil:
		r.count = -1
	case !errors.Is(err, io.EOF):
		r.err = err
	}
	return err
}

func (r *watchedRows) Close() error {
	if r.closed {
		return nil
	}
	r.closed = true
	err := r.Full.Close()
	o := unknown(r.err)
	if r.whole && r.count >= 0 && err == nil {
		o.Returned = r.count
	}
	if o.Err == nil {
		o.Err = err
	}
	r.sending.unread = !r.whole
	return both(err, r.sending.finish(r.ctx, o))
}

// stmtRows are the rows of a statement that is closed with them.
type stmtRows struct {
	rowset.Full
	stmt driver.Stmt
}

func (r *stmtRows) Close() error {
	defer r.stmt.Close() //nolint:errcheck // as database/sql does
	return r.Full.Close()
}
