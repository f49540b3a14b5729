package txn

import (
	"context"
	"database/sql"
	"errors"
	"testing"

	"github.com/stretchr/testify/require"
	"gorm.io/gorm"

	"github.com/cacheplugin/cacheplugin/integration/testdb"
	"github.com/cacheplugin/cacheplugin/txn"
)

func TestWhereHasAName(t *testing.T) {
	require.Equal(t, "foreign", txn.Foreign.String())
	require.Equal(t, "autocommit", txn.Autocommit.String())
	require.Equal(t, "in transaction", txn.InTx.String())
	require.Equal(t, "unsettled", txn.Unsettled.String())
}

func TestOfTellsWhatItCanSee(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		require.Equal(t, txn.Autocommit, w.where(w.db))
		require.Equal(t, txn.Foreign, w.where(w.other), "nobody watches it")
		require.NoError(t, w.db.Transaction(func(tx *gorm.DB) error {
			require.Equal(t, txn.InTx, w.where(tx))
			outer := w.of(tx)
			require.NotNil(t, outer)
			require.Same(t, w.pool(t), outer.DB())
			return tx.Transaction(func(tx *gorm.DB) error {
				require.Same(t, outer, w.of(tx))
				require.Same(t, outer, w.of(tx.Session(&gorm.Session{PrepareStmt: true})))
				return nil
			})
		}))
		require.NoError(t, w.db.Connection(func(tx *gorm.DB) error {
			require.Equal(t, txn.Autocommit, w.where(tx))
			if err := tx.Transaction(func(tx *gorm.DB) error {
				require.Equal(t, txn.InTx, w.where(tx))
				return nil
			}); err != nil {
				return err
			}
			require.Equal(t, txn.Autocommit, w.where(tx))
			return nil
		}))

		sqlTx, err := w.pool(t).Begin()
		require.NoError(t, err)
		session := w.on(t, sqlTx)
		require.Equal(t, txn.InTx, w.where(session))
		place := w.plugin.pools.Place(sqlTx)
		require.Equal(t, txn.Place{Where: txn.InTx, Tx: w.of(session), DB: w.pool(t)}, place)
		require.NoError(t, sqlTx.Rollback())
	})
}

func TestSessionMadeBeforeInstallIsForeignUnlessItsPreparedStatementsAreShared(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		db := w.database.Reopen(t, w.db, nil)
		before := db.WithContext(t.Context())
		prepared := db.Session(&gorm.Session{PrepareStmt: true})
		p := &plugin{recorder: &recorder{}}
		require.NoError(t, db.Use(p))
		for _, session := range []*gorm.DB{before, prepared} {
			where, _ := p.of(session)
			require.Equal(t, txn.Foreign, where)
		}

		global := w.database.Reopen(t, w.db, &gorm.Config{PrepareStmt: true})
		before = global.WithContext(t.Context())
		p = &plugin{recorder: &recorder{}}
		require.NoError(t, global.Use(p))
		where, _ := p.of(before)
		require.Equal(t, txn.Autocommit, where)
	})
}

func TestOfIsForeignForNothing(t *testing.T) {
	for _, pool := range []gorm.ConnPool{
		nil, (*sql.Tx)(nil), (*sql.Conn)(nil), (*txn.Direct)(nil), (*gorm.PreparedStmtTX)(nil), (*gorm.PreparedStmtDB)(nil),
		&gorm.PreparedStmtTX{}, &gorm.PreparedStmtTX{Tx: (*sql.Tx)(nil)}, &gorm.PreparedStmtDB{}, (*sql.DB)(nil), &endless{},
	} {
		where, tx := new(txn.Pools).Of(pool)
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
		where, _ := w.plugin.pools.Of(capturing{w.db.Statement.ConnPool})
		require.Equal(t, txn.Autocommit, where)
		tx := w.db.Begin()
		where, got := w.plugin.pools.Of(capturing{capturing{tx.Statement.ConnPool}})
		require.Equal(t, txn.InTx, where)
		require.Same(t, w.of(tx), got)
		require.NoError(t, tx.Rollback().Error)
	})
}

func TestBeginByTextMakesThePoolUnsettled(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		w.pool(t).SetMaxOpenConns(1) // or the two statements may meet different connections
		onConnection := func() txn.Where {
			conn, err := w.pool(t).Conn(t.Context())
			require.NoError(t, err)
			defer conn.Close()
			return w.where(w.on(t, conn))
		}
		if w.database.Dialect == "postgres" {
			require.NoError(t, w.db.Exec("/* by hand */ begin").Error)
			require.Equal(t, txn.Unsettled, w.where(w.db))
			require.Equal(t, txn.Autocommit, onConnection(), "the driver closes a connection that comes back in a transaction")
			require.Equal(t, txn.Autocommit, w.where(w.db))
			return
		}
		for id := range uint(2) { // the second time as a statement that is prepared already
			require.NoError(t, w.db.Exec("/* by hand */ begin").Error)
			require.Equal(t, txn.Unsettled, w.where(w.db))
			require.Equal(t, txn.InTx, onConnection())
			require.NoError(t, w.db.Session(&gorm.Session{SkipDefaultTransaction: true}).Create(&Account{ID: id + 1}).Error)
			require.Zero(t, w.recorder.count())
			require.NoError(t, w.db.Exec("commit").Error)
			require.Equal(t, 1, w.recorder.count())
			require.Equal(t, txn.Autocommit, w.where(w.db))
			require.Equal(t, txn.Autocommit, onConnection())
			w.recorder.reset()
		}
		require.NoError(t, w.db.Exec("begin").Error)
		require.NoError(t, w.db.Session(&gorm.Session{SkipDefaultTransaction: true}).Create(&Account{ID: 3}).Error)
		require.NoError(t, w.db.Exec("rollback").Error)
		require.Zero(t, w.recorder.count())
		require.Equal(t, txn.Autocommit, w.where(w.db))
		require.EqualValues(t, 2, w.visible(t))
	})
}

func TestSavepointOutsideOfATransactionIsOneOnSQLite(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		if w.database.Dialect != "sqlite" {
			return // an error, or nothing, elsewhere
		}
		w.pool(t).SetMaxOpenConns(1)
		require.NoError(t, w.db.SavePoint("a").Error)
		require.Equal(t, txn.Unsettled, w.where(w.db))
		require.NoError(t, w.db.Session(&gorm.Session{SkipDefaultTransaction: true}).Create(&Account{ID: 1}).Error)
		require.Zero(t, w.recorder.count())
		require.NoError(t, w.db.Exec("RELEASE a").Error)
		require.Equal(t, 1, w.recorder.count())
		require.EqualValues(t, 1, w.visible(t))
		require.Equal(t, txn.Autocommit, w.where(w.db))
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
				ours := w.of(tx)
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
		ours := w.of(tx)
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
	note := func(j txn.Journal) { j.(*journal).notes = append(j.(*journal).notes, "x") }
	errFlush := errors.New("flush failed")
	drain := func(rows *sql.Rows, err error) error {
		if err != nil {
			return err
		}
		for rows.Next() {
		}
		return errors.Join(rows.Err(), rows.Close())
	}
	prepared := func(t *testing.T, tx *sql.Tx, query string, run func(*sql.Stmt) error) error {
		stmt, err := tx.PrepareContext(t.Context(), query)
		if err != nil {
			return err
		}
		return errors.Join(run(stmt), stmt.Close())
	}
	for _, database := range testdb.Databases(t) {
		for _, test := range []struct {
			name string
			send func(t *testing.T, tx *sql.Tx, query string) error
		}{
			{"exec", func(t *testing.T, tx *sql.Tx, query string) error {
				_, err := tx.ExecContext(t.Context(), query)
				return err
			}},
			{"query", func(t *testing.T, tx *sql.Tx, query string) error { return drain(tx.QueryContext(t.Context(), query)) }},
			{"row", func(t *testing.T, tx *sql.Tx, query string) error {
				if err := tx.QueryRowContext(t.Context(), query).Scan(new(int)); !errors.Is(err, sql.ErrNoRows) {
					return err
				}
				return nil
			}},
			{"prepared exec", func(t *testing.T, tx *sql.Tx, query string) error {
				return prepared(t, tx, query, func(s *sql.Stmt) error {
					_, err := s.ExecContext(t.Context())
					return err
				})
			}},
			{"prepared query", func(t *testing.T, tx *sql.Tx, query string) error {
				return prepared(t, tx, query, func(s *sql.Stmt) error { return drain(s.QueryContext(t.Context())) })
			}},
		} {
			t.Run(database.Name+"/"+test.name, func(t *testing.T) {
				for _, failure := range []error{nil, errFlush} {
					w := newWorld(t, database, preparing{}, txn.Options{})
					var visible []int64
					w.recorder.onFlush = func(context.Context) { visible = append(visible, w.visible(t)) }
					tx := w.db.Begin()
					require.NoError(t, tx.Create(&Account{ID: 1}).Error)
					ours := w.of(tx)
					ours.Journal().(*journal).notes = []string{"by Journal"}
					require.NoError(t, ours.Record(t.Context(), note))
					w.recorder.failure = failure
					sqlTx := tx.Statement.ConnPool.(*sql.Tx)
					if err := test.send(t, sqlTx, "COMMIT"); failure != nil {
						require.ErrorIs(t, err, failure)
					} else {
						require.NoError(t, err)
					}
					require.Equal(t, [][]string{{"by Journal", "x"}}, w.recorder.flushes)
					require.Equal(t, []int64{1}, visible, "the flush comes after it has been committed")
					w.recorder.failure = nil
					require.Error(t, test.send(t, sqlTx, "COMMIT AND MORE"))
					_ = sqlTx.Rollback()
					require.Len(t, w.recorder.flushes, 1)
				}
			})
		}
	}
}

func TestCommitByTextFlushes(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		tx := w.db.Begin()
		require.NoError(t, tx.Create(&Account{ID: 1}).Error)
		require.NoError(t, tx.Exec("COMMIT").Error)
		require.Equal(t, 1, w.recorder.count())
		require.EqualValues(t, 1, w.visible(t))
		ours := w.of(tx)
		require.True(t, ours.Opaque())
		require.NoError(t, tx.Create(&Account{ID: 2}).Error)
		_ = tx.Rollback() // an error on SQLite: no transaction is active
		require.EqualValues(t, 2, w.visible(t))
		require.Equal(t, 2, w.recorder.count())
	})
}

func TestTransactionsOfTheUsersAreFlushed(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		begin := func() (*gorm.DB, *sql.Tx) {
			sqlTx, err := w.pool(t).BeginTx(t.Context(), nil)
			require.NoError(t, err)
			return w.on(t, sqlTx), sqlTx
		}
		session, sqlTx := begin()
		require.Equal(t, txn.InTx, w.where(session))
		require.NoError(t, session.Create(&Account{ID: 1}).Error)
		require.Zero(t, w.recorder.count())
		require.NoError(t, sqlTx.Commit())
		require.Equal(t, 1, w.recorder.count())

		session, sqlTx = begin()
		require.NoError(t, session.Create(&Account{ID: 2}).Error)
		require.NoError(t, sqlTx.Rollback())
		require.Equal(t, 1, w.recorder.count())

		// Without a handle of GORM.
		_, sqlTx = begin()
		_, err := sqlTx.ExecContext(t.Context(), "INSERT INTO accounts (id, balance) VALUES (3, 3)")
		require.NoError(t, err)
		require.Equal(t, 1, w.recorder.count())
		require.NoError(t, sqlTx.Commit())
		require.Equal(t, 2, w.recorder.count())

		_, sqlTx = begin()
		_, err = sqlTx.ExecContext(t.Context(), "INSERT INTO accounts (id, balance) VALUES (4, 3)")
		require.NoError(t, err)
		require.NoError(t, sqlTx.Rollback())
		require.Equal(t, 2, w.recorder.count())
		require.Equal(t, sql.ErrTxDone, sqlTx.Commit())
		require.EqualValues(t, 2, w.visible(t))
	})
}

func TestTransactionsOnAConnectionAreFlushed(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		require.NoError(t, w.db.Connection(func(conn *gorm.DB) error {
			require.NoError(t, conn.Transaction(func(tx *gorm.DB) error { return tx.Create(&Account{ID: 1}).Error }))
			require.Equal(t, 1, w.recorder.count())
			require.ErrorIs(t, conn.Transaction(func(tx *gorm.DB) error {
				require.NoError(t, tx.Create(&Account{ID: 2}).Error)
				return errUser
			}), errUser)
			require.Equal(t, 1, w.recorder.count())

			// By text.
			require.NoError(t, conn.Exec("BEGIN").Error)
			require.Equal(t, txn.InTx, w.where(conn))
			require.True(t, w.of(conn).Opaque())
			require.Equal(t, txn.Unsettled, w.where(w.db))
			alone := conn.Session(&gorm.Session{SkipDefaultTransaction: true})
			require.NoError(t, alone.Create(&Account{ID: 3}).Error)
			require.NoError(t, alone.Exec("INSERT INTO accounts (id, balance) VALUES (4, 4)").Error)
			require.Equal(t, 1, w.recorder.count())
			require.NoError(t, conn.Exec("COMMIT").Error)
			require.Equal(t, 2, w.recorder.count())
			require.Equal(t, txn.Autocommit, w.where(conn))
			require.Equal(t, txn.Autocommit, w.where(w.db))
			return nil
		}))
		require.EqualValues(t, 3, w.visible(t))
		requireNoOpenTransaction(t, w.db)
	})
}
