package database

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"

	"gorm.io/gorm"

	"github.com/cacheplugin/cacheplugin/conj"
	"github.com/cacheplugin/cacheplugin/internal/catalog"
	"github.com/cacheplugin/cacheplugin/txn"
)

// sessionSettings describes what a session makes of results besides the rows:
// two handles on one database that differ in it get other values for the same
// query. The database's settings are those that conj.SettingEffect knows to
// matter. What drivers are set to only shows in values: MySQL's has a zone of
// its own, gives other types where it sends parameters apart from the text, and
// can name columns after their tables; pgx has other locations in its simple
// protocol; SQLite's LIKE has a switch that can't be read.
func sessionSettings(ctx context.Context, d conj.Dialect, q catalog.Querier) (string, error) {
	switch d {
	case conj.PostgreSQL:
		return postgresSettings(ctx, q)
	case conj.MySQL:
		return mysqlSettings(ctx, q)
	}
	return sqliteSettings(ctx, q)
}

func postgresSettings(ctx context.Context, q catalog.Querier) (string, error) {
	list := []string{"timestamptz '2001-02-03 04:05:06+07'"}
	for _, name := range conj.MeaningfulSettings(conj.PostgreSQL) {
		list = append(list, "current_setting('"+name+"', true)")
	}
	return describe(ctx, q, "SELECT "+strings.Join(list, ", "))
}

func mysqlSettings(ctx context.Context, q catalog.Querier) (string, error) {
	// An aliased column of a derived table shows whether names have tables.
	values, err := describe(ctx, q, "SELECT p.at, CAST(? AS UNSIGNED) FROM (SELECT CAST('2001-02-03 04:05:06' AS DATETIME) AS at) p", 1)
	if err != nil {
		return "", err
	}
	var autocommit int
	if err := one(ctx, q, "SELECT @@autocommit", &autocommit); err != nil {
		return "", err
	}
	if autocommit != 1 {
		return "", ErrNoAutocommit
	}
	names := "'" + strings.Join(conj.MeaningfulSettings(conj.MySQL), "', '") + "'"
	settings, err := describe(ctx, q, "SHOW SESSION VARIABLES WHERE Variable_name IN ("+names+")")
	return values + settings, err
}

func sqliteSettings(ctx context.Context, q catalog.Querier) (string, error) {
	settings, err := describe(ctx, q, "SELECT 'a' LIKE 'A'")
	if err != nil {
		return "", err
	}
	for _, name := range conj.MeaningfulSettings(conj.SQLite) {
		value, err := describe(ctx, q, "PRAGMA "+name)
		if err != nil {
			return "", err
		}
		settings += value
	}
	return settings, nil
}

// describe spells out a result: its columns' names, and the values with the
// types that the driver gives them.
func describe(ctx context.Context, q catalog.Querier, query string, args ...any) (text string, err error) {
	rows, err := own(q).QueryContext(ctx, query, args...)
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	columns, err := rows.Columns()
	if err != nil {
		return "", err
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%q\x00", columns)
	values := make([]any, len(columns))
	pointers := make([]any, len(columns))
	for i := range values {
		pointers[i] = &values[i]
	}
	for rows.Next() {
		if err := rows.Scan(pointers...); err != nil {
			return "", err
		}
		for _, v := range values {
			fmt.Fprintf(&b, "%T:%v\x00", v, plain(v))
		}
	}
	return b.String(), rows.Err()
}

// plain is a value whose text is the same in every process.
func plain(v any) any {
	if b, ok := v.([]byte); ok {
		return string(b)
	}
	return v
}

// own is q for queries of the plugin's own.
func own(q catalog.Querier) catalog.Querier {
	if pool, ok := q.(gorm.ConnPool); ok {
		return txn.Own(pool)
	}
	return q
}

// one reads the one value of a query.
func one(ctx context.Context, q catalog.Querier, query string, into any) (err error) {
	rows, err := own(q).QueryContext(ctx, query)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	if !rows.Next() {
		return errors.Join(rows.Err(), sql.ErrNoRows)
	}
	return rows.Scan(into)
}
