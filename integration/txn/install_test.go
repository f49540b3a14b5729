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

// bottom returns the pool below GORM's prepared statements.
func bottom(db *gorm.DB) *sql.DB {
	pool, _ := txn.Bare(db.ConnPool).(*sql.DB)
	return pool
}

func TestInstallIsInnermostAndIdempotent(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		o := txn.Options{NewJournal: w.recorder.newJournal}
		want := bottom(w.db)
		require.NotNil(t, want)
		for range 2 {
			require.NoError(t, w.plugin.pools.Install(w.db, o))
			require.Same(t, want, bottom(w.db))
		}
		_, prepared := w.db.ConnPool.(*gorm.PreparedStmtDB)
		require.Equal(t, w.db.PrepareStmt, prepared, "what GORM and the migrators assert on")

		// Another *gorm.DB on the same pool.
		second, err := gorm.Open(onPool(w.database.Dialect, want), &gorm.Config{Logger: logger.Discard})
		require.NoError(t, err)
		require.NoError(t, w.plugin.pools.Install(second, o))
		require.Same(t, want, bottom(second))
		o.Owner = "someone else"
		require.ErrorIs(t, w.plugin.pools.Install(second, o), txn.ErrOwner)
		require.ErrorIs(t, new(txn.Pools).Install(second, o), txn.ErrOwner, "as another plugin")
		require.Same(t, want, bottom(second))

		require.Same(t, want, w.pool(t))
		require.NoError(t, want.Ping())
		require.NoError(t, w.db.Transaction(func(tx *gorm.DB) error {
			require.Same(t, want, w.of(tx).DB())
			return nil
		}))
	})
}

func TestInstallOnThePoolBelowFindsTheOneAbove(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		below := w.database.Reopen(t, w.db, nil)
		opened, err := below.DB()
		require.NoError(t, err)
		p := &plugin{recorder: w.recorder}
		require.NoError(t, below.Use(p))
		require.NotSame(t, opened, bottom(below))
		second, err := gorm.Open(onPool(w.database.Dialect, opened), &gorm.Config{Logger: logger.Discard})
		require.NoError(t, err)
		require.NoError(t, p.pools.Install(second, txn.Options{NewJournal: w.recorder.newJournal}))
		require.Same(t, bottom(below), bottom(second))
		third, err := gorm.Open(onPool(w.database.Dialect, opened), &gorm.Config{Logger: logger.Discard})
		require.NoError(t, err)
		require.ErrorIs(t, p.pools.Install(third, txn.Options{NewJournal: w.recorder.newJournal, Owner: "someone else"}), txn.ErrOwner)
		require.Same(t, opened, third.ConnPool)
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

func TestInstallRefusesOptionsWithoutJournal(t *testing.T) {
	require.ErrorIs(t, new(txn.Pools).Install(&gorm.DB{}, txn.Options{}), txn.ErrNoJournal)
}

func TestInstallLeavesADatabaseWithoutPoolAlone(t *testing.T) {
	db, err := gorm.Open(tests.DummyDialector{}, &gorm.Config{DryRun: true})
	require.NoError(t, err)
	require.NoError(t, new(txn.Pools).Install(db, txn.Options{NewJournal: (&recorder{}).newJournal}))
	require.Nil(t, db.ConnPool)
	require.NoError(t, db.Find(&[]Account{}).Error)
}

func TestInstallLeavesADatabaseInATransactionAlone(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		for _, watched := range []*gorm.DB{w.db, w.other} {
			pool, err := watched.DB()
			require.NoError(t, err)
			sqlTx, err := pool.Begin()
			require.NoError(t, err)
			db, err := gorm.Open(onPool(w.database.Dialect, sqlTx), &gorm.Config{Logger: logger.Discard})
			require.NoError(t, err)
			p := &plugin{recorder: w.recorder}
			require.NoError(t, db.Use(p))
			require.Same(t, sqlTx, db.ConnPool)
			where, _ := p.of(db)
			if watched == w.db {
				require.Equal(t, txn.InTx, where, "its connection is one that is watched")
			} else {
				require.Equal(t, txn.Foreign, where)
			}
			require.NoError(t, db.Transaction(func(tx *gorm.DB) error { return tx.Create(&Account{ID: 1}).Error }))
			require.NoError(t, sqlTx.Rollback())
			require.Zero(t, w.recorder.count())
			require.Zero(t, w.visible(t))
		}
	})
}

func TestDatabaseOnOneConnection(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		conn, err := w.pool(t).Conn(t.Context())
		require.NoError(t, err)
		defer conn.Close()
		db, err := gorm.Open(onPool(w.database.Dialect, conn), &gorm.Config{Logger: logger.Discard})
		require.NoError(t, err)
		_, bare := db.DB()
		require.NoError(t, db.Use(w.plugin))
		require.Same(t, conn, db.ConnPool)
		_, watched := db.DB()
		require.Equal(t, bare, watched)
		require.Equal(t, txn.Autocommit, w.where(db))
		require.NoError(t, db.Transaction(func(tx *gorm.DB) error {
			require.Equal(t, txn.InTx, w.where(tx))
			return tx.Create(&Account{ID: 1}).Error
		}))
		require.Equal(t, 1, w.recorder.count())

		// Its owner may have begun a transaction.
		sqlTx, err := conn.BeginTx(t.Context(), nil)
		require.NoError(t, err)
		require.Equal(t, txn.InTx, w.where(db))
		require.NoError(t, sqlTx.Rollback())
		require.Equal(t, txn.Autocommit, w.where(db))
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
		pool     func(t *testing.T, pool *sql.DB) gorm.ConnPool
		begin    error // of a transaction
		prepared error // of one with prepared statements
		flushes  int
	}{
		{"full transaction", func(_ *testing.T, pool *sql.DB) gorm.ConnPool {
			return &custom{pool, func() (gorm.ConnPool, error) { return pool.Begin() }}
		}, nil, nil, 1},
		{"transaction that cannot use statements", func(t *testing.T, pool *sql.DB) gorm.ConnPool {
			return &custom{pool, func() (gorm.ConnPool, error) {
				tx, err := pool.Begin()
				// GORM forgets the transaction where it refuses to prepare.
				t.Cleanup(func() { _ = tx.Rollback() })
				return &committable{tx}, err
			}}
		}, nil, gorm.ErrInvalidTransaction, 1},
		{"begin fails", func(_ *testing.T, pool *sql.DB) gorm.ConnPool {
			return &custom{pool, func() (gorm.ConnPool, error) { return nil, errBegin }}
		}, errBegin, errBegin, 0},
		{"no transactions", func(_ *testing.T, pool *sql.DB) gorm.ConnPool {
			return struct{ gorm.ConnPool }{pool}
		}, gorm.ErrInvalidTransaction, gorm.ErrInvalidTransaction, 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			for _, pool := range []string{"bare", "hidden", "over a Connector"} {
				w := newWorld(t, database, preparing{}, txn.Options{})
				below, err := w.other.DB()
				require.NoError(t, err)
				watched := pool == "over a Connector"
				if watched {
					below = w.pool(t)
				}
				db, err := gorm.Open(onPool(w.database.Dialect, test.pool(t, below)), &gorm.Config{Logger: logger.Discard})
				require.NoError(t, err)
				before := db.ConnPool
				switch pool {
				case "hidden":
					require.ErrorIs(t, db.Use(w.plugin), txn.ErrHidden)
				case "over a Connector":
					require.NoError(t, db.Use(w.plugin))
				}
				require.Equal(t, before, db.ConnPool)
				err = db.Transaction(func(tx *gorm.DB) error {
					where := txn.Foreign
					if watched {
						where = txn.InTx
					}
					if _, hides := tx.Statement.ConnPool.(*committable); hides {
						where = txn.Rewritten // until the statement comes to its connection
					}
					require.Equal(t, where, w.where(tx))
					return tx.Create(&Account{ID: 1}).Error
				})
				require.Equal(t, test.begin, err)
				if watched {
					require.Equal(t, test.flushes, w.recorder.count())
				} else {
					require.Zero(t, w.recorder.count())
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
					db, ok := txn.Bare(pool).(*sql.DB)
					require.True(t, ok, "%T", pool)
					require.Equal(t, 7, db.Stats().MaxOpenConnections)
					where, _ := w.plugin.pools.Of(db)
					require.Equal(t, txn.Autocommit, where)
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
					require.Equal(t, txn.InTx, w.where(tx))
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
				require.Equal(t, txn.InTx, w.where(tx))
				lateDB := w.of(tx).DB()
				require.NotNil(t, lateDB)
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
