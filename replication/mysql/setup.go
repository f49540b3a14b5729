package mysql

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"

	driver "github.com/go-sql-driver/mysql"

	"github.com/cacheplugin/cacheplugin/internal/follow"
)

// Finding is one thing that Examine has looked at.
type Finding = follow.Finding

// Findings are all of them.
type Findings = follow.Findings

// Examine looks whether a server can be followed: its settings and the user's rights. An
// error says that it could not be asked.
func Examine(ctx context.Context, c Config) (Findings, error) {
	parsed, err := c.parse()
	if err != nil {
		return nil, err
	}
	db, err := open(parsed)
	if err != nil {
		return nil, err
	}
	defer func() { _ = db.Close() }()
	return examine(ctx, db)
}

// open opens a pool of one connection for questions.
func open(c *driver.Config) (*sql.DB, error) {
	c = c.Clone()
	c.ParseTime = false
	connector, err := driver.NewConnector(c)
	if err != nil {
		return nil, err
	}
	db := sql.OpenDB(connector)
	db.SetMaxOpenConns(2)
	return db, nil
}

// setupError explains errors that don't go away by themselves.
func setupError(err error) error {
	var answer *driver.MySQLError
	if !errors.As(err, &answer) {
		return err
	}
	switch answer.Number {
	case 1045, 1044:
		return fmt.Errorf("%w: %w: correct the user and the password in DSN, and grant it the database", ErrSetup, err)
	case 1049:
		return fmt.Errorf("%w: %w: correct the name of the database in DSN", ErrSetup, err)
	case 1227:
		return fmt.Errorf("%w: %w: GRANT REPLICATION SLAVE ON *.* TO the user of DSN", ErrSetup, err)
	}
	return err
}

// variables are settings of the server, by name.
func variables(ctx context.Context, db *sql.DB) (map[string]string, error) {
	return pairs(ctx, db, `SHOW GLOBAL VARIABLES WHERE Variable_name IN ('version', 'log_bin', 'binlog_format', 'binlog_row_image',
  'expire_logs_days', 'binlog_expire_logs_seconds', 'read_only')`)
}

// pairs reads rows of a name and a value.
func pairs(ctx context.Context, db *sql.DB, query string) (found map[string]string, err error) {
	rows, err := db.QueryContext(ctx, query)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	found = map[string]string{}
	for rows.Next() {
		var name, value string
		if err := rows.Scan(&name, &value); err != nil {
			return nil, err
		}
		found[strings.ToLower(name)] = value
	}
	return found, rows.Err()
}

var replicates = regexp.MustCompile(`(?i)GRANT .*(ALL PRIVILEGES|REPLICATION SLAVE|REPLICATION CLIENT, REPLICATION SLAVE).* ON \*\.\* TO`)

func examine(ctx context.Context, db *sql.DB) (Findings, error) {
	v, err := variables(ctx, db)
	if err != nil {
		return nil, fmt.Errorf("ask the server for its settings: %w", setupError(err))
	}
	var f Findings
	state := func(ok bool) follow.State {
		if ok {
			return follow.OK
		}
		return follow.Problem
	}
	f.Add("server", state(strings.Contains(strings.ToLower(v["version"]), "mariadb")), "follow a MariaDB server, or invalidate by hand what others write", "%s", v["version"])
	f.Add("log_bin", state(v["log_bin"] == "ON"), "set log_bin in the server's configuration and restart it", "%s", v["log_bin"])
	f.Add("binlog_format", state(v["binlog_format"] == "ROW"), "SET GLOBAL binlog_format = ROW, and in the server's configuration; sessions that are open keep theirs until they end", "%s", v["binlog_format"])
	f.Add("binlog_row_image", state(v["binlog_row_image"] == "FULL"), "SET GLOBAL binlog_row_image = FULL, and in the server's configuration; sessions that are open keep theirs until they end", "%s", v["binlog_row_image"])
	f.Add("read_only", state(v["read_only"] == "OFF"), "give the primary in DSN: the binary log of a replica need not have what it replicates", "%s", v["read_only"])
	if err := examineGrants(ctx, db, &f); err != nil {
		return nil, err
	}
	examineRetention(v, &f)
	examineFilters(ctx, db, &f)
	return f, nil
}

func examineGrants(ctx context.Context, db *sql.DB, f *Findings) (err error) {
	rows, err := db.QueryContext(ctx, `SHOW GRANTS`)
	if err != nil {
		return fmt.Errorf("ask for the user's rights: %w", err)
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	may := false
	for rows.Next() {
		var grant string
		if err := rows.Scan(&grant); err != nil {
			return err
		}
		may = may || replicates.MatchString(grant)
	}
	if err := rows.Err(); err != nil {
		return err
	}
	var user string
	if err := db.QueryRowContext(ctx, `SELECT CURRENT_USER()`).Scan(&user); err != nil {
		return err
	}
	if !may {
		f.Add("user", follow.Problem, "GRANT REPLICATION SLAVE ON *.* TO "+quoteUser(user), "%s may not read the log", user)
		return nil
	}
	f.Add("user", follow.OK, "", "%s may read the log", user)
	return nil
}

func quoteUser(user string) string {
	name, host, _ := strings.Cut(user, "@")
	return "'" + name + "'@'" + host + "'"
}

// examineRetention looks for how long the log is kept. Who is away for longer drops
// everything.
func examineRetention(v map[string]string, f *Findings) {
	seconds, _ := strconv.ParseFloat(v["binlog_expire_logs_seconds"], 64)
	if days, err := strconv.ParseFloat(v["expire_logs_days"], 64); err == nil && seconds == 0 {
		seconds = days * 24 * 3600
	}
	const day = 24 * 3600
	switch {
	case seconds == 0:
		f.Add("retention", follow.Warning, "set binlog_expire_logs_seconds to a few days, say", "the log is kept until somebody purges it: it fills the disk")
	case seconds < day:
		f.Add("retention", follow.Warning, "set binlog_expire_logs_seconds to a day at least: a follower that is away for longer drops everything", "the log is kept for %.0f s", seconds)
	default:
		f.Add("retention", follow.OK, "", "the log is kept for %.0f days", seconds/day)
	}
}

// examineFilters looks whether databases are left out of the log.
func examineFilters(ctx context.Context, db *sql.DB, f *Findings) {
	rows, err := db.QueryContext(ctx, `SHOW MASTER STATUS`)
	if err != nil {
		f.Add("filters", follow.Warning, "make sure that binlog_do_db and binlog_ignore_db are not set, or grant the user BINLOG MONITOR", "the user may not ask for them")
		return
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		var file, do, ignore string
		var position int64
		if err := rows.Scan(&file, &position, &do, &ignore); err != nil {
			f.Add("filters", follow.Warning, "make sure that binlog_do_db and binlog_ignore_db are not set", "%v", err)
			return
		}
		if do != "" || ignore != "" {
			f.Add("filters", follow.Problem, "take binlog_do_db and binlog_ignore_db out of the server's configuration, and restart it", "databases are left out of the log: binlog_do_db %q, binlog_ignore_db %q", do, ignore)
			return
		}
	}
	f.Add("filters", follow.OK, "", "none")
}
