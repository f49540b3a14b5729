package conformance

import (
	"testing"

	"github.com/stretchr/testify/require"
	"gorm.io/gorm"
	"gorm.io/gorm/clause"

	"github.com/cacheplugin/cacheplugin"
	"github.com/cacheplugin/cacheplugin/cache"
	"github.com/cacheplugin/cacheplugin/integration/internal/fixture"
	"github.com/cacheplugin/cacheplugin/internal/testmodel"
)

func TestConformanceInvalidation(t *testing.T) {
	type post = testmodel.Post
	in := func(category int) query {
		return find[post](func(db *gorm.DB) *gorm.DB { return db.Where("category_id = ?", category).Order("id") })
	}
	conform(t, fixture.Options{}, func(t *testing.T, c *seeded) {
		require.NoError(t, c.Plain.Create(&testmodel.Category{ID: 3, Title: "third"}).Error)
		c.hold(t, []narrowing{
			{
				name: "INV-01 by old and new values", q: in(2),
				leaves: []change{set[post](1, "title", "x")},
				drops:  []change{set[post](1, "category_id", 2), set[post](1, "category_id", 1)},
			},
			{
				name: "INV-02 a delete by old values", q: in(2),
				leaves: []change{remove[post]("id = ?", 3)},
				drops:  []change{remove[post]("id = ?", 5), remove[post]("category_id = ? AND tag = ?", 2, 4)},
			},
			{
				name: "INV-03 soft delete and restore", q: find[testmodel.User](where("company_id = ?", 2)),
				leaves: []change{remove[testmodel.User]("id = ?", 3)},
				drops: []change{
					remove[testmodel.User]("id = ?", 4),
					func(db *gorm.DB) error {
						return db.Unscoped().Model(&testmodel.User{}).Where("id = ?", 4).Update("deleted_at", nil).Error
					},
					func(db *gorm.DB) error { return db.Unscoped().Delete(&testmodel.User{}, 4).Error },
				},
			},
			{
				name: "INV-04 an unrelated column", q: in(1),
				drops: []change{set[post](1, "title", "changed"), set[post](1, "tag", 77)},
			},
		})
		t.Run("INV-05 a row that moves drops two lists and no third", func(t *testing.T) {
			require.NoError(t, c.DB.Create(&post{ID: 50, CategoryID: 1}).Error)
			c.fill(t, in(1), in(2), in(3))
			var row post
			require.NoError(t, c.DB.First(&row, 50).Error)
			row.CategoryID = 2
			require.NoError(t, c.DB.Save(&row).Error)
			c.dropped(t, in(1), in(2))
			c.kept(t, in(3))
		})
		t.Run("INV-09 a mass update by a condition", func(t *testing.T) {
			c.fill(t, in(1), in(2), in(3))
			require.NoError(t, c.DB.Model(&post{}).Where("category_id = ?", 1).Update("category_id", 3).Error)
			c.dropped(t, in(1), in(3))
			c.kept(t, in(2))
			require.NoError(t, c.DB.Model(&post{}).Where("category_id = ?", 3).UpdateColumns(map[string]any{"category_id": 1}).Error)
			c.dropped(t, in(1), in(3))
			c.kept(t, in(2))
		})
		t.Run("INV-14 rows that are loaded in part", func(t *testing.T) {
			require.NoError(t, c.Plain.Create(&[]post{{ID: 60, CategoryID: 2, Title: "part"}, {ID: 61, CategoryID: 2}}).Error)
			require.NoError(t, cacheplugin.InvalidateModel(c.DB, &post{}))
			c.fill(t, in(1), in(2))
			var part post
			require.NoError(t, c.DB.Select("id", "title").First(&part, 60).Error)
			part.Title = "whole"
			require.NoError(t, c.DB.Select("title").Updates(&part).Error)
			c.dropped(t, in(2))
			part.Title = "changed" // or MySQL counts no row, and GORM inserts
			require.NoError(t, c.DB.Omit("category_id").Save(&part).Error)
			c.dropped(t, in(2))
			require.NoError(t, c.DB.Delete(&part).Error)
			c.dropped(t, in(2))
			c.kept(t, in(1))
		})
		t.Run("an upsert", func(t *testing.T) {
			c.fill(t, in(2), byKey[post](61))
			row := post{ID: 61, CategoryID: 1, Title: "upsert"}
			require.NoError(t, c.DB.Clauses(clause.OnConflict{UpdateAll: true}).Create(&row).Error)
			c.dropped(t, in(2), byKey[post](61))
			row.Title = "nothing"
			require.NoError(t, c.DB.Clauses(clause.OnConflict{DoNothing: true}).Create(&row).Error)
			c.fresh(t, in(1), byKey[post](61))
		})
	})
}

func TestConformanceInvalidationByHand(t *testing.T) {
	type post = testmodel.Post
	conform(t, fixture.Options{}, func(t *testing.T, c *seeded) {
		in1, in2, get1 := find[post](where("category_id = ?", 1)), find[post](where("category_id = ?", 2)), byKey[post](1)
		category := byKey[testmodel.Category](1)
		fill := func(t *testing.T) { c.fill(t, in1, in2, get1, category) }
		row := post{ID: 1, CategoryID: 1, Title: "first", Visible: true, Tag: 1}
		t.Run("INV-06 an object drops what its save would", func(t *testing.T) {
			for _, obj := range []any{row, &row, []post{row}, &[]*post{&row}} {
				fill(t)
				require.NoError(t, cacheplugin.InvalidateObj(c.DB, obj))
				c.dropped(t, in1, get1)
				c.kept(t, in2, category)
			}
			require.Error(t, cacheplugin.InvalidateObj(c.DB, 5))
			require.Error(t, cacheplugin.InvalidateObj(c.DB, (*post)(nil)))
		})
		t.Run("INV-07 a model drops all on its table", func(t *testing.T) {
			for _, model := range []any{post{}, &post{}, "posts"} {
				fill(t)
				require.NoError(t, cacheplugin.InvalidateModel(c.DB, model))
				c.dropped(t, in1, in2, get1)
				c.kept(t, category)
			}
			require.ErrorIs(t, cacheplugin.InvalidateModel(c.DB, "nowhere"), cacheplugin.ErrUnknownTable)
		})
		t.Run("INV-08 all drops all of the namespace and nothing of others", func(t *testing.T) {
			ctx := t.Context()
			other := c.twin(t, c.o.Config.Prefix+"-other")
			foreign := c.o.Config.Prefix + ":foreign"
			require.NoError(t, c.redis.Set(ctx, foreign, "kept", testTimeout).Err())
			t.Cleanup(func() { c.redis.Del(soon(t), foreign) })
			fill(t)
			other.fill(t, in1)
			require.NoError(t, cacheplugin.InvalidateAll(c.DB))
			c.dropped(t, in1, in2, get1, category)
			other.kept(t, in1)
			require.Equal(t, "kept", c.redis.Get(ctx, foreign).Val())
		})
		t.Run("in a transaction by hand waits for the commit", func(t *testing.T) {
			fill(t)
			require.NoError(t, c.DB.Transaction(func(tx *gorm.DB) error {
				require.NoError(t, cacheplugin.InvalidateObj(tx, row))
				if c.Env.ReadsDuringWrite {
					c.kept(t, in1)
				}
				return nil
			}))
			c.dropped(t, in1, get1)
			c.kept(t, in2)
		})
		t.Run("by hand without the plugin", func(t *testing.T) {
			require.ErrorIs(t, cacheplugin.InvalidateObj(c.Plain, row), cacheplugin.ErrNotInstalled)
			require.ErrorIs(t, cacheplugin.InvalidateModel(c.Plain, row), cacheplugin.ErrNotInstalled)
			require.ErrorIs(t, cacheplugin.InvalidateAll(c.Plain), cacheplugin.ErrNotInstalled)
		})
	})
}

func TestConformanceWithoutInvalidation(t *testing.T) {
	type post = testmodel.Post
	conform(t, fixture.Options{}, func(t *testing.T, c *seeded) {
		get := func() string {
			return c.Outcome(func() { require.NoError(t, c.DB.First(&post{}, 1).Error) })
		}
		quiet := c.DB.WithContext(cache.WithoutInvalidation(cache.WithoutInvalidation(t.Context())))
		get()
		require.Equal(t, "hit", get())
		t.Run("INV-10 nests", func(t *testing.T) {
			require.NoError(t, quiet.Model(&post{ID: 1}).Update("tag", 70).Error)
			require.Equal(t, "hit", get())
			require.NoError(t, quiet.Create(&post{CategoryID: 1}).Error)
			require.NoError(t, quiet.Exec("UPDATE posts SET tag = tag + 1").Error)
			require.Equal(t, "hit", get())
		})
		t.Run("INV-10 in a transaction queues nothing", func(t *testing.T) {
			require.NoError(t, quiet.Transaction(func(tx *gorm.DB) error {
				return tx.Model(&post{ID: 1}).Update("tag", 71).Error
			}))
			require.Equal(t, "hit", get())
			require.NoError(t, c.DB.Transaction(func(tx *gorm.DB) error {
				return tx.WithContext(cache.WithoutInvalidation(t.Context())).Model(&post{ID: 1}).Update("tag", 72).Error
			}))
			require.Equal(t, "hit", get())
		})
		t.Run("INV-10 and combines with a call by hand", func(t *testing.T) {
			require.NoError(t, cacheplugin.InvalidateObj(c.DB, post{ID: 1, CategoryID: 1}))
			require.Equal(t, "miss", get())
			require.Equal(t, "hit", get())
			c.fill(t, byKey[post](1))
		})
		t.Run("INV-10 outside of it writes invalidate as ever", func(t *testing.T) {
			require.NoError(t, c.DB.Model(&post{ID: 1}).Update("tag", 73).Error)
			c.dropped(t, byKey[post](1))
		})
	})
}

func TestConformanceCascades(t *testing.T) {
	conform(t, fixture.Options{}, func(t *testing.T, c *seeded) {
		speakers := func(code string) query {
			return find[testmodel.User](func(db *gorm.DB) *gorm.DB {
				return db.Joins("JOIN user_languages ON user_languages.user_id = users.id").Where("user_languages.language_code = ?", code).Order("users.id")
			})
		}
		spoken := func(user int) query {
			return find[testmodel.Language](func(db *gorm.DB) *gorm.DB {
				return db.Joins("JOIN user_languages ON user_languages.language_code = languages.code").Where("user_languages.user_id = ?", user).Order("code")
			})
		}
		t.Run("INV-11 a row that the join table's rows refer to", func(t *testing.T) {
			c.fill(t, speakers("en"), speakers("de"), spoken(1), spoken(2))
			require.NoError(t, c.DB.Delete(&testmodel.Language{Code: "en"}).Error)
			c.dropped(t, speakers("en"), spoken(1), spoken(2))
			c.fresh(t, speakers("de"))
			require.NoError(t, c.DB.Unscoped().Delete(&testmodel.User{ID: 1}).Error)
			c.dropped(t, speakers("de"), spoken(1))
		})
		t.Run("INV-11 a cascade of the database's to children", func(t *testing.T) {
			in1 := counting[testmodel.Post](where("category_id = ?", 1))
			c.fill(t, in1)
			require.NoError(t, c.DB.Delete(&testmodel.Category{ID: 1}).Error)
			c.dropped(t, in1)
		})
		t.Run("INV-11 SET NULL", func(t *testing.T) {
			none, two := counting[testmodel.User](where("company_id IS NULL")), byKey[testmodel.User](4)
			c.fill(t, none, two)
			require.NoError(t, c.DB.Delete(&testmodel.Company{ID: 2}).Error)
			c.dropped(t, none, two)
		})
	})
}

func TestConformanceOuterJoins(t *testing.T) {
	conform(t, fixture.Options{}, func(t *testing.T, c *seeded) {
		t.Run("INV-12 without children", func(t *testing.T) {
			childless := func(db *gorm.DB) (any, error) {
				var n int64
				err := db.Model(&testmodel.User{}).Joins("LEFT JOIN pets ON pets.user_id = users.id").Where("pets.id IS NULL").Count(&n).Error
				return n, err
			}
			c.fill(t, childless)
			require.NoError(t, c.DB.Model(&testmodel.Pet{ID: 4}).Update("user_id", 5).Error)
			c.dropped(t, childless)
			require.NoError(t, c.DB.Model(&testmodel.Pet{ID: 4}).Update("user_id", nil).Error)
			c.dropped(t, childless)
			require.NoError(t, c.DB.Create(&testmodel.Pet{UserID: new(uint(4))}).Error)
			c.dropped(t, childless)
		})
		t.Run("INV-13 the middle of two joins", func(t *testing.T) {
			comments := func(category int) query {
				return find[testmodel.Comment](func(db *gorm.DB) *gorm.DB {
					return db.Joins("JOIN posts ON posts.id = comments.post_id").Joins("JOIN categories ON categories.id = posts.category_id").
						Where("categories.id = ?", category).Order("comments.id")
				})
			}
			c.fill(t, comments(1), comments(2))
			require.NoError(t, c.DB.Model(&testmodel.Post{ID: 4}).Update("category_id", 1).Error)
			c.dropped(t, comments(1), comments(2))
		})
	})
}
