package commit_test

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cacheplugin/cacheplugin/conj"
	"github.com/cacheplugin/cacheplugin/internal/commit"
	"github.com/cacheplugin/cacheplugin/internal/namespace"
	"github.com/cacheplugin/cacheplugin/internal/report"
	"github.com/cacheplugin/cacheplugin/internal/store"
	"github.com/cacheplugin/cacheplugin/internal/testenv"
)

func TestFlush_drops(t *testing.T) {
	results := map[string][]store.Dependency{
		"brands of kind 1": ofKind(brands, "1"), "brands of kind 2": ofKind(brands, "2"), "shops of kind 1": ofKind(shops, "1"),
	}
	for name, c := range map[string]struct {
		record func(p *process, j *commit.Journal)
		drops  []string
		events []report.Event
	}{
		"nothing": {record: func(*process, *commit.Journal) {}},
		"rows": {
			record: func(p *process, j *commit.Journal) {
				j.AddRows(p.home, brands, conj.Separate(img("7", "1"), img("7", "3"))...)
			},
			drops:  []string{"brands of kind 1"},
			events: []report.Event{{Kind: report.Invalidate, Table: "brands", Images: 2, Keys: 2, Dropped: 1}},
		},
		"a_table": {
			record: func(p *process, j *commit.Journal) { j.AddTable(p.home, "brands") },
			drops:  []string{"brands of kind 1", "brands of kind 2"},
			events: []report.Event{{Kind: report.Invalidate, Table: "brands", Whole: true, Dropped: 1}},
		},
		"everything": {
			record: func(p *process, j *commit.Journal) {
				j.AddRows(p.home, brands, conj.Separate(img("7", "1"))...)
				j.AddEverything(p.home)
			},
			drops:  []string{"brands of kind 1", "brands of kind 2", "shops of kind 1"},
			events: []report.Event{{Kind: report.Invalidate, Table: "*", Whole: true}},
		},
	} {
		t.Run(name, func(t *testing.T) {
			p := start(t, testenv.Redis(t), newPrefix())
			other, err := p.namespaces.Open(":other")
			require.NoError(t, err)
			for result, deps := range results {
				fill(t, p.home, result, deps)
				fill(t, other, result, deps)
			}
			// The first flush of a process learns what to ask for.
			require.NoError(t, p.Flush(t.Context(), p.journal(func(j *commit.Journal) { j.AddRows(p.home, brands, conj.Separate(img("0", "0"))...) })))
			p.took(report.Invalidate)

			require.NoError(t, p.journal(func(j *commit.Journal) { c.record(p, j) }).Flush(t.Context()))
			require.Equal(t, c.events, p.took(report.Invalidate))
			for result, deps := range results {
				want := store.Hit
				for _, dropped := range c.drops {
					if dropped == result {
						want = store.Missing
					}
				}
				require.Equal(t, want, state(t, p.home, result, deps), result)
				require.Equal(t, store.Hit, state(t, other, result, deps), "%s elsewhere", result)
			}
		})
	}
}

type redefinable struct{ told int }

func (r *redefinable) Redefined() { r.told++ }

func TestFlush_when_Redis_does_not_answer(t *testing.T) {
	for name, record := range map[string]func(ns *namespace.Namespace, j *commit.Journal){
		"a_table":    func(ns *namespace.Namespace, j *commit.Journal) { j.AddTable(ns, "brands") },
		"everything": func(ns *namespace.Namespace, j *commit.Journal) { j.AddEverything(ns) },
	} {
		for _, returns := range []bool{false, true} {
			way := map[bool]string{false: "/reported", true: "/returned"}[returns]
			t.Run(name+way, func(t *testing.T) {
				client, off := behindCut(t)
				p := start(t, client, newPrefix(), func(o *commit.Options) { o.ReturnErrors = returns })
				fill(t, p.home, "one", ofKind(brands, "1"))
				d := &redefinable{}
				var done atomic.Int32
				j := p.journal(func(j *commit.Journal) {
					record(p.home, j)
					j.Redefine(d)
					j.Then(func(context.Context) { done.Add(1) })
				})

				off.Store(true)
				err := j.Flush(t.Context())
				if returns {
					require.ErrorIs(t, err, commit.ErrCommittedNotInvalidated)
					require.ErrorIs(t, err, store.ErrQueued)
					require.ErrorIs(t, err, errCut)
				} else {
					require.NoError(t, err)
				}
				require.EqualValues(t, 1, p.report.Stats().Queued)
				require.EqualValues(t, 1, p.report.Stats().Errors)
				require.True(t, p.home.Guard.Bypass("brands"))
				require.Equal(t, 1, d.told)
				require.Zero(t, done.Load(), "it is for what was invalidated")

				off.Store(false)
				require.Eventually(t, func() bool { return !p.home.Guard.Bypass("brands") }, time.Minute, time.Millisecond)
				require.Equal(t, store.Missing, state(t, p.home, "one", ofKind(brands, "1")), "it is carried out when Redis is back")
				require.NoError(t, p.Flush(t.Context(), j))
				require.Equal(t, 2, d.told)
				require.Eventually(t, func() bool { return done.Load() == 1 }, time.Minute, time.Millisecond)
			})
		}
	}
}

func TestFlush_after_Close_says_that_nothing_was_queued(t *testing.T) {
	client, off := behindCut(t)
	p := start(t, client, newPrefix())
	require.NoError(t, p.Close(t.Context()))
	require.NoError(t, p.home.Guard.Close(t.Context()))
	off.Store(true)
	err := p.journal(func(j *commit.Journal) { j.AddTable(p.home, "brands") }).Flush(t.Context())
	require.ErrorIs(t, err, store.ErrClosed, "whatever the options say")
	off.Store(false)
}

func TestFlush_postponed(t *testing.T) {
	p := start(t, testenv.Redis(t), newPrefix())
	one, two := ofKind(brands, "1"), ofKind(brands, "2")
	fill(t, p.home, "one", one)
	fill(t, p.home, "two", two)
	outer := p.NewJournal(conj.SQLite)
	ctx := commit.WithPostponed(t.Context(), outer)
	require.NoError(t, p.journal(func(j *commit.Journal) { j.AddRows(p.home, brands, conj.Separate(img("1", "1"))...) }).Flush(ctx))
	require.Equal(t, store.Hit, state(t, p.home, "one", one))
	require.NoError(t, outer.Flush(t.Context()))
	require.Equal(t, store.Missing, state(t, p.home, "one", one))
	require.Equal(t, store.Hit, state(t, p.home, "two", two))
}

func TestFlushAgain_is_done_at_Close(t *testing.T) {
	p := start(t, testenv.Redis(t), newPrefix())
	deps := ofKind(brands, "1")
	j := p.journal(func(j *commit.Journal) { j.AddRows(p.home, brands, conj.Separate(img("1", "1"))...) })
	require.NoError(t, p.Flush(t.Context(), j))
	p.FlushAgain(t.Context(), j)
	fill(t, p.home, "one", deps) // what was read before the foreign transaction's COMMIT
	require.NoError(t, p.Close(t.Context()))
	require.Equal(t, store.Missing, state(t, p.home, "one", deps))
}
