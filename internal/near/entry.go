package near

import (
	"math"
	"sync/atomic"
	"time"

	"github.com/cacheplugin/cacheplugin/conj"
	"github.com/cacheplugin/cacheplugin/internal/store"
)

// Result is what is to be kept.
type Result struct {
	// Payload must not be changed afterwards.
	Payload []byte
	// Version is the entry's in Redis.
	Version string
	// Dependencies are those of the look-up.
	Dependencies []store.Dependency
	// Valid is when it was known to be valid: a time before Redis was asked.
	Valid time.Time
	// Life is for how long after that Redis may have it.
	Life time.Duration
}

// Entry is a result that is kept.
type Entry struct {
	payload []byte
	version string
	name    name
	deps    []store.Dependency
	expires int64        // see Cache.at
	valid   atomic.Int64 // when it last was known to be; never if something was dropped since
	dropped atomic.Bool
}

// Payload returns the encoded rows, which must not be changed.
func (e *Entry) Payload() []byte { return e.payload }

// Version returns the entry's version in Redis.
func (e *Entry) Version() string { return e.version }

// never is a time when nothing was known.
const never = math.MinInt64

// Fresh reports whether it may be served without asking Redis by one who accepts
// results that were known to be valid less than maxStale ago.
func (e *Entry) Fresh(maxStale time.Duration) bool {
	valid := e.valid.Load()
	if valid == never || e.dropped.Load() {
		return false
	}
	c := e.name.space.cache
	return c.at(c.now())-valid < int64(maxStale)
}

// What an entry takes besides its payload, and for each of its conjunctions:
// measured, rounded up.
const (
	entryOverhead       = 768
	conjunctionOverhead = 320
)

func (e *Entry) weight() uint32 {
	n := len(e.payload) + entryOverhead
	for _, d := range e.deps {
		n += conjunctionOverhead * (1 + len(d.Keys))
	}
	return uint32(min(n, math.MaxUint32))
}

// forget takes the entry out of the index, when it has left the cache.
func (e *Entry) forget() {
	s := e.name.space
	s.mu.Lock()
	defer s.mu.Unlock()
	s.removeLocked(e)
}

// cloneDependencies copies dependencies, which are parts of what their reader
// has room for.
func cloneDependencies(deps []store.Dependency) []store.Dependency {
	all := make([]store.Dependency, len(deps))
	for i, d := range deps {
		d.Keys = append([]conj.Key(nil), d.Keys...)
		d.Schemes = append([]conj.Scheme(nil), d.Schemes...)
		all[i] = d
	}
	return all
}
