package store

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/cacheplugin/cacheplugin/internal/background"
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

// Close ends what the store does in the background: it frees what large invalidations
// have left (Report.Garbage), which is finished for as long as ctx permits and Redis
// answers. What is left expires. A closed store goes on working, and frees no more.
func (s *Store) Close(ctx context.Context) { s.garbage.close(ctx) }

// Reclaim frees the memory of the entries that invalidations have dropped by
// taking their sets away (Report.Garbage), a few per call and with pauses as
// long as the calls take. The store does so by itself, in the background, until
// Close. Whatever is left expires: garbage after 10 minutes, the entries when they
// would have without the invalidation.
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
			if err := background.Sleep(ctx, time.Since(start)); err != nil {
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

	group background.Group

	mu      sync.Mutex
	garbage []string // the first is being reclaimed
	running bool
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
	if r.group.Closing().Err() != nil || !r.running && !r.group.Finish(r.work) {
		return
	}
	r.running = true
	r.garbage = append(r.garbage, garbage[:min(len(garbage), max(0, maxGarbage-len(r.garbage)))]...)
}

// work reclaims until nothing is left.
func (r *reclaimer) work(ctx context.Context) {
	closing := r.group.Closing()
	for key := r.first(); key != ""; key = r.first() {
		var err error
		pause := minPause
		for range reclaimTries {
			if err = r.store.Reclaim(ctx, key); err == nil || background.Sleep(closing, pause) != nil {
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
		r.garbage, r.running = nil, false
		return ""
	}
	return r.garbage[0]
}

// done goes on to the next one. At the end nobody waits for a server that fails.
func (r *reclaimer) done(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.garbage = r.garbage[1:]
	if err != nil && r.group.Closing().Err() != nil {
		r.garbage = nil
	}
}

// close lets the goroutine finish what it has for as long as ctx permits. What is
// left expires.
func (r *reclaimer) close(ctx context.Context) { _ = r.group.Close(ctx) }
