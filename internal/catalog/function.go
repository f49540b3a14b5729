package catalog

import (
	"context"
	"database/sql"
	"fmt"

	"github.com/cacheplugin/cacheplugin/conj"
)

// Functions are the names, in lower case and without a schema, of the stored
// functions of a database that are not its own.
type Functions struct {
	// Writers may write tables: PostgreSQL's by their volatility, MariaDB's and
	// MySQL's by their SQL data access.
	Writers map[string]bool
	// Added are those that no extension has brought: one may have the name of a
	// function that is known elsewhere, and do anything.
	Added map[string]bool
}

// postgresFunctions reads the functions that are not PostgreSQL's own. Those
// declared (or taken for) VOLATILE may write. Of extensions' functions in C that
// only make random numbers it is known that they don't.
const postgresFunctions = `
SELECT lower(p.proname::text),
       bool_or(p.provolatile = 'v' AND p.prokind = 'f'
         AND NOT (l.lanname IN ('c', 'internal') AND p.proname IN ('uuid_generate_v1', 'uuid_generate_v1mc', 'uuid_generate_v4',
           'gen_random_uuid', 'gen_random_bytes', 'gen_salt', 'pgp_sym_encrypt', 'pgp_sym_encrypt_bytea',
           'pgp_pub_encrypt', 'pgp_pub_encrypt_bytea', 'pg_stat_statements', 'pg_stat_statements_info'))),
       bool_or(d.objid IS NULL)
FROM pg_catalog.pg_proc p
JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace
JOIN pg_catalog.pg_language l ON l.oid = p.prolang
LEFT JOIN pg_catalog.pg_depend d ON d.classid = 'pg_catalog.pg_proc'::pg_catalog.regclass AND d.objid = p.oid AND d.deptype = 'e'
WHERE p.prokind <> 'p' AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast')
  AND p.prorettype NOT IN ('pg_catalog.trigger'::pg_catalog.regtype, 'pg_catalog.event_trigger'::pg_catalog.regtype)
GROUP BY 1`

// mysqlFunctions reads the stored functions. CONTAINS SQL is what is taken for a
// function that declares nothing.
const mysqlFunctions = `
SELECT LOWER(ROUTINE_NAME), MAX(SQL_DATA_ACCESS NOT IN ('NO SQL', 'READS SQL DATA')), true FROM information_schema.ROUTINES
WHERE ROUTINE_TYPE = 'FUNCTION' AND ROUTINE_SCHEMA NOT IN ('sys', 'mysql', 'information_schema', 'performance_schema')
GROUP BY 1`

// Functions returns the stored functions of the database. SQLite has none. They
// are read once; with keep false anew and not remembered, as by Table.
func (c *Catalog) Functions(ctx context.Context, q Querier, keep bool) (*Functions, error) {
	if c.dialect == conj.SQLite {
		return &Functions{}, nil
	}
	if keep {
		c.mu.Lock()
		known := c.functions
		c.mu.Unlock()
		if known != nil {
			return known, nil
		}
	}
	version := c.Version()
	query := postgresFunctions
	if c.dialect == conj.MySQL {
		query = mysqlFunctions
	}
	all := &Functions{Writers: map[string]bool{}, Added: map[string]bool{}}
	err := each(ctx, c.own(q), func(rows *sql.Rows) error {
		var (
			name          string
			writes, added bool
		)
		if err := rows.Scan(&name, &writes, &added); err != nil {
			return err
		}
		if writes {
			all.Writers[name] = true
		}
		if added {
			all.Added[name] = true
		}
		return nil
	}, query)
	if err != nil {
		return nil, fmt.Errorf("catalog: read functions: %w", err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if keep && c.version == version {
		c.functions = all
	}
	return all, nil
}
