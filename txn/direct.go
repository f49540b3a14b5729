package txn

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"

	"gorm.io/gorm"

	"github.com/cacheplugin/cacheplugin/internal/rowset"
)

// Direct sends statements on one connection, below database/sql, while that has one
// of its calls under way. Nobody is shown them.
type Direct struct{ conn *Conn }

var (
	_ gorm.ConnPool       = (*Direct)(nil)
	_ gorm.GetDBConnector = (*Direct)(nil)
)

var errDirect = errors.New("txn: statements can't be prepared below database/sql")

// GetDBConn returns the pool that the connection is of.
func (d *Direct) GetDBConn() (*sql.DB, error) {
	if db := d.conn.connector.DB(); db != nil {
		return db, nil
	}
	return nil, gorm.ErrInvalidDB
}

// PrepareContext always fails.
func (d *Direct) PrepareContext(context.Context, string) (*sql.Stmt, error) { return nil, errDirect }

// ExecContext implements gorm.ConnPool.
func (d *Direct) ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error) {
	values, err := d.convert(args, d.conn.execs())
	if err != nil {
		return nil, err
	}
	result, err := d.conn.exec(ctx, query, values)
	if err == driver.ErrSkip { //nolint:errorlint // database/sql compares so
		return d.conn.execPrepared(ctx, query, values)
	}
	return result, err
}

// QueryContext implements gorm.ConnPool.
func (d *Direct) QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error) {
	rows, err := d.query(ctx, query, args)
	if err != nil {
		return nil, err
	}
	return rowset.Rows(rows)
}

// QueryRowContext implements gorm.ConnPool.
func (d *Direct) QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row {
	rows, err := d.query(ctx, query, args)
	if err != nil {
		return rowset.RowError(err)
	}
	return rowset.Row(rows)
}

func (d *Direct) query(ctx context.Context, query string, args []any) (driver.Rows, error) {
	values, err := d.convert(args, d.conn.queries())
	if err != nil {
		return nil, err
	}
	rows, err := d.conn.query(ctx, query, values)
	if err == driver.ErrSkip { //nolint:errorlint // database/sql compares so
		return d.conn.queryPrepared(ctx, query, values)
	}
	return rows, err
}

// convert converts arguments that are sent without preparing the statement; those of
// others are converted when it is prepared.
func (d *Direct) convert(args []any, asText bool) ([]driver.NamedValue, error) {
	values := make([]driver.NamedValue, len(args))
	for i, a := range args {
		values[i] = driver.NamedValue{Ordinal: i + 1, Value: a}
	}
	if asText {
		return d.conn.convert(values)
	}
	return values, nil
}
