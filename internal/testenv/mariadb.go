package testenv

import (
	"context"
	"database/sql"
	"fmt"
	"os"
	"path/filepath"
	"strconv"

	_ "github.com/go-sql-driver/mysql" // the driver "mysql" of the administrative connection
)

// mariadbAccounts opens the server to the tests: by default only root may log
// in, and only under names that need a resolver.
const mariadbAccounts = `CREATE USER IF NOT EXISTS 'cacheplugin'@'%';
GRANT ALL PRIVILEGES ON *.* TO 'cacheplugin'@'%' WITH GRANT OPTION;
`

// startMariaDB makes and starts a server without durability.
func startMariaDB() (*server, error) {
	daemon, err := program([]string{"mariadbd"}, "/usr/sbin", "/usr/libexec", "/opt/homebrew/bin")
	if err != nil {
		return nil, err
	}
	install, err := program([]string{"mariadb-install-db", "mysql_install_db"})
	if err != nil {
		return nil, err
	}
	owner, err := ordinary("mysql", "nobody")
	if err != nil {
		return nil, err
	}
	dir, err := serverDir("mariadb", owner)
	if err != nil {
		return nil, err
	}
	started, err := installMariaDB(daemon, install, dir, owner)
	if err != nil {
		_ = os.RemoveAll(dir)
		return nil, err
	}
	return started, nil
}

func installMariaDB(daemon, install, dir string, owner *account) (*server, error) {
	data := filepath.Join(dir, "data")
	err := run(dir, owner, install, "--no-defaults", "--datadir="+data, "--tmpdir="+dir,
		"--auth-root-authentication-method=normal", "--skip-test-db", "--skip-name-resolve",
		"--innodb-flush-log-at-trx-commit=0", "--innodb-log-file-size=16M")
	if err != nil {
		return nil, err
	}
	accounts := filepath.Join(dir, "accounts.sql")
	if err := os.WriteFile(accounts, []byte(mariadbAccounts), 0o644); err != nil {
		return nil, err
	}
	return onFreePort(func(port int) (*server, error) {
		return launchMariaDB(daemon, dir, data, accounts, port, owner)
	})
}

func launchMariaDB(bin, dir, data, accounts string, port int, owner *account) (*server, error) {
	p, err := launch("mariadb", dir, dir, owner, bin, "--no-defaults",
		// A server that starts clears its temporary directory of all #sql files:
		// in one that two share, the other one's temporary tables vanish, and it
		// crashes.
		"--datadir="+data, "--tmpdir="+dir, "--init-file="+accounts,
		"--skip-networking=0", "--bind-address=127.0.0.1", "--port="+strconv.Itoa(port),
		"--socket="+filepath.Join(dir, "s"), "--pid-file="+filepath.Join(dir, "pid"), "--skip-name-resolve",
		"--character-set-server=utf8mb4", "--collation-server=utf8mb4_general_ci",
		"--innodb-flush-log-at-trx-commit=0", "--innodb-log-file-size=16M", "--innodb-buffer-pool-size=64M",
		"--innodb-doublewrite=0", "--max-connections=1000", "--default-time-zone=+00:00")
	if err != nil {
		return nil, err
	}
	admin := fmt.Sprintf("cacheplugin@tcp(127.0.0.1:%d)/", port)
	db, err := sql.Open("mysql", admin)
	if err != nil {
		p.end(signalKill)
		return nil, err
	}
	err = p.ready(func(ctx context.Context) error {
		return sameDirectory(ctx, db, "SELECT @@datadir", data)
	})
	if err != nil {
		_ = db.Close()
		p.end(signalKill)
		return nil, fmt.Errorf("mariadb: %w", err)
	}
	return &server{admin: admin, db: db, process: p, dir: dir}, nil
}
