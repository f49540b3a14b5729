package commit

import (
	"context"
	"sync"

	"github.com/cacheplugin/cacheplugin/internal/background"
)

// maxAfter bounds what waits to be done after flushes. More is left out: it is only
// reading into the cache in advance.
const maxAfter = 10_000

// afterQueue does what journals ask for after their flush, one by one. Not within
// it: the connection of a transaction is held until its journal is flushed, and
// reading needs another one, which the pool may not have.
type afterQueue struct {
	group *background.Group

	mu      sync.Mutex
	waiting []func(context.Context)
	running bool
}

// add has some things done, unless the queue is full or closed.
func (q *afterQueue) add(ctx context.Context, list []func(context.Context)) {
	if len(list) == 0 {
		return
	}
	values := context.WithoutCancel(ctx)
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.group.Closing().Err() != nil || !q.running && !q.group.Finish(q.work) {
		return
	}
	q.running = true
	for _, do := range list[:min(len(list), maxAfter-len(q.waiting))] {
		q.waiting = append(q.waiting, func(life context.Context) {
			ctx, cancel := context.WithCancel(values)
			defer cancel()
			defer context.AfterFunc(life, cancel)()
			do(ctx)
		})
	}
}

func (q *afterQueue) work(ctx context.Context) {
	for {
		do := q.next(ctx)
		if do == nil {
			return
		}
		do(ctx)
	}
}

// next takes the first thing that waits; nil if there is none, or ctx has ended.
func (q *afterQueue) next(ctx context.Context) func(context.Context) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.waiting) == 0 || ctx.Err() != nil {
		q.waiting, q.running = nil, false
		return nil
	}
	do := q.waiting[0]
	q.waiting = q.waiting[1:]
	return do
}
