// Package background starts and ends what runs beside the calls of a program: goroutines
// and timers. Whoever starts some owns a Group, and ends it all by Group.Close.
package background

import (
	"context"
	"fmt"
	"sync"
	"time"
)

// Group owns goroutines and timers. Its zero value is ready for use and starts
// nothing. It is safe for concurrent use, must be closed, and must not be copied.
//
// Two kinds of work differ in what Close does to them:
//
//   - Go runs what can end at any time: a listener, a poll, a check. Close cancels it.
//   - Finish runs what must be done: a queue that is to be emptied. Close lets it
//     go on, and cancels it only when the context of Close ends. Such work takes its
//     pauses under Closing, so that Close doesn't wait for them.
//
// After runs work of the second kind when a time is over, or at once at Close.
//
// Work that runs only while there is something to do starts with the first item
// and ends without any. Its owner keeps one flag for that, under the lock of its
// items:
//
//	func (q *queue) add(i item) bool {
//		q.mu.Lock()
//		defer q.mu.Unlock()
//		if !q.running && !q.group.Finish(q.work) {
//			return false // closed
//		}
//		q.running = true
//		q.items = append(q.items, i)
//		return true
//	}
//
// The work clears the flag in one step with finding nothing. An owner that may be given
// items for ever refuses them once Closing has ended, so that Close comes to an end.
type Group struct {
	mu     sync.Mutex
	alive  context.Context // until Close begins
	stop   context.CancelFunc
	grace  context.Context // until Close gives up
	abort  context.CancelFunc
	timers map[*time.Timer]struct{} // those that wait
	count  int                      // of goroutines and timers
	closed bool
	ended  chan struct{} // closed when it is closed and the count is zero
}

// Go runs f on a goroutine of its own, with a context that ends when Close begins.
// It reports whether f was started: after Close nothing is.
func (g *Group) Go(f func(ctx context.Context)) bool {
	return g.start(func() { f(g.alive) })
}

// Finish runs f on a goroutine of its own, with a context that ends when Close gives
// up. It reports whether f was started: after Close nothing is.
func (g *Group) Finish(f func(ctx context.Context)) bool {
	return g.start(func() { f(g.grace) })
}

func (g *Group) start(f func()) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.initLocked()
	if g.closed {
		return false
	}
	g.count++
	go func() {
		defer g.done()
		f()
	}()
	return true
}

// After runs f on a goroutine of its own when d is over, or at once when Close
// begins, with a context that ends when Close gives up. It reports whether f will be
// run: after Close nothing is.
func (g *Group) After(d time.Duration, f func(ctx context.Context)) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.initLocked()
	if g.closed {
		return false
	}
	g.count++
	var timer *time.Timer
	timer = time.AfterFunc(d, func() {
		defer g.done()
		g.mu.Lock() // after it has been noted
		delete(g.timers, timer)
		g.mu.Unlock()
		f(g.grace)
	})
	g.timers[timer] = struct{}{}
	return true
}

// Closing returns a context that ends when Close begins: for the pauses of Finish,
// and for those who ask whether the group is closed.
func (g *Group) Closing() context.Context {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.initLocked()
	return g.alive
}

// Close starts no more work, cancels that of Go, runs what After has put off, and
// waits for all. When ctx ends first it cancels the rest and returns an error that
// wraps ctx.Err(), without waiting any longer. It may be called repeatedly.
//
// No work of the group may call it.
func (g *Group) Close(ctx context.Context) error {
	g.beginClose()
	select {
	case <-g.ended:
		g.abort() // nothing is left that it could end
		return nil
	case <-ctx.Done():
	}
	g.abort()
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.count == 0 {
		return nil
	}
	return fmt.Errorf("background: %d goroutines had to be cancelled: %w", g.count, ctx.Err())
}

func (g *Group) beginClose() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.initLocked()
	if g.closed {
		return
	}
	g.closed = true
	g.stop()
	for timer := range g.timers {
		if timer.Stop() {
			timer.Reset(0)
		}
	}
	if g.count == 0 {
		close(g.ended)
	}
}

func (g *Group) done() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.count--
	if g.closed && g.count == 0 {
		close(g.ended)
	}
}

func (g *Group) initLocked() {
	if g.alive != nil {
		return
	}
	g.alive, g.stop = context.WithCancel(context.Background())
	g.grace, g.abort = context.WithCancel(context.Background())
	g.timers, g.ended = map[*time.Timer]struct{}{}, make(chan struct{})
}
