package testdb

import (
	"context"
	"database/sql"
	"fmt"
	"os"
	"sync"
	"testing"

	"github.com/cacheplugin/cacheplugin/internal/testenv"
	"github.com/cacheplugin/cacheplugin/internal/testenv/process"
)

// kinds are the servers that this package starts, by the name of their database.
var kinds = map[string]struct {
	testenv.Server
	driver string // of database/sql
	start  func() (*server, error)
}{
	testenv.Postgres: {
		Server: testenv.Server{
			Name: testenv.Postgres, Variable: "CACHEPLUGIN_TEST_POSTGRES",
			HowToGet: "install PostgreSQL (apt-get install postgresql) or set CACHEPLUGIN_TEST_POSTGRES",
		},
		driver: "pgx", start: startPostgres,
	},
	testenv.MariaDB: {
		Server: testenv.Server{
			Name: testenv.MariaDB, Variable: "CACHEPLUGIN_TEST_MYSQL",
			HowToGet: "install MariaDB (apt-get install mariadb-server) or set CACHEPLUGIN_TEST_MYSQL",
		},
		driver: "mysql", start: startMariaDB,
	},
}

// server is a running database server.
type server struct {
	admin   string // DSN with the right to create databases
	db      *sql.DB
	process *process.Process // nil: not ours
	dir     string
}

// stop ends the server; what it stored is thrown away.
func (s *server) stop() {
	if s.db != nil {
		_ = s.db.Close()
	}
	if s.process != nil {
		s.process.End(process.Quit)
	}
	if s.dir != "" {
		_ = os.RemoveAll(s.dir)
	}
}

// outcome is what became of the one attempt to have a server.
type outcome struct {
	*server
	err error
}

// shared holds the servers of this process. It is the one global of the package:
// servers are shared by all tests of a process, and only TestMain could hand
// them on.
var shared struct {
	mu       sync.Mutex // guards attempts, not the starting
	attempts map[string]*testenv.Attempt[outcome]
}

// serverOf returns the server called name, started if it isn't yet.
func serverOf(name string) outcome {
	shared.mu.Lock()
	a := shared.attempts[name]
	if a == nil {
		if shared.attempts == nil {
			shared.attempts = make(map[string]*testenv.Attempt[outcome])
		}
		a = new(testenv.Attempt[outcome])
		shared.attempts[name] = a
	}
	shared.mu.Unlock()
	return a.Get(func() outcome { return openServer(name) })
}

// openServer connects to the server that the environment names, else starts one.
func openServer(name string) outcome {
	kind, ok := kinds[name]
	if !ok {
		return outcome{err: fmt.Errorf("no server is called %q", name)}
	}
	dsn := kind.Named()
	if dsn == "" {
		started, err := kind.start()
		return outcome{started, err}
	}
	db, err := sql.Open(kind.driver, dsn)
	if err != nil {
		return outcome{err: fmt.Errorf("%s: %w", kind.Variable, err)}
	}
	if err := db.PingContext(context.Background()); err != nil {
		_ = db.Close()
		return outcome{err: fmt.Errorf("%s: %w", kind.Variable, err)}
	}
	return outcome{server: &server{admin: dsn, db: db}}
}

// stopServers ends the database servers of this process.
func stopServers() {
	shared.mu.Lock()
	attempts := shared.attempts
	shared.attempts = nil
	shared.mu.Unlock()
	for _, a := range attempts {
		if s := a.Get(func() outcome { return outcome{} }); s.server != nil {
			s.stop()
		}
	}
}

// serverDriver is what the databases of servers have in common.
type serverDriver struct {
	name string
	own  *Own // a test's own server; nil: the one of this process
}

// need returns the server, or skips the test with the reason.
func (d serverDriver) need(tb testing.TB) *server {
	tb.Helper()
	if d.own != nil {
		return d.own.running
	}
	found := serverOf(d.name)
	if found.err != nil {
		kinds[d.name].Missing(tb, found.err)
		tb.Skip(kinds[d.name].Unreachable(found.err))
	}
	return found.server
}

// create makes an empty database, which drop ends with the test, unless it goes with
// its server.
func (d serverDriver) create(tb testing.TB, drop string) (s *server, name string) {
	tb.Helper()
	s, name = d.need(tb), testenv.UniqueName(tb)
	if _, err := s.db.ExecContext(context.Background(), "CREATE DATABASE "+name); err != nil {
		tb.Fatalf("%s: create a database: %v", d.name, err)
	}
	if d.own != nil {
		return s, name
	}
	tb.Cleanup(func() {
		if _, err := s.db.ExecContext(context.Background(), fmt.Sprintf(drop, name)); err != nil {
			tb.Errorf("%s: drop the database: %v", d.name, err)
		}
	})
	return s, name
}

// sameDirectory makes sure that the server that answers is the one that we
// started and not another one that took the port first.
func sameDirectory(ctx context.Context, db *sql.DB, query, want string) error {
	var got string
	if err := db.QueryRowContext(ctx, query).Scan(&got); err != nil {
		return err
	}
	gotInfo, err := os.Stat(got)
	if err != nil {
		return err
	}
	wantInfo, err := os.Stat(want)
	if err != nil {
		return err
	}
	if !os.SameFile(gotInfo, wantInfo) {
		return fmt.Errorf("another server answers, of %s", got)
	}
	return nil
}
