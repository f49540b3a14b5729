package txn

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"gorm.io/gorm"
	"gorm.io/gorm/logger"
	"gorm.io/gorm/utils/tests"

	"github.com/cacheplugin/cacheplugin/integration/testdb"
	"github.com/cacheplugin/cacheplugin/internal/testenv"
	"github.com/cacheplugin/cacheplugin/txn"
)

// deadlock bounds what would otherwise hang.
const deadlock = 30 * time.Second

// covered is a pool that was opened without a Connector, and the one over it.
type covered struct {
	below, above *sql.DB
	pools        *txn.Pools
	recorder     *recorder
}

// cover opens a pool on a database, sets it up, and puts one over it.
func cover(t *testing.T, database testenv.Database, dsn string, set func(*sql.DB)) *covered {
	t.Helper()
	db := database.Connect(t, dsn, &gorm.Config{Logger: logger.Discard})
	below, err := db.DB()
	require.NoError(t, err)
	set(below)
	p := &plugin{recorder: &recorder{}}
	require.NoError(t, db.Use(p))
	above, err := db.DB()
	require.NoError(t, err)
	require.NotSame(t, below, above)
	return &covered{below, above, &p.pools, p.recorder}
}

// coverFake is cover on a fake driver.
func coverFake(t *testing.T, f *fake, o txn.Options) *covered {
	t.Helper()
	below := sql.OpenDB(f)
	db, err := gorm.Open(tests.DummyDialector{}, &gorm.Config{ConnPool: below, Logger: logger.Discard})
	require.NoError(t, err)
	r := &recorder{}
	o.NewJournal = r.newJournal
	pools := &txn.Pools{}
	require.NoError(t, pools.Install(db, o))
	c := &covered{below, db.ConnPool.(*sql.DB), pools, r}
	t.Cleanup(func() { _ = c.above.Close() })
	return c
}

// onEveryDatabase runs a test on each database, under a context that ends if it hangs.
func onEveryDatabase(t *testing.T, test func(t *testing.T, ctx context.Context, database testenv.Database, dsn string)) {
	for _, database := range testdb.Databases(t) {
		t.Run(database.Name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), deadlock)
			defer cancel()
			test(t, ctx, database, newTables(t, database))
		})
	}
}

func TestSettingsOfThePoolAreTakenOver(t *testing.T) {
	onEveryDatabase(t, func(t *testing.T, ctx context.Context, database testenv.Database, dsn string) {
		c := cover(t, database, dsn, func(below *sql.DB) {
			below.SetMaxOpenConns(3)
			below.SetMaxIdleConns(1)
		})
		require.Equal(t, 3, c.above.Stats().MaxOpenConnections)
		var held []*sql.Conn
		for range 3 {
			conn, err := c.above.Conn(ctx)
			require.NoError(t, err)
			held = append(held, conn)
		}
		short, cancel := context.WithTimeout(ctx, 50*time.Millisecond)
		defer cancel()
		_, err := c.above.Conn(short)
		require.ErrorIs(t, err, context.DeadlineExceeded, "no fourth")
		for _, conn := range held {
			require.NoError(t, conn.Close())
		}
		require.Equal(t, 1, c.above.Stats().Idle)
		require.Equal(t, 1, c.below.Stats().InUse, "what isn't kept above is closed below")
	})
}

func TestIdleSettingsAreTakenOver(t *testing.T) {
	onEveryDatabase(t, func(t *testing.T, ctx context.Context, database testenv.Database, dsn string) {
		for _, test := range []struct {
			name string
			set  func(*sql.DB)
			idle int
		}{
			{"default", func(*sql.DB) {}, 2},
			{"none", func(below *sql.DB) { below.SetMaxIdleConns(0) }, 0},
			{"many", func(below *sql.DB) { below.SetMaxIdleConns(5) }, 4},
		} {
			c := cover(t, database, dsn, test.set)
			var held []*sql.Conn
			for range 4 {
				conn, err := c.above.Conn(ctx)
				require.NoError(t, err)
				held = append(held, conn)
			}
			for _, conn := range held {
				require.NoError(t, conn.Close())
			}
			require.Equal(t, test.idle, c.above.Stats().Idle, test.name)
			require.Zero(t, c.above.Stats().MaxOpenConnections)
			require.NoError(t, c.above.Close())
		}
		for _, set := range []func(*sql.DB){
			func(below *sql.DB) { below.SetConnMaxLifetime(time.Millisecond) },
			func(below *sql.DB) { below.SetConnMaxIdleTime(time.Millisecond) },
		} {
			c := cover(t, database, dsn, set)
			require.NoError(t, c.above.PingContext(ctx))
			require.Eventually(t, func() bool {
				s := c.above.Stats()
				return s.OpenConnections == 0 && s.MaxIdleTimeClosed+s.MaxLifetimeClosed > 0
			}, waitFor, tick)
			require.Zero(t, c.below.Stats().InUse)
			_, err := c.above.ExecContext(ctx, "DELETE FROM accounts")
			require.NoError(t, err)
			require.NoError(t, c.above.Close())
		}
	})
}

func TestOneConnectionIsEnough(t *testing.T) {
	onEveryDatabase(t, func(t *testing.T, ctx context.Context, database testenv.Database, dsn string) {
		c := cover(t, database, dsn, func(below *sql.DB) { below.SetMaxOpenConns(1) })
		// A transaction, and probes of it with rows open.
		tx, err := c.above.BeginTx(ctx, nil)
		require.NoError(t, err)
		_, err = tx.ExecContext(ctx, insertOne)
		require.NoError(t, err)
		rows, err := tx.QueryContext(ctx, "SELECT id FROM accounts")
		require.NoError(t, err)
		require.True(t, rows.Next())
		where, _ := c.pools.Of(tx)
		require.Equal(t, txn.InTx, where)
		where, _ = c.pools.Of(c.above)
		require.Equal(t, txn.Autocommit, where)
		require.NoError(t, rows.Close())
		require.NoError(t, tx.Commit())
		require.Equal(t, 1, c.recorder.count())
		// By text, on a connection.
		conn, err := c.above.Conn(ctx)
		require.NoError(t, err)
		for _, query := range []string{"BEGIN", insertTwo, "COMMIT"} {
			_, err = conn.ExecContext(ctx, query)
			require.NoError(t, err)
		}
		require.Equal(t, 2, c.recorder.count())
		// The pool below beside a connection that is held above, and idle there.
		var n int
		require.NoError(t, c.below.QueryRowContext(ctx, "SELECT count(*) FROM accounts").Scan(&n))
		require.Equal(t, 2, n)
		require.NoError(t, conn.Close())
		require.NoError(t, c.below.QueryRowContext(ctx, "SELECT count(*) FROM accounts").Scan(&n))
		below, err := c.below.Conn(ctx)
		require.NoError(t, err)
		require.NoError(t, c.above.QueryRowContext(ctx, "SELECT count(*) FROM accounts").Scan(&n))
		require.NoError(t, below.Close())
	})
}

func TestALimitThatIsSetBelowLaterHolds(t *testing.T) {
	onEveryDatabase(t, func(t *testing.T, ctx context.Context, database testenv.Database, dsn string) {
		c := cover(t, database, dsn, func(*sql.DB) {})
		var held []*sql.Conn
		for range 3 {
			conn, err := c.above.Conn(ctx)
			require.NoError(t, err)
			held = append(held, conn)
		}
		for _, limit := range []int{1, 4, 0, 2} {
			c.below.SetMaxOpenConns(limit)
			require.Eventually(t, func() bool { return c.above.Stats().MaxOpenConnections == limit }, waitFor, tick)
		}
		for _, conn := range held {
			require.NoError(t, conn.Close())
		}
		require.LessOrEqual(t, c.above.Stats().OpenConnections, 2)
		var group sync.WaitGroup
		errs := make(chan error, 100)
		for range 10 {
			group.Go(func() {
				for range 10 {
					errs <- c.above.PingContext(ctx)
				}
			})
		}
		group.Wait()
		close(errs)
		for err := range errs {
			require.NoError(t, err)
		}
		require.LessOrEqual(t, c.above.Stats().OpenConnections, 2)
	})
}

func TestClosingEitherPoolClosesBoth(t *testing.T) {
	for _, inUse := range []bool{false, true} {
		for _, which := range []string{"above", "below"} {
			t.Run(fmt.Sprintf("%s/in use %v", which, inUse), func(t *testing.T) {
				before := goleak.IgnoreCurrent()
				f := &fake{kind: "everything"}
				c := coverFake(t, f, txn.Options{})
				require.NoError(t, c.above.Ping())
				var conn *sql.Conn
				if inUse {
					var err error
					conn, err = c.above.Conn(t.Context())
					require.NoError(t, err)
				}
				if which == "above" {
					require.NoError(t, c.above.Close())
				} else {
					require.NoError(t, c.below.Close())
				}
				require.Eventually(t, func() bool {
					return c.above.Ping() != nil && c.below.Ping() != nil
				}, waitFor, tick)
				require.ErrorContains(t, c.below.Ping(), "database is closed")
				require.Eventually(t, func() bool { return c.above.Ping().Error() == "sql: database is closed" }, waitFor, tick)
				if inUse {
					_, err := conn.ExecContext(t.Context(), "any")
					require.NoError(t, err, "what is in use goes on")
					require.NoError(t, conn.Close())
				}
				require.Eventually(t, func() bool { return f.connections() == 0 }, waitFor, tick)
				require.NoError(t, c.above.Close())
				require.NoError(t, c.below.Close())
				where, _ := c.pools.Of(c.above)
				require.Equal(t, txn.Foreign, where)
				goleak.VerifyNone(t, before)
			})
		}
	}
}

func TestAClosedPoolBelowIsNoticedAtTheNextUse(t *testing.T) {
	c := coverFake(t, &fake{kind: "nothing"}, txn.Options{})
	_, err := c.above.Exec("any")
	require.NoError(t, err)
	require.NoError(t, c.below.Close())
	_, err = c.above.Exec("any")
	require.ErrorContains(t, err, "sql: database is closed", "not served by the connection that is idle")
}

func TestABadConnectionIsTriedAgainAboveAPool(t *testing.T) {
	for _, kind := range kinds {
		t.Run(kind, func(t *testing.T) {
			f := &fake{kind: kind}
			c := coverFake(t, f, txn.Options{})
			f.bad.Store(2)
			_, err := c.above.Exec("bad any", 1)
			require.NoError(t, err)
			f.bad.Store(3)
			_, err = c.above.Exec("bad any", 1)
			require.Equal(t, driver.ErrBadConn, err)
			require.Equal(t, c.above.Stats().OpenConnections, c.below.Stats().OpenConnections)
			require.Equal(t, c.below.Stats().OpenConnections, f.connections(), "the bad ones are closed")
			require.NoError(t, c.above.Close())
			require.Zero(t, f.connections())
			require.False(t, f.twice)
		})
	}
}

// panics is a Valuer, and a Watched, that panics.
type panics struct{ where string }

func (p panics) Value() (driver.Value, error) { panic("Value") }

func (p panics) Announce(context.Context) error {
	if p.where == "announce" {
		panic(p.where)
	}
	return nil
}

func (p panics) Done(context.Context, txn.Outcome) error {
	if p.where == "done" {
		panic(p.where)
	}
	return nil
}

func TestPanicsLeaveNoConnection(t *testing.T) {
	for _, kind := range kinds {
		for _, where := range []string{"watch", "announce", "done", "value"} {
			t.Run(kind+"/"+where, func(t *testing.T) {
				f := &fake{kind: kind}
				armed := false
				c := coverFake(t, f, txn.Options{Watch: func(context.Context, txn.Statement) txn.Watched {
					switch {
					case !armed || where == "value":
						return nil
					case where == "watch":
						panic(where)
					}
					return panics{where}
				}})
				args := []any{1}
				if where == "value" {
					args = []any{panics{}}
				}
				c.above.SetMaxOpenConns(1)
				armed = true
				require.Panics(t, func() { _, _ = c.above.Exec("any", args...) })
				// Not a query: database/sql itself keeps the connection of one whose driver,
				// or argument, panics.
				tx, err := c.above.Begin()
				require.NoError(t, err)
				require.Panics(t, func() { _, _ = tx.Exec("any", args...) })
				armed = false
				require.NoError(t, tx.Rollback())
				_, err = c.above.Exec("any")
				require.NoError(t, err)
				require.NoError(t, c.above.Close())
				require.Zero(t, f.connections())
				require.False(t, f.twice)
			})
		}
	}
}

func TestCancelledContextsLeaveNoConnectionAndNoTransaction(t *testing.T) {
	onEveryDatabase(t, func(t *testing.T, ctx context.Context, database testenv.Database, dsn string) {
		before := goleak.IgnoreCurrent()
		c := cover(t, database, dsn, func(below *sql.DB) { below.SetMaxOpenConns(2) })
		idle := func() {
			t.Helper()
			require.Eventually(t, func() bool { return c.above.Stats().InUse == 0 }, waitFor, tick)
			require.Eventually(t, func() bool { return c.below.Stats().InUse == c.above.Stats().OpenConnections }, waitFor, tick)
			where, _ := c.pools.Of(c.above)
			require.Equal(t, txn.Autocommit, where)
		}
		// Each of the steps is cancelled before it, in turn.
		for point := range 7 {
			cancelled, cancel := context.WithCancel(ctx)
			at := func(step int) {
				if step == point {
					cancel()
				}
			}
			at(0)
			conn, err := c.above.Conn(cancelled)
			if err == nil {
				at(1)
				_, _ = conn.ExecContext(cancelled, insertOne)
				at(2)
				if tx, err := conn.BeginTx(cancelled, nil); err == nil {
					at(3)
					_, _ = tx.ExecContext(cancelled, insertTwo)
					at(4)
					if rows, err := tx.QueryContext(cancelled, "SELECT id FROM accounts"); err == nil {
						at(5)
						for rows.Next() {
						}
						_ = rows.Close()
					}
					at(6)
					_ = tx.Commit()
				}
				_ = conn.Close()
			}
			cancel()
			idle()
			var n int
			require.NoError(t, c.above.QueryRowContext(ctx, "SELECT count(*) FROM accounts").Scan(&n))
			_, err = c.above.ExecContext(ctx, "DELETE FROM accounts")
			require.NoError(t, err)
		}
		require.NoError(t, c.above.Close())
		require.Zero(t, c.below.Stats().OpenConnections)
		goleak.VerifyNone(t, before)
	})
}

func TestManyAtOnceUseEachConnectionAlone(t *testing.T) {
	before := goleak.IgnoreCurrent()
	f := &fake{kind: "everything"}
	c := coverFake(t, f, txn.Options{Watch: func(context.Context, txn.Statement) txn.Watched { return idle{} }})
	c.above.SetMaxOpenConns(4)
	c.above.SetConnMaxLifetime(time.Millisecond)
	var group sync.WaitGroup
	for i := range 8 {
		group.Go(func() {
			for n := range 200 {
				ctx, cancel := context.WithCancel(context.Background())
				if n%7 == 0 {
					f.bad.Store(1)
				}
				switch (i + n) % 4 {
				case 0:
					_, _ = c.above.ExecContext(ctx, "bad any", n)
				case 1:
					if rows, err := c.above.QueryContext(ctx, "any", n); err == nil {
						if n%2 == 0 {
							cancel()
						}
						_ = rows.Close()
					}
				case 2:
					if tx, err := c.above.BeginTx(ctx, nil); err == nil {
						_, _ = tx.Exec("any")
						c.pools.Of(tx)
						if n%3 == 0 {
							cancel()
						}
						_ = tx.Commit()
					}
				case 3:
					_, _ = c.below.ExecContext(ctx, "any")
				}
				cancel()
			}
		})
	}
	group.Wait()
	require.NoError(t, c.above.Close())
	require.Eventually(t, func() bool { return f.connections() == 0 }, waitFor, tick)
	require.False(t, f.twice)
	goleak.VerifyNone(t, before)
}
