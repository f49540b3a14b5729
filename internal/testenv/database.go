package testenv

import (
	"crypto/rand"
	"encoding/hex"
	"testing"

	"gorm.io/gorm"
	"gorm.io/gorm/logger"
)

// The names of what tests can run on.
const (
	SQLite     = "sqlite"      // in memory
	SQLiteFile = "sqlite-file" // a file with a write-ahead log
	Postgres   = "postgres"
	MariaDB    = "mariadb" // or MySQL, when CACHEPLUGIN_TEST_MYSQL names one
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
	// Driver makes such databases and connects to them.
	Driver Driver
}

// Driver is what differs between kinds of databases.
type Driver interface {
	// Create makes an empty database and returns its DSN. The database is dropped
	// when the test ends. The test is skipped if there is no server.
	Create(tb testing.TB) string
	// Dialector returns GORM's dialector for a DSN of Create.
	Dialector(dsn string) gorm.Dialector
	// DSN returns what Dialector was given; false for another kind of database.
	DSN(dialector gorm.Dialector) (dsn string, ok bool)
}

// Databases returns the kinds of SQLite that are wanted in this run. Package
// testdb of the module integration has those that need a server, too.
func Databases(tb testing.TB) []Database {
	tb.Helper()
	var all []Database
	for _, database := range []Database{InMemory(), InFile()} {
		if Wanted(database.Name) {
			all = append(all, database)
		}
	}
	if len(all) == 0 {
		tb.Skipf("SQLite is left out by %s=%q", envDatabases, listed(envDatabases))
	}
	return all
}

// NeedSQLite returns SQLite in memory, for tests that concern no database in
// particular. The test is skipped if this run leaves it out.
func NeedSQLite(tb testing.TB) Database {
	tb.Helper()
	SkipUnwanted(tb, SQLite)
	return InMemory()
}

// SkipUnwanted skips the test if this run leaves out the database called name.
func SkipUnwanted(tb testing.TB, name string) {
	tb.Helper()
	switch {
	case Wanted(name):
	case Required(name):
		tb.Fatalf("%s is required by %s and left out by %s", name, envRequire, envDatabases)
	default:
		tb.Skipf("%s is left out by %s", name, envDatabases)
	}
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
	return d.Connect(tb, d.DSN(tb, db), cfg)
}

// DSN returns the data source name that db was opened with, for a handle or a
// process of its own.
func (d Database) DSN(tb testing.TB, db *gorm.DB) string {
	tb.Helper()
	dsn, ok := d.Driver.DSN(db.Dialector)
	if !ok {
		tb.Fatalf("%s: no DSN known of %T", d.Name, db.Dialector)
	}
	return dsn
}

// Dialector returns GORM's dialector for a DSN of this database.
func (d Database) Dialector(dsn string) gorm.Dialector { return d.Driver.Dialector(dsn) }

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

// Create makes an empty database and returns its DSN. The database is dropped
// when the test ends. The test is skipped if this run leaves the database out or
// there is no server.
func (d Database) Create(tb testing.TB) string {
	tb.Helper()
	SkipUnwanted(tb, d.Name)
	return d.Driver.Create(tb)
}

// UniqueName returns a name for a database that no other test uses.
func UniqueName(tb testing.TB) string {
	tb.Helper()
	var random [8]byte
	if _, err := rand.Read(random[:]); err != nil {
		tb.Fatal(err)
	}
	return "cacheplugin_" + hex.EncodeToString(random[:])
}
