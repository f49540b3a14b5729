package txn

import (
	"context"
	"database/sql"
	"errors"
	"testing"

	"github.com/stretchr/testify/require"
	"gorm.io/gorm"

	"github.com/cacheplugin/cacheplugin/integration/testdb"
	"github.com/cacheplugin/cacheplugin/internal/testenv"
	"github.com/cacheplugin/cacheplugin/txn"
)

func whereIs(db *gorm.DB) txn.Where {
	where, _ := txn.Of(db.Statement.ConnPool)
	return where
}

func TestWhereHasAName(t *testing.T) {
	require.Equal(t, "foreign", txn.Foreign.String())
	require.Equal(t, "autocommit", txn.Autocommit.String())
	require.Equal(t, "in transaction", txn.InTx.String())
}

func TestOfTellsWhatItCanSee(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		require.Equal(t, txn.Autocommit, whereIs(w.db))
		require.NoError(t, w.db.Transaction(func(tx *gorm.DB) error {
			require.Equal(t, txn.InTx, whereIs(tx))
			_, outer := txn.Of(tx.Statement.ConnPool)
			require.NotZero(t, outer.ID())
			return tx.Transaction(func(tx *gorm.DB) error {
				_, inner := txn.Of(tx.Statement.ConnPool)
				require.Same(t, outer, inner)
				_, prepared := txn.Of(tx.Session(&gorm.Session{PrepareStmt: true}).Statement.ConnPool)
				require.Same(t, outer, prepared)
				return nil
			})
		}))
		require.NoError(t, w.db.Connection(func(tx *gorm.DB) error {
			require.Equal(t, txn.Foreign, whereIs(tx))
			return tx.Transaction(func(tx *gorm.DB) error {
				require.Equal(t, txn.Foreign, whereIs(tx))
				return nil
			})
		}))

		pool, err := w.db.DB()
		require.NoError(t, err)
		sqlTx, err := pool.Begin()
		require.NoError(t, err)
		session := w.db.Session(&gorm.Session{Context: t.Context()})
		session.Statement.ConnPool = sqlTx
		require.Equal(t, txn.Foreign, whereIs(session))
		require.NoError(t, sqlTx.Rollback())
	})
}

func TestSessionMadeBeforeInstallIsForeignOrWrapped(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		db := w.database.Reopen(t, w.db, nil)
		before := db.WithContext(t.Context())
		prepared := db.Session(&gorm.Session{PrepareStmt: true})
		require.NoError(t, db.Use(&plugin{recorder: &recorder{}}))
		require.Equal(t, txn.Foreign, whereIs(before))
		require.Equal(t, txn.Foreign, whereIs(prepared))

		global := w.database.Reopen(t, w.db, &gorm.Config{PrepareStmt: true})
		before = global.WithContext(t.Context())
		require.NoError(t, global.Use(&plugin{recorder: &recorder{}}))
		require.Equal(t, txn.Autocommit, whereIs(before))
	})
}

func TestOfIsForeignForNothing(t *testing.T) {
	for _, pool := range []gorm.ConnPool{
		nil, (*txn.Tx)(nil), (*txn.Pool)(nil), (*gorm.PreparedStmtTX)(nil), (*gorm.PreparedStmtDB)(nil),
		&gorm.PreparedStmtTX{}, &gorm.PreparedStmtTX{Tx: (*txn.Tx)(nil)}, &gorm.PreparedStmtDB{}, (*sql.DB)(nil), &endless{},
	} {
		where, tx := txn.Of(pool)
		require.Equal(t, txn.Foreign, where)
		require.Nil(t, tx)
	}
}

// endless is a wrapper around itself.
type endless struct{ gorm.ConnPool }

func (e *endless) Unwrap() gorm.ConnPool { return e }

// capturing is a wrapper as a callback puts it into Statement.ConnPool.
type capturing struct{ gorm.ConnPool }

func (c capturing) Unwrap() gorm.ConnPool { return c.ConnPool }

func TestOfLooksThroughWrappers(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		where, _ := txn.Of(capturing{w.db.Statement.ConnPool})
		require.Equal(t, txn.Autocommit, where)
		tx := w.db.Begin()
		_, want := txn.Of(tx.Statement.ConnPool)
		where, got := txn.Of(capturing{capturing{tx.Statement.ConnPool}})
		require.Equal(t, txn.InTx, where)
		require.Same(t, want, got)
		require.NoError(t, tx.Rollback().Error)
	})
}

func TestBeginByTextMakesThePoolForeign(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		pool, err := w.db.DB()
		require.NoError(t, err)
		pool.SetMaxOpenConns(1) // or the two statements may meet different connections
		require.NoError(t, w.db.Exec("/* by hand */ begin").Error)
		require.Equal(t, txn.Foreign, whereIs(w.db))
		require.NoError(t, w.db.Exec("commit").Error)
		if w.db.PrepareStmt {
			require.Equal(t, txn.Foreign, whereIs(w.db), "how often it will run cannot be seen")
		} else {
			require.Equal(t, txn.Autocommit, whereIs(w.db))
		}
	})
}

func TestSavepointOutsideOfATransactionMakesAnSQLitePoolForeign(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		if w.database.Dialect != "sqlite" {
			return // an error, or nothing, elsewhere
		}
		pool, err := w.db.DB()
		require.NoError(t, err)
		pool.SetMaxOpenConns(1)
		require.NoError(t, w.db.SavePoint("a").Error)
		require.Equal(t, txn.Foreign, whereIs(w.db))
		require.NoError(t, w.db.Exec("RELEASE a").Error)
	})
}

func TestTransactionTextsAreNoticed(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		query := map[string]string{
			"postgres": "SET LOCAL search_path TO public",
			"mysql":    "SET @x = 1",
			"sqlite":   "PRAGMA cache_size = 1000",
		}[w.database.Dialect]
		for range 2 { // the second time as a statement that is prepared already
			require.NoError(t, w.db.Transaction(func(tx *gorm.DB) error {
				_, ours := txn.Of(tx.Statement.ConnPool)
				require.False(t, ours.Opaque())
				require.NoError(t, tx.Exec(" -- a comment\n"+query).Error)
				require.True(t, ours.Opaque())
				require.False(t, ours.DDL())
				return nil
			}))
		}
	})
}

func TestDDLInsideIsMarkedAndOnMySQLFlushedAtOnce(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		require.NoError(t, w.other.Exec("DROP TABLE IF EXISTS extra").Error)
		tx := w.db.Begin()
		require.NoError(t, tx.Create(&Account{ID: 1}).Error)
		require.NoError(t, tx.Exec("CREATE TABLE extra (id int)").Error)
		_, ours := txn.Of(tx.Statement.ConnPool)
		require.True(t, ours.DDL())
		if w.database.Dialect != "mysql" {
			require.Zero(t, w.recorder.count())
			require.NoError(t, tx.Rollback().Error)
			require.Zero(t, w.recorder.count())
			require.Zero(t, w.visible(t))
			return
		}
		require.Equal(t, 1, w.recorder.count(), "the first row is committed by now")
		require.EqualValues(t, 1, w.visible(t))
		require.NoError(t, tx.Create(&Account{ID: 2}).Error)
		require.NoError(t, tx.Rollback().Error)
		require.EqualValues(t, 2, w.visible(t), "MySQL is in autocommit after DDL")
		require.Equal(t, 2, w.recorder.count(), "so that the rollback has to flush")
	})
}

func TestCommitByTextFlushesInWhateverWayItIsSent(t *testing.T) {
	database := testdb.Need(t, testenv.SQLite)
	note := func(j txn.Journal) { j.(*journal).notes = append(j.(*journal).notes, "x") }
	errFlush := errors.New("flush failed")
	for _, test := range []struct {
		name    string
		flushes int // before the transaction's end
		send    func(tx *txn.Tx, query string) error
	}{
		{"exec", 1, func(tx *txn.Tx, query string) error {
			_, err := tx.ExecContext(t.Context(), query)
			return err
		}},
		{"query", 0, func(tx *txn.Tx, query string) error {
			rows, err := tx.QueryContext(t.Context(), query)
			if err == nil {
				for rows.Next() {
				}
				err = errors.Join(rows.Err(), rows.Close())
			}
			return err
		}},
		{"row", 0, func(tx *txn.Tx, query string) error {
			if err := tx.QueryRowContext(t.Context(), query).Scan(new(int)); !errors.Is(err, sql.ErrNoRows) {
				return err
			}
			return nil
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			for _, failure := range []error{nil, errFlush} {
				w := newWorld(t, database, preparing{}, txn.Options{})
				_, ours := txn.Of(w.db.Begin().Statement.ConnPool)
				ours.Journal().(*journal).notes = []string{"by Journal"}
				require.NoError(t, ours.Record(t.Context(), note))
				w.recorder.failure = failure
				if test.flushes > 0 {
					require.Equal(t, failure, test.send(ours, "COMMIT"))
				} else {
					require.NoError(t, test.send(ours, "COMMIT"))
				}
				require.Equal(t, test.flushes, w.recorder.count())
				w.recorder.failure = nil
				require.Error(t, test.send(ours, "COMMIT AND MORE"))
				_ = ours.Rollback()
				require.Equal(t, [][]string{{"by Journal", "x"}}, w.recorder.flushes)
			}
		})
	}
}

func TestCommitByTextFlushes(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		tx := w.db.Begin()
		require.NoError(t, tx.Create(&Account{ID: 1}).Error)
		require.NoError(t, tx.Exec("COMMIT").Error)
		require.Equal(t, 1, w.recorder.count())
		require.EqualValues(t, 1, w.visible(t))
		_, ours := txn.Of(tx.Statement.ConnPool)
		require.True(t, ours.Opaque())
		require.NoError(t, tx.Create(&Account{ID: 2}).Error)
		_ = tx.Rollback() // an error on SQLite: no transaction is active
		require.EqualValues(t, 2, w.visible(t))
		require.Equal(t, 2, w.recorder.count())
	})
}

func TestWrapFlushesForATransactionOfTheUsers(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		pool, err := w.db.DB()
		require.NoError(t, err)
		begin := func() (*gorm.DB, *txn.Tx, *sql.Tx) {
			sqlTx, err := pool.BeginTx(context.Background(), nil)
			require.NoError(t, err)
			wrapped := txn.Wrap(t.Context(), sqlTx, txn.Options{NewJournal: w.recorder.newJournal, Dialect: w.database.Dialect})
			session := w.db.Session(&gorm.Session{Context: t.Context()})
			session.Statement.ConnPool = wrapped
			return session, wrapped, sqlTx
		}
		session, wrapped, sqlTx := begin()
		require.Equal(t, txn.InTx, whereIs(session))
		got, err := session.DB()
		require.NoError(t, err)
		require.Same(t, pool, got)
		below, ok := wrapped.SQL()
		require.True(t, ok)
		require.Same(t, sqlTx, below)
		require.NoError(t, session.Create(&Account{ID: 1}).Error)
		require.NoError(t, wrapped.Commit())
		require.Equal(t, 1, w.recorder.count())

		session, wrapped, _ = begin()
		require.NoError(t, session.Create(&Account{ID: 2}).Error)
		require.NoError(t, wrapped.Rollback())
		require.Equal(t, 1, w.recorder.count())

		session, wrapped, sqlTx = begin()
		require.NoError(t, session.Create(&Account{ID: 3}).Error)
		require.NoError(t, sqlTx.Commit(), "behind our back")
		require.Equal(t, sql.ErrTxDone, wrapped.Rollback())
		require.Equal(t, 2, w.recorder.count())
	})
}
