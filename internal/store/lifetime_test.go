package store_test

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cacheplugin/cacheplugin/conj"
	"github.com/cacheplugin/cacheplugin/internal/store"
)

// slack is by how much more than its result a key may live: what a query may take,
// and an eighth.
func slack(life time.Duration) time.Duration { return time.Second + (life+time.Second)/8 }

func TestWhatAResultDependsOnLivesAsLong(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		ttl, leaseTTL time.Duration
		deps          []store.Dependency
		rows          []conj.Key
	}{
		"short":                 {ttl: 2 * time.Second, leaseTTL: 10 * time.Second, deps: []store.Dependency{on("a", "1")}},
		"short, with a join":    {ttl: 2 * time.Second, leaseTTL: 10 * time.Second, deps: []store.Dependency{on("a", "1"), joinedTo("b")}, rows: ids("b", "7")},
		"long":                  {ttl: time.Hour, leaseTTL: 10 * time.Second, deps: []store.Dependency{on("a", "1")}},
		"long, with a join":     {ttl: time.Hour, leaseTTL: 10 * time.Second, deps: []store.Dependency{on("a", "1"), joinedTo("b")}, rows: ids("b", "7")},
		"as long as its lease":  {ttl: 10 * time.Second, leaseTTL: 10 * time.Second, deps: []store.Dependency{on("a", "1")}},
		"of many conjunctions":  {ttl: 2 * time.Second, leaseTTL: 10 * time.Second, deps: []store.Dependency{on("a", "1"), on("b", "2"), on("c", "3")}},
		"of a table's own lock": {ttl: time.Second, leaseTTL: time.Minute, deps: []store.Dependency{on("a", "1")}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			client := realRedis(t)
			for _, mode := range inOneSlot[:2] {
				ns := newNamespace()
				s := backend{client: client, mode: mode}.open(t, in(ns), func(o *store.Options) { o.LeaseTTL = c.leaseTTL })
				l, err := s.Acquire(t.Context(), entry("q"), c.deps, c.ttl)
				require.NoError(t, err)
				for _, key := range append(keysOf(t, client, ns, "c"), keysOf(t, client, ns, "t")...) {
					left, lease := client.PTTL(t.Context(), key).Val(), client.PTTL(t.Context(), s.EntryName(entry("q"))).Val()
					require.Greater(t, left, lease, "%v: %s, or a slow query's result is never a hit", mode, key)
				}
				var joined [][]conj.Key
				if c.rows != nil {
					joined = [][]conj.Key{c.rows}
				}
				stored, err := s.Save(t.Context(), l.Lease, []byte("x"), c.ttl, joined...)
				require.NoError(t, err)
				require.True(t, stored)

				for _, kind := range []string{"c", "t"} {
					life := max(c.ttl, c.leaseTTL) // of stamps and tables, which others may need
					if kind == "c" && mode.Mode == store.ConjunctionSets {
						life = c.ttl
					}
					keys := keysOf(t, client, ns, kind)
					require.NotEmpty(t, keys)
					for _, key := range keys {
						left, err := client.PTTL(t.Context(), key).Result()
						require.NoError(t, err)
						require.LessOrEqual(t, left, life+slack(life), "%v: %s", mode, key)
						own, err := client.PTTL(t.Context(), s.EntryName(entry("q"))).Result()
						require.NoError(t, err)
						require.Greater(t, left, own, "%v: %s", mode, key)
					}
				}
			}
		})
	}
}

func TestASetLivesAsLongAsItsLongestLivedMember(t *testing.T) {
	client := realRedis(t)
	s := backend{client: client}.open(t)
	set := setOf(s, "1")
	fill(t, s, "long", "x", on("a", "1"))
	before := client.PTTL(t.Context(), set).Val()
	l, err := s.Acquire(t.Context(), entry("short"), []store.Dependency{on("a", "1")}, 2*time.Second)
	require.NoError(t, err)
	stored, err := s.Save(t.Context(), l.Lease, []byte("x"), 2*time.Second)
	require.NoError(t, err)
	require.True(t, stored)
	after := client.PTTL(t.Context(), set).Val()
	require.Greater(t, after, before-10*time.Second)
	require.Greater(t, after, client.PTTL(t.Context(), s.EntryName(entry("long"))).Val())
}

// A crowd of short-lived results is gone soon, with all that was kept for it.
func TestNothingOutlivesShortResults(t *testing.T) {
	t.Parallel()
	client, ns := realRedis(t), newNamespace()
	s := backend{client: client}.open(t, in(ns))
	const short = 200 * time.Millisecond
	for i := range 200 {
		group := strings.Repeat("g", i+1)
		l, err := s.Acquire(t.Context(), entry(group[:min(i+1, 15)]+string(rune('a'+i%26))+string(rune('a'+i/26))), []store.Dependency{on("a", group)}, short)
		require.NoError(t, err)
		if l.State != store.Leased {
			continue
		}
		stored, err := s.Save(t.Context(), l.Lease, []byte("x"), short)
		require.NoError(t, err)
		require.True(t, stored)
	}
	require.NotEmpty(t, keysOf(t, client, ns, "c"))
	require.Eventually(t, func() bool { return len(keysOf(t, client, ns, "c")) == 0 }, 20*time.Second, 50*time.Millisecond)
	require.Len(t, keysOf(t, client, ns, "t"), 1, "which the look-ups' leases may have needed")
}
