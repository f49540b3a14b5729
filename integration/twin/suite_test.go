package twin

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/cacheplugin/cacheplugin"
	"github.com/cacheplugin/cacheplugin/integration/testdb"
)

func TestMain(m *testing.M) { testdb.Main(m) }

// recorder is an Observer that remembers.
type recorder struct {
	mu     sync.Mutex
	events []cacheplugin.Event
}

// rival marks the context of writes that run next to reads: what becomes of
// these must not be taken for what became of a read.
type rival struct{}

func (r *recorder) Observe(ctx context.Context, e cacheplugin.Event) {
	if ctx.Value(rival{}) != nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.events = append(r.events, e)
}

// take returns the events since the last call.
func (r *recorder) take() []cacheplugin.Event {
	r.mu.Lock()
	defer r.mu.Unlock()
	events := r.events
	r.events = nil
	return events
}

// twinOutcome is what became of a read's look-ups.
type twinOutcome struct {
	hits, misses int
	skips        []string // the reasons
	failed       error
}

// outcome sums up the events since the last take.
func (r *recorder) outcome() (o twinOutcome) {
	for _, e := range r.take() {
		switch e.Kind {
		case cacheplugin.EventHit:
			o.hits++
		case cacheplugin.EventMiss:
			o.misses++
		case cacheplugin.EventSkip:
			o.skips = append(o.skips, e.Reason)
		case cacheplugin.EventError:
			o.failed = errors.Join(o.failed, fmt.Errorf("%s: %w", e.Reason, e.Err))
		}
	}
	return o
}
