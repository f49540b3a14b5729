package catalog

import (
	"context"
	"crypto/rand"
	"database/sql"
	"fmt"
	"os"
	"strings"
	"sync"

	"github.com/cacheplugin/cacheplugin/conj"
)

// Server is what the plugin must know of the database as a whole.
type Server struct {
	// Database tells one database from every other, so that programs on the
	// same one share entries and others don't: server and database name, or
	// SQLite's absolute file path. It is empty for a database in memory.
	Database string
	// Instance tells servers apart whose databases Database may take for one,
	// where that says too little: what holds it differs between servers, but
	// may also differ for one server by time or by the program's host.
	Instance string
	// Version is the server's, as it gives it.
	Version string
	// DefaultIsolation is the isolation of a transaction that names none, in
	// lower case ("read committed").
	DefaultIsolation string
	// MariaDB tells MariaDB from MySQL.
	MariaDB bool
	// SQLMode is MySQL's sql_mode; Strict reports whether it makes a value that
	// doesn't fit an error, as the other databases always do (SQLite stores
	// what it is given).
	SQLMode string
	Strict  bool
	// SearchPath is PostgreSQL's search_path.
	SearchPath string
}

// Server reads what there is to know of the server, once. Drop doesn't forget it.
func (c *Catalog) Server(ctx context.Context, q Querier) (Server, error) {
	c.mu.Lock()
	server := c.server
	c.mu.Unlock()
	if server != nil {
		return *server, nil
	}
	var (
		s   Server
		err error
	)
	q = c.own(q)
	switch c.dialect {
	case conj.PostgreSQL:
		s, err = readPostgresServer(ctx, q)
	case conj.MySQL:
		s, err = readMySQLServer(ctx, q)
	default:
		s, err = readSQLiteServer(ctx, q)
	}
	if err != nil {
		return Server{}, fmt.Errorf("catalog: read server: %w", err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.server = &s
	return s, nil
}

// postgresIdentity reads the cluster's identifier, which a physical backup has,
// too, and its timeline, which begins with each recovery to a point in time and
// each promotion. The checkpoint has the new one only when it is done, which may
// take minutes; until then it is where recovery has ended.
const postgresIdentity = `
SELECT s.system_identifier::text, GREATEST(c.timeline_id, r.min_recovery_end_timeline)::text
FROM pg_catalog.pg_control_system() s, pg_catalog.pg_control_checkpoint() c, pg_catalog.pg_control_recovery() r`

func readPostgresServer(ctx context.Context, q Querier) (Server, error) {
	s := Server{Strict: true}
	var database string
	var mayIdentify bool
	err := each(ctx, q, func(rows *sql.Rows) error {
		return rows.Scan(&database, &s.Version, &s.DefaultIsolation, &s.SearchPath, &mayIdentify)
	}, `
SELECT pg_catalog.current_database()::text, pg_catalog.current_setting('server_version'),
       pg_catalog.current_setting('default_transaction_isolation'), pg_catalog.current_setting('search_path'),
       COALESCE((SELECT pg_catalog.bool_and(pg_catalog.has_function_privilege(oid, 'execute')) FROM pg_catalog.pg_proc
                 WHERE proname IN ('pg_control_system', 'pg_control_checkpoint', 'pg_control_recovery') AND pronamespace = 'pg_catalog'::pg_catalog.regnamespace), false)`)
	if err != nil {
		return s, err
	}
	s.Database = database
	if !mayIdentify {
		return s, each(ctx, q, func(rows *sql.Rows) error { return rows.Scan(&s.Instance) },
			`SELECT pg_catalog.current_setting('port') || '/' || pg_catalog.pg_postmaster_start_time()::text`)
	}
	// A query of its own: that of a function one may not execute fails.
	err = each(ctx, q, func(rows *sql.Rows) error {
		var identifier, timeline string
		if err := rows.Scan(&identifier, &timeline); err != nil {
			return err
		}
		s.Database, s.Instance = identifier+"/"+database, "timeline "+timeline
		return nil
	}, postgresIdentity)
	return s, err
}

func readMySQLServer(ctx context.Context, q Querier) (Server, error) {
	var database sql.NullString
	if err := each(ctx, q, func(rows *sql.Rows) error { return rows.Scan(&database) }, `SELECT DATABASE()`); err != nil {
		return Server{}, err
	}
	// SHOW does not fail on the names that only one of MySQL and MariaDB has.
	variables := make(map[string]string)
	err := each(ctx, q, func(rows *sql.Rows) error {
		var name, value string
		if err := rows.Scan(&name, &value); err != nil {
			return err
		}
		variables[name] = value
		return nil
	}, `SHOW VARIABLES WHERE Variable_name IN
  ('version', 'server_uuid', 'server_uid', 'hostname', 'port', 'sql_mode', 'tx_isolation', 'transaction_isolation')`)
	if err != nil {
		return Server{}, err
	}
	identity := variables["server_uuid"]
	if identity == "" {
		identity = variables["hostname"] + ":" + variables["port"]
	}
	isolation := variables["transaction_isolation"]
	if isolation == "" {
		isolation = variables["tx_isolation"]
	}
	mode := variables["sql_mode"]
	return Server{
		Database:         identity + "/" + database.String,
		Instance:         variables["server_uid"],
		Version:          variables["version"],
		DefaultIsolation: strings.ToLower(strings.ReplaceAll(isolation, "-", " ")),
		MariaDB:          strings.Contains(strings.ToLower(variables["version"]), "mariadb"),
		SQLMode:          mode,
		Strict:           strings.Contains(mode, "STRICT_TRANS_TABLES") || strings.Contains(mode, "STRICT_ALL_TABLES"),
	}, nil
}

func readSQLiteServer(ctx context.Context, q Querier) (Server, error) {
	s := Server{DefaultIsolation: "serializable"}
	err := each(ctx, q, func(rows *sql.Rows) error { return rows.Scan(&s.Version, &s.Database) },
		`SELECT sqlite_version(), coalesce((SELECT file FROM pragma_database_list WHERE name = 'main'), '')`)
	if err != nil {
		return s, err
	}
	// The same path is another file on another host, and, where there is no
	// such file, the name of a database in the memory of this process.
	if _, missing := os.Stat(s.Database); missing != nil {
		s.Instance = thisProcess()
	} else if s.Instance, err = os.Hostname(); err != nil {
		s.Instance, err = thisProcess(), nil
	}
	return s, err
}

// thisProcess is a name that no other process has.
var thisProcess = sync.OnceValue(rand.Text)
