package lookup

import (
	"bytes"
	"context"
	"sync"
	"time"

	"github.com/cacheplugin/cacheplugin/internal/store"
)

// flight is the computation of a missing result by this process: from the
// moment that it has the lease until the result is stored.
//
// Others of the process may wait for it here instead of asking Redis again and
// again, but only those whose own look-up has found this very lease to be valid.
// What it reads is then not older than what they may expect: an invalidation
// before their look-up would have dropped the lease. To join by the key alone,
// as a plain singleflight does, would give them a result whose reading may have
// begun before a commit that has returned since.
//
// One of those who wait goes on asking Redis for all of them, as the scout: an
// invalidation, or the lease's end, must free them even if the flight never
// lands.
type flight struct {
	landed  chan struct{} // closed when there is a result, or will be none
	down    bool          // it is closed
	payload []byte        // nil if there is no result for others
	scout   chan struct{} // holds the one right to be the scout
}

// flights are those of a process, by the ids of their leases.
type flights struct {
	mu   sync.Mutex
	byID map[string]*flight
}

func newFlights() *flights { return &flights{byID: map[string]*flight{}} }

func (f *flights) begin(lease store.Lease) {
	f.mu.Lock()
	defer f.mu.Unlock()
	one := &flight{landed: make(chan struct{}), scout: make(chan struct{}, 1)}
	one.scout <- struct{}{}
	f.byID[lease.ID] = one
}

func (f *flights) find(lease store.Lease) *flight {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.byID[lease.ID]
}

// land gives the result to those who wait, and to those who find its lease until
// end. The payload must not be changed afterwards; nil sends those who wait back
// to Redis.
func (f *flights) land(lease store.Lease, payload []byte) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if one := f.byID[lease.ID]; one != nil && !one.down {
		one.payload, one.down = payload, true
		close(one.landed)
	}
}

// end forgets a flight, once its result is stored or won't be.
func (f *flights) end(lease store.Lease) {
	f.land(lease, nil)
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.byID, lease.ID)
}

const (
	lockPollMin = 5 * time.Millisecond
	lockPollMax = 50 * time.Millisecond
)

// acquire is a look-up that takes the lease of a missing result.
func (r *Read) acquire(ctx context.Context) (store.Lookup, error) {
	found, err := r.askStore(ctx)
	if err == nil && found.State == store.Leased {
		r.cache.flights.begin(found.Lease)
	}
	return found, err
}

// waited is why a wait goes on.
type waited uint8

const (
	ended waited = iota // the caller's context, or LockWait
	landed
	ask // it is the caller's turn to ask Redis
)

// await waits for the flight's landing, or until the caller is the scout and
// has paused; it then has to call handOver. There is a nil flight for leases of
// other processes: everyone asks for himself.
func (f *flight) await(ctx context.Context, deadline <-chan time.Time, pause time.Duration) waited {
	var down, scout chan struct{}
	if f != nil {
		down, scout = f.landed, f.scout
		select {
		case <-ctx.Done():
			return ended
		case <-deadline:
			return ended
		case <-down:
			return landed
		case <-scout:
		}
	}
	again := time.NewTimer(pause)
	defer again.Stop()
	select {
	case <-again.C:
		return ask
	case <-down:
		f.handOver()
		return landed
	case <-ctx.Done():
	case <-deadline:
	}
	f.handOver()
	return ended
}

// handOver lets another one be the scout.
func (f *flight) handOver() {
	if f != nil {
		f.scout <- struct{}{}
	}
}

// wait waits for the result whose lease another one has, until LockWait is over:
// then it is Busy still.
func (r *Read) wait(ctx context.Context, found store.Lookup) (store.Lookup, error) {
	flights := r.cache.flights
	deadline := time.NewTimer(r.cache.LockWait)
	defer deadline.Stop()
	for pause := lockPollMin; ; pause = min(2*pause, lockPollMax) {
		lease := found.Lease
		flight := flights.find(lease)
		next := flight.await(ctx, deadline.C, pause)
		switch {
		case next == ended:
			return found, ctx.Err()
		case next == landed && flight.payload != nil:
			return store.Lookup{State: store.Hit, Payload: bytes.Clone(flight.payload)}, nil
		}
		var err error
		found, err = r.acquire(ctx)
		if next == ask && flight != nil {
			// With the lease gone, what the scout has found holds for all who
			// wait: a result is as new as this look-up, which comes after theirs.
			if err == nil && (found.State != store.Busy || found.Lease.ID != lease.ID) {
				flights.land(lease, bytes.Clone(found.Payload))
				flights.end(lease)
			}
			flight.handOver()
		}
		if err != nil || found.State != store.Busy {
			return found, err
		}
	}
}
