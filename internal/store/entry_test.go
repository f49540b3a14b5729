package store_test

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cacheplugin/cacheplugin/conj"
	"github.com/cacheplugin/cacheplugin/internal/store"
)

func TestAMissIsLeasedSavedAndThenHit(t *testing.T) {
	onEach(t, func(t *testing.T, b backend) {
		s := b.open(t)
		fill(t, s, "q", "result", on("a", "1"), on("b", "2"))
		requireHit(t, s, "q", "result", on("a", "1"), on("b", "2"))
	})
}

func TestAnEntryMayDependOnNoConjunctionOrNoTable(t *testing.T) {
	onEach(t, func(t *testing.T, b backend) {
		s := b.open(t)
		fill(t, s, "never true", "x", store.Dependency{Table: "a"})
		requireHit(t, s, "never true", "x", store.Dependency{Table: "a"})
		fill(t, s, "select 1", "y")
		requireHit(t, s, "select 1", "y")

		invalidate(t, s, changed("a", row{"1", "1"}))
		requireHit(t, s, "never true", "x", store.Dependency{Table: "a"})
		invalidate(t, s, store.Change{Table: "a"})
		require.Equal(t, store.Leased, acquire(t, s, "never true", store.Dependency{Table: "a"}).State)
	})
}

func TestPayloadsAreBinarySafe(t *testing.T) {
	onEach(t, func(t *testing.T, b backend) {
		s := b.open(t)
		var all strings.Builder
		for i := range 1024 {
			all.WriteByte(byte(i))
		}
		for name, payload := range map[string]string{
			"empty": "", "bytes": all.String(), "looks like a value": "V40:x|y", "looks like a lease": "Labc|def",
			"large": strings.Repeat("0123456789abcdef", 1<<16),
		} {
			fill(t, s, name, payload, on("a", "1"))
			requireHit(t, s, name, payload, on("a", "1"))
		}
	})
}

func TestManyConjunctionsMakeOneEntry(t *testing.T) {
	onEach(t, func(t *testing.T, b backend) {
		s := b.open(t)
		dep := store.Dependency{Table: "a", Schemes: []conj.Scheme{byID}}
		for i := range 2500 {
			dep.Keys = append(dep.Keys, key("a", byID, string(rune('a'+i))))
		}
		fill(t, s, "in", "result", dep)
		requireHit(t, s, "in", "result", dep)
		invalidate(t, s, changed("a", row{string(rune('a' + 2499)), ""}))
		require.Equal(t, store.Leased, acquire(t, s, "in", dep).State)
	})
}

func TestTheSecondReaderIsBusyAndKnowsTheHolder(t *testing.T) {
	onEach(t, func(t *testing.T, b backend) {
		s := b.open(t)
		mine := lease(t, s, "q", on("a", "1"))
		other := acquire(t, s, "q", on("a", "1"))
		require.Equal(t, store.Busy, other.State)
		require.Equal(t, mine, other.Lease)

		require.NoError(t, s.Release(t.Context(), mine))
		require.Equal(t, store.Leased, acquire(t, s, "q", on("a", "1")).State)
	})
}

func TestALeaseEndsWithItsTime(t *testing.T) {
	t.Parallel()
	for _, mode := range modes {
		b := backend{client: realRedis(t), mode: mode}
		s := b.open(t, func(o *store.Options) { o.LeaseTTL = 20 * time.Millisecond })
		old := lease(t, s, "q", on("a", "1"))
		var next store.Lookup
		require.Eventually(t, func() bool {
			next = acquire(t, s, "q", on("a", "1"))
			return next.State == store.Leased
		}, 10*time.Second, 5*time.Millisecond)
		require.False(t, save(t, s, old, "late"))
		require.NotEqual(t, store.Hit, acquire(t, s, "q", on("a", "1")).State)
	}
}

func TestSaveAndReleaseTouchTheirOwnLeaseOnly(t *testing.T) {
	onEach(t, func(t *testing.T, b backend) {
		s := b.open(t)
		ctx := t.Context()
		first := lease(t, s, "q", on("a", "1"))
		require.NoError(t, s.Release(ctx, first))
		second := lease(t, s, "q", on("a", "1"))

		require.False(t, save(t, s, first, "of the first"))
		require.NoError(t, s.Release(ctx, first))
		require.Equal(t, store.Busy, acquire(t, s, "q", on("a", "1")).State)
		// An id that is the beginning of another one is not that one.
		require.False(t, save(t, s, store.Lease{Key: second.Key, ID: second.ID[:len(second.ID)-1]}, "prefix"))

		require.True(t, save(t, s, second, "of the second"))
		require.False(t, save(t, s, second, "twice"))
		require.NoError(t, s.Release(ctx, second))
		requireHit(t, s, "q", "of the second", on("a", "1"))
	})
}

func TestPeekLeavesNoTrace(t *testing.T) {
	onEach(t, func(t *testing.T, b backend) {
		ns := newNamespace()
		s := b.open(t, in(ns))
		peek := func() store.Lookup {
			l, err := s.Peek(t.Context(), entry("q"), []store.Dependency{on("a", "1")})
			require.NoError(t, err)
			return l
		}
		require.Equal(t, store.Missing, peek().State)
		require.Empty(t, keysOf(t, b.client, ns, ""))

		mine := lease(t, s, "q", on("a", "1"))
		require.Equal(t, store.Missing, peek().State)
		require.True(t, save(t, s, mine, "result"))
		require.Equal(t, store.Lookup{State: store.Hit, Payload: []byte("result"), Version: mine.Version()}, peek())
		invalidate(t, s, changed("a", row{"7", "1"}))
		require.Equal(t, store.Missing, peek().State)
	})
}

func TestWhatDropsAnEntryLivesLongerThanTheEntry(t *testing.T) {
	onEach(t, func(t *testing.T, b backend) {
		ns := newNamespace()
		s := b.open(t, in(ns))
		ctx := t.Context()
		short, err := s.Acquire(ctx, entry("short"), []store.Dependency{on("a", "1")}, time.Second)
		require.NoError(t, err)
		_, err = s.Save(ctx, short.Lease, nil, time.Second)
		require.NoError(t, err)
		fill(t, s, "long", "", on("a", "1"))

		require.LessOrEqual(t, b.client.PTTL(ctx, s.EntryName(entry("short"))).Val(), time.Second)
		require.LessOrEqual(t, b.client.PTTL(ctx, s.EntryName(entry("long"))).Val(), ttl)
		meta := append(keysOf(t, b.client, ns, "t"), keysOf(t, b.client, ns, "c")...)
		require.Len(t, meta, 2)
		for _, name := range meta {
			require.Greater(t, b.client.PTTL(ctx, name).Val(), ttl, name)
		}

		// A shorter entry does not shorten what a longer one needs.
		_, err = s.Acquire(ctx, entry("short again"), []store.Dependency{on("a", "1")}, time.Second)
		require.NoError(t, err)
		for _, name := range meta {
			require.Greater(t, b.client.PTTL(ctx, name).Val(), ttl, name)
		}
	})
}

func TestALiveFenceForbidsLeasesAndAnOldOneIsRemoved(t *testing.T) {
	onEach(t, func(t *testing.T, b backend) {
		s := b.open(t)
		ctx := t.Context()
		fill(t, s, "hit", "result", on("a", "1"))
		fence := func(field string, until time.Time) {
			require.NoError(t, b.client.HSet(ctx, s.TableName("a"), field, until.UnixMilli()).Err())
		}
		fence("f:w1", time.Now().Add(time.Hour))
		fence("f:w0", time.Now().Add(-time.Hour))
		require.Equal(t, store.Fenced, acquire(t, s, "q", on("a", "2")).State)
		require.Equal(t, store.Fenced, acquire(t, s, "join", on("b", "1"), on("a", "2")).State)
		require.Equal(t, store.Leased, acquire(t, s, "q", on("b", "1")).State)
		requireHit(t, s, "hit", "result", on("a", "1"))

		invalidate(t, s, store.Change{Table: "a"})
		require.Equal(t, store.Fenced, acquire(t, s, "hit", on("a", "1")).State)

		fence("f:w1", time.Now().Add(-time.Hour))
		require.Equal(t, store.Leased, acquire(t, s, "q2", on("a", "2")).State)
		require.Zero(t, b.client.HExists(ctx, s.TableName("a"), "f:w1").Val())
	})
}
