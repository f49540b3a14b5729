package rules_test

import (
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cacheplugin/cacheplugin/checker/internal/history"
	"github.com/cacheplugin/cacheplugin/checker/internal/rules"
)

const ms = int64(time.Millisecond)

// hand is a history made by hand: items 1 and 2 in group 1, and group 1.
type hand struct {
	t        *testing.T
	dir      string
	clients  map[string]*history.Writer
	names    []string
	initial  []history.State
	current  map[history.Row]history.State
	sequence uint32
}

func item(id, version, group uint32) history.State {
	return history.State{Row: history.Row{ID: id}, Version: version, Group: group, Present: true}
}

func gone(id, version uint32) history.State {
	return history.State{Row: history.Row{ID: id}, Version: version}
}

func group(id, version uint32) history.State {
	return history.State{Row: history.Row{Table: history.Groups, ID: id}, Version: version, Present: true}
}

func newHand(t *testing.T) *hand {
	h := &hand{t: t, dir: t.TempDir(), clients: map[string]*history.Writer{}, current: map[history.Row]history.State{}}
	h.initial = []history.State{item(1, 0, 1), item(2, 0, 1), group(1, 0), group(2, 0)}
	for _, s := range h.initial {
		h.current[s.Row] = s
	}
	return h
}

func (h *hand) add(client string, r history.Record) {
	w := h.clients[client]
	if w == nil {
		var err error
		path := filepath.Join(h.dir, client+".log")
		w, err = history.Create(path)
		require.NoError(h.t, err)
		h.clients[client] = w
		h.names = append(h.names, path)
	}
	require.NoError(h.t, w.Add(&r))
}

// Times in milliseconds; 0 for what did not happen.
type times struct{ began, done, back int64 }

// commit writes one transaction down.
func (h *hand) commit(client string, at times, untold bool, states ...history.State) {
	h.sequence++
	h.add(client, history.Record{Kind: history.WriteBegin, Start: at.began * ms, Seq: h.sequence, States: states})
	if at.done > 0 {
		h.add(client, history.Record{Kind: history.WriteDone, Start: at.done * ms, Seq: h.sequence})
	}
	if at.back > 0 {
		h.add(client, history.Record{Kind: history.WriteReturn, Start: at.back * ms, Seq: h.sequence, Untold: untold})
	}
	for _, s := range states {
		if s.Version > h.current[s.Row].Version {
			h.current[s.Row] = s
		}
	}
}

// foreign writes one down that is up to followers, and where it is in the log.
func (h *hand) foreign(client string, at times, place uint64, states ...history.State) {
	h.commit(client, at, true, states...)
	h.add(client, history.Record{Kind: history.WriteLogged, Start: at.back * ms, Seq: h.sequence, Place: place})
}

// told writes down up to where a follower has told of the log.
func (h *hand) told(at int64, place uint64) {
	h.add("follower", history.Record{Kind: history.FollowTold, Start: at * ms, Place: place})
}

// hit writes a read from the cache down.
func (h *hand) hit(kind history.Kind, a, b uint32, start, end int64, states ...history.State) {
	h.add("reader", history.Record{Kind: kind, A: a, B: b, Start: start * ms, End: end * ms, Source: history.FromCache, States: states})
}

func (h *hand) count(group uint32, n uint32, start, end int64) {
	h.add("reader", history.Record{Kind: history.ReadCount, A: group, Start: start * ms, End: end * ms, Source: history.FromCache, Count: n})
}

func (h *hand) index() (*rules.Index, error) {
	h.t.Helper()
	var writers, followers []string
	for _, path := range h.names {
		require.NoError(h.t, h.clients[rules.ClientOf(path)].Flush())
		switch rules.ClientOf(path) {
		case "reader":
		case "follower":
			followers = append(followers, path)
		default:
			writers = append(writers, path)
		}
	}
	var final []history.State
	for _, s := range h.initial {
		final = append(final, h.current[s.Row])
	}
	return rules.NewIndex(h.initial, final, writers, followers)
}

func (h *hand) judge(promised rules.Grade) *rules.Verdict {
	h.t.Helper()
	x, err := h.index()
	require.NoError(h.t, err)
	v, err := x.Judge(promised, []string{filepath.Join(h.dir, "reader.log")})
	require.NoError(h.t, err)
	return v
}

func counts(v *rules.Verdict) [5]int64 {
	return [5]int64{v.ByGrade[rules.Told].Reads, v.ByGrade[rules.Returned].Reads, v.ByGrade[rules.Committed].Reads, v.Never, v.Torn}
}

// What each grade says of one read, and that all is well without the commit.
func TestEachWayToBeWrong(t *testing.T) {
	for name, c := range map[string]struct {
		make func(h *hand)
		want [5]int64 // told, returned, committed, never, torn
	}{
		"an old row": {func(h *hand) {
			h.commit("w", times{1, 2, 3}, false, item(1, 1, 1))
			h.hit(history.ReadItem, 1, 0, 4, 5, item(1, 0, 1))
		}, [5]int64{1, 1, 1, 0, 0}},
		"an old row while its commit has not returned": {func(h *hand) {
			h.commit("w", times{1, 2, 8}, false, item(1, 1, 1))
			h.hit(history.ReadItem, 1, 0, 4, 5, item(1, 0, 1))
		}, [5]int64{0, 0, 1, 0, 0}},
		"an old row whose invalidation is queued": {func(h *hand) {
			h.commit("w", times{1, 2, 3}, true, item(1, 1, 1))
			h.hit(history.ReadItem, 1, 0, 4, 5, item(1, 0, 1))
		}, [5]int64{0, 1, 1, 0, 0}},
		"an old row of whose commit nobody has told": {func(h *hand) {
			h.foreign("w", times{1, 2, 3}, 10, item(1, 1, 1))
			h.told(4, 9)
			h.told(8, 10)
			h.hit(history.ReadItem, 1, 0, 5, 6, item(1, 0, 1))
		}, [5]int64{0, 1, 1, 0, 0}},
		"an old row of whose commit a follower has told": {func(h *hand) {
			h.foreign("w", times{1, 2, 3}, 10, item(1, 1, 1))
			h.told(4, 11)
			h.told(5, 7) // another one, which has begun behind
			h.hit(history.ReadItem, 1, 0, 6, 7, item(1, 0, 1))
		}, [5]int64{1, 1, 1, 0, 0}},
		"a commit that is under way": {func(h *hand) {
			h.commit("w", times{1, 6, 7}, false, item(1, 1, 1))
			h.hit(history.ReadItem, 1, 0, 3, 5, item(1, 0, 1))
			h.hit(history.ReadItem, 1, 0, 3, 5, item(1, 1, 1))
		}, [5]int64{}},
		"a row that moved away is still in the list": {func(h *hand) {
			h.commit("w", times{1, 2, 3}, false, item(1, 1, 2))
			h.hit(history.ReadList, 1, 0, 4, 5, item(1, 0, 1), item(2, 0, 1))
		}, [5]int64{1, 1, 1, 0, 0}},
		"a row that moved in is missing": {func(h *hand) {
			h.commit("w", times{1, 2, 3}, false, item(1, 1, 2))
			h.hit(history.ReadList, 2, 0, 4, 5)
		}, [5]int64{1, 1, 1, 0, 0}},
		"a deleted row is there": {func(h *hand) {
			h.commit("w", times{1, 2, 3}, false, gone(1, 1))
			h.hit(history.ReadItem, 1, 0, 4, 5, item(1, 0, 1))
		}, [5]int64{1, 1, 1, 0, 0}},
		"a row that was made anew is missing": {func(h *hand) {
			h.commit("w", times{1, 2, 3}, false, gone(1, 1))
			h.commit("w", times{4, 5, 6}, false, item(1, 2, 1))
			h.hit(history.ReadItem, 1, 0, 7, 8)
		}, [5]int64{1, 1, 1, 0, 0}},
		"a count": {func(h *hand) {
			h.commit("w", times{1, 2, 3}, false, item(1, 1, 2))
			h.count(1, 2, 4, 5)
			h.count(1, 1, 4, 5)
		}, [5]int64{1, 1, 1, 0, 0}},
		// The one that returned leaves the count as it is; the one that moved a row
		// away before it has not returned.
		"a count that only another commit changes": {func(h *hand) {
			h.commit("dead", times{1, 2, 0}, false, item(1, 1, 2))
			h.commit("w", times{3, 4, 5}, false, item(2, 1, 1))
			h.count(1, 2, 6, 7)
			h.hit(history.ReadList, 1, 0, 6, 7, item(1, 0, 1), item(2, 0, 1))
		}, [5]int64{1, 1, 2, 0, 0}},
		"a count of a row that another commit has moved": {func(h *hand) {
			h.commit("dead", times{1, 2, 0}, false, item(1, 1, 2))
			h.commit("w", times{3, 4, 5}, false, item(1, 2, 2))
			h.count(1, 2, 6, 7)
			h.count(2, 0, 6, 7)
			h.hit(history.ReadGroupOf, 1, 0, 6, 7, group(1, 0))
		}, [5]int64{0, 0, 3, 0, 0}},
		"an OR, by its ID": {func(h *hand) {
			h.commit("w", times{1, 2, 3}, false, item(1, 1, 1))
			h.hit(history.ReadEither, 2, 1, 4, 5, item(1, 0, 1))
		}, [5]int64{1, 1, 1, 0, 0}},
		"an OR, by its group": {func(h *hand) {
			h.commit("w", times{1, 2, 3}, false, item(1, 1, 2))
			h.hit(history.ReadEither, 2, 2, 4, 5, item(2, 0, 1))
		}, [5]int64{1, 1, 1, 0, 0}},
		"a joined row": {func(h *hand) {
			h.commit("w", times{1, 2, 3}, false, group(1, 1))
			h.hit(history.ReadJoined, 1, 0, 4, 5, item(1, 0, 1), item(2, 0, 1), group(1, 0))
		}, [5]int64{1, 1, 1, 0, 0}},
		"a joined row that is missing": {func(h *hand) {
			h.commit("w", times{1, 2, 3}, false, group(1, 1))
			h.hit(history.ReadJoined, 1, 0, 4, 5, item(1, 0, 1), item(2, 0, 1))
		}, [5]int64{0, 0, 0, 1, 0}},
		"the group of an item": {func(h *hand) {
			h.commit("w", times{1, 2, 3}, false, item(1, 1, 2))
			h.hit(history.ReadGroupOf, 1, 0, 4, 5, group(1, 0))
			h.hit(history.ReadGroupOf, 1, 0, 4, 5, group(2, 0))
		}, [5]int64{1, 1, 1, 0, 0}},
		// The commit that returned did not touch group 1; the one that moved
		// the row out of it has not returned.
		"a result that only another commit changes": {func(h *hand) {
			h.commit("w", times{1, 2, 0}, false, item(1, 1, 2))
			h.commit("x", times{3, 4, 5}, false, item(1, 2, 2))
			h.hit(history.ReadList, 1, 0, 6, 7, item(1, 0, 1), item(2, 0, 1))
		}, [5]int64{0, 0, 1, 0, 0}},
		"and one that it changes as well": {func(h *hand) {
			h.commit("w", times{1, 2, 0}, false, item(1, 1, 2))
			h.commit("x", times{3, 4, 5}, false, item(1, 2, 2))
			h.hit(history.ReadItem, 1, 0, 6, 7, item(1, 0, 1))
		}, [5]int64{1, 1, 1, 0, 0}},
		// x changes the list and has returned: the answer must not be older
		// than x, so that it shows what w has committed before.
		"a moment before a commit that binds": {func(h *hand) {
			h.commit("w", times{1, 2, 0}, false, item(1, 1, 2))
			h.commit("x", times{3, 4, 5}, false, item(2, 1, 1))
			h.hit(history.ReadList, 1, 0, 6, 7, item(1, 0, 1), item(2, 1, 1))
		}, [5]int64{1, 1, 1, 0, 0}},
		// Of a feed x has told its own row alone.
		"a row of a feed before a commit that binds": {func(h *hand) {
			h.commit("w", times{1, 2, 0}, false, item(1, 1, 2))
			h.commit("x", times{3, 4, 5}, false, item(2, 1, 1))
			h.hit(history.ReadFeed, 1, 0, 6, 7, item(1, 0, 1), item(2, 1, 1))
		}, [5]int64{0, 0, 1, 0, 0}},
		"a row of a feed that was told": {func(h *hand) {
			h.commit("w", times{1, 2, 0}, false, item(1, 1, 2))
			h.commit("x", times{3, 4, 5}, false, item(2, 1, 1))
			h.hit(history.ReadFeed, 1, 0, 6, 7, item(1, 1, 1), item(2, 0, 1))
			h.hit(history.ReadFeed, 1, 0, 6, 7, item(2, 0, 1))
			h.hit(history.ReadFeed, 2, 0, 6, 7, item(1, 1, 2))
		}, [5]int64{1, 1, 1, 1, 0}},
		"the length of a feed": {func(h *hand) {
			h.commit("w", times{1, 2, 3}, false, item(1, 1, 2))
			h.add("reader", history.Record{Kind: history.CountFeed, A: 1, Start: 4 * ms, End: 5 * ms, Count: 2})
			h.add("reader", history.Record{Kind: history.CountFeed, A: 1, Start: 4 * ms, End: 5 * ms, Count: 1})
		}, [5]int64{1, 1, 1, 0, 0}},
		"a version that was rolled back": {func(h *hand) {
			h.hit(history.ReadItem, 1, 0, 4, 5, item(1, 1, 1))
		}, [5]int64{0, 0, 0, 1, 0}},
		"a version in another group": {func(h *hand) {
			h.commit("w", times{1, 2, 3}, false, item(1, 1, 1))
			h.hit(history.ReadItem, 1, 0, 4, 5, item(1, 1, 2))
		}, [5]int64{0, 0, 0, 1, 0}},
		"two rows of different moments": {func(h *hand) {
			h.commit("w", times{1, 2, 9}, false, item(1, 1, 1))
			h.commit("x", times{3, 6, 9}, false, item(2, 1, 1))
			h.hit(history.ReadItems, 1, 2, 4, 5, item(1, 0, 1), item(2, 1, 1))
		}, [5]int64{0, 0, 1, 0, 1}},
		"two rows of different moments, both new enough": {func(h *hand) {
			h.commit("w", times{2, 3, 9}, false, item(1, 1, 1))
			h.commit("x", times{4, 6, 9}, false, item(2, 1, 1))
			h.hit(history.ReadItems, 1, 2, 1, 5, item(1, 0, 1), item(2, 1, 1))
		}, [5]int64{0, 0, 0, 0, 1}},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHand(t)
			c.make(h)
			require.Equal(t, c.want, counts(h.judge(rules.Told)))
		})
	}
}

func TestTheLatenessIsWhatThePromiseDoesNotAllow(t *testing.T) {
	h := newHand(t)
	h.commit("w", times{10, 20, 30}, true, item(1, 1, 1))
	h.commit("w", times{40, 50, 60}, false, item(1, 2, 1))
	h.hit(history.ReadItem, 1, 0, 100, 101, item(1, 0, 1))
	v := h.judge(rules.Told)
	for g, want := range map[rules.Grade]int64{rules.Told: 40, rules.Returned: 70, rules.Committed: 80} {
		require.Equal(t, want, v.ByGrade[g].Longest.Milliseconds(), g)
		require.Equal(t, v.ByGrade[g].Longest, v.ByGrade[g].P99(), g)
	}
}

func TestTheLagIsFromTheReturnToTheTelling(t *testing.T) {
	h := newHand(t)
	h.foreign("w", times{1, 2, 3}, 10, item(1, 1, 1))
	h.foreign("w", times{4, 5, 6}, 20, item(1, 2, 1))
	h.foreign("w", times{7, 8, 9}, 30, item(1, 3, 1))
	h.told(5, 10)
	h.told(16, 29)
	x, err := h.index()
	require.NoError(t, err)
	require.EqualValues(t, 2, x.Lag.Reads, "of the third nobody has told")
	require.Equal(t, 10*time.Millisecond, x.Lag.Longest)
}

func TestAKilledWritersTransactionIsJudgedByWhatBecameOfIt(t *testing.T) {
	t.Run("it was committed", func(t *testing.T) {
		h := newHand(t)
		h.commit("w", times{1, 2, 0}, false, item(1, 1, 1))
		h.hit(history.ReadItem, 1, 0, 4, 5, item(1, 0, 1))
		h.hit(history.ReadItem, 1, 0, 9, 10, item(1, 1, 1))
		v := h.judge(rules.Committed)
		require.Equal(t, [5]int64{0, 0, 1, 0, 0}, counts(v))
		require.Equal(t, 7*time.Millisecond, v.FirstFresh)
		require.Equal(t, 2*time.Millisecond, v.LastStale)
		require.Len(t, v.First, 1)
	})
	t.Run("it was not, and another made the version", func(t *testing.T) {
		h := newHand(t)
		h.commit("w", times{1, 0, 0}, false, item(1, 1, 2))
		h.commit("x", times{3, 4, 5}, false, item(1, 1, 1))
		h.current[history.Row{ID: 1}] = item(1, 1, 1)
		h.hit(history.ReadItem, 1, 0, 4, 5, item(1, 0, 1))
		h.hit(history.ReadItem, 1, 0, 6, 7, item(1, 1, 1))
		require.Equal(t, [5]int64{}, counts(h.judge(rules.Committed)))
	})
	t.Run("it was not, and nobody did", func(t *testing.T) {
		h := newHand(t)
		h.commit("w", times{1, 0, 0}, false, item(1, 1, 2))
		h.current[history.Row{ID: 1}] = item(1, 0, 1)
		h.hit(history.ReadItem, 1, 0, 4, 5, item(1, 0, 1))
		h.hit(history.ReadItem, 1, 0, 4, 5, item(1, 1, 2))
		require.Equal(t, [5]int64{0, 0, 0, 1, 0}, counts(h.judge(rules.Committed)))
	})
	t.Run("it was known to be answered by its successor", func(t *testing.T) {
		h := newHand(t)
		h.commit("w", times{1, 0, 0}, false, item(1, 1, 1))
		h.commit("x", times{3, 4, 0}, false, item(1, 2, 1))
		h.hit(history.ReadItem, 1, 0, 5, 6, item(1, 0, 1))
		require.EqualValues(t, 4, h.judge(rules.Committed).First[0].Since/ms)
	})
}

func TestHistoriesThatContradictEachOtherAreRefused(t *testing.T) {
	for name, broken := range map[string]func(h *hand){
		"two commits of a version": func(h *hand) {
			h.commit("w", times{1, 2, 3}, false, item(1, 1, 1))
			h.commit("x", times{1, 2, 3}, false, item(1, 1, 2))
		},
		"a gap": func(h *hand) { h.commit("w", times{1, 2, 3}, false, item(1, 2, 1)) },
		"another end": func(h *hand) {
			h.commit("w", times{1, 2, 3}, false, item(1, 1, 1))
			h.current[history.Row{ID: 1}] = item(1, 1, 2)
		},
		"a lost commit": func(h *hand) {
			h.commit("w", times{1, 2, 3}, false, item(1, 1, 1))
			h.current[history.Row{ID: 1}] = item(1, 0, 1)
		},
		"a row that was not there": func(h *hand) { h.commit("w", times{1, 2, 3}, false, item(9, 1, 1)) },
	} {
		t.Run(name, func(t *testing.T) {
			h := newHand(t)
			broken(h)
			_, err := h.index()
			require.ErrorIs(t, err, rules.ErrBroken)
		})
	}
}

func TestAnExplanationTellsTheOrder(t *testing.T) {
	h := newHand(t)
	h.add("reader", history.Record{Kind: history.ReadItem, A: 1, Start: 1 * ms, End: 4 * ms, Source: history.Stored, States: []history.State{item(1, 0, 1)}})
	h.commit("w", times{2, 3, 5}, false, item(1, 1, 2))
	h.hit(history.ReadItem, 1, 0, 7, 8, item(1, 0, 1))
	x, err := h.index()
	require.NoError(t, err)
	files := []string{filepath.Join(h.dir, "reader.log")}
	v, err := x.Judge(rules.Told, files)
	require.NoError(t, err)
	text, err := x.Explain(v.First[0], files, []rules.Mark{{At: 6 * ms, Text: "FLUSHALL"}})
	require.NoError(t, err)
	require.Equal(t, fmt.Sprintf(`  %s
  %s
  %s
  %s
  %s
  %s
  %s
`, "    -6.000 ms  reader looks the same up, misses, and asks the database",
		"    -5.000 ms  w sends COMMIT of items 1 version 1 (group 2)",
		"    -4.000 ms  w has its answer, and is about to invalidate items 1 version 1 (group 2)",
		"    -3.000 ms  reader has stored what it got",
		"    -2.000 ms  w returns from Commit of items 1 version 1 (group 2)",
		"    -1.000 ms  ! FLUSHALL",
		"     0.000 ms  reader asks for item 1, from the cache: items 1 version 0; version 0, and 1 is owed"), text)
}

func TestPorcupineAgrees(t *testing.T) {
	for name, c := range map[string]struct {
		late          int64 // when the read of the old version starts
		returned, all rules.Opinion
	}{
		"before the commit":         {0, rules.Linearizable, rules.Linearizable},
		"between answer and return": {6, rules.Linearizable, rules.NotLinearizable},
		"after the return":          {20, rules.NotLinearizable, rules.NotLinearizable},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHand(t)
			h.commit("w", times{2, 4, 10}, false, item(1, 1, 1))
			h.commit("x", times{30, 0, 0}, false, item(1, 2, 1))
			h.hit(history.ReadItem, 1, 0, c.late, c.late+1, item(1, 0, 1))
			h.hit(history.ReadItem, 1, 0, 35, 36, item(1, 1, 1))
			h.hit(history.ReadItem, 1, 0, 37, 38, item(1, 2, 1))
			x, err := h.index()
			require.NoError(t, err)
			for grade, want := range map[rules.Grade]rules.Opinion{rules.Returned: c.returned, rules.Committed: c.all} {
				got, err := x.Registers(grade, []string{filepath.Join(h.dir, "reader.log")}, 100, time.Minute)
				require.NoError(t, err)
				require.Equal(t, want, got.Opinion, grade)
				require.Equal(t, 3, got.Reads)
			}
		})
	}
}
