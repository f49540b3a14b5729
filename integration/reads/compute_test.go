package reads

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
	"github.com/cacheplugin/cacheplugin/integration/internal/fixture"
	"github.com/cacheplugin/cacheplugin/internal/testenv"
)

// TestComputedValuesAreMadeFromCommittedState: neither a replica that lags nor
// the process's own memory may get into a value that all processes share.
func TestComputedValuesAreMadeFromCommittedState(t *testing.T) {
	env := testenv.NeedSQLite(t)
	replica := env.Open(t, nil)
	require.NoError(t, replica.AutoMigrate(&fixture.Brand{}))
	o := fixture.Options{Models: []any{&fixture.Brand{}}}
	o.Config.NearCache = &cacheplugin.NearCache{}
	o.Config.Profiles = cacheplugin.Profiles{"brands": {Ops: cache.Get, Timeout: time.Hour, MaxStale: time.Hour}}
	f := fixture.New(t, env, o)
	fixture.UseResolver(t, f.DB, dbresolver.Config{Replicas: []gorm.Dialector{env.Dialector(env.DSN(t, replica))}})
	require.NoError(t, f.Plain.Create(&fixture.Brand{ID: 1, Name: "source"}).Error)
	require.NoError(t, replica.Create(&fixture.Brand{ID: 1, Name: "replica"}).Error)

	computed := func(key string, read func(db *gorm.DB) string) string {
		value, _, err := cacheplugin.Compute(f.DB, cacheplugin.Computation{
			Name: "names", Key: []byte(key), Samples: []any{&fixture.Brand{}}, Timeout: time.Hour,
		}, func(ctx context.Context) ([]byte, error) { return []byte(read(f.DB.WithContext(ctx))), nil })
		require.NoError(t, err)
		return string(value)
	}
	uncached := func(db *gorm.DB) string {
		var all []fixture.Brand
		require.NoError(t, db.Find(&all).Error)
		return all[0].Name
	}
	require.Equal(t, "replica", uncached(f.DB), "outside of a computation the replica answers")
	require.Equal(t, "source", computed("uncached", uncached))

	byKey := func(db *gorm.DB) string {
		var b fixture.Brand
		require.NoError(t, db.First(&b, 1).Error)
		return b.Name
	}
	require.Eventually(t, func() bool {
		return f.From(t, func() { require.Equal(t, "source", byKey(f.DB)) }) == "near"
	}, time.Minute, time.Millisecond, "now it is in the process's memory")
	require.NoError(t, f.Plain.Model(&fixture.Brand{ID: 1}).Update("name", "newer").Error)
	client := testenv.Redis(t)
	entries, err := client.Keys(t.Context(), "{"+f.Config.Prefix+"}e:*").Result()
	require.NoError(t, err)
	require.NoError(t, client.Del(t.Context(), entries...).Err())
	var inMemory string
	if f.From(t, func() { inMemory = byKey(f.DB) }) == "near" { // the subscription may have begun anew just now
		require.Equal(t, "source", inMemory, "which Redis is not asked for")
	}
	require.Equal(t, "newer", computed("local", byKey))
}

func TestComputedValuesFollowTheirSamples(t *testing.T) {
	fixture.OnEveryDatabase(t, fixture.Options{Models: []any{&fixture.Brand{}}}, func(t *testing.T, f *fixture.Fixture) {
		require.NoError(t, f.DB.Create(&[]fixture.Brand{{ID: 1, Kind: 1}, {ID: 2, Kind: 2}}).Error)
		runs := 0
		compute := func(samples ...any) func() {
			return func() {
				_, _, err := cacheplugin.Compute(f.DB, cacheplugin.Computation{Name: "value", Samples: samples},
					func(context.Context) ([]byte, error) {
						runs++
						return []byte(strconv.Itoa(runs)), nil
					})
				require.NoError(t, err)
			}
		}
		for name, samples := range map[string][]any{
			"an object": {&fixture.Brand{ID: 1}}, "objects": {[]fixture.Brand{{ID: 1}}},
			"a query": {f.DB.Model(&fixture.Brand{}).Where("kind = ?", 1)}, "both": {fixture.Brand{ID: 1}, f.DB.Model(&fixture.Brand{}).Where("id = ?", 1)},
		} {
			value := compute(samples...)
			f.Outcome(value)
			require.NoError(t, cacheplugin.DiscardComputed(f.DB, cacheplugin.Computation{Name: "value"}))
			f.Cached(t, value, name)
			require.NoError(t, f.DB.Model(&fixture.Brand{ID: 2}).Update("name", name).Error)
			f.Hits(t, value, name)
			require.NoError(t, f.DB.Model(&fixture.Brand{ID: 1}).Update("name", name).Error)
			f.Misses(t, value, name)
		}
		for name, sample := range map[string]any{"a model": &fixture.Brand{}, "a table": "brands"} {
			require.NoError(t, cacheplugin.DiscardComputed(f.DB, cacheplugin.Computation{Name: "value"}))
			f.Cached(t, compute(sample), name)
			require.NoError(t, f.DB.Model(&fixture.Brand{ID: 2}).Update("name", name).Error)
			f.Misses(t, compute(sample), name)
		}
	})
}
