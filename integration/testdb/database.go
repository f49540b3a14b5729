package testdb

import (
	"fmt"
	"sync"
	"testing"

	"github.com/cacheplugin/cacheplugin/internal/testenv"
)

// Databases returns every kind of database that this run wants, SQLite first,
// and starts the servers. A test that opens one whose server can't be had is
// skipped with the reason, or fails when CACHEPLUGIN_TEST_REQUIRE lists it.
func Databases(tb testing.TB) []testenv.Database {
	tb.Helper()
	var all []testenv.Database
	for _, name := range []string{testenv.SQLite, testenv.SQLiteFile, testenv.Postgres, testenv.MariaDB} {
		if testenv.Wanted(name) {
			all = append(all, ByName(name))
		}
	}
	startAll(all)
	if len(all) == 0 {
		tb.Fatal("no database left to test on: CACHEPLUGIN_TEST_DATABASES names none that is known")
	}
	return all
}

// startAll starts the databases' servers at the same time: each takes seconds.
func startAll(databases []testenv.Database) {
	var wait sync.WaitGroup
	for _, database := range databases {
		if _, ok := kinds[database.Name]; ok {
			wait.Go(func() { serverOf(database.Name) })
		}
	}
	wait.Wait()
}

// Need returns the database called name (SQLite, SQLiteFile, Postgres or
// MariaDB). The test is skipped if it can't be had or is not wanted in this run.
// Need starts no other server.
func Need(tb testing.TB, name string) testenv.Database {
	tb.Helper()
	testenv.SkipUnwanted(tb, name)
	database := ByName(name)
	if _, ok := kinds[name]; ok {
		serverDriver{name: name}.need(tb)
	}
	return database
}

// ByName returns the kind of database called name, whether or not it can be had.
// It panics on a name that is none of testenv's.
func ByName(name string) testenv.Database { return onServer(name, nil) }

// onServer returns the kind of database called name on a server of a test's own; nil:
// on that of this process.
func onServer(name string, own *Own) testenv.Database {
	driver := serverDriver{name, own}
	switch name {
	case testenv.SQLite:
		return testenv.InMemory()
	case testenv.SQLiteFile:
		return testenv.InFile()
	case testenv.Postgres:
		return testenv.Database{Name: name, Dialect: "postgres", ReadsDuringWrite: true, Driver: postgresDriver{driver}}
	case testenv.MariaDB:
		return testenv.Database{Name: name, Dialect: "mysql", ReadsDuringWrite: true, Driver: mysqlDriver{driver}}
	default:
		panic(fmt.Sprintf("testdb: no database is called %q", name))
	}
}

// OfDialect returns the kind of database that GORM calls dialect ("sqlite",
// "postgres" or "mysql"), for a process that is given a DSN.
func OfDialect(dialect string) testenv.Database {
	name := map[string]string{"sqlite": testenv.SQLiteFile, "postgres": testenv.Postgres, "mysql": testenv.MariaDB}[dialect]
	return ByName(name)
}
