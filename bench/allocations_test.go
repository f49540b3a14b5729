//go:build !race

package main

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"
)

// The race detector allocates for itself, so that these counts are taken
// without it.

// overheads are how many allocations a hit of one row may need beside what GORM needs
// for building the query and scanning the same row out of memory. Rows that are put
// straight into their destination save more than the look-up costs.
var overheads = []struct {
	variant
	most float64
}{{setsVariant, 0}, {stampsVariant, 0}, {setsDirect, 10}, {stampsDirect, 10}}

// largest is how many allocations a hit may need for a work's rows, which share them:
// one of a thousand rows of ten columns was at 23,400 when GORM scanned them.
var largest = map[string]float64{"Find 20 rows": 100, "Find 1000 rows": 200}

// nearOverhead is the same for a hit out of the process's own memory.
const nearOverhead = -15

func TestAllocationsOfABoundedHit(t *testing.T) {
	env := open(t)
	s := plugged(t, env, nearBounded)
	for _, w := range readWorks[:3] {
		own, err := inMemory(env, env.databases[0], w)
		require.NoError(t, err)
		defer own.close()
		count := func(s setup) float64 {
			return testing.AllocsPerRun(100, func() {
				_, err := w.run(s.db, 0)
				require.NoError(t, err)
			})
		}
		require.NoError(t, settled(s, w))
		base, trips := count(own), s.trips.Load()
		hit := count(s)
		require.Equal(t, trips, s.trips.Load(), "no round trip")
		t.Logf("%s: %.0f allocations, GORM's own are %.0f", w.name, hit, base)
		requireFew(t, w, hit, base, nearOverhead)
	}
}

func TestAllocationsOfAHit(t *testing.T) {
	env := open(t)
	ctx := context.Background()
	for _, v := range overheads {
		t.Run(v.name, func(t *testing.T) {
			s := plugged(t, env, v.variant)
			for _, w := range readWorks[:3] {
				own, err := inMemory(env, env.databases[0], w)
				require.NoError(t, err)
				defer own.close()
				count := func(s setup) float64 {
					return testing.AllocsPerRun(100, func() {
						_, err := w.run(s.db.WithContext(ctx), 0)
						require.NoError(t, err)
					})
				}
				_, err = w.run(s.db, 0)
				require.NoError(t, err)
				base, hit := count(own), count(s)
				t.Logf("%s: %.0f allocations, GORM's own are %.0f", w.name, hit, base)
				requireFew(t, w, hit, base, v.most)
			}
		})
	}
}

// requireFew compares the allocations of a hit with GORM's own for one row, and with
// what the rows may need for many.
func requireFew(t *testing.T, w readWork, hit, base, overhead float64) {
	t.Helper()
	if most, many := largest[w.name]; many {
		require.LessOrEqual(t, hit, most, w.name)
		return
	}
	require.LessOrEqual(t, hit-base, overhead, w.name)
}
