package conformance

import (
	"errors"
	"testing"

	"github.com/stretchr/testify/require"
	"gorm.io/gorm"

	"github.com/cacheplugin/cacheplugin"
	"github.com/cacheplugin/cacheplugin/integration/internal/fixture"
	"github.com/cacheplugin/cacheplugin/integration/testdb"
	"github.com/cacheplugin/cacheplugin/internal/testmodel"
)

var errRollback = errors.New("roll back")

// inTx reads within a transaction, without comparing: a transaction sees what
// others don't.
func (c *seeded) inTx(t *testing.T, tx *gorm.DB, q query) (value any, outcome string) {
	t.Helper()
	outcome = c.Outcome(func() {
		var err error
		value, err = q(tx)
		require.NoError(t, err)
	})
	return value, outcome
}

// outside reads next to an open transaction, where the database lets it.
func (c *seeded) outside(t *testing.T, q query) {
	t.Helper()
	if c.Env.ReadsDuringWrite {
		c.kept(t, q)
	}
}

func TestConformanceTransactions(t *testing.T) {
	type post = testmodel.Post
	title := func(db *gorm.DB) (any, error) {
		var titles []string
		err := db.Model(&post{}).Where("id = ?", 1).Pluck("title", &titles).Error
		return titles, err
	}
	other := byKey[testmodel.Category](1)
	rename := func(tx *gorm.DB, to string) error { return tx.Model(&post{ID: 1}).Update("title", to).Error }
	const dirty = "skip: the transaction has written"
	conform(t, fixture.Options{}, func(t *testing.T, c *seeded) {
		t.Run("TX-01 before its first write a transaction reads from the cache", func(t *testing.T) {
			c.fill(t, title)
			tx := c.begin(t)
			_, outcome := c.inTx(t, tx, title)
			if c.Env.Dialect == "sqlite" {
				require.Equal(t, "skip: the transaction's isolation is above READ COMMITTED", outcome)
			} else {
				require.Equal(t, "hit", outcome)
				_, outcome = c.inTx(t, tx, byKey[testmodel.Category](2))
				require.Equal(t, "miss", outcome)
				_, outcome = c.inTx(t, tx, byKey[testmodel.Category](2))
				require.Equal(t, "miss", outcome, "and stores nothing")
			}
			require.NoError(t, tx.Rollback().Error)
		})
		t.Run("TX-02 after a write it reads the database, and fills nobody's cache", func(t *testing.T) {
			c.fill(t, title, other)
			tx := c.begin(t)
			require.NoError(t, rename(tx, "mine"))
			for _, q := range []query{title, other} {
				_, outcome := c.inTx(t, tx, q)
				require.Equal(t, dirty, outcome)
			}
			got, _ := c.inTx(t, tx, title)
			require.Equal(t, []string{"mine"}, got)
			c.outside(t, title)
			require.NoError(t, tx.Commit().Error)
			c.dropped(t, title)
			c.kept(t, other)
		})
		t.Run("TX-03 a rollback drops nothing", func(t *testing.T) {
			c.fill(t, title)
			tx := c.begin(t)
			require.NoError(t, rename(tx, "never"))
			got, _ := c.inTx(t, tx, title)
			require.Equal(t, []string{"never"}, got)
			require.NoError(t, tx.Rollback().Error)
			c.kept(t, title)
			require.ErrorIs(t, c.DB.Transaction(func(tx *gorm.DB) error {
				require.NoError(t, rename(tx, "never"))
				return errRollback
			}), errRollback)
			c.kept(t, title)
		})
		t.Run("TX-04 nested transactions", func(t *testing.T) {
			for _, nested := range []error{nil, errRollback} {
				for _, outer := range []error{nil, errRollback} {
					c.fill(t, title)
					err := c.DB.Transaction(func(tx *gorm.DB) error {
						require.ErrorIs(t, tx.Transaction(func(tx *gorm.DB) error {
							require.NoError(t, rename(tx, "nested"))
							return nested
						}), nested)
						_, outcome := c.inTx(t, tx, title)
						require.Equal(t, dirty, outcome)
						return outer
					})
					require.ErrorIs(t, err, outer)
					switch {
					case outer != nil:
						c.kept(t, title)
					case nested == nil:
						c.dropped(t, title)
					default:
						c.fresh(t, title)
					}
				}
			}
		})
		t.Run("TX-05 a savepoint's rollback keeps the outer transaction right", func(t *testing.T) {
			c.fill(t, title)
			tx := c.begin(t)
			require.NoError(t, rename(tx, "kept"))
			require.NoError(t, tx.SavePoint("sp").Error)
			require.NoError(t, rename(tx, "lost"))
			require.NoError(t, tx.RollbackTo("sp").Error)
			got, outcome := c.inTx(t, tx, title)
			require.Equal(t, dirty, outcome)
			require.Equal(t, []string{"kept"}, got)
			require.NoError(t, tx.Commit().Error)
			c.dropped(t, title)
		})
		t.Run("TX-06 an integrity error inside leaves the cache in use", func(t *testing.T) {
			require.NoError(t, c.DB.Transaction(func(tx *gorm.DB) error {
				require.Error(t, tx.Transaction(func(tx *gorm.DB) error {
					return tx.Create(&testmodel.Account{ID: 1, UserID: 1}).Error
				}))
				return nil
			}))
			c.fill(t, title, other)
			require.Error(t, c.DB.Create(&testmodel.Account{ID: 1, UserID: 1}).Error)
			c.kept(t, title, other)
		})
		t.Run("TX-07 the invalidation is done when Transaction returns", func(t *testing.T) {
			c.fill(t, title)
			require.NoError(t, c.DB.Transaction(func(tx *gorm.DB) error { return rename(tx, "after") }))
			require.Equal(t, "miss", c.reads(t, title))
		})
		t.Run("TX-10 a panic rolls back and drops nothing", func(t *testing.T) {
			c.fill(t, title)
			require.Panics(t, func() {
				_ = c.DB.Transaction(func(tx *gorm.DB) error {
					require.NoError(t, rename(tx, "panic"))
					panic("on purpose")
				})
			})
			c.kept(t, title)
			require.NoError(t, c.DB.Transaction(func(tx *gorm.DB) error { return rename(tx, "on") }))
			c.dropped(t, title)
		})
		t.Run("a default transaction around each write", func(t *testing.T) {
			c.fill(t, title)
			require.NoError(t, rename(c.DB, "single"))
			c.dropped(t, title)
			single := c.DB.Session(&gorm.Session{SkipDefaultTransaction: true})
			require.NoError(t, rename(single, "without"))
			c.dropped(t, title)
		})
	})
}

func TestConformanceTwoDatabasesInterleaved(t *testing.T) {
	for _, env := range testdb.Databases(t) {
		t.Run(env.Name, func(t *testing.T) {
			t.Parallel()
			a := newSeeded(t, env, fixture.Options{})
			b := newSeeded(t, env, fixture.Options{Config: cacheplugin.Config{Prefix: a.o.Config.Prefix}})
			list := find[testmodel.Post](func(db *gorm.DB) *gorm.DB { return db.Where("category_id = ?", 1).Order("id") })
			t.Run("TX-08 transactions on two databases", func(t *testing.T) {
				a.fill(t, list)
				b.fill(t, list)
				txA, txB := a.begin(t), b.begin(t)
				require.NoError(t, txA.Create(&testmodel.Post{CategoryID: 1, Title: "a"}).Error)
				require.NoError(t, txB.Create(&testmodel.Post{CategoryID: 1, Title: "b"}).Error)
				a.outside(t, list)
				b.outside(t, list)
				require.NoError(t, txB.Rollback().Error)
				require.NoError(t, txA.Commit().Error)
				a.dropped(t, list)
				b.fresh(t, list)
			})
			t.Run("SHD-04 two databases never see each other's results", func(t *testing.T) {
				require.NoError(t, b.DB.Create(&testmodel.Post{ID: 77, CategoryID: 1, Title: "only b"}).Error)
				b.fill(t, byKey[testmodel.Post](77))
				require.Equal(t, "miss", a.reads(t, byKey[testmodel.Post](77)))
				a.kept(t, byKey[testmodel.Post](77))
				b.kept(t, byKey[testmodel.Post](77))
			})
		})
	}
}

func TestConformanceWithoutDefaultTransactions(t *testing.T) {
	type post = testmodel.Post
	conform(t, fixture.Options{Gorm: gorm.Config{SkipDefaultTransaction: true}}, func(t *testing.T, c *seeded) {
		in1, in2, get := find[post](where("category_id = ?", 1)), find[post](where("category_id = ?", 2)), byKey[post](1)
		c.fill(t, in1, in2, get)
		for name, do := range map[string]change{
			"create": add(post{CategoryID: 1}),
			"update": set[post](1, "title", "x"),
			"expression": func(db *gorm.DB) error {
				return db.Model(&post{}).Where("id = ?", 1).Update("tag", gorm.Expr("tag + 1")).Error
			},
			"save":   func(db *gorm.DB) error { return db.Save(&post{ID: 1, CategoryID: 1, Title: "y"}).Error },
			"delete": remove[post]("category_id = ? AND id <> ?", 1, 1),
			"exec":   func(db *gorm.DB) error { return db.Exec("UPDATE posts SET title = 'z' WHERE id = 1").Error },
			"transaction": func(db *gorm.DB) error {
				return db.Transaction(func(tx *gorm.DB) error { return set[post](1, "title", "t")(tx) })
			},
		} {
			require.NoError(t, do(c.DB), name)
			c.fill(t, in1, in2, get)
		}
		require.NoError(t, c.DB.Create(&post{CategoryID: 2}).Error)
		c.kept(t, in1, get)
		c.dropped(t, in2)
	})
}
