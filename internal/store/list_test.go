package store_test

import (
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/cacheplugin/cacheplugin/conj"
	"github.com/cacheplugin/cacheplugin/internal/store"
	"github.com/cacheplugin/cacheplugin/internal/testenv"
)

// feed is a list of one table in a store of its own.
type feed struct {
	*store.Store
	client redis.UniversalClient
	at     store.List
	table  *conj.Table
}

func newFeed(t *testing.T, o store.Options) *feed {
	t.Helper()
	f := &feed{client: testenv.StartRedis(t).Client(t), table: conj.NewTable("t", "t", []conj.Column{{Name: "id", Kind: conj.Integer}, {Name: "owner", Kind: conj.Integer}})}
	o.Client = f.client
	s, err := store.New(o)
	require.NoError(t, err)
	t.Cleanup(func() { s.Close(t.Context()) })
	f.Store = s
	scheme := f.table.ListScheme("x", []int{1}, 0)
	f.at = store.List{Table: "t", Scheme: scheme, Key: f.table.ListKey(scheme, []conj.Value{"=7"})}
	return f
}

// change is that of a row of the list's.
func (f *feed) change(row string) store.Change {
	img := conj.Image{conj.Value("=" + row), "=7"}
	return store.Change{
		Table: "t",
		Keys:  func(schemes []conj.Scheme) ([]conj.Key, bool) { return f.table.Keys(conj.Change{New: img}, schemes) },
		Marks: func(schemes []conj.Scheme) (marks []store.Mark, ok bool) {
			for _, s := range schemes {
				list, row, ok := f.table.ListRow(img, s)
				if !ok {
					return nil, false
				}
				marks = append(marks, store.Mark{List: list, Row: row})
			}
			return marks, true
		},
	}
}

func (f *feed) write(t *testing.T, row string) {
	t.Helper()
	_, err := f.Invalidate(t.Context(), []store.Change{f.change(row)})
	require.NoError(t, err)
}

func (f *feed) open(t *testing.T) *store.Opening {
	t.Helper()
	o, err := f.OpenList(t.Context(), f.at, time.Hour)
	require.NoError(t, err)
	return o
}

func (f *feed) fill(t *testing.T, o *store.Opening, rows ...store.ListRow) bool {
	t.Helper()
	ok, err := f.FillList(t.Context(), o, "layout", rows, "", time.Hour)
	require.NoError(t, err)
	return ok
}

func (f *feed) look(t *testing.T) store.ListAnswer {
	t.Helper()
	a, err := f.ReadList(t.Context(), f.at, store.AskRange(0, 100, false))
	require.NoError(t, err)
	return a
}

// merge brings what a reader has read after an answer.
func (f *feed) merge(t *testing.T, a store.ListAnswer, found ...store.ListRow) {
	t.Helper()
	require.Equal(t, store.ListMarked, a.State)
	require.NoError(t, f.MergeList(t.Context(), f.at, store.Merging{Version: a.Version, Marked: a.Marked, Found: found, Layout: "layout", Keep: 100}))
}

// shows requires that the list is whole and has some rows.
func (f *feed) shows(t *testing.T, encoded ...string) {
	t.Helper()
	a := f.look(t)
	require.Equal(t, store.ListRead, a.State)
	got := []string{}
	for _, r := range a.Rows {
		got = append(got, r.Encoded)
	}
	require.Equal(t, append([]string{}, encoded...), got)
	require.EqualValues(t, len(encoded), a.Len)
}

func item(n int64, encoded string) store.ListRow {
	return store.ListRow{Row: n, Order: n, Encoded: encoded}
}

func onFeeds(t *testing.T, test func(t *testing.T, f *feed)) {
	t.Helper()
	for _, mode := range []store.Mode{store.ConjunctionSets, store.InsideOut} {
		t.Run(mode.String(), func(t *testing.T) { test(t, newFeed(t, store.Options{Mode: mode})) })
	}
}

func TestAListIsFilledMarkedAndMerged(t *testing.T) {
	onFeeds(t, func(t *testing.T, f *feed) {
		require.Equal(t, store.NoList, f.look(t).State)
		require.True(t, f.fill(t, f.open(t), item(2, "b"), item(1, "a")))
		f.shows(t, "a", "b")
		f.write(t, "3")
		a := f.look(t)
		f.merge(t, a, item(3, "c"))
		f.shows(t, "a", "b", "c")
		f.write(t, "1")
		f.merge(t, f.look(t))
		f.shows(t, "b", "c")
	})
}

// TestAWriteDuringAFillLeavesItsMark: the fill may or may not have seen it.
func TestAWriteDuringAFillLeavesItsMark(t *testing.T) {
	onFeeds(t, func(t *testing.T, f *feed) {
		o := f.open(t)
		f.write(t, "1")
		require.True(t, f.fill(t, o, item(1, "old")))
		f.merge(t, f.look(t), item(1, "new"))
		f.shows(t, "new")
	})
}

// TestARowThatIsMarkedAgainIsNotMerged: what was read before the second write may be old.
func TestARowThatIsMarkedAgainIsNotMerged(t *testing.T) {
	onFeeds(t, func(t *testing.T, f *feed) {
		require.True(t, f.fill(t, f.open(t), item(1, "a"), item(2, "b")))
		f.write(t, "1")
		f.write(t, "2")
		slow := f.look(t)
		f.write(t, "1")
		f.merge(t, slow, item(1, "old"), item(2, "new"))
		again := f.look(t)
		require.Len(t, again.Marked, 1)
		f.merge(t, again, item(1, "new"))
		f.shows(t, "new", "new")
	})
}

// TestALateMergeChangesNothing: the slower of two readers, or a call that the network
// has delivered twice, comes when the faster one has cleared the mark.
func TestALateMergeChangesNothing(t *testing.T) {
	onFeeds(t, func(t *testing.T, f *feed) {
		require.True(t, f.fill(t, f.open(t), item(1, "a")))
		f.write(t, "1")
		slow := f.look(t)
		f.merge(t, f.look(t), item(1, "b"))
		f.merge(t, slow, item(1, "old"))
		f.shows(t, "b")
		f.write(t, "1")
		f.merge(t, slow, item(1, "old"))
		require.Equal(t, store.ListMarked, f.look(t).State)
	})
}

// TestALateFillChangesNothing: the client has sent a call twice, and the first arrives
// when rows of the list have been read again.
func TestALateFillChangesNothing(t *testing.T) {
	onFeeds(t, func(t *testing.T, f *feed) {
		o := f.open(t)
		require.True(t, f.fill(t, o, item(1, "old"), item(2, "b")))
		f.write(t, "1")
		f.merge(t, f.look(t), item(1, "new"))
		require.False(t, f.fill(t, o, item(1, "old"), item(2, "b")))
		f.shows(t, "new", "b")
	})
}

func TestAMergeIntoAnotherFillIsRefused(t *testing.T) {
	onFeeds(t, func(t *testing.T, f *feed) {
		require.True(t, f.fill(t, f.open(t), item(1, "a")))
		f.write(t, "1")
		slow := f.look(t)
		_, err := f.Invalidate(t.Context(), []store.Change{{Table: "t"}})
		require.NoError(t, err)
		require.True(t, f.fill(t, f.open(t), item(1, "b")))
		f.merge(t, slow, item(1, "old"))
		f.shows(t, "b")
	})
}

func TestWhatDropsTheTableDropsItsLists(t *testing.T) {
	onFeeds(t, func(t *testing.T, f *feed) {
		for name, drop := range map[string]func() error{
			"the table": func() error {
				_, err := f.Invalidate(t.Context(), []store.Change{{Table: "t"}})
				return err
			},
			"everything": func() error { return f.InvalidateAll(t.Context()) },
			"a change that tells no rows of lists": func() error {
				_, err := f.Invalidate(t.Context(), []store.Change{{Table: "t", Keys: f.change("1").Keys}})
				return err
			},
		} {
			require.True(t, f.fill(t, f.open(t), item(1, "a")), name)
			f.shows(t, "a")
			require.NoError(t, drop(), name)
			require.Equal(t, store.NoList, f.look(t).State, name)

			o := f.open(t)
			require.NoError(t, drop(), name)
			f.fill(t, o, item(1, "a"))
			require.Equal(t, store.NoList, f.look(t).State, "%s during a fill", name)
		}
	})
}

func TestOnlyOneFillsAList(t *testing.T) {
	onFeeds(t, func(t *testing.T, f *feed) {
		o := f.open(t)
		require.Nil(t, f.open(t))
		require.NoError(t, f.AbandonList(t.Context(), o))
		o = f.open(t)
		require.NotNil(t, o)
		require.True(t, f.fill(t, o))
		f.shows(t)
	})
}

// TestALossMakesAListInvalid: Redis may evict any key.
func TestALossMakesAListInvalid(t *testing.T) {
	onFeeds(t, func(t *testing.T, f *feed) {
		head := f.ListName("t", f.at.Key)
		f.write(t, "9")
		keys := func(part string) []string {
			all, err := f.client.Keys(t.Context(), "*").Result()
			require.NoError(t, err)
			var some []string
			for _, key := range all {
				if strings.HasPrefix(key, head+part) {
					some = append(some, key)
				}
			}
			return some
		}
		for name, lost := range map[string]func() []string{
			"head":   func() []string { return []string{head} },
			"places": func() []string { return keys(":z:") },
			"rows":   func() []string { return keys(":r:") },
			"table":  func() []string { return []string{f.TableName("t")} },
			"epoch":  func() []string { return []string{"{cacheplugin}N"} },
		} {
			require.True(t, f.fill(t, f.open(t), item(1, "a"), item(2, "b")), name)
			f.shows(t, "a", "b")
			f.write(t, "1")
			marked := f.look(t)
			require.NoError(t, f.client.Del(t.Context(), lost()...).Err())
			require.Equal(t, store.NoList, f.look(t).State, name)
			f.merge(t, marked, item(1, "c"))
			require.Equal(t, store.NoList, f.look(t).State, name)
		}
	})
}

// TestUnderAFenceNothingIsMergedOrFilled: what is read before the commit is old after it.
func TestUnderAFenceNothingIsMergedOrFilled(t *testing.T) {
	onFeeds(t, func(t *testing.T, f *feed) {
		require.True(t, f.fill(t, f.open(t), item(1, "a")))
		f.write(t, "1")
		before := f.look(t)
		id := store.NewFenceID()
		_, err := f.Fence(t.Context(), id, []store.Change{f.change("1")}, time.Hour)
		require.NoError(t, err)
		f.merge(t, before, item(1, "old"))
		require.Equal(t, store.ListFenced, f.look(t).State)
		_, err = f.Invalidate(t.Context(), []store.Change{f.change("1")}, id)
		require.NoError(t, err)
		f.merge(t, f.look(t), item(1, "new"))
		f.shows(t, "new")

		o := f.open(t)
		require.NotNil(t, o)
		_, err = f.Fence(t.Context(), id, []store.Change{f.change("1")}, time.Hour)
		require.NoError(t, err)
		f.fill(t, o, item(1, "old"))
		require.Equal(t, store.ListFenced, f.look(t).State)
		_, err = f.Invalidate(t.Context(), nil)
		require.NoError(t, err)
		require.NoError(t, f.client.Del(t.Context(), f.ListName("t", f.at.Key)).Err())
		require.Nil(t, f.open(t))
	})
}

func TestAListWithTooManyMarksIsDropped(t *testing.T) {
	onFeeds(t, func(t *testing.T, f *feed) {
		require.True(t, f.fill(t, f.open(t), item(1, "a")))
		f.write(t, "1")
		many := store.Change{Table: "t", Keys: f.change("1").Keys, Marks: func([]conj.Scheme) (all []store.Mark, ok bool) {
			for n := range int64(store.MaxMarks) {
				all = append(all, store.Mark{List: f.at.Key, Row: n})
			}
			return all, true
		}}
		_, err := f.Invalidate(t.Context(), []store.Change{many})
		require.NoError(t, err)
		require.Len(t, f.look(t).Marked, store.MaxMarks)
		f.write(t, "1000000")
		require.Equal(t, store.NoList, f.look(t).State)
	})
}

// TestAFullServerLosesItsLists: it refuses marks, and permits to delete.
func TestAFullServerLosesItsLists(t *testing.T) {
	onFeeds(t, func(t *testing.T, f *feed) {
		require.True(t, f.fill(t, f.open(t), item(1, "a")))
		f.write(t, "1")
		f.merge(t, f.look(t), item(1, "b"))
		require.NoError(t, f.client.ConfigSet(t.Context(), "maxmemory", "1").Err())
		f.write(t, "1")
		require.NoError(t, f.client.ConfigSet(t.Context(), "maxmemory", "0").Err())
		require.Equal(t, store.NoList, f.look(t).State)
	})
}

// TestAListGrowsToItsBoundAndIsCut: what lies beyond is not in it, and it says so.
func TestAListGrowsToItsBoundAndIsCut(t *testing.T) {
	onFeeds(t, func(t *testing.T, f *feed) {
		for _, reverse := range []bool{false, true} {
			sign := int64(1)
			if reverse {
				sign = -1
			}
			_, err := f.Invalidate(t.Context(), []store.Change{{Table: "t"}})
			require.NoError(t, err)
			last := store.ListRow{Row: 4, Order: 4 * sign, Encoded: "4"}
			ok, err := f.FillList(t.Context(), f.open(t), "layout", []store.ListRow{{Row: 1, Order: sign, Encoded: "1"}, last}, last.Place(), time.Hour)
			require.NoError(t, err)
			require.True(t, ok)
			for _, n := range []int64{2, 9, 3, 5, 0} { // 9 and 5 are beyond the end
				f.write(t, string(rune('0'+n)))
				a := f.look(t)
				found := store.ListRow{Row: n, Order: n * sign, Encoded: string(rune('0' + n))}
				require.NoError(t, f.MergeList(t.Context(), f.at, store.Merging{Version: a.Version, Marked: a.Marked, Found: []store.ListRow{found}, Layout: "layout", Keep: 4, Reverse: reverse}))
			}
			a, err := f.ReadList(t.Context(), f.at, store.AskRange(0, 9, reverse))
			require.NoError(t, err)
			require.Len(t, a.Rows, 5)
			require.Equal(t, last.Place(), a.Bound)
			f.write(t, "6")
			a = f.look(t)
			found := store.ListRow{Row: 6, Order: -6 * sign, Encoded: "6"}
			require.NoError(t, f.MergeList(t.Context(), f.at, store.Merging{Version: a.Version, Marked: a.Marked, Found: []store.ListRow{found}, Layout: "layout", Keep: 4, Reverse: reverse}))
			a, err = f.ReadList(t.Context(), f.at, store.AskRange(0, 9, reverse))
			require.NoError(t, err)
			var got string
			for _, r := range a.Rows {
				got += r.Encoded
			}
			require.Equal(t, "6012", got)
			require.Equal(t, store.ListRow{Row: 2, Order: 2 * sign}.Place(), a.Bound)
		}
	})
}
