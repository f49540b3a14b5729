package main

import (
	"context"
	"database/sql"
	"fmt"
	"net"
	"net/url"
	"strings"
	"time"

	mysqldriver "github.com/go-sql-driver/mysql"
	_ "github.com/jackc/pgx/v5/stdlib" // the driver "pgx"
	_ "github.com/mattn/go-sqlite3"    // the driver "sqlite3"

	"github.com/cacheplugin/cacheplugin/conj"
	"github.com/cacheplugin/cacheplugin/internal/catalog"
)

// databaseDialect tells the dialect of a database by its URL.
func databaseDialect(text string) (conj.Dialect, error) {
	scheme, _, _ := strings.Cut(text, ":")
	switch scheme {
	case "postgres", "postgresql":
		return conj.PostgreSQL, nil
	case "mysql", "mariadb":
		return conj.MySQL, nil
	case "sqlite", "sqlite3", "file":
		return conj.SQLite, nil
	}
	return 0, fmt.Errorf("--database %q: no such kind of database", redact(text))
}

// database is a database whose catalog is read.
type database struct {
	*sql.DB
	catalog *catalog.Catalog
}

// openDatabase connects to the database of a URL.
func openDatabase(ctx context.Context, d conj.Dialect, text string, timeout time.Duration) (*database, error) {
	driver, dsn := "pgx", text
	switch d {
	case conj.MySQL:
		var err error
		if dsn, err = mysqlDSN(text); err != nil {
			return nil, fmt.Errorf("the URL of the database: %w", withoutURL(err))
		}
		driver = "mysql"
	case conj.SQLite:
		driver, dsn = "sqlite3", sqliteDSN(text)
	}
	db, err := sql.Open(driver, dsn)
	if err != nil {
		return nil, fmt.Errorf("open the database: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	if err := db.PingContext(ctx); err != nil {
		_ = db.Close()
		return nil, fmt.Errorf("connect to the database: %w", err)
	}
	return &database{db, catalog.New(d)}, nil
}

func mysqlDSN(text string) (string, error) {
	u, err := url.Parse(text)
	if err != nil {
		return "", err
	}
	c := mysqldriver.NewConfig()
	c.User = u.User.Username()
	c.Passwd, _ = u.User.Password()
	c.Net, c.Addr = "tcp", u.Host
	if u.Port() == "" {
		c.Addr = net.JoinHostPort(u.Hostname(), "3306")
	}
	c.DBName = strings.TrimPrefix(u.Path, "/")
	return c.FormatDSN(), nil
}

// sqliteDSN opens an existing file only, to read: a misspelt path must not make
// a new database.
func sqliteDSN(text string) string {
	_, path, _ := strings.Cut(text, ":")
	path, query, _ := strings.Cut(strings.TrimPrefix(path, "//"), "?")
	u := url.URL{Path: path}
	dsn := "file:" + u.EscapedPath() + "?mode=ro"
	if query != "" {
		dsn += "&" + query
	}
	return dsn
}

// lookup finds tables in the database's catalog.
func (d *database) lookup(ctx context.Context) conj.Lookup {
	return func(name conj.TableName) (*conj.Table, error) {
		t, err := d.catalog.Table(ctx, d, name, true)
		if err != nil || t == nil {
			return nil, err
		}
		return t.Table, nil
	}
}
