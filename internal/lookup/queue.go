package lookup

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/cacheplugin/cacheplugin/internal/background"
	"github.com/cacheplugin/cacheplugin/internal/namespace"
	"github.com/cacheplugin/cacheplugin/internal/store"
)

// queueBytes is how many results of the greatest size a store queue holds,
// however many it has room for.
const queueBytes = 4

// storeBatch bounds how many results go to Redis in one round trip. They are
// bounded by MaxBytes together as well.
const storeBatch = 64

// storeQueue holds results that wait to be stored, so that no reader waits for
// Redis. It runs while there are any, and one batch at a time.
type storeQueue struct {
	group    *background.Group
	send     func([]saving)
	limit    int // of results; 0: there is no queue
	maxBytes int // of their payloads
	batch    int // bytes of one round trip, or one result

	mu      sync.Mutex
	waiting []saving
	gone    []saving // dropped ones
	bytes   int      // of what waits and of what is being sent
	running bool
}

func newStoreQueue(o Options, group *background.Group, send func([]saving)) *storeQueue {
	return &storeQueue{group: group, send: send, limit: o.StoreQueue, maxBytes: queueBytes * o.MaxBytes, batch: o.MaxBytes}
}

// queueing is what a queue makes of a result.
type queueing uint8

const (
	notQueued queueing = iota // there is no queue, or no longer: store it now
	queued
	overflow // the queue is full, and the lease is given up
)

// add takes a result, or the lease of one that is dropped.
func (q *storeQueue) add(s saving) queueing {
	if q.limit == 0 {
		return notQueued
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.group.Closing().Err() != nil || !q.running && !q.group.Finish(q.work) {
		return notQueued
	}
	q.running = true
	outcome := queued
	if !s.dropped && (len(q.waiting) >= q.limit || q.bytes > 0 && q.bytes+len(s.payload) > q.maxBytes) {
		outcome, s.payload, s.dropped = overflow, nil, true
	}
	switch {
	case !s.dropped:
		q.waiting, q.bytes = append(q.waiting, s), q.bytes+len(s.payload)
	case len(q.gone) < q.limit: // else the lease runs out by itself
		q.gone = append(q.gone, s)
	}
	return outcome
}

// work sends what waits until nothing does, or ctx ends.
func (q *storeQueue) work(ctx context.Context) {
	for {
		batch := q.next(ctx)
		if batch == nil {
			return
		}
		q.send(batch)
		q.mu.Lock()
		for _, s := range batch {
			q.bytes -= len(s.payload)
		}
		q.mu.Unlock()
	}
}

// next takes what goes to Redis in one round trip. Without anything it ends the
// work, in one step with the look.
func (q *storeQueue) next(ctx context.Context) []saving {
	q.mu.Lock()
	defer q.mu.Unlock()
	n, size := 0, 0
	for n < len(q.waiting) && n < storeBatch && (n == 0 || size+len(q.waiting[n].payload) <= q.batch) {
		size += len(q.waiting[n].payload)
		n++
	}
	m := min(len(q.gone), storeBatch)
	if n+m == 0 || ctx.Err() != nil {
		q.running = false
		return nil
	}
	batch := append(append(make([]saving, 0, n+m), q.waiting[:n]...), q.gone[:m]...)
	q.waiting, q.gone = cut(q.waiting, n), cut(q.gone, m)
	return batch
}

// cut removes the first n, and lets go of what they refer to.
func cut(list []saving, n int) []saving {
	left := copy(list, list[n:])
	clear(list[left:])
	if left == 0 {
		return nil
	}
	return list[:left]
}

// close sends what waits, as long as the context allows, and leaves the rest
// out. Results that come later are not queued.
func (q *storeQueue) close(ctx context.Context) error {
	err := q.group.Close(ctx)
	if err == nil {
		return nil
	}
	q.mu.Lock()
	left := len(q.waiting)
	q.waiting, q.gone = nil, nil
	q.mu.Unlock() // What is being sent is bounded by RedisTimeout.
	if left == 0 {
		return nil
	}
	return fmt.Errorf("cacheplugin: closed with %d results left to be stored: %w", left, err)
}

// storeAll sends results to Redis, in one round trip for each namespace.
func (c *Cache) storeAll(batch []saving) {
	bySpace := map[*namespace.Namespace][]saving{}
	for _, s := range batch {
		// Both may have changed while it waited.
		s.dropped = s.dropped || !s.read.storable(s.ctx)
		if s.dropped {
			c.flights.end(s.lease)
		}
		bySpace[s.read.space] = append(bySpace[s.read.space], s)
	}
	for space, list := range bySpace {
		c.storeIn(space, list)
	}
}

func (c *Cache) storeIn(space *namespace.Namespace, list []saving) {
	start := time.Now()
	var savings []store.Saving
	var from []saving
	var release []store.Lease
	for _, s := range list {
		if s.dropped {
			release = append(release, s.lease)
			continue
		}
		savings, from = append(savings, store.Saving{Lease: s.lease, Payload: s.payload, TTL: s.read.timeout, Joined: s.joined}), append(from, s)
	}
	saved, err := space.Store.SaveAll(context.Background(), savings, release)
	if err != nil {
		c.Report.Failed(context.Background(), "a lease could not be released", "", err)
	}
	for i, s := range from {
		c.flights.end(s.lease)
		s.read.reportSaved(s, start, saved[i].Stored, saved[i].Err)
	}
}
