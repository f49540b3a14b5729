package near

import (
	"fmt"
	"time"

	"github.com/maypok86/otter/v2"

	"github.com/cacheplugin/cacheplugin/internal/store"
)

// DefaultMaxBytes is the default of Options.MaxBytes.
const DefaultMaxBytes = 64 << 20

// Options configure a Cache. The zero value is fine.
type Options struct {
	// MaxBytes bounds the memory of all results together, with what it takes to
	// find them again. Defaults to 64 MiB.
	MaxBytes int64

	// Now returns the time, which must be monotonic. Defaults to time.Now.
	Now func() time.Time
}

// Cache is the memory that the namespaces of a process share. It is safe for
// concurrent use, has no goroutine and needs no closing.
type Cache struct {
	kept  *otter.Cache[name, *Entry]
	start time.Time
	now   func() time.Time
}

// name is what an entry is found by.
type name struct {
	space *Space
	key   store.EntryKey
}

// New returns a Cache. The error names a wrong option.
func New(o Options) (*Cache, error) {
	if o.MaxBytes == 0 {
		o.MaxBytes = DefaultMaxBytes
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.MaxBytes < 0 {
		return nil, fmt.Errorf("near: MaxBytes is %d: it must be positive, or zero for the default", o.MaxBytes)
	}
	kept, err := otter.New(&otter.Options[name, *Entry]{
		MaximumWeight: uint64(o.MaxBytes),
		Weigher:       func(_ name, e *Entry) uint32 { return e.weight() },
		// The handler takes a space's lock: nothing may call the cache under it.
		OnDeletion: func(gone otter.DeletionEvent[name, *Entry]) { gone.Value.forget() },
		// Its upkeep is done by those who call it, so that nothing is left to run.
		Executor: func(do func()) { do() },
	})
	if err != nil {
		return nil, fmt.Errorf("near: %w", err)
	}
	return &Cache{kept: kept, start: o.Now(), now: o.Now}, nil
}

// Bytes returns the weight of what is kept, Len the number of results; both are
// estimates.
func (c *Cache) Bytes() int64 { return int64(c.kept.WeightedSize()) }

// Len is described at Bytes.
func (c *Cache) Len() int { return c.kept.EstimatedSize() }

// at is a time as entries keep it.
func (c *Cache) at(t time.Time) int64 { return int64(t.Sub(c.start)) }
