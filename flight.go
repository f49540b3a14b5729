package cacheplugin

import (
	"bytes"
	"context"
	"sync"
	"time"

	"github.com/cacheplugin/cacheplugin/store"
)

// flight is the computation of a missing result by this process: from the
// moment that it has the lease until the result is there.
//
// Others of the process may wait for it here instead of asking Redis again and
// again, but only those whose own look-up has found this very lease to be valid.
// What it reads is then not older than what they may expect: an invalidation
// before their look-up would have dropped the lease. To join by the key alone,
// as a plain singleflight does, would give them a result whose reading may have
// begun before a commit that has returned since.
type flight struct {
	began   time.Time
	landed  chan struct{} // closed at its end
	payload []byte        // nil if there is no result for others
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
	f.byID[lease.ID] = &flight{began: time.Now(), landed: make(chan struct{})}
}

func (f *flights) find(lease store.Lease) *flight {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.byID[lease.ID]
}

// land ends a flight. The payload must not be changed afterwards; nil sends those
// who wait back to Redis.
func (f *flights) land(lease store.Lease, payload []byte) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if one := f.byID[lease.ID]; one != nil {
		delete(f.byID, lease.ID)
		one.payload = payload
		close(one.landed)
	}
}

// acquire is a look-up that takes the lease of a missing result.
func (r *read) acquire(ctx context.Context) (store.Lookup, error) {
	found, err := r.space.store.Acquire(ctx, r.key, r.deps, r.timeout)
	if err == nil && found.State == store.Leased {
		r.engine.flights.begin(found.Lease)
	}
	return found, err
}

// wait waits for the result whose lease another one has, until LockWait is over:
// then it is Busy still.
func (r *read) wait(ctx context.Context, found store.Lookup) (store.Lookup, error) {
	deadline := time.NewTimer(r.engine.config.LockWait)
	defer deadline.Stop()
	for pause := lockPollMin; ; pause = min(2*pause, lockPollMax) {
		// Of another process, or one that has just landed: ask again soon. Of
		// one here that never lands the lease runs out.
		until, landed := pause, (chan struct{})(nil)
		flight := r.engine.flights.find(found.Lease)
		if flight != nil {
			landed = flight.landed
			until = max(pause, r.engine.config.LeaseTTL-time.Since(flight.began))
		}
		again := time.NewTimer(until)
		select {
		case <-ctx.Done():
			again.Stop()
			return found, ctx.Err()
		case <-deadline.C:
			again.Stop()
			return found, nil
		case <-landed:
			again.Stop()
			if flight.payload != nil {
				return store.Lookup{State: store.Hit, Payload: bytes.Clone(flight.payload)}, nil
			}
		case <-again.C:
		}
		var err error
		if found, err = r.acquire(ctx); err != nil || found.State != store.Busy {
			return found, err
		}
	}
}
