package faults

import (
	"errors"
	"testing"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"
	"gorm.io/gorm"
	"gorm.io/gorm/logger"

	"github.com/cacheplugin/cacheplugin"
	"github.com/cacheplugin/cacheplugin/cache"
	"github.com/cacheplugin/cacheplugin/integration/internal/fixture"
	"github.com/cacheplugin/cacheplugin/integration/testdb"
	"github.com/cacheplugin/cacheplugin/internal/testenv"
	"github.com/cacheplugin/cacheplugin/internal/testmodel"
)

// onEachTopology runs a test on SQLite with a client of a Redis Cluster, and one
// that finds its master through Sentinel, in each mode and grade.
func onEachTopology(t *testing.T, models []any, test func(t *testing.T, f *fixture.Fixture)) {
	t.Helper()
	env := testdb.Need(t, testenv.SQLiteFile)
	clients := map[string]redis.UniversalClient{"cluster": testenv.Cluster(t), "sentinel": testenv.StartSentinel(t).Client(t)}
	configs := map[string]cacheplugin.Config{
		"ConjunctionSets": {}, "InsideOut": {Mode: cacheplugin.InsideOut},
		"ConjunctionSets/Strict": {Consistency: cacheplugin.Strict},
		"InsideOut/Strict":       {Mode: cacheplugin.InsideOut, Consistency: cacheplugin.Strict},
		"Spread":                 {Mode: cacheplugin.InsideOut, Spread: true},
		"Spread/Strict":          {Mode: cacheplugin.InsideOut, Spread: true, Consistency: cacheplugin.Strict},
		"ConjunctionSets/direct": {DirectConnections: true},
		"InsideOut/direct":       {Mode: cacheplugin.InsideOut, DirectConnections: true, Consistency: cacheplugin.Strict},
	}
	for topology, client := range clients {
		for name, c := range configs {
			if topology == "cluster" && c.DirectConnections {
				continue // refused
			}
			t.Run(topology+"/"+name, func(t *testing.T) {
				c.Redis = client
				c.DBSpecific = true
				test(t, fixture.New(t, env, fixture.Options{Config: c, Models: models}))
			})
		}
	}
}

func TestOnClustersAndSentinelsWritesDropWhatTheyChange(t *testing.T) {
	onEachTopology(t, []any{&testmodel.Category{}, &testmodel.Post{}}, func(t *testing.T, f *fixture.Fixture) {
		require.NoError(t, f.DB.Create(&[]testmodel.Category{{Title: "a"}, {Title: "b"}, {Title: "c"}}).Error)
		list := func(category uint, want ...string) func() {
			return func() {
				titles := []string{}
				require.NoError(t, f.DB.Model(&testmodel.Post{}).Where("category_id = ?", category).Order("id").Pluck("title", &titles).Error)
				require.Equal(t, append([]string{}, want...), titles)
			}
		}
		joined := func(want int64) func() {
			return func() {
				var n int64
				require.NoError(t, f.DB.Model(&testmodel.Post{}).Joins("JOIN categories ON categories.id = posts.category_id").Where("categories.title = ?", "b").Count(&n).Error)
				require.Equal(t, want, n)
			}
		}
		f.Cached(t, list(1))
		f.Cached(t, list(2))
		f.Cached(t, list(3))
		f.Cached(t, joined(0))

		post := testmodel.Post{CategoryID: 1, Title: "x"}
		require.NoError(t, f.DB.Create(&post).Error)
		f.Misses(t, list(1, "x"))
		f.Hits(t, list(2))
		f.Hits(t, list(3))

		require.NoError(t, f.DB.Transaction(func(tx *gorm.DB) error {
			if err := tx.Model(&post).Update("category_id", 2).Error; err != nil {
				return err
			}
			return tx.Create(&testmodel.Category{Title: "d"}).Error
		}))
		f.Misses(t, list(1))
		f.Misses(t, list(2, "x"))
		f.Misses(t, joined(1))
		f.Hits(t, list(3))

		rolledBack := errors.New("rolled back")
		require.ErrorIs(t, f.DB.Transaction(func(tx *gorm.DB) error {
			if err := tx.Where("1 = 1").Delete(&testmodel.Post{}).Error; err != nil {
				return err
			}
			return rolledBack
		}), rolledBack)
		f.Hits(t, list(2, "x"))

		require.NoError(t, f.DB.Exec("DELETE FROM posts WHERE title = ?", "x").Error)
		f.Misses(t, list(2))
		f.Misses(t, joined(0))
		require.NoError(t, cacheplugin.InvalidateAll(f.DB))
		f.Misses(t, list(3))
		f.Hits(t, list(3))

		// Waiting for another's result.
		locked := func() {
			var all []testmodel.Category
			require.NoError(t, f.DB.Scopes(cache.Cache(cache.Lock())).Order("id").Find(&all).Error)
			require.Len(t, all, 4)
		}
		f.Cached(t, locked)
	})
}

// A process that would not hear of the others' writes does not start.
func TestAProcessThatSpreadsAPrefixThatOthersDoNotIsRefused(t *testing.T) {
	env := testdb.Need(t, testenv.SQLite)
	f := fixture.New(t, env, fixture.Options{Config: cacheplugin.Config{Mode: cacheplugin.InsideOut}, Models: []any{&testmodel.Label{}}})
	f.Cached(t, func() { require.NoError(t, f.DB.Find(&[]testmodel.Label{}).Error) })
	c := f.Config
	c.Spread = true
	err := env.Open(t, &gorm.Config{Logger: logger.Discard}).Use(cacheplugin.New(c))
	require.ErrorIs(t, err, cacheplugin.ErrConfig)
	require.ErrorContains(t, err, "Spread")

	require.NoError(t, cacheplugin.InvalidateAll(f.DB))
	plugin := cacheplugin.New(c)
	require.NoError(t, env.Open(t, &gorm.Config{Logger: logger.Discard}).Use(plugin))
	require.NoError(t, plugin.Close(t.Context()))
}
