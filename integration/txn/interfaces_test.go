package txn

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"gorm.io/gorm"
	"gorm.io/gorm/logger"
	"gorm.io/gorm/utils/tests"

	"github.com/cacheplugin/cacheplugin/txn"
)

// modes are how a fake driver can stand under a pool.
var modes = []struct {
	name  string
	ctx   func(context.Context) context.Context // of statements
	watch func(context.Context, txn.Statement) txn.Watched
}{
	{name: "connector without a plugin"},
	{name: "nothing watched", watch: func(context.Context, txn.Statement) txn.Watched { return nil }},
	{name: "everything watched", watch: func(context.Context, txn.Statement) txn.Watched { return idle{} }},
	{
		name:  "known",
		ctx:   func(ctx context.Context) context.Context { return txn.Known(ctx, txn.InTx) },
		watch: func(context.Context, txn.Statement) txn.Watched { panic("it is known") },
	},
}

// idle watches without doing anything.
type idle struct{}

func (idle) Announce(context.Context) error          { return nil }
func (idle) Done(context.Context, txn.Outcome) error { return nil }

// installOn has a pool over a Connector watched.
func installOn(t testing.TB, pool *sql.DB, o txn.Options) *txn.Pools {
	t.Helper()
	db, err := gorm.Open(tests.DummyDialector{}, &gorm.Config{ConnPool: pool, Logger: logger.Discard})
	require.NoError(t, err)
	if o.NewJournal == nil {
		o.NewJournal = (&recorder{}).newJournal
	}
	pools := &txn.Pools{}
	require.NoError(t, pools.Install(db, o))
	require.Same(t, pool, db.ConnPool)
	return pools
}

func TestEveryOptionalInterfaceIsAsTheDriverHasIt(t *testing.T) {
	for _, kind := range kinds {
		t.Run(kind, func(t *testing.T) {
			bare := &fake{kind: kind}
			want := explore(t, bare, sql.OpenDB(bare), nil)
			for _, mode := range modes {
				t.Run(mode.name, func(t *testing.T) {
					f := &fake{kind: kind}
					pool := sql.OpenDB(txn.NewConnector(f))
					if mode.watch != nil {
						installOn(t, pool, txn.Options{Watch: mode.watch})
					}
					got := explore(t, f, pool, mode.ctx)
					for i := range want {
						require.Equal(t, want[i], got[i])
					}
					require.Len(t, got, len(want))
				})
			}
		})
	}
}

// price is a Valuer.
type price struct{ cents int64 }

func (p price) Value() (driver.Value, error) { return p.cents, nil }

// broken is a Valuer that fails, or gives what is no driver.Value.
type broken struct{ value any }

func (b broken) Value() (driver.Value, error) {
	if b.value == nil {
		return nil, errFake
	}
	return b.value, nil
}

// step is something that was done, what came of it, and what the driver was asked.
type step struct {
	name   string
	result string
	calls  []string
}

// explore does everything that database/sql offers.
func explore(t *testing.T, f *fake, pool *sql.DB, with func(context.Context) context.Context) (steps []step) {
	t.Cleanup(func() { require.NoError(t, pool.Close()); require.Zero(t, f.connections()); require.False(t, f.twice) })
	pool.SetMaxOpenConns(1)
	ctx := t.Context()
	if with != nil {
		ctx = with(ctx)
	}
	conn, err := pool.Conn(ctx)
	require.NoError(t, err)
	require.NoError(t, conn.Close())
	require.NoError(t, pool.PingContext(ctx))
	f.said()
	do := func(name string, what func() string) {
		steps = append(steps, step{name, what(), nil})
		steps[len(steps)-1].calls = f.said()
	}
	executed := func(r sql.Result, err error) string {
		if err != nil {
			return "error: " + described(err)
		}
		n, errN := r.RowsAffected()
		id, errID := r.LastInsertId()
		return fmt.Sprint(n, described(errN), id, described(errID))
	}
	queried := func(rows *sql.Rows, err error) (seen string) {
		if err != nil {
			return "error: " + described(err)
		}
		for set := 0; ; set++ {
			types, err := rows.ColumnTypes()
			seen += fmt.Sprintf("set %d %s", set, described(err))
			for _, c := range types {
				length, hasLength := c.Length()
				precision, scale, hasScale := c.DecimalSize()
				nullable, hasNullable := c.Nullable()
				seen += fmt.Sprintln(c.Name(), c.DatabaseTypeName(), c.ScanType(), length, hasLength, precision, scale, hasScale, nullable, hasNullable)
			}
			for rows.Next() {
				var a, b any
				err := rows.Scan(&a, &b)
				seen += fmt.Sprintf("%T %v %T %s %s\n", a, a, b, b, described(err))
			}
			seen += described(rows.Err())
			if !rows.NextResultSet() {
				break
			}
		}
		return seen + described(rows.Err()) + described(rows.Close())
	}
	arguments := [][]any{
		nil,
		{1},
		{int8(-3)},
		{"x"},
		{[]byte("x")},
		{nil},
		{true},
		{float32(1.5)},
		{time.Unix(1, 2).UTC()},
		{uint64(math.MaxUint64)},
		{price{7}},
		{(*price)(nil)},
		{&price{8}},
		{sql.NullString{String: "n", Valid: true}},
		{broken{}},
		{broken{make(chan int)}},
		{make(chan int)},
		{struct{}{}},
		{sql.Named("name", 5)},
		{sql.Named("name", make(chan int))},
		{option{}},
		{option{}, 4},
		{4, option{}},
		{celsius{21}},
		{sql.Named("t", celsius{22})},
		{fahrenheit{}},
		{sql.Named("t", fahrenheit{})},
		{1, 2},
	}
	for i, args := range arguments {
		for _, query := range []string{"? as ever", "any number", "two of them", "without"} {
			name := fmt.Sprintf("arguments %d %T: %s: ", i, args, query)
			do(name+"exec", func() string { return executed(pool.ExecContext(ctx, query, args...)) })
			do(name+"query", func() string { return queried(pool.QueryContext(ctx, query, args...)) })
			stmt, err := pool.PrepareContext(ctx, query)
			require.NoError(t, err)
			for range 2 {
				do(name+"exec prepared", func() string { return executed(stmt.ExecContext(ctx, args...)) })
				do(name+"query prepared", func() string { return queried(stmt.QueryContext(ctx, args...)) })
			}
			do(name+"close", func() string { return described(stmt.Close()) })
		}
	}
	// A name that is refused without asking the driver, which may not have prepared
	// the statement then.
	do("name", func() string { return executed(pool.ExecContext(ctx, "any", sql.Named("1name", 5))) })
	steps[len(steps)-1].calls = nil
	for _, query := range []string{"fail", "fail any", "late any", "sets any", "sets late any", "unreadable any", "unreadable ?"} {
		for _, args := range [][]any{nil, {1}} {
			name := fmt.Sprintf("%s %v: ", query, args)
			do(name+"exec", func() string { return executed(pool.ExecContext(ctx, query, args...)) })
			do(name+"query", func() string { return queried(pool.QueryContext(ctx, query, args...)) })
			do(name+"row", func() string { return described(pool.QueryRowContext(ctx, query, args...).Scan(new(int), new([]byte))) })
			do(name+"prepared", func() string {
				stmt, err := pool.PrepareContext(ctx, query)
				if err != nil {
					return described(err)
				}
				return executed(stmt.ExecContext(ctx, args...)) + queried(stmt.QueryContext(ctx, args...)) + described(stmt.Close())
			})
		}
	}
	for _, bad := range []int32{1, 2, 3, 5} { // database/sql tries three times
		for _, args := range [][]any{nil, {1}} {
			name := fmt.Sprintf("%d bad %v: ", bad, args)
			again := func(what func() string) func() string {
				return func() string {
					f.bad.Store(bad)
					defer f.bad.Store(0)
					return what()
				}
			}
			do(name+"exec", again(func() string { return executed(pool.ExecContext(ctx, "bad any", args...)) }))
			do(name+"query", again(func() string { return queried(pool.QueryContext(ctx, "bad any", args...)) }))
			do(name+"ping", again(func() string { return described(pool.PingContext(ctx)) }))
			do(name+"in a transaction", again(func() string {
				tx, err := pool.BeginTx(ctx, nil)
				require.NoError(t, err)
				return executed(tx.ExecContext(ctx, "bad any", args...)) + described(tx.Commit())
			}))
			stmt, err := pool.PrepareContext(ctx, "bad any")
			require.NoError(t, err)
			do(name+"prepared", again(func() string { return executed(stmt.ExecContext(ctx, args...)) }))
			do(name+"close", func() string { return described(stmt.Close()) })
		}
	}
	cancelled, cancel := context.WithCancel(ctx)
	cancel()
	for _, o := range []*sql.TxOptions{nil, {}, {Isolation: sql.LevelSerializable}, {ReadOnly: true}} {
		for _, end := range []func(*sql.Tx) error{(*sql.Tx).Commit, (*sql.Tx).Rollback} {
			do(fmt.Sprintf("begin %+v", o), func() string {
				tx, err := pool.BeginTx(ctx, o)
				if err != nil {
					return described(err)
				}
				seen := executed(tx.ExecContext(ctx, "any", 1)) + queried(tx.QueryContext(ctx, "any", 2))
				stmt, err := tx.PrepareContext(ctx, "any")
				require.NoError(t, err)
				return seen + executed(stmt.ExecContext(ctx, celsius{3})) + described(end(tx)) + described(end(tx)) +
					executed(stmt.ExecContext(ctx)) + executed(tx.ExecContext(ctx, "any"))
			})
		}
	}
	// On a connection that is there, so that the driver is asked.
	conn, err = pool.Conn(ctx)
	require.NoError(t, err)
	f.said()
	stmt, err := conn.PrepareContext(ctx, "any")
	require.NoError(t, err)
	do("cancelled exec", func() string { return executed(conn.ExecContext(cancelled, "any", 1)) })
	do("cancelled query", func() string { return queried(conn.QueryContext(cancelled, "any", 1)) })
	do("cancelled ping", func() string { return described(conn.PingContext(cancelled)) })
	do("cancelled prepare", func() string {
		_, err := conn.PrepareContext(cancelled, "any")
		return described(err)
	})
	do("cancelled begin", func() string {
		_, err := conn.BeginTx(cancelled, nil)
		return described(err)
	})
	do("cancelled exec prepared", func() string { return executed(stmt.ExecContext(cancelled, 1)) })
	do("cancelled query prepared", func() string { return queried(stmt.QueryContext(cancelled, 1)) })
	do("bad by Raw", func() string { return described(conn.Raw(func(any) error { return driver.ErrBadConn })) })
	do("closed", func() string { return executed(conn.ExecContext(ctx, "any")) })
	require.True(t, errors.Is(conn.Close(), sql.ErrConnDone))
	return steps
}
