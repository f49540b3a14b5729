package testdb

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	mysqldriver "github.com/go-sql-driver/mysql" // also the driver "mysql" of the administrative connection
	"gorm.io/driver/mysql"
	"gorm.io/gorm"

	"github.com/cacheplugin/cacheplugin/internal/testenv/process"
)

// mysqlDriver opens databases of MariaDB or MySQL.
type mysqlDriver struct{ serverDriver }

// Create makes a database on the server, skips the test if there is none.
func (d mysqlDriver) Create(tb testing.TB) string {
	tb.Helper()
	s, name := d.create(tb, "DROP DATABASE IF EXISTS %s")
	config, err := mysqldriver.ParseDSN(s.admin)
	if err != nil {
		tb.Fatalf("CACHEPLUGIN_TEST_MYSQL: %v", err)
	}
	if d.own == nil {
		// A transaction that a failed test has left open would keep the database from
		// being dropped for a day.
		tb.Cleanup(func() {
			if err := endConnections(s.db, name); err != nil {
				tb.Errorf("%s: end the connections to %s: %v", d.name, name, err)
			}
		})
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
	return dsn
}

// endConnections ends whoever is still connected to a database.
func endConnections(db *sql.DB, name string) error {
	ctx := context.Background()
	rows, err := db.QueryContext(ctx, "SELECT id FROM information_schema.processlist WHERE db = ?", name)
	if err != nil {
		return err
	}
	defer func() { _ = rows.Close() }()
	var ids []int64
	for rows.Next() {
		var id int64
		if err := rows.Scan(&id); err != nil {
			return err
		}
		ids = append(ids, id)
	}
	if err := rows.Err(); err != nil {
		return err
	}
	for _, id := range ids {
		var gone *mysqldriver.MySQLError
		if _, err := db.ExecContext(ctx, fmt.Sprint("KILL ", id)); err != nil && !(errors.As(err, &gone) && gone.Number == 1094) { // unknown thread
			return err
		}
	}
	return nil
}

func (mysqlDriver) Dialector(dsn string) gorm.Dialector { return mysql.Open(dsn) }

func (mysqlDriver) DSN(dialector gorm.Dialector) (string, bool) {
	d, ok := dialector.(*mysql.Dialector)
	if !ok {
		return "", false
	}
	return d.DSN, true
}

// mariadbAccounts opens the server to the tests: by default only root may log
// in, and only under names that need a resolver.
const mariadbAccounts = `CREATE USER IF NOT EXISTS 'cacheplugin'@'%';
GRANT ALL PRIVILEGES ON *.* TO 'cacheplugin'@'%' WITH GRANT OPTION;
`

// startMariaDB makes and starts a server without durability.
func startMariaDB() (*server, error) {
	made, err := makeMariaDB()
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

// madeMariaDB is a server in a directory of its own, which may run.
type madeMariaDB struct {
	bin, dir, data, accounts string
	owner                    *process.Account
}

func makeMariaDB() (*madeMariaDB, error) {
	daemon, err := process.Program([]string{"mariadbd"}, "/usr/sbin", "/usr/libexec", "/opt/homebrew/bin")
	if err != nil {
		return nil, err
	}
	install, err := process.Program([]string{"mariadb-install-db", "mysql_install_db"})
	if err != nil {
		return nil, err
	}
	owner, err := process.Ordinary("mysql", "nobody")
	if err != nil {
		return nil, err
	}
	dir, err := process.Dir("mariadb", owner)
	if err != nil {
		return nil, err
	}
	m := &madeMariaDB{daemon, dir, filepath.Join(dir, "data"), filepath.Join(dir, "accounts.sql"), owner}
	err = process.Run(dir, owner, install, "--no-defaults", "--datadir="+m.data, "--tmpdir="+dir,
		"--auth-root-authentication-method=normal", "--skip-test-db", "--skip-name-resolve",
		"--innodb-flush-log-at-trx-commit=0", "--innodb-log-file-size=16M")
	if err == nil {
		err = os.WriteFile(m.accounts, []byte(mariadbAccounts), 0o644)
	}
	if err != nil {
		_ = os.RemoveAll(dir)
		return nil, err
	}
	return m, nil
}

// launch starts the server. Later settings ("name=value") count.
func (m *madeMariaDB) launch(port int, more ...string) (*server, error) {
	settings := []string{
		"--no-defaults",
		// A server that starts clears its temporary directory of all #sql files:
		// in one that two share, the other one's temporary tables vanish, and it
		// crashes.
		"--datadir=" + m.data, "--tmpdir=" + m.dir, "--init-file=" + m.accounts,
		"--skip-networking=0", "--bind-address=127.0.0.1", "--port=" + strconv.Itoa(port),
		"--socket=" + filepath.Join(m.dir, "s"), "--pid-file=" + filepath.Join(m.dir, "pid"), "--skip-name-resolve",
		"--character-set-server=utf8mb4", "--collation-server=utf8mb4_general_ci",
		"--innodb-flush-log-at-trx-commit=0", "--innodb-log-file-size=16M", "--innodb-buffer-pool-size=64M",
		"--innodb-doublewrite=0", "--max-connections=1000", "--default-time-zone=+00:00",
		// For those who follow its log.
		"--log-bin=" + filepath.Join(m.dir, "log"), "--server-id=1", "--binlog-format=ROW", "--binlog-row-image=FULL", "--sync-binlog=0",
		"--log-bin-trust-function-creators=1",
	}
	for _, setting := range more {
		settings = append(settings, "--"+setting)
	}
	p, err := process.Launch("mariadb", m.dir, m.dir, m.owner, m.bin, settings...)
	if err != nil {
		return nil, err
	}
	admin := fmt.Sprintf("cacheplugin@tcp(127.0.0.1:%d)/", port)
	db, err := sql.Open("mysql", admin)
	if err != nil {
		p.End(process.Kill)
		return nil, err
	}
	err = p.Ready(func(ctx context.Context) error {
		return sameDirectory(ctx, db, "SELECT @@datadir", m.data)
	})
	if err != nil {
		_ = db.Close()
		p.End(process.Kill)
		return nil, fmt.Errorf("mariadb: %w", err)
	}
	return &server{admin: admin, db: db, process: p, dir: m.dir}, nil
}
