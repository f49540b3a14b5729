package conformance

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"gorm.io/gorm"

	"github.com/cacheplugin/cacheplugin"
	"github.com/cacheplugin/cacheplugin/cache"
	"github.com/cacheplugin/cacheplugin/integration/internal/fixture"
	"github.com/cacheplugin/cacheplugin/integration/testdb"
	"github.com/cacheplugin/cacheplugin/internal/testenv"
	"github.com/cacheplugin/cacheplugin/internal/testmodel"
)

// operations is a query of each operation, in the spellings that GORM has.
func operations() map[string]struct {
	op cache.Op
	q  query
} {
	type entry = struct {
		op cache.Op
		q  query
	}
	into := func(build func(db *gorm.DB) *gorm.DB, dest func() any) query {
		return func(db *gorm.DB) (any, error) {
			d := dest()
			result := build(db).Find(d)
			return []any{d, result.RowsAffected}, result.Error
		}
	}
	posts := func(db *gorm.DB) *gorm.DB { return db.Model(&testmodel.Post{}) }
	return map[string]entry{
		"First": {cache.Get, byKey[testmodel.Post](1)},
		"Take": {cache.Get, func(db *gorm.DB) (any, error) {
			var p testmodel.Post
			err := db.Take(&p, 2).Error
			return p, err
		}},
		"Last into a map": {cache.Get, func(db *gorm.DB) (any, error) {
			row := map[string]any{}
			err := posts(db).Last(&row).Error
			return row, err
		}},
		"Find into a struct": {cache.Get, func(db *gorm.DB) (any, error) {
			var p testmodel.Post
			err := db.Where("id = ?", 3).Find(&p).Error
			return p, err
		}},
		"LIMIT 1":        {cache.Get, find[testmodel.Post](func(db *gorm.DB) *gorm.DB { return db.Order("id").Limit(1) })},
		"Find":           {cache.Fetch, find[testmodel.Post](func(db *gorm.DB) *gorm.DB { return db.Order("id") })},
		"Find into maps": {cache.Fetch, find[map[string]any](func(db *gorm.DB) *gorm.DB { return posts(db).Order("id") })},
		"LIMIT 2":        {cache.Fetch, find[testmodel.Post](func(db *gorm.DB) *gorm.DB { return db.Order("id").Limit(2) })},
		"Pluck": {cache.Fetch, func(db *gorm.DB) (any, error) {
			var v []string
			err := posts(db).Order("id").Pluck("title", &v).Error
			return v, err
		}},
		"Raw and Find":   {cache.Fetch, find[testmodel.Post](func(db *gorm.DB) *gorm.DB { return db.Raw("SELECT * FROM posts WHERE tag < ? ORDER BY id", 3) })},
		"Count":          {cache.Count, counting[testmodel.Post](where("visible = ?", true))},
		"Count distinct": {cache.Count, counting[testmodel.Post](func(db *gorm.DB) *gorm.DB { return db.Distinct("category_id") })},
		"Association.Count": {cache.Count, func(db *gorm.DB) (any, error) {
			return db.Model(&testmodel.User{ID: 1}).Association("Pets").Count(), nil
		}},
		"sum":         {cache.Aggregate, into(func(db *gorm.DB) *gorm.DB { return posts(db).Select("sum(tag)") }, func() any { return new(int64) })},
		"max and min": {cache.Aggregate, find[map[string]any](func(db *gorm.DB) *gorm.DB { return posts(db).Select("max(tag) AS most, min(tag) AS least") })},
		"GROUP BY": {cache.Aggregate, find[map[string]any](func(db *gorm.DB) *gorm.DB {
			return posts(db).Select("category_id, count(*) AS n").Group("category_id").Order("1")
		})},
		"count(*) > 0":        {cache.Exists, into(func(db *gorm.DB) *gorm.DB { return posts(db).Select("count(*) > 0") }, func() any { return new(bool) })},
		"SELECT 1 .. LIMIT 1": {cache.Exists, into(func(db *gorm.DB) *gorm.DB { return posts(db).Select("1").Limit(1) }, func() any { return new(int) })},
		"EXISTS":              {cache.Exists, into(func(db *gorm.DB) *gorm.DB { return db.Raw("SELECT EXISTS (SELECT 1 FROM posts WHERE tag = ?)", 3) }, func() any { return new(bool) })},
	}
}

func TestConformanceOperations(t *testing.T) {
	for _, env := range testdb.Databases(t) {
		for _, listed := range []cache.Op{cache.Get, cache.Fetch, cache.Count, cache.Aggregate, cache.Exists, cache.All, 0} {
			t.Run("OPS-01 "+env.Name+" "+listed.String(), func(t *testing.T) {
				t.Parallel()
				profiles := cacheplugin.Profiles{"*": {Ops: listed, Timeout: testTimeout}}
				c := newSeeded(t, env, fixture.Options{Config: cacheplugin.Config{Profiles: profiles}})
				for name, o := range operations() {
					t.Run(name, func(t *testing.T) {
						want := ""
						if listed.Has(o.op) {
							want = "hit"
						}
						c.reads(t, o.q)
						require.Equal(t, want, c.reads(t, o.q), "by profile")
						byHand := func(ops ...cache.Op) query {
							return func(db *gorm.DB) (any, error) { return o.q(db.Scopes(cache.Cache(cache.Ops(ops...)))) }
						}
						c.reads(t, byHand(o.op))
						require.Equal(t, "hit", c.reads(t, byHand(o.op)), "by hand")
						require.Empty(t, c.reads(t, byHand(cache.All&^o.op)), "by hand, other operations")
						require.Empty(t, c.reads(t, byHand()), "by hand, none")
					})
				}
			})
		}
	}
}

func TestConformanceQueryOptions(t *testing.T) {
	byHand := cacheplugin.Profiles{"*": {Timeout: testTimeout}}
	conform(t, fixture.Options{Config: cacheplugin.Config{Profiles: byHand}}, func(t *testing.T, f *seeded) {
		var page []testmodel.Stock
		var total int64
		t.Run("OPS-02 a paginator caches its count alone", func(t *testing.T) {
			paginate := func() {
				list := f.DB.Model(&testmodel.Stock{}).Scopes(cache.Cache(cache.Ops(cache.Count))).Session(&gorm.Session{})
				require.NoError(t, list.Count(&total).Error)
				require.NoError(t, list.Limit(1).Find(&page).Error)
			}
			require.Equal(t, "miss", f.Outcome(paginate))
			require.Equal(t, "hit", f.Outcome(paginate))
			require.EqualValues(t, 2, total)
		})
		t.Run("OPS-03 NoCache holds for all that is derived", func(t *testing.T) {
			base := f.DB.Scopes(cache.NoCache()).Session(&gorm.Session{})
			for range 2 {
				require.Equal(t, "skip: NoCache", f.Outcome(func() { require.NoError(t, base.Find(&page).Error) }))
				require.Equal(t, "skip: NoCache", f.Outcome(func() {
					require.NoError(t, base.Where("art_no = ?", "P-1").WithContext(context.Background()).Find(&page).Error)
				}))
			}
			f.Cached(t, func() { require.NoError(t, f.DB.Scopes(cache.Cache()).Find(&page).Error) })
		})
		t.Run("CM-07 WithoutCache holds for a context", func(t *testing.T) {
			f.Cached(t, func() { require.NoError(t, f.DB.Scopes(cache.Cache()).Where("qty = 1").Find(&page).Error) })
			off := f.DB.WithContext(cache.WithoutCache(t.Context()))
			require.Equal(t, "skip: WithoutCache", f.Outcome(func() { require.NoError(t, off.Scopes(cache.Cache()).Where("qty = 1").Find(&page).Error) }))
		})
		t.Run("OPS-04 a timeout of the query's own", func(t *testing.T) {
			for _, timeout := range []time.Duration{time.Minute, 30 * time.Hour} {
				f.hitsFor(t, timeout, func() {
					require.NoError(t, f.DB.Scopes(cache.Cache(cache.Timeout(timeout))).Where("qty = ?", int(timeout.Seconds())).Find(&page).Error)
				})
			}
		})
	})
}

// hitsFor requires that a read is stored for at most a timeout, and that what
// invalidates it is kept for longer (OPS-09).
func (c *seeded) hitsFor(t *testing.T, timeout time.Duration, read func()) {
	t.Helper()
	before := c.keys(t)
	c.Misses(t, read)
	var entries, meta int
	for key := range c.keys(t) {
		if before[key] {
			continue
		}
		ttl, err := c.redis.PTTL(t.Context(), key).Result()
		require.NoError(t, err)
		if strings.Contains(key, "}e:") {
			entries++
			require.Positive(t, ttl, key)
			require.LessOrEqual(t, ttl, timeout, key)
			require.Greater(t, ttl, timeout-time.Minute, key)
		} else if strings.Contains(key, "}c:") {
			meta++
			require.Greater(t, ttl, timeout, key)
		}
	}
	require.Equal(t, 1, entries)
	require.Equal(t, 1, meta)
	c.Hits(t, read)
}

func TestConformanceProfiles(t *testing.T) {
	env := testenv.NeedSQLite(t)
	c := newSeeded(t, env, fixture.Options{Config: cacheplugin.Config{
		Defaults: cacheplugin.Profile{Timeout: time.Minute},
		Profiles: cacheplugin.Profiles{
			"posts":      {Ops: cache.Fetch},
			"p*":         {Ops: cache.Count, Timeout: time.Hour},
			"pet*":       {Ops: cache.All},
			"accounts":   nil,
			"*":          {},
			"categories": {Ops: cache.All, Timeout: 2 * time.Minute},
		},
	}})
	all := func(db *gorm.DB) *gorm.DB { return db.Order("1") }
	t.Run("OPS-05 the exact name wins", func(t *testing.T) {
		c.fill(t, find[testmodel.Post](all))
		require.Empty(t, c.reads(t, counting[testmodel.Post](all)))
	})
	t.Run("OPS-05 then the longest glob", func(t *testing.T) {
		c.fill(t, find[testmodel.Pet](all), counting[testmodel.Pet](where("id > 0")))
	})
	t.Run("OPS-05 then everything else", func(t *testing.T) {
		require.Empty(t, c.reads(t, find[testmodel.Review](all)))
		c.fill(t, func(db *gorm.DB) (any, error) { return find[testmodel.Review](all)(db.Scopes(cache.Cache())) })
	})
	t.Run("OPS-05 nil forbids, by hand and from other tables", func(t *testing.T) {
		const why = "skip: forbidden: the profile of accounts is nil"
		byHand := func(db *gorm.DB) (any, error) { return find[testmodel.Account](all)(db.Scopes(cache.Cache())) }
		require.Equal(t, why, c.reads(t, byHand))
		require.Equal(t, why, c.reads(t, byHand))
		require.Equal(t, why, c.reads(t, find[testmodel.Post](where("id IN (SELECT user_id FROM accounts)"))))
		x, err := cacheplugin.Explain(c.DB.Scopes(cache.Cache()).Model(&testmodel.Account{}))
		require.NoError(t, err)
		require.False(t, x.Cached)
		require.Equal(t, "forbidden: the profile of accounts is nil", x.Reason)
	})
	t.Run("OPS-05 Defaults fill in the timeout", func(t *testing.T) {
		c.hitsFor(t, time.Minute, func() { require.NoError(t, c.DB.Where("id = ?", 3).Find(&[]testmodel.Post{}).Error) })
		c.hitsFor(t, 2*time.Minute, func() { require.NoError(t, c.DB.Where("id = ?", 1).Find(&[]testmodel.Category{}).Error) })
	})
}

// Country carries its own profile.
type Country struct {
	ID   uint
	Name string
}

// CacheProfile is found by the plugin.
func (Country) CacheProfile() cacheplugin.Profile {
	return cacheplugin.Profile{Ops: cache.All, Timeout: 24 * time.Hour}
}

// Planet carries a wrong one.
type Planet struct{ ID uint }

// CacheProfile has no timeout.
func (*Planet) CacheProfile() cacheplugin.Profile { return cacheplugin.Profile{Ops: cache.All} }

func TestConformanceProfilesOfModels(t *testing.T) {
	env := testenv.NeedSQLite(t)
	o := fixture.Options{Models: []any{&Country{}, &Planet{}}}
	o.Config.Profiles = cacheplugin.Profiles{"*": {Timeout: time.Minute}}
	t.Run("wins over everything else", func(t *testing.T) {
		f := fixture.New(t, env, o)
		f.Cached(t, func() { require.NoError(t, f.DB.Find(&[]Country{}).Error) })
	})
	t.Run("loses against its table's name", func(t *testing.T) {
		o := o
		o.Config.Profiles = cacheplugin.Profiles{"countries": {Ops: cache.Count, Timeout: time.Minute}}
		f := fixture.New(t, env, o)
		require.Empty(t, f.Outcome(func() { require.NoError(t, f.DB.Find(&[]Country{}).Error) }))
	})
	t.Run("a wrong one caches nothing and says so", func(t *testing.T) {
		f := fixture.New(t, env, o)
		got := f.Outcome(func() { require.NoError(t, f.DB.Find(&[]Planet{}).Error) })
		require.Contains(t, got, "CacheProfile().Timeout")
	})
}

func TestConformanceTypesOfOneTable(t *testing.T) {
	conform(t, fixture.Options{}, func(t *testing.T, c *seeded) {
		full, small := byKey[testmodel.User](2), byKey[testmodel.UserSummary](2)
		list := find[testmodel.UserSummary](where("age = ?", 31))
		c.fill(t, full, small, list)
		t.Run("OPS-06 a write through the smaller type drops reads through the other", func(t *testing.T) {
			require.NoError(t, c.DB.Save(&testmodel.UserSummary{ID: 2, Name: "bob", Age: 31}).Error)
			c.dropped(t, full, small, list)
		})
		t.Run("OPS-06 and the other way round", func(t *testing.T) {
			require.NoError(t, c.DB.Model(&testmodel.User{ID: 2}).Update("age", 32).Error)
			c.dropped(t, full, small, list)
		})
		t.Run("OPS-06 by the table's name and a map", func(t *testing.T) {
			require.NoError(t, c.DB.Table("users").Where("id = ?", 2).Updates(map[string]any{"age": 31}).Error)
			c.dropped(t, full, small, list)
		})
	})
}

func TestConformanceKeysAcrossProcesses(t *testing.T) {
	conform(t, fixture.Options{}, func(t *testing.T, c *seeded) {
		t.Run("OPS-08 the same query of another process has the same key", func(t *testing.T) {
			other := c.twin(t, "")
			for name, o := range operations() {
				c.fill(t, o.q)
				got := other.reads(t, o.q)
				if c.Env.Name != testenv.SQLite { // no other process has a database in memory
					require.Equal(t, "hit", got, name)
				}
			}
		})
	})
}
