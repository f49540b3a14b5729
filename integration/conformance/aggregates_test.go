package conformance

import (
	"testing"

	"github.com/stretchr/testify/require"
	"gorm.io/gorm"

	"github.com/cacheplugin/cacheplugin/integration/internal/fixture"
	"github.com/cacheplugin/cacheplugin/internal/testmodel"
)

func TestConformanceAggregates(t *testing.T) {
	type post = testmodel.Post
	type review = testmodel.Review
	grouped := func(condition string, args ...any) query {
		return find[map[string]any](func(db *gorm.DB) *gorm.DB {
			return db.Model(&post{}).Select("posts.id, count(reviews.id) AS n").Joins("LEFT JOIN reviews ON reviews.about = posts.id").
				Where(condition, args...).Group("posts.id").Order("posts.id")
		})
	}
	stars := func(condition string, args ...any) query {
		return find[map[string]any](func(db *gorm.DB) *gorm.DB {
			return db.Model(&review{}).Select("count(*) AS n, sum(stars) AS total, max(stars) AS best").Where(condition, args...)
		})
	}
	conform(t, fixture.Options{}, func(t *testing.T, c *seeded) {
		c.hold(t, []narrowing{
			{
				name: "AGG-01 counts over a join", q: grouped("1 = 1"),
				drops: []change{add(review{PostID: 2}), remove[review]("about = ?", 2), add(post{CategoryID: 1}), set[review](1, "about", 5)},
			},
			{
				name: "AGG-02 sums", q: stars("about = ?", 1),
				leaves: []change{add(review{PostID: 4, Stars: 2})},
				drops:  []change{add(review{PostID: 1, Stars: 2}), set[review](2, "stars", 1), remove[review]("id = ?", 2)},
			},
			{
				name: "AGG-02 a HAVING", q: find[map[string]any](func(db *gorm.DB) *gorm.DB {
					return db.Model(&post{}).Select("category_id, count(*) AS n").Group("category_id").Having("count(*) > ?", 2).Order("category_id")
				}),
				drops: []change{add(post{CategoryID: 2}), set[post](1, "category_id", 2)},
			},
		})
		t.Run("AGG-03 an aggregate of one parent stays when another's child comes", func(t *testing.T) {
			type user = testmodel.User
			pets := func(id int) query {
				return find[map[string]any](func(db *gorm.DB) *gorm.DB {
					return db.Model(&user{}).Select("users.id, count(pets.id) AS n").Joins("JOIN pets ON pets.user_id = users.id").
						Where("users.id = ?", id).Group("users.id")
				})
			}
			c.fill(t, pets(1), pets(2))
			require.NoError(t, c.DB.Create(&testmodel.Pet{UserID: new(uint(2))}).Error)
			c.dropped(t, pets(2))
			c.kept(t, pets(1))
			require.NoError(t, c.DB.Model(&testmodel.Pet{ID: 1}).Update("user_id", 2).Error)
			c.dropped(t, pets(1), pets(2))
		})
		t.Run("AGG-04 aliases and filters are entries of their own", func(t *testing.T) {
			alias := func(name string) query {
				return find[map[string]any](func(db *gorm.DB) *gorm.DB { return db.Model(&review{}).Select("sum(stars) AS " + name) })
			}
			require.Equal(t, "miss", c.reads(t, alias("total")))
			require.Equal(t, "miss", c.reads(t, alias("altogether")))
			require.Equal(t, "miss", c.reads(t, stars("about = ? AND id > ?", 4, 0)))
			require.Equal(t, "miss", c.reads(t, stars("about = ? AND id > ?", 4, 1)))
			c.kept(t, alias("total"), alias("altogether"), stars("about = ? AND id > ?", 4, 1))
		})
	})
}
