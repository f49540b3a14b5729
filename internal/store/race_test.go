package store_test

import (
	"context"
	"net"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/cacheplugin/cacheplugin/conj"
	"github.com/cacheplugin/cacheplugin/internal/store"
	"github.com/cacheplugin/cacheplugin/internal/testenv"
)

// The interleavings here are those that model checking found to break caches
// of this kind. R are readers, W writers.

func newRealServer(t testing.TB, args ...string) *testenv.RedisServer {
	t.Helper()
	srv := testenv.StartRedis(t, args...)
	if !srv.Real {
		t.Skip("needs redis-server")
	}
	return srv
}

func splitAddr(t testing.TB, addr string) (host, port string) {
	t.Helper()
	host, port, err := net.SplitHostPort(addr)
	require.NoError(t, err)
	return host, port
}

// R misses and reads the database; W commits and invalidates; R stores.
func TestALateStoreIsRefused(t *testing.T) {
	onEach(t, func(t *testing.T, b backend) {
		s := b.open(t)
		for name, change := range map[string]store.Change{
			"by keys": changed("a", row{"1", "1"}), "whole": {Table: "a"},
		} {
			late := lease(t, s, name, on("a", "1"))
			invalidate(t, s, change)
			save(t, s, late, "old")
			require.Equal(t, store.Leased, acquire(t, s, name, on("a", "1")).State, name)
		}
	})
}

// R misses with a scheme that W has never heard of; W commits and invalidates;
// R stores.
func TestALateStoreOfASchemeNewToTheWriterIsRefused(t *testing.T) {
	onEach(t, func(t *testing.T, b backend) {
		ns := newNamespace()
		reader, writer := b.open(t, in(ns)), b.open(t, in(ns))
		fill(t, reader, "other", "", store.Dependency{Table: "a", Schemes: []conj.Scheme{byID}, Keys: []conj.Key{key("a", byID, "1")}})
		invalidate(t, writer, changed("a", row{"1", "1"})) // the writer knows byID now

		late := lease(t, reader, "q", on("a", "1"))
		invalidate(t, writer, changed("a", row{"1", "1"}))
		save(t, reader, late, "old")
		require.Equal(t, store.Leased, acquire(t, reader, "q", on("a", "1")).State)
	})
}

// The network delivers R's look-up a second time after W has invalidated what
// the first one had registered.
func TestALateDuplicateOfALookUpRevivesNothing(t *testing.T) {
	invalidations := map[string]func(*testing.T, *store.Store){
		"by keys": func(t *testing.T, s *store.Store) { invalidate(t, s, changed("a", row{"1", "1"})) },
		"table":   func(t *testing.T, s *store.Store) { invalidate(t, s, store.Change{Table: "a"}) },
		"all":     func(t *testing.T, s *store.Store) { require.NoError(t, s.InvalidateAll(t.Context())) },
	}
	onEach(t, func(t *testing.T, b backend) {
		for name, drop := range invalidations {
			t.Run(name+"/the lease", func(t *testing.T) {
				s := b.open(t)
				repeat := fixToken(s)
				late := lease(t, s, "q", on("a", "1"))
				drop(t, s)
				again := acquire(t, s, "q", on("a", "1"))
				require.Equal(t, store.Leased, again.State)
				require.NotEqual(t, late.ID, again.Lease.ID)
				require.False(t, save(t, s, late, "old"))
				repeat()
				require.NotEqual(t, store.Hit, acquire(t, s, "q", on("a", "1")).State)
			})
			t.Run(name+"/another entry", func(t *testing.T) {
				// What the first delivery has made, generation, stamp and
				// epoch, is part of the other entry's witness.
				s := b.open(t)
				repeat := fixToken(s)
				mine := lease(t, s, "q", on("a", "1"))
				repeat()
				fill(t, s, "other", "old", on("a", "1"))
				requireHit(t, s, "other", "old", on("a", "1"))
				require.NoError(t, s.Release(t.Context(), mine))
				drop(t, s)
				fixToken(s, mine.ID[:22])
				lease(t, s, "q", on("a", "1"))
				repeat()
				require.NotEqual(t, store.Hit, acquire(t, s, "other", on("a", "1")).State)
			})
		}
	})
}

func TestLateDuplicatesOfOtherCallsDoNoHarm(t *testing.T) {
	onEach(t, func(t *testing.T, b backend) {
		s := b.open(t)
		first := lease(t, s, "q", on("a", "1"))
		require.True(t, save(t, s, first, "1"))
		invalidate(t, s, changed("a", row{"1", "1"}))
		require.False(t, save(t, s, first, "1"))
		second := lease(t, s, "q", on("a", "1"))
		require.False(t, save(t, s, first, "1"))
		require.NoError(t, s.Release(t.Context(), first))
		require.True(t, save(t, s, second, "2"))
		require.False(t, save(t, s, first, "1"))
		requireHit(t, s, "q", "2", on("a", "1"))
	})
}

// Two leases on one conjunction, the set is dropped in between, the first
// result is refused and the second reader's entry lives on (run k1).
func TestAConjunctionThatIsFilledAgainDropsBothGenerations(t *testing.T) {
	onEach(t, func(t *testing.T, b backend) {
		s := b.open(t)
		r1 := lease(t, s, "q1", on("a", "1"))
		invalidate(t, s, changed("a", row{"1", "1"}))
		r2 := lease(t, s, "q2", on("a", "1"))
		invalidate(t, s, changed("a", row{"1", "1"}))
		save(t, s, r1, "old")
		save(t, s, r2, "old")
		require.Equal(t, store.Leased, acquire(t, s, "q1", on("a", "1")).State)
		require.Equal(t, store.Leased, acquire(t, s, "q2", on("a", "1")).State)
	})
}

// Redis evicts any one key, before or after the result is stored, and W's
// invalidation finds nothing there.
func TestTheLossOfAnyKeyOnlyMisses(t *testing.T) {
	onEach(t, func(t *testing.T, b backend) {
		deps := []store.Dependency{on("a", "1"), on("b", "2")}
		for _, stored := range []bool{false, true} {
			for i := range 7 {
				ns := newNamespace()
				s := b.open(t, in(ns))
				late := lease(t, s, "q", deps...)
				keep := func() { save(t, s, late, "old") }
				if stored {
					keep()
					keep = func() {}
				}
				keys := keysOf(t, b.client, ns, "")
				if i >= len(keys) {
					require.GreaterOrEqual(t, len(keys), 6)
					continue
				}
				require.NoError(t, b.client.Del(t.Context(), keys[i]).Err())
				// Others may register again what has been lost.
				lease(t, s, "other", deps...)
				invalidate(t, s, changed("a", row{"1", "1"}))
				keep()
				require.Equal(t, store.Leased, acquire(t, s, "q", deps...).State, "lost %s, stored %v", keys[i], stored)
			}
		}
	})
}

// W's invalidation comes first and Redis evicts a key after it.
func TestTheLossOfAnyKeyAfterAnInvalidationOnlyMisses(t *testing.T) {
	onEach(t, func(t *testing.T, b backend) {
		for i := range 4 {
			ns := newNamespace()
			s := b.open(t, in(ns))
			late := lease(t, s, "q", on("a", "1"))
			fill(t, s, "other", "", on("a", "1"))
			invalidate(t, s, changed("a", row{"1", "1"}))
			lease(t, s, "third", on("a", "1"))
			keys := keysOf(t, b.client, ns, "")
			if i < len(keys) {
				require.NoError(t, b.client.Del(t.Context(), keys[i]).Err())
			}
			save(t, s, late, "old")
			require.NotEqual(t, store.Hit, acquire(t, s, "q", on("a", "1")).State)
			require.NotEqual(t, store.Hit, acquire(t, s, "other", on("a", "1")).State)
		}
	})
}

func TestGarbageUnderAnyKeyOnlyMisses(t *testing.T) {
	put := map[string]func(context.Context, redis.UniversalClient, string) error{
		"text": func(ctx context.Context, c redis.UniversalClient, k string) error {
			return c.Set(ctx, k, "garbage", 0).Err()
		},
		"empty": func(ctx context.Context, c redis.UniversalClient, k string) error { return c.Set(ctx, k, "", 0).Err() },
		"value": func(ctx context.Context, c redis.UniversalClient, k string) error {
			return c.Set(ctx, k, "V"+strings.Repeat("v", store.WitnessAt-1)+"3:a|bpayload", 0).Err()
		},
		"lease": func(ctx context.Context, c redis.UniversalClient, k string) error {
			return c.Set(ctx, k, "Lnobar", 0).Err()
		},
		"list": func(ctx context.Context, c redis.UniversalClient, k string) error { return c.RPush(ctx, k, "x").Err() },
		"set":  func(ctx context.Context, c redis.UniversalClient, k string) error { return c.SAdd(ctx, k, "x").Err() },
		"zset": func(ctx context.Context, c redis.UniversalClient, k string) error {
			return c.ZAdd(ctx, k, redis.Z{Member: "x"}).Err()
		},
		"hash": func(ctx context.Context, c redis.UniversalClient, k string) error {
			return c.HSet(ctx, k, "x", "y", "f:w", "soon").Err()
		},
		"half": func(ctx context.Context, c redis.UniversalClient, k string) error {
			return c.HSet(ctx, k, "g", "y").Err()
		},
	}
	onEach(t, func(t *testing.T, b backend) {
		ctx := t.Context()
		for name, put := range put {
			for i := range 4 {
				ns := newNamespace()
				s := b.open(t, in(ns))
				fill(t, s, "q", "old", on("a", "1"))
				late := lease(t, s, "late", on("a", "1"))
				keys := []string{s.EntryName(entry("q")), s.TableName("a"), s.ConjunctionName("a", key("a", byGroup, "1")), store.EpochName(s, entry("q"))}
				spoil := func() {
					require.NoError(t, b.client.Del(ctx, keys[i]).Err())
					require.NoError(t, put(ctx, b.client, keys[i]))
				}

				spoil()
				l, err := s.Peek(ctx, entry("q"), []store.Dependency{on("a", "1")})
				require.NoError(t, err)
				if l.State == store.Hit {
					require.Equal(t, "old", string(l.Payload), "%s under %s", name, keys[i])
				}
				invalidate(t, s, changed("a", row{"1", "1"}))
				save(t, s, late, "old")
				require.Equal(t, store.Leased, acquire(t, s, "q", on("a", "1")).State, "%s under %s", name, keys[i])
				require.NotEqual(t, store.Hit, acquire(t, s, "late", on("a", "1")).State, "%s under %s", name, keys[i])

				// Everything works again afterwards.
				spoil()
				if l := acquire(t, s, "next", on("a", "1")); l.State == store.Leased {
					require.True(t, save(t, s, l.Lease, "new"), "%s under %s", name, keys[i])
				}
				requireHit(t, s, "next", "new", on("a", "1"))
				invalidate(t, s, changed("a", row{"1", "1"}))
				require.Equal(t, store.Leased, acquire(t, s, "next", on("a", "1")).State, "%s under %s", name, keys[i])

				spoil()
				late = lease(t, s, "whole", on("a", "1"))
				invalidate(t, s, store.Change{Table: "a"})
				save(t, s, late, "old")
				require.Equal(t, store.Leased, acquire(t, s, "whole", on("a", "1")).State, "%s under %s", name, keys[i])
			}
		}
	})
}

func TestFlushedScriptsAreSentAgain(t *testing.T) {
	onEach(t, func(t *testing.T, b backend) {
		s := b.open(t)
		flush := func() { require.NoError(t, b.client.ScriptFlush(t.Context()).Err()) }
		flush()
		mine := lease(t, s, "q", on("a", "1"))
		flush()
		require.True(t, save(t, s, mine, "result"))
		flush()
		requireHit(t, s, "q", "result", on("a", "1"))
		flush()
		require.Len(t, invalidate(t, s, changed("a", row{"1", "1"}), changed("b", row{"1", "1"})), 2)
		flush()
		next := lease(t, s, "q", on("a", "1"))
		flush()
		require.NoError(t, s.Release(t.Context(), next))
	})
}

func TestFlushAllOnlyMisses(t *testing.T) {
	t.Parallel()
	for _, mode := range modes {
		client := testenv.StartRedis(t).Client(t)
		s := backend{client: client, mode: mode}.open(t)
		fill(t, s, "q", "old", on("a", "1"))
		late := lease(t, s, "late", on("a", "1"))
		require.NoError(t, client.FlushAll(t.Context()).Err())
		invalidate(t, s, changed("a", row{"1", "1"}))
		save(t, s, late, "old")
		require.Equal(t, store.Leased, acquire(t, s, "q", on("a", "1")).State)
		require.Equal(t, store.Leased, acquire(t, s, "late", on("a", "1")).State)
	}
}

// A replica that had not heard of an invalidation is promoted.
func TestAPromotionOfALaggingReplicaOnlyMisses(t *testing.T) {
	t.Parallel()
	for _, mode := range modes {
		t.Run(mode.String(), func(t *testing.T) {
			t.Parallel()
			master, replica := newRealServer(t), newRealServer(t)
			ctx := t.Context()
			ns := newNamespace()
			before := backend{client: master.Client(t), mode: mode}.open(t, in(ns))
			client := replica.Client(t)
			replica.ReplicaOf(t, master)
			fill(t, before, "q", "old", on("a", "1"))
			replica.AwaitMaster(t, master)
			replica.Detach(t)
			invalidate(t, before, changed("a", row{"1", "1"}))
			master.Kill(t)
			replica.Promote(t)
			require.NotZero(t, client.Exists(ctx, before.EntryName(entry("q"))).Val(), "the replica still has it")

			after := backend{client: client, mode: mode}.open(t, in(ns))
			l, err := after.Peek(ctx, entry("q"), []store.Dependency{on("a", "1")})
			require.NoError(t, err)
			require.Equal(t, store.Missing, l.State)
			require.Equal(t, store.Leased, acquire(t, after, "q", on("a", "1")).State)
		})
	}
}

func TestModesThatAreMixedDropEachOthersEntries(t *testing.T) {
	t.Parallel()
	for _, mode := range inOneSlot {
		b := backend{client: testenv.Redis(t), mode: mode}
		ns := newNamespace()
		s := b.open(t, in(ns))
		b.mode.Mode = store.ConjunctionSets + store.InsideOut - mode.Mode
		other := b.open(t, in(ns))
		fill(t, s, "q", "old", on("a", "1"))
		late := lease(t, s, "late", on("a", "1"))
		invalidate(t, other, changed("a", row{"1", "1"}))
		save(t, s, late, "old")
		require.NotEqual(t, store.Hit, acquire(t, s, "q", on("a", "1")).State)
		require.NotEqual(t, store.Hit, acquire(t, s, "late", on("a", "1")).State)
		require.NotEqual(t, store.Hit, acquire(t, other, "late", on("a", "1")).State)
	}
}
