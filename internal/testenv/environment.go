package testenv

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
)

// The names of what tests can run on.
const (
	SQLite     = "sqlite"      // in memory
	SQLiteFile = "sqlite-file" // a file with a write-ahead log
	Postgres   = "postgres"
	MariaDB    = "mariadb" // or MySQL, when CACHEPLUGIN_TEST_MYSQL names one
)

const (
	envRedis     = "CACHEPLUGIN_TEST_REDIS"
	envPostgres  = "CACHEPLUGIN_TEST_POSTGRES"
	envMySQL     = "CACHEPLUGIN_TEST_MYSQL"
	envDatabases = "CACHEPLUGIN_TEST_DATABASES"
	envRequire   = "CACHEPLUGIN_TEST_REQUIRE"
)

// howToGet tells a reader of a test's log what to do about a missing server.
var howToGet = map[string]string{
	"redis":  "install redis-server (apt-get install redis-server) or set " + envRedis,
	Postgres: "install PostgreSQL (apt-get install postgresql) or set " + envPostgres,
	MariaDB:  "install MariaDB (apt-get install mariadb-server) or set " + envMySQL,
}

// environment holds the servers of this process. It is the one global of the
// package: servers are shared by all tests of a process, and only TestMain
// could hand them on.
var environment = new(servers)

// servers starts each server at most once, when first asked for.
type servers struct {
	mu       sync.Mutex // guards what follows, not the starting
	redis    *attempt[*sharedRedis]
	cluster  *attempt[*sharedCluster]
	postgres *attempt[databaseServer]
	mariadb  *attempt[databaseServer]
	told     map[string]bool
}

type databaseServer struct {
	*server
	err error
}

// attempt is a start that runs once, however many ask for it at once.
type attempt[T any] struct {
	once  sync.Once
	value T
}

func (a *attempt[T]) get(start func() T) T {
	a.once.Do(func() { a.value = start() })
	return a.value
}

func (s *servers) sharedRedis() *sharedRedis {
	s.mu.Lock()
	if s.redis == nil {
		s.redis = new(attempt[*sharedRedis])
	}
	a := s.redis
	s.mu.Unlock()
	return a.get(func() *sharedRedis { return openSharedRedis(os.Getenv(envRedis)) })
}

func (s *servers) sharedCluster() *sharedCluster {
	s.mu.Lock()
	if s.cluster == nil {
		s.cluster = new(attempt[*sharedCluster])
	}
	a := s.cluster
	s.mu.Unlock()
	return a.get(func() *sharedCluster {
		c, err := newCluster()
		return &sharedCluster{RedisCluster: c, err: err}
	})
}

func (s *servers) database(name string) databaseServer {
	s.mu.Lock()
	if s.postgres == nil {
		s.postgres, s.mariadb = new(attempt[databaseServer]), new(attempt[databaseServer])
	}
	postgres, mariadb := s.postgres, s.mariadb
	s.mu.Unlock()
	switch name {
	case Postgres:
		return postgres.get(func() databaseServer { return openServer("pgx", envPostgres, startPostgres) })
	case MariaDB:
		return mariadb.get(func() databaseServer { return openServer("mysql", envMySQL, startMariaDB) })
	default:
		return databaseServer{err: fmt.Errorf("no server is called %q", name)}
	}
}

// openServer connects to the server that the environment names, else starts one.
func openServer(driver, env string, start func() (*server, error)) databaseServer {
	dsn := os.Getenv(env)
	if dsn == "" {
		started, err := start()
		return databaseServer{started, err}
	}
	db, err := sql.Open(driver, dsn)
	if err != nil {
		return databaseServer{err: fmt.Errorf("%s: %w", env, err)}
	}
	if err := db.PingContext(context.Background()); err != nil {
		_ = db.Close()
		return databaseServer{err: fmt.Errorf("%s: %w", env, err)}
	}
	return databaseServer{server: &server{admin: dsn, db: db}}
}

// stop ends what was started. Later calls start anew.
func (s *servers) stop() {
	s.mu.Lock()
	redis, cluster, postgres, mariadb := s.redis, s.cluster, s.postgres, s.mariadb
	s.redis, s.cluster, s.postgres, s.mariadb = nil, nil, nil, nil
	s.mu.Unlock()
	if cluster != nil && cluster.value != nil {
		cluster.value.discard()
	}
	if redis != nil && redis.value != nil {
		redis.value.stop()
	}
	for _, a := range []*attempt[databaseServer]{postgres, mariadb} {
		if a != nil && a.value.server != nil {
			a.value.stop()
		}
	}
}

// missing reports that a server can't be had: in the test's log, once a process
// on standard error, and as a failure if it is required.
func (s *servers) missing(tb testing.TB, name string, err error) {
	tb.Helper()
	line := fmt.Sprintf("%s could not be reached: %v; to get it, %s", name, err, howToGet[name])
	if required(name) {
		tb.Fatalf("%s (%s=%s)", line, envRequire, os.Getenv(envRequire))
	}
	if !errors.Is(err, errNotInstalled) && explicit(name) {
		tb.Fatal(line) // it was asked for by name
	}
	tb.Log(line)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.told[name] {
		return
	}
	if s.told == nil {
		s.told = make(map[string]bool)
	}
	s.told[name] = true
	fmt.Fprintln(os.Stderr, "testenv: "+line)
}

func required(name string) bool { return slices.Contains(listed(envRequire), name) }

// explicit reports whether the environment names a server of this kind.
func explicit(name string) bool {
	env := map[string]string{"redis": envRedis, Postgres: envPostgres, MariaDB: envMySQL}[name]
	return os.Getenv(env) != ""
}

// wanted reports whether tests are to run on the database called name.
func wanted(name string) bool {
	only := listed(envDatabases)
	return len(only) == 0 || slices.Contains(only, name)
}

func listed(env string) []string {
	return strings.FieldsFunc(os.Getenv(env), func(r rune) bool { return r == ',' || r == ' ' })
}
