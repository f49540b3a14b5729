package rows

import (
	"context"
	"database/sql"
	"strings"

	"github.com/cacheplugin/cacheplugin/conj"
	"github.com/cacheplugin/cacheplugin/internal/catalog"
	"github.com/cacheplugin/cacheplugin/internal/change"
	"github.com/cacheplugin/cacheplugin/internal/dialect"
)

// Options are the circumstances of a statement.
type Options struct {
	Dialect conj.Dialect
	// MaxImages is the number of rows up to which images are taken. The change
	// of more rows is one of the whole table.
	MaxImages int
	// InTransaction is set if the statement is part of a transaction whose end
	// is seen, so that rows can be locked and read around it.
	InTransaction bool
	// Isolation is the level that the transaction was begun with.
	Isolation sql.IsolationLevel
	// IsolationUnknown is set if a statement may have changed the isolation
	// since.
	IsolationUnknown bool
}

// Args are the arguments of a statement.
type Args struct {
	// Normal are the arguments as conj.NormalizeArg returns them.
	Normal []any
	// Sent are the same arguments as they are sent. Queries for images send
	// them once more.
	Sent []any
	// Unknown is set if an argument can't be normalised. The others are nil
	// then, and the change is one of the whole table.
	Unknown bool
}

// Outcome is what is known of a statement after it was sent.
type Outcome struct {
	// Affected is the number of rows that the database counted, -1 if it isn't
	// known.
	Affected int64
	// LastInsertID is the driver's, -1 if it isn't known.
	LastInsertID int64
	// Err is the statement's error. Nothing is certain then of its rows.
	Err error
	// WrittenKeys returns the values of some columns in the rows of the model
	// that the statement was built from, as the database has filled them in.
	// There is one list for each row of the model, normalised by
	// conj.NormalizeArg, and nil for a row that lacks a value. It returns nil
	// if the model doesn't say.
	//
	// WrittenKeys is nil if there is no model, or if it was written by more
	// than one statement.
	WrittenKeys func(table *catalog.Table, columns []int) [][]any
}

// Sink takes what a statement has changed.
type Sink interface {
	// Rows takes changes of rows.
	Rows(table *conj.Table, changes ...conj.Change)
	// Table takes a table of which any row may have changed, and why no more is
	// known.
	Table(table *conj.Table, reason string)
	// Everything is called if any row of any table may have changed.
	Everything(reason string)
}

// Statement is one statement that writes: the tables that it writes, and what
// is known of their rows. It is not safe for concurrent use.
type Statement struct {
	session Session
	options Options
	args    Args
	targets []*target
	failed  bool  // the statement has returned an error
	lost    error // see Lost
}

// Begin looks at a statement before it is sent, and takes the old images of
// the rows that it will change. It may read and lock these rows, in a
// transaction. Errors widen the change; they are reported to the session.
func Begin(ctx context.Context, session Session, options Options, plan *conj.Plan, args Args) *Statement {
	s := &Statement{session: session, options: options, args: args}
	granular := len(plan.Writes) == 1 && !args.Unknown
	for i := range plan.Writes {
		s.addTarget(ctx, &plan.Writes[i], granular)
	}
	return s
}

// Complete completes the images after the statement was sent: it checks that
// the rows were those that Begin has seen, and reads the new images that were
// not known before. It is called once.
func (s *Statement) Complete(ctx context.Context, o Outcome) {
	if o.Err != nil {
		s.failed = true
		s.Widen("the statement failed")
	}
	for _, t := range s.targets {
		t.complete(ctx, o)
	}
}

// Widen gives up the images: any row of the statement's tables may have
// changed. The reason is for people.
func (s *Statement) Widen(reason string) {
	for _, t := range s.targets {
		t.widen(reason)
	}
}

// Note passes on what the statement has changed, as far as it is known now.
// Before Complete that includes only what was certain before the statement.
func (s *Statement) Note(sink Sink) {
	for _, t := range s.targets {
		t.note(sink)
	}
}

// Lost returns the error by which a query for images has ended the
// transaction; nil if none has. What is sent next may run outside of it.
func (s *Statement) Lost() error { return s.lost }

// noteError keeps the error of a query that has ended the transaction.
func (s *Statement) noteError(err error) {
	if s.options.InTransaction && dialect.EndsTransaction(s.options.Dialect, err) {
		s.lost = err
	}
}

// addTarget looks at one table of a statement before it is sent, and takes the
// old images of its rows. granular is false where the statement as a whole
// can't be pinned down.
func (s *Statement) addTarget(ctx context.Context, w *conj.Write, granular bool) {
	t := &target{statement: s, write: w, scope: scope{extent: change.Rows}}
	s.targets = append(s.targets, t)
	if w.Temporary {
		s.session.NoteTemporary(w.Name.Name)
	}
	table, err := s.session.Table(ctx, w.Name)
	switch {
	case err != nil:
		s.session.Failed(ctx, "a table could not be looked up in the catalog", w.Name.String(), err)
		t.scope.widen(change.Everything, "the catalog could not be read")
		return
	case table == nil:
		// Made since, or not there at all; then the statement fails.
		if w.Statement != conj.DDL {
			t.scope.widen(change.Everything, "unknown table")
		}
		return
	}
	t.begin(ctx, table, granular)
}

// needed are the columns that the registered schemes of a table ask for, as of
// this process's last look; all of them where it has not looked yet. What is asked
// for by those alone whom an update of the assigned columns does not concern is not
// needed; nil stands for all columns.
func (s *Statement) needed(ctx context.Context, table *catalog.Table, assigned []bool) (need []bool, known bool) {
	need = make([]bool, len(table.Columns()))
	schemes, known := s.session.Schemes(ctx, table.Table)
	if !known {
		for i := range need {
			need[i] = true
		}
		return need, false
	}
	for _, scheme := range schemes {
		if assigned != nil && keepsOthers(table) && !table.Touches(scheme, assigned) {
			continue
		}
		columns, _ := table.SchemeColumns(scheme)
		if by, key, ok := table.ListColumns(scheme); ok {
			columns = append(by, key)
		}
		for _, i := range columns {
			need[i] = true
		}
	}
	return need, true
}

// gapLocks reports whether locking reads keep new rows out.
func (s *Statement) gapLocks(ctx context.Context) bool {
	if !s.options.InTransaction || s.options.IsolationUnknown {
		return false
	}
	switch s.options.Isolation {
	case sql.LevelRepeatableRead, sql.LevelSerializable:
		return true
	case sql.LevelDefault:
		server, err := s.session.Server(ctx)
		return err == nil && (server.DefaultIsolation == "repeatable read" || server.DefaultIsolation == "serializable")
	}
	return false
}

// readCommitted reports whether locking reads are sure to lock the rows alone
// that they find, and no gaps between them.
func (s *Statement) readCommitted(ctx context.Context) bool {
	if !s.options.InTransaction || s.options.IsolationUnknown {
		return false
	}
	level := strings.ToLower(s.options.Isolation.String())
	if s.options.Isolation == sql.LevelDefault {
		server, err := s.session.Server(ctx)
		if err != nil {
			return false
		}
		level = server.DefaultIsolation
	}
	return level == "read committed" || level == "read uncommitted"
}
