package cacheplugin

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/cacheplugin/cacheplugin/conj"
	"github.com/cacheplugin/cacheplugin/internal/store"
	"github.com/cacheplugin/cacheplugin/txn"
)

// Consistency says what reads may see of a write whose Commit has not returned,
// or never will because its process died.
type Consistency uint8

// The grades. All processes that write through one Prefix should use the same:
// each speaks for its own writes only. Reads cost the same in both.
const (
	// Returned promises that a read is not older than any commit that has
	// returned before it started, as far as that commit itself changed the
	// result. A process that dies between COMMIT and the invalidation leaves
	// results that may be served until their timeout. A commit takes one round
	// trip to Redis.
	Returned Consistency = iota
	// Strict promises that a read is not older than anything that was
	// committed in the database when it started, even if the writer was killed
	// right after its COMMIT or could not reach Redis then. What a transaction
	// changes is dropped before its COMMIT as well as after it, and in between
	// its tables take no new results. A commit takes two round trips, and
	// fails with ErrNotFenced while Redis can't be reached; see OnFenceError.
	Strict
)

// String returns the constant's name.
func (c Consistency) String() string {
	switch c {
	case Returned:
		return "Returned"
	case Strict:
		return "Strict"
	}
	return fmt.Sprintf("Consistency(%d)", uint8(c))
}

// fence is what a journal has fenced in Redis before its COMMIT.
type fence struct {
	id      string
	version int       // of the journal when it was set
	since   time.Time // when the first call that set it was sent
	tables  map[changeKey]struct{}
	spaces  map[*space]struct{}
}

// fenceTries is how often a fence is set anew because setting it took so long
// that too little of it is left for COMMIT.
const fenceTries = 3

var errFenceSlow = errors.New("setting it takes longer than half of FenceTTL")

// fence drops in advance what a journal's changes can make wrong, and keeps
// their tables from taking new results until the journal is flushed. It is
// called right before COMMIT, or before a statement that commits by itself. Its
// error wraps ErrNotFenced and means that nothing may be committed.
func (p *Plugin) fence(ctx context.Context, j *journal) error {
	if p.config.Consistency != Strict {
		return nil
	}
	err := p.setFence(ctx, j)
	if err == nil {
		return nil
	}
	if p.config.OnFenceError == Fallback {
		p.failed(ctx, "a write could not be announced to Redis; it is committed all the same, and if this process dies before it is invalidated, old results may be served", "", err)
		return nil
	}
	err = fmt.Errorf("%w: %w", ErrNotFenced, err)
	p.failed(ctx, "a write could not be announced to Redis; it is not committed", "", err)
	return err
}

func (p *Plugin) setFence(ctx context.Context, j *journal) error {
	id := ""
	if outer := postponed(ctx); outer != nil {
		id = outer.fenceID() // its flush is to drop the fence
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	if len(j.tables)+len(j.everything) == 0 {
		return nil
	}
	f := j.fenceLocked(id)
	if f.version == j.version && time.Since(f.since) < p.config.FenceTTL/2 {
		return nil
	}
	for range fenceTries {
		start := time.Now()
		if err := p.setFenceOnce(ctx, j, f); err != nil {
			return err
		}
		if time.Since(start) < p.config.FenceTTL/2 {
			f.since, f.version = start, j.version
			return nil
		}
	}
	return errFenceSlow
}

func (p *Plugin) setFenceOnce(ctx context.Context, j *journal, f *fence) error {
	for s := range j.everything {
		f.spaces[s] = struct{}{}
		err := s.guard.FenceAll(ctx, f.id, p.fenceLife())
		s.near.Clear()
		if err != nil {
			return err
		}
	}
	for s, list := range j.changesLocked() {
		for _, c := range list {
			f.tables[changeKey{s, c.Table}] = struct{}{}
		}
		reports, err := s.guard.Fence(ctx, f.id, list, p.fenceLife())
		s.near.Drop(list...)
		for _, r := range reports {
			j.tables[changeKey{s, r.Table}].early += r.Dropped
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// fenceLife is how long a fence stays whose writer dies. A COMMIT that has taken
// effect by then reaches the replicas later.
func (p *Plugin) fenceLife() time.Duration { return p.config.FenceTTL + p.config.ReplicaLag }

// fenceID returns the id of a journal's fence, made at the first call.
func (j *journal) fenceID() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.fenceLocked("").id
}

func (j *journal) fenceLocked(id string) *fence {
	if j.fence == nil {
		if id == "" {
			id = store.NewFenceID()
		}
		j.fence = &fence{id: id, version: -1, tables: map[changeKey]struct{}{}, spaces: map[*space]struct{}{}}
	}
	return j.fence
}

// adopt makes a journal's flush drop a fence that another one has set, also
// from tables in which nothing has changed in the end.
func (j *journal) adopt(f *fence) {
	if f == nil {
		return
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	j.fence = f
	for s := range f.spaces {
		j.everything[s] = struct{}{}
	}
	for key := range f.tables {
		j.entryLocked(key)
	}
}

// Outcome implements txn.OutcomeJournal. Where it is not known what became of a
// COMMIT the fence is not dropped: COMMIT may take effect yet, after the
// invalidation. Where it has failed and the transaction goes on, the outbox gets
// another row.
func (j *journal) Outcome(err error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.committed = err == nil
	if err != nil {
		j.posted = 0 // what goes on may be undone to before the row
	}
	if err != nil && !refused(err, j.embedded) {
		j.unsure = true
	}
}

// fencesLocked are the ids that a flush drops. What is flushed again later is
// fenced again before.
func (j *journal) fencesLocked() []string {
	if j.fence == nil {
		return nil
	}
	j.fence.version = -1
	if j.unsure {
		return nil
	}
	return []string{j.fence.id}
}

// refused tells whether an error is the database's own word that a statement or
// a COMMIT did nothing. An embedded database can't fail to give it. In doubt it
// is not.
func refused(err error, embedded bool) bool {
	var answer interface{ SQLState() string }
	if !errors.As(err, &answer) {
		return embedded && !errors.Is(err, context.Canceled) && !errors.Is(err, context.DeadlineExceeded)
	}
	state := answer.SQLState()
	switch {
	case len(state) != 5,
		strings.HasPrefix(state, "08"),  // the connection failed
		strings.HasPrefix(state, "57P"), // the server shuts down
		strings.HasPrefix(state, "XX"),  // it is broken
		strings.HasPrefix(state, "58"),
		state == "40003": // unknown to the server, too
		return false
	}
	return true
}

// fence announces a statement that is going to commit, by itself or what its
// transaction has done before it: to Redis under Strict, and in the outbox. If
// it returns an error the statement must not be sent, and has changed nothing.
func (c *capture) fence() error {
	if c.lost != nil {
		c.settled = true
		return c.lost
	}
	if c.engine.config.Consistency != Strict && c.engine.config.Outbox == nil {
		return nil
	}
	err := c.announce()
	c.settled = err != nil
	return err
}

func (c *capture) announce() error {
	if c.tx != nil {
		if !c.commits {
			return nil
		}
		if !c.passive && !c.ignored {
			// MySQL's DDL commits itself with what was done before.
			if err := c.tx.Record(c.ctx, func(j txn.Journal) { c.noteRows(j.(*journal)) }); err != nil {
				return err
			}
		}
		return c.tx.PrepareCommit(c.ctx)
	}
	if c.passive || c.ignored {
		return nil
	}
	j := newJournal(c.engine.Plugin)
	c.noteRows(j)
	if err := c.engine.Plugin.fence(c.ctx, j); err != nil {
		return err
	}
	if c.where != txn.Foreign {
		// Of a transaction that others have begun the end isn't seen: its
		// fence is left to run out.
		c.fenced = j.fence
	}
	return nil
}

// announced makes the flush of a statement's journal drop its fence.
func (c *capture) announced(j *journal) {
	if c.fenced == nil {
		return
	}
	j.adopt(c.fenced)
	if c.unfinished || c.err != nil && !refused(c.err, c.engine.dialect == conj.SQLite) {
		j.unsure = true
	}
}
