package txn

import (
	"context"
	"database/sql"
	"errors"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"gorm.io/gorm"

	"github.com/cacheplugin/cacheplugin/integration/testdb"
	"github.com/cacheplugin/cacheplugin/internal/testenv"
	"github.com/cacheplugin/cacheplugin/txn"
)

var errUser = errors.New("the user's error")

// ways are the ways to write within a transaction that GORM offers. Each
// creates rows whose number is visible afterwards.
var ways = []struct {
	name    string
	visible int64 // rows seen by others afterwards
	flushes int
	run     func(t *testing.T, w *world, db *gorm.DB) error
}{
	{"default transaction", 1, 1, func(_ *testing.T, w *world, db *gorm.DB) error {
		return db.Create(&Account{ID: 1}).Error
	}},
	{"default transaction with associations", 1, 1, func(_ *testing.T, w *world, db *gorm.DB) error {
		return db.Create(&Account{ID: 1, Cards: []Card{{ID: 1}, {ID: 2}}}).Error
	}},
	{"default transaction that fails", 0, 0, func(t *testing.T, w *world, db *gorm.DB) error {
		require.Error(t, db.Create([]Account{{ID: 1}, {ID: 1}}).Error)
		return nil
	}},
	{"batches", 4, 1, func(_ *testing.T, w *world, db *gorm.DB) error {
		return db.CreateInBatches([]Account{{ID: 1}, {ID: 2}, {ID: 3}, {ID: 4}}, 2).Error
	}},
	{"generics", 1, 1, func(t *testing.T, w *world, db *gorm.DB) error {
		return gorm.G[Account](db).Create(t.Context(), &Account{ID: 1})
	}},
	{"function", 2, 1, func(_ *testing.T, w *world, db *gorm.DB) error {
		return db.Transaction(func(tx *gorm.DB) error {
			return errors.Join(tx.Create(&Account{ID: 1}).Error, tx.Create(&Account{ID: 2}).Error)
		})
	}},
	{"function with options", 1, 1, func(t *testing.T, w *world, db *gorm.DB) error {
		options := &sql.TxOptions{Isolation: sql.LevelSerializable}
		return db.Transaction(func(tx *gorm.DB) error {
			require.Equal(t, txn.InTx, w.where(tx))
			require.Equal(t, options, w.of(tx).Options())
			return tx.Create(&Account{ID: 1}).Error
		}, options)
	}},
	{"function that fails", 0, 0, func(t *testing.T, w *world, db *gorm.DB) error {
		require.Equal(t, errUser, db.Transaction(func(tx *gorm.DB) error {
			require.NoError(t, tx.Create(&Account{ID: 1}).Error)
			return errUser
		}))
		return nil
	}},
	{"function that panics", 0, 0, func(t *testing.T, w *world, db *gorm.DB) error {
		require.PanicsWithValue(t, "the user's panic", func() {
			_ = db.Transaction(func(tx *gorm.DB) error {
				require.NoError(t, tx.Create(&Account{ID: 1}).Error)
				panic("the user's panic")
			})
		})
		return nil
	}},
	{"by hand", 1, 1, func(_ *testing.T, w *world, db *gorm.DB) error {
		tx := db.Begin()
		return errors.Join(tx.Create(&Account{ID: 1}).Error, tx.Commit().Error)
	}},
	{"by hand, rolled back", 0, 0, func(_ *testing.T, w *world, db *gorm.DB) error {
		tx := db.Begin()
		return errors.Join(tx.Create(&Account{ID: 1}).Error, tx.Rollback().Error)
	}},
	{"by hand, rolled back after the commit", 1, 1, func(t *testing.T, w *world, db *gorm.DB) error {
		tx := db.Begin()
		require.NoError(t, tx.Create(&Account{ID: 1}).Error)
		require.NoError(t, tx.Commit().Error)
		require.ErrorIs(t, tx.Rollback().Error, sql.ErrTxDone)
		return nil
	}},
	{"by hand, committed after the rollback", 0, 0, func(t *testing.T, w *world, db *gorm.DB) error {
		tx := db.Begin()
		require.NoError(t, tx.Create(&Account{ID: 1}).Error)
		require.NoError(t, tx.Rollback().Error)
		require.Equal(t, sql.ErrTxDone, tx.Commit().Error)
		return nil
	}},
	{"by hand, committed twice", 1, 1, func(t *testing.T, w *world, db *gorm.DB) error {
		tx := db.Begin()
		require.NoError(t, tx.Create(&Account{ID: 1}).Error)
		require.NoError(t, tx.Commit().Error)
		require.Equal(t, sql.ErrTxDone, tx.Commit().Error)
		return nil
	}},
	{"session prepared inside", 1, 1, func(_ *testing.T, w *world, db *gorm.DB) error {
		return db.Transaction(func(tx *gorm.DB) error {
			return tx.Session(&gorm.Session{PrepareStmt: true}).Create(&Account{ID: 1}).Error
		})
	}},
	{"nested, both succeed", 2, 1, func(_ *testing.T, w *world, db *gorm.DB) error {
		return db.Transaction(func(tx *gorm.DB) error {
			return errors.Join(tx.Create(&Account{ID: 1}).Error, tx.Transaction(func(tx *gorm.DB) error {
				return tx.Create(&Account{ID: 2}).Error
			}))
		})
	}},
	{"nested, inner fails", 1, 1, func(t *testing.T, w *world, db *gorm.DB) error {
		return db.Transaction(func(tx *gorm.DB) error {
			ours := w.of(tx)
			require.False(t, ours.Dirty())
			require.Equal(t, errUser, tx.Transaction(func(tx *gorm.DB) error {
				require.NoError(t, tx.Create(&Account{ID: 2}).Error)
				return errUser
			}))
			require.True(t, ours.Dirty(), "a savepoint does not clean the transaction")
			require.False(t, ours.Opaque(), "savepoints leave the isolation alone")
			return tx.Create(&Account{ID: 1}).Error
		})
	}},
	{"nested, outer fails", 0, 0, func(t *testing.T, w *world, db *gorm.DB) error {
		require.Equal(t, errUser, db.Transaction(func(tx *gorm.DB) error {
			require.NoError(t, tx.Transaction(func(tx *gorm.DB) error {
				return tx.Create(&Account{ID: 2}).Error
			}))
			return errUser
		}))
		return nil
	}},
	{"nested, inner panics", 1, 1, func(t *testing.T, w *world, db *gorm.DB) error {
		return db.Transaction(func(tx *gorm.DB) error {
			require.Panics(t, func() {
				_ = tx.Transaction(func(tx *gorm.DB) error {
					require.NoError(t, tx.Create(&Account{ID: 2}).Error)
					panic("the user's panic")
				})
			})
			return tx.Create(&Account{ID: 1}).Error
		})
	}},
	{"nesting disabled", 2, 1, func(_ *testing.T, w *world, db *gorm.DB) error {
		db = db.Session(&gorm.Session{DisableNestedTransaction: true})
		return db.Transaction(func(tx *gorm.DB) error {
			return errors.Join(tx.Create(&Account{ID: 1}).Error, tx.Transaction(func(tx *gorm.DB) error {
				return tx.Create(&Account{ID: 2}).Error
			}))
		})
	}},
	{"savepoint by hand", 1, 1, func(_ *testing.T, w *world, db *gorm.DB) error {
		tx := db.Begin()
		return errors.Join(
			tx.Create(&Account{ID: 1}).Error,
			tx.SavePoint("sp").Error,
			tx.Create(&Account{ID: 2}).Error,
			tx.RollbackTo("sp").Error,
			tx.Commit().Error,
		)
	}},
	{"no default transaction", 1, 0, func(_ *testing.T, w *world, db *gorm.DB) error {
		return db.Session(&gorm.Session{SkipDefaultTransaction: true}).Create(&Account{ID: 1}).Error
	}},
	{"no default transaction, but one by function", 1, 1, func(_ *testing.T, w *world, db *gorm.DB) error {
		return db.Session(&gorm.Session{SkipDefaultTransaction: true}).Transaction(func(tx *gorm.DB) error {
			return tx.Create(&Account{ID: 1}).Error
		})
	}},
	{"only reads", 0, 0, func(_ *testing.T, w *world, db *gorm.DB) error {
		return db.Transaction(func(tx *gorm.DB) error { return tx.Find(&[]Account{}).Error })
	}},
	{"context cancelled, then committed", 0, 0, func(t *testing.T, w *world, db *gorm.DB) error {
		// database/sql does not send COMMIT.
		ctx, cancel := context.WithCancel(t.Context())
		tx := db.WithContext(ctx).Begin()
		require.NoError(t, tx.Create(&Account{ID: 1}).Error)
		cancel()
		require.Error(t, tx.Commit().Error)
		return nil
	}},
	{"context cancelled, then rolled back", 0, 0, func(t *testing.T, w *world, db *gorm.DB) error {
		ctx, cancel := context.WithCancel(t.Context())
		tx := db.WithContext(ctx).Begin()
		require.NoError(t, tx.Create(&Account{ID: 1}).Error)
		cancel()
		_ = tx.Rollback()
		return nil
	}},
	{"context cancelled, no call", 0, 0, func(t *testing.T, w *world, db *gorm.DB) error {
		ctx, cancel := context.WithCancel(t.Context())
		tx := db.WithContext(ctx).Begin()
		require.NoError(t, tx.Create(&Account{ID: 1}).Error)
		ours := w.of(tx)
		require.NoError(t, ours.Err())
		cancel()
		// database/sql rolls it back some time after.
		err := ours.Err()
		require.True(t, errors.Is(err, context.Canceled) || errors.Is(err, sql.ErrTxDone), err)
		return nil
	}},
}

func TestEveryWayToCommitFlushesOnceAfterTheDataIsVisible(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		for _, way := range ways {
			t.Run(way.name, func(t *testing.T) {
				w.empty(t)
				var seen []int64
				w.recorder.onFlush = func(ctx context.Context) {
					require.NoError(t, ctx.Err())
					_, bounded := ctx.Deadline()
					require.True(t, bounded)
					seen = append(seen, w.visible(t))
				}

				require.NoError(t, way.run(t, w, w.db))

				require.Equal(t, way.flushes, w.recorder.count(), "flushed before the call returned")
				require.Equal(t, way.visible, w.visible(t))
				for _, n := range seen {
					require.Equal(t, way.visible, n, "seen by another connection during the flush")
				}
				requireNoOpenTransaction(t, w.db)
			})
		}
	})
}

func TestTransactionsLeaveNoGoroutines(t *testing.T) {
	database := testdb.Need(t, testenv.SQLite)
	for _, p := range preparings {
		t.Run(p.name, func(t *testing.T) {
			w := newWorld(t, database, p, txn.Options{})
			all := func() {
				for _, way := range ways {
					w.empty(t)
					require.NoError(t, way.run(t, w, w.db))
					requireNoOpenTransaction(t, w.db)
				}
			}
			all() // GORM's own goroutines are started here
			before := goleak.IgnoreCurrent()
			all()
			goleak.VerifyNone(t, before)
		})
	}
}

// requireNoOpenTransaction waits until all connections are back in the pool:
// database/sql rolls back by itself when a context ends.
func requireNoOpenTransaction(t *testing.T, db *gorm.DB) {
	t.Helper()
	pool, err := db.DB()
	require.NoError(t, err)
	require.Eventually(t, func() bool { return pool.Stats().InUse == 0 }, waitFor, tick)
}

func TestReadOnlyTransactionMakesNoJournal(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		require.NoError(t, w.db.Transaction(func(tx *gorm.DB) error { return tx.Find(&[]Account{}).Error }))
		require.Zero(t, w.recorder.made)
	})
}

func TestSavepointsKeepWhatWasNoted(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		require.NoError(t, w.db.Transaction(func(tx *gorm.DB) error {
			_ = tx.Transaction(func(tx *gorm.DB) error {
				require.NoError(t, tx.Create(&Account{ID: 1}).Error)
				return errUser
			})
			return nil
		}))
		require.Len(t, w.recorder.flushes, 1)
		require.Len(t, w.recorder.flushes[0], 1)
	})
}

func TestFlushErrorIsReturnedByCommit(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		errFlush := errors.New("flush failed")
		w.recorder.failure = errFlush
		require.Equal(t, errFlush, w.db.Create(&Account{ID: 1}).Error)
		require.Equal(t, errFlush, w.db.Transaction(func(tx *gorm.DB) error { return tx.Create(&Account{ID: 2}).Error }))
		require.EqualValues(t, 2, w.visible(t))

		// A commit by other means.
		tx := w.db.Begin()
		require.NoError(t, tx.Create(&Account{ID: 3}).Error)
		require.Equal(t, errFlush, tx.Exec("COMMIT").Error)
		require.Equal(t, 3, w.recorder.count())
		_ = commit(tx)
		require.EqualValues(t, 3, w.visible(t))
	})
}

// commit commits a transaction without what GORM makes of the error.
func commit(tx *gorm.DB) error { return tx.Statement.ConnPool.(gorm.TxCommitter).Commit() }

func TestBeforeCommitAborts(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		errAbort := errors.New("the fence could not be raised")
		var failure error
		calls := 0
		db := w.database.Reopen(t, w.db, nil)
		r := &recorder{}
		require.NoError(t, db.Use(&plugin{recorder: r, options: txn.Options{
			BeforeCommit: func(ctx context.Context, _ *txn.Tx, j txn.Journal) error {
				calls++
				require.NoError(t, ctx.Err())
				require.NotEmpty(t, j.(*journal).notes)
				if w.database.ReadsDuringWrite {
					require.Zero(t, w.visible(t), "called before COMMIT")
				}
				return failure
			},
		}}))
		failure = errAbort
		require.Equal(t, errAbort, db.Create(&Account{ID: 1}).Error)
		require.Equal(t, errAbort, db.Transaction(func(tx *gorm.DB) error { return tx.Create(&Account{ID: 1}).Error }))
		tx := db.Begin()
		require.NoError(t, tx.Create(&Account{ID: 1}).Error)
		require.Equal(t, errAbort, commit(tx))
		require.Equal(t, sql.ErrTxDone, commit(tx))
		require.Equal(t, 3, calls)
		require.Zero(t, r.count())
		require.Zero(t, w.visible(t))
		requireNoOpenTransaction(t, db)

		require.NoError(t, db.Transaction(func(tx *gorm.DB) error { return tx.Find(&[]Account{}).Error }))
		require.Equal(t, 3, calls, "there is nothing to prepare for")

		failure = nil
		require.NoError(t, db.Create(&Account{ID: 1}).Error)
		require.Equal(t, 1, r.count())
		require.EqualValues(t, 1, w.visible(t))
	})
}

func TestBeforeCommitPrecedesStatementsThatCommit(t *testing.T) {
	database := testdb.Need(t, testenv.MariaDB)
	for _, p := range preparings {
		t.Run(p.name, func(t *testing.T) {
			var failure error
			var w *world
			w = newWorld(t, database, p, txn.Options{BeforeCommit: func(context.Context, *txn.Tx, txn.Journal) error {
				require.Zero(t, w.visible(t), "called before the statement")
				return failure
			}})
			failure = errors.New("the fence could not be raised")
			err := w.db.Transaction(func(tx *gorm.DB) error {
				require.NoError(t, tx.Create(&Account{ID: 1}).Error)
				for _, pool := range []gorm.ConnPool{tx.Statement.ConnPool, txn.Bare(tx.Statement.ConnPool)} {
					_, err := pool.ExecContext(t.Context(), "CREATE TABLE others (id int)")
					require.Equal(t, failure, err)
					require.Zero(t, w.visible(t), "it was not sent")
				}
				return failure
			})
			require.Equal(t, failure, err)
			require.Zero(t, w.visible(t))
			w.recorder.reset()

			failure = nil
			require.NoError(t, w.db.Transaction(func(tx *gorm.DB) error {
				require.NoError(t, tx.Create(&Account{ID: 1}).Error)
				_, err := tx.Statement.ConnPool.ExecContext(t.Context(), "CREATE TABLE others (id int)")
				return err
			}))
			require.Equal(t, 1, w.recorder.count())
			require.EqualValues(t, 1, w.visible(t))
		})
	}
}

// MySQL commits before a definition, unless it can't read it.
func TestAStatementThatShouldCommitAndFailsKeepsTheJournal(t *testing.T) {
	database := testdb.Need(t, testenv.MariaDB)
	w := newWorld(t, database, preparings[0], txn.Options{})
	var visible []int64
	w.recorder.onFlush = func(context.Context) { visible = append(visible, w.visible(t)) }
	require.NoError(t, w.db.Transaction(func(tx *gorm.DB) error {
		require.NoError(t, tx.Create(&Account{ID: 1}).Error)
		_, err := tx.Statement.ConnPool.ExecContext(t.Context(), "CREATE TABLE others (id")
		require.Error(t, err)
		return nil
	}))
	require.Equal(t, []int64{0, 1}, visible, "flushed once more when it is really committed")
	require.Equal(t, w.recorder.flushes[0], w.recorder.flushes[1])
}

func TestTheJournalIsToldWhatCommitHasReturned(t *testing.T) {
	database := testdb.Need(t, testenv.Postgres)
	w := newWorld(t, database, preparings[0], txn.Options{})
	var j *journal
	write := func(tx *gorm.DB) error {
		require.NoError(t, tx.Create(&Account{ID: 1}).Error)
		ours := w.of(tx)
		j = ours.Journal().(*journal)
		return nil
	}
	require.NoError(t, w.db.Transaction(write))
	require.NoError(t, j.outcome)
	w.empty(t)
	require.NoError(t, w.other.Exec("ALTER TABLE cards ADD CONSTRAINT late FOREIGN KEY (account_id) REFERENCES accounts (id) DEFERRABLE INITIALLY DEFERRED").Error)
	err := w.db.Transaction(func(tx *gorm.DB) error {
		require.NoError(t, tx.Exec("ALTER TABLE cards DROP CONSTRAINT IF EXISTS fk_accounts_cards").Error)
		require.NoError(t, tx.Create(&Card{ID: 1, AccountID: 99}).Error)
		return write(tx)
	})
	require.Error(t, err)
	require.Equal(t, err, j.outcome)
}
