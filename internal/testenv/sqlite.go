package testenv

import (
	"context"
	"database/sql"
	"net/url"
	"path/filepath"
	"testing"

	"gorm.io/driver/sqlite"
	"gorm.io/gorm"
)

// InMemory is SQLite in memory.
func InMemory() Database {
	return Database{Name: SQLite, Dialect: "sqlite", Driver: inMemory{}}
}

// InFile is SQLite in a file with a write-ahead log.
func InFile() Database {
	return Database{Name: SQLiteFile, Dialect: "sqlite", ReadsDuringWrite: true, Driver: inFile{}}
}

// sqliteDriver is what both kinds of SQLite have in common.
type sqliteDriver struct{}

func (sqliteDriver) Dialector(dsn string) gorm.Dialector { return sqlite.Open(dsn) }

func (sqliteDriver) DSN(dialector gorm.Dialector) (string, bool) {
	d, ok := dialector.(*sqlite.Dialector)
	if !ok {
		return "", false
	}
	return d.DSN, true
}

type inMemory struct{ sqliteDriver }

// Create makes a database that all connections of this process share. It uses
// SQLite's memdb file system and not "mode=memory&cache=shared": connections that
// share a cache lock by table and report that at once as an error which no busy
// timeout covers, where memdb locks like a file and waits.
func (inMemory) Create(tb testing.TB) string {
	tb.Helper()
	dsn := "file:/" + UniqueName(tb) + "?vfs=memdb&_busy_timeout=20000&_foreign_keys=on"
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

type inFile struct{ sqliteDriver }

// Create makes a file in the test's temporary directory.
func (inFile) Create(tb testing.TB) string {
	tb.Helper()
	path := filepath.Join(tb.TempDir(), UniqueName(tb)+".db")
	// A test that has a name twice has a # in the second one.
	return "file:" + (&url.URL{Path: path}).EscapedPath() + "?_journal_mode=WAL&_synchronous=OFF&_busy_timeout=20000&_foreign_keys=on"
}
