package commit_test

import (
	"context"
	"errors"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cacheplugin/cacheplugin/conj"
	"github.com/cacheplugin/cacheplugin/internal/commit"
	"github.com/cacheplugin/cacheplugin/internal/namespace"
	"github.com/cacheplugin/cacheplugin/internal/report"
	"github.com/cacheplugin/cacheplugin/internal/store"
	"github.com/cacheplugin/cacheplugin/internal/testenv"
)

func strict(o *commit.Options) { o.Strict = true }

// extents records changes of one brand, by how far they reach.
var extents = map[string]func(ns *namespace.Namespace, j *commit.Journal){
	"rows": func(ns *namespace.Namespace, j *commit.Journal) {
		j.AddRows(ns, brands, conj.Separate(img("1", "1"))...)
	},
	"a_table":    func(ns *namespace.Namespace, j *commit.Journal) { j.AddTable(ns, "brands") },
	"everything": func(ns *namespace.Namespace, j *commit.Journal) { j.AddEverything(ns) },
}

func TestFence(t *testing.T) {
	one := ofKind(brands, "1")
	for name, record := range extents {
		journal := func(p *process) *commit.Journal {
			return p.journal(func(j *commit.Journal) { record(p.home, j) })
		}
		t.Run(name+"/keeps_new_results_away_until_the_flush", func(t *testing.T) {
			p := start(t, testenv.Redis(t), newPrefix(), strict)
			fill(t, p.home, "one", one)
			j := journal(p)
			require.NoError(t, p.Fence(t.Context(), j))
			require.Equal(t, store.Fenced, acquire(t, p.home, "one", one).State, "it was dropped in advance")
			require.NoError(t, p.Flush(t.Context(), j))
			fill(t, p.home, "one", one)
		})
		t.Run(name+"/is_not_set_unless_Strict", func(t *testing.T) {
			p := start(t, testenv.Redis(t), newPrefix())
			fill(t, p.home, "one", one)
			j := journal(p)
			require.NoError(t, p.Fence(t.Context(), j))
			require.Nil(t, j.Fenced())
			require.Equal(t, store.Hit, state(t, p.home, "one", one))
		})
		t.Run(name+"/stays_if_the_outcome_of_COMMIT_is_not_known", func(t *testing.T) {
			for way, mark := range map[string]func(j *commit.Journal){
				"of_a_transaction": func(j *commit.Journal) { j.Outcome(context.DeadlineExceeded) },
				"of_a_statement":   (*commit.Journal).MarkUnsure,
			} {
				t.Run(way, func(t *testing.T) {
					p := start(t, testenv.Redis(t), newPrefix(), strict)
					j := journal(p)
					require.NoError(t, p.Fence(t.Context(), j))
					mark(j)
					require.NoError(t, p.Flush(t.Context(), j))
					require.Equal(t, store.Fenced, acquire(t, p.home, "one", one).State)
				})
			}
		})
		t.Run(name+"/falls_after_a_COMMIT_that_was_refused", func(t *testing.T) {
			p := start(t, testenv.Redis(t), newPrefix(), strict)
			j := journal(p)
			require.NoError(t, p.Fence(t.Context(), j))
			j.Outcome(errors.New("constraint failed"))
			require.NoError(t, p.Flush(t.Context(), j))
			fill(t, p.home, "one", one)
		})
		t.Run(name+"/is_dropped_by_a_journal_that_adopts_it", func(t *testing.T) {
			p := start(t, testenv.Redis(t), newPrefix(), strict)
			announced := journal(p)
			require.NoError(t, p.Fence(t.Context(), announced))
			j := p.NewJournal(conj.SQLite)
			j.Adopt(nil)
			require.True(t, j.Empty())
			j.Adopt(announced.Fenced())
			require.NoError(t, p.Flush(t.Context(), j), "nothing has changed in the end")
			fill(t, p.home, "one", one)
		})
		t.Run(name+"/under_Postpone_falls_at_its_end", func(t *testing.T) {
			p := start(t, testenv.Redis(t), newPrefix(), strict)
			outer := p.NewJournal(conj.SQLite)
			ctx := commit.WithPostponed(t.Context(), outer)
			j := journal(p)
			require.NoError(t, p.Fence(ctx, j))
			require.NoError(t, j.Flush(ctx))
			require.Equal(t, store.Fenced, acquire(t, p.home, "one", one).State)
			require.NoError(t, outer.Flush(t.Context()))
			fill(t, p.home, "one", one)
		})
		t.Run(name+"/that_can't_be_set", func(t *testing.T) {
			client, off := behindCut(t)
			for fallback, want := range map[bool]error{false: commit.ErrNotFenced, true: nil} {
				p := start(t, client, newPrefix(), strict, func(o *commit.Options) { o.FenceFallback = fallback })
				off.Store(true)
				err := p.Fence(t.Context(), journal(p))
				off.Store(false)
				if want == nil {
					require.NoError(t, err)
				} else {
					require.ErrorIs(t, err, want)
					require.ErrorIs(t, err, errCut)
				}
				require.EqualValues(t, 1, p.report.Stats().Errors)
				require.False(t, p.home.Guard.Bypass("brands"), "nothing is queued")
			}
		})
	}
}

func TestFence_is_set_anew_only_if_it_must_be(t *testing.T) {
	client, calls := behindCut(t)
	p := start(t, client, newPrefix(), strict)
	j := p.NewJournal(conj.SQLite)
	sends := func(what string) {
		t.Helper()
		before := calls.sent.Load()
		require.NoError(t, p.Fence(t.Context(), j))
		require.Greater(t, calls.sent.Load(), before, what)
		after := calls.sent.Load()
		require.NoError(t, p.Fence(t.Context(), j))
		require.Equal(t, after, calls.sent.Load(), "it is up")
	}
	require.NoError(t, p.Fence(t.Context(), j))
	require.Zero(t, calls.sent.Load(), "nothing has changed")
	j.AddRows(p.home, brands, conj.Separate(img("1", "1"))...)
	sends("the first time")
	id := j.Fenced()
	j.AddTable(p.home, "shops")
	sends("after more was recorded")
	require.NoError(t, p.Flush(t.Context(), j))
	sends("after a flush, which has dropped it")
	require.Same(t, id, j.Fenced())
}

func TestFlush_counts_what_the_fence_has_dropped(t *testing.T) {
	p := start(t, testenv.Redis(t), newPrefix(), strict)
	fill(t, p.home, "one", ofKind(brands, "1"))
	j := p.journal(func(j *commit.Journal) { j.AddRows(p.home, brands, conj.Separate(img("1", "1"))...) })
	require.NoError(t, p.Fence(t.Context(), j))
	require.Empty(t, p.took(report.Invalidate))
	require.NoError(t, p.Flush(t.Context(), j))
	require.Equal(t, []report.Event{{Kind: report.Invalidate, Table: "brands", Images: 1, Keys: 1, Dropped: 1}}, p.took(report.Invalidate))
}
