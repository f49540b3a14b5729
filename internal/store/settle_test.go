package store_test

import (
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cacheplugin/cacheplugin/internal/store"
)

func settling(ns string) func(*store.Options) {
	return func(o *store.Options) { o.Namespace, o.Settle = ns, hour }
}

// settle has the time pass that a namespace and some tables settle for.
func settle(t testing.TB, b backend, ns string, tables ...string) {
	t.Helper()
	keys := keysOf(t, b.client, ns, "F")
	names := b.open(t, in(ns))
	for _, table := range tables {
		keys = append(keys, names.TableName(table))
	}
	for _, key := range keys {
		if b.client.HExists(t.Context(), key, "f:settle").Val() {
			require.NoError(t, b.client.HSet(t.Context(), key, "f:settle", 1).Err())
		}
	}
}

func TestATableSettlesAfterEachInvalidation(t *testing.T) {
	onEach(t, func(t *testing.T, b backend) {
		ns := newNamespace()
		s := b.open(t, settling(ns))
		require.Equal(t, store.Fenced, state(t, s, "a1", on("a", "1")), "what was before isn't known")
		require.Equal(t, store.Fenced, state(t, s, "a1", on("a", "1")))
		settle(t, b, ns, "a")
		fill(t, s, "a1", "old", on("a", "1"))
		fill(t, s, "a2", "kept", on("a", "2"))
		late := lease(t, s, "a late", on("a", "1"))

		invalidate(t, s, changed("a", row{"1", "1"}))
		require.Equal(t, store.Fenced, state(t, s, "a1", on("a", "1")))
		require.Equal(t, store.Fenced, state(t, s, "a3", on("a", "3")))
		save(t, s, late, "old")
		require.Equal(t, store.Fenced, state(t, s, "a late", on("a", "1")), "read before it")
		requireHit(t, s, "a2", "kept", on("a", "2"))
		settle(t, b, ns, "a")
		fill(t, s, "a1", "new", on("a", "1"))
		requireHit(t, s, "a1", "new", on("a", "1"))

		// With the fence of a writer, which falls.
		fence(t, s, "w", changed("a", row{"1", "1"}))
		commit(t, s, "w", changed("a", row{"1", "1"}))
		require.Equal(t, store.Fenced, state(t, s, "a1", on("a", "1")))
		settle(t, b, ns, "a")
		fill(t, s, "a1", "newer", on("a", "1"))

		// A whole table, and everything.
		invalidate(t, s, store.Change{Table: "a"})
		require.Equal(t, store.Fenced, state(t, s, "a1", on("a", "1")))
		settle(t, b, ns, "a")
		fill(t, s, "a1", "newest", on("a", "1"))
		require.NoError(t, s.InvalidateAll(t.Context()))
		require.Equal(t, store.Fenced, state(t, s, "a1", on("a", "1")))
		settle(t, b, ns, "a")
		require.Equal(t, store.Fenced, state(t, s, "a1", on("a", "1")), "the namespace begins anew")
		settle(t, b, ns, "a")
		fill(t, s, "a1", "last", on("a", "1"))
		requireHit(t, s, "a1", "last", on("a", "1"))

		// A table's hash that was evicted, and the fences with it.
		require.NoError(t, b.client.Del(t.Context(), b.open(t, in(ns)).TableName("a")).Err())
		require.Equal(t, store.Fenced, state(t, s, "a1", on("a", "1")))
		settle(t, b, ns, "a")
		require.Equal(t, store.Leased, state(t, s, "a1", on("a", "1")))
	})
}

// A namespace that begins anew settles, and the fence that says so may be evicted
// like any key.
func TestANamespaceSettlesAnewIfItsFencesAreEvicted(t *testing.T) {
	onEach(t, func(t *testing.T, b backend) {
		ns := newNamespace()
		s := b.open(t, settling(ns))
		state(t, s, "a1", on("a", "1"))
		settle(t, b, ns, "a")
		fill(t, s, "a1", "old", on("a", "1"))
		require.NoError(t, s.InvalidateAll(t.Context()))
		settle(t, b, ns, "a")
		require.Equal(t, store.Fenced, state(t, s, "a1", on("a", "1")), "the namespace begins anew")
		for _, key := range keysOf(t, b.client, ns, "F") {
			require.NoError(t, b.client.Del(t.Context(), key).Err())
		}
		require.Equal(t, store.Fenced, state(t, s, "a1", on("a", "1")), "nobody knows how long ago that was")
		settle(t, b, ns, "a")
		fill(t, s, "a1", "new", on("a", "1"))
		for _, key := range keysOf(t, b.client, ns, "F") {
			require.Positive(t, b.client.PTTL(t.Context(), key).Val())
		}
		requireHit(t, s, "a1", "new", on("a", "1"))
	})
}

// An operator's command knows of no replicas, nor does a process that is
// configured otherwise. What they invalidate settles for those who read replicas.
func TestWhatIsInvalidatedByOneWhoDoesNotSettleSettlesForOthers(t *testing.T) {
	onEach(t, func(t *testing.T, b backend) {
		ns := newNamespace()
		reader, other := b.open(t, settling(ns)), b.open(t, in(ns))
		fresh := func(value string) {
			t.Helper()
			for range 2 {
				require.Equal(t, store.Fenced, state(t, reader, "a1", on("a", "1")))
			}
			settle(t, b, ns, "a")
			fill(t, reader, "a1", value, on("a", "1"))
		}
		fresh("first")
		invalidate(t, other, changed("a", row{"1", "1"}))
		fresh("second")
		invalidate(t, other, store.Change{Table: "a"})
		fresh("third")
		require.NoError(t, other.InvalidateAll(t.Context()))
		fresh("fourth")
		requireHit(t, reader, "a1", "fourth", on("a", "1"))
	})
}

func TestALongInvalidationSettlesOnce(t *testing.T) {
	onEach(t, func(t *testing.T, b backend) {
		ns := newNamespace()
		s := b.open(t, settling(ns))
		state(t, s, "a1", on("a", "1"))
		settle(t, b, ns, "a")
		state(t, s, "a1", on("a", "1"))
		rows := make([]row, 2500)
		for i := range rows {
			rows[i] = row{strconv.Itoa(i), strconv.Itoa(i)}
		}
		invalidate(t, s, changed("a", rows...))
		until, err := b.client.HGet(t.Context(), s.TableName("a"), "f:settle").Int64()
		require.NoError(t, err)
		require.Greater(t, until, int64(1), "from the first of its calls on")
	})
}

func TestAWriterThatSettlesForLessCutsNothingShort(t *testing.T) {
	onEach(t, func(t *testing.T, b backend) {
		ns := newNamespace()
		long, short := b.open(t, settling(ns)), b.open(t, in(ns), func(o *store.Options) { o.Settle = 1 })
		invalidate(t, long, store.Change{Table: "a"})
		settled := func() string { return b.client.HGet(t.Context(), b.open(t, in(ns)).TableName("a"), "f:settle").Val() }
		until := settled()
		require.NotEmpty(t, until)
		invalidate(t, short, store.Change{Table: "a"})
		require.Equal(t, until, settled())
	})
}

func TestAFullServerTakesInvalidationsThoughItCantSettle(t *testing.T) {
	t.Parallel()
	srv := newRealServer(t, "--maxmemory-policy", "noeviction")
	client := srv.Client(t)
	for _, mode := range modes {
		b := backend{client: client, mode: mode}
		ns := newNamespace()
		s := b.open(t, settling(ns))
		state(t, s, "q", on("a", "1"))
		settle(t, b, ns, "a")
		fill(t, s, "q", "old", on("a", "1"))
		require.NoError(t, client.ConfigSet(t.Context(), "maxmemory", "1").Err())
		invalidate(t, s, changed("a", row{"1", "1"}))
		require.NoError(t, client.ConfigSet(t.Context(), "maxmemory", "0").Err())
		require.Equal(t, store.Fenced, state(t, s, "q", on("a", "1")), "it settles when there is room again")
		require.NoError(t, client.ConfigSet(t.Context(), "maxmemory", "1").Err())
		require.NoError(t, s.InvalidateAll(t.Context()))
		require.NoError(t, client.ConfigSet(t.Context(), "maxmemory", "0").Err())
		require.Equal(t, store.Fenced, state(t, s, "q", on("a", "1")))
	}
}
