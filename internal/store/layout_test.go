package store_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cacheplugin/cacheplugin/internal/store"
)

// Processes that lay a namespace out in different ways don't hear of each
// other: the later one must not start.
func TestANamespaceThatOthersLayOutInAnotherWayIsRefused(t *testing.T) {
	onEach(t, func(t *testing.T, b backend) {
		if b.mode.Mode != store.InsideOut {
			t.Skip("concerns the mode InsideOut")
		}
		ns := newNamespace()
		here := b.open(t, in(ns))
		b.mode.spread, b.mode.identified = !b.mode.spread, false
		there := b.open(t, in(ns))
		_, err := here.Check(t.Context())
		require.NoError(t, err)
		_, err = there.Check(t.Context())
		require.NoError(t, err)

		fill(t, here, "q", "", on("a", "1"))
		oneSlot, spread, err := store.Layouts(t.Context(), b.client, ns)
		require.NoError(t, err)
		require.Equal(t, b.mode.spread, oneSlot)
		require.Equal(t, !b.mode.spread, spread)
		_, err = here.Check(t.Context())
		require.NoError(t, err)
		_, err = there.Check(t.Context())
		require.ErrorIs(t, err, store.ErrLayout)
		require.ErrorIs(t, err, store.ErrConfig)
		require.ErrorContains(t, err, ns)

		require.NoError(t, here.InvalidateAll(t.Context()))
		_, err = there.Check(t.Context())
		require.NoError(t, err)
	})
}

func TestSpreadNeedsStamps(t *testing.T) {
	_, err := store.New(store.Options{Client: realRedis(t), Spread: true})
	require.ErrorIs(t, err, store.ErrConfig)
	require.ErrorContains(t, err, "Options.Spread is true")
}

// In a spread namespace rows that only the result names count as their whole
// table.
func TestASpreadEntryDependsOnTheWholeOfItsJoinedTables(t *testing.T) {
	onEachOf(t, modes[len(inOneSlot):], func(t *testing.T, b backend) {
		s := b.open(t)
		deps := []store.Dependency{on("a", "1"), joinedTo("b")}
		l := lease(t, s, "q", deps...)
		require.True(t, saveJoined(t, s, l, "old", ids("b", "7")))
		requireHit(t, s, "q", "old", deps...)
		invalidate(t, s, changed("c", row{"7", "1"}))
		requireHit(t, s, "q", "old", deps...)
		late := lease(t, s, "late", deps...)
		invalidate(t, s, changed("b", row{"8", "1"}))
		saveJoined(t, s, late, "old", ids("b", "7"))
		require.Equal(t, store.Leased, acquire(t, s, "q", deps...).State)
		require.Equal(t, store.Leased, acquire(t, s, "late", deps...).State)
	})
}

// The entries of a cluster's namespace are on all nodes, and so are its tables.
func TestASpreadNamespaceIsOnAllNodes(t *testing.T) {
	onEachOf(t, modes[len(inOneSlot):], func(t *testing.T, b backend) {
		if !b.cluster() {
			t.Skip("concerns a cluster")
		}
		ns := newNamespace()
		s := b.open(t, in(ns))
		slots := map[int]bool{}
		for i := range 64 {
			name := string(rune('0' + i))
			fill(t, s, name, name, on("t"+name, "1"), on("u", "1"))
			slots[slotOf(t, b.client, s.EntryName(entry(name)))/(16384/3+1)] = true
		}
		require.Len(t, slots, 3)
		for i := range 64 {
			name := string(rune('0' + i))
			requireHit(t, s, name, name, on("t"+name, "1"), on("u", "1"))
		}
		tables, err := s.Tables(t.Context())
		require.NoError(t, err)
		require.Len(t, tables, 65)
		survey, err := s.Survey(t.Context(), 0)
		require.NoError(t, err)
		require.EqualValues(t, 64, survey.Entries.Keys)
		require.EqualValues(t, 64, survey.ByTable["u"].Keys)
		require.EqualValues(t, 1, survey.ByTable["t0"].Keys)
		invalidate(t, s, changed("u", row{"1", "1"}))
		for i := range 64 {
			name := string(rune('0' + i))
			l, err := s.Peek(t.Context(), entry(name), []store.Dependency{on("t"+name, "1"), on("u", "1")})
			require.NoError(t, err)
			require.Equal(t, store.Missing, l.State)
		}
	})
}
