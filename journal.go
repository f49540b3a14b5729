package cacheplugin

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/cacheplugin/cacheplugin/conj"
	"github.com/cacheplugin/cacheplugin/internal/store"
	"github.com/cacheplugin/cacheplugin/txn"
)

// journal collects what a transaction, or a statement outside of one, has
// changed: row images per table, or the table as a whole. It implements
// txn.Journal. Images are kept at a rollback to a savepoint: dropping too much
// is safe.
type journal struct {
	plugin *Plugin

	dialect conj.Dialect
	// embedded: the database is part of this process, so that what became of
	// a COMMIT is always known.
	embedded bool

	mu         sync.Mutex
	tables     map[changeKey]*changes
	everything map[*space]struct{}
	redefined  map[*database]struct{} // whose tables DDL has changed
	after      []func(context.Context)

	version int    // counts what was recorded
	fence   *fence // nil if none is set
	unsure  bool   // what became of COMMIT is not known

	posted    int         // the version that the outbox has; 0 if none
	rows      []postedRow // in the outbox
	committed bool        // COMMIT has said so
}

// changeKey is a table in a namespace.
type changeKey struct {
	space *space
	table string // its ID
}

// changes are the changes to one table.
type changes struct {
	table  *conj.Table
	whole  bool
	images []conj.Image
	early  int // what was dropped before COMMIT
}

var _ txn.OutcomeJournal = (*journal)(nil)

func newJournal(p *Plugin) *journal {
	return &journal{plugin: p, tables: map[changeKey]*changes{}, everything: map[*space]struct{}{}}
}

// add records row images of a table. More than MaxImages of them count as the
// whole table.
func (j *journal) add(s *space, table *conj.Table, images ...conj.Image) {
	j.mu.Lock()
	defer j.mu.Unlock()
	c := j.entryLocked(changeKey{s, table.ID})
	if c.whole {
		return
	}
	// The columns may have been read anew since the first images; images of
	// two layouts can't be told apart later.
	if c.table != nil && c.table != table {
		c.whole, c.images = true, nil
		return
	}
	c.table = table
	c.images = append(c.images, images...)
	if len(c.images) > 2*j.plugin.config.MaxImages {
		c.whole, c.images = true, nil
	}
}

// whole records that any row of a table may have changed.
func (j *journal) whole(s *space, tableID string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	c := j.entryLocked(changeKey{s, tableID})
	c.whole, c.images = true, nil
}

// entryLocked returns the changes of a table, to which something is added.
func (j *journal) entryLocked(key changeKey) *changes {
	j.version++
	c, ok := j.tables[key]
	if !ok {
		c = &changes{}
		j.tables[key] = c
	}
	return c
}

// all records that anything in some namespaces may have changed.
func (j *journal) all(list ...*space) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.version++
	for _, s := range list {
		j.everything[s] = struct{}{}
	}
}

// then records what is to be done when the changes have been flushed.
func (j *journal) then(do func(context.Context)) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.after = append(j.after, do)
}

// redefine records that DDL has changed a database.
func (j *journal) redefine(d *database) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.redefined == nil {
		j.redefined = map[*database]struct{}{}
	}
	j.redefined[d] = struct{}{}
}

// empty tells whether there is nothing to flush.
func (j *journal) empty() bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	return len(j.everything) == 0 && len(j.tables) == 0 && len(j.redefined) == 0 && len(j.after) == 0
}

// Flush implements txn.Journal: it invalidates what was collected, or leaves
// that to the end of Postpone.
func (j *journal) Flush(ctx context.Context) error {
	if outer := postponed(ctx); outer != nil {
		outer.merge(j)
		return nil
	}
	err := j.plugin.flush(ctx, j)
	if err == nil || j.plugin.config.OnInvalidateError == Return || errors.Is(err, store.ErrClosed) {
		return err
	}
	return nil
}

// flush invalidates what a journal has collected. Its error wraps
// ErrCommittedNotInvalidated; what could not be told to Redis is queued.
func (p *Plugin) flush(ctx context.Context, j *journal) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	for d := range j.redefined {
		d.forget()
	}
	fences := j.fencesLocked()
	var errs []error
	for s := range j.everything {
		start := time.Now()
		err := s.guard.InvalidateAll(ctx, fences...)
		s.near.Clear()
		p.observe(ctx, Event{Kind: EventInvalidate, Table: "*", Whole: true, Duration: time.Since(start)})
		errs = append(errs, p.flushed(ctx, err))
	}
	for s, list := range j.changesLocked() {
		start := time.Now()
		reports, err := s.guard.Invalidate(ctx, list, fences...)
		took := time.Since(start)
		s.near.Drop(list...)
		for _, r := range reports {
			images, early := 0, 0
			if c := j.tables[changeKey{s, r.Table}]; c != nil {
				images, early = len(c.images), c.early
			}
			p.observe(ctx, Event{
				Kind: EventInvalidate, Table: r.Table, Whole: r.Whole,
				Images: images, Keys: r.Keys, Dropped: r.Dropped + early, Duration: took,
			})
		}
		errs = append(errs, p.flushed(ctx, err))
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	j.settleOutboxLocked()
	for _, do := range j.after {
		do(ctx)
	}
	return nil
}

// changesLocked are the changes by namespace, without those of namespaces that
// are dropped as a whole.
func (j *journal) changesLocked() map[*space][]store.Change {
	bySpace := map[*space][]store.Change{}
	for key, c := range j.tables {
		if _, dropped := j.everything[key.space]; dropped {
			continue
		}
		change := store.Change{Table: key.table, All: c.whole}
		if !c.whole {
			change.Keys = func(schemes []conj.Scheme) ([]conj.Key, bool) {
				return imageKeys(c.table, c.images, schemes)
			}
		}
		bySpace[key.space] = append(bySpace[key.space], change)
	}
	return bySpace
}

// flushed reports a failed invalidation.
func (p *Plugin) flushed(ctx context.Context, err error) error {
	if err == nil {
		return nil
	}
	if errors.Is(err, store.ErrQueued) {
		p.counters.queued.Add(1)
	}
	p.observe(ctx, Event{Kind: EventError, Reason: "an invalidation did not get through", Err: err})
	p.config.Logger.ErrorContext(ctx, "cacheplugin: a committed write could not be told to Redis; it is queued, and this process bypasses the cache for its tables until it gets through", "error", err)
	return fmt.Errorf("%w: %w", ErrCommittedNotInvalidated, err)
}

// imageKeys returns the conjunctions that a table's images satisfy.
func imageKeys(table *conj.Table, images []conj.Image, schemes []conj.Scheme) ([]conj.Key, bool) {
	seen := make(map[conj.Key]struct{}, len(images)*len(schemes))
	keys := make([]conj.Key, 0, len(images)*len(schemes))
	for _, img := range images {
		ks, ok := table.Keys(img, schemes)
		if !ok {
			return nil, false
		}
		for _, k := range ks {
			if _, twice := seen[k]; !twice {
				seen[k] = struct{}{}
				keys = append(keys, k)
			}
		}
	}
	return keys, true
}

// foreignDelay is how much later the writes of a transaction that the plugin
// can't see the end of are invalidated again.
const foreignDelay = time.Second

// flushAgain invalidates the same changes once more after foreignDelay.
func (p *Plugin) flushAgain(ctx context.Context, j *journal) {
	ctx = context.WithoutCancel(ctx)
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return
	}
	var timer *time.Timer
	timer = time.AfterFunc(foreignDelay, func() {
		p.mu.Lock()
		_, mine := p.repeats[timer]
		delete(p.repeats, timer)
		p.mu.Unlock()
		if mine {
			_ = p.flush(ctx, j) // reported and queued by flush
		}
	})
	p.repeats[timer] = j
}
