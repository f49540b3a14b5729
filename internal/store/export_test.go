package store

import (
	"context"
	"fmt"
	"time"
)

// SetToken replaces what makes the tokens of look-ups.
func SetToken(s *Store, token func() string) (undo func()) {
	old := s.token
	s.token = token
	return func() { s.token = old }
}

// SetUnlinked replaces the number of entries that an invalidation unlinks at once.
func SetUnlinked(s *Store, n string) { s.unlinked = n }

// AddGarbage has a store reclaim what reports tell of.
func AddGarbage(s *Store, reports []Report) { s.garbage.add(reports) }

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

// SetIntroductionsClock replaces the clock by which a server that refuses names is
// left alone for a while.
func SetIntroductionsClock(s *Store, now func() time.Time) { s.introductions.now = now }

// Deadlines are the contexts of calls on the caller's goroutine.
type Deadlines struct{ all deadlines }

// NewDeadlines returns contexts that end after a time.
func NewDeadlines(after time.Duration) *Deadlines { return &Deadlines{deadlines{after: after}} }

// Begin returns a context that begins now.
func (d *Deadlines) Begin(caller context.Context) context.Context { return d.all.begin(caller) }

// PlainReads returns the words of what a look-up without a script sends.
func PlainReads(s *Store, key EntryKey, deps []Dependency) (words [][]string) {
	for _, cmd := range s.newPlainLookup(context.Background(), key, deps, false).commands {
		var of []string
		for _, word := range cmd.Args() {
			if text, ok := word.(*string); ok {
				word = *text
			}
			of = append(of, fmt.Sprint(word))
		}
		words = append(words, of)
	}
	return words
}

// WitnessAt is where the witness of a result begins, with its length.
const WitnessAt = witnessAt

// NewSeatClock returns what reads the server's clock for a seat.
func NewSeatClock() func(shown Moment, sent, answered time.Time) Moment {
	c := &seatClock{now: time.Now}
	return c.read
}
