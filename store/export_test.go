package store

import (
	"context"
	"time"
)

// SetToken replaces what makes the tokens of look-ups.
func SetToken(s *Store, token func() string) (undo func()) {
	old := s.token
	s.token = token
	return func() { s.token = old }
}

// HoldWorker gives the guard a clock and keeps its background goroutine from
// ever trying, so that a test decides when the queue is drained.
func HoldWorker(g *Guard, now func() time.Time) {
	g.now = now
	g.sleep = func(ctx context.Context, _ time.Duration) error {
		<-ctx.Done()
		return ctx.Err()
	}
}

// EpochName returns the Redis key of the epoch that vouches for an entry.
func EpochName(s *Store, k EntryKey) string { return s.keys.root(k).epoch }
