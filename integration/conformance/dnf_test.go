package conformance

import (
	"testing"

	"github.com/stretchr/testify/require"
	"gorm.io/gorm"
	"gorm.io/gorm/clause"

	"github.com/cacheplugin/cacheplugin/integration/internal/fixture"
	"github.com/cacheplugin/cacheplugin/internal/testmodel"
)

// narrowing is a query, changes that must drop it, and changes that must not.
type narrowing struct {
	name   string
	q      query
	drops  []change
	leaves []change
}

// change is a write through the plugin.
type change func(db *gorm.DB) error

// set updates columns of the rows of T with a key.
func set[T any](id any, column string, value any) change {
	return func(db *gorm.DB) error {
		return db.Model(new(T)).Where("id = ?", id).Update(column, value).Error
	}
}

// add creates a row.
func add[T any](row T) change {
	return func(db *gorm.DB) error {
		copied := row
		return db.Create(&copied).Error
	}
}

// remove deletes the rows of T that a condition matches.
func remove[T any](condition string, args ...any) change {
	return func(db *gorm.DB) error { return db.Where(condition, args...).Delete(new(T)).Error }
}

// hold runs narrowings one after the other. The rows change with it: no change
// relies on the state before it.
func (c *seeded) hold(t *testing.T, all []narrowing) {
	t.Helper()
	for _, n := range all {
		t.Run(n.name, func(t *testing.T) {
			c.fill(t, n.q)
			for i, leave := range n.leaves {
				require.NoError(t, leave(c.DB), "leaving change %d", i)
				require.Equal(t, "hit", c.reads(t, n.q), "dropped by leaving change %d", i)
			}
			for i, drop := range n.drops {
				require.NoError(t, drop(c.DB), "dropping change %d", i)
				require.Equal(t, "miss", c.reads(t, n.q), "kept at dropping change %d", i)
				require.Equal(t, "hit", c.reads(t, n.q))
			}
		})
	}
}

func TestConformanceConjunctions(t *testing.T) {
	type post = testmodel.Post
	rows := func(condition string, args ...any) query {
		return find[post](func(db *gorm.DB) *gorm.DB { return db.Where(condition, args...).Order("posts.id") })
	}
	others := func(n int) []int {
		list := make([]int, n)
		for i := range list {
			list[i] = 1000 + i
		}
		return list
	}
	conform(t, fixture.Options{}, func(t *testing.T, c *seeded) {
		c.hold(t, []narrowing{
			{
				name: "DNF-01 equality", q: rows("tag = ?", 100),
				leaves: []change{add(post{CategoryID: 1, Tag: 101}), set[post](1, "tag", 102), set[post](1, "title", "x")},
				drops:  []change{add(post{CategoryID: 1, Tag: 100}), set[post](2, "tag", 100), set[post](2, "title", "y"), set[post](2, "tag", 103)},
			},
			{
				name: "DNF-01 IN", q: rows("tag IN ?", []int{110, 111}),
				leaves: []change{add(post{CategoryID: 1, Tag: 112}), set[post](1, "tag", 112)},
				drops:  []change{add(post{CategoryID: 1, Tag: 110}), add(post{CategoryID: 1, Tag: 111})},
			},
			{
				name: "DNF-01 IN of a hundred", q: rows("tag IN ?", append(others(99), 115)),
				leaves: []change{add(post{CategoryID: 1, Tag: 116})},
				drops:  []change{add(post{CategoryID: 1, Tag: 115}), add(post{CategoryID: 1, Tag: 1050})},
			},
			{
				name: "DNF-01 IS NULL", q: find[testmodel.Pet](where("user_id IS NULL")),
				leaves: []change{add(testmodel.Pet{UserID: new(uint(3))}), set[testmodel.Pet](1, "name", "rexx")},
				drops:  []change{add(testmodel.Pet{}), set[testmodel.Pet](2, "user_id", nil), set[testmodel.Pet](2, "user_id", 1)},
			},
			{
				name: "DNF-01 a boolean column", q: find[testmodel.User](func(db *gorm.DB) *gorm.DB { return db.Where("active").Order("id") }),
				drops: []change{set[testmodel.User](3, "active", true), set[testmodel.User](3, "active", false)},
			},
			{
				name: "DNF-01 a boolean column compared", q: find[testmodel.User](func(db *gorm.DB) *gorm.DB { return db.Where("active = ?", false).Order("id") }),
				leaves: []change{set[testmodel.User](1, "age", 21)},
				drops:  []change{set[testmodel.User](1, "active", false), set[testmodel.User](1, "active", true)},
			},
			{
				name: "DNF-02 AND is a product", q: rows("category_id = ? AND tag = ?", 1, 120),
				leaves: []change{add(post{CategoryID: 1, Tag: 121}), add(post{CategoryID: 2, Tag: 120}), set[post](4, "tag", 120)},
				drops:  []change{set[post](4, "category_id", 1), add(post{CategoryID: 1, Tag: 120})},
			},
			{
				name: "DNF-02 OR is a union", q: rows("tag = ? OR (category_id = ? AND tag IN ?)", 130, 2, []int{131, 132}),
				leaves: []change{add(post{CategoryID: 1, Tag: 131}), add(post{CategoryID: 2, Tag: 133})},
				drops:  []change{add(post{CategoryID: 1, Tag: 130}), add(post{CategoryID: 2, Tag: 132})},
			},
			{
				name: "DNF-02 nested brackets", q: rows("category_id = ? AND ((tag = ? OR tag = ?) AND (visible = ? OR tag = ?))", 1, 135, 136, true, 136),
				leaves: []change{add(post{CategoryID: 1, Tag: 137, Visible: true}), add(post{CategoryID: 2, Tag: 136})},
				drops:  []change{add(post{CategoryID: 1, Tag: 135, Visible: true}), add(post{CategoryID: 1, Tag: 136})},
			},
			{
				name: "DNF-03 a negation narrows nothing", q: rows("tag <> ?", 3),
				drops: []change{add(post{CategoryID: 1, Tag: 140}), set[post](1, "tag", 141)},
			},
			{
				name: "DNF-03 nor does a negated AND", q: rows("NOT (tag = ? AND category_id = ?)", 3, 1),
				drops: []change{add(post{CategoryID: 2, Tag: 142})},
			},
			{
				name: "DNF-04 an opaque term vanishes from its conjunction", q: rows("category_id = ? AND tag > ?", 1, 200),
				leaves: []change{add(post{CategoryID: 2, Tag: 300})},
				drops:  []change{add(post{CategoryID: 1, Tag: 301}), set[post](3, "tag", 302)},
			},
			{
				name: "DNF-04 an empty conjunction eats the rest", q: rows("category_id = ? OR tag > ?", 2, 400),
				drops: []change{add(post{CategoryID: 1, Tag: 401}), add(post{CategoryID: 2, Tag: 1})},
			},
			{
				name: "DNF-05 a contradiction disappears", q: rows("(tag = 150 AND tag = 151) OR tag = 152"),
				leaves: []change{add(post{CategoryID: 1, Tag: 150}), add(post{CategoryID: 1, Tag: 151})},
				drops:  []change{add(post{CategoryID: 1, Tag: 152})},
			},
			{
				name: "DNF-06 a long IN is opaque", q: rows("tag IN ?", append(others(200), 160)),
				drops: []change{add(post{CategoryID: 1, Tag: 160}), add(post{CategoryID: 1, Tag: 161})},
			},
			{
				name: "DNF-07 duplicates merge", q: rows("(tag = 170 OR tag = 170) AND tag IN (170, 170)"),
				leaves: []change{add(post{CategoryID: 1, Tag: 171})},
				drops:  []change{add(post{CategoryID: 1, Tag: 170})},
			},
			{
				name: "DNF-09 a self join", q: func(db *gorm.DB) (any, error) {
					var names []string
					err := db.Raw("SELECT u.name FROM users u JOIN users m ON u.manager_id = m.id WHERE m.id = ? ORDER BY u.name", 4).Find(&names).Error
					return names, err
				},
				leaves: []change{set[testmodel.User](1, "age", 22), set[testmodel.User](5, "name", "evi")},
				drops:  []change{set[testmodel.User](2, "manager_id", 4), set[testmodel.User](4, "name", "dana"), set[testmodel.User](2, "manager_id", 1)},
			},
			{
				name: "DNF-11 a subquery in the select list", q: find[map[string]any](func(db *gorm.DB) *gorm.DB {
					return db.Model(&post{}).Select("id, (SELECT count(*) FROM reviews WHERE reviews.about = posts.id) AS n").Where("id = ?", 1)
				}),
				drops: []change{add(testmodel.Review{PostID: 1})},
			},
			{
				name: "DNF-12 a condition that is never true", q: rows("1 = 0"),
				leaves: []change{add(post{CategoryID: 1, Tag: 1}), remove[testmodel.Review]("about = ?", 1)},
			},
			{
				name: "DNF-13 LIMIT, OFFSET and ORDER don't narrow", q: find[post](func(db *gorm.DB) *gorm.DB { return db.Where("category_id = ?", 2).Order("tag").Offset(1).Limit(1) }),
				leaves: []change{add(post{CategoryID: 1, Tag: -5})},
				drops:  []change{add(post{CategoryID: 2, Tag: -5}), add(post{CategoryID: 2, Tag: 9999})},
			},
			{
				name: "CB-06 a range falls back to the whole table", q: rows("tag BETWEEN ? AND ?", 500, 510),
				drops: []change{add(post{CategoryID: 1, Tag: 505}), add(post{CategoryID: 1, Tag: 499}), set[post](1, "tag", 506)},
			},
			{
				name: "CB-06 so does an exclusion", q: find[post](func(db *gorm.DB) *gorm.DB { return db.Not("category_id = ?", 1).Order("id") }),
				drops: []change{add(post{CategoryID: 2}), set[post](1, "category_id", 2)},
			},
			{
				name: "CM-01 a change of a row that the result has", q: rows("title LIKE ?", "draf%"),
				drops: []change{set[post](2, "title", "drafty"), set[post](2, "visible", true), remove[post]("id = ?", 2)},
			},
		})
	})
}

func TestConformanceTextsAndBlobs(t *testing.T) {
	type kinds = testmodel.Kinds
	touch := func(word string) change {
		return func(db *gorm.DB) error {
			return db.Model(&kinds{}).Where("id = ?", 3).Update("story", word).Error
		}
	}
	conform(t, fixture.Options{}, func(t *testing.T, c *seeded) {
		c.hold(t, []narrowing{
			{
				name: "DNF-08 long text", q: find[kinds](where("story = ?", "a story")),
				drops: []change{touch("a story"), touch("another")},
			},
			{
				name: "DNF-08 JSON", q: find[kinds](where("extra = ?", `{"a":1}`)),
				drops: []change{func(db *gorm.DB) error {
					return db.Model(&kinds{ID: 3}).Updates(&kinds{Extra: map[string]any{"a": 1}}).Error
				}},
			},
			{
				name: "DNF-08 blobs", q: find[kinds](where(clause.Eq{Column: "blob", Value: []byte("b")})),
				drops: []change{func(db *gorm.DB) error {
					return db.Model(&kinds{ID: 3}).Update("blob", []byte("b")).Error
				}},
			},
			{
				name: "short text narrows or is wide, but is right", q: find[testmodel.Company](where("name = ?", "Initech")),
				drops: []change{add(testmodel.Company{Name: "Initech"}), set[testmodel.Company](1, "name", "Initech"), set[testmodel.Company](1, "name", "Acme")},
			},
			{
				name: "a key of text narrows", q: find[testmodel.Language](where("code = ?", "de")),
				leaves: []change{
					func(db *gorm.DB) error {
						return db.Model(&testmodel.Language{Code: "en"}).Update("name", "english").Error
					},
					add(testmodel.Language{Code: "it", Name: "italiano"}),
				},
				drops: []change{func(db *gorm.DB) error {
					return db.Model(&testmodel.Language{Code: "de"}).Update("name", "deutsch").Error
				}},
			},
			{
				name: "text that the collation deems equal", q: find[testmodel.Company](where("name = ?", "HOOLI")),
				drops: []change{func(db *gorm.DB) error {
					// Only MariaDB's collation finds it; the others need not drop.
					name := "HOOLI"
					if c.Env.Dialect == "mysql" {
						name = "hooli "
					}
					return db.Create(&testmodel.Company{Name: name}).Error
				}},
			},
		})
	})
}
