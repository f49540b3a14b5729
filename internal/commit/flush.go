package commit

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/cacheplugin/cacheplugin/internal/namespace"
	"github.com/cacheplugin/cacheplugin/internal/report"
	"github.com/cacheplugin/cacheplugin/internal/shapes"
	"github.com/cacheplugin/cacheplugin/internal/store"
)

// Flush invalidates what a journal has collected. Its error wraps
// ErrCommittedNotInvalidated; what could not be told to Redis is queued. See
// Journal.Flush, which applies the options to the error.
func (c *Committer) Flush(ctx context.Context, j *Journal) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	for d := range j.redefined {
		d.Redefined()
	}
	how := delivery{event: report.Invalidate, queues: true, fences: j.fencesLocked()}
	var errs []error
	for ns, list := range j.owedLocked() {
		if err := c.drop(ctx, ns, list, how); err != nil {
			errs = append(errs, c.notDelivered(ctx, err))
		}
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	j.outboxDoneLocked()
	c.after.add(ctx, j.after)
	j.after = nil
	return nil
}

// notDelivered reports a failed invalidation.
func (c *Committer) notDelivered(ctx context.Context, err error) error {
	if errors.Is(err, store.ErrQueued) {
		c.report.CountQueued()
	}
	c.report.Event(ctx, report.Event{Kind: report.Error, Reason: "an invalidation did not get through", Err: err})
	c.report.Error(ctx, "a committed write could not be told to Redis; it is queued, and this process bypasses the cache for its tables until it gets through", "error", err)
	return fmt.Errorf("%w: %w", ErrCommittedNotInvalidated, err)
}

// delivery is what differs between a flush and a repair.
type delivery struct {
	event report.Kind
	// queues: the guard retries and queues what fails, so that it counts as
	// done. Else it is tried once, for a caller who keeps what fails.
	queues bool
	fences []string // that are dropped
	// seen is from when on all who read the database see the changes, 0 if that
	// isn't known: what was leased later stays.
	seen store.Moment
	age  time.Duration // of the changes, if it is known
}

// invalidator drops what is cached.
type invalidator interface {
	Invalidate(ctx context.Context, changes []store.Change, fences ...string) ([]store.Report, error)
	InvalidateAll(ctx context.Context, fences ...string) error
}

func (d delivery) through(ns *namespace.Namespace) invalidator {
	switch {
	case d.queues:
		return ns.Guard
	case d.seen > 0:
		return sparing{ns.Store, d.seen}
	}
	return ns.Store
}

// sparing leaves what was leased after a moment.
type sparing struct {
	store *store.Store
	seen  store.Moment
}

func (s sparing) Invalidate(ctx context.Context, changes []store.Change, _ ...string) ([]store.Report, error) {
	return s.store.InvalidateSeen(ctx, changes, s.seen)
}

func (s sparing) InvalidateAll(ctx context.Context, _ ...string) error {
	return s.store.InvalidateAllSeen(ctx, s.seen)
}

// drop drops what some changes have made wrong in a namespace.
func (c *Committer) drop(ctx context.Context, ns *namespace.Namespace, list []*changes, how delivery) error {
	if everything(list) {
		return c.dropEverything(ctx, ns, how, list[0].cause(true))
	}
	told := forStore(list)
	start := time.Now()
	reports, err := how.through(ns).Invalidate(ctx, told, how.fences...)
	took := time.Since(start)
	ns.Near.Drop(told...)
	for _, r := range reports {
		e := report.Event{Kind: how.event, Table: r.Table, Whole: r.Whole, Keys: r.Keys, Dropped: r.Dropped, Duration: took, Age: how.age}
		for _, one := range list {
			if one.table == r.Table {
				e.Images += one.images
				e.Dropped += one.droppedBefore
				cause := one.cause(r.Whole)
				e.Query, e.Reason = cause.Writer, cause.Why
				c.options.Shapes.Invalidated(cause, e.Dropped, time.Now())
			}
		}
		c.report.Event(ctx, e)
	}
	return err
}

func (c *Committer) dropEverything(ctx context.Context, ns *namespace.Namespace, how delivery, cause shapes.Cause) error {
	start := time.Now()
	err := how.through(ns).InvalidateAll(ctx, how.fences...)
	took := time.Since(start)
	ns.Near.Clear()
	if err == nil || how.queues {
		cause.Table = shapes.Everything
		c.options.Shapes.Invalidated(cause, 0, time.Now())
		c.report.Event(ctx, report.Event{Kind: how.event, Table: cause.Table, Whole: true, Query: cause.Writer, Reason: cause.Why, Duration: took, Age: how.age})
	}
	return err
}
