package rows

import (
	"context"

	"github.com/cacheplugin/cacheplugin/conj"
	"github.com/cacheplugin/cacheplugin/internal/catalog"
	"github.com/cacheplugin/cacheplugin/internal/dialect"
)

// Reserve takes SQLite's write lock before the catalog is read for a
// transaction's first write, as a transaction that reads first and writes then
// fails with "database is locked" when another has written in between. The
// name is that of the table in the text of the write; where there is no such
// table the error is the write's own, which comes next.
func Reserve(ctx context.Context, c Connection, name conj.TableName) {
	_, _ = c.ExecContext(ctx, "DELETE FROM "+dialect.QuoteTable(conj.SQLite, name)+" WHERE 0")
}

// reserve does the same before the rows are read.
func (r *reader) reserve(ctx context.Context) error {
	column := ""
	for i := range r.table.Columns() {
		if !r.table.Generated(i) {
			column = r.quote(i)
			break
		}
	}
	_, err := r.statement.session.ExecContext(ctx, "UPDATE "+dialect.QuoteTable(conj.SQLite, r.name)+" SET "+column+" = "+column+" WHERE 0")
	return err
}

// Why rows can't be told outside of a transaction.
const (
	outsideTransaction = "not in a transaction"
	upsertOutside      = "an upsert outside of a transaction"
)

// NeedsTransaction reports whether a table was dropped whole because its statement
// was sent outside of a transaction.
func NeedsTransaction(reason string) bool {
	return reason == outsideTransaction || reason == upsertOutside
}

// unlockable says why the rows of a table can't be locked before a statement
// is sent; it is empty if they can be.
func (s *Statement) unlockable(ctx context.Context, table *catalog.Table) string {
	switch {
	case !s.options.InTransaction:
		return outsideTransaction // they may change in between
	case s.options.Dialect == conj.MySQL && !s.gapLocks(ctx):
		// Affected rows count changed rows only, so that without gap locks
		// a row that came in between could hide behind an unchanged one.
		return "isolation below REPEATABLE READ"
	case len(table.PrimaryKey) == 0:
		return "no primary key"
	}
	return ""
}
