package shapes

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cacheplugin/cacheplugin/cache"
	"github.com/cacheplugin/cacheplugin/conj"
)

const query = "SELECT * FROM t WHERE a = $1"

func TestTextsThatDifferInValuesAreOneShape(t *testing.T) {
	s := NewSet()
	in := func(text string, op cache.Op) *Shape { return s.OfText(conj.PostgreSQL, text, op, "t") }
	one := in("SELECT * FROM t WHERE a IN ($1, $2)", cache.Fetch)
	require.Same(t, one, in("SELECT * FROM t WHERE a IN ($1, $2, $3)", cache.Fetch))
	require.Same(t, one, in("SELECT * FROM t WHERE a IN (1, 2)", cache.Fetch))
	require.NotSame(t, one, in("SELECT * FROM t WHERE a IN (1, 2)", cache.Get))
	require.NotSame(t, one, in("SELECT * FROM t WHERE b IN (1, 2)", cache.Fetch))
	require.NotContains(t, one.Text, "$")
	require.Equal(t, one.ID, NewSet().OfText(conj.PostgreSQL, one.Text, cache.Fetch, "t").ID, "in all processes")
	require.Same(t, s.Computed("t"), s.Computed("t"))
}

func TestAHitCostsNoAllocation(t *testing.T) {
	s, plan := NewSet(), &conj.Plan{}
	hit := func() { s.OfPlan(conj.PostgreSQL, plan, query, cache.Fetch, "t").Hit(false, 0) }
	hit()
	require.Zero(t, testing.AllocsPerRun(1000, hit))
}

func TestADropIsSeenAtTheNextMissAndInVainAtTheNextStore(t *testing.T) {
	s := NewSet()
	shape := s.OfText(conj.PostgreSQL, query, cache.Fetch, "t")
	now := time.Now()
	tick := func() time.Time { now = now.Add(time.Second); return now }
	entry, tables := Entry{Key: [16]byte{1}}, []string{"public.t"}
	cause := Cause{Table: "public.t", Writer: "UPDATE t SET b = ?", Whole: true, Why: "not in a transaction"}

	s.Miss(shape, entry, tables, tick())
	s.Store(shape, entry, []byte("a"), 1, time.Hour, tick())
	s.Miss(shape, entry, tables, tick()) // nobody knows why
	s.Invalidated(Cause{Table: "public.other", Whole: true}, 1, tick())
	s.Invalidated(cause, 1, tick()) // not stored then
	s.Miss(shape, entry, tables, tick())
	s.Store(shape, entry, []byte("a"), 1, time.Hour, tick())
	c := shape.counts()
	require.EqualValues(t, []int64{3, 2, 1, 1, 0}, []int64{c.Misses, c.Stores, c.Dropped, c.DroppedInVain, c.DroppedWhole})
	require.Equal(t, map[Cause]int64{{}: 1}, c.Causes)

	s.Invalidated(cause, 1, tick())
	s.Miss(shape, entry, tables, tick())
	s.Store(shape, entry, []byte("b"), 1, time.Second, tick())
	c = shape.counts()
	require.EqualValues(t, []int64{2, 1, 1}, []int64{c.Dropped, c.DroppedInVain, c.DroppedWhole}, "it has changed")
	require.Equal(t, map[Cause]int64{{}: 1, cause: 1}, c.Causes)

	tick()
	s.Miss(shape, entry, tables, tick())
	require.EqualValues(t, 2, shape.counts().Dropped, "it has expired")

	require.Equal(t, TableCounts{
		Table: "public.t", Whole: 2, Dropped: 2,
		Reasons: map[string]int64{"not in a transaction": 2}, Writers: map[string]int64{"UPDATE t SET b = ?": 2},
	}, s.Tables()[1])
}

func TestEverythingIsBounded(t *testing.T) {
	s := NewSet()
	busy := s.OfText(conj.PostgreSQL, query, cache.Fetch, "t")
	for range 10 {
		busy.Hit(true, time.Millisecond)
	}
	entries := 0
	for i := range 3 * maxShapes {
		shape := s.OfText(conj.PostgreSQL, fmt.Sprintf("SELECT c%d FROM t", i), cache.Fetch, "t")
		shape.Hit(false, 0)
		shape.Skip("odd")
		for range 2 {
			entries++
			s.Store(shape, Entry{Key: [16]byte{byte(entries), byte(entries >> 8)}}, nil, 0, time.Hour, time.Now())
		}
		s.Invalidated(Cause{Table: fmt.Sprint("t", i)}, 1, time.Now())
		busy.Skip(fmt.Sprint("reason ", i))
	}
	require.LessOrEqual(t, len(s.byID), maxShapes)
	require.LessOrEqual(t, len(s.stored.known), maxStored)
	require.LessOrEqual(t, len(s.Tables()), maxTables)
	all := s.Counts()
	require.Equal(t, busy.ID, all[1].ID, "the folded ones come first, and the used ones are kept")
	require.Equal(t, Others, all[0].ID)
	require.LessOrEqual(t, len(all[1].Skips), maxReasons+1)
	var hits int64
	for _, c := range all {
		hits += c.Hits
	}
	require.EqualValues(t, 3*maxShapes+10, hits, "nothing is lost")
	require.Same(t, busy, s.OfText(conj.PostgreSQL, query, cache.Fetch, "t"))
}

func TestAdviceForWhatIsCachedToNoEffect(t *testing.T) {
	for _, test := range []struct {
		counts Counts
		says   string // empty: nothing
	}{
		{Counts{Misses: 99}, ""},
		{Counts{Misses: 100}, "it never hits"},
		{Counts{Misses: 100, Hits: 1}, ""},
		{Counts{Misses: 100, Dropped: 80}, "dropped before they are read again"},
		{Counts{Misses: 100, Dropped: 80, Hits: 100}, ""},
		{Counts{Misses: 100, ID: Others}, ""},
	} {
		advice := test.counts.Advice()
		require.Equal(t, test.says == "", advice == "", advice)
		require.True(t, strings.Contains(advice, test.says), advice)
	}
}

func BenchmarkHit(b *testing.B) {
	s, plan := NewSet(), &conj.Plan{}
	for b.Loop() {
		s.OfPlan(conj.PostgreSQL, plan, query, cache.Fetch, "t").Hit(false, 0)
	}
}
