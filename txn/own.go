package txn

import (
	"context"
	"database/sql"

	"gorm.io/gorm"
)

// Own returns a pool for the plugin's own statements: they are Known, and are sent
// below the prepared statements of GORM, which are the program's.
func Own(pool gorm.ConnPool) gorm.ConnPool {
	switch bare := Bare(pool).(type) {
	case nil:
		return pool
	case *Direct:
		return bare
	default:
		return own{bare}
	}
}

// own is a pool whose statements are known.
type own struct{ pool gorm.ConnPool }

// Unwrap implements Wrapper.
func (o own) Unwrap() gorm.ConnPool { return o.pool }

func (o own) PrepareContext(ctx context.Context, query string) (*sql.Stmt, error) {
	return o.pool.PrepareContext(ctx, query)
}

func (o own) ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error) {
	return o.pool.ExecContext(Known(ctx, InTx), query, args...)
}

func (o own) QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error) {
	return o.pool.QueryContext(Known(ctx, InTx), query, args...)
}

func (o own) QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row {
	return o.pool.QueryRowContext(Known(ctx, InTx), query, args...)
}
