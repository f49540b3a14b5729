package callbacks

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/cacheplugin/cacheplugin/conj"
	"github.com/cacheplugin/cacheplugin/internal/lookup"
	"github.com/cacheplugin/cacheplugin/internal/namespace"
	"github.com/cacheplugin/cacheplugin/txn"
)

// Trial collects what statements would do to the cache whose transaction is going
// to be rolled back. The statements of its context neither read the cache nor change
// it. It is safe for concurrent use.
type Trial struct {
	// Alone is the place of the statements outside of the transaction, where that
	// was begun for the trial: queries are explained as if each stood there.
	Alone *txn.Place

	mu    sync.Mutex
	tried []Tried
}

// Tried is one statement: a query, or what a write would drop.
type Tried struct {
	Text  string
	Query *lookup.Explanation // nil of a write
	Drops []Drop              // none of a write that is not to drop anything
}

// Drop is what would be dropped of a table.
type Drop struct {
	Table   string // its ID; empty stands for all tables
	Rows    int
	Whole   bool
	Why     string
	Cached  bool
	Entries []string
}

type trialKey struct{}

// WithTrial returns a context for a trial's statements.
func WithTrial(ctx context.Context, t *Trial) context.Context {
	return context.WithValue(ctx, trialKey{}, t)
}

func trialOf(ctx context.Context) *Trial {
	t, _ := ctx.Value(trialKey{}).(*Trial)
	return t
}

// Tried returns the statements in their order.
func (t *Trial) Tried() []Tried {
	t.mu.Lock()
	defer t.mu.Unlock()
	return slices.Clone(t.tried)
}

func (t *Trial) add(one Tried) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.tried = append(t.tried, one)
}

// errNotUndone is what a statement gets that would outlive its trial.
var errNotUndone = errors.New("cacheplugin: ExplainFunc: the statement ends its transaction or commits by itself, and could not be undone: leave it out")

// try explains a query in place of looking it up.
func (r *readPool) try(ctx context.Context, t *Trial, query string, args []any) error {
	q := lookup.NewQuery(r.db, r.ConnPool, r.place, query, args, r.row)
	q.Alone = t.Alone
	x, err := r.handlers.Reads.Explain(ctx, q)
	if err != nil {
		return err
	}
	t.add(Tried{Text: query, Query: &x})
	return nil
}

// outlives reports whether a rollback of the transaction does not undo a statement.
func (s *statement) outlives() bool {
	if s.tx == nil || s.commits || s.plan == nil || s.plan.TwoPhase != conj.NoTwoPhase {
		return true
	}
	switch s.plan.Statement {
	case conj.Begin, conj.Commit, conj.Rollback:
		return true
	}
	return s.handlers.Dialect == conj.MySQL && s.redefines()
}

// try finds out what a write would drop, when its images are complete.
func (s *statement) try(ctx context.Context, t *Trial) {
	one := Tried{Text: s.text}
	switch {
	case s.ignored:
	case s.everything != "":
		one.Drops = []Drop{{Whole: true, Why: s.everything, Cached: true}}
	case s.rows != nil:
		k := &trialSink{statement: s, ctx: ctx}
		s.rows.Note(k)
		one.Drops = k.drops
		if k.err != nil {
			_ = s.db.AddError(fmt.Errorf("cacheplugin: ExplainFunc: what is cached could not be asked: %w", k.err))
		}
	}
	t.add(one)
}

// trialKeys bounds the conjunctions that a statement asks for.
const trialKeys = 250

// trialSink compares what a statement changes with what is cached.
type trialSink struct {
	*statement
	ctx   context.Context //nolint:containedctx // lives in one call
	drops []Drop
	asked int
	err   error
}

// Rows implements rows.Sink.
func (k *trialSink) Rows(table *conj.Table, changes ...conj.Change) {
	d := k.of(table.ID)
	d.Rows += len(changes)
	n, err := k.space(table)
	if err != nil {
		k.err = errors.Join(k.err, err)
		return
	}
	info, err := n.Store.TableInfo(k.ctx, table.ID)
	if err != nil || !info.Known {
		k.err = errors.Join(k.err, err)
		return
	}
	for _, change := range changes {
		keys, ok := table.Keys(change, info.Schemes)
		if !ok {
			d.Whole, d.Cached, d.Why = true, true, "of the written rows a column is not known that results depend on"
			return
		}
		for _, key := range keys {
			if k.asked++; k.asked > trialKeys {
				return
			}
			found, err := n.Store.ConjunctionInfo(k.ctx, table.ID, key)
			if err != nil {
				k.err = errors.Join(k.err, err)
				return
			}
			d.Cached = d.Cached || found.Known
			d.Entries = append(d.Entries, found.Entries...)
		}
	}
	slices.Sort(d.Entries)
	d.Entries = slices.Compact(d.Entries)
}

// Table implements rows.Sink.
func (k *trialSink) Table(table *conj.Table, reason string) {
	d := k.of(table.ID)
	d.Whole, d.Why = true, reason
	n, err := k.space(table)
	if err != nil {
		k.err = errors.Join(k.err, err)
		return
	}
	info, err := n.Store.TableInfo(k.ctx, table.ID)
	k.err = errors.Join(k.err, err)
	d.Cached = info.Known
}

// Everything implements rows.Sink.
func (k *trialSink) Everything(reason string) {
	d := k.of("")
	d.Whole, d.Cached, d.Why = true, true, reason
}

// of returns the drop of a table.
func (k *trialSink) of(table string) *Drop {
	for i := range k.drops {
		if k.drops[i].Table == table {
			return &k.drops[i]
		}
	}
	k.drops = append(k.drops, Drop{Table: table})
	return &k.drops[len(k.drops)-1]
}

func (k *trialSink) space(table *conj.Table) (*namespace.Namespace, error) {
	n, _, err := k.handlers.Namespaces.Of(k.ctx, k.database, k.pool, table.Name)
	return n, err
}
