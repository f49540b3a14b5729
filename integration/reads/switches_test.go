package reads

import (
	"context"
	"errors"
	"slices"
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

func TestTenantsNeitherReadNorDropEachOthersResults(t *testing.T) {
	o := fixture.Options{Models: []any{&fixture.Brand{}}, Config: cacheplugin.Config{PrefixFunc: fixture.TenantOf}}
	fixture.OnEveryDatabase(t, o, func(t *testing.T, f *fixture.Fixture) {
		a, b := fixture.Tenant(f.DB, "a{}"), fixture.Tenant(f.DB, "b@%")
		ofA, ofB := f.Brands(t, a, 1), f.Brands(t, b, 1)
		f.Cached(t, ofA)
		f.Misses(t, ofB, "SHD-01 nothing of another tenant's is read")
		f.Hits(t, ofB)

		require.NoError(t, cacheplugin.InvalidateAll(a))
		f.Misses(t, ofA)
		f.Hits(t, ofB, "nor dropped by InvalidateAll")
		require.NoError(t, cacheplugin.InvalidateModel(a, &fixture.Brand{}))
		f.Misses(t, ofA)
		f.Hits(t, ofB, "nor by InvalidateModel")

		require.NoError(t, a.Transaction(func(tx *gorm.DB) error {
			return tx.Create(&fixture.Brand{Name: "x", Kind: 1}).Error
		}))
		f.Misses(t, ofA)
		var stale []fixture.Brand
		require.Equal(t, "hit", f.Outcome(func() { require.NoError(t, b.Where("kind = ?", 1).Order("id").Find(&stale).Error) }),
			"a write speaks for its own tenant only")
	})
}

func TestAPrefixByTableRefusesQueriesOnTwo(t *testing.T) {
	byTable := func(_ context.Context, q cacheplugin.QueryInfo) string { return q.Table() }
	o := fixture.Options{
		Models: []any{&fixture.Brand{}, &testmodel.Category{}},
		Config: cacheplugin.Config{PrefixFunc: byTable},
	}
	fixture.OnEveryDatabase(t, o, func(t *testing.T, f *fixture.Fixture) {
		one := f.Brands(t, f.DB, 1)
		f.Cached(t, one)
		self := func() {
			var n int64
			require.NoError(t, f.DB.Model(&fixture.Brand{}).Joins("JOIN brands b ON b.id = brands.id").Count(&n).Error)
		}
		f.Cached(t, self, "SHD-03 a self join has one table")
		require.NoError(t, f.DB.Create(&fixture.Brand{Kind: 1}).Error)
		f.Misses(t, one)
		f.Misses(t, self)
		both := func() {
			var n int64
			require.NoError(t, f.DB.Model(&fixture.Brand{}).Joins("JOIN categories ON categories.id = brands.id").Count(&n).Error)
		}
		require.Contains(t, f.Outcome(both), "PrefixFunc makes the prefix of one table, and the query reads several: brands, categories")
	})
}

func TestDatabasesOnOneRedis(t *testing.T) {
	for _, specific := range []bool{false, true} {
		for _, env := range testdb.Databases(t) {
			name := env.Name
			if specific {
				name += "/specific"
			}
			t.Run(name, func(t *testing.T) {
				o := fixture.Options{Models: []any{&fixture.Brand{}}}
				o.Config.Prefix = "shared-" + t.Name()
				o.Config.DBSpecific = specific
				f, g := fixture.New(t, env, o), fixture.New(t, env, o)
				require.NoError(t, g.DB.Create(&fixture.Brand{Name: "other", Kind: 1}).Error)
				ofF, ofG := f.Brands(t, f.DB, 1), g.Brands(t, g.DB, 1)
				f.Cached(t, ofF)
				g.Misses(t, ofG, "SHD-04 results are never shared")
				require.NoError(t, f.DB.Create(&fixture.Brand{Kind: 1}).Error)
				f.Misses(t, ofF)
				// PostgreSQL's and SQLite's tables go by the same names in
				// both databases, MySQL's have the database in theirs. What
				// is in memory has no name to be told by.
				if specific && env.Name != testenv.SQLite || env.Dialect == "mysql" {
					g.Hits(t, ofG, "SHD-02 a write drops in its own database only")
				} else {
					g.Misses(t, ofG)
				}
			})
		}
	}
}

func TestPostponedInvalidationsComeAtTheEnd(t *testing.T) {
	fixture.OnEveryDatabase(t, fixture.Options{Models: []any{&fixture.Brand{}}}, func(t *testing.T, f *fixture.Fixture) {
		one, two := f.Brands(t, f.DB, 1), f.Brands(t, f.DB, 2)
		f.Cached(t, one)
		f.Cached(t, two)
		failure := errors.New("in the end")
		err := cacheplugin.Postpone(f.DB, func(db *gorm.DB) error {
			for range 3 {
				require.NoError(t, db.Create(&fixture.Brand{Kind: 1}).Error)
			}
			require.Equal(t, "skip: invalidations are postponed", f.Outcome(f.Brands(t, db, 1)))
			var stale []fixture.Brand
			require.Equal(t, "hit", f.Outcome(func() { require.NoError(t, f.DB.Where("kind = ?", 1).Order("id").Find(&stale).Error) }))
			require.Empty(t, stale)
			return failure
		})
		require.ErrorIs(t, err, failure)
		f.Misses(t, one)
		f.Hits(t, two)
	})
}

func TestASavedInstanceIsFoundWithoutAQuery(t *testing.T) {
	o := fixture.Options{Models: []any{&fixture.Brand{}}}
	o.Config.Profiles = cacheplugin.Profiles{"brands": {Ops: cache.Get, Timeout: time.Hour, CacheOnSave: "id"}}
	fixture.OnEveryDatabase(t, o, func(t *testing.T, f *fixture.Fixture) {
		first := func(id uint, name string) func() {
			return func() {
				var got fixture.Brand
				require.NoError(t, f.DB.First(&got, id).Error)
				require.Equal(t, name, got.Name)
			}
		}
		// It is read in the background. Nobody else reads meanwhile.
		saved := func(write error) {
			t.Helper()
			require.NoError(t, write)
			require.Eventually(t, func() bool {
				return slices.ContainsFunc(f.Events.Take(), func(e cacheplugin.Event) bool { return e.Kind == cacheplugin.EventStore })
			}, 20*time.Second, time.Millisecond, "stored without a read of ours")
		}
		b := fixture.Brand{Name: "new"}
		f.Events.Take()
		saved(f.DB.Create(&b).Error)
		f.Hits(t, first(b.ID, "new"), "MIS-01")
		saved(f.DB.Model(&b).Update("name", "changed").Error)
		f.Hits(t, first(b.ID, "changed"))
		saved(f.DB.Transaction(func(tx *gorm.DB) error {
			return tx.Model(&b).Update("name", "again").Error
		}))
		f.Hits(t, first(b.ID, "again"))

		lost := fixture.Brand{Name: "lost"}
		rollback := errors.New("roll back")
		require.ErrorIs(t, f.DB.Transaction(func(tx *gorm.DB) error {
			require.NoError(t, tx.Create(&lost).Error)
			return rollback
		}), rollback)
		require.Equal(t, "miss", f.Outcome(func() {
			require.ErrorIs(t, f.DB.First(&fixture.Brand{}, lost.ID).Error, gorm.ErrRecordNotFound)
		}), "rolled back, not there")
	})
}

func TestLocalResultsGoByOwnWritesAndTimeout(t *testing.T) {
	o := fixture.Options{Models: []any{&fixture.Brand{}}}
	o.Config.NearCache = &cacheplugin.NearCache{}
	o.Config.Profiles = cacheplugin.Profiles{"brands": {Ops: cache.All, Timeout: time.Hour, MaxStale: time.Hour}}
	fixture.OnEveryDatabase(t, o, func(t *testing.T, f *fixture.Fixture) {
		b := fixture.Brand{Name: "here", Kind: 7}
		require.NoError(t, f.DB.Create(&b).Error)
		first := func() {
			var got fixture.Brand
			require.NoError(t, f.DB.First(&got, b.ID).Error)
			require.Equal(t, b, got)
		}
		f.Cached(t, first)
		require.NoError(t, f.Plain.Exec("UPDATE brands SET name = 'unseen'").Error)
		f.Hits(t, first, "MIS-02 another's write is not seen")
		b.Name = "mine"
		require.NoError(t, f.DB.Model(&b).Update("name", "mine").Error)
		f.Misses(t, first)
	})
}

func TestInvalidationByValuesAndPattern(t *testing.T) {
	fixture.OnEveryDatabase(t, fixture.Options{Models: []any{&fixture.Brand{}, &testmodel.Category{}}}, func(t *testing.T, f *fixture.Fixture) {
		one, two := f.Brands(t, f.DB, 1), f.Brands(t, f.DB, 2)
		categories := func() { require.NoError(t, f.DB.Find(&[]testmodel.Category{}).Error) }
		all := func() {
			f.Outcome(one)
			f.Outcome(two)
			f.Outcome(categories)
		}
		all()
		require.NoError(t, cacheplugin.InvalidateValues(f.DB, &fixture.Brand{}, map[string]any{"kind": 1}))
		f.Misses(t, one)
		f.Hits(t, two)
		f.Hits(t, categories)
		require.NoError(t, cacheplugin.InvalidateValues(f.DB, "brands", map[string]any{"name": "any kind"}))
		f.Misses(t, one)
		f.Misses(t, two)
		require.ErrorContains(t, cacheplugin.InvalidateValues(f.DB, "brands", map[string]any{"color": 1}), `no column "color"`)
		require.NoError(t, cacheplugin.InvalidatePattern(f.DB, "br*"))
		f.Misses(t, one)
		f.Misses(t, two)
		f.Hits(t, categories)
		require.Error(t, cacheplugin.InvalidatePattern(f.DB, "[br"))
		require.NoError(t, f.DB.Transaction(func(tx *gorm.DB) error {
			require.NoError(t, cacheplugin.InvalidatePattern(tx, "*"))
			f.Hits(t, categories, "not before the commit")
			return nil
		}))
		f.Misses(t, categories)
	})
}

// TestAnAlteredTableIsReadWhole: a connection of SQLite's driver that has not met
// an ALTER TABLE yet gives rows without the new column once. They must not be
// kept.
func TestAnAlteredTableIsReadWhole(t *testing.T) {
	fixture.OnEveryDatabase(t, fixture.Options{Models: []any{&fixture.Brand{}}}, func(t *testing.T, f *fixture.Fixture) {
		if f.Env.Dialect != "sqlite" {
			t.Skip("concerns SQLite")
		}
		require.NoError(t, f.DB.Create(&fixture.Brand{Name: "x"}).Error)
		read := func() (columns int) {
			var rows []map[string]any
			require.NoError(t, f.DB.Table("brands").Find(&rows).Error)
			return len(rows[0])
		}
		first := f.DB.Begin()
		require.NoError(t, first.Error)
		require.Equal(t, 3, read()) // on a second connection
		require.NoError(t, first.Rollback().Error)
		require.NoError(t, f.DB.Exec("ALTER TABLE brands ADD COLUMN color INT").Error) // on the first one
		first = f.DB.Begin()
		require.NoError(t, first.Error)
		read() // on the second one
		for range 5 {
			require.Equal(t, 4, read())
		}
		require.NoError(t, first.Rollback().Error)
	})
}

// country carries its own profile.
type country struct{ ID uint }

func (country) CacheProfile() cacheplugin.Profile {
	return cacheplugin.Profile{Ops: cache.All, Timeout: time.Hour}
}

func TestAModelsProfileStandsBetweenPatterns(t *testing.T) {
	env := testenv.NeedSQLite(t)
	for name, test := range map[string]struct {
		profiles cacheplugin.Profiles
		want     string
	}{
		"alone":                 {cacheplugin.Profiles{}, "miss"},
		"over the catch-all":    {cacheplugin.Profiles{"*": {Timeout: time.Hour}}, "miss"},
		"under a glob":          {cacheplugin.Profiles{"count*": {Timeout: time.Hour}}, ""},
		"under the table":       {cacheplugin.Profiles{"countries": {Timeout: time.Hour}}, ""},
		"under what forbids it": {cacheplugin.Profiles{"*": nil}, ""},
	} {
		t.Run("OPS-05 "+name, func(t *testing.T) {
			f := fixture.New(t, env, fixture.Options{Models: []any{&country{}}, Config: cacheplugin.Config{Profiles: test.profiles}})
			require.Equal(t, test.want, f.Outcome(func() { require.NoError(t, f.DB.Find(&[]country{}).Error) }))
		})
	}
}

// TestOneMemoryIsOneNamespace: handles on one database in memory must reach each
// other's results with DBSpecific, too.
func TestOneMemoryIsOneNamespace(t *testing.T) {
	env := testdb.Need(t, testenv.SQLite)
	o := fixture.Options{Models: []any{&fixture.Brand{}}}
	o.Config.DBSpecific = true
	f := fixture.New(t, env, o)
	other := fixture.NewOn(t, f)
	read := f.Brands(t, f.DB, 1)
	f.Cached(t, read)
	require.NoError(t, other.DB.Create(&fixture.Brand{Kind: 1}).Error)
	f.Misses(t, read)
}

// TestWhatAFailedStatementLeavesIsInvalidated: under ON CONFLICT FAIL SQLite keeps
// the rows before the one that failed, and a transaction may commit them.
func TestWhatAFailedStatementLeavesIsInvalidated(t *testing.T) {
	fixture.OnEveryDatabase(t, fixture.Options{Models: []any{&fixture.Brand{}}}, func(t *testing.T, f *fixture.Fixture) {
		if f.Env.Dialect != "sqlite" {
			t.Skip("concerns SQLite")
		}
		require.NoError(t, f.DB.Create(&fixture.Brand{ID: 9}).Error)
		read := f.Brands(t, f.DB, 1)
		f.Cached(t, read)
		require.NoError(t, f.DB.Transaction(func(tx *gorm.DB) error {
			require.Error(t, tx.Exec("INSERT OR FAIL INTO brands (id, kind) VALUES (1, 1), (9, 1)").Error)
			return nil
		}))
		f.Misses(t, read)
	})
}

// TestAWriteBehindASelectIsSeen: SQLite's driver runs every statement of a text.
func TestAWriteBehindASelectIsSeen(t *testing.T) {
	fixture.OnEveryDatabase(t, fixture.Options{Models: []any{&fixture.Brand{}}}, func(t *testing.T, f *fixture.Fixture) {
		if f.Env.Dialect != "sqlite" || f.DB.PrepareStmt {
			t.Skip("concerns SQLite without prepared statements")
		}
		read := f.Brands(t, f.DB, 1)
		f.Cached(t, read)
		var n []int
		require.NoError(t, f.DB.Raw("SELECT 1; INSERT INTO brands (kind) VALUES (1); SELECT 2").Scan(&n).Error)
		f.Misses(t, read)
	})
}
