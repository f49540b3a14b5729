package store_test

import (
	"context"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/cacheplugin/cacheplugin/internal/store"
	"github.com/cacheplugin/cacheplugin/internal/testenv"
)

// press fills a server with keys that expire, some much read and some not, until
// stop is closed.
func press(client redis.UniversalClient, stop <-chan struct{}) {
	ctx := context.Background()
	junk := strings.Repeat("x", 2000)
	for n := 0; ; n += 50 {
		select {
		case <-stop:
			return
		default:
		}
		pipe := client.Pipeline()
		for i := range 50 {
			pipe.Set(ctx, "junk"+strconv.Itoa((n+i)%5000), junk, time.Minute)
			pipe.Get(ctx, "junk"+strconv.Itoa(i))
		}
		_, _ = pipe.Exec(ctx) // a full server refuses some
	}
}

// limit gives a server little more memory than it needs.
func limit(t *testing.T, client redis.UniversalClient, policy string) {
	t.Helper()
	used, err := strconv.Atoi(redisField(client.Info(t.Context(), "memory").Val(), "used_memory"))
	require.NoError(t, err)
	require.NoError(t, client.ConfigSet(t.Context(), "maxmemory-policy", policy).Err())
	require.NoError(t, client.ConfigSet(t.Context(), "maxmemory", strconv.Itoa(used+2_000_000)).Err())
}

func TestNothingOldIsServedWhileRedisEvicts(t *testing.T) {
	testenv.NeedLong(t)
	t.Parallel()
	srv := newRealServer(t)
	client := srv.Client(t)
	for _, policy := range []string{"allkeys-lru", "allkeys-lfu", "allkeys-random", "volatile-lru", "volatile-lfu", "volatile-random", "volatile-ttl"} {
		t.Run(policy, func(t *testing.T) {
			require.NoError(t, client.ConfigSet(t.Context(), "maxmemory", "0").Err())
			require.NoError(t, client.FlushAll(t.Context()).Err())
			limit(t, client, policy)
			evicted := func() int {
				n, err := strconv.Atoi(redisField(client.Info(t.Context(), "stats").Val(), "evicted_keys"))
				require.NoError(t, err)
				return n
			}
			before := evicted()
			var loads []*load
			for _, mode := range modes {
				loads = append(loads, startLoad(t, backend{client: client, mode: mode}, newNamespace()))
			}
			stop := make(chan struct{})
			var pressing sync.WaitGroup
			pressing.Go(func() { press(client, stop) })
			require.Eventually(t, func() bool { return evicted() > before+2000 }, time.Minute, 10*time.Millisecond)
			for _, l := range loads {
				l.hit(t)
			}
			close(stop)
			pressing.Wait()
			for _, l := range loads {
				l.end(t)
				require.Zero(t, l.refused.Load(), "invalidations need no memory")
			}
		})
	}
}

// A server that is full and must not evict takes nothing new, no fence either,
// and every invalidation.
func TestAFullServerIsToldOfEveryWrite(t *testing.T) {
	t.Parallel()
	for _, mode := range modes {
		t.Run(mode.String(), func(t *testing.T) {
			t.Parallel()
			srv := newRealServer(t)
			client := srv.Client(t)
			ctx := t.Context()
			s := backend{client: client, mode: mode}.open(t)
			for i := range 200 {
				fill(t, s, strconv.Itoa(i), "old", on("a", strconv.Itoa(i%20)))
			}
			late := lease(t, s, "late", on("a", "1"))
			limit(t, client, "noeviction")
			require.NoError(t, client.ConfigSet(ctx, "maxmemory", "1").Err())

			_, err := s.Acquire(ctx, entry("new"), []store.Dependency{on("b", "1")}, ttl)
			require.True(t, redis.HasErrorPrefix(err, "OOM"), "%v", err)
			_, err = s.Fence(ctx, "w", []store.Change{changed("a", row{"1", "2"})}, time.Minute)
			require.ErrorContains(t, err, "OOM")
			require.ErrorContains(t, s.FenceAll(ctx, "w", time.Minute), "OOM")
			require.True(t, s.Available(), "it answers")
			for i := range 10 {
				requireHit(t, s, strconv.Itoa(i), "old", on("a", strconv.Itoa(i)))
				invalidate(t, s, changed("a", row{"1", strconv.Itoa(i)}))
			}
			_, _ = s.Save(ctx, late, []byte("old"), ttl)
			check := func(stale func(i int) bool) {
				for i := range 200 {
					l, err := s.Peek(ctx, entry(strconv.Itoa(i)), []store.Dependency{on("a", strconv.Itoa(i%20))})
					require.NoError(t, err)
					require.Equal(t, !stale(i), l.State == store.Hit, "%d", i)
				}
			}
			check(func(i int) bool { return i%20 < 10 })
			l, err := s.Peek(ctx, entry("late"), []store.Dependency{on("a", "1")})
			require.NoError(t, err)
			require.Equal(t, store.Missing, l.State)
			invalidate(t, s, store.Change{Table: "a"})
			check(func(int) bool { return true })
			require.NoError(t, s.InvalidateAll(ctx))

			require.NoError(t, client.ConfigSet(ctx, "maxmemory", "0").Err())
			fill(t, s, "0", "new", on("a", "0"))
			requireHit(t, s, "0", "new", on("a", "0"))
			_, err = s.Fence(ctx, "w", []store.Change{changed("a", row{"1", "2"})}, time.Minute)
			require.NoError(t, err)
		})
	}
}
