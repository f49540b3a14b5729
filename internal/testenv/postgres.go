package testenv

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"

	_ "github.com/jackc/pgx/v5/stdlib" // the driver "pgx" of the administrative connection
)

// server is a running database server.
type server struct {
	admin   string // DSN with the right to create databases
	db      *sql.DB
	process *process // nil: not ours
	dir     string
}

// stop ends the server; what it stored is thrown away.
func (s *server) stop() {
	if s.db != nil {
		_ = s.db.Close()
	}
	if s.process != nil {
		s.process.end(signalQuit)
	}
	if s.dir != "" {
		_ = os.RemoveAll(s.dir)
	}
}

// startPostgres makes and starts a database cluster. Durability is off: the
// data never outlive the process.
func startPostgres() (*server, error) {
	initdb, err := program([]string{"initdb"}, "/usr/lib/postgresql/*/bin", "/usr/pgsql-*/bin", "/opt/homebrew/opt/postgresql*/bin")
	if err != nil {
		return nil, err
	}
	// Its neighbour, so that both are of one version; in the PATH there may only
	// be a link to it.
	if initdb, err = filepath.EvalSymlinks(initdb); err != nil {
		return nil, err
	}
	postgres := filepath.Join(filepath.Dir(initdb), "postgres")
	owner, err := ordinary("postgres", "nobody")
	if err != nil {
		return nil, err
	}
	dir, err := serverDir("postgres", owner)
	if err != nil {
		return nil, err
	}
	data := filepath.Join(dir, "data")
	var failures []error
	for _, locale := range []string{"C.UTF-8", "C"} { // not every system has the first
		err = run(dir, owner, initdb, "-D", data, "-U", "cacheplugin", "-A", "trust", "-E", "UTF8", "--locale="+locale, "--no-sync", "--no-instructions")
		if err == nil {
			break
		}
		failures = append(failures, err)
	}
	if err != nil {
		_ = os.RemoveAll(dir)
		return nil, errors.Join(failures...)
	}
	started, err := onFreePort(func(port int) (*server, error) {
		return launchPostgres(postgres, dir, data, port, owner)
	})
	if err != nil {
		_ = os.RemoveAll(dir)
		return nil, err
	}
	return started, nil
}

func launchPostgres(bin, dir, data string, port int, owner *account) (*server, error) {
	settings := []string{
		"-D", data, "-h", "127.0.0.1", "-p", strconv.Itoa(port),
		"-c", "unix_socket_directories=",
		"-c", "fsync=off", "-c", "synchronous_commit=off", "-c", "full_page_writes=off",
		"-c", "wal_level=minimal", "-c", "max_wal_senders=0",
		"-c", "dynamic_shared_memory_type=mmap", // containers have little /dev/shm
		"-c", "max_connections=1000", "-c", "shared_buffers=64MB",
		"-c", "timezone=UTC", "-c", "jit=off",
	}
	p, err := launch("postgres", dir, dir, owner, bin, settings...)
	if err != nil {
		return nil, err
	}
	admin := fmt.Sprintf("postgres://cacheplugin@127.0.0.1:%d/postgres?sslmode=disable", port)
	db, err := sql.Open("pgx", admin)
	if err != nil {
		p.end(signalKill)
		return nil, err
	}
	err = p.ready(func(ctx context.Context) error {
		return sameDirectory(ctx, db, "SHOW data_directory", data)
	})
	if err != nil {
		_ = db.Close()
		p.end(signalKill)
		return nil, fmt.Errorf("postgres: %w", err)
	}
	return &server{admin: admin, db: db, process: p, dir: dir}, nil
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
