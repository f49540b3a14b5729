package conformance

import (
	"context"
	"database/sql"
	"testing"

	"github.com/stretchr/testify/require"
	"gorm.io/gorm"

	"github.com/cacheplugin/cacheplugin"
	"github.com/cacheplugin/cacheplugin/cache"
	"github.com/cacheplugin/cacheplugin/integration/internal/fixture"
	"github.com/cacheplugin/cacheplugin/internal/testmodel"
)

func TestConformanceRawReads(t *testing.T) {
	conform(t, fixture.Options{}, func(t *testing.T, c *seeded) {
		const text = "SELECT title FROM posts WHERE category_id = ? ORDER BY id"
		scan := func(db *gorm.DB) (any, error) {
			var titles []string
			err := db.Raw(text, 2).Scan(&titles).Error
			return titles, err
		}
		row := func(db *gorm.DB) (any, error) {
			var title string
			err := db.Raw("SELECT title FROM posts WHERE id = ?", 4).Row().Scan(&title)
			return title, err
		}
		rows := func(db *gorm.DB) (value any, err error) {
			r, err := db.Raw(text, 2).Rows()
			if err != nil {
				return nil, err
			}
			var titles []string
			for r.Next() {
				var title string
				if err := r.Scan(&title); err != nil {
					return nil, err
				}
				titles = append(titles, title)
			}
			if err := r.Err(); err != nil {
				return nil, err
			}
			return titles, r.Close()
		}
		scanModel := func(db *gorm.DB) (any, error) {
			var posts []testmodel.Post
			err := db.Model(&testmodel.Post{}).Where("category_id = ?", 2).Order("id").Scan(&posts).Error
			return posts, err
		}
		for name, q := range map[string]query{"Scan": scan, "Scan of a model": scanModel} {
			t.Run("CM-03 "+name+" is cached by the profile", func(t *testing.T) {
				c.reads(t, q)
				c.kept(t, q)
				require.NoError(t, c.DB.Model(&testmodel.Post{ID: 4}).Update("title", "by the profile, "+name).Error)
				c.dropped(t, q)
				require.NoError(t, c.DB.Model(&testmodel.Post{ID: 1}).Update("title", "by the profile, "+name).Error)
				c.kept(t, q)
			})
		}
		for name, q := range map[string]query{"Row": row, "Rows": rows} {
			t.Run("CM-03 "+name+" is cached by hand only", func(t *testing.T) {
				const skip = "skip: Row and Rows are cached opt-in only, other than Scan"
				require.Equal(t, skip, c.reads(t, q))
				require.Equal(t, skip, c.reads(t, q))
				byHand := func(db *gorm.DB) (any, error) { return q(db.Scopes(cache.Cache())) }
				c.reads(t, byHand)
				c.kept(t, byHand)
				require.NoError(t, c.DB.Model(&testmodel.Post{ID: 4}).Update("title", "by "+name).Error)
				c.dropped(t, byHand)
				require.NoError(t, c.DB.Model(&testmodel.Post{ID: 1}).Update("title", "by "+name).Error)
				c.kept(t, byHand)
			})
		}
		t.Run("Raw and First", func(t *testing.T) {
			c.fill(t, func(db *gorm.DB) (any, error) {
				var p testmodel.Post
				err := db.Raw("SELECT * FROM posts WHERE id = ?", 5).First(&p).Error
				return p, err
			})
		})
		t.Run("no row", func(t *testing.T) {
			none := func(db *gorm.DB) error {
				var title string
				return db.Scopes(cache.Cache()).Raw("SELECT title FROM posts WHERE id = ?", -1).Row().Scan(&title)
			}
			require.Equal(t, "miss", c.Outcome(func() { require.ErrorIs(t, none(c.DB), sql.ErrNoRows) }))
			require.Equal(t, "hit", c.Outcome(func() { require.ErrorIs(t, none(c.DB), sql.ErrNoRows) }))
		})
		t.Run("errors are the database's", func(t *testing.T) {
			for _, bad := range []string{"SELECT nothing FROM posts", "SELECT * FROM nowhere", "SELEC 1"} {
				var got []map[string]any
				err := c.DB.Scopes(cache.Cache()).Raw(bad).Find(&got).Error
				wantErr := c.Plain.Raw(bad).Find(&got).Error
				require.Error(t, err)
				require.Equal(t, wantErr.Error(), err.Error())
			}
		})
		t.Run("rows that are closed early are not stored", func(t *testing.T) {
			read := func() {
				r, err := c.DB.Scopes(cache.Cache()).Raw("SELECT id FROM comments ORDER BY id").Rows()
				require.NoError(t, err)
				require.True(t, r.Next())
				require.NoError(t, r.Close())
			}
			require.Equal(t, "miss, skip: closed early", c.Outcome(read))
			require.Equal(t, "miss, skip: closed early", c.Outcome(read))
		})
	})
}

func TestConformanceRawWrites(t *testing.T) {
	type post = testmodel.Post
	conform(t, fixture.Options{}, func(t *testing.T, c *seeded) {
		in1, in2 := find[post](where("category_id = ?", 1)), find[post](where("category_id = ?", 2))
		category := byKey[testmodel.Category](2)
		c.fill(t, in1, in2, category)
		// In a transaction images can be taken: outside the table is dropped.
		inTx := func(do change) change {
			return func(db *gorm.DB) error { return db.Transaction(func(tx *gorm.DB) error { return do(tx) }) }
		}
		exec := func(text string, args ...any) change {
			return func(db *gorm.DB) error { return db.Exec(text, args...).Error }
		}
		writes := []struct {
			name    string
			do      change
			narrows bool
		}{
			{"insert", exec("INSERT INTO posts (category_id, title, visible, tag) VALUES (?, 'raw', ?, 1)", 2, true), false},
			{"update", inTx(exec("UPDATE posts SET title = 'raw' WHERE category_id = ?", 2)), true},
			{"a comment first", inTx(exec("/* hello */ update posts set title = 'raw2' where category_id = ?", 2)), true},
			{"a line comment", inTx(exec("-- SELECT\n UPDATE posts SET title = 'raw3' WHERE category_id = ?", 2)), true},
			{"odd case", inTx(exec("uPdAtE\n\tposts SeT tItLe = 'raw4' WHERE category_id = ?", 2)), true},
			{"autocommit", exec("UPDATE posts SET tag = tag + 1 WHERE category_id = ?", 2), false},
			{"delete", inTx(exec("DELETE FROM posts WHERE category_id = ? AND title = ?", 2, "raw4")), true},
			{"Raw and Scan", func(db *gorm.DB) error {
				var n []int
				return db.Raw("UPDATE posts SET title = 'x' WHERE id = ?", 1).Scan(&n).Error
			}, false},
		}
		if c.Env.Dialect != "mysql" {
			writes = append(writes, []struct {
				name    string
				do      change
				narrows bool
			}{
				{"RETURNING", inTx(func(db *gorm.DB) error {
					var ids []int
					return db.Raw("INSERT INTO posts (category_id, title, visible, tag) VALUES (2, 'ret', true, 1) RETURNING id").Scan(&ids).Error
				}), false},
				{"a CTE", func(db *gorm.DB) error {
					return db.Exec("WITH two AS (SELECT 2 AS id) UPDATE posts SET title = 'cte' WHERE category_id IN (SELECT id FROM two)").Error
				}, false},
			}...)
		}
		if c.Env.Dialect == "postgres" {
			writes = append(writes, struct {
				name    string
				do      change
				narrows bool
			}{"a CTE that writes", func(db *gorm.DB) error {
				var ids []int
				return db.Raw("WITH moved AS (UPDATE posts SET title = 'w' WHERE category_id = 2 RETURNING id) SELECT id FROM moved").Scan(&ids).Error
			}, false})
		}
		for _, w := range writes {
			t.Run("TX-09 "+w.name, func(t *testing.T) {
				c.fill(t, in1, in2, category)
				require.NoError(t, w.do(c.DB))
				if w.narrows {
					c.kept(t, in1)
					c.dropped(t, in2)
				}
				c.fill(t, in1, in2)
				c.kept(t, category)
			})
		}
	})
}

func TestConformanceRawInTransactions(t *testing.T) {
	type post = testmodel.Post
	conform(t, fixture.Options{}, func(t *testing.T, c *seeded) {
		if c.Env.Dialect == "sqlite" {
			return // reads nothing from the cache in transactions
		}
		list := find[post](where("category_id = ?", 1))
		call := "DO 1"
		if c.Env.Dialect == "postgres" {
			call = "DO $$ BEGIN PERFORM 1; END $$"
		}
		for name, text := range map[string]string{
			"plain":      "UPDATE posts SET tag = 1 WHERE id = 1",
			"lower case": "update posts set tag = 1 where id = 1",
			"comment":    "/* SELECT */ UPDATE posts SET tag = 1 WHERE id = 1",
			"blank":      "\n\t UPDATE posts SET tag = 1 WHERE id = 1",
			"call":       call,
		} {
			t.Run("TX-09 "+name+" makes the transaction dirty", func(t *testing.T) {
				c.fill(t, list)
				tx := c.begin(t)
				_, outcome := c.inTx(t, tx, list)
				require.Equal(t, "hit", outcome)
				require.NoError(t, tx.Exec(text).Error)
				_, outcome = c.inTx(t, tx, list)
				require.Equal(t, "skip: the transaction has written", outcome)
				require.NoError(t, tx.Rollback().Error)
				c.kept(t, list)
			})
		}
		t.Run("TX-09 a SELECT with the word in a string does not", func(t *testing.T) {
			c.fill(t, list)
			tx := c.begin(t)
			var n int
			require.NoError(t, tx.Raw("SELECT count(*) FROM posts WHERE title = 'please update posts set' OR title = 'delete from'").Scan(&n).Error)
			_, outcome := c.inTx(t, tx, list)
			require.Equal(t, "hit", outcome)
		})
	})
}

func TestConformanceGenerics(t *testing.T) {
	type post = testmodel.Post
	byHand := cacheplugin.Profiles{"*": {Timeout: testTimeout}, "comments": {Ops: cache.All, Timeout: testTimeout}}
	conform(t, fixture.Options{Config: cacheplugin.Config{Profiles: byHand}}, func(t *testing.T, c *seeded) {
		ctx := t.Context()
		posts := func(db *gorm.DB) (any, error) {
			return gorm.G[post](db, cache.With()).Where("category_id = ?", 1).Order("id").Find(ctx)
		}
		one := func(db *gorm.DB) (any, error) { return gorm.G[post](db, cache.With()).Where("id = ?", 1).First(ctx) }
		count := func(db *gorm.DB) (any, error) {
			return gorm.G[post](db, cache.With(cache.Ops(cache.Count))).Where("category_id = ?", 1).Count(ctx, "*")
		}
		c.fill(t, posts, one, count)
		require.Empty(t, c.reads(t, func(db *gorm.DB) (any, error) { return gorm.G[post](db).Find(ctx) }))
		require.Empty(t, c.reads(t, func(db *gorm.DB) (any, error) {
			return gorm.G[post](db, cache.With(cache.Ops(cache.Count))).Find(ctx)
		}))
		comments := func(db *gorm.DB) (any, error) { return gorm.G[testmodel.Comment](db).Order("id").Find(ctx) }
		c.fill(t, comments)
		require.Equal(t, "skip: NoCache", c.reads(t, func(db *gorm.DB) (any, error) {
			return gorm.G[testmodel.Comment](db, cache.Without()).Order("id").Find(ctx)
		}))
		_, err := gorm.G[post](c.DB).Where("id = ?", 1).Update(ctx, "title", "generic")
		require.NoError(t, err)
		c.dropped(t, posts, one)
		c.kept(t, count)
		require.NoError(t, gorm.G[post](c.DB).Create(ctx, &post{CategoryID: 2}))
		c.kept(t, posts, one, count)
		require.NoError(t, gorm.G[post](c.DB).Create(ctx, &post{CategoryID: 1}))
		c.dropped(t, posts, count)
		c.kept(t, one)
		_, err = gorm.G[post](c.DB).Where("category_id = ?", 1).Delete(ctx)
		require.NoError(t, err)
		c.dropped(t, posts, count)
	})
}

func TestConformanceFinders(t *testing.T) {
	type company = testmodel.Company
	conform(t, fixture.Options{}, func(t *testing.T, c *seeded) {
		t.Run("FirstOrInit", func(t *testing.T) {
			c.fill(t, func(db *gorm.DB) (any, error) {
				var got company
				err := db.Where(company{Name: "Unknown"}).Attrs(company{Country: "FR"}).FirstOrInit(&got).Error
				return got, err
			})
		})
		t.Run("FirstOrCreate", func(t *testing.T) {
			list := find[company](where("country = ?", "SE"))
			c.fill(t, list)
			var got company
			result := c.DB.Where(company{Name: "Volvo"}).Attrs(company{Country: "SE"}).FirstOrCreate(&got)
			require.NoError(t, result.Error)
			require.EqualValues(t, 1, result.RowsAffected)
			c.dropped(t, list)
			var again company
			require.NoError(t, c.DB.Where(company{Name: "Volvo"}).FirstOrCreate(&again).Error)
			require.Equal(t, got, again)
			var same company
			c.Hits(t, func() { require.NoError(t, c.DB.Where(company{Name: "Volvo"}).FirstOrCreate(&same).Error) })
			require.Equal(t, got, same)
			require.NoError(t, c.DB.Delete(&company{}, got.ID).Error)
			var anew company
			require.NoError(t, c.DB.Where(company{Name: "Volvo"}).FirstOrCreate(&anew).Error)
			require.NotEqual(t, got.ID, anew.ID, "a deleted row was found")
		})
		t.Run("FindInBatches", func(t *testing.T) {
			batches := func(db *gorm.DB) (any, error) {
				var all [][]testmodel.Post
				var batch []testmodel.Post
				result := db.Where("category_id > ?", 0).FindInBatches(&batch, 2, func(_ *gorm.DB, _ int) error {
					all = append(all, append([]testmodel.Post(nil), batch...))
					return nil
				})
				return []any{all, result.RowsAffected}, result.Error
			}
			require.Equal(t, "miss, miss, miss", c.reads(t, batches))
			require.Equal(t, "hit, hit, hit", c.reads(t, batches))
			require.NoError(t, c.DB.Create(&testmodel.Post{CategoryID: 1}).Error)
			require.Equal(t, "miss, miss, miss, miss", c.reads(t, batches))
		})
		t.Run("a cancelled context", func(t *testing.T) {
			q := byKey[testmodel.Category](1)
			c.fill(t, q)
			ctx, cancel := context.WithCancel(t.Context())
			cancel()
			_, err := q(c.DB.WithContext(ctx))
			require.ErrorIs(t, err, context.Canceled)
			c.kept(t, q)
		})
		t.Run("a dry run and a locking read", func(t *testing.T) {
			dry := c.DB.Session(&gorm.Session{DryRun: true})
			require.Empty(t, c.Outcome(func() { require.NoError(t, dry.Find(&[]company{}).Error) }))
			require.NoError(t, dry.Create(&company{Name: "dry"}).Error)
			if c.Env.Dialect == "sqlite" {
				return
			}
			require.Equal(t, "skip: locking read", c.Outcome(func() {
				require.NoError(t, c.DB.Raw("SELECT * FROM companies WHERE id = 1 FOR UPDATE").Find(&[]company{}).Error)
			}))
		})
	})
}
