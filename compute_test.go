package cacheplugin_test

import (
	"context"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"gorm.io/gorm"
	"gorm.io/plugin/dbresolver"

	"github.com/cacheplugin/cacheplugin"
	"github.com/cacheplugin/cacheplugin/cache"
	"github.com/cacheplugin/cacheplugin/internal/testenv"
)

// TestComputedValuesAreMadeFromCommittedState: neither a replica that lags nor
// the process's own memory may get into a value that all processes share.
func TestComputedValuesAreMadeFromCommittedState(t *testing.T) {
	env := testenv.Databases(t)[0]
	replica := env.Open(t, nil)
	require.NoError(t, replica.AutoMigrate(&brand{}))
	o := options{models: []any{&brand{}}}
	o.config.NearCache = &cacheplugin.NearCache{}
	o.config.Profiles = cacheplugin.Profiles{"brands": {Ops: cache.Get, Timeout: time.Hour, MaxStale: time.Hour}}
	f := newFixture(t, env, o)
	useResolver(t, f.db, dbresolver.Config{Replicas: []gorm.Dialector{env.Dialector(testenv.DSN(t, replica))}})
	require.NoError(t, f.db.Create(&brand{ID: 1, Name: "source"}).Error)
	require.NoError(t, replica.Create(&brand{ID: 1, Name: "replica"}).Error)

	computed := func(key string, read func(db *gorm.DB) string) string {
		value, _, err := cacheplugin.Compute(f.db, cacheplugin.Computation{
			Name: "names", Key: []byte(key), Samples: []any{&brand{}}, Timeout: time.Hour,
		}, func(ctx context.Context) ([]byte, error) { return []byte(read(f.db.WithContext(ctx))), nil })
		require.NoError(t, err)
		return string(value)
	}
	uncached := func(db *gorm.DB) string {
		var all []brand
		require.NoError(t, db.Find(&all).Error)
		return all[0].Name
	}
	require.Equal(t, "replica", uncached(f.db), "outside of a computation the replica answers")
	require.Equal(t, "source", computed("uncached", uncached))

	byKey := func(db *gorm.DB) string {
		var b brand
		require.NoError(t, db.First(&b, 1).Error)
		return b.Name
	}
	require.Eventually(t, func() bool {
		return f.from(t, func() { require.Equal(t, "source", byKey(f.db)) }) == "near"
	}, time.Minute, time.Millisecond, "now it is in the process's memory")
	require.NoError(t, f.plain.Model(&brand{ID: 1}).Update("name", "newer").Error)
	client := testenv.Redis(t)
	entries, err := client.Keys(t.Context(), "{"+f.config.Prefix+"}e:*").Result()
	require.NoError(t, err)
	require.NoError(t, client.Del(t.Context(), entries...).Err())
	require.Equal(t, "source", byKey(f.db), "which Redis is not asked for")
	require.Equal(t, "newer", computed("local", byKey))
}

// newFixtureOn is another process's view of a fixture: the same database, Redis
// and prefix.
func newFixtureOn(t testing.TB, f *fixture) *fixture {
	t.Helper()
	g := &fixture{env: f.env, plain: f.plain, events: &recorder{}}
	g.db = f.env.Reopen(t, f.plain, nil)
	config, err := cacheplugin.ConfigOf(f.db)
	require.NoError(t, err)
	config.Observer = g.events
	g.plugin = cacheplugin.New(config)
	require.NoError(t, g.db.Use(g.plugin))
	t.Cleanup(func() { require.NoError(t, g.plugin.Close(context.Background())) })
	return g
}

func TestComputedValuesFollowTheirSamples(t *testing.T) {
	onEveryDatabase(t, options{models: []any{&brand{}}}, func(t *testing.T, f *fixture) {
		require.NoError(t, f.db.Create(&[]brand{{ID: 1, Kind: 1}, {ID: 2, Kind: 2}}).Error)
		runs := 0
		compute := func(samples ...any) func() {
			return func() {
				_, _, err := cacheplugin.Compute(f.db, cacheplugin.Computation{Name: "value", Samples: samples},
					func(context.Context) ([]byte, error) {
						runs++
						return []byte(strconv.Itoa(runs)), nil
					})
				require.NoError(t, err)
			}
		}
		for name, samples := range map[string][]any{
			"an object": {&brand{ID: 1}}, "objects": {[]brand{{ID: 1}}},
			"a query": {f.db.Model(&brand{}).Where("kind = ?", 1)}, "both": {brand{ID: 1}, f.db.Model(&brand{}).Where("id = ?", 1)},
		} {
			value := compute(samples...)
			f.outcome(value)
			require.NoError(t, cacheplugin.DiscardComputed(f.db, cacheplugin.Computation{Name: "value"}))
			f.cached(t, value, name)
			require.NoError(t, f.db.Model(&brand{ID: 2}).Update("name", name).Error)
			f.hits(t, value, name)
			require.NoError(t, f.db.Model(&brand{ID: 1}).Update("name", name).Error)
			f.misses(t, value, name)
		}
		for name, sample := range map[string]any{"a model": &brand{}, "a table": "brands"} {
			require.NoError(t, cacheplugin.DiscardComputed(f.db, cacheplugin.Computation{Name: "value"}))
			f.cached(t, compute(sample), name)
			require.NoError(t, f.db.Model(&brand{ID: 2}).Update("name", name).Error)
			f.misses(t, compute(sample), name)
		}
	})
}
