package store

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cacheplugin/cacheplugin/internal/background"
)

// The defaults of GuardOptions.
const (
	DefaultRetryFor   = time.Second
	DefaultMaxPending = 10_000
)

// GuardOptions configure a Guard. The zero value is fine.
type GuardOptions struct {
	// RetryFor is how long a commit waits for an invalidation to succeed
	// before it is queued; a try that is under way then may take another
	// Options.Timeout. Negative: a single try. Defaults to 1 second.
	RetryFor time.Duration

	// MaxPending is the number of changes that are queued in detail. What
	// comes on top drops whole tables. Defaults to 10,000.
	MaxPending int

	// Logger is told when the queue begins to fill and when it has been
	// drained. Defaults to slog.Default().
	Logger *slog.Logger

	// OnQueue is called after changes were queued, with the cause. nil
	// changes stand for everything (InvalidateAll). Both hooks may be called
	// by several goroutines at once.
	OnQueue func(changes []Change, cause error)

	// OnDrain is called after queued changes have been carried out.
	OnDrain func(reports []Report)
}

// Guard carries invalidations out even when Redis can't be reached for a while.
// It tries for a bounded time on the caller's path; then it queues the
// change and goes on in the background. While a table has something queued,
// Bypass is true for it: this process must neither read it from the cache nor
// store for it. Other processes are not protected until Redis is back, unless
// it has lost its memory.
//
// It is safe for concurrent use and must be closed.
type Guard struct {
	store      *Store
	retryFor   time.Duration
	maxPending int
	log        *slog.Logger
	onQueue    func([]Change, error)
	onDrain    func([]Report)

	waiting atomic.Bool // mirrors !(queued.empty() && draining.empty())

	mu       sync.RWMutex
	queued   pending
	draining pending // taken from queued by the drain that is under way
	busy     bool    // a drain is under way; one at a time
	pause    time.Duration
	nextTry  time.Time
	working  bool // in the background

	group background.Group

	now   func() time.Time
	sleep func(ctx context.Context, d time.Duration) error
}

// NewGuard returns a Guard for the store. It starts no goroutine until
// something must be queued.
func NewGuard(s *Store, o GuardOptions) *Guard {
	if o.RetryFor == 0 {
		o.RetryFor = DefaultRetryFor
	}
	if o.MaxPending == 0 {
		o.MaxPending = DefaultMaxPending
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	return &Guard{
		store: s, retryFor: o.RetryFor, maxPending: o.MaxPending, log: o.Logger,
		onQueue: o.OnQueue, onDrain: o.OnDrain,
		now: time.Now, sleep: background.Sleep,
	}
}

// Available reports whether a read is worth a try at the cache; see
// Store.Available.
func (g *Guard) Available() bool { return g.store.Available() }

// Bypass reports whether an invalidation of one of the tables, or of
// everything, is queued. A read of them must go to the database and store
// nothing.
func (g *Guard) Bypass(tables ...string) bool {
	if !g.waiting.Load() {
		return false
	}
	g.mu.RLock()
	defer g.mu.RUnlock()
	return g.queued.covers(tables) || g.draining.covers(tables)
}

// Invalidate is Store.Invalidate with retries. An error that wraps ErrQueued
// says that the changes will be carried out in the background, and that Bypass
// has been true for their tables since before the return. The reports are of
// tables that were done. What is queued leaves its fences to run out.
func (g *Guard) Invalidate(ctx context.Context, changes []Change, fences ...string) ([]Report, error) {
	reports, left, cause := g.persist(ctx, changes, func(ctx context.Context, left []Change) ([]Report, error) {
		return g.store.Invalidate(ctx, left, fences...)
	})
	if cause == nil {
		return reports, nil
	}
	return reports, g.enqueue(left, cause)
}

// InvalidateAll is Store.InvalidateAll with retries; see Invalidate.
func (g *Guard) InvalidateAll(ctx context.Context, fences ...string) error {
	cause := g.attempt(ctx, func(ctx context.Context) error { return g.store.InvalidateAll(ctx, fences...) })
	if cause == nil {
		return nil
	}
	return g.enqueue(nil, cause)
}

// Fence is Store.Fence with retries. Nothing is queued: after an error the
// tables may be fenced or not.
func (g *Guard) Fence(ctx context.Context, id string, changes []Change, ttl time.Duration) ([]Report, error) {
	reports, _, err := g.persist(ctx, changes, func(ctx context.Context, left []Change) ([]Report, error) {
		return g.store.Fence(ctx, id, left, ttl)
	})
	return reports, err
}

// FenceAll is Store.FenceAll with retries; see Fence.
func (g *Guard) FenceAll(ctx context.Context, id string, ttl time.Duration) error {
	return g.attempt(ctx, func(ctx context.Context) error { return g.store.FenceAll(ctx, id, ttl) })
}

// persist repeats a call for those of the changes that it has not done yet.
func (g *Guard) persist(ctx context.Context, changes []Change, call func(context.Context, []Change) ([]Report, error)) (reports []Report, left []Change, err error) {
	if len(changes) == 0 {
		return nil, nil, nil
	}
	left = changes
	err = g.attempt(ctx, func(ctx context.Context) error {
		r, err := call(ctx, left)
		reports = append(reports, r...)
		var failed *InvalidateError
		if errors.As(err, &failed) {
			left = failed.Left
		}
		return err
	})
	return reports, left, err
}

// errWaiting is the cause of queueing while earlier changes wait.
var errWaiting = errors.New("earlier invalidations are still waiting for redis")

// attempt calls f until it succeeds, for as long as a commit may wait. What is
// queued comes first. While that can't be drained no commit waits in its turn:
// an outage would cost each of them the whole time.
func (g *Guard) attempt(ctx context.Context, f func(context.Context) error) error {
	if g.waiting.Load() {
		g.mu.RLock()
		due := !g.busy && !g.now().Before(g.nextTry)
		g.mu.RUnlock()
		if !due {
			return errWaiting
		}
		if err := g.drain(ctx); err != nil {
			return err
		}
		return f(ctx)
	}
	deadline := g.now().Add(g.retryFor)
	for pause := 5 * time.Millisecond; ; pause = min(2*pause, 100*time.Millisecond) {
		err := f(ctx)
		if err == nil {
			return nil
		}
		if ctx.Err() != nil || !g.now().Add(pause).Before(deadline) || g.sleep(ctx, pause) != nil {
			return err
		}
	}
}

// enqueue queues changes, nil for everything, and sees to it that someone
// drains them.
func (g *Guard) enqueue(changes []Change, cause error) error {
	g.mu.Lock()
	first := !g.waiting.Load()
	if changes == nil {
		g.queued.addEverything()
	} else {
		g.queued.add(changes, g.maxPending)
	}
	g.waiting.Store(true)
	if first {
		g.pause = minPause
		g.nextTry = g.now().Add(g.pause)
	}
	closed := g.group.Closing().Err() != nil
	if !closed && !g.working {
		g.working = g.group.Go(g.work)
		closed = !g.working
	}
	names := g.queued.names()
	g.mu.Unlock()

	err := fmt.Errorf("%w for %s: %w", ErrQueued, strings.Join(names, ", "), cause)
	if closed {
		err = fmt.Errorf("%w: %w", ErrClosed, cause)
	}
	if first {
		g.log.Error("cache: invalidation failed, queued; other processes may see old results until redis is back",
			"tables", names, "error", cause)
	}
	if g.onQueue != nil {
		g.onQueue(changes, cause)
	}
	return err
}

// work drains the queue until it is empty.
func (g *Guard) work(ctx context.Context) {
	for {
		g.mu.Lock()
		if ctx.Err() != nil || (g.queued.empty() && g.draining.empty()) {
			g.working = false
			g.mu.Unlock()
			return
		}
		wait := g.nextTry.Sub(g.now())
		g.mu.Unlock()
		// The least pause is for a drain that another goroutine has begun.
		if g.sleep(ctx, max(wait, 10*time.Millisecond)) == nil {
			_ = g.drain(ctx) // it has noted when to try again
		}
	}
}

// errDraining says that another drain is under way.
var errDraining = errors.New("queued invalidations are just being carried out")

// drain carries out what is queued. Bypass holds until it has been done.
func (g *Guard) drain(ctx context.Context) error {
	g.mu.Lock()
	if g.busy {
		g.mu.Unlock()
		return errDraining
	}
	if g.queued.empty() {
		g.mu.Unlock()
		return nil
	}
	g.busy = true
	g.draining, g.queued = g.queued, pending{}
	batch := g.draining
	g.mu.Unlock()

	reports, left, err := g.carryOut(ctx, batch)

	g.mu.Lock()
	g.busy = false
	g.draining = pending{}
	g.queued.merge(left, g.maxPending)
	if err == nil {
		g.pause = minPause
		g.nextTry = g.now()
	} else {
		g.pause = min(2*g.pause, maxPause)
		g.nextTry = g.now().Add(g.pause)
	}
	done := g.queued.empty()
	g.waiting.Store(!done)
	g.mu.Unlock()

	if g.onDrain != nil && (len(reports) > 0 || err == nil) {
		g.onDrain(reports)
	}
	if done {
		g.log.Info("cache: queued invalidations have been carried out", "tables", batch.names())
	}
	return err
}

// carryOut returns what could not be done.
func (g *Guard) carryOut(ctx context.Context, batch pending) (reports []Report, left pending, err error) {
	if batch.everything {
		if err := g.store.InvalidateAll(ctx); err != nil {
			return nil, batch, err
		}
		return nil, pending{}, nil
	}
	reports, err = g.store.Invalidate(ctx, batch.changes())
	var failed *InvalidateError
	if errors.As(err, &failed) {
		left.add(failed.Left, g.maxPending)
	}
	return reports, left, err
}

// Close ends the background goroutines, and closes the store. It tries for a last
// time to drain the queue, for RetryFor and as long as ctx permits. It returns an error that
// wraps ErrClosed and names the tables if something had to be left.
// Invalidations after Close are still tried, but not queued; Bypass holds for
// what could not be done.
func (g *Guard) Close(ctx context.Context) error {
	_ = g.group.Close(ctx) // what it leaves is tried once more
	deadline := g.now().Add(g.retryFor)
	err := g.drain(ctx)
	for err != nil && g.now().Before(deadline) && g.sleep(ctx, minPause) == nil {
		err = g.drain(ctx)
	}
	g.store.Close(ctx)
	if err != nil {
		return fmt.Errorf("%w with invalidations left for %s: %w", ErrClosed, strings.Join(g.left(), ", "), err)
	}
	return nil
}

// left names the tables that wait.
func (g *Guard) left() []string {
	g.mu.RLock()
	defer g.mu.RUnlock()
	var all pending
	all.merge(g.queued, g.maxPending)
	all.merge(g.draining, g.maxPending)
	return all.names()
}
