package txn

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cacheplugin/cacheplugin/txn"
)

// trivial is a connection that does nothing.
type trivial struct{}

func (trivial) Prepare(string) (driver.Stmt, error) { return nil, errFake }
func (trivial) Close() error                        { return nil }
func (trivial) Begin() (driver.Tx, error)           { return nil, errFake }
func (trivial) ExecContext(context.Context, string, []driver.NamedValue) (driver.Result, error) {
	return driver.RowsAffected(1), nil
}

// BenchmarkExec is what a statement costs that the driver does nothing for.
func BenchmarkExec(b *testing.B) {
	connector := connecting{&fake{}, func(context.Context) (driver.Conn, error) { return trivial{}, nil }}
	for _, bench := range []struct {
		name  string
		open  func(testing.TB) *sql.DB
		known bool
	}{
		{"bare", func(testing.TB) *sql.DB { return sql.OpenDB(connector) }, false},
		{"connector", func(testing.TB) *sql.DB { return sql.OpenDB(txn.NewConnector(connector)) }, false},
		{"known", benchmarked(connector), true},
		{"watched", benchmarked(connector), false},
	} {
		for name, args := range map[string][]any{"": nil, "/arguments": {int64(1), "x"}} {
			b.Run(bench.name+name, func(b *testing.B) {
				pool := bench.open(b)
				defer pool.Close()
				ctx := context.Background()
				if bench.known {
					ctx = txn.Known(ctx, txn.Autocommit)
				}
				b.ReportAllocs()
				for b.Loop() {
					if _, err := pool.ExecContext(ctx, "UPDATE accounts SET balance = ? WHERE id = ?", args...); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}

// benchmarked opens a pool whose statements are watched, without anything being done.
func benchmarked(connector driver.Connector) func(testing.TB) *sql.DB {
	return func(t testing.TB) *sql.DB {
		pool := sql.OpenDB(txn.NewConnector(connector))
		installOn(t, pool, txn.Options{Watch: func(context.Context, txn.Statement) txn.Watched { return idle{} }})
		return pool
	}
}

// BenchmarkProbe is what it costs to find the transaction of a *sql.Tx.
func BenchmarkProbe(b *testing.B) {
	pool := sql.OpenDB(txn.NewConnector(&fake{kind: "everything"}))
	defer pool.Close()
	pools := installOn(b, pool, txn.Options{})
	tx, err := pool.Begin()
	require.NoError(b, err)
	defer tx.Rollback()
	b.ReportAllocs()
	for b.Loop() {
		if where, _ := pools.Of(tx); where != txn.InTx {
			b.Fatal(where)
		}
	}
}
