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
	require.Equal(t, []Drops{{Dropped: 1}}, c.Causes)

	s.Invalidated(cause, 1, tick())
	s.Miss(shape, entry, tables, tick())
	s.Store(shape, entry, []byte("b"), 1, time.Second, tick())
	c = shape.counts()
	require.EqualValues(t, []int64{2, 1, 1}, []int64{c.Dropped, c.DroppedInVain, c.DroppedWhole}, "it has changed")
	require.Equal(t, []Drops{{Dropped: 1}, {cause, 1}}, c.Causes)

	tick()
	s.Miss(shape, entry, tables, tick())
	require.EqualValues(t, 2, shape.counts().Dropped, "it has expired")

	require.Equal(t, TableCounts{
		Table: "public.t", Whole: 2, Dropped: 2,
		Reasons: map[string]int64{"not in a transaction": 2}, Writers: map[string]int64{"UPDATE t SET b = ?": 2},
	}, s.Snapshot().Tables[1])
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
	require.LessOrEqual(t, len(s.Snapshot().Tables), maxTables)
	all := s.Snapshot().Shapes
	require.Equal(t, busy.ID, all[1].ID, "the folded ones come first, and the used ones are kept")
	require.Equal(t, Others, all[0].ID)
	require.LessOrEqual(t, len(all[1].Skips), maxReasons+1)
	var hits int64
	for _, c := range all {
		hits += c.Hits
	}
	require.EqualValues(t, 3*maxShapes+10, hits, "nothing is lost")
	require.Same(t, busy, s.OfText(conj.PostgreSQL, query, cache.Fetch, "t"))

	list := "SELECT a FROM t WHERE b IN (1"
	short := s.OfText(conj.PostgreSQL, list+")", cache.Fetch, "t")
	long := list + strings.Repeat(", 1", maxLength) + ")"
	require.Same(t, short, s.OfText(conj.PostgreSQL, long, cache.Fetch, "t"))
	_, remembered := s.texts.Load(long)
	require.False(t, remembered, "it takes more than it saves")
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

func TestProcessesAreAddedUp(t *testing.T) {
	process := func(table string, busy int) Snapshot {
		s := NewSet()
		for i := range 5 {
			shape := s.OfText(conj.PostgreSQL, fmt.Sprintf("SELECT c%d FROM t", i), cache.Fetch, "t")
			for range busy - i {
				shape.Hit(false, time.Microsecond)
			}
			shape.Skip("odd")
			shape.Asked(time.Millisecond)
			shape.drop(Cause{Table: table})
		}
		s.Invalidated(Cause{Table: table, Whole: true, Why: "odd", Writer: "w"}, 2, time.Now())
		s.Invalidated(Cause{Table: "both"}, 1, time.Now())
		return s.Snapshot()
	}
	sum := process("a", 10).Add(process("b", 20))
	require.Len(t, sum.Shapes, 5)
	first := sum.Shapes[0]
	require.Equal(t, "SELECT c0 FROM t", first.Text)
	require.EqualValues(t, []int64{30, 30, 2, 2}, []int64{first.Hits, first.TimedHits, first.Asked, first.Skips["odd"]})
	require.Equal(t, 30*time.Microsecond, first.HitTime)
	require.Equal(t, []Drops{{Cause{Table: "a"}, 1}, {Cause{Table: "b"}, 1}}, first.Causes)
	require.Len(t, sum.Tables, 3)
	require.Equal(t, TableCounts{Table: "both", Narrow: 2, Dropped: 2}, sum.Tables[2])
	require.Equal(t, Snapshot{}.Add(sum), sum)

	head := sum.Head(2)
	require.Len(t, head.Shapes, 3)
	var hits int64
	for _, c := range head.Shapes {
		hits += c.Hits
	}
	require.EqualValues(t, 30+28+26+24+22, hits, "the others are folded into one")
	require.Len(t, head.Tables, 2)
	require.Equal(t, head.Head(2), head)
}

func BenchmarkHit(b *testing.B) {
	s, plan := NewSet(), &conj.Plan{}
	for b.Loop() {
		s.OfPlan(conj.PostgreSQL, plan, query, cache.Fetch, "t").Hit(false, 0)
	}
}
