package conformance

import (
	"testing"

	"github.com/stretchr/testify/require"
	"gorm.io/gorm"
	"gorm.io/plugin/dbresolver"

	"github.com/cacheplugin/cacheplugin"
	"github.com/cacheplugin/cacheplugin/cache"
	"github.com/cacheplugin/cacheplugin/integration/internal/fixture"
	"github.com/cacheplugin/cacheplugin/internal/testenv"
	"github.com/cacheplugin/cacheplugin/internal/testmodel"
)

// titles reads the titles of the posts of a category.
func titles(category int) query {
	return func(db *gorm.DB) (any, error) {
		var all []string
		err := db.Model(&testmodel.Post{}).Where("category_id = ?", category).Order("id").Pluck("title", &all).Error
		return all, err
	}
}

func TestConformanceReplicas(t *testing.T) {
	conform(t, fixture.Options{}, func(t *testing.T, c *seeded) {
		// A replica that lags for ever: it has the tables and a past of its own.
		replica := c.Env.Open(t, nil)
		require.NoError(t, testmodel.AutoMigrate(replica))
		_, err := testmodel.Seed(replica)
		require.NoError(t, err)
		require.NoError(t, replica.Exec("UPDATE posts SET title = 'lagging'").Error)
		fixture.UseResolver(t, c.DB, dbresolver.Config{
			Replicas: []gorm.Dialector{c.Env.Dialector(c.Env.DSN(t, replica))},
		})

		t.Run("an uncached read goes to the replica", func(t *testing.T) {
			got, err := titles(2)(c.DB.Scopes(cache.NoCache()))
			require.NoError(t, err)
			require.Equal(t, []string{"lagging", "lagging"}, got)
			var scanned []string
			byScan := func(db *gorm.DB) []string {
				require.NoError(t, db.Raw("SELECT title FROM posts WHERE category_id = 2").Scan(&scanned).Error)
				return scanned
			}
			require.Equal(t, []string{"lagging", "lagging"}, byScan(c.DB.Scopes(cache.NoCache())))
			require.Equal(t, []string{"match", "table"}, byScan(c.DB), "by the profile it is cached, and read from the source")
		})
		t.Run("the cache is filled from the source", func(t *testing.T) {
			c.fill(t, titles(1), titles(2), byKey[testmodel.Post](1), counting[testmodel.Post](where("title <> ?", "lagging")))
		})
		t.Run("a write goes to the source and drops", func(t *testing.T) {
			require.NoError(t, c.DB.Model(&testmodel.Post{ID: 4}).Update("title", "written").Error)
			c.dropped(t, titles(2))
			c.kept(t, titles(1))
			require.NoError(t, c.DB.Create(&testmodel.Post{CategoryID: 2, Title: "created"}).Error)
			c.dropped(t, titles(2))
			require.NoError(t, c.DB.Exec("UPDATE posts SET title = 'by hand' WHERE id = 4").Error)
			c.dropped(t, titles(2))
			c.fill(t, titles(1))
			require.NoError(t, c.DB.Transaction(func(tx *gorm.DB) error {
				return tx.Model(&testmodel.Post{}).Where("category_id = ?", 2).Update("title", "in a transaction").Error
			}))
			c.dropped(t, titles(2))
			c.kept(t, titles(1))
		})
		t.Run("a read that asks for a side", func(t *testing.T) {
			for name, side := range map[string]dbresolver.Operation{"source": dbresolver.Write, "replica": dbresolver.Read} {
				outcome := c.Outcome(func() {
					got, err := titles(1)(c.DB.Clauses(side))
					require.NoError(t, err)
					require.NotContains(t, got, "lagging", name)
				})
				require.Equal(t, "hit", outcome, name)
			}
		})
		t.Run("preloads", func(t *testing.T) {
			var categories []testmodel.Category
			require.NoError(t, c.DB.Preload("Posts").Find(&categories).Error)
			for _, category := range categories {
				for _, post := range category.Posts {
					require.NotEqual(t, "lagging", post.Title)
				}
			}
		})
	})
}

func TestConformanceResolverFirst(t *testing.T) {
	env := testenv.NeedSQLite(t)
	resolved := func(t *testing.T) *gorm.DB {
		db := env.Open(t, nil)
		fixture.UseResolver(t, db, dbresolver.Config{
			Replicas: []gorm.Dialector{env.Dialector(env.DSN(t, env.Open(t, nil)))},
		})
		return db
	}
	t.Run("on its first handle", func(t *testing.T) {
		plugin := fixture.NewPlugin(t, nil)
		err := resolved(t).Use(plugin)
		require.ErrorIs(t, err, cacheplugin.ErrConfig)
		require.ErrorContains(t, err, "dbresolver")
		require.ErrorContains(t, err, "first")
	})
	t.Run("on another handle", func(t *testing.T) {
		plugin := fixture.NewPlugin(t, nil)
		require.NoError(t, env.Open(t, nil).Use(plugin))
		err := resolved(t).Use(plugin)
		require.ErrorIs(t, err, cacheplugin.ErrConfig)
		require.ErrorContains(t, err, "dbresolver")
	})
}

func TestConformanceConnections(t *testing.T) {
	type post = testmodel.Post
	conform(t, fixture.Options{}, func(t *testing.T, c *seeded) {
		in1 := titles(1)
		// What a connection sees of what is cached, and a transaction on it before its
		// first write. Values of another type may come from statements that are not
		// prepared.
		bare := "hit"
		if c.DB.PrepareStmt && c.Env.Dialect != "sqlite" {
			bare = "miss"
		}
		clean := bare
		if c.Env.Dialect == "sqlite" || c.Env.Dialect == "mysql" {
			clean = "skip: the transaction's isolation is above READ COMMITTED"
		}
		t.Run("db.Connection", func(t *testing.T) {
			c.fill(t, in1)
			require.NoError(t, c.DB.Connection(func(conn *gorm.DB) error {
				_, outcome := c.inTx(t, conn, in1)
				require.Equal(t, bare, outcome)
				return conn.Create(&post{CategoryID: 1, Title: "by connection"}).Error
			}))
			c.dropped(t, in1)
		})
		t.Run("a transaction within db.Connection", func(t *testing.T) {
			c.fill(t, in1)
			require.NoError(t, c.DB.Connection(func(conn *gorm.DB) error {
				return conn.Transaction(func(tx *gorm.DB) error {
					require.NoError(t, tx.Create(&post{CategoryID: 1, Title: "by connection and transaction"}).Error)
					c.outside(t, in1)
					return nil
				})
			}))
			c.dropped(t, in1)
		})
		t.Run("a user's own *sql.Tx", func(t *testing.T) {
			c.fill(t, in1)
			pool, err := c.DB.DB()
			require.NoError(t, err)
			sqlTx, err := pool.BeginTx(t.Context(), nil)
			require.NoError(t, err)
			t.Cleanup(func() { _ = sqlTx.Rollback() })
			tx := c.DB.Session(&gorm.Session{Context: t.Context(), SkipDefaultTransaction: true})
			tx.Statement.ConnPool = sqlTx
			_, outcome := c.inTx(t, tx, in1)
			require.Equal(t, clean, outcome)
			require.NoError(t, tx.Model(&post{}).Where("id = ?", 1).Update("title", "foreign").Error)
			_, outcome = c.inTx(t, tx, in1)
			require.Equal(t, "skip: the transaction has written", outcome)
			c.outside(t, in1)
			require.NoError(t, sqlTx.Commit())
			c.dropped(t, in1)
		})
	})
}
