package testdb

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"testing"

	_ "github.com/jackc/pgx/v5/stdlib" // the driver "pgx" of the administrative connection
	"gorm.io/driver/postgres"
	"gorm.io/gorm"

	"github.com/cacheplugin/cacheplugin/internal/testenv/process"
)

// postgresDriver opens databases of PostgreSQL.
type postgresDriver struct{ serverDriver }

// Create makes a database on the server, skips the test if there is none.
func (d postgresDriver) Create(tb testing.TB) string {
	tb.Helper()
	s, name := d.create(tb, "DROP DATABASE IF EXISTS %s WITH (FORCE)") // whoever is still connected
	u, err := url.Parse(s.admin)
	if err != nil || u.Scheme == "" {
		tb.Fatalf("CACHEPLUGIN_TEST_POSTGRES must be a URL (postgres://user@host:port/database): %v", err)
	}
	u.Path = "/" + name
	return u.String()
}

func (postgresDriver) Dialector(dsn string) gorm.Dialector { return postgres.Open(dsn) }

func (postgresDriver) DSN(dialector gorm.Dialector) (string, bool) {
	d, ok := dialector.(*postgres.Dialector)
	if !ok {
		return "", false
	}
	return d.DSN, true
}

// startPostgres makes and starts a database cluster. Durability is off: the
// data never outlive the process.
func startPostgres() (*server, error) {
	made, err := makePostgres()
	if err != nil {
		return nil, err
	}
	started, err := process.OnFreePort(func(port int) (*server, error) { return made.launch(port) })
	if err != nil {
		_ = os.RemoveAll(made.dir)
		return nil, err
	}
	return started, nil
}

// madePostgres is a cluster in a directory of its own, which may run.
type madePostgres struct {
	bin, dir, data string
	owner          *process.Account
}

func makePostgres() (*madePostgres, error) {
	initdb, err := process.Program([]string{"initdb"}, "/usr/lib/postgresql/*/bin", "/usr/pgsql-*/bin", "/opt/homebrew/opt/postgresql*/bin")
	if err != nil {
		return nil, err
	}
	// Its neighbour, so that both are of one version; in the PATH there may only
	// be a link to it.
	if initdb, err = filepath.EvalSymlinks(initdb); err != nil {
		return nil, err
	}
	postgres := filepath.Join(filepath.Dir(initdb), "postgres")
	owner, err := process.Ordinary("postgres", "nobody")
	if err != nil {
		return nil, err
	}
	dir, err := process.Dir("postgres", owner)
	if err != nil {
		return nil, err
	}
	data := filepath.Join(dir, "data")
	var failures []error
	for _, locale := range []string{"C.UTF-8", "C"} { // not every system has the first
		err = process.Run(dir, owner, initdb, "-D", data, "-U", "cacheplugin", "-A", "trust", "-E", "UTF8", "--locale="+locale, "--no-sync", "--no-instructions")
		if err == nil {
			break
		}
		failures = append(failures, err)
	}
	if err != nil {
		_ = os.RemoveAll(dir)
		return nil, errors.Join(failures...)
	}
	return &madePostgres{postgres, dir, data, owner}, nil
}

// launch starts the cluster. Later settings count.
func (m *madePostgres) launch(port int, more ...string) (*server, error) {
	settings := []string{
		"-D", m.data, "-h", "127.0.0.1", "-p", strconv.Itoa(port),
		"-c", "unix_socket_directories=",
		"-c", "fsync=off", "-c", "synchronous_commit=off", "-c", "full_page_writes=off",
		// For those who follow its log.
		"-c", "wal_level=logical", "-c", "max_wal_senders=50", "-c", "max_replication_slots=50",
		"-c", "dynamic_shared_memory_type=mmap", // containers have little /dev/shm
		"-c", "max_connections=1000", "-c", "shared_buffers=64MB",
		"-c", "timezone=UTC", "-c", "jit=off",
	}
	for _, setting := range more {
		settings = append(settings, "-c", setting)
	}
	p, err := process.Launch("postgres", m.dir, m.dir, m.owner, m.bin, settings...)
	if err != nil {
		return nil, err
	}
	admin := fmt.Sprintf("postgres://cacheplugin@127.0.0.1:%d/postgres?sslmode=disable", port)
	db, err := sql.Open("pgx", admin)
	if err != nil {
		p.End(process.Kill)
		return nil, err
	}
	err = p.Ready(func(ctx context.Context) error {
		return sameDirectory(ctx, db, "SHOW data_directory", m.data)
	})
	if err != nil {
		_ = db.Close()
		p.End(process.Kill)
		return nil, fmt.Errorf("postgres: %w", err)
	}
	return &server{admin: admin, db: db, process: p, dir: m.dir}, nil
}
