package conformance

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"gorm.io/gorm"
	"gorm.io/gorm/clause"

	"github.com/cacheplugin/cacheplugin"
	"github.com/cacheplugin/cacheplugin/cache"
	"github.com/cacheplugin/cacheplugin/integration/internal/fixture"
	"github.com/cacheplugin/cacheplugin/internal/testmodel"
)

func TestConformanceReadingTwice(t *testing.T) {
	byHand := cacheplugin.Profiles{"*": {Timeout: testTimeout}}
	conform(t, fixture.Options{Config: cacheplugin.Config{Profiles: byHand}}, func(t *testing.T, c *seeded) {
		cached := func(q query) query {
			return func(db *gorm.DB) (any, error) { return q(db.Scopes(cache.Cache())) }
		}
		for name, q := range map[string]query{
			"rows":            find[testmodel.Post](where("category_id = ?", 1)),
			"no rows":         find[testmodel.Post](where("category_id = ?", 99)),
			"first":           first[testmodel.Post](where("title = ?", "match")),
			"first not found": first[testmodel.Post](where("title = ?", "none")),
			"count":           counting[testmodel.Post](where("visible = ?", true)),
		} {
			t.Run("BAS-01 "+name, func(t *testing.T) {
				require.Empty(t, c.reads(t, q), "nobody has asked for it to be cached")
				require.Equal(t, "miss", c.reads(t, cached(q)))
				require.Equal(t, "hit", c.reads(t, cached(q)))
				require.Empty(t, c.reads(t, q))
			})
		}
	})
}

func TestConformanceConditions(t *testing.T) {
	conform(t, fixture.Options{}, func(t *testing.T, c *seeded) {
		post := func(condition string, args ...any) query {
			return find[testmodel.Post](func(db *gorm.DB) *gorm.DB { return db.Where(condition, args...).Order("posts.id") })
		}
		many := make([]int, 100)
		for i := range many {
			many[i] = i
		}
		thirteen := strings.TrimSuffix(strings.Repeat("(title LIKE ? OR title LIKE ?) AND ", 13), " AND ")
		patterns := make([]any, 26)
		for i := range patterns {
			patterns[i] = fmt.Sprintf("%%%c%%", 'a'+i%3)
		}
		queries := map[string]query{
			"equality":            post("category_id = ?", 1),
			"IN":                  post("category_id IN ?", []int{1, 3}),
			"IN of a hundred":     post("category_id IN ?", many),
			"empty IN":            post("category_id IN ?", []int{}),
			"BAS-10 IN with NULL": post("category_id IN ? AND category_id = ?", []any{1, nil}, 1),
			"range":               post("tag > ? AND tag <= ?", 1, 4),
			"BETWEEN":             post("tag BETWEEN ? AND ?", 2, 3),
			"LIKE":                post("title LIKE ?", "%t%"),
			"negation":            post("NOT (category_id = ?)", 1),
			"inequality":          post("category_id <> ? AND visible = ?", 1, true),
			"between columns":     post("tag = category_id + 1"),
			"subquery":            post("category_id IN (SELECT id FROM categories WHERE title = ?)", "news"),
			"correlated subquery": post("EXISTS (SELECT 1 FROM reviews WHERE reviews.about = posts.id AND stars > ?)", 2),
			"raw fragment":        post("tag % 2 = 1 OR category_id = ?", 2),
			"BAS-10 non-ASCII":    post("title = ?", "größer ≥ 5 🙂"),
			"never true":          post("category_id = 1 AND category_id = 2"),
			"BAS-11 13 x 2 LIKEs": post(thirteen, patterns...),
			"IS NOT NULL":         post("title IS NOT NULL AND category_id = ?", 2),
			"GORM's clauses": find[testmodel.Post](func(db *gorm.DB) *gorm.DB {
				return db.Order("id").Where(clause.Or(clause.Eq{Column: "tag", Value: 3}, clause.Lt{Column: "tag", Value: 2}))
			}),
			"Not": find[testmodel.Post](func(db *gorm.DB) *gorm.DB { return db.Order("id").Not(map[string]any{"category_id": []int{2}}) }),
			"a map": find[testmodel.Post](func(db *gorm.DB) *gorm.DB {
				return db.Order("id").Where(map[string]any{"category_id": 2, "visible": true})
			}),
			"a struct":         find[testmodel.Post](func(db *gorm.DB) *gorm.DB { return db.Order("id").Where(&testmodel.Post{CategoryID: 2}) }),
			"LIMIT and OFFSET": find[testmodel.Post](func(db *gorm.DB) *gorm.DB { return db.Order("tag DESC").Limit(2).Offset(1) }),
			"GROUP BY and HAVING": find[map[string]any](func(db *gorm.DB) *gorm.DB {
				return db.Model(&testmodel.Post{}).Select("category_id, count(*) AS n").Group("category_id").Having("count(*) > ?", 1).Order("category_id")
			}),
			"DISTINCT": find[uint](func(db *gorm.DB) *gorm.DB {
				return db.Model(&testmodel.Post{}).Distinct("category_id").Order("category_id")
			}),
			"BAS-13 composite key":    find[testmodel.OrderLine](where("order_id = ? AND line = ?", 1, 2)),
			"BAS-13 a key's own name": find[testmodel.Stock](where("art_no = ?", "P-1")),
		}
		fill := func(t *testing.T) {
			for name, q := range queries {
				c.reads(t, q)
				require.Equal(t, "hit", c.reads(t, q), name)
			}
		}
		writes := []struct {
			name string
			do   func(db *gorm.DB) error
		}{
			{"create", func(db *gorm.DB) error {
				return db.Create(&testmodel.Post{CategoryID: 1, Title: "größer ≥ 5 🙂", Tag: 2, Visible: true}).Error
			}},
			{"update", func(db *gorm.DB) error {
				return db.Model(&testmodel.Post{}).Where("id = ?", 4).Updates(map[string]any{"category_id": 1, "tag": 2}).Error
			}},
			{"save", func(db *gorm.DB) error {
				return db.Save(&testmodel.Post{ID: 2, CategoryID: 2, Title: "moved", Tag: 4}).Error
			}},
			{"mass update", func(db *gorm.DB) error {
				return db.Model(&testmodel.Post{}).Where("tag > ?", 2).Update("tag", gorm.Expr("tag + 1")).Error
			}},
			{"another table of a subquery", func(db *gorm.DB) error {
				return db.Model(&testmodel.Category{}).Where("id = ?", 1).Update("title", "old news").Error
			}},
			{"reviews", func(db *gorm.DB) error { return db.Create(&testmodel.Review{PostID: 2, Stars: 5}).Error }},
			{"delete", func(db *gorm.DB) error { return db.Delete(&testmodel.Post{}, []int{1, 5}).Error }},
			{"composite key", func(db *gorm.DB) error {
				return db.Model(&testmodel.OrderLine{OrderID: 1, Line: 2}).Update("quantity", 44).Error
			}},
			{"own key", func(db *gorm.DB) error {
				return db.Save(&testmodel.Stock{Article: "P-1", Amount: 3, Place: "roof"}).Error
			}},
		}
		for _, w := range writes {
			t.Run("BAS-02 right after "+w.name, func(t *testing.T) {
				fill(t)
				require.NoError(t, w.do(c.DB))
				fill(t)
			})
		}
	})
}

func TestConformanceRows(t *testing.T) {
	conform(t, fixture.Options{}, func(t *testing.T, c *seeded) {
		t.Run("BAS-03 saving a row drops its get and leaves another's", func(t *testing.T) {
			c.fill(t, byKey[testmodel.Post](1), byKey[testmodel.Post](2))
			var post testmodel.Post
			require.NoError(t, c.DB.First(&post, 1).Error)
			post.Title = "saved"
			require.NoError(t, c.DB.Save(&post).Error)
			c.dropped(t, byKey[testmodel.Post](1))
			c.kept(t, byKey[testmodel.Post](2))
		})
		t.Run("BAS-04 creating a row drops the lists that it comes into", func(t *testing.T) {
			into := []query{
				find[testmodel.Post](where("category_id = ?", 1)),
				counting[testmodel.Post](where("category_id = ?", 1)),
				find[testmodel.Post](where("visible = ?", true)),
			}
			others := []query{
				find[testmodel.Post](where("category_id = ?", 2)),
				counting[testmodel.Post](where("category_id = ?", 2)),
				find[testmodel.Post](where("visible = ?", false)),
			}
			c.fill(t, append(into, others...)...)
			require.NoError(t, c.DB.Create(&testmodel.Post{CategoryID: 1, Visible: true}).Error)
			c.dropped(t, into...)
			c.kept(t, others...)
		})
		t.Run("BAS-04 a foreign key with a column name of its own", func(t *testing.T) {
			of1, of4 := find[testmodel.Review](where("about = ?", 1)), counting[testmodel.Review](where("about = ?", 4))
			c.fill(t, of1, of4)
			require.NoError(t, c.DB.Create(&testmodel.Review{PostID: 4}).Error)
			c.kept(t, of1)
			c.dropped(t, of4)
		})
		t.Run("BAS-04 a one-to-one key", func(t *testing.T) {
			of1, of3 := find[testmodel.Account](where("user_id = ?", 1)), find[testmodel.Account](where("user_id = ?", 3))
			c.fill(t, of1, of3)
			require.NoError(t, c.DB.Create(&testmodel.Account{UserID: 3, Number: "C-3"}).Error)
			c.kept(t, of1)
			c.dropped(t, of3)
		})
		t.Run("BAS-04 a boolean that turns false", func(t *testing.T) {
			visible := find[testmodel.Post](where("visible = ? AND category_id = ?", true, 2))
			c.fill(t, visible)
			require.NoError(t, c.DB.Model(&testmodel.Post{ID: 4}).Update("visible", false).Error)
			c.dropped(t, visible)
		})
		t.Run("BAS-05 a batch drops the counts that its rows come into", func(t *testing.T) {
			of7, of8, of2 := counting[testmodel.Post](where("category_id = ?", 7)), counting[testmodel.Post](where("category_id = ?", 8)), counting[testmodel.Post](where("category_id = ?", 2))
			c.fill(t, of2)
			require.NoError(t, c.DB.Create(&[]testmodel.Category{{ID: 7}, {ID: 8}}).Error)
			c.fill(t, of7, of8)
			require.NoError(t, c.DB.Create(&[]testmodel.Post{{CategoryID: 7}, {CategoryID: 7}, {CategoryID: 8}}).Error)
			c.dropped(t, of7, of8)
			c.kept(t, of2)
			require.NoError(t, c.DB.CreateInBatches(&[]testmodel.Post{{CategoryID: 8}, {CategoryID: 8}, {CategoryID: 8}}, 2).Error)
			c.kept(t, of7, of2)
			c.dropped(t, of8)
		})
		t.Run("BAS-06 First and Last are gets with entries of their own", func(t *testing.T) {
			oldest := first[testmodel.Comment](where("1 = 1"))
			newest := func(db *gorm.DB) (any, error) {
				var row testmodel.Comment
				err := db.Last(&row).Error
				return row.Text, err
			}
			c.fill(t, oldest, newest)
			keys := map[string]bool{}
			for _, q := range []query{oldest, newest} {
				c.Events.Take()
				_, err := q(c.DB)
				require.NoError(t, err)
				for _, e := range c.Events.Take() {
					require.Equal(t, cacheplugin.EventHit, e.Kind)
					require.Equal(t, cache.Get, e.Op)
					keys[e.Key] = true
				}
			}
			require.Len(t, keys, 2)
		})
		t.Run("BAS-07 the key varies by what is selected, not by the destination", func(t *testing.T) {
			titles := func(dest any) func() {
				return func() {
					require.NoError(t, c.DB.Model(&testmodel.Category{}).Select("title").Order("id").Find(dest).Error)
				}
			}
			var plain []string
			var structs []struct{ Title string }
			var maps []map[string]any
			c.Misses(t, titles(&plain))
			c.Hits(t, titles(&structs))
			c.Hits(t, titles(&maps))
			require.Equal(t, "sports", plain[1])
			require.Equal(t, "sports", structs[1].Title)
			require.Equal(t, "sports", maps[1]["title"])
			require.Equal(t, "miss", c.reads(t, find[testmodel.Category](func(db *gorm.DB) *gorm.DB { return db.Select("id").Order("id") })))
			pluck := func(db *gorm.DB) (any, error) {
				var ids []uint
				err := db.Model(&testmodel.Category{}).Order("id DESC").Pluck("id", &ids).Error
				return ids, err
			}
			c.fill(t, pluck)
		})
		t.Run("BAS-08 a union is dropped by a matching row of either side", func(t *testing.T) {
			union := func(db *gorm.DB) (any, error) {
				var names []string
				err := db.Raw("SELECT title FROM posts WHERE category_id = ? UNION SELECT text FROM comments WHERE post_id = ? ORDER BY 1", 2, 4).Find(&names).Error
				return names, err
			}
			c.fill(t, union)
			require.NoError(t, c.DB.Create(&testmodel.Post{CategoryID: 2, Title: "u1"}).Error)
			c.dropped(t, union)
			require.NoError(t, c.DB.Create(&testmodel.Comment{PostID: 4, Text: "u2"}).Error)
			c.dropped(t, union)
			require.NoError(t, c.DB.Create(&testmodel.Comment{PostID: 2, Text: "u3"}).Error)
			require.NoError(t, c.DB.Create(&testmodel.Post{CategoryID: 1, Title: "u4"}).Error)
			c.kept(t, union)
		})
		t.Run("BAS-09 an expression drops by the old and the new value", func(t *testing.T) {
			require.NoError(t, c.DB.Create(&testmodel.Post{ID: 900, CategoryID: 2, Tag: 30}).Error)
			old, next, other := find[testmodel.Post](where("tag = ?", 30)), find[testmodel.Post](where("tag = ?", 31)), find[testmodel.Post](where("tag = ?", 32))
			c.fill(t, old, next, other)
			require.NoError(t, c.DB.Model(&testmodel.Post{ID: 900}).Update("tag", gorm.Expr("tag + 1")).Error)
			c.dropped(t, old, next)
			c.kept(t, other)
		})
	})
}

func TestConformanceKinds(t *testing.T) {
	conform(t, fixture.Options{}, func(t *testing.T, c *seeded) {
		t.Run("BAS-12 values of every kind come from the cache as from the database", func(t *testing.T) {
			c.fill(t, find[testmodel.Kinds](func(db *gorm.DB) *gorm.DB { return db.Order("id") }),
				byKey[testmodel.Kinds](1), byKey[testmodel.Kinds](2), byKey[testmodel.Kinds](3))
		})
		t.Run("BAS-12 and are dropped by their change", func(t *testing.T) {
			var full testmodel.Kinds
			require.NoError(t, c.Plain.First(&full, 1).Error)
			by := map[string]query{
				"small":    find[testmodel.Kinds](where("small = ?", full.Small)),
				"big":      find[testmodel.Kinds](where("big = ?", full.Big)),
				"unsigned": find[testmodel.Kinds](where(clause.Eq{Column: "unsigned", Value: full.Unsigned})),
				"ratio":    find[testmodel.Kinds](where("ratio = ?", full.Ratio)),
				"price":    find[testmodel.Kinds](where("price = ?", full.Price)),
				"flag":     find[testmodel.Kinds](where("flag = ?", full.Flag)),
				"word":     find[testmodel.Kinds](where("word = ?", full.Word)),
				"letter":   find[testmodel.Kinds](where("letter = ?", full.Letter)),
				"story":    find[testmodel.Kinds](where("story = ?", full.Story)),
				"blob":     find[testmodel.Kinds](where(clause.Eq{Column: "blob", Value: full.Blob})),
				"at":       find[testmodel.Kinds](where("at = ?", full.At)),
				"day":      find[testmodel.Kinds](where("day = ?", full.Day)),
				"null_big": find[testmodel.Kinds](where("null_big = ?", full.NullBig)),
				"null_at":  find[testmodel.Kinds](where("null_at = ?", full.NullAt)),
				"pointer":  find[testmodel.Kinds](where("word_pointer = ?", full.WordPointer)),
				"tags":     find[testmodel.Kinds](where("tags = ?", `["a","b"]`)),
				"color":    find[testmodel.Kinds](where("color = ?", full.Color)),
				"uuid":     find[testmodel.Kinds](where("uuid = ?", full.UUID)),
			}
			for name, q := range by {
				got, err := q(c.Plain)
				require.NoError(t, err, name)
				if name != "ratio" { // MySQL's doubles and decimals need not meet
					require.NotEmpty(t, got.([]any)[0], name)
				}
				c.fill(t, q)
			}
			moved := full
			moved.Story = "another"
			moved.Color, moved.Blob, moved.Price = testmodel.RGB(1, 2, 3), []byte("x"), "1.5"
			moved.Big, moved.UUID = 7, "99999999-2222-4333-8444-555555555555"
			require.NoError(t, c.DB.Save(&moved).Error)
			for _, q := range by {
				c.fill(t, q)
			}
			require.NoError(t, c.DB.Save(&full).Error)
			for _, q := range by {
				c.fill(t, q)
			}
		})
		t.Run("BAS-12 a uuid asked in another form", func(t *testing.T) {
			const lower, other = "0a1b2c3d-0000-4000-8000-00000000000a", "0a1b2c3d-0000-4000-8000-00000000000b"
			form := lower
			if c.Env.Dialect == "postgres" {
				form = "{0A1B2C3D-0000-4000-8000-00000000000A}"
			}
			lamp, door := find[testmodel.Device](where("id = ?", form)), find[testmodel.Device](where("id = ?", other))
			c.fill(t, lamp, door)
			require.NoError(t, c.DB.Model(&testmodel.Device{ID: lower}).Update("state", "dim").Error)
			c.dropped(t, lamp)
			c.kept(t, door)
		})
	})
}

func TestConformanceKeysAndRelations(t *testing.T) {
	conform(t, fixture.Options{}, func(t *testing.T, c *seeded) {
		t.Run("BAS-13 a cached query in a loop over another", func(t *testing.T) {
			loop := func(db *gorm.DB) (any, error) {
				var categories []testmodel.Category
				if err := db.Order("id").Find(&categories).Error; err != nil {
					return nil, err
				}
				posts := make([][]testmodel.Post, len(categories))
				for i := range categories {
					if err := db.Where("category_id = ?", categories[i].ID).Order("id").Find(&posts[i]).Error; err != nil {
						return nil, err
					}
				}
				return posts, nil
			}
			require.Equal(t, "miss, miss, miss", c.reads(t, loop))
			require.Equal(t, "hit, hit, hit", c.reads(t, loop))
			require.NoError(t, c.DB.Create(&testmodel.Post{CategoryID: 2}).Error)
			require.Equal(t, "hit, hit, miss", c.reads(t, loop))
		})
		t.Run("BAS-13 a loop over open rows", func(t *testing.T) {
			if c.Env.Dialect == "sqlite" {
				// A second connection must not need what the first holds.
				c.fresh(t, find[testmodel.Category](where("1 = 1")))
			}
			var titles []string
			rows, err := c.DB.Scopes(cache.Cache()).Model(&testmodel.Category{}).Order("id").Rows()
			require.NoError(t, err)
			for rows.Next() {
				var category testmodel.Category
				require.NoError(t, c.DB.ScanRows(rows, &category))
				var post testmodel.Post
				require.NoError(t, c.DB.Where("category_id = ?", category.ID).Order("id").First(&post).Error)
				titles = append(titles, post.Title)
			}
			require.NoError(t, rows.Close())
			require.Equal(t, []string{"first", "match"}, titles)
		})
		t.Run("BAS-13 an association as a scope", func(t *testing.T) {
			pets := func(user uint, kind string) query {
				return func(db *gorm.DB) (any, error) {
					var found []testmodel.Pet
					err := db.Model(&testmodel.User{ID: user}).Where("kind = ?", kind).Association("Pets").Find(&found)
					return found, err
				}
			}
			c.fill(t, pets(1, "cat"), pets(2, "cat"))
			require.NoError(t, c.DB.Create(&testmodel.Pet{UserID: new(uint(1)), Kind: "cat"}).Error)
			c.dropped(t, pets(1, "cat"))
			c.kept(t, pets(2, "cat"))
		})
		t.Run("BAS-13 keys of their own", func(t *testing.T) {
			lines := func(order, line int) query {
				return find[testmodel.OrderLine](where("order_id = ? AND line = ?", order, line))
			}
			order1 := find[testmodel.OrderLine](func(db *gorm.DB) *gorm.DB { return db.Where("order_id = ?", 1).Order("line") })
			c.fill(t, lines(1, 1), lines(1, 2), lines(2, 1), order1)
			require.NoError(t, c.DB.Model(&testmodel.OrderLine{OrderID: 1, Line: 2}).Update("quantity", 9).Error)
			c.dropped(t, lines(1, 2), order1)
			c.kept(t, lines(1, 1), lines(2, 1))
			require.NoError(t, c.DB.Delete(&testmodel.OrderLine{OrderID: 2, Line: 1}).Error)
			c.dropped(t, lines(2, 1))
			c.kept(t, lines(1, 1), lines(1, 2), order1)

			stock := func(article string) query { return find[testmodel.Stock](where("art_no = ?", article)) }
			c.fill(t, stock("P-1"), stock("P-2"))
			require.NoError(t, c.DB.Model(&testmodel.Stock{Article: "P-2"}).Update("qty", gorm.Expr("qty + 1")).Error)
			c.dropped(t, stock("P-2"))
			c.kept(t, stock("P-1"))
		})
	})
}
