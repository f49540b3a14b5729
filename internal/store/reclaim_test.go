package store_test

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/cacheplugin/cacheplugin/internal/store"
	"github.com/cacheplugin/cacheplugin/internal/testenv"
)

// many entries are more than an invalidation unlinks itself; few are where the store
// is told to unlink fewer.
const many, few = 510, 30

// onEachWithSets runs a test on each server in mode ConjunctionSets.
func onEachWithSets(t *testing.T, test func(t *testing.T, b backend)) {
	t.Helper()
	onEachOf(t, []variant{{Mode: store.ConjunctionSets}, {Mode: store.ConjunctionSets, identified: true}}, test)
}

// byHand has a store leave what it takes away to the test.
func byHand(t testing.TB, s *store.Store) *store.Store {
	t.Helper()
	s.Close(t.Context())
	return s
}

// crowd stores entries that depend on group 1 of a, and group 2 besides: more than an
// invalidation by the store unlinks itself. It returns how many.
func (b backend) crowd(t testing.TB, s *store.Store) int {
	t.Helper()
	n := many
	if b.slow() {
		n = few
		store.SetUnlinked(s, strconv.Itoa(few-10))
	}
	crowd(t, s, n)
	return n
}

func crowd(t testing.TB, s *store.Store, n int) {
	t.Helper()
	for i := range n {
		fill(t, s, strconv.Itoa(i), "old", on("a", "1"), on("b", "2"))
	}
}

func setOf(s *store.Store, group string) string {
	return s.ConjunctionName("a", key("a", byGroup, group))
}

func exists(t testing.TB, client redis.UniversalClient, keys ...string) (n int64) {
	t.Helper()
	for _, k := range keys {
		found, err := client.Exists(context.Background(), k).Result()
		require.NoError(t, err)
		n += found
	}
	return n
}

func TestALargeSetIsTakenAwayAndReclaimed(t *testing.T) {
	onEachWithSets(t, func(t *testing.T, b backend) {
		ctx := t.Context()
		ns := newNamespace()
		s := byHand(t, b.open(t, in(ns)))
		deps := []store.Dependency{on("a", "1"), on("b", "2")}
		n := b.crowd(t, s)
		fill(t, s, "other", "kept", on("a", "3"), on("b", "2"))
		late := lease(t, s, "late", deps...)

		reports := invalidate(t, s, changed("a", row{"1", "1"}))
		require.Len(t, reports, 1)
		require.Equal(t, n+1, reports[0].Dropped)
		require.Len(t, reports[0].Garbage, 1)
		garbage := reports[0].Garbage[0]
		ttl, err := b.client.PTTL(ctx, garbage).Result()
		require.NoError(t, err)
		require.Positive(t, ttl)
		require.LessOrEqual(t, ttl, 10*time.Minute)

		require.Empty(t, invalidate(t, s, changed("a", row{"1", "1"}))[0].Garbage, "it is gone")
		for i := range n {
			name := strconv.Itoa(i)
			l, err := s.Peek(ctx, entry(name), deps)
			require.NoError(t, err)
			require.Equal(t, store.Missing, l.State, name)
		}
		save(t, s, late, "old")
		requireMiss(t, s, "late", deps...)

		// These come back before they are reclaimed.
		fill(t, s, "7", "new", deps...)
		pending := lease(t, s, "8", deps...)
		require.NoError(t, s.Reclaim(ctx, garbage))
		require.Zero(t, exists(t, b.client, garbage))
		requireHit(t, s, "7", "new", deps...)
		require.True(t, save(t, s, pending, "new"))
		requireHit(t, s, "8", "new", deps...)
		requireHit(t, s, "other", "kept", on("a", "3"), on("b", "2"))
		require.Len(t, keysOf(t, b.client, ns, "e"), 3, "nothing else is left")
		require.NoError(t, s.Reclaim(ctx, garbage), "once more")
		requireHit(t, s, "7", "new", deps...)
	})
}

func TestASetAtTheLimitIsDroppedAtOnce(t *testing.T) {
	onEachWithSets(t, func(t *testing.T, b backend) {
		ns := newNamespace()
		s := byHand(t, b.open(t, in(ns)))
		store.SetUnlinked(s, "10")
		for i := range 30 {
			fill(t, s, strconv.Itoa(i), "old", on("a", strconv.Itoa(i%3)))
		}
		late := lease(t, s, "late", on("a", "4"))

		// The first set takes all that may be unlinked, the others are larger than
		// what is left of it but for the empty one.
		reports := invalidate(t, s, changed("a", row{"1", "0"}, row{"1", "1"}, row{"1", "2"}, row{"1", "3"}))
		require.Equal(t, 30, reports[0].Dropped)
		require.Len(t, reports[0].Garbage, 2)
		require.Len(t, keysOf(t, b.client, ns, "e"), 21)
		require.NoError(t, s.Reclaim(t.Context(), reports[0].Garbage...))
		require.Equal(t, []string{s.EntryName(entry("late"))}, keysOf(t, b.client, ns, "e"))

		invalidate(t, s, changed("a", row{"1", "4"}))
		require.False(t, save(t, s, late, "old"), "few are dropped at once, leases too")
	})
}

func TestALeaseOfASetThatWasTakenAwayIsNotWaitedFor(t *testing.T) {
	onEachWithSets(t, func(t *testing.T, b backend) {
		s := b.open(t)
		store.SetUnlinked(s, "0")
		late := lease(t, s, "q", on("a", "1"))
		require.Equal(t, store.Busy, acquire(t, s, "q", on("a", "1")).State)
		invalidate(t, s, changed("a", row{"1", "1"}))
		fresh := acquire(t, s, "q", on("a", "1"))
		require.Equal(t, store.Leased, fresh.State)
		require.False(t, save(t, s, late, "old"), "another has taken it over")
		require.True(t, save(t, s, fresh.Lease, "new"))
		requireHit(t, s, "q", "new", on("a", "1"))
	})
}

func TestAJoinedResultWhoseTableWasTakenAwayIsRefused(t *testing.T) {
	onEachWithSets(t, func(t *testing.T, b backend) {
		s := b.open(t)
		store.SetUnlinked(s, "0")
		deps := []store.Dependency{on("a", "1"), joinedTo("b")}
		late := lease(t, s, "q", deps...)
		require.True(t, saveJoined(t, s, lease(t, s, "stored", deps...), "old", ids("b", "7")))
		invalidate(t, s, changed("b", row{"7", "1"}))
		require.False(t, saveJoined(t, s, late, "old", ids("b", "7")))
		requireMiss(t, s, "q", deps...)
		requireMiss(t, s, "stored", deps...)
	})
}

func TestGarbageOfAnotherKindIsNoHarm(t *testing.T) {
	onEachWithSets(t, func(t *testing.T, b backend) {
		ctx := t.Context()
		s := byHand(t, b.open(t))
		store.SetUnlinked(s, "0")
		fill(t, s, "q", "old", on("a", "1"))
		garbage := invalidate(t, s, changed("a", row{"1", "1"}))[0].Garbage[0]
		require.NoError(t, b.client.Set(ctx, setOf(s, "1"), "no set", time.Minute).Err())
		require.NoError(t, s.Reclaim(ctx, garbage))
		require.Zero(t, exists(t, b.client, garbage, s.EntryName(entry("q"))))

		require.NoError(t, b.client.Set(ctx, garbage, "no set", time.Minute).Err())
		require.NoError(t, s.Reclaim(ctx, garbage))
		require.Zero(t, exists(t, b.client, garbage))

		fill(t, s, "q", "new", on("a", "1"))
		for _, foreign := range []string{"", "x:", setOf(s, "1"), s.EntryName(entry("q")), garbage[:10]} {
			require.NoError(t, s.Reclaim(ctx, foreign))
		}
		requireHit(t, s, "q", "new", on("a", "1"))
	})
}

func TestAGuardReclaimsInTheBackground(t *testing.T) {
	onEachWithSets(t, func(t *testing.T, b backend) {
		for name, drop := range map[string]func(g *store.Guard) error{
			"invalidation": func(g *store.Guard) error {
				_, err := g.Invalidate(t.Context(), []store.Change{changed("a", row{"1", "1"})})
				return err
			},
			"fence": func(g *store.Guard) error {
				_, err := g.Fence(t.Context(), "w", []store.Change{changed("a", row{"1", "1"})}, hour)
				return err
			},
		} {
			t.Run(name, func(t *testing.T) {
				ns := newNamespace()
				s := b.open(t, in(ns))
				b.crowd(t, s)
				g := store.NewGuard(s, store.GuardOptions{Logger: quiet})
				require.NoError(t, drop(g))
				require.NoError(t, g.Close(t.Context()), "which waits for it")
				require.Empty(t, keysOf(t, b.client, ns, "e"))
				require.Empty(t, keysOf(t, b.client, ns, "x"))

				commit(t, s, "w", store.Change{Table: "a"})
				b.crowd(t, s)
				_, err := g.Invalidate(t.Context(), []store.Change{changed("a", row{"1", "1"})}, "w")
				require.NoError(t, err, "it still drops, and reclaims no more")
				require.NoError(t, g.Close(t.Context()))
				require.Len(t, keysOf(t, b.client, ns, "x"), 1)
				requireMiss(t, s, "7", on("a", "1"), on("b", "2"))
			})
		}
	})
}

// another is a store of the same namespace that reclaims nothing.
func (x *outage) another(t *testing.T) *store.Store {
	t.Helper()
	return byHand(t, backend{client: x.client}.open(t, in(x.namespace)))
}

// Who goes past the guard, as the repair of an outbox does, leaves nothing either.
func TestWhatTheStoreTakesAwayIsReclaimed(t *testing.T) {
	t.Parallel()
	const results = 1500
	for name, drop := range map[string]func(ctx context.Context, s *store.Store) error{
		"invalidation": func(ctx context.Context, s *store.Store) error {
			_, err := s.Invalidate(ctx, []store.Change{changed("a", row{"1", "1"})})
			return err
		},
		"fence": func(ctx context.Context, s *store.Store) error {
			_, err := s.Fence(ctx, "w", []store.Change{changed("a", row{"1", "1"})}, hour)
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			client, ns := realRedis(t), newNamespace()
			s := backend{client: client}.open(t, in(ns))
			for i := range results {
				fill(t, s, strconv.Itoa(i), "old", on("a", "1"))
			}
			fill(t, s, "other", "kept", on("a", "2"))
			require.NoError(t, drop(t.Context(), s))
			require.Eventually(t, func() bool { return len(keysOf(t, client, ns, "e")) == 1 }, 20*time.Second, 10*time.Millisecond)
			require.Eventually(t, func() bool { return len(keysOf(t, client, ns, "x")) == 0 }, 20*time.Second, 10*time.Millisecond)
			requireHit(t, s, "other", "kept", on("a", "2"))
			s.Close(t.Context())
		})
	}
}

func TestAGuardReclaimsAfterAnOutage(t *testing.T) {
	x := newOutage(t, variant{Mode: store.ConjunctionSets}, store.GuardOptions{RetryFor: -1})
	crowd(t, x.store, many)
	reports := invalidate(t, x.another(t), changed("a", row{"1", "1"}))
	x.srv.Pause(t)
	store.AddGarbage(x.store, reports)
	require.Eventually(t, func() bool { return !x.store.Available() }, 20*time.Second, time.Millisecond, "a try should fail")
	x.srv.Resume(t)
	require.Eventually(t, func() bool {
		n, err := x.client.Exists(context.Background(), reports[0].Garbage[0], x.store.EntryName(entry("7"))).Result()
		return err == nil && n == 0
	}, 20*time.Second, 10*time.Millisecond)
}

func TestACloseDoesNotWaitForAServerThatIsGone(t *testing.T) {
	x := newOutage(t, variant{Mode: store.ConjunctionSets}, store.GuardOptions{RetryFor: -1})
	crowd(t, x.store, many)
	reports := invalidate(t, x.another(t), changed("a", row{"1", "1"}))
	x.srv.Stop(t)
	store.AddGarbage(x.store, reports)
	require.NoError(t, x.guard.Close(context.Background()))

	cancelled, cancel := context.WithCancel(context.Background())
	cancel()
	y := newOutage(t, variant{Mode: store.ConjunctionSets}, store.GuardOptions{RetryFor: -1})
	store.AddGarbage(y.store, []store.Report{{Garbage: []string{strings.Replace(setOf(y.store, "1"), "}c:", "}x:", 1)}}})
	require.NoError(t, y.guard.Close(cancelled))
}

// Names whose entries have expired must not fill the sets: here each entry is gone
// after that many others have come, as if it had expired.
//
// RPR-01.
func TestNamesOfExpiredEntriesLeaveTheSets(t *testing.T) {
	onEachWithSets(t, func(t *testing.T, b backend) {
		live := testenv.Times(200, 100)
		if b.embedded {
			live = 50
		}
		if b.cluster() {
			t.Skip("the same scripts, and slower")
		}
		for what, deps := range map[string][]store.Dependency{
			"known":  {on("a", "1")},
			"joined": {on("a", "2"), joinedTo("b")},
		} {
			t.Run(what, func(t *testing.T) {
				s := b.open(t)
				set := setOf(s, "1")
				if what == "joined" {
					set = s.ConjunctionName("b", key("b", byID, "7"))
				}
				name := func(i int) string { return fmt.Sprintf("e%d", i) }
				for i := range 5 * live {
					if l := lease(t, s, name(i), deps...); what == "joined" {
						require.True(t, saveJoined(t, s, l, name(i), ids("b", "7")))
					} else {
						require.True(t, save(t, s, l, name(i)))
					}
					if i >= live {
						require.NoError(t, s.Forget(t.Context(), entry(name(i-live))))
					}
				}
				size, err := b.client.HLen(t.Context(), set).Result()
				require.NoError(t, err)
				require.Less(t, size, int64(2*live), "a third of them should be dead")
				for i := 4 * live; i < 5*live; i++ {
					requireHit(t, s, name(i), name(i), deps...)
				}
			})
		}
	})
}

// A day's worth of entries comes and goes, of which few live at a time.
func TestMemoryStaysFlatWhileEntriesComeAndGo(t *testing.T) {
	t.Parallel()
	const live = 200
	lifetimes := testenv.Times(50, 10)
	client := newRealServer(t).Client(t)
	s := backend{client: client}.open(t)
	used := func() int {
		n, err := strconv.Atoi(redisField(client.Info(t.Context(), "memory").Val(), "used_memory"))
		require.NoError(t, err)
		return n
	}
	early := 0
	for i := range lifetimes * live {
		fill(t, s, fmt.Sprintf("e%d", i), "result", on("a", "1"), on("b", strconv.Itoa(i%7)))
		if i >= live {
			require.NoError(t, s.Forget(t.Context(), entry(fmt.Sprintf("e%d", i-live))))
		}
		if i == lifetimes*live/10 {
			early = used()
		}
	}
	require.Less(t, used(), early+early/10)
}

// fillSet makes a part of a set of entries at once, as look-ups would one by one.
const fillSet = `
for i = ARGV[1], ARGV[2] do
  local name = string.format('%022d', i)
  redis.call('SET', KEYS[2] .. name, 'V', 'EX', 3600)
  redis.call('HSET', KEYS[1], name, '')
end
return redis.call('EXPIRE', KEYS[1], 3600)`

func TestASetOfManyLiveEntriesLosesNone(t *testing.T) {
	t.Parallel()
	const more = 1000
	entries := testenv.Times(100_000, 20_000)
	client := realRedis(t)
	s := byHand(t, backend{client: client}.open(t))
	set, first := setOf(s, "1"), s.EntryName(entry(""))
	for i := 1; i <= entries; i += 1000 { // a busy machine takes seconds for all
		require.NoError(t, client.Eval(t.Context(), fillSet, []string{set, first[:len(first)-22]}, i, min(i+999, entries)).Err())
	}
	for i := range more {
		fill(t, s, fmt.Sprintf("e%d", i), "", on("a", "1"))
	}
	require.Equal(t, int64(entries+more), client.HLen(t.Context(), set).Val())

	report := invalidate(t, s, changed("a", row{"1", "1"}))[0]
	require.Equal(t, entries+more, report.Dropped)
	require.NoError(t, s.Reclaim(t.Context(), report.Garbage...))
	require.Zero(t, exists(t, client, first[:len(first)-22]+fmt.Sprintf("%022d", 1), s.EntryName(entry("e1"))))
}

func TestAFullServerLetsLargeSetsBeTakenAwayAndReclaimed(t *testing.T) {
	t.Parallel()
	client := newRealServer(t).Client(t)
	s := byHand(t, backend{client: client}.open(t))
	crowd(t, s, many)
	limit(t, client, "noeviction")
	require.NoError(t, client.ConfigSet(t.Context(), "maxmemory", "1").Err())
	report := invalidate(t, s, changed("a", row{"1", "1"}))[0]
	require.Len(t, report.Garbage, 1)
	l, err := s.Peek(t.Context(), entry("7"), []store.Dependency{on("a", "1"), on("b", "2")})
	require.NoError(t, err)
	require.Equal(t, store.Missing, l.State)
	require.NoError(t, s.Reclaim(t.Context(), report.Garbage...))
	require.Zero(t, exists(t, client, report.Garbage[0], s.EntryName(entry("7"))))
}
