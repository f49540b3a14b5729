package store

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/cacheplugin/cacheplugin/lua"
)

const (
	// reclaimChunk is how many entries are unlinked by one call, which takes Redis
	// less than a millisecond.
	reclaimChunk = 100
	// maxGarbage bounds the sets that wait for being reclaimed. What comes on top
	// is left to expire.
	maxGarbage = 10_000
	// reclaimTries is how often in a row a set is tried in vain before it is left
	// to expire.
	reclaimTries = 10
)

// Reclaim frees the memory of the entries that invalidations have dropped by
// taking their sets away (Report.Garbage), a few per call and with pauses as
// long as the calls take. Whatever it leaves expires: garbage after 10 minutes,
// the entries when they would have without the invalidation.
func (s *Store) Reclaim(ctx context.Context, garbage ...string) error {
	for _, key := range garbage {
		for {
			start := time.Now()
			left, err := s.reclaim(ctx, key)
			if err != nil {
				return fmt.Errorf("store: reclaim: %w", err)
			}
			if left == 0 {
				break
			}
			if err := sleep(ctx, time.Since(start)); err != nil {
				return fmt.Errorf("store: reclaim: %w", err)
			}
		}
	}
	return nil
}

func (s *Store) reclaim(ctx context.Context, garbage string) (left int64, err error) {
	conjunction, ok := s.keys.origin(garbage)
	if !ok {
		return 0, nil
	}
	return bounded(ctx, s, func(ctx context.Context, c redis.UniversalClient) (int64, error) {
		return lua.Reclaim.Run(ctx, c, []string{garbage, conjunction}, s.entries, reclaimChunk).Int64()
	})
}

// reclaimer has the garbage of invalidations reclaimed on a goroutine of its
// own, which runs as long as there is some. It is safe for concurrent use and
// must be closed.
type reclaimer struct {
	store *Store

	mu      sync.Mutex
	garbage []string // the first is being reclaimed
	closed  bool
	worker  chan struct{}      // closed when the goroutine has ended; nil if none runs
	hurry   context.CancelFunc // ends the pauses after errors
	stop    context.CancelFunc // ends the goroutine
}

// add has the garbage of some reports reclaimed.
func (r *reclaimer) add(reports []Report) {
	for _, report := range reports {
		if len(report.Garbage) > 0 {
			r.start(report.Garbage)
		}
	}
}

func (r *reclaimer) start(garbage []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return
	}
	r.garbage = append(r.garbage, garbage[:min(len(garbage), max(0, maxGarbage-len(r.garbage)))]...)
	if r.worker == nil {
		life, stop := context.WithCancel(context.Background())
		pauses, hurry := context.WithCancel(life)
		r.worker, r.stop, r.hurry = make(chan struct{}), stop, hurry
		go r.work(life, pauses, r.worker)
	}
}

// work reclaims until nothing is left.
func (r *reclaimer) work(life, pauses context.Context, ended chan struct{}) {
	defer close(ended)
	for key := r.first(); key != ""; key = r.first() {
		var err error
		pause := minPause
		for range reclaimTries {
			if err = r.store.Reclaim(life, key); err == nil || sleep(pauses, pause) != nil {
				break
			}
			pause = min(2*pause, maxPause)
		}
		r.done(err)
	}
}

// first returns what is to be reclaimed next. If there is nothing the goroutine
// is to end.
func (r *reclaimer) first() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.garbage) == 0 {
		r.garbage, r.worker = nil, nil
		r.stop()
		return ""
	}
	return r.garbage[0]
}

// done goes on to the next one. Nobody waits for a server that fails.
func (r *reclaimer) done(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.garbage = r.garbage[1:]
	if err != nil && r.closed {
		r.garbage = nil
	}
}

// close lets the goroutine finish what it has for as long as ctx permits.
func (r *reclaimer) close(ctx context.Context) {
	r.mu.Lock()
	r.closed = true
	worker, hurry, stop := r.worker, r.hurry, r.stop
	r.mu.Unlock()
	if worker == nil {
		return
	}
	hurry()
	select {
	case <-worker:
	case <-ctx.Done():
		stop()
		<-worker
	}
}
