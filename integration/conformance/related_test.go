package conformance

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"gorm.io/gorm"

	"github.com/cacheplugin/cacheplugin"
	"github.com/cacheplugin/cacheplugin/cache"
	"github.com/cacheplugin/cacheplugin/integration/internal/fixture"
	"github.com/cacheplugin/cacheplugin/internal/testmodel"
)

func TestConformanceRelated(t *testing.T) {
	type comment = testmodel.Comment
	joined := func(join, condition string, args ...any) query {
		return find[testmodel.Post](func(db *gorm.DB) *gorm.DB {
			return db.Joins(join).Where(condition, args...).Order("posts.id")
		})
	}
	conform(t, fixture.Options{}, func(t *testing.T, c *seeded) {
		c.hold(t, []narrowing{
			{
				name: "REL-01 a condition on a related table", q: joined("JOIN categories ON categories.id = posts.category_id", "categories.id = ? AND categories.title <> ?", 2, "x"),
				leaves: []change{set[testmodel.Category](1, "title", "old")},
				drops:  []change{set[testmodel.Category](2, "title", "x"), set[testmodel.Category](2, "title", "sport")},
			},
			{
				name: "REL-01 through a subquery", q: find[testmodel.Post](func(db *gorm.DB) *gorm.DB {
					return db.Where("category_id IN (?)", db.Session(&gorm.Session{NewDB: true}).Model(&testmodel.Category{}).Select("id").Where("id = ?", 2)).Order("id")
				}),
				leaves: []change{set[testmodel.Category](1, "title", "older"), set[testmodel.Category](2, "title", "y")},
				drops:  []change{add(testmodel.Post{CategoryID: 2})},
			},
			{
				name: "REL-02 a reverse condition", q: joined("JOIN comments ON comments.post_id = posts.id", "comments.user_id = ?", 1),
				leaves: []change{add(comment{PostID: 5, UserID: new(uint(3))})},
				drops:  []change{add(comment{PostID: 5, UserID: new(uint(1))}), remove[comment]("post_id = ? AND user_id = ?", 5, 1)},
			},
			{
				name: "REL-03 two conditions on one join narrow together", q: joined("JOIN comments ON comments.post_id = posts.id", "comments.user_id = ? AND comments.post_id = ?", 2, 2),
				leaves: []change{add(comment{PostID: 2, UserID: new(uint(4))}), add(comment{PostID: 3, UserID: new(uint(2))})},
				drops:  []change{add(comment{PostID: 2, UserID: new(uint(2))})},
			},
			{
				name: "REL-04 two joins of one table don't narrow together", q: joined("JOIN comments a ON a.post_id = posts.id JOIN comments b ON b.post_id = posts.id", "a.user_id = ? AND b.user_id = ?", 1, 4),
				leaves: []change{add(comment{PostID: 1, UserID: new(uint(3))})},
				drops:  []change{add(comment{PostID: 1, UserID: new(uint(4))}), add(comment{PostID: 3, UserID: new(uint(1))})},
			},
			{
				name: "a reviewed post, by a foreign key with its own column", q: joined("JOIN reviews ON reviews.about = posts.id", "reviews.about = ?", 4),
				leaves: []change{add(testmodel.Review{PostID: 1})},
				drops:  []change{add(testmodel.Review{PostID: 4}), remove[testmodel.Review]("about = ?", 4)},
			},
		})
	})
}

func TestConformancePreloads(t *testing.T) {
	conform(t, fixture.Options{Config: cacheplugin.Config{Profiles: cacheplugin.Profiles{
		"users": {Ops: cache.Fetch, Timeout: time.Hour},
		"pets":  {Ops: cache.Fetch, Timeout: time.Hour},
		"*":     {Timeout: time.Hour},
	}}}, func(t *testing.T, c *seeded) {
		people := func(preloads ...string) query {
			return find[testmodel.User](func(db *gorm.DB) *gorm.DB {
				for _, p := range preloads {
					db = db.Preload(p)
				}
				return db.Where("id IN ?", []int{1, 2}).Order("id")
			})
		}
		t.Run("REL-06 by the related model's profile", func(t *testing.T) {
			require.Equal(t, "miss, miss", c.reads(t, people("Pets", "Account")))
			require.Equal(t, "hit, hit", c.reads(t, people("Pets", "Account")), "accounts are not cached by profile")
			require.NoError(t, c.DB.Create(&testmodel.Pet{UserID: new(uint(2)), Name: "new"}).Error)
			require.Equal(t, "hit, miss", c.reads(t, people("Pets", "Account")))
			require.NoError(t, c.DB.Model(&testmodel.Account{ID: 1}).Update("number", "A-9").Error)
			require.Equal(t, "hit, hit", c.reads(t, people("Pets", "Account")))
			require.NoError(t, c.DB.Create(&testmodel.Pet{UserID: new(uint(4))}).Error)
			require.Equal(t, "hit, hit", c.reads(t, people("Pets", "Account")), "a pet of somebody else")
		})
		t.Run("REL-06 by hand for all of them", func(t *testing.T) {
			byHand := func(db *gorm.DB) (any, error) {
				return people("Company", "Manager", "Languages", "Groups", "Toys")(db.Scopes(cache.Cache()))
			}
			c.reads(t, byHand)
			require.Regexp(t, "^hit(, hit)+$", c.reads(t, byHand))
			for name, do := range map[string]change{
				"company": set[testmodel.Company](1, "name", "Acme & Co"),
				"language": func(db *gorm.DB) error {
					return db.Model(&testmodel.Language{Code: "de"}).Update("name", "deutsch").Error
				},
				"membership": func(db *gorm.DB) error { return db.Delete(&testmodel.Membership{GroupID: 1, UserID: 2}).Error },
				"toy":        add(testmodel.Toy{OwnerID: 2, OwnerType: "users"}),
				"manager":    set[testmodel.User](1, "name", "anna"),
			} {
				require.NoError(t, do(c.DB), name)
				require.Contains(t, c.reads(t, byHand), "miss", name)
				require.Regexp(t, "^hit(, hit)+$", c.reads(t, byHand))
			}
		})
		t.Run("a preload with conditions, and nested", func(t *testing.T) {
			cats := find[testmodel.User](func(db *gorm.DB) *gorm.DB {
				return db.Scopes(cache.Cache()).Preload("Pets", "kind = ?", "cat").Preload("Pets.Toys").Order("id")
			})
			c.reads(t, cats)
			require.Regexp(t, "^hit(, hit)+$", c.reads(t, cats))
			require.NoError(t, c.DB.Create(&testmodel.Toy{OwnerID: 2, OwnerType: "pets"}).Error)
			require.Contains(t, c.reads(t, cats), "miss")
		})
		t.Run("a relation loaded by Joins", func(t *testing.T) {
			employees := find[testmodel.User](func(db *gorm.DB) *gorm.DB { return db.Joins("Company").Order("users.id") })
			c.fill(t, employees)
			require.NoError(t, c.DB.Model(&testmodel.Company{ID: 1}).Update("name", "Ajax").Error)
			c.dropped(t, employees)
			require.NoError(t, c.DB.Model(&testmodel.User{ID: 5}).Update("company_id", 2).Error)
			c.dropped(t, employees)
		})
	})
}

func TestConformanceAssociations(t *testing.T) {
	conform(t, fixture.Options{}, func(t *testing.T, c *seeded) {
		pets := func(user uint) query {
			return func(db *gorm.DB) (any, error) {
				var found []testmodel.Pet
				err := db.Model(&testmodel.User{ID: user}).Order("id").Association("Pets").Find(&found)
				return found, err
			}
		}
		team := func(user uint) query {
			return func(db *gorm.DB) (any, error) {
				return db.Model(&testmodel.User{ID: user}).Association("Team").Count(), nil
			}
		}
		// GORM saves the targets of Append and Replace by an upsert, which drops
		// the whole table.
		ann := func() *testmodel.User { return &testmodel.User{ID: 1} }
		for _, s := range []struct {
			name string
			do   func() error
			drop []query
			keep []query
		}{
			{"append a child", func() error {
				return c.DB.Model(ann()).Association("Pets").Append(&testmodel.Pet{Name: "new"})
			}, []query{pets(1)}, nil},
			{"take another's child", func() error {
				return c.DB.Model(ann()).Association("Pets").Append(&testmodel.Pet{ID: 3, Name: "kit"})
			}, []query{pets(1), pets(2)}, nil},
			{"give one up", func() error { return c.DB.Model(ann()).Association("Pets").Delete(&testmodel.Pet{ID: 3}) }, []query{pets(1)}, []query{pets(2)}},
			{"replace", func() error {
				return c.DB.Model(&testmodel.User{ID: 2}).Association("Pets").Replace(&testmodel.Pet{ID: 4})
			}, []query{pets(2)}, nil},
			{"clear", func() error { return c.DB.Model(ann()).Association("Pets").Clear() }, []query{pets(1)}, []query{pets(2)}},
			{"clear a team", func() error { return c.DB.Model(ann()).Association("Team").Clear() }, []query{team(1)}, nil},
		} {
			t.Run(s.name, func(t *testing.T) {
				c.fill(t, pets(1), pets(2), team(1))
				require.NoError(t, s.do())
				c.dropped(t, s.drop...)
				c.kept(t, s.keep...)
			})
		}
		t.Run("a save of a whole graph", func(t *testing.T) {
			account := find[testmodel.Account](where("user_id = ?", 3))
			companies := counting[testmodel.Company](where("country = ?", "FR"))
			c.fill(t, pets(3), account, companies)
			var cid testmodel.User
			require.NoError(t, c.DB.First(&cid, 3).Error)
			cid.Company = &testmodel.Company{Name: "Neuf", Country: "FR"}
			cid.Account = &testmodel.Account{Number: "C-3"}
			cid.Pets = []testmodel.Pet{{Name: "gus"}}
			require.NoError(t, c.DB.Session(&gorm.Session{FullSaveAssociations: true}).Save(&cid).Error)
			c.dropped(t, pets(3), account, companies)
		})
	})
}
