package background_test

import (
	"context"
	"sync"
	"sync/atomic"

	"github.com/cacheplugin/cacheplugin/internal/background"
)

// queue is an owner of a group as the package's documentation has it.
type queue struct {
	group   background.Group
	mu      sync.Mutex
	items   int
	running bool
	done    atomic.Int64
}

func (q *queue) add() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.group.Closing().Err() != nil {
		return false // or an adder that never rests keeps Close from coming to an end
	}
	if !q.running && !q.group.Finish(q.work) {
		return false
	}
	q.running = true
	q.items++
	return true
}

func (q *queue) work(context.Context) {
	for q.next() {
		q.done.Add(1)
	}
}

func (q *queue) next() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.running = q.items > 0
	q.items = max(0, q.items-1)
	return q.running
}
