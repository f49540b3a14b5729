package catalog

import (
	"context"
	"database/sql"
	"fmt"

	"github.com/cacheplugin/cacheplugin/conj"
)

// Names returns the names of the tables and views that queries may name, without
// their schemas.
func (c *Catalog) Names(ctx context.Context, q Querier) ([]string, error) {
	var names []string
	err := each(ctx, c.own(q), func(rows *sql.Rows) error {
		var name string
		err := rows.Scan(&name)
		names = append(names, name)
		return err
	}, namesQuery(c.dialect))
	if err != nil {
		return nil, fmt.Errorf("catalog: read the names of tables: %w", err)
	}
	return names, nil
}

func namesQuery(d conj.Dialect) string {
	switch d {
	case conj.PostgreSQL:
		return `SELECT DISTINCT c.relname FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f') AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast')`
	case conj.MySQL:
		return `SELECT DISTINCT TABLE_NAME FROM information_schema.TABLES
WHERE TABLE_SCHEMA NOT IN ('mysql', 'sys', 'information_schema', 'performance_schema')`
	default:
		return `SELECT name FROM sqlite_master WHERE type IN ('table', 'view') UNION SELECT name FROM temp.sqlite_master WHERE type IN ('table', 'view')`
	}
}
