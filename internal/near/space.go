package near

import (
	"hash/maphash"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cacheplugin/cacheplugin/conj"
	"github.com/cacheplugin/cacheplugin/internal/store"
)

// stripes is the number of counters that the drops of a namespace's tables are
// counted by. Tables that share one cost each other some freshness.
const stripes = 256

// Space is what the cache keeps of one namespace.
type Space struct {
	cache *Cache
	seed  maphash.Seed

	// The drops of tables, and of everything, are counted so that a result which
	// was read before one is not fresh after it.
	drops   [stripes]atomic.Uint64
	cleared atomic.Uint64

	mu     sync.Mutex
	tables map[string]*table // by ID
}

// table is the index of the entries that read a table.
type table struct {
	all map[*Entry]struct{}
	// byKey are those that depend on a conjunction.
	byKey map[conj.Key]map[*Entry]struct{}
	// wide are those that depend on rows which only their result tells.
	wide map[*Entry]struct{}
	// schemes are those of byKey, with the number of entries that have each.
	schemes map[conj.Scheme]int
}

// Space returns an empty one.
func (c *Cache) Space() *Space {
	return &Space{cache: c, seed: maphash.MakeSeed(), tables: map[string]*table{}}
}

// Mark is what had been dropped from some tables at a moment.
type Mark struct{ drops uint64 }

// Mark must be taken before Redis is asked, and before it is looked up whether
// an invalidation is pending.
func (s *Space) Mark(deps []store.Dependency) Mark {
	drops := s.cleared.Load()
	for i := range deps {
		drops += s.counter(deps[i].Table).Load()
	}
	return Mark{drops} // a sum of what only grows: equal if no part has changed
}

func (s *Space) counter(table string) *atomic.Uint64 {
	return &s.drops[maphash.String(s.seed, table)%stripes]
}

// Get returns what is kept of a key, if it can be valid still.
func (s *Space) Get(key store.EntryKey) (*Entry, bool) {
	e, ok := s.cache.kept.GetIfPresent(name{s, key})
	if !ok || e.dropped.Load() {
		return nil, false
	}
	if s.cache.at(s.cache.now()) >= e.expires {
		s.cache.kept.Invalidate(e.name)
		return nil, false
	}
	return e, true
}

// Put keeps a result. It can be fresh only if nothing was dropped since the mark.
func (s *Space) Put(mark Mark, key store.EntryKey, r Result) {
	e := &Entry{
		payload: r.Payload, version: strings.Clone(r.Version), name: name{s, key},
		deps: cloneDependencies(r.Dependencies), expires: s.cache.at(r.Valid.Add(r.Life)),
	}
	e.valid.Store(never)
	s.mu.Lock()
	s.addLocked(e)
	s.confirmLocked(mark, e, r.Valid)
	s.mu.Unlock()
	s.cache.kept.Set(e.name, e)
	if e.dropped.Load() {
		s.cache.kept.Invalidate(e.name)
	}
}

// Confirm makes an entry fresh again that Redis has confirmed, unless something
// was dropped since the mark. valid is a time before Redis was asked.
func (s *Space) Confirm(mark Mark, e *Entry, valid time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.confirmLocked(mark, e, valid)
}

func (s *Space) confirmLocked(mark Mark, e *Entry, valid time.Time) {
	if !e.dropped.Load() && s.Mark(e.deps) == mark {
		e.valid.Store(max(e.valid.Load(), s.cache.at(valid)))
	}
}

func (s *Space) addLocked(e *Entry) {
	for _, d := range e.deps {
		t := s.tables[d.Table]
		if t == nil {
			t = &table{
				all: map[*Entry]struct{}{}, byKey: map[conj.Key]map[*Entry]struct{}{},
				wide: map[*Entry]struct{}{}, schemes: map[conj.Scheme]int{},
			}
			s.tables[d.Table] = t
		}
		t.all[e] = struct{}{}
		if d.Joined {
			t.wide[e] = struct{}{}
		}
		for _, k := range d.Keys {
			if t.byKey[k] == nil {
				t.byKey[k] = map[*Entry]struct{}{}
			}
			t.byKey[k][e] = struct{}{}
		}
		for _, scheme := range d.Schemes {
			t.schemes[scheme]++
		}
	}
}

// removeLocked takes an entry out of the index; nobody is served it from then on.
func (s *Space) removeLocked(e *Entry) {
	if e.dropped.Swap(true) {
		return
	}
	for _, d := range e.deps {
		t := s.tables[d.Table]
		if t == nil {
			continue // it appears twice among the dependencies
		}
		delete(t.all, e)
		delete(t.wide, e)
		for _, k := range d.Keys {
			delete(t.byKey[k], e)
			if len(t.byKey[k]) == 0 {
				delete(t.byKey, k)
			}
		}
		for _, scheme := range d.Schemes {
			if t.schemes[scheme]--; t.schemes[scheme] == 0 {
				delete(t.schemes, scheme)
			}
		}
		if len(t.all) == 0 {
			delete(s.tables, d.Table)
		}
	}
}
