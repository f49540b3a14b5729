package catalog

import (
	"context"
	"database/sql"
	"fmt"

	"github.com/cacheplugin/cacheplugin/conj"
)

// postgresWriters reads the functions that may write tables: those declared (or
// taken for) VOLATILE that are not PostgreSQL's own. Of extensions' functions in
// C that only make random numbers it is known that they don't.
const postgresWriters = `
SELECT DISTINCT lower(p.proname::text)
FROM pg_catalog.pg_proc p
JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace
JOIN pg_catalog.pg_language l ON l.oid = p.prolang
WHERE p.provolatile = 'v' AND p.prokind = 'f' AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast')
  AND p.prorettype NOT IN ('pg_catalog.trigger'::pg_catalog.regtype, 'pg_catalog.event_trigger'::pg_catalog.regtype)
  AND NOT (l.lanname IN ('c', 'internal') AND p.proname IN ('uuid_generate_v1', 'uuid_generate_v1mc', 'uuid_generate_v4',
    'gen_random_uuid', 'gen_random_bytes', 'gen_salt', 'pgp_sym_encrypt', 'pgp_sym_encrypt_bytea',
    'pgp_pub_encrypt', 'pgp_pub_encrypt_bytea', 'pg_stat_statements', 'pg_stat_statements_info'))`

// mysqlWriters reads the stored functions that may write. CONTAINS SQL is what
// is taken for a function that declares nothing.
const mysqlWriters = `
SELECT DISTINCT LOWER(ROUTINE_NAME) FROM information_schema.ROUTINES
WHERE ROUTINE_TYPE = 'FUNCTION' AND SQL_DATA_ACCESS NOT IN ('NO SQL', 'READS SQL DATA')
  AND ROUTINE_SCHEMA NOT IN ('sys', 'mysql', 'information_schema', 'performance_schema')`

// Writers returns the names, in lower case and without a schema, of the stored
// functions that may write tables when a statement calls them: PostgreSQL's by
// their volatility, MariaDB's and MySQL's by their SQL data access. SQLite has
// none. They are read once; with keep false anew and not remembered, as by Table.
func (c *Catalog) Writers(ctx context.Context, q Querier, keep bool) (map[string]bool, error) {
	if c.dialect == conj.SQLite {
		return nil, nil
	}
	if keep {
		c.mu.Lock()
		known := c.writers
		c.mu.Unlock()
		if known != nil {
			return known, nil
		}
	}
	version := c.Version()
	query := postgresWriters
	if c.dialect == conj.MySQL {
		query = mysqlWriters
	}
	writers := map[string]bool{}
	err := each(ctx, q, func(rows *sql.Rows) error {
		var name string
		if err := rows.Scan(&name); err != nil {
			return err
		}
		writers[name] = true
		return nil
	}, query)
	if err != nil {
		return nil, fmt.Errorf("catalog: read functions: %w", err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if keep && c.version == version {
		c.writers = writers
	}
	return writers, nil
}
