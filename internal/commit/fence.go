package commit

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/cacheplugin/cacheplugin/internal/change"
	"github.com/cacheplugin/cacheplugin/internal/namespace"
	"github.com/cacheplugin/cacheplugin/internal/store"
)

// Fence is what a journal has announced to Redis before its COMMIT: the tables
// that take no new results until the flush.
type Fence struct {
	id      string
	version int       // of the journal when it was set
	since   time.Time // when the first call that set it was sent
	around  map[changeKey]struct{}
}

// never is the version of a fence that is not set.
const never = -1

// fenceTries is how often a fence is set anew because setting it took so long
// that too little of it is left for COMMIT.
const fenceTries = 3

var errFenceSlow = errors.New("setting it takes longer than half of FenceTTL")

// Fence drops in advance what a journal's changes can make wrong, and keeps
// their tables from taking new results until the journal is flushed, under
// Options.Strict. It is called right before COMMIT, or before a statement that
// commits by itself. Its error wraps ErrNotFenced and means that nothing may be
// committed.
func (c *Committer) Fence(ctx context.Context, j *Journal) error {
	if !c.options.Strict {
		return nil
	}
	err := c.announce(ctx, j)
	if err == nil {
		return nil
	}
	if c.options.FenceFallback {
		c.report.Failed(ctx, "a write could not be announced to Redis; it is committed all the same, and if this process dies before it is invalidated, old results may be served", "", err)
		return nil
	}
	err = fmt.Errorf("%w: %w", ErrNotFenced, err)
	c.report.Failed(ctx, "a write could not be announced to Redis; it is not committed", "", err)
	return err
}

// announce sets a journal's fence, unless it is set around all that was recorded
// and stays up for long enough.
func (c *Committer) announce(ctx context.Context, j *Journal) error {
	id := ""
	if outer := Postponed(ctx); outer != nil {
		id = outer.fenceID() // its flush is to drop the fence
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	if len(j.changes) == 0 {
		return nil
	}
	f := j.fenceLocked(id)
	if f.version == j.version && time.Since(f.since) < c.options.FenceTTL/2 {
		return nil
	}
	for range fenceTries {
		start := time.Now()
		if err := c.announceLocked(ctx, j, f); err != nil {
			return err
		}
		if time.Since(start) < c.options.FenceTTL/2 {
			f.since, f.version = start, j.version
			return nil
		}
	}
	return errFenceSlow
}

func (c *Committer) announceLocked(ctx context.Context, j *Journal, f *Fence) error {
	// A fence stays for this long whose writer dies. A COMMIT that has taken
	// effect by then reaches the replicas later.
	ttl := c.options.FenceTTL + c.options.ReplicaLag
	for ns, list := range j.owedLocked() {
		for _, one := range list {
			f.around[changeKey{ns, one.table}] = struct{}{}
		}
		if err := fenceOff(ctx, ns, list, f.id, ttl); err != nil {
			return err
		}
	}
	return nil
}

// fenceOff sets a fence around what some changes touch in a namespace.
func fenceOff(ctx context.Context, ns *namespace.Namespace, list []*changes, id string, ttl time.Duration) error {
	if everything(list) {
		err := ns.Guard.FenceAll(ctx, id, ttl)
		ns.Near.Clear()
		return err
	}
	told := forStore(list)
	reports, err := ns.Guard.Fence(ctx, id, told, ttl)
	ns.Near.Drop(told...)
	for _, r := range reports {
		for _, one := range list {
			if one.table == r.Table {
				one.droppedBefore += r.Dropped
			}
		}
	}
	return err
}

// fenceID returns the id of a journal's fence, made at the first call.
func (j *Journal) fenceID() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.fenceLocked("").id
}

func (j *Journal) fenceLocked(id string) *Fence {
	if j.announced == nil {
		if id == "" {
			id = store.NewFenceID()
		}
		j.announced = &Fence{id: id, version: never, around: map[changeKey]struct{}{}}
	}
	return j.announced
}

// Fenced returns what was announced of a journal; nil if nothing was. Another
// journal can Adopt it.
func (j *Journal) Fenced() *Fence {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.announced
}

// Adopt makes a journal's flush drop a fence that another one has set, also
// from tables in which nothing has changed in the end. A statement that commits
// by itself has two journals: what may change is announced from the one, what
// has changed flushed from the other. Adopting nil does nothing.
func (j *Journal) Adopt(f *Fence) {
	if f == nil {
		return
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	j.announced = f
	for key := range f.around {
		c := j.changesLocked(key)
		if key.table == "" {
			c.widen(change.Everything)
		}
	}
}

// fencesLocked are the ids that a flush drops. What is flushed again later is
// fenced again before.
func (j *Journal) fencesLocked() []string {
	if j.announced == nil {
		return nil
	}
	j.announced.version = never
	if j.unsure {
		return nil
	}
	return []string{j.announced.id}
}
