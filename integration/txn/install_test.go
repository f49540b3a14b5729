package txn

import (
	"context"
	"database/sql"
	"errors"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"gorm.io/driver/mysql"
	"gorm.io/driver/postgres"
	"gorm.io/driver/sqlite"
	"gorm.io/gorm"
	"gorm.io/gorm/logger"
	"gorm.io/gorm/utils/tests"
	"gorm.io/plugin/dbresolver"

	"github.com/cacheplugin/cacheplugin/integration/testdb"
	"github.com/cacheplugin/cacheplugin/internal/testenv"
	"github.com/cacheplugin/cacheplugin/txn"
)

func TestInstallIsInnermostAndIdempotent(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		o := txn.Options{NewJournal: w.recorder.newJournal}
		bottom := func(db *gorm.DB) *txn.Pool {
			pool := db.ConnPool
			for {
				prepared, ok := pool.(*gorm.PreparedStmtDB)
				if !ok {
					return pool.(*txn.Pool)
				}
				pool = prepared.ConnPool
			}
		}
		want := bottom(w.db)
		for range 2 {
			require.NoError(t, txn.Install(w.db, o))
			require.Same(t, want, bottom(w.db))
		}
		_, prepared := w.db.ConnPool.(*gorm.PreparedStmtDB)
		require.Equal(t, w.db.PrepareStmt, prepared, "what GORM and the migrators assert on")

		// Another *gorm.DB on the same pool.
		second, err := gorm.Open(onPool(w.database.Dialect, want), &gorm.Config{Logger: logger.Discard})
		require.NoError(t, err)
		require.NoError(t, txn.Install(second, o))
		require.Same(t, want, bottom(second))
		o.Owner = "someone else"
		require.ErrorIs(t, txn.Install(second, o), txn.ErrOwner)

		pool, err := w.db.DB()
		require.NoError(t, err)
		stats, err := want.GetDBConn()
		require.NoError(t, err)
		require.Same(t, pool, stats)
		require.NoError(t, want.Ping())
		require.NoError(t, w.db.Transaction(func(tx *gorm.DB) error {
			inside, err := tx.DB()
			require.Same(t, pool, inside)
			return err
		}))
	})
}

// onPool is a dialector that uses pool.
func onPool(dialect string, pool gorm.ConnPool) gorm.Dialector {
	switch dialect {
	case "postgres":
		return postgres.New(postgres.Config{Conn: pool})
	case "mysql":
		return mysql.New(mysql.Config{Conn: pool})
	}
	return sqlite.New(sqlite.Config{Conn: pool})
}

func TestPoolIsNoTransactionToGORM(t *testing.T) {
	var pool any = &txn.Pool{}
	require.Implements(t, (*gorm.ConnPool)(nil), pool)
	require.Implements(t, (*gorm.ConnPoolBeginner)(nil), pool)
	require.Implements(t, (*gorm.GetDBConnector)(nil), pool)
	_, committer := pool.(gorm.TxCommitter)
	require.False(t, committer)
	_, beginner := pool.(gorm.TxBeginner)
	require.False(t, beginner)

	var tx any = &txn.Tx{}
	require.Implements(t, (*gorm.Tx)(nil), tx)
	require.Implements(t, (*gorm.GetDBConnector)(nil), tx)
	_, nested := tx.(gorm.ConnPoolBeginner)
	require.False(t, nested)
}

func TestInstallRefusesOptionsWithoutJournal(t *testing.T) {
	require.ErrorIs(t, txn.Install(&gorm.DB{}, txn.Options{}), txn.ErrNoJournal)
}

func TestInstallLeavesADatabaseWithoutPoolAlone(t *testing.T) {
	db, err := gorm.Open(tests.DummyDialector{}, &gorm.Config{DryRun: true})
	require.NoError(t, err)
	require.NoError(t, txn.Install(db, txn.Options{NewJournal: (&recorder{}).newJournal}))
	require.Nil(t, db.ConnPool)
	require.NoError(t, db.Find(&[]Account{}).Error)
}

func TestInstallLeavesADatabaseInATransactionAlone(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		pool, err := w.db.DB()
		require.NoError(t, err)
		sqlTx, err := pool.Begin()
		require.NoError(t, err)
		db, err := gorm.Open(onPool(w.database.Dialect, sqlTx), &gorm.Config{Logger: logger.Discard})
		require.NoError(t, err)
		require.NoError(t, db.Use(&plugin{recorder: w.recorder}))
		require.Same(t, sqlTx, db.ConnPool)
		require.Equal(t, txn.Foreign, whereIs(db))
		require.NoError(t, db.Transaction(func(tx *gorm.DB) error { return tx.Create(&Account{ID: 1}).Error }))
		require.NoError(t, sqlTx.Rollback())
		require.Zero(t, w.visible(t))
	})
}

func TestDatabaseOnOneConnection(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		pool, err := w.db.DB()
		require.NoError(t, err)
		conn, err := pool.Conn(t.Context())
		require.NoError(t, err)
		defer conn.Close()
		db, err := gorm.Open(onPool(w.database.Dialect, conn), &gorm.Config{Logger: logger.Discard})
		require.NoError(t, err)
		_, bare := db.DB()
		require.NoError(t, db.Use(&plugin{recorder: w.recorder}))
		_, wrapped := db.DB()
		require.Equal(t, bare, wrapped)
		require.Equal(t, txn.Foreign, whereIs(db), "its owner may have begun a transaction")
		require.NoError(t, db.Transaction(func(tx *gorm.DB) error {
			require.Equal(t, txn.InTx, whereIs(tx))
			return tx.Create(&Account{ID: 1}).Error
		}))
		require.Equal(t, 1, w.recorder.count())
	})
}

// custom is a pool of a user's, in the forms that GORM knows.
type custom struct {
	gorm.ConnPool
	begin func() (gorm.ConnPool, error)
}

func (c *custom) BeginTx(context.Context, *sql.TxOptions) (gorm.ConnPool, error) { return c.begin() }

// committable is a transaction without StmtContext.
type committable struct{ gorm.ConnPool }

func (c *committable) Commit() error   { return c.ConnPool.(gorm.TxCommitter).Commit() }
func (c *committable) Rollback() error { return c.ConnPool.(gorm.TxCommitter).Rollback() }

func TestPoolsOfTheUsers(t *testing.T) {
	errBegin := errors.New("no connection left")
	database := testdb.Need(t, testenv.SQLite)
	for _, test := range []struct {
		name     string
		pool     func(pool *sql.DB) gorm.ConnPool
		begin    error // of a transaction
		prepared error // of one with prepared statements
		where    txn.Where
		flushes  int
	}{
		{"full transaction", func(pool *sql.DB) gorm.ConnPool {
			return &custom{pool, func() (gorm.ConnPool, error) { return pool.Begin() }}
		}, nil, nil, txn.InTx, 1},
		{"transaction that cannot use statements", func(pool *sql.DB) gorm.ConnPool {
			return &custom{pool, func() (gorm.ConnPool, error) {
				tx, err := pool.Begin()
				// GORM forgets the transaction where it refuses to prepare.
				t.Cleanup(func() { _ = tx.Rollback() })
				return &committable{tx}, err
			}}
		}, nil, gorm.ErrInvalidTransaction, txn.InTx, 1},
		{"begin fails", func(pool *sql.DB) gorm.ConnPool {
			return &custom{pool, func() (gorm.ConnPool, error) { return nil, errBegin }}
		}, errBegin, errBegin, txn.Foreign, 0},
		{"no transactions", func(pool *sql.DB) gorm.ConnPool {
			return struct{ gorm.ConnPool }{pool}
		}, gorm.ErrInvalidTransaction, gorm.ErrInvalidTransaction, txn.Foreign, 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			for _, install := range []bool{false, true} {
				w := newWorld(t, database, preparing{}, txn.Options{})
				pool, err := w.db.DB()
				require.NoError(t, err)
				db, err := gorm.Open(onPool(w.database.Dialect, test.pool(pool)), &gorm.Config{Logger: logger.Discard})
				require.NoError(t, err)
				if install {
					require.NoError(t, db.Use(w.plugin))
				}
				err = db.Transaction(func(tx *gorm.DB) error {
					if install {
						require.Equal(t, test.where, whereIs(tx))
					}
					return tx.Create(&Account{ID: 1}).Error
				})
				require.Equal(t, test.begin, err)
				if install {
					require.Equal(t, test.flushes, w.recorder.count())
				}
				tx := db.Session(&gorm.Session{PrepareStmt: true}).Begin()
				require.Equal(t, test.prepared, tx.Error)
				if tx.Error == nil {
					require.NoError(t, tx.Rollback().Error)
				}
			}
		})
	}
}

func TestDBResolverRegisteredAfterUs(t *testing.T) {
	for _, database := range testdb.Databases(t) {
		nested := preparings
		if database.Dialect != "sqlite" {
			nested = preparings[3:] // four databases each are slow to create there
		}
		for _, p := range nested {
			t.Run(database.Name+"/"+p.name, func(t *testing.T) {
				w := newWorld(t, database, preparing{config: p.config}, txn.Options{})
				source, replica := database.Create(t), database.Create(t)
				resolver := dbresolver.Register(dbresolver.Config{
					Sources:  []gorm.Dialector{database.Dialector(source)},
					Replicas: []gorm.Dialector{database.Dialector(replica)},
				}, &Card{}).Register(dbresolver.Config{
					Replicas: []gorm.Dialector{database.Dialector(replica)},
				})
				require.NoError(t, w.db.Use(resolver))
				require.Greater(t, w.plugin.inits, 1, "the resolver opens its sources with our plugin")
				var wrapped int
				require.NoError(t, resolver.SetMaxOpenConns(7).SetMaxIdleConns(2).SetConnMaxLifetime(time.Hour).SetConnMaxIdleTime(time.Hour).Call(func(pool gorm.ConnPool) error {
					require.IsType(t, &txn.Pool{}, pool)
					require.Equal(t, 7, pool.(*txn.Pool).Stats().MaxOpenConnections)
					db, err := pool.(*txn.Pool).GetDBConn()
					require.NoError(t, err)
					t.Cleanup(func() { _ = db.Close() })
					wrapped++
					return nil
				}))
				require.Equal(t, 4, wrapped)

				for _, dsn := range []string{source, replica} {
					require.NoError(t, database.Connect(t, dsn, nil).AutoMigrate(&Account{}, &Card{}))
				}
				onSource := database.Connect(t, source, nil)
				db := w.db
				if p.session {
					db = db.Session(&gorm.Session{PrepareStmt: true})
				}
				var wheres []txn.Where
				w.plugin.where = func(where txn.Where, _ *txn.Tx, _ *gorm.DB) { wheres = append(wheres, where) }

				require.NoError(t, db.Create(&Account{ID: 1}).Error)
				require.EqualValues(t, 1, w.visible(t))
				require.Equal(t, 1, w.recorder.count())

				w.recorder.reset()
				require.NoError(t, db.Create(&Account{ID: 2}).Error)
				require.NoError(t, onSource.Create(&Account{ID: 1}).Error)
				require.NoError(t, db.Create(&Card{ID: 1, AccountID: 1}).Error, "on its own source")
				require.Equal(t, 2, w.recorder.count())
				var n int64
				require.NoError(t, onSource.Model(&Card{}).Count(&n).Error)
				require.EqualValues(t, 1, n)

				w.recorder.reset()
				require.NoError(t, db.Clauses(dbresolver.Use("cards"), dbresolver.Write).Transaction(func(tx *gorm.DB) error {
					require.Equal(t, txn.InTx, whereIs(tx))
					return tx.Create(&Card{ID: 2, AccountID: 1}).Error
				}))
				require.Equal(t, 1, w.recorder.count())
				require.NoError(t, onSource.Model(&Card{}).Count(&n).Error)
				require.EqualValues(t, 2, n)

				w.recorder.reset()
				require.NoError(t, db.Transaction(func(tx *gorm.DB) error { return tx.Create(&Account{ID: 3}).Error }))
				require.Equal(t, 1, w.recorder.count())

				require.NotEmpty(t, wheres)
				for _, where := range wheres {
					require.Equal(t, txn.InTx, where)
				}

				// A source registered later meets the resolver among the plugins.
				late := database.Create(t)
				require.NotPanics(t, func() {
					resolver.Register(dbresolver.Config{Sources: []gorm.Dialector{database.Dialector(late)}}, "late")
				})
				tx := db.Clauses(dbresolver.Use("late"), dbresolver.Write).Begin()
				require.NoError(t, tx.Error)
				require.Equal(t, txn.InTx, whereIs(tx))
				_, ours := txn.Of(tx.Statement.ConnPool)
				lateDB, err := ours.GetDBConn()
				require.NoError(t, err)
				t.Cleanup(func() { _ = lateDB.Close() })
				require.NoError(t, tx.Rollback().Error)
			})
		}
	}
}

func TestDBResolverRegisteredBeforeUsIsAnError(t *testing.T) {
	for _, prepare := range []bool{false, true} {
		dsn := filepath.Join(t.TempDir(), "first.db")
		db, err := gorm.Open(sqlite.Open(dsn), &gorm.Config{PrepareStmt: prepare, Logger: logger.Discard})
		require.NoError(t, err)
		pool, err := db.DB()
		require.NoError(t, err)
		t.Cleanup(func() { _ = pool.Close() })
		require.NoError(t, db.Use(dbresolver.Register(dbresolver.Config{})))
		before := db.ConnPool
		require.ErrorIs(t, db.Use(&plugin{recorder: &recorder{}}), txn.ErrResolverFirst)
		require.Same(t, before, db.ConnPool)
	}
}
