package commit

import (
	"context"
	"errors"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cacheplugin/cacheplugin/conj"
	"github.com/cacheplugin/cacheplugin/internal/change"
	"github.com/cacheplugin/cacheplugin/internal/namespace"
)

var (
	columns  = []conj.Column{{Name: "id", Kind: conj.Integer}, {Name: "kind", Kind: conj.Integer}}
	brands   = conj.NewTable("brands", "brands", columns)
	readAnew = conj.NewTable("brands", "brands", columns[:1])
	one, two = &namespace.Namespace{ID: "one"}, &namespace.Namespace{ID: "two"}
)

// img is an image of a brand.
func img(id, kind conj.Value) conj.Image { return conj.Image{"=" + id, "=" + kind} }

// recording is one call of the Journal.
type recording func(j *Journal)

func rows(images ...conj.Image) recording {
	return func(j *Journal) { j.AddRows(one, brands, conj.Separate(images...)...) }
}

func table(ns *namespace.Namespace) recording {
	return func(j *Journal) { j.AddTable(ns, brands.ID) }
}

// recorded is what a journal holds of a table.
type recorded struct {
	extent change.Extent
	images int
}

func TestJournal_extents(t *testing.T) {
	const maxImages = 2
	for name, c := range map[string]struct {
		record []recording
		want   map[changeKey]recorded
	}{
		"nothing": {nil, map[changeKey]recorded{}},
		"rows_add_up": {
			[]recording{rows(img("1", "1")), rows(img("1", "2"), img("2", "2"))},
			map[changeKey]recorded{{one, "brands"}: {change.Rows, 3}},
		},
		"as_many_images_as_MaxImages_rows_have": {
			[]recording{rows(img("1", "1"), img("1", "2")), rows(img("2", "1"), img("2", "2"))},
			map[changeKey]recorded{{one, "brands"}: {change.Rows, 2 * maxImages}},
		},
		"more_images_are_the_table": {
			[]recording{rows(img("1", "1"), img("1", "2"), img("2", "1"), img("2", "2")), rows(img("3", "3"))},
			map[changeKey]recorded{{one, "brands"}: {change.Table, 0}},
		},
		"two_layouts_of_one_table_are_the_table": {
			[]recording{rows(img("1", "1")), func(j *Journal) { j.AddRows(one, readAnew, conj.Separate(conj.Image{"=1"})...) }},
			map[changeKey]recorded{{one, "brands"}: {change.Table, 0}},
		},
		"a_table_includes_its_rows": {
			[]recording{rows(img("1", "1")), table(one)},
			map[changeKey]recorded{{one, "brands"}: {change.Table, 0}},
		},
		"rows_after_their_table": {
			[]recording{table(one), rows(img("1", "1"))},
			map[changeKey]recorded{{one, "brands"}: {change.Table, 0}},
		},
		"namespaces_apart": {
			[]recording{rows(img("1", "1")), table(two)},
			map[changeKey]recorded{{one, "brands"}: {change.Rows, 1}, {two, "brands"}: {change.Table, 0}},
		},
		"everything": {
			[]recording{func(j *Journal) { j.AddEverything(one, two) }, rows(img("1", "1"))},
			map[changeKey]recorded{{one, ""}: {change.Everything, 0}, {two, ""}: {change.Everything, 0}, {one, "brands"}: {change.Rows, 1}},
		},
	} {
		committer := New(Options{MaxImages: maxImages})
		check := func(t *testing.T, j *Journal) {
			t.Helper()
			got := map[changeKey]recorded{}
			for key, c := range j.changes {
				got[key] = recorded{c.extent, c.images}
			}
			require.Equal(t, c.want, got)
			require.Equal(t, len(c.want) == 0, j.Empty())
		}
		t.Run(name+"/in_one_journal", func(t *testing.T) {
			j := committer.NewJournal(conj.SQLite)
			for _, record := range c.record {
				record(j)
			}
			check(t, j)
		})
		t.Run(name+"/merged", func(t *testing.T) {
			j := committer.NewJournal(conj.SQLite)
			for _, record := range c.record {
				other := committer.NewJournal(conj.SQLite)
				record(other)
				j.Merge(other)
			}
			check(t, j)
		})
	}
}

// database counts how often it is told that it was redefined.
type database struct{ told int }

func (d *database) Redefined() { d.told++ }

func TestJournal_Merge(t *testing.T) {
	committer := New(Options{MaxImages: 1})
	t.Run("takes_what_is_to_be_done_and_told", func(t *testing.T) {
		d := &database{}
		done := make(chan string, 2)
		j, other := committer.NewJournal(0), committer.NewJournal(0)
		j.Then(func(context.Context) { done <- "own" })
		other.Then(func(context.Context) { done <- "other's" })
		other.Redefine(d)
		other.Redefine(d)
		require.False(t, other.Empty())
		j.Merge(other)
		require.NoError(t, committer.Flush(t.Context(), j))
		require.Equal(t, []string{"own", "other's"}, []string{<-done, <-done})
		require.Equal(t, 1, d.told)
	})
	t.Run("takes_the_rows_of_what_was_committed", func(t *testing.T) {
		j, committed, not := committer.NewJournal(0), committer.NewJournal(0), committer.NewJournal(0)
		committed.rows, not.rows = []rowHandle{{id: "1"}}, []rowHandle{{id: "2"}}
		committed.Outcome(nil)
		not.Outcome(context.Canceled)
		j.Merge(not)
		require.False(t, j.committed)
		j.Merge(committed)
		j.Merge(not)
		require.True(t, j.committed)
		require.Equal(t, committed.rows, j.rows)
	})
	t.Run("is_unsure_if_one_is", func(t *testing.T) {
		j, unsure := committer.NewJournal(0), committer.NewJournal(0)
		unsure.MarkUnsure()
		j.Merge(unsure)
		j.Merge(committer.NewJournal(0))
		require.True(t, j.unsure)
	})
	t.Run("leaves_a_table_out_that_was_only_fenced", func(t *testing.T) {
		j, adopted := committer.NewJournal(0), committer.NewJournal(0)
		adopted.Adopt(&Fence{id: "f", around: map[changeKey]struct{}{{one, "brands"}: {}}})
		require.False(t, adopted.Empty(), "its flush drops the fence")
		j.Merge(adopted)
		require.True(t, j.Empty())
	})
}

func TestJournal_Outcome(t *testing.T) {
	for name, c := range map[string]struct {
		dialect           conj.Dialect
		err               error
		committed, unsure bool
	}{
		"committed":               {dialect: conj.PostgreSQL, committed: true},
		"a_server_did_not_answer": {dialect: conj.PostgreSQL, err: errors.New("broken pipe"), unsure: true},
		"an_embedded_one_refused": {dialect: conj.SQLite, err: errors.New("FOREIGN KEY constraint failed")},
	} {
		t.Run(name, func(t *testing.T) {
			j := New(Options{}).NewJournal(c.dialect)
			j.outboxed = 7
			j.Outcome(c.err)
			require.Equal(t, c.committed, j.committed)
			require.Equal(t, c.unsure, j.unsure)
			require.Equal(t, c.err != nil, j.outboxed == 0, "what goes on gets another row")
		})
	}
}

func TestPostponed(t *testing.T) {
	require.Nil(t, Postponed(t.Context()))
	committer := New(Options{MaxImages: 1})
	outer, j := committer.NewJournal(0), committer.NewJournal(0)
	ctx := WithPostponed(t.Context(), outer)
	require.Same(t, outer, Postponed(ctx))
	j.AddTable(one, "brands")
	require.NoError(t, j.Flush(ctx))
	require.Contains(t, outer.changes, changeKey{one, "brands"}, "its flush is left to the outer one")
}

// What was queued must go on naming its rows when the journal is widened later.
func TestWhatWasToldToTheStoreStaysAsItWas(t *testing.T) {
	table := conj.NewTable("main.t", "t", []conj.Column{{Name: "id", Kind: conj.Integer}})
	c := &changes{table: table.ID}
	c.addRows(table, conj.Separate(conj.Image{"=1"}), 10)
	told := forStore([]*changes{c})
	schemes := []conj.Scheme{table.Conjunction([]int{0}, []conj.Value{"=1"}).Scheme}
	before, ok := told[0].Keys(schemes)
	require.True(t, ok)
	require.Len(t, before, 1)
	c.widen(change.Table)
	after, ok := told[0].Keys(schemes)
	require.True(t, ok)
	require.Equal(t, before, after)
}
