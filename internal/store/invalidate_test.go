package store_test

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/cacheplugin/cacheplugin/conj"
	"github.com/cacheplugin/cacheplugin/internal/store"
)

func TestInvalidationDropsOnlyMatchingConjunctions(t *testing.T) {
	onEach(t, func(t *testing.T, b backend) {
		s := b.open(t)
		fill(t, s, "group 1", "1", on("a", "1"))
		fill(t, s, "group 2", "2", on("a", "2"))
		fill(t, s, "group 3", "3", on("a", "3"))
		fill(t, s, "b", "b", on("b", "1"))
		fill(t, s, "join", "j", on("a", "3"), on("b", "1"))

		reports := invalidate(t, s, changed("a", row{"1", "1"}, row{"1", "2"}))
		require.Equal(t, []store.Report{{Table: "a", Keys: 2, Dropped: 2}}, reports)
		for _, group := range []string{"1", "2"} {
			require.Equal(t, store.Leased, acquire(t, s, "group "+group, on("a", group)).State)
		}
		requireHit(t, s, "group 3", "3", on("a", "3"))
		requireHit(t, s, "b", "b", on("b", "1"))
		requireHit(t, s, "join", "j", on("a", "3"), on("b", "1"))

		invalidate(t, s, changed("b", row{"9", "1"}))
		require.Equal(t, store.Leased, acquire(t, s, "join", on("a", "3"), on("b", "1")).State)
	})
}

func TestChangesOfATableAreOneReport(t *testing.T) {
	onEach(t, func(t *testing.T, b backend) {
		s := b.open(t)
		fill(t, s, "q1", "", on("a", "1"))
		fill(t, s, "q2", "", on("b", "1"))
		fill(t, s, "q3", "", on("c", "1"))
		reports := invalidate(t, s,
			changed("a", row{"1", "1"}), changed("b", row{"1", "1"}), changed("a", row{"2", "1"}, row{"2", "1"}),
			store.Change{Table: "c"}, changed("c", row{"1", "1"}), changed("nothing cached", row{"1", "1"}))
		require.Equal(t, []store.Report{
			{Table: "nothing cached"},
			{Table: "c", Whole: true, Dropped: 1},
			{Table: "a", Keys: 1, Dropped: 1},
			{Table: "b", Keys: 1, Dropped: 1},
		}, sortReports(reports))
	})
}

// sortReports brings reports to an order: whole and unknown tables, which take
// one round, come first anyway.
func sortReports(reports []store.Report) []store.Report {
	order := []string{"nothing cached", "c", "a", "b"}
	slices.SortFunc(reports, func(x, y store.Report) int {
		return slices.Index(order, x.Table) - slices.Index(order, y.Table)
	})
	return reports
}

func TestNothingToInvalidateIsNoCall(t *testing.T) {
	client := redis.NewClient(&redis.Options{Addr: "127.0.0.1:1"})
	defer client.Close()
	reports, err := backend{client: client}.open(t).Invalidate(t.Context(), nil)
	require.NoError(t, err)
	require.Empty(t, reports)
}

func TestTheSchemesOfATableAreLearntAndFollowed(t *testing.T) {
	onEach(t, func(t *testing.T, b backend) {
		ns := newNamespace()
		reader, writer := b.open(t, in(ns)), b.open(t, in(ns))
		_, known := writer.Schemes("a")
		require.False(t, known)
		invalidate(t, writer, changed("a", row{"1", "1"}))
		schemes, known := writer.Schemes("a")
		require.True(t, known)
		require.Empty(t, schemes, "there are none yet")

		fill(t, reader, "q1", "", on("a", "1"))
		invalidate(t, writer, changed("a", row{"1", "1"}))
		schemes, known = writer.Schemes("a")
		require.True(t, known)
		require.Equal(t, []conj.Scheme{byGroup}, schemes)
		require.Equal(t, store.Leased, acquire(t, reader, "q1", on("a", "1")).State)

		byIDs := store.Dependency{Table: "a", Schemes: []conj.Scheme{byID}, Keys: []conj.Key{key("a", byID, "1")}}
		fill(t, reader, "q2", "", byIDs)
		invalidate(t, writer, changed("a", row{"1", "1"}))
		require.Equal(t, store.Leased, acquire(t, reader, "q2", byIDs).State)
		schemes, _ = writer.Schemes("a")
		require.ElementsMatch(t, []conj.Scheme{byGroup, byID}, schemes)
	})
}

func TestASchemeOfOnesOwnIsKnownBeforeTheNextInvalidation(t *testing.T) {
	onEach(t, func(t *testing.T, b backend) {
		s := b.open(t)
		fill(t, s, "q1", "", on("a", "1"))
		_, known := s.Schemes("a")
		require.False(t, known, "the list has not been read: others may have more")
		invalidate(t, s, changed("a", row{"1", "1"}))
		byIDs := store.Dependency{Table: "a", Schemes: []conj.Scheme{byID}, Keys: []conj.Key{key("a", byID, "1")}}
		fill(t, s, "q2", "", byIDs)
		for range 2 { // the second time from the list
			schemes, known := s.Schemes("a")
			require.True(t, known)
			require.ElementsMatch(t, []conj.Scheme{byGroup, byID}, schemes)
			invalidate(t, s, changed("a", row{"1", "1"}))
		}
	})
}

func TestAnImageThatLacksAColumnDropsTheTable(t *testing.T) {
	onEach(t, func(t *testing.T, b backend) {
		s := b.open(t)
		other := store.Dependency{Table: "a", Schemes: []conj.Scheme{conj.MakeScheme([]string{"unknown"})}, Keys: []conj.Key{{1}}}
		fill(t, s, "q", "", on("a", "1"))
		fill(t, s, "other", "", other)
		require.Equal(t, []store.Report{{Table: "a", Whole: true, Dropped: 1}}, invalidate(t, s, changed("a", row{"1", "1"})))
		require.Equal(t, store.Leased, acquire(t, s, "q", on("a", "1")).State)
		require.Equal(t, store.Leased, acquire(t, s, "other", other).State)
	})
}

func TestASchemeListThatGrowsForeverEndsInDroppingTheTable(t *testing.T) {
	onEach(t, func(t *testing.T, b backend) {
		s := b.open(t)
		fill(t, s, "q", "", on("a", "1"))
		rounds := 0
		reports := invalidate(t, s, store.Change{Table: "a", Keys: func(schemes []conj.Scheme) ([]conj.Key, bool) {
			rounds++
			scheme := conj.MakeScheme([]string{fmt.Sprint("column ", rounds)})
			lease(t, s, fmt.Sprint("q", rounds), store.Dependency{Table: "a", Schemes: []conj.Scheme{scheme}, Keys: []conj.Key{key("a", scheme, "1")}})
			return nil, true
		}})
		require.Equal(t, []store.Report{{Table: "a", Whole: true, Dropped: 1}}, reports)
		require.LessOrEqual(t, rounds, 5)
		require.Equal(t, store.Leased, acquire(t, s, "q", on("a", "1")).State)
	})
}

func TestManyKeysAreDroppedInChunks(t *testing.T) {
	onEach(t, func(t *testing.T, b backend) {
		s := b.open(t)
		const n = 2500
		var rows []row
		for i := range n {
			rows = append(rows, row{fmt.Sprint(i), fmt.Sprint(i)})
		}
		for _, i := range []int{0, 249, 250, 2499} {
			fill(t, s, fmt.Sprint("q", i), "", on("a", fmt.Sprint(i)))
		}
		fill(t, s, "kept", "kept", on("a", "no such row"))
		require.Equal(t, []store.Report{{Table: "a", Keys: n, Dropped: 4}}, invalidate(t, s, changed("a", rows...)))
		for _, i := range []int{0, 999, 1000, 2499} {
			require.Equal(t, store.Leased, acquire(t, s, fmt.Sprint("q", i), on("a", fmt.Sprint(i))).State)
		}
		requireHit(t, s, "kept", "kept", on("a", "no such row"))
	})
}

func TestASetOfManyEntriesIsDroppedAtOnce(t *testing.T) {
	t.Parallel()
	b := backend{client: realRedis(t)}
	s := b.open(t, func(o *store.Options) { o.LeaseTTL = time.Hour })
	const n = 3000
	for i := range n {
		lease(t, s, fmt.Sprint("q", i), on("a", "1"))
	}
	require.Equal(t, n, invalidate(t, s, changed("a", row{"1", "1"}))[0].Dropped)
}

func TestInvalidateAllLeavesOtherNamespacesAlone(t *testing.T) {
	onEach(t, func(t *testing.T, b backend) {
		s, other := b.open(t), b.open(t)
		fill(t, s, "q", "mine", on("a", "1"))
		fill(t, other, "q", "theirs", on("a", "1"))
		late := lease(t, s, "late", on("a", "1"))

		require.NoError(t, s.InvalidateAll(t.Context()))
		require.Equal(t, store.Leased, acquire(t, s, "q", on("a", "1")).State)
		save(t, s, late, "read before")
		require.NotEqual(t, store.Hit, acquire(t, s, "late", on("a", "1")).State)
		requireHit(t, other, "q", "theirs", on("a", "1"))
	})
}

func TestWhatCouldNotBeInvalidatedIsNamed(t *testing.T) {
	client := redis.NewClient(&redis.Options{Addr: "127.0.0.1:1", MaxRetries: -1, DialerRetries: 1})
	defer client.Close()
	s := backend{client: client}.open(t)
	changes := []store.Change{changed("a", row{"1", "1"}), changed("b"), {Table: "a"}}
	reports, err := s.Invalidate(t.Context(), changes)
	require.Empty(t, reports)
	var failed *store.InvalidateError
	require.ErrorAs(t, err, &failed)
	require.Len(t, failed.Left, len(changes))
	require.NotNil(t, errors.Unwrap(failed))
	require.ErrorContains(t, err, "invalidate a, b: ")
	require.False(t, s.Available())
}

func TestOnlyTheTablesThatFailedAreLeft(t *testing.T) {
	t.Parallel()
	// A cluster's node that does not serve a key, a proxy, an access list: any
	// of them may refuse one call and take the next.
	srv := newRealServer(t)
	client := srv.Client(t)
	s := backend{client: client}.open(t, in("acl"))
	fill(t, s, "q1", "", on("a", "1"))
	fill(t, s, "q2", "", on("b", "1"))
	ctx := t.Context()
	require.NoError(t, client.Do(ctx, "ACL", "SETUSER", "limited", "on", "nopass", "+@all", "~{acl}N", "~{acl}e:*", "~{acl}c:*", "~{acl}t:a").Err())
	limited := redis.NewClient(&redis.Options{Addr: srv.Addr, Username: "limited", Password: "x", PipelinePoolSize: -1})
	defer limited.Close()
	writer := backend{client: limited}.open(t, in("acl"))

	reports, err := writer.Invalidate(ctx, []store.Change{changed("a", row{"1", "1"}), changed("b", row{"1", "1"})})
	var failed *store.InvalidateError
	require.ErrorAs(t, err, &failed)
	require.Len(t, failed.Left, 1)
	require.Equal(t, "b", failed.Left[0].Table)
	require.Equal(t, []store.Report{{Table: "a", Keys: 1, Dropped: 1}}, reports)
	require.True(t, writer.Available(), "it was an answer")

	require.NoError(t, client.Do(ctx, "ACL", "SETUSER", "limited", "-eval", "-evalsha").Err())
	_, err = writer.Check(ctx)
	require.ErrorIs(t, err, store.ErrConfig)
}

func TestAFullServerRefusesLeasesButTakesInvalidations(t *testing.T) {
	t.Parallel()
	for _, mode := range modes {
		t.Run(mode.String(), func(t *testing.T) {
			t.Parallel()
			srv := newRealServer(t, "--maxmemory-policy", "noeviction")
			client := srv.Client(t)
			s := backend{client: client, mode: mode}.open(t)
			ctx := t.Context()
			fill(t, s, "q", "old", on("a", "1"))
			fill(t, s, "r", "old", on("b", "1"))
			require.NoError(t, client.ConfigSet(ctx, "maxmemory", "1").Err())

			_, err := s.Acquire(ctx, entry("other"), []store.Dependency{on("a", "1")}, ttl)
			require.ErrorContains(t, err, "OOM")
			requireHit(t, s, "q", "old", on("a", "1"))
			invalidate(t, s, changed("a", row{"1", "1"}))
			_, err = s.Acquire(ctx, entry("q"), []store.Dependency{on("a", "1")}, ttl)
			require.ErrorContains(t, err, "OOM")
			invalidate(t, s, store.Change{Table: "b"})
			require.NoError(t, s.InvalidateAll(ctx))

			require.NoError(t, client.ConfigSet(ctx, "maxmemory", "0").Err())
			require.Equal(t, store.Leased, acquire(t, s, "q", on("a", "1")).State)
			require.Equal(t, store.Leased, acquire(t, s, "r", on("b", "1")).State)
			require.True(t, s.Available())
		})
	}
}

func TestOneSlotOfAClusterHoldsANamespace(t *testing.T) {
	t.Parallel()
	srv := newRealServer(t, "--cluster-enabled", "yes")
	ctx := t.Context()
	require.NoError(t, srv.Client(t).Do(ctx, "CLUSTER", "ADDSLOTSRANGE", 0, 16383).Err())
	client := redis.NewClusterClient(&redis.ClusterOptions{Addrs: []string{srv.Addr}})
	defer client.Close()
	require.Eventually(t, func() bool {
		return client.Ping(ctx).Err() == nil && client.Set(ctx, "probe", 1, 0).Err() == nil
	}, 20*time.Second, 20*time.Millisecond)
	for _, mode := range modes {
		if !mode.on(client) {
			continue
		}
		s := backend{client: client, mode: mode}.open(t)
		info, err := s.Check(ctx)
		require.NoError(t, err)
		require.False(t, info.IdentityHidden)
		fill(t, s, "q", "result", on("a", "1"), on("b}{", "1"))
		fill(t, s, "other", "other", on("c", "1"))
		require.NoError(t, client.ScriptFlush(ctx).Err())
		invalidate(t, s, changed("a", row{"1", "1"}), changed("b}{", row{"1", "1"}), changed("d", row{"1", "1"}))
		require.Equal(t, store.Leased, acquire(t, s, "q", on("a", "1"), on("b}{", "1")).State)
		requireHit(t, s, "other", "other", on("c", "1"))
		require.NoError(t, s.InvalidateAll(ctx))
		require.Equal(t, store.Leased, acquire(t, s, "other", on("c", "1")).State)
	}
}

func TestAReplicaIsRefused(t *testing.T) {
	t.Parallel()
	master := newRealServer(t)
	replica := newRealServer(t)
	host, port := splitAddr(t, master.Addr)
	client := replica.Client(t)
	require.NoError(t, client.Do(t.Context(), "REPLICAOF", host, port).Err())
	_, err := backend{client: client}.open(t).Check(t.Context())
	require.ErrorIs(t, err, store.ErrConfig)
	require.ErrorContains(t, err, "replica")
}
