package fidelity

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"gorm.io/gorm"

	"github.com/cacheplugin/cacheplugin"
	"github.com/cacheplugin/cacheplugin/cache"
	"github.com/cacheplugin/cacheplugin/integration/internal/fixture"
	"github.com/cacheplugin/cacheplugin/internal/testmodel"
)

var scopeModels = []any{&testmodel.Category{}, &testmodel.Post{}, &testmodel.Review{}, &testmodel.Comment{}}

// scoped is a database with two categories of two posts each.
func scoped(t *testing.T, f *fixture.Fixture) {
	t.Helper()
	for c := uint(1); c <= 2; c++ {
		require.NoError(t, f.Plain.Create(&testmodel.Category{ID: c, Title: "c"}).Error)
		for p := uint(0); p < 2; p++ {
			require.NoError(t, f.Plain.Create(&testmodel.Post{ID: 10*c + p, CategoryID: c, Title: "t", Tag: int(p)}).Error)
		}
	}
}

// found runs a query and returns the ids of the posts.
func found(t *testing.T, db *gorm.DB) func() []uint {
	return func() []uint {
		t.Helper()
		var ids []uint
		require.NoError(t, db.Session(&gorm.Session{}).Order("posts.id").Pluck("posts.id", &ids).Error)
		return ids
	}
}

func ran(t *testing.T, read func() []uint) func() { return func() { t.Helper(); read() } }

// CB-01.
func TestAQueryOnAColumnIsDroppedByItsValuesOnly(t *testing.T) {
	fixture.OnEveryDatabase(t, fixture.Options{Models: scopeModels}, func(t *testing.T, f *fixture.Fixture) {
		scoped(t, f)
		query := func(db *gorm.DB, scopes ...func(*gorm.DB) *gorm.DB) *gorm.DB {
			return db.Model(&testmodel.Post{}).Scopes(scopes...).
				Joins("JOIN comments ON comments.post_id = posts.id").
				Where("posts.category_id = ? AND posts.tag < ?", 1, 9)
		}
		require.NoError(t, f.Plain.Create(&testmodel.Comment{ID: 1, PostID: 10}).Error)
		wide, narrow := found(t, query(f.DB)), found(t, query(f.DB, cache.Cache(cache.On("posts.category_id"))))
		truth := found(t, query(f.Plain))
		f.Cached(t, ran(t, wide))
		f.Misses(t, ran(t, narrow), "the limited query has an entry of its own")
		f.Hits(t, ran(t, narrow))

		// What the option leaves out, is really left out: a new comment.
		require.NoError(t, f.DB.Create(&testmodel.Comment{ID: 2, PostID: 11}).Error)
		require.Equal(t, []uint{10, 11}, truth())
		require.Equal(t, "hit", f.Outcome(ran(t, narrow)))
		require.Equal(t, []uint{10}, narrow(), "as old as its timeout allows")
		require.Equal(t, truth(), wide())

		// The other category's posts don't drop it, this one's do: as they come ...
		require.NoError(t, f.DB.Model(&testmodel.Post{}).Where("id = ?", 20).Update("title", "x").Error)
		f.Hits(t, ran(t, narrow))
		require.NoError(t, f.DB.Model(&testmodel.Post{}).Where("id = ?", 20).Update("category_id", 1).Error)
		f.Misses(t, ran(t, narrow))
		require.Equal(t, truth(), narrow())
		// ... change in any column ...
		require.NoError(t, f.DB.Model(&testmodel.Post{}).Where("id = ?", 11).Update("tag", 10).Error)
		f.Misses(t, ran(t, narrow))
		require.Equal(t, truth(), narrow())
		// ... or go.
		require.NoError(t, f.DB.Model(&testmodel.Post{}).Where("id = ?", 10).Update("category_id", 2).Error)
		f.Misses(t, ran(t, narrow))
		require.Equal(t, truth(), narrow())
	})
}

func TestAQueryOnAColumnIgnoresOtherBranches(t *testing.T) {
	fixture.OnEveryDatabase(t, fixture.Options{Models: scopeModels}, func(t *testing.T, f *fixture.Fixture) {
		scoped(t, f)
		query := f.DB.Model(&testmodel.Post{}).Scopes(cache.Cache(cache.On("category_id"))).Where("category_id = ? OR tag > ?", 1, 5)
		ids := found(t, query)
		f.Cached(t, ran(t, ids))
		require.NoError(t, f.DB.Model(&testmodel.Post{}).Where("id = ?", 20).Update("tag", 6).Error)
		f.Hits(t, ran(t, ids), "by the other branch a row has come")
		require.NoError(t, f.DB.Model(&testmodel.Post{}).Where("id = ?", 11).Update("title", "y").Error)
		f.Hits(t, ran(t, ids), "the title doesn't matter")
		require.NoError(t, f.DB.Model(&testmodel.Post{}).Where("id = ?", 11).Update("tag", 4).Error)
		f.Misses(t, ran(t, ids))
		require.Equal(t, []uint{10, 11, 20}, ids())
	})
}

func TestOnIsAClauseToo(t *testing.T) {
	fixture.OnEveryDatabase(t, fixture.Options{Models: scopeModels}, func(t *testing.T, f *fixture.Fixture) {
		scoped(t, f)
		list := func() {
			_, err := gorm.G[testmodel.Post](f.DB, cache.With(cache.On("category_id"))).Where("category_id = ? AND tag > ?", 1, -1).Find(t.Context())
			require.NoError(t, err)
		}
		f.Cached(t, list)
		require.NoError(t, f.DB.Model(&testmodel.Post{}).Where("id = ?", 20).Update("title", "x").Error)
		f.Hits(t, list)
		require.NoError(t, f.DB.Model(&testmodel.Post{}).Where("id = ?", 10).Update("title", "x").Error)
		f.Misses(t, list)
		x, err := cacheplugin.Explain(f.DB.Model(&testmodel.Post{}).Clauses(cache.With(cache.On("posts.category_id"))).Where("category_id = ? AND tag = ?", 1, 2))
		require.NoError(t, err)
		require.Equal(t, []string{x.Dependencies[0].Table + ".category_id"}, x.On)
		require.Equal(t, []string{"category_id = 1"}, x.Dependencies[0].Conjunctions)
		require.Contains(t, x.String(), "dropped by changes on "+x.On[0]+" only")
	})
}

func TestPreloadsAreNotLimitedByOn(t *testing.T) {
	fixture.OnEveryDatabase(t, fixture.Options{Models: scopeModels}, func(t *testing.T, f *fixture.Fixture) {
		scoped(t, f)
		load := func() []testmodel.Category {
			var all []testmodel.Category
			require.NoError(t, f.DB.Scopes(cache.Cache(cache.On("id"))).Preload("Posts").Where("id = ?", 1).Find(&all).Error)
			return all
		}
		require.Equal(t, "miss, miss", f.Outcome(func() { load() }))
		require.Equal(t, "hit, hit", f.Outcome(func() { load() }))
		require.NoError(t, f.DB.Create(&testmodel.Post{ID: 12, CategoryID: 1, Title: "new"}).Error)
		require.Equal(t, "hit, miss", f.Outcome(func() { load() }))
		require.Len(t, load()[0].Posts, 3)
	})
}

func TestOnOfWhatDoesNotNarrowIsAnError(t *testing.T) {
	fixture.OnEveryDatabase(t, fixture.Options{Models: scopeModels}, func(t *testing.T, f *fixture.Fixture) {
		scoped(t, f)
		for on, message := range map[string]string{
			"tag":                 `cache.On is "tag": the query has no condition that narrows by the column: name a column that it asks a value of, as tag = ? and tag IN ? do`,
			"comments.post_id":    `cache.On is "comments.post_id": the query doesn't read the table comments: name one that it reads: posts`,
			"posts.nonsense":      `cache.On is "posts.nonsense": the table posts has no column nonsense: correct its name`,
			"posts.category_id.x": `the query doesn't read the table posts.category_id`,
		} {
			var posts []testmodel.Post
			query := f.DB.Scopes(cache.Cache(cache.On(on))).Where("category_id = ? AND tag > ?", 1, 0)
			err := query.Find(&posts).Error
			require.ErrorIs(t, err, cacheplugin.ErrConfig)
			require.ErrorContains(t, err, message)
			_, err = cacheplugin.Explain(f.DB.Model(&testmodel.Post{}).Scopes(cache.Cache(cache.On(on))).Where("category_id = ? AND tag > ?", 1, 0))
			require.ErrorContains(t, err, message)
			require.NoError(t, f.DB.WithContext(cache.WithoutCache(t.Context())).Scopes(cache.Cache(cache.On(on))).Find(&posts).Error,
				"where nothing is cached nothing is limited")
		}
		none := f.Outcome(func() {
			require.NoError(t, f.DB.Scopes(cache.Cache(cache.On("tag"))).Where("tag IN ?", []int{}).Find(&[]testmodel.Post{}).Error)
		})
		require.Equal(t, "miss", none, "an empty list asks for the column, too")
	})
}

func TestWhatIsDeclaredDropsAResult(t *testing.T) {
	fixture.OnEveryDatabase(t, fixture.Options{Models: scopeModels}, func(t *testing.T, f *fixture.Fixture) {
		scoped(t, f)
		for name, option := range map[string]cache.Option{
			"by name": cache.DependsOn("comments"), "by model": cache.DependsOn(&testmodel.Comment{}),
		} {
			ids := found(t, f.DB.Model(&testmodel.Post{}).Scopes(cache.Cache(option)).Where("category_id = ?", 1))
			f.Outcome(ran(t, ids))
			f.Hits(t, ran(t, ids), name)
			plain := found(t, f.DB.Model(&testmodel.Post{}).Where("category_id = ?", 1))
			f.Outcome(ran(t, plain))
			require.NoError(t, f.DB.Create(&testmodel.Comment{PostID: 99}).Error)
			f.Misses(t, ran(t, ids), name)
			f.Hits(t, ran(t, plain), "without the option the table means nothing")
			require.NoError(t, f.DB.Model(&testmodel.Post{}).Where("id = ?", 20).Update("title", "x").Error)
			f.Hits(t, ran(t, ids), "what the query narrows by, it still does")
			x, err := cacheplugin.Explain(f.DB.Model(&testmodel.Post{}).Scopes(cache.Cache(option)).Where("category_id = ?", 1))
			require.NoError(t, err)
			require.Len(t, x.DependsOn, 1)
			require.Contains(t, x.String(), "said to depend on "+x.DependsOn[0])
			require.Contains(t, x.String(), "dropped by rows of "+x.DependsOn[0]+" with any value")
		}
		self := found(t, f.DB.Model(&testmodel.Post{}).Scopes(cache.Cache(cache.DependsOn("posts"))).Where("category_id = ?", 1))
		f.Cached(t, ran(t, self))
		require.NoError(t, f.DB.Model(&testmodel.Post{}).Where("id = ?", 20).Update("title", "z").Error)
		f.Misses(t, ran(t, self), "all rows of a table that is read by value")
	})
}

func TestADeclaredTableThatIsWrongIsAnError(t *testing.T) {
	o := fixture.Options{Models: scopeModels}
	o.Config.Profiles = cacheplugin.Profiles{"*": {Ops: cache.All, Timeout: time.Hour}, "reviews": nil}
	fixture.OnEveryDatabase(t, o, func(t *testing.T, f *fixture.Fixture) {
		for table, message := range map[any]string{
			"nowhere": `cache.DependsOn is "nowhere": the database has no such table`,
			"reviews": `cache.DependsOn is "reviews": its profile is nil`,
			7:         `cache.DependsOn is "int": pass a table's name or a model`,
		} {
			err := f.DB.Scopes(cache.Cache(cache.DependsOn(table))).Find(&[]testmodel.Post{}).Error
			require.ErrorIs(t, err, cacheplugin.ErrConfig)
			require.ErrorContains(t, err, message)
		}
	})
}

func TestAHiddenTableIsCachedWhereItsTablesAreDeclared(t *testing.T) {
	o := fixture.Options{Models: scopeModels}
	o.Config.Profiles = cacheplugin.Profiles{
		"*": {Ops: cache.All, Timeout: time.Hour}, "busy": {Ops: cache.All, Timeout: time.Hour, DependsOn: []string{"posts"}},
	}
	fixture.OnEveryDatabase(t, o, func(t *testing.T, f *fixture.Fixture) {
		scoped(t, f)
		require.NoError(t, f.Plain.Exec("CREATE VIEW busy AS SELECT category_id, COUNT(*) AS n FROM posts GROUP BY category_id").Error)
		require.NoError(t, f.Plain.Exec("CREATE VIEW lively AS SELECT category_id, COUNT(*) AS n FROM posts GROUP BY category_id").Error)
		count := func(view string, scopes ...func(*gorm.DB) *gorm.DB) func() {
			return func() {
				t.Helper()
				var got, want int
				require.NoError(t, f.DB.Table(view).Scopes(scopes...).Where("category_id = ?", 1).Select("n").Find(&got).Error)
				require.NoError(t, f.Plain.Raw("SELECT COUNT(*) FROM posts WHERE category_id = 1").Scan(&want).Error)
				require.Equal(t, want, got)
			}
		}
		byProfile, byHand := count("busy"), count("lively", cache.Cache(cache.DependsOn(&testmodel.Post{})))
		f.Cached(t, byProfile)
		f.Cached(t, byHand)
		require.NoError(t, f.DB.Create(&testmodel.Post{CategoryID: 1, Title: "new"}).Error)
		f.Misses(t, byProfile)
		f.Misses(t, byHand)
		f.Hits(t, byProfile)
		require.NoError(t, f.DB.Create(&testmodel.Comment{PostID: 10}).Error)
		f.Hits(t, byHand)
	})
}

func TestAFunctionIsCachedWhereItsTablesAreDeclared(t *testing.T) {
	profile := func(tables ...string) *cacheplugin.Profile {
		return &cacheplugin.Profile{Ops: cache.All, Timeout: time.Hour, DependsOn: tables}
	}
	for name, c := range map[string]struct {
		profiles cacheplugin.Profiles
		options  []cache.Option
	}{
		"by the option":              {options: []cache.Option{cache.DependsOn("posts")}},
		"by the function's profile":  {profiles: cacheplugin.Profiles{"post_count": profile("posts")}},
		"by the profile of a table":  {profiles: cacheplugin.Profiles{"categories": profile("posts")}},
		"by a function of no tables": {profiles: cacheplugin.Profiles{"categories": profile("posts"), "post_count": profile()}},
	} {
		t.Run(name, func(t *testing.T) {
			o := fixture.Options{Models: scopeModels}
			o.Config.Profiles = cacheplugin.Profiles{"*": {Ops: cache.All, Timeout: time.Hour}}
			for pattern, p := range c.profiles {
				o.Config.Profiles[pattern] = p
			}
			fixture.OnEveryDatabase(t, o, func(t *testing.T, f *fixture.Fixture) {
				create := map[string]string{
					"postgres": "CREATE FUNCTION post_count(c bigint) RETURNS bigint LANGUAGE sql STABLE AS 'SELECT count(*) FROM posts WHERE category_id = c'",
					"mysql":    "CREATE FUNCTION post_count(c BIGINT) RETURNS BIGINT READS SQL DATA RETURN (SELECT count(*) FROM posts WHERE category_id = c)",
				}[f.Env.Dialect]
				if create == "" {
					return // SQLite's functions are the program's
				}
				scoped(t, f)
				require.NoError(t, f.Plain.Exec(create).Error)
				full := func(db *gorm.DB, want int) func() {
					return func() {
						t.Helper()
						var all []testmodel.Category
						require.NoError(t, db.Session(&gorm.Session{}).Where("post_count(id) > ?", 2).Find(&all).Error)
						require.Len(t, all, want)
					}
				}
				if c.profiles == nil {
					require.Contains(t, f.Outcome(full(f.DB, 0)), "skip: function post_count() is not known to be stable; list the tables that it reads in DependsOn")
				}
				db := f.DB
				if c.options != nil {
					db = f.DB.Scopes(cache.Cache(c.options...))
				}
				f.Cached(t, full(db, 0))
				require.NoError(t, f.DB.Create(&testmodel.Post{CategoryID: 1, Title: "new"}).Error)
				f.Cached(t, full(db, 1))
			})
		})
	}
}

func TestATableFunctionIsCachedWhereItsTablesAreDeclared(t *testing.T) {
	o := fixture.Options{Models: scopeModels}
	o.Config.Profiles = cacheplugin.Profiles{
		"*": {Ops: cache.All, Timeout: time.Hour}, "posts_of": {Ops: cache.All, Timeout: time.Hour, DependsOn: []string{"posts"}},
	}
	fixture.OnEveryDatabase(t, o, func(t *testing.T, f *fixture.Fixture) {
		if f.Env.Dialect != "postgres" {
			t.Skip("the others have no such functions")
		}
		scoped(t, f)
		for _, name := range []string{"posts_of", "some_posts"} {
			require.NoError(t, f.Plain.Exec("CREATE FUNCTION "+name+"(c bigint) RETURNS SETOF posts LANGUAGE sql STABLE AS 'SELECT * FROM posts WHERE category_id = c'").Error)
		}
		list := func(function string, want int, scopes ...func(*gorm.DB) *gorm.DB) func() {
			return func() {
				t.Helper()
				var posts []testmodel.Post
				require.NoError(t, f.DB.Scopes(scopes...).Raw("SELECT * FROM "+function+"(?)", 1).Find(&posts).Error)
				require.Len(t, posts, want)
			}
		}
		require.Contains(t, f.Outcome(list("some_posts", 2)), "skip: table-valued function some_posts; list the tables that it reads in DependsOn")
		require.Contains(t, f.Outcome(list("some_posts", 2, cache.Cache(cache.AllowVolatile()))), "skip: table-valued function")
		f.Cached(t, list("posts_of", 2))
		declared := cache.Cache(cache.DependsOn("posts"))
		f.Cached(t, list("some_posts", 2, declared))
		require.NoError(t, f.DB.Create(&testmodel.Post{CategoryID: 1, Title: "new"}).Error)
		f.Cached(t, list("posts_of", 3))
		f.Cached(t, list("some_posts", 3, declared))
	})
}

func TestAnUnknownTableInAProfileKeepsItsQueriesFromTheCache(t *testing.T) {
	o := fixture.Options{Models: scopeModels}
	o.Config.Profiles = cacheplugin.Profiles{"posts": {Ops: cache.All, Timeout: time.Hour, DependsOn: []string{"later"}}}
	fixture.OnEveryDatabase(t, o, func(t *testing.T, f *fixture.Fixture) {
		list := func() { require.NoError(t, f.DB.Find(&[]testmodel.Post{}).Error) }
		require.Contains(t, f.Outcome(list), `DependsOn in the profile of posts is "later": the database has no such table`)
		require.NoError(t, f.DB.Exec("CREATE TABLE later (id INT)").Error)
		f.Cached(t, list)
		require.NoError(t, f.DB.Exec("INSERT INTO later VALUES (1)").Error)
		f.Misses(t, list)
	})
}

func TestSamplesCanBeLimitedAndDeclared(t *testing.T) {
	fixture.OnEveryDatabase(t, fixture.Options{Models: scopeModels}, func(t *testing.T, f *fixture.Fixture) {
		scoped(t, f)
		runs := 0
		compute := func() {
			c := cacheplugin.Computation{Name: "sum", Timeout: time.Hour, Samples: []any{
				f.DB.Model(&testmodel.Post{}).Scopes(cache.Cache(cache.On("category_id"), cache.DependsOn("comments"))).Where("category_id = ? OR tag > 1", 1),
			}}
			_, _, err := cacheplugin.Compute(f.DB, c, func(context.Context) ([]byte, error) { runs++; return []byte("x"), nil })
			require.NoError(t, err)
		}
		f.Cached(t, compute)
		require.NoError(t, f.DB.Create(&testmodel.Post{CategoryID: 2, Tag: 7}).Error)
		f.Hits(t, compute)
		require.NoError(t, f.DB.Create(&testmodel.Post{CategoryID: 1}).Error)
		f.Misses(t, compute)
		require.NoError(t, f.DB.Create(&testmodel.Comment{PostID: 1}).Error)
		f.Misses(t, compute)
		require.Equal(t, 3, runs)
	})
}

func TestVolatileQueriesAreCachedWhereTheCallAllowsIt(t *testing.T) {
	fixture.OnEveryDatabase(t, fixture.Options{Models: scopeModels}, func(t *testing.T, f *fixture.Fixture) {
		scoped(t, f)
		now := "CURRENT_TIMESTAMP > '2000-01-01'"
		query := func(opts ...cache.Option) func() {
			return func() {
				var posts []testmodel.Post
				require.NoError(t, f.DB.Scopes(cache.Cache(opts...)).Where(now).Where("category_id = ?", 1).Find(&posts).Error)
			}
		}
		require.Contains(t, f.Outcome(query()), "skip: volatile: current_timestamp")
		f.Cached(t, query(cache.AllowVolatile()), "for the profile's timeout")
		require.NoError(t, f.DB.Model(&testmodel.Post{}).Where("id = ?", 10).Update("title", "x").Error)
		f.Misses(t, query(cache.AllowVolatile()), "changes of rows drop it as ever")
		f.Hits(t, query(cache.Timeout(time.Minute)), "an explicit timeout says the same")
		generic := func() {
			_, err := gorm.G[testmodel.Post](f.DB, cache.With(cache.AllowVolatile())).Where(now).Where("tag = ?", 1).Find(t.Context())
			require.NoError(t, err)
		}
		f.Cached(t, generic)
		x, err := cacheplugin.Explain(f.DB.Model(&testmodel.Post{}).Scopes(cache.Cache(cache.AllowVolatile())).Where(now))
		require.NoError(t, err)
		require.True(t, x.Cached)
		require.Equal(t, "current_timestamp", x.Volatile)
		require.Contains(t, x.String(), "volatile by current_timestamp: at most as old as its timeout")

		if f.Env.Dialect != "sqlite" {
			locking := func() {
				require.NoError(t, f.DB.Scopes(cache.Cache(cache.AllowVolatile())).Raw("SELECT * FROM posts WHERE "+now+" FOR UPDATE").Find(&[]testmodel.Post{}).Error)
			}
			require.Equal(t, "skip: locking read", f.Outcome(locking))
		}
		effect := map[string]string{
			"postgres": "SELECT * FROM posts WHERE pg_try_advisory_xact_lock(1)", "mysql": "SELECT * FROM posts WHERE SLEEP(0)",
		}[f.Env.Dialect]
		if effect != "" {
			require.Contains(t, f.Outcome(func() {
				require.NoError(t, f.DB.Scopes(cache.Cache(cache.AllowVolatile(), cache.DependsOn())).Raw(effect).Find(&[]testmodel.Post{}).Error)
			}), "skip: side effects")
		}
	})
}
