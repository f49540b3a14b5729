package txn

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"runtime"
	"sync"
	"testing"
	"weak"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/stretchr/testify/require"
	"gorm.io/gorm"

	"github.com/cacheplugin/cacheplugin/integration/testdb"
	"github.com/cacheplugin/cacheplugin/internal/testenv"
	"github.com/cacheplugin/cacheplugin/txn"
)

// onPostgres runs a test on PostgreSQL, in each way to prepare.
func onPostgres(t *testing.T, test func(t *testing.T, w *world)) {
	database := testdb.Need(t, testenv.Postgres)
	for _, p := range preparings {
		t.Run(p.name, func(t *testing.T) { test(t, newWorld(t, database, p, txn.Options{})) })
	}
}

func TestDeferredConstraintFailsTheCommitAndFlushes(t *testing.T) {
	onPostgres(t, func(t *testing.T, w *world) {
		require.NoError(t, w.other.Exec("ALTER TABLE accounts ADD CONSTRAINT balances UNIQUE (balance) DEFERRABLE INITIALLY DEFERRED").Error)
		err := w.db.Transaction(func(tx *gorm.DB) error {
			return tx.Create([]Account{{ID: 1, Balance: 5}, {ID: 2, Balance: 5}}).Error
		})
		require.IsType(t, &pgconn.PgError{}, err, "unchanged, for GORM's error translation")
		require.Equal(t, 1, w.recorder.count())
		require.Zero(t, w.visible(t))

		w.recorder.reset()
		w.recorder.failure = errors.New("flush failed")
		err = w.db.Transaction(func(tx *gorm.DB) error {
			return tx.Create([]Account{{ID: 1, Balance: 5}, {ID: 2, Balance: 5}}).Error
		})
		var pgErr *pgconn.PgError
		require.ErrorAs(t, err, &pgErr)
		require.ErrorIs(t, err, w.recorder.failure)
	})
}

func TestCommitOfAFailedTransactionFlushes(t *testing.T) {
	onPostgres(t, func(t *testing.T, w *world) {
		tx := w.db.Begin()
		require.NoError(t, tx.Create(&Account{ID: 1}).Error)
		require.Error(t, tx.Session(&gorm.Session{}).Exec("SELECT 1/0").Error)
		require.ErrorContains(t, commit(tx), "commit unexpectedly resulted in rollback")
		require.Equal(t, 1, w.recorder.count())
		require.Zero(t, w.visible(t))
	})
}

func TestCommitOnALostConnectionFlushes(t *testing.T) {
	onPostgres(t, func(t *testing.T, w *world) {
		for _, end := range []string{"commit", "rollback"} {
			w.recorder.reset()
			tx := w.db.Begin()
			require.NoError(t, tx.Create(&Account{ID: 1}).Error)
			var pid int
			require.NoError(t, tx.Raw("SELECT pg_backend_pid()").Scan(&pid).Error)
			require.NoError(t, w.other.Exec("SELECT pg_terminate_backend(?)", pid).Error)
			require.Eventually(t, func() bool {
				var n int64
				require.NoError(t, w.other.Raw("SELECT count(*) FROM pg_stat_activity WHERE pid = ?", pid).Scan(&n).Error)
				return n == 0
			}, waitFor, tick)
			if end == "commit" {
				require.Error(t, tx.Commit().Error)
				require.Equal(t, 1, w.recorder.count())
			} else {
				require.Error(t, tx.Rollback().Error)
				require.Zero(t, w.recorder.count())
			}
			require.Zero(t, w.visible(t))
			requireNoOpenTransaction(t, w.db)
		}
	})
}

func TestMigratorWorksOnAWatchedPool(t *testing.T) {
	type Thing struct {
		ID   uint
		Name string
	}
	each(t, func(t *testing.T, w *world) {
		migrator := w.db.Migrator()
		require.NoError(t, w.db.AutoMigrate(&Thing{}))
		require.NoError(t, w.db.Create(&Thing{Name: "x"}).Error)
		require.NoError(t, w.db.Take(&Thing{}).Error)
		require.True(t, migrator.HasTable(&Thing{}))
		columns, err := migrator.ColumnTypes(&Thing{})
		require.NoError(t, err)
		require.Len(t, columns, 2)
		require.NoError(t, migrator.RenameColumn(&Thing{}, "name", "title"))
		require.NoError(t, migrator.DropColumn(&Thing{}, "title"))
		var rows []map[string]any
		require.NoError(t, w.db.Table("things").Find(&rows).Error, "prepared statements were reset")
		require.Len(t, rows, 1)
		require.NoError(t, w.db.Transaction(func(tx *gorm.DB) error { return tx.Migrator().DropTable(&Thing{}) }))
		require.False(t, migrator.HasTable(&Thing{}))
	})
}

func TestAbandonedTransactionsAreCollected(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		begin := func() weak.Pointer[txn.Tx] {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			tx := w.db.WithContext(ctx).Begin()
			require.NoError(t, tx.Create(&Account{ID: 1}).Error)
			ours := w.of(tx)
			return weak.Make(ours)
		}
		abandoned := begin()
		require.Eventually(t, func() bool {
			runtime.GC()
			return abandoned.Value() == nil
		}, waitFor, tick)
		requireNoOpenTransaction(t, w.db)
		require.Zero(t, w.recorder.count())
	})
}

func TestRecordAfterTheCommitFlushesAtOnce(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		note := func(j txn.Journal) { j.(*journal).notes = append(j.(*journal).notes, "late") }

		tx := w.db.Begin()
		ours := w.of(tx)
		require.NoError(t, commit(tx))
		require.ErrorIs(t, ours.Err(), sql.ErrTxDone)
		require.Zero(t, w.recorder.count())
		require.NoError(t, ours.Record(t.Context(), note))
		require.Equal(t, [][]string{{"late"}}, w.recorder.flushes)
		w.recorder.failure = errors.New("flush failed")
		require.Equal(t, w.recorder.failure, ours.Record(t.Context(), note))

		w.recorder.reset()
		tx = w.db.Begin()
		ours = w.of(tx)
		require.NoError(t, tx.Rollback().Error)
		require.NoError(t, ours.Record(t.Context(), note))
		require.Zero(t, w.recorder.made)
		require.ErrorIs(t, ours.Err(), sql.ErrTxDone)
	})
}

func TestNothingRecordedIsLostWhenCommitsRace(t *testing.T) {
	database := testdb.Need(t, testenv.SQLite)
	w := newWorld(t, database, preparing{}, txn.Options{})
	for range 200 {
		w.recorder.reset()
		tx := w.db.Begin()
		ours := w.of(tx)
		const writers = 4
		var group sync.WaitGroup
		for range writers {
			group.Go(func() {
				if err := ours.Record(t.Context(), func(j txn.Journal) { j.(*journal).notes = append(j.(*journal).notes, "x") }); err != nil {
					panic(err)
				}
			})
		}
		for range 2 {
			group.Go(func() { _ = commit(tx) })
		}
		group.Wait()
		var notes int
		for _, flushed := range w.recorder.flushes {
			notes += len(flushed)
		}
		require.Equal(t, writers, notes)
	}
}

// stalled is a driver's connection whose COMMIT takes as long as the test wants.
type stalled struct {
	driver.Conn
	reached, released chan struct{}
}

func (s *stalled) BeginTx(ctx context.Context, o driver.TxOptions) (driver.Tx, error) {
	tx, err := s.Conn.(driver.ConnBeginTx).BeginTx(ctx, o)
	return stalledTx{tx, s}, err
}

type stalledTx struct {
	driver.Tx
	conn *stalled
}

func (s stalledTx) Commit() error {
	s.conn.reached <- struct{}{}
	<-s.conn.released
	return s.Tx.Commit()
}

// connecting is a driver.Connector of a function.
type connecting struct {
	driver driver.Driver
	open   func(ctx context.Context) (driver.Conn, error)
}

func (c connecting) Connect(ctx context.Context) (driver.Conn, error) { return c.open(ctx) }
func (c connecting) Driver() driver.Driver                            { return c.driver }

func TestSecondCommitDoesNotFlushWhileTheFirstIsUnderWay(t *testing.T) {
	database := testdb.Need(t, testenv.SQLite)
	w := newWorld(t, database, preparing{}, txn.Options{})
	sqlite, dsn := w.pool(t).Driver(), database.DSN(t, w.db)
	reached, released := make(chan struct{}, 1), make(chan struct{})
	pool := sql.OpenDB(txn.NewConnector(connecting{sqlite, func(context.Context) (driver.Conn, error) {
		c, err := sqlite.Open(dsn)
		return &stalled{c, reached, released}, err
	}}))
	t.Cleanup(func() { _ = pool.Close() })
	db, err := gorm.Open(onPool("sqlite", pool), &gorm.Config{})
	require.NoError(t, err)
	require.NoError(t, db.Use(w.plugin))

	tx := db.Begin()
	require.NoError(t, tx.Create(&Account{ID: 1}).Error)
	first := make(chan error, 1)
	go func() { first <- commit(tx) }()
	require.Eventually(t, func() bool { return len(reached) == 1 }, waitFor, tick)
	require.Equal(t, sql.ErrTxDone, commit(tx))
	require.Zero(t, w.recorder.count(), "the data is not visible yet")
	close(released)
	require.NoError(t, <-first)
	require.Equal(t, 1, w.recorder.count())
	require.EqualValues(t, 1, w.visible(t))
}
