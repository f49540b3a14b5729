package callbacks

import (
	"context"
	"database/sql"
	"reflect"

	"github.com/cacheplugin/cacheplugin/conj"
	"github.com/cacheplugin/cacheplugin/internal/catalog"
	"github.com/cacheplugin/cacheplugin/internal/database"
	"github.com/cacheplugin/cacheplugin/internal/report"
	"github.com/cacheplugin/cacheplugin/internal/rows"
)

// session is what a statement is sent through, and what is known around it, as
// package rows asks for it.
type session struct {
	*report.Reporter
	s *statement
}

var _ rows.Session = session{}

func (n session) QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error) {
	return n.s.pool.QueryContext(ctx, query, args...)
}

func (n session) ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error) {
	return n.s.pool.ExecContext(ctx, query, args...)
}

func (n session) Table(ctx context.Context, name conj.TableName) (*catalog.Table, error) {
	return n.s.database.Catalog.Table(ctx, n.s.pool, name, database.Lasting(n.s.tx))
}

func (n session) Server(ctx context.Context) (catalog.Server, error) {
	return n.s.database.Catalog.Server(ctx, n.s.pool)
}

func (n session) ViewPlan(ctx context.Context, text string) (*conj.Plan, error) {
	return n.s.database.Plan(ctx, n.s.pool, text, database.Lasting(n.s.tx))
}

func (n session) NoteTemporary(name string) { n.s.database.NoteTemporary(name) }

func (n session) Absent(table *conj.Table) bool { return n.s.database.Absent(table.ID) }

func (n session) NoteAbsent(table *conj.Table) { n.s.database.NoteAbsent(table.ID) }

func (n session) Schemes(ctx context.Context, table *conj.Table) ([]conj.Scheme, bool) {
	h := n.s.handlers
	space, _, err := h.Namespaces.Of(ctx, n.s.database, n.s.pool, table.Name)
	if err != nil {
		space = h.Namespaces.Home()
	}
	return space.Store.Schemes(table.ID)
}

func (n session) Forbids(table *conj.Table) bool { return n.s.handlers.Policies.Forbid(table) }

func (n session) Touches(table *catalog.Table, own bool) (tables []string, said bool) {
	var model reflect.Type
	if stmt := n.s.db.Statement; own && stmt.Schema != nil {
		model = stmt.Schema.ModelType
	}
	touches := n.s.handlers.Policies.Of(table.Name, model).Touches
	return touches, touches != nil
}
