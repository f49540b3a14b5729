package testenv

import (
	"context"
	"crypto/rand"
	"database/sql"
	"encoding/hex"
	"fmt"
	"net/url"
	"path/filepath"
	"strings"
	"testing"

	mysqldriver "github.com/go-sql-driver/mysql"
	"gorm.io/driver/mysql"
	"gorm.io/driver/postgres"
	"gorm.io/driver/sqlite"
	"gorm.io/gorm"
	"gorm.io/gorm/logger"
)

// Database is a kind of database that tests run on. Its methods are safe for
// parallel tests.
type Database struct {
	// Name is SQLite, SQLiteFile, Postgres or MariaDB.
	Name string
	// Dialect is GORM's name for it: "sqlite", "postgres" or "mysql".
	Dialect string
	// ReadsDuringWrite: a reader goes on while another connection's transaction
	// has written, and sees the old state. SQLite in memory makes it wait instead.
	ReadsDuringWrite bool

	server *server // nil for SQLite
}

// Databases returns every database that this machine has, SQLite first, and
// starts the servers. What can't be had is left out and named in the log, or
// fails the test when CACHEPLUGIN_TEST_REQUIRE lists it.
func Databases(tb testing.TB) []Database {
	tb.Helper()
	// Both servers take seconds to start: let them do so at the same time.
	if wanted(Postgres) && wanted(MariaDB) {
		started := make(chan struct{})
		go func() {
			environment.database(MariaDB)
			close(started)
		}()
		environment.database(Postgres)
		<-started
	}
	var all []Database
	for _, name := range []string{SQLite, SQLiteFile, Postgres, MariaDB} {
		if database, ok := Find(tb, name); ok {
			all = append(all, database)
		}
	}
	if len(all) == 0 {
		tb.Fatalf("no database left to test on (%s=%q)", envDatabases, listed(envDatabases))
	}
	return all
}

// Find returns the one database called name (SQLite, SQLiteFile, Postgres or
// MariaDB); false if it can't be had, or is not wanted in this run. It starts no
// other server.
func Find(tb testing.TB, name string) (Database, bool) {
	tb.Helper()
	if !wanted(name) {
		if required(name) {
			tb.Fatalf("%s is required by %s and left out by %s", name, envRequire, envDatabases)
		}
		tb.Logf("%s is left out by %s", name, envDatabases)
		return Database{}, false
	}
	switch name {
	case SQLite:
		return Database{Name: name, Dialect: "sqlite"}, true
	case SQLiteFile:
		return Database{Name: name, Dialect: "sqlite", ReadsDuringWrite: true}, true
	}
	found := environment.database(name)
	if found.err != nil {
		environment.missing(tb, name, found.err)
		return Database{}, false
	}
	dialect := map[string]string{Postgres: "postgres", MariaDB: "mysql"}[name]
	return Database{Name: name, Dialect: dialect, ReadsDuringWrite: true, server: found.server}, true
}

// Open returns a handle on a fresh, empty database, dropped when the test ends.
// A nil cfg is GORM's default with a silent logger.
func (d Database) Open(tb testing.TB, cfg *gorm.Config) *gorm.DB {
	tb.Helper()
	return d.Connect(tb, d.Create(tb), cfg)
}

// Reopen returns another handle on db's database, with connections of its own:
// what another process sees.
func (d Database) Reopen(tb testing.TB, db *gorm.DB, cfg *gorm.Config) *gorm.DB {
	tb.Helper()
	return d.Connect(tb, DSN(tb, db), cfg)
}

// DSN returns the data source name that db was opened with, for a handle or a
// process of its own.
func DSN(tb testing.TB, db *gorm.DB) string {
	tb.Helper()
	switch dialector := db.Dialector.(type) {
	case *sqlite.Dialector:
		return dialector.DSN
	case *postgres.Dialector:
		return dialector.DSN
	case *mysql.Dialector:
		return dialector.DSN
	default:
		tb.Fatalf("no DSN known of %T", db.Dialector)
		return ""
	}
}

// Dialector returns GORM's dialector for a DSN of this database.
func (d Database) Dialector(dsn string) gorm.Dialector {
	switch d.Dialect {
	case "postgres":
		return postgres.Open(dsn)
	case "mysql":
		return mysql.Open(dsn)
	default:
		return sqlite.Open(dsn)
	}
}

// Connect opens a handle by a DSN of Create or DSN, closed when the test ends.
func (d Database) Connect(tb testing.TB, dsn string, cfg *gorm.Config) *gorm.DB {
	tb.Helper()
	own := gorm.Config{Logger: logger.Discard}
	if cfg != nil {
		own = *cfg // gorm.Open writes into it, and tests share theirs
	}
	db, err := gorm.Open(d.Dialector(dsn), &own)
	if err != nil {
		tb.Fatalf("open %s: %v", d.Name, err)
	}
	pool, err := db.DB()
	if err != nil {
		tb.Fatalf("open %s: %v", d.Name, err)
	}
	tb.Cleanup(func() { _ = pool.Close() })
	return db
}

// Create makes an empty database and returns its DSN. It is dropped when the
// test ends.
func (d Database) Create(tb testing.TB) string {
	tb.Helper()
	name := uniqueName(tb)
	switch d.Name {
	case SQLite:
		return createInMemory(tb, name)
	case SQLiteFile:
		path := filepath.Join(tb.TempDir(), name+".db")
		return "file:" + path + "?_journal_mode=WAL&_synchronous=OFF&_busy_timeout=20000&_foreign_keys=on"
	}
	if _, err := d.server.db.ExecContext(context.Background(), "CREATE DATABASE "+name); err != nil {
		tb.Fatalf("%s: create a database: %v", d.Name, err)
	}
	tb.Cleanup(func() { d.drop(tb, name) })
	dsn, err := d.server.dsn(d.Name, name)
	if err != nil {
		tb.Fatalf("%s: DSN: %v", d.Name, err)
	}
	return dsn
}

// createInMemory makes an SQLite database in memory that all connections of
// this process share. It uses SQLite's memdb file system and not
// "mode=memory&cache=shared": connections that share a cache lock by table and
// report that at once as an error which no busy timeout covers, where memdb
// locks like a file and waits.
func createInMemory(tb testing.TB, name string) string {
	tb.Helper()
	dsn := "file:/" + name + "?vfs=memdb&_busy_timeout=20000&_foreign_keys=on"
	// The database lives as long as a connection to it: keep one.
	keeper, err := sql.Open("sqlite3", dsn)
	if err != nil {
		tb.Fatalf("sqlite: %v", err)
	}
	tb.Cleanup(func() { _ = keeper.Close() })
	if err := keeper.PingContext(context.Background()); err != nil {
		tb.Fatalf("sqlite: %v", err)
	}
	return dsn
}

func (d Database) drop(tb testing.TB, name string) {
	statement := "DROP DATABASE IF EXISTS " + name
	if d.Name == Postgres {
		statement += " WITH (FORCE)" // whoever is still connected
	}
	if _, err := d.server.db.ExecContext(context.Background(), statement); err != nil {
		tb.Errorf("%s: drop the database: %v", d.Name, err)
	}
}

// dsn is the administrative DSN turned to the database called name.
func (s *server) dsn(kind, name string) (string, error) {
	if kind == Postgres {
		u, err := url.Parse(s.admin)
		if err != nil || u.Scheme == "" {
			return "", fmt.Errorf("%s must be a URL (postgres://user@host:port/database): %w", envPostgres, err)
		}
		u.Path = "/" + name
		return u.String(), nil
	}
	config, err := mysqldriver.ParseDSN(s.admin)
	if err != nil {
		return "", fmt.Errorf("%s: %w", envMySQL, err)
	}
	config.DBName = name
	dsn := config.FormatDSN()
	// What GORM's documentation recommends.
	for _, option := range []string{"charset=utf8mb4", "parseTime=true", "loc=Local"} {
		key, _, _ := strings.Cut(option, "=")
		if strings.Contains(dsn, key+"=") {
			continue
		}
		separator := "&"
		if !strings.Contains(dsn, "?") {
			separator = "?"
		}
		dsn += separator + option
	}
	return dsn, nil
}

func uniqueName(tb testing.TB) string {
	tb.Helper()
	var random [8]byte
	if _, err := rand.Read(random[:]); err != nil {
		tb.Fatal(err)
	}
	return "cacheplugin_" + hex.EncodeToString(random[:])
}
