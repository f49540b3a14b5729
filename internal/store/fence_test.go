package store_test

import (
	"context"
	"strconv"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/cacheplugin/cacheplugin/conj"
	"github.com/cacheplugin/cacheplugin/internal/store"
)

const hour = time.Hour

func fence(t testing.TB, s *store.Store, id string, changes ...store.Change) {
	t.Helper()
	_, err := s.Fence(context.Background(), id, changes, hour)
	require.NoError(t, err)
}

// commit is what follows a COMMIT: the invalidation, with the fence's drop.
func commit(t testing.TB, s *store.Store, id string, changes ...store.Change) {
	t.Helper()
	_, err := s.Invalidate(context.Background(), changes, id)
	require.NoError(t, err)
}

func state(t testing.TB, s *store.Store, name string, deps ...store.Dependency) store.State {
	t.Helper()
	return acquire(t, s, name, deps...).State
}

func TestAFencedTableTakesNothingNewAndKeepsOtherRows(t *testing.T) {
	onEach(t, func(t *testing.T, b backend) {
		s := b.open(t)
		fill(t, s, "changed", "old", on("a", "1"))
		fill(t, s, "other", "kept", on("a", "2"))
		late := lease(t, s, "late", on("a", "1"))
		unrelated := lease(t, s, "unrelated", on("a", "2"))

		fence(t, s, "w", changed("a", row{"1", "1"}))
		require.Equal(t, store.Fenced, state(t, s, "changed", on("a", "1")), "dropped in advance")
		require.Equal(t, store.Fenced, state(t, s, "new", on("a", "3")))
		require.Equal(t, store.Fenced, state(t, s, "joined", on("b", "1"), on("a", "3")))
		require.Equal(t, store.Leased, state(t, s, "b", on("b", "1")), "another table")
		requireHit(t, s, "other", "kept", on("a", "2"))
		save(t, s, late, "old")
		require.Equal(t, store.Fenced, state(t, s, "late", on("a", "1")), "read before the fence")
		require.True(t, save(t, s, unrelated, "kept"), "other rows' leases stay")

		commit(t, s, "w", changed("a", row{"1", "1"}))
		require.Equal(t, store.Leased, state(t, s, "changed", on("a", "1")))
		requireHit(t, s, "other", "kept", on("a", "2"))
		requireHit(t, s, "unrelated", "kept", on("a", "2"))
	})
}

func TestAFenceOnATableThatNobodyHasReadYet(t *testing.T) {
	onEach(t, func(t *testing.T, b backend) {
		ns := newNamespace()
		s := b.open(t, in(ns))
		fence(t, s, "w", changed("a", row{"1", "1"}))
		require.Equal(t, store.Fenced, state(t, s, "q", on("a", "1")))
		require.Empty(t, keysOf(t, b.client, ns, "e"))
		require.Empty(t, keysOf(t, b.client, ns, "c"))
		commit(t, s, "w", changed("a", row{"1", "1"}))
		require.Empty(t, keysOf(t, b.client, ns, "t"), "nothing is left of it")
		fill(t, s, "q", "new", on("a", "1"))
		requireHit(t, s, "q", "new", on("a", "1"))
	})
}

func TestFencesOfSeveralWritersStandSideBySide(t *testing.T) {
	onEach(t, func(t *testing.T, b backend) {
		s := b.open(t)
		one, two := changed("a", row{"1", "1"}), changed("a", row{"2", "2"})
		fence(t, s, "w1", one)
		fence(t, s, "w2", two)
		commit(t, s, "w1", one)
		require.Equal(t, store.Fenced, state(t, s, "q", on("a", "1")))
		invalidate(t, s, store.Change{Table: "a"})
		require.Equal(t, store.Fenced, state(t, s, "q", on("a", "1")), "a table's invalidation drops nobody's fence")
		commit(t, s, "w3", store.Change{Table: "a"})
		require.Equal(t, store.Fenced, state(t, s, "q", on("a", "1")), "nor does another writer's")
		commit(t, s, "w2", store.Change{Table: "a"})
		require.Equal(t, store.Leased, state(t, s, "q", on("a", "1")))
	})
}

func TestRepeatedDeliveriesAroundAFence(t *testing.T) {
	onEach(t, func(t *testing.T, b backend) {
		s := b.open(t)
		one := changed("a", row{"1", "1"})
		fence(t, s, "w", one)
		fence(t, s, "w", one)
		commit(t, s, "w", one)
		require.Equal(t, store.Leased, state(t, s, "q", on("a", "1")), "set twice, it falls at once")
		commit(t, s, "w", one)
		fence(t, s, "w", one) // delivered late
		require.Equal(t, store.Fenced, state(t, s, "q", on("a", "1")))
		commit(t, s, "w", one)
		require.Equal(t, store.Leased, state(t, s, "q", on("a", "1")))
	})
}

func TestAFenceIsSetAlsoWhenTheWriterMustLearnTheSchemes(t *testing.T) {
	onEach(t, func(t *testing.T, b backend) {
		ns := newNamespace()
		reader, writer := b.open(t, in(ns)), b.open(t, in(ns))
		fill(t, reader, "q", "old", on("a", "1"))
		fence(t, writer, "w", changed("a", row{"1", "1"}))
		require.Equal(t, store.Fenced, state(t, reader, "q", on("a", "1")))
		require.Equal(t, store.Fenced, state(t, reader, "by id", dependency("a", byID, "1")), "no scheme is added under it")
		commit(t, writer, "w", changed("a", row{"1", "1"}))
		require.Equal(t, store.Leased, state(t, reader, "by id", dependency("a", byID, "1")))
		commit(t, writer, "w2", changed("a", row{"1", "1"})) // another list, and the fence is dropped all the same
		require.Equal(t, store.Leased, state(t, reader, "q", on("a", "1")))
	})
}

func TestAFenceOfManyRowsIsSetFirstAndDroppedLast(t *testing.T) {
	onEach(t, func(t *testing.T, b backend) {
		s := b.open(t)
		fill(t, s, "q", "old", on("a", "1999"))
		var rows []row
		for i := range 2000 {
			rows = append(rows, row{strconv.Itoa(i), strconv.Itoa(i)})
		}
		fence(t, s, "w", changed("a", rows...))
		require.Equal(t, store.Fenced, state(t, s, "q", on("a", "1999")))
		commit(t, s, "w", changed("a", rows...))
		require.Equal(t, store.Leased, state(t, s, "q", on("a", "1999")))
	})
}

func TestAFenceAroundEverything(t *testing.T) {
	onEach(t, func(t *testing.T, b backend) {
		ctx := t.Context()
		s := b.open(t)
		fill(t, s, "q", "old", on("a", "1"))
		late := lease(t, s, "late", on("b", "1"))
		require.NoError(t, s.FenceAll(ctx, "w", hour))
		require.NoError(t, s.FenceAll(ctx, "other", hour))
		for range 2 {
			require.Equal(t, store.Fenced, state(t, s, "q", on("a", "1")))
			require.Equal(t, store.Fenced, state(t, s, "c", on("c", "1")))
			save(t, s, late, "old")
			l, err := s.Peek(ctx, entry("late"), []store.Dependency{on("b", "1")})
			require.NoError(t, err)
			require.Equal(t, store.Missing, l.State)
			require.NoError(t, s.InvalidateAll(ctx, "w"))
		}
		invalidate(t, s, store.Change{Table: "a"})
		require.Equal(t, store.Fenced, state(t, s, "q", on("a", "1")))
		require.NoError(t, s.InvalidateAll(ctx, "other"))
		fill(t, s, "q", "new", on("a", "1"))
		requireHit(t, s, "q", "new", on("a", "1"))
		require.NotEqual(t, store.Hit, state(t, s, "late", on("b", "1")))
	})
}

// The writer dies: its fences run out by the server's clock, and what is left
// of them is cleared away.
func TestTheFencesOfADeadWriterRunOut(t *testing.T) {
	t.Parallel()
	for _, mode := range modes {
		t.Run(mode.String()+"/embedded", func(t *testing.T) {
			t.Parallel()
			server := miniredis.RunT(t)
			now := time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
			server.SetTime(now)
			client := redis.NewClient(&redis.Options{Addr: server.Addr(), PipelinePoolSize: -1})
			t.Cleanup(func() { _ = client.Close() })
			s := backend{client: client, mode: mode}.open(t)
			fence(t, s, "w", changed("a", row{"1", "1"}))
			require.NoError(t, s.FenceAll(t.Context(), "w", 2*hour))

			server.SetTime(now.Add(hour - time.Millisecond))
			require.Equal(t, store.Fenced, state(t, s, "q", on("a", "1")))
			server.SetTime(now.Add(hour))
			require.Equal(t, store.Fenced, state(t, s, "q", on("a", "1")), "that around everything stands longer")
			server.SetTime(now.Add(2 * hour))
			require.Equal(t, store.Leased, state(t, s, "q", on("a", "1")))
			require.NotContains(t, client.HKeys(t.Context(), s.TableName("a")).Val(), "f:w")
		})
		t.Run(mode.String()+"/redis", func(t *testing.T) {
			t.Parallel()
			s := backend{client: realRedis(t), mode: mode}.open(t)
			_, err := s.Fence(t.Context(), "w", []store.Change{changed("a", row{"1", "1"})}, 50*time.Millisecond)
			require.NoError(t, err)
			require.Eventually(t, func() bool { return state(t, s, "q", on("a", "1")) == store.Leased }, 20*time.Second, time.Millisecond)
		})
	}
}

func TestAFenceClearsThoseThatHaveRunOut(t *testing.T) {
	t.Parallel()
	server := miniredis.RunT(t)
	now := time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
	server.SetTime(now)
	client := redis.NewClient(&redis.Options{Addr: server.Addr(), PipelinePoolSize: -1})
	t.Cleanup(func() { _ = client.Close() })
	s := backend{client: client}.open(t)
	fence(t, s, "dead", changed("a", row{"1", "1"}))
	server.SetTime(now.Add(2 * hour))
	fence(t, s, "w", changed("a", row{"1", "1"}))
	require.Equal(t, []string{"f:w"}, client.HKeys(t.Context(), s.TableName("a")).Val())
}

// A table's hash that is about to run out must not take a fence with it, and
// none may stay for good.
func TestAFenceGivesItsTableTimeToLive(t *testing.T) {
	onEach(t, func(t *testing.T, b backend) {
		ctx := t.Context()
		s := b.open(t)
		fill(t, s, "q", "old", on("a", "1"))
		require.NoError(t, b.client.PExpire(ctx, s.TableName("a"), time.Minute).Err())
		fence(t, s, "w", changed("a", row{"1", "1"}))
		require.Greater(t, b.client.PTTL(ctx, s.TableName("a")).Val(), hour)
		fence(t, s, "w", changed("b", row{"1", "1"}))
		require.Greater(t, b.client.PTTL(ctx, s.TableName("b")).Val(), hour)

		require.NoError(t, b.client.PExpire(ctx, s.TableName("b"), 100*hour).Err())
		fence(t, s, "w", changed("b", row{"1", "1"}))
		require.Greater(t, b.client.PTTL(ctx, s.TableName("b")).Val(), 90*hour, "it is never shortened")
	})
}

func TestGarbageInAFencesPlace(t *testing.T) {
	onEach(t, func(t *testing.T, b backend) {
		ctx := t.Context()
		ns := newNamespace()
		s := b.open(t, in(ns))
		everything := "{" + ns + "}F"
		require.NoError(t, b.client.Set(ctx, s.TableName("a"), "garbage", 0).Err())
		require.NoError(t, b.client.Set(ctx, everything, "garbage", 0).Err())
		fence(t, s, "w", changed("a", row{"1", "1"}))
		require.Equal(t, store.Fenced, state(t, s, "q", on("a", "1")))
		commit(t, s, "w", changed("a", row{"1", "1"}))
		fill(t, s, "q", "new", on("a", "1"))
		require.NoError(t, s.FenceAll(ctx, "w", hour))
		require.Equal(t, store.Fenced, state(t, s, "q", on("a", "1")))
	})
}

func TestAFullServerRefusesFencesAndTakesInvalidations(t *testing.T) {
	t.Parallel()
	srv := newRealServer(t, "--maxmemory-policy", "noeviction")
	client := srv.Client(t)
	for _, mode := range modes {
		s := backend{client: client, mode: mode}.open(t)
		fill(t, s, "q", "old", on("a", "1"))
		one := changed("a", row{"1", "1"})
		invalidate(t, s, one) // learns the schemes
		fill(t, s, "q", "old", on("a", "1"))
		fence(t, s, "w", changed("b", row{"1", "1"}))
		require.NoError(t, client.ConfigSet(t.Context(), "maxmemory", "1").Err())
		_, err := s.Fence(t.Context(), "w", []store.Change{one}, hour)
		require.ErrorContains(t, err, "OOM")
		require.ErrorContains(t, s.FenceAll(t.Context(), "w", hour), "OOM")
		requireHit(t, s, "q", "old", on("a", "1"))
		commit(t, s, "w", one, changed("b", row{"1", "1"}))
		require.NoError(t, s.InvalidateAll(t.Context(), "w"))
		require.NoError(t, client.ConfigSet(t.Context(), "maxmemory", "0").Err())
		require.Equal(t, store.Leased, state(t, s, "q", on("a", "1")))
		require.Equal(t, store.Leased, state(t, s, "b", on("b", "1")))
	}
}

func TestAFenceThatRedisCantTakeIsAnErrorAndIsNotQueued(t *testing.T) {
	x := newOutage(t, variant{Mode: store.ConjunctionSets}, store.GuardOptions{RetryFor: -1})
	x.srv.Pause(t)
	_, err := x.guard.Fence(t.Context(), "w", []store.Change{changed("a", row{"1", "1"})}, hour)
	require.ErrorIs(t, err, store.ErrTimeout)
	require.ErrorIs(t, x.guard.FenceAll(t.Context(), "w", hour), store.ErrTimeout)
	require.False(t, x.guard.Bypass("a"))
	require.Empty(t, x.queued)
	x.srv.Resume(t)
}

func TestAQueuedInvalidationLeavesItsFenceToRunOut(t *testing.T) {
	x := newOutage(t, variant{Mode: store.ConjunctionSets}, store.GuardOptions{RetryFor: -1})
	one := changed("a", row{"1", "1"})
	_, err := x.guard.Fence(t.Context(), "w", []store.Change{one}, 500*time.Millisecond)
	require.NoError(t, err)
	x.srv.Pause(t)
	_, err = x.guard.Invalidate(t.Context(), []store.Change{one}, "w")
	require.ErrorIs(t, err, store.ErrQueued)
	_, err = x.guard.Fence(t.Context(), "w2", []store.Change{one}, hour)
	require.Error(t, err, "what waits comes first")
	x.srv.Resume(t)
	x.await(t, "a")
	require.Eventually(t, func() bool {
		l, err := x.store.Acquire(context.Background(), entry("q"), []store.Dependency{on("a", "1")}, ttl)
		return err == nil && l.State == store.Leased
	}, 20*time.Second, 5*time.Millisecond)
}

// The traces that model checking found, and what the fence makes of them
// (docs/model). Readers are R, writers W; the database is a version that
// readers see. A step of the protocol is one call, so that calls in this order
// are the interleaving.

// R reads; W commits and is killed before it can invalidate; R stores (run d1).
func TestTraceAWriterIsKilledAfterItsCommit(t *testing.T) {
	onEach(t, func(t *testing.T, b backend) {
		one := changed("a", row{"0", "0"})
		s := b.open(t)
		late := lease(t, s, "q", on("a", "0"))
		// W: COMMIT, killed.
		require.True(t, save(t, s, late, "v0"))
		requireHit(t, s, "q", "v0", on("a", "0")) // stale: what G1 allows

		s = b.open(t)
		late = lease(t, s, "q", on("a", "0"))
		fence(t, s, "w", one)
		// W: COMMIT, killed.
		save(t, s, late, "v0")
		require.Equal(t, store.Fenced, state(t, s, "q", on("a", "0")), "run d2: the database answers")
	})
}

// What was stored before is hit between COMMIT and the invalidation (run c2).
func TestTraceAHitBetweenCommitAndInvalidation(t *testing.T) {
	onEach(t, func(t *testing.T, b backend) {
		s := b.open(t)
		fill(t, s, "q", "v0", on("a", "0"))
		// W: COMMIT.
		requireHit(t, s, "q", "v0", on("a", "0")) // what G1 allows until W returns

		fence(t, s, "w", changed("a", row{"0", "0"}))
		// W: COMMIT.
		require.Equal(t, store.Fenced, state(t, s, "q", on("a", "0")))
	})
}

// W1 moves a row out of a group and commits; W0 changes the same row there,
// commits, invalidates and returns; the group is still served (run c1).
func TestTraceAnotherWritersReturnDoesNotSpeakForTheFirst(t *testing.T) {
	onEach(t, func(t *testing.T, b backend) {
		moved, later := changed("a", row{"0", "0"}, row{"0", "1"}), changed("a", row{"0", "1"})
		s := b.open(t)
		late := lease(t, s, "group 0", on("a", "0"))
		// W1: COMMIT. W0: COMMIT.
		invalidate(t, s, later)
		require.True(t, save(t, s, late, "v0"))
		requireHit(t, s, "group 0", "v0", on("a", "0")) // what G1 allows until W1 returns

		s = b.open(t)
		late = lease(t, s, "group 0", on("a", "0"))
		fence(t, s, "w1", moved)
		// W1: COMMIT.
		fence(t, s, "w0", later)
		// W0: COMMIT.
		commit(t, s, "w0", later)
		save(t, s, late, "v0")
		require.Equal(t, store.Fenced, state(t, s, "group 0", on("a", "0")))
		commit(t, s, "w1", moved)
		fill(t, s, "group 0", "v1", on("a", "0"))
	})
}

// A reader comes under the fence with a scheme that W has never heard of; W
// commits and is killed (runs d4 and d5: a fence around conjunctions only).
func TestTraceANewSchemeUnderTheFence(t *testing.T) {
	onEach(t, func(t *testing.T, b backend) {
		s := b.open(t)
		fence(t, s, "w", changed("a", row{"0", "0"}))
		require.Equal(t, store.Fenced, state(t, s, "q", dependency("a", byID, "0")))
		// W: COMMIT, killed.
		require.Equal(t, store.Fenced, state(t, s, "all", dependency("a", whole)))
	})
}

// The fence runs out before COMMIT takes effect, and W is killed (run d6): the
// one thing that FenceTTL has to exclude.
func TestTraceAFenceThatRunsOutBeforeTheCommit(t *testing.T) {
	onEach(t, func(t *testing.T, b backend) {
		s := b.open(t)
		one := changed("a", row{"0", "0"})
		_, err := s.Fence(t.Context(), "w", []store.Change{one}, time.Millisecond)
		require.NoError(t, err)
		var l store.Lookup
		require.Eventually(t, func() bool { l = acquire(t, s, "q", on("a", "0")); return l.State == store.Leased }, 20*time.Second, time.Millisecond)
		// W: COMMIT, killed.
		require.True(t, save(t, s, l.Lease, "v0"))
		requireHit(t, s, "q", "v0", on("a", "0"))
		// Had W lived, its return would have been kept (run t3).
		commit(t, s, "w", one)
		require.Equal(t, store.Leased, state(t, s, "q", on("a", "0")))
	})
}

// The table fence with a reader of each moment, a kill, and a writer that comes
// after it (run t1).
func TestTraceTheTableFenceFromEndToEnd(t *testing.T) {
	onEach(t, func(t *testing.T, b backend) {
		s := b.open(t)
		one := changed("a", row{"0", "0"}, row{"0", "1"})
		fill(t, s, "before", "v0", on("a", "0"))
		early := lease(t, s, "early", dependency("a", byID, "0"))
		fence(t, s, "w1", one)
		require.Equal(t, store.Fenced, state(t, s, "under", on("a", "1")))
		save(t, s, early, "v0")
		// W1: COMMIT, killed.
		require.Equal(t, store.Fenced, state(t, s, "before", on("a", "0")))
		// W2 changes another row, commits and returns.
		other := changed("a", row{"5", "5"})
		fence(t, s, "w2", other)
		commit(t, s, "w2", other)
		for name, deps := range map[string]store.Dependency{"before": on("a", "0"), "early": dependency("a", byID, "0"), "new": dependency("a", conj.MakeScheme(nil))} {
			require.Equal(t, store.Fenced, state(t, s, name, deps), name)
		}
	})
}
