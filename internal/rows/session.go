package rows

import (
	"context"
	"database/sql"

	"github.com/cacheplugin/cacheplugin/conj"
	"github.com/cacheplugin/cacheplugin/internal/catalog"
)

// Session is what a statement is sent through, and what is known around it.
type Session interface {
	Connection
	Definitions
	Policy
	Reporter
}

// Connection is the connection or transaction of the statement itself: what
// it has written and locked is seen by the queries for images.
type Connection interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
	ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
}

// Definitions is what is known of the database.
type Definitions interface {
	// Table returns what a name means, nil if the database has no such table.
	Table(ctx context.Context, name conj.TableName) (*catalog.Table, error)
	// Server returns what is known of the server.
	Server(ctx context.Context) (catalog.Server, error)
	// ViewPlan returns the plan of a SELECT from a view.
	ViewPlan(ctx context.Context, text string) (*conj.Plan, error)
	// NoteTemporary notes that a name may mean a temporary table from now on.
	NoteTemporary(name string)
	// Absent reports whether NoteAbsent was called for a table.
	Absent(table *conj.Table) bool
	// NoteAbsent notes that a row was looked for by a number that the program
	// has chosen, and wasn't there.
	NoteAbsent(table *conj.Table)
}

// Policy is what is cached of a table, and what its profile says.
type Policy interface {
	// Schemes returns the schemes that are registered of a table. They are not
	// known if this process has not looked them up yet.
	Schemes(ctx context.Context, table *conj.Table) (schemes []conj.Scheme, known bool)
	// Forbids reports whether a table's profile forbids caching.
	Forbids(table *conj.Table) bool
	// Touches returns the tables that a table's triggers write, with or without
	// a schema, as its profile says; said is false if no profile says. own is
	// set for the table that the statement itself writes: the profile may be
	// that of the statement's model.
	Touches(table *catalog.Table, own bool) (tables []string, said bool)
}

// Reporter takes what there is to report. Package report's implements it.
type Reporter interface {
	// Failed reports an error that the statement goes on without.
	Failed(ctx context.Context, what, table string, err error)
	// WarnOnce logs a message if none of its kind has been logged yet.
	WarnOnce(ctx context.Context, kind, message string, args ...any)
}
