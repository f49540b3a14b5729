package cacheplugin_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"gorm.io/gorm"

	"github.com/cacheplugin/cacheplugin"
	"github.com/cacheplugin/cacheplugin/cache"
	"github.com/cacheplugin/cacheplugin/internal/testenv"
)

// shadowing checks every hit, and waits for as good as nothing.
func shadowing() options {
	return options{models: []any{&brand{}}, config: cacheplugin.Config{ShadowReads: 1, ShadowDelay: time.Millisecond}}
}

func TestAShadowReadFindsAWriteThatThePluginHasNotSeen(t *testing.T) {
	onEveryDatabase(t, shadowing(), func(t *testing.T, f *fixture) {
		require.NoError(t, f.plain.Create(&brand{Name: "old", Kind: 1}).Error)
		for _, c := range []struct {
			name  string
			query func(db *gorm.DB, into *[]brand) *gorm.DB
		}{
			{"list", func(db *gorm.DB, into *[]brand) *gorm.DB { return db.Where("kind = ?", 1).Find(into) }},
			{"by key", func(db *gorm.DB, into *[]brand) *gorm.DB { return db.Where("id = ?", 1).Limit(1).Find(into) }},
			{"first", func(db *gorm.DB, into *[]brand) *gorm.DB { return db.Order("name, id DESC").Limit(3).Find(into) }},
		} {
			require.NoError(t, f.plain.Model(&brand{}).Where("id = 1").Update("name", "old").Error)
			require.NoError(t, cacheplugin.InvalidateAll(f.db))
			name := ""
			read := func() {
				var rows []brand
				require.NoError(t, c.query(f.db, &rows).Error)
				name = rows[0].Name
			}
			f.misses(t, read)
			found := f.plugin.Stats().Stale
			require.NoError(t, f.plain.Model(&brand{}).Where("id = 1").Update("name", "new").Error)
			require.Equal(t, "hit", f.outcome(read))
			require.Equal(t, "old", name, "the hazard")
			var stale *cacheplugin.Event
			require.Eventually(t, func() bool {
				for _, e := range f.events.take() {
					if e.Kind == cacheplugin.EventStale {
						stale = &e
					}
				}
				return stale != nil
			}, time.Minute, time.Millisecond, c.name)
			require.Greater(t, f.plugin.Stats().Stale, found)
			require.Equal(t, "brands", stale.Table)
			require.Contains(t, strings.ToLower(stale.Query), "select")
			require.NotEmpty(t, stale.Key)
			require.Positive(t, stale.Age)
			require.Less(t, stale.Age, time.Hour)
			require.Equal(t, 1, stale.Rows)
			require.Eventually(t, func() bool { read(); return name == "new" }, time.Minute, time.Millisecond, "it was dropped")
		}
		require.Positive(t, f.plugin.Stats().ShadowReads)
	})
}

// A result that the rows don't determine may differ from the database's and be
// right.
func TestShadowReadsLeaveOutWhatTheRowsDontDetermine(t *testing.T) {
	onEveryDatabase(t, shadowing(), func(t *testing.T, f *fixture) {
		require.NoError(t, f.plain.Create(&[]brand{{Name: "a", Kind: 1}, {Name: "b", Kind: 1}}).Error)
		var rows []brand
		var names []string
		var n int64
		for name, c := range map[string]struct {
			checked bool
			query   func(db *gorm.DB) *gorm.DB
		}{
			"list":              {true, func(db *gorm.DB) *gorm.DB { return db.Where("kind = 1").Find(&rows) }},
			"count":             {true, func(db *gorm.DB) *gorm.DB { return db.Model(&brand{}).Count(&n) }},
			"first":             {true, func(db *gorm.DB) *gorm.DB { return db.First(&brand{}) }},
			"last of kind":      {true, func(db *gorm.DB) *gorm.DB { return db.Where("kind = 1").Last(&brand{}) }},
			"take by key":       {true, func(db *gorm.DB) *gorm.DB { return db.Take(&brand{}, 1) }},
			"page":              {true, func(db *gorm.DB) *gorm.DB { return db.Order("brands.name, brands.id").Limit(1).Offset(1).Find(&rows) }},
			"any":               {false, func(db *gorm.DB) *gorm.DB { return db.Where("kind = 1").Take(&brand{}) }},
			"any of several":    {false, func(db *gorm.DB) *gorm.DB { return db.Where("id IN ?", []int{1, 2}).Take(&brand{}) }},
			"page by kind":      {false, func(db *gorm.DB) *gorm.DB { return db.Order("kind").Limit(1).Find(&rows) }},
			"page by a product": {false, func(db *gorm.DB) *gorm.DB { return db.Order("0 * id").Limit(1).Find(&rows) }},
			"page of a subquery": {false, func(db *gorm.DB) *gorm.DB {
				return db.Where("id >= (SELECT min(id) FROM brands)").Order("id").Limit(1).Find(&rows)
			}},
			"joined text": {false, func(db *gorm.DB) *gorm.DB {
				return db.Model(&brand{}).Pluck(map[string]string{"postgres": "string_agg(name, ',')"}[f.env.Dialect]+map[bool]string{true: "group_concat(name)"}[f.env.Dialect != "postgres"], &names)
			}},
			"accepted": {false, func(db *gorm.DB) *gorm.DB {
				return db.Scopes(cache.Cache(cache.On("brands.kind"))).Where("kind = 1 AND name = 'a'").Find(&rows)
			}},
		} {
			before := f.plugin.Stats().ShadowReads
			require.NoError(t, c.query(f.db).Error, name)
			require.NoError(t, c.query(f.db).Error, name)
			if !c.checked {
				// A checked hit behind it: both are done when it is.
				require.NoError(t, f.db.First(&brand{}, 2).Error)
				require.NoError(t, f.db.First(&brand{}, 2).Error)
			}
			require.Eventually(t, func() bool { return f.plugin.Stats().ShadowReads > before }, time.Minute, time.Millisecond, name)
			require.Equal(t, before+1, f.plugin.Stats().ShadowReads, name)
			require.NoError(t, cacheplugin.InvalidateAll(f.db))
		}
		require.Zero(t, f.plugin.Stats().Stale)
		told := int64(0)
		for _, e := range f.events.take() {
			if e.Kind == cacheplugin.EventShadow {
				told++
			}
		}
		require.Equal(t, f.plugin.Stats().ShadowReads, told)
	})
}

func TestShadowReadsEndWithClose(t *testing.T) {
	env := testenv.NeedSQLite(t)
	o := shadowing()
	o.config.ShadowDelay = time.Hour
	f := newFixture(t, env, o)
	require.NoError(t, f.plain.Create(&brand{Name: "old", Kind: 1}).Error)
	read := func() { require.NoError(t, f.db.Find(&[]brand{}).Error) }
	read()
	require.NoError(t, f.plain.Create(&brand{Name: "unseen", Kind: 1}).Error)
	for range 20 { // more than may wait for their second look
		read()
	}
	require.Eventually(t, func() bool { return f.plugin.Stats().ShadowReads > 0 }, time.Minute, time.Millisecond)
	require.NoError(t, f.plugin.Close(context.Background()))
	require.LessOrEqual(t, f.plugin.Stats().ShadowReads, int64(4))
	require.Zero(t, f.plugin.Stats().Stale)
	require.Zero(t, f.plugin.Stats().Errors)
}

func TestShadowConfiguration(t *testing.T) {
	env := testenv.NeedSQLite(t)
	for field, c := range map[string]cacheplugin.Config{"ShadowReads": {ShadowReads: 1.5}, "ShadowDelay": {ShadowDelay: -1}} {
		c.Redis = testenv.Redis(t)
		err := env.Open(t, nil).Use(cacheplugin.New(c))
		require.ErrorIs(t, err, cacheplugin.ErrConfig)
		require.ErrorContains(t, err, field)
	}
}
