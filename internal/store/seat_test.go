package store_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cacheplugin/cacheplugin/conj"
	"github.com/cacheplugin/cacheplugin/internal/store"
)

// now is a moment after all that was done before.
func now(t testing.TB, s *store.Store) store.Moment {
	t.Helper()
	h, err := s.NewSeat(t.Name(), "").Take(t.Context(), "")
	require.NoError(t, err)
	return h.Clock
}

func seen(t testing.TB, s *store.Store, after store.Moment, changes ...store.Change) store.Report {
	t.Helper()
	reports, err := s.InvalidateSeen(t.Context(), changes, after)
	require.NoError(t, err)
	require.Len(t, reports, 1)
	return reports[0]
}

func TestWhatWasLeasedAfterAChangeCouldBeSeenStays(t *testing.T) {
	onEachInOneSlot(t, func(t *testing.T, b backend) {
		s := b.open(t)
		one := changed("a", row{"1", "1"})
		fill(t, s, "old", "old", on("a", "1"))
		early := lease(t, s, "early", on("a", "1"))
		after := now(t, s)
		if b.mode.Mode == store.InsideOut {
			// There is one stamp for all of them, and it is old.
			invalidate(t, s, one)
			after = now(t, s)
		}
		fill(t, s, "new", "new", on("a", "1"))
		late := lease(t, s, "late", on("a", "1"))
		fill(t, s, "other", "other", on("a", "2"))

		report := seen(t, s, after, one)
		if b.mode.Mode == store.ConjunctionSets {
			require.Equal(t, 2, report.Dropped, "an entry and a lease")
		}
		save(t, s, early, "old")
		requireMiss(t, s, "early", on("a", "1"))
		requireMiss(t, s, "old", on("a", "1"))
		requireHit(t, s, "new", "new", on("a", "1"))
		save(t, s, late, "late")
		requireHit(t, s, "late", "late", on("a", "1"))

		seen(t, s, now(t, s), one)
		requireMiss(t, s, "new", on("a", "1"))
		requireMiss(t, s, "late", on("a", "1"))
		requireHit(t, s, "other", "other", on("a", "2"))
	})
}

func TestATableThatWasReadAnewSinceAChangeStays(t *testing.T) {
	onEachInOneSlot(t, func(t *testing.T, b backend) {
		s := b.open(t)
		whole := store.Change{Table: "a"}
		fill(t, s, "a", "old", on("a", "1"))
		after := now(t, s)
		seen(t, s, after, whole)
		requireMiss(t, s, "a", on("a", "1"))
		fill(t, s, "a", "new", on("a", "1"))
		seen(t, s, after, whole)
		requireHit(t, s, "a", "new", on("a", "1"))
		seen(t, s, now(t, s), whole)
		requireMiss(t, s, "a", on("a", "1"))

		fill(t, s, "a", "newer", on("a", "1"))
		require.NoError(t, s.InvalidateAllSeen(t.Context(), now(t, s)))
		requireMiss(t, s, "a", on("a", "1"))
		after = now(t, s)
		fill(t, s, "a", "newest", on("a", "1"))
		invalidate(t, s, whole) // as its own writer does
		fill(t, s, "a", "newest", on("a", "1"))
		require.NoError(t, s.InvalidateAllSeen(t.Context(), 0))
		requireMiss(t, s, "a", on("a", "1"))
		fill(t, s, "a", "last", on("a", "1"))
		require.NoError(t, s.InvalidateAllSeen(t.Context(), after))
		requireHit(t, s, "a", "last", on("a", "1"))
	})
}

// A result with joined rows that was leased before the change must not be saved under a
// stamp that was made after it.
func TestAResultIsNotSavedUnderAStampThatIsYounger(t *testing.T) {
	onEachInOneSlot(t, func(t *testing.T, b backend) {
		s := b.open(t)
		joins := []store.Dependency{on("a", "1"), {Table: "b", Schemes: []conj.Scheme{byID}, Joined: true}}
		l, err := s.Acquire(t.Context(), entry("joined"), joins, ttl)
		require.NoError(t, err)
		require.Equal(t, store.Leased, l.State)
		after := now(t, s) // a row of b has changed since it was read
		fill(t, s, "plain", "new", on("b", "1"))
		_, err = s.Save(t.Context(), l.Lease, []byte("old"), ttl, []conj.Key{key("b", byID, "1")})
		require.NoError(t, err)
		seen(t, s, after, changed("b", row{"1", "1"}))
		found, err := s.Peek(t.Context(), entry("joined"), joins)
		require.NoError(t, err)
		require.Equal(t, store.Missing, found.State)
		requireHit(t, s, "plain", "new", on("b", "1"))
	})
}

func TestASeatIsOneFollowersAtATime(t *testing.T) {
	onEach(t, func(t *testing.T, b backend) {
		s := b.open(t)
		first, second, other := s.NewSeat("log", "a log"), s.NewSeat("log", "a log"), s.NewSeat("another", "another log")
		take := func(seat *store.Seat, position string) store.Holding {
			h, err := seat.Take(t.Context(), position)
			require.NoError(t, err)
			return h
		}
		h := take(first, "")
		require.True(t, h.Mine)
		require.Empty(t, h.Position)
		require.True(t, take(first, "0/5").Mine)
		h = take(second, "0/9")
		require.False(t, h.Mine)
		require.Equal(t, "0/5", h.Position, "one who has not the seat changes nothing")
		require.Positive(t, h.Left)
		require.LessOrEqual(t, h.Left, store.SeatTTL)
		require.True(t, take(other, "x").Mine)
		require.NoError(t, second.Leave(t.Context(), ""), "which it hasn't")
		require.False(t, take(second, "").Mine)

		infos, err := s.Seats(t.Context())
		require.NoError(t, err)
		require.Len(t, infos, 2)
		require.Equal(t, "a log", infos[0].About)
		require.Equal(t, "0/5", infos[0].Position)
		require.True(t, infos[0].Held)

		require.NoError(t, first.Leave(t.Context(), "0/6"))
		h = take(second, "")
		require.True(t, h.Mine)
		require.Equal(t, "0/6", h.Position)
	})
}

// The server's clock may be set back. What was stamped before that lies in the future
// then, and must not count as seen.
func TestAClockThatIsSetBackIsNoticed(t *testing.T) {
	began := time.Now()
	at := func(d time.Duration) time.Time { return began.Add(d) }
	clock := store.NewSeatClock()
	read := func(shown store.Moment, sent, answered time.Duration) float64 {
		return float64(clock(shown, at(sent), at(answered))) / 1e6
	}
	const little = 0.01 // the clocks may drift apart
	require.InDelta(t, 1, read(1_000_000, 0, 0), little)
	require.InDelta(t, 2, read(2_000_000, time.Second, time.Second), little)
	// Half a second later it shows less: it was set back after 2.5 at the most.
	require.InDelta(t, 2.5, read(1_200_000, 1500*time.Millisecond, 1500*time.Millisecond), little)
	require.InDelta(t, 2.5, read(1_700_000, 2*time.Second, 2*time.Second), little)
	require.InDelta(t, 3, read(3_000_000, 3300*time.Millisecond, 3300*time.Millisecond), little)
	// It was set forward, and is set back again.
	require.InDelta(t, 14, read(14_000_000, 4*time.Second, 4*time.Second), little)
	require.InDelta(t, 15, read(5_000_000, 5*time.Second, 5*time.Second), little)
}

// A call that takes long must not make the clock seem to be ahead.
func TestASlowCallDoesNotPutAClockForward(t *testing.T) {
	began := time.Now()
	at := func(d time.Duration) time.Time { return began.Add(d) }
	clock := store.NewSeatClock()
	clock(1_000_000, at(0), at(0))
	clock(1_500_000, at(100*time.Millisecond), at(600*time.Millisecond)) // read at the end of it
	require.InDelta(t, 2_000_000, float64(clock(2_000_000, at(time.Second), at(time.Second))), 10_000)
}
