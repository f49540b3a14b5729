package store_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cacheplugin/cacheplugin/conj"
	"github.com/cacheplugin/cacheplugin/internal/store"
)

// BenchmarkConjunctions shows what a query costs that depends on many
// conjunctions, such as an IN of many values, over one that depends on a single
// one: the medians in µs of a hit, of a miss (the lease and the store), and of a
// write that drops the result by one of them, the bytes that it takes in Redis,
// and the ratios of these to those of one conjunction, measured in turns. The
// defaults of conj.Limits stand on it; docs/decisions.md has the figures.
func BenchmarkConjunctions(b *testing.B) {
	for _, mode := range modes {
		for _, n := range []int{1, 10, 100, 128, 200, 256, 500, 1000} {
			b.Run(fmt.Sprintf("%v/%d", mode, n), func(b *testing.B) {
				s := backend{client: realRedis(b), mode: mode}.open(b)
				one, many := newCycle(s, "one", 1), newCycle(s, "many", n)
				for b.Loop() {
					one.run(b)
					many.run(b)
				}
				for _, m := range []struct {
					name      string
					one, many []float64
				}{
					{"hit-µs", one.hits, many.hits},
					{"miss-µs", one.misses, many.misses},
					{"write-µs", one.writes, many.writes},
					{"redis-B", one.bytes, many.bytes},
				} {
					b.ReportMetric(median(m.many), m.name)
					what, _, _ := strings.Cut(m.name, "-")
					b.ReportMetric(median(m.many)/median(m.one), what+"-x")
				}
				b.ReportMetric(0, "ns/op") // both together: means nothing
			})
		}
	}
}

func median(values []float64) float64 {
	slices.Sort(values)
	return values[len(values)/2]
}

// cycle is the life of an entry on a number of conjunctions.
type cycle struct {
	store                       *store.Store
	deps                        []store.Dependency
	entry                       store.EntryKey
	drops                       []store.Change
	payload                     []byte
	hits, misses, writes, bytes []float64
}

func newCycle(s *store.Store, table string, n int) *cycle {
	dep := store.Dependency{Table: table, Schemes: []conj.Scheme{byGroup}}
	for i := range n {
		dep.Keys = append(dep.Keys, key(table, byGroup, fmt.Sprint(i)))
	}
	return &cycle{
		store: s, deps: []store.Dependency{dep}, entry: entry(table), payload: []byte(strings.Repeat("x", 1000)),
		drops: []store.Change{changed(table, row{"7", fmt.Sprint(n / 2)})},
	}
}

func (c *cycle) run(b *testing.B) {
	ctx := context.Background()
	took := func(to *[]float64, do func()) {
		start := time.Now()
		do()
		*to = append(*to, float64(time.Since(start))/float64(time.Microsecond))
	}
	look := func(want store.State) store.Lookup {
		found, err := c.store.Acquire(ctx, c.entry, c.deps, ttl)
		if err != nil || found.State != want {
			b.Fatal(found.State, err)
		}
		return found
	}
	took(&c.misses, func() {
		stored, err := c.store.Save(ctx, look(store.Leased).Lease, c.payload, ttl)
		if err != nil || !stored {
			b.Fatal(stored, err)
		}
	})
	for range 3 {
		took(&c.hits, func() { look(store.Hit) })
	}
	if len(c.bytes) == 0 {
		c.bytes = append(c.bytes, c.memory(b))
	}
	took(&c.writes, func() {
		if _, err := c.store.Invalidate(ctx, c.drops); err != nil {
			b.Fatal(err)
		}
	})
}

// memory is what the entry and what it registered take.
func (c *cycle) memory(b *testing.B) float64 {
	keys := []string{c.store.EntryName(c.entry)}
	for _, k := range c.deps[0].Keys {
		keys = append(keys, c.store.ConjunctionName(c.deps[0].Table, k))
	}
	total := int64(0)
	for _, k := range keys {
		n, err := realRedis(b).MemoryUsage(context.Background(), k).Result()
		require.NoError(b, err)
		total += n
	}
	return float64(total)
}
