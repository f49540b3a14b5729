package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/alicebob/miniredis/v2"
	mysqldriver "github.com/go-sql-driver/mysql"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/redis/go-redis/v9"
	"gorm.io/driver/mysql"
	"gorm.io/driver/postgres"
	"gorm.io/driver/sqlite"
	"gorm.io/gorm"
	"gorm.io/gorm/logger"

	"github.com/cacheplugin/cacheplugin/integration/testdb"
	"github.com/cacheplugin/cacheplugin/internal/testenv"
)

// environment is the servers of one run.
type environment struct {
	addresses map[string]string // of the servers that were started, by variable
	redis     *redis.Options
	embedded  *miniredis.Miniredis
	databases []*database
	directory string
}

// database is a database with the benchmark's tables in it.
type database struct {
	name string
	dsn  string
	// distance is how much later answers of the database, and of the Redis of
	// those who use it, arrive. Zero: nothing is in between.
	distance time.Duration
}

// away returns the same database, further away.
func (d *database) away(distance time.Duration) *database {
	return &database{name: d.name, dsn: d.dsn, distance: distance}
}

// start starts the servers and fills the databases.
func start(names []string) (_ *environment, err error) {
	env := &environment{addresses: map[string]string{}}
	defer func() {
		if err != nil {
			env.stop()
		}
	}()
	servers := []string{"redis"}
	for _, name := range names {
		switch name {
		case testenv.Postgres, testenv.MariaDB:
			servers = append(servers, name)
		case testenv.SQLite:
		default:
			return nil, fmt.Errorf("-databases: %q is none of postgres, mariadb, sqlite", name)
		}
	}
	started := testdb.StartServers(servers...)
	if err := errors.Join(started.Missing...); err != nil {
		return env, err
	}
	for _, variable := range started.Env {
		key, value, _ := strings.Cut(variable, "=")
		env.addresses[key] = value
	}
	if env.redis, err = redis.ParseURL(env.address("CACHEPLUGIN_TEST_REDIS")); err != nil {
		return env, fmt.Errorf("CACHEPLUGIN_TEST_REDIS: %w", err)
	}
	env.embedded = miniredis.NewMiniRedis()
	if err := env.embedded.Start(); err != nil {
		return env, err
	}
	if env.directory, err = os.MkdirTemp("", "cacheplugin-bench-"); err != nil {
		return env, err
	}
	for _, name := range names {
		d, err := env.create(name)
		if err != nil {
			return env, fmt.Errorf("%s: %w", name, err)
		}
		env.databases = append(env.databases, d)
	}
	return env, nil
}

func (env *environment) stop() {
	for _, d := range env.databases {
		env.drop(d)
	}
	if env.embedded != nil {
		env.embedded.Close()
	}
	if env.directory != "" {
		_ = os.RemoveAll(env.directory)
	}
	testdb.StopServers()
}

// address is where a server is that was started, or that the process's
// environment names.
func (env *environment) address(variable string) string {
	if address, ok := env.addresses[variable]; ok {
		return address
	}
	return os.Getenv(variable)
}

// create makes a database of its own and fills it.
func (env *environment) create(name string) (*database, error) {
	own := fmt.Sprintf("cacheplugin_bench_%d", os.Getpid())
	d := &database{name: name}
	switch name {
	case testenv.SQLite:
		d.dsn = "file:" + filepath.Join(env.directory, "bench.db") + "?_journal_mode=WAL&_busy_timeout=10000&_txlock=immediate"
	case testenv.Postgres:
		admin := env.address("CACHEPLUGIN_TEST_POSTGRES")
		if err := execute("pgx", admin, "CREATE DATABASE "+own); err != nil {
			return nil, err
		}
		u, err := url.Parse(admin)
		if err != nil {
			return nil, err
		}
		u.Path = "/" + own
		d.dsn = u.String()
	case testenv.MariaDB:
		admin := env.address("CACHEPLUGIN_TEST_MYSQL")
		if err := execute("mysql", admin, "CREATE DATABASE "+own); err != nil {
			return nil, err
		}
		cfg, err := mysqldriver.ParseDSN(admin)
		if err != nil {
			return nil, err
		}
		// A row that is updated to what it is counts as on the others.
		cfg.DBName, cfg.ParseTime, cfg.ClientFoundRows = own, true, true
		d.dsn = cfg.FormatDSN()
	}
	db, err := d.open()
	if err != nil {
		return nil, err
	}
	defer closeDB(db)
	return d, seed(db)
}

func (env *environment) drop(d *database) {
	own := fmt.Sprintf("DROP DATABASE IF EXISTS cacheplugin_bench_%d", os.Getpid())
	switch d.name {
	case testenv.Postgres:
		_ = execute("pgx", env.address("CACHEPLUGIN_TEST_POSTGRES"), own+" WITH (FORCE)")
	case testenv.MariaDB:
		_ = execute("mysql", env.address("CACHEPLUGIN_TEST_MYSQL"), own)
	}
}

func execute(driver, dsn, text string) error {
	db, err := sql.Open(driver, dsn)
	if err != nil {
		return err
	}
	defer db.Close()
	_, err = db.Exec(text)
	return err
}

// open returns a handle of its own on the database.
func (d *database) open() (*gorm.DB, error) {
	dialector, err := d.dialector()
	if err != nil {
		return nil, err
	}
	db, err := gorm.Open(dialector, &gorm.Config{Logger: logger.Discard})
	if err != nil {
		return nil, err
	}
	pool, err := db.DB()
	if err != nil {
		return nil, err
	}
	pool.SetMaxOpenConns(16)
	pool.SetMaxIdleConns(16)
	return db, nil
}

func (d *database) dialector() (gorm.Dialector, error) {
	switch d.name {
	case testenv.Postgres:
		cfg, err := pgx.ParseConfig(d.dsn)
		if err != nil {
			return nil, err
		}
		if d.distance > 0 {
			cfg.DialFunc = remote(d.distance)
		}
		return postgres.New(postgres.Config{Conn: stdlib.OpenDB(*cfg)}), nil
	case testenv.MariaDB:
		cfg, err := mysqldriver.ParseDSN(d.dsn)
		if err != nil {
			return nil, err
		}
		if d.distance > 0 {
			cfg.Net = "tcp-" + d.distance.String()
			dial := remote(d.distance)
			mysqldriver.RegisterDialContext(cfg.Net, func(ctx context.Context, address string) (net.Conn, error) { return dial(ctx, "tcp", address) })
		}
		connector, err := mysqldriver.NewConnector(cfg)
		if err != nil {
			return nil, err
		}
		return mysql.New(mysql.Config{Conn: sql.OpenDB(connector), DSNConfig: cfg}), nil
	default:
		return sqlite.Open(d.dsn), nil
	}
}

func closeDB(db *gorm.DB) {
	if pool, err := db.DB(); err == nil {
		_ = pool.Close()
	}
}

// versions names the servers.
func (env *environment) versions(ctx context.Context) []string {
	var lines []string
	client := redis.NewClient(env.redis)
	defer client.Close()
	if info, err := client.Info(ctx, "server").Result(); err == nil {
		for line := range strings.Lines(info) {
			if version, ok := strings.CutPrefix(strings.TrimSpace(line), "redis_version:"); ok {
				lines = append(lines, "Redis "+version+", loopback")
			}
		}
	}
	for _, d := range env.databases {
		db, err := d.open()
		if err != nil {
			continue
		}
		var version string
		query := map[string]string{testenv.SQLite: "SELECT 'SQLite ' || sqlite_version()"}[d.name]
		if query == "" {
			query = "SELECT version()"
		}
		if db.Raw(query).Scan(&version).Error == nil {
			version, _, _ = strings.Cut(version, " on ") // the platform, which is told already
			if !strings.HasPrefix(version, titles[d.name]) {
				version = titles[d.name] + " " + version
			}
			lines = append(lines, version)
		}
		closeDB(db)
	}
	return lines
}

// flush empties both Redis, also after an interrupt.
func (env *environment) flush(ctx context.Context) error {
	ctx = context.WithoutCancel(ctx)
	env.embedded.FlushAll()
	client := redis.NewClient(env.redis)
	defer client.Close()
	return client.FlushDB(ctx).Err()
}

// busy returns a function that tells how long Redis' thread has worked so far.
func (env *environment) busy(open *opened) func(context.Context) (time.Duration, error) {
	client := redis.NewClient(env.redis)
	open.closeLater(func() { _ = client.Close() })
	return func(ctx context.Context) (time.Duration, error) {
		info, err := client.Info(ctx, "cpu").Result()
		if err != nil {
			return 0, err
		}
		var seconds float64
		for line := range strings.Lines(info) {
			name, value, _ := strings.Cut(strings.TrimSpace(line), ":")
			if name == "used_cpu_user_main_thread" || name == "used_cpu_sys_main_thread" {
				part, err := strconv.ParseFloat(value, 64)
				if err != nil {
					return 0, fmt.Errorf("INFO cpu, %s: %w", name, err)
				}
				seconds += part
			}
		}
		return time.Duration(seconds * float64(time.Second)), nil
	}
}
