//go:build !race

package main

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"
)

// The race detector allocates for itself, so that these counts are taken
// without it.

// overheads are how many allocations a hit may need beside GORM's own: building
// the query and scanning the same rows out of memory.
var overheads = []struct {
	variant
	most float64
}{{setsVariant, 20}, {stampsVariant, 20}, {setsDirect, 30}, {stampsDirect, 30}}

// nearOverhead is the same for a hit out of the process's own memory.
const nearOverhead = 10

func TestAllocationsOfABoundedHit(t *testing.T) {
	env := open(t)
	s := plugged(t, env, nearBounded)
	for _, w := range readWorks[:2] {
		own, err := inMemory(env, env.databases[0], w)
		require.NoError(t, err)
		defer own.close()
		count := func(s setup) float64 {
			return testing.AllocsPerRun(500, func() {
				_, err := w.run(s.db, 0)
				require.NoError(t, err)
			})
		}
		require.NoError(t, settled(s, w))
		base, trips := count(own), s.trips.Load()
		hit := count(s)
		require.Equal(t, trips, s.trips.Load(), "no round trip")
		t.Logf("%s: %.0f allocations, GORM's own are %.0f", w.name, hit, base)
		require.LessOrEqual(t, hit-base, float64(nearOverhead), w.name)
	}
}

func TestAllocationsOfAHit(t *testing.T) {
	env := open(t)
	ctx := context.Background()
	for _, v := range overheads {
		t.Run(v.name, func(t *testing.T) {
			s := plugged(t, env, v.variant)
			for _, w := range readWorks[:2] {
				own, err := inMemory(env, env.databases[0], w)
				require.NoError(t, err)
				defer own.close()
				count := func(s setup) float64 {
					return testing.AllocsPerRun(500, func() {
						_, err := w.run(s.db.WithContext(ctx), 0)
						require.NoError(t, err)
					})
				}
				_, err = w.run(s.db, 0)
				require.NoError(t, err)
				base, hit := count(own), count(s)
				t.Logf("%s: %.0f allocations, GORM's own are %.0f", w.name, hit, base)
				require.LessOrEqual(t, hit-base, v.most, w.name)
			}
		})
	}
}
