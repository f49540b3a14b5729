package near

import (
	"maps"
	"slices"

	"github.com/cacheplugin/cacheplugin/conj"
	"github.com/cacheplugin/cacheplugin/internal/store"
)

// Drop drops the results that depend on changes of this process. It is called
// when Redis has been told of them, or could not be, and before the writer
// returns: a result that is put later with a mark that was taken later was valid
// in Redis after the change.
func (s *Space) Drop(changes ...store.Change) {
	for _, c := range changes {
		if c.Keys == nil {
			s.dropTable(c.Table)
			continue
		}
		// Counted first: what is put from now on with a scheme that is not among
		// these is not fresh, or was read later.
		keys, ok := c.Keys(s.dropping(c.Table))
		if ok {
			s.dropKeys(c.Table, keys)
		} else {
			s.dropTable(c.Table)
		}
	}
}

// Apply drops what a notice says that another process has dropped in Redis.
func (s *Space) Apply(n store.Notice) {
	switch {
	case n.Table == "":
		s.Clear()
	case n.Keys == nil:
		s.dropTable(n.Table)
	default:
		s.dropping(n.Table)
		s.dropKeys(n.Table, n.Keys)
	}
}

// dropping counts a drop, and returns the schemes of what is kept.
func (s *Space) dropping(table string) []conj.Scheme {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.counter(table).Add(1)
	t := s.tables[table]
	if t == nil {
		return nil
	}
	return slices.Collect(maps.Keys(t.schemes))
}

func (s *Space) dropKeys(table string, keys []conj.Key) {
	s.drop(func() (dropped []*Entry) {
		t := s.tables[table]
		if t == nil {
			return nil
		}
		for e := range t.wide {
			dropped = append(dropped, e)
		}
		for _, k := range keys {
			for e := range t.byKey[k] {
				dropped = append(dropped, e)
			}
		}
		return dropped
	})
}

func (s *Space) dropTable(table string) {
	s.drop(func() []*Entry {
		s.counter(table).Add(1)
		t := s.tables[table]
		if t == nil {
			return nil
		}
		return slices.Collect(maps.Keys(t.all))
	})
}

// Clear drops everything of the namespace.
func (s *Space) Clear() {
	s.drop(func() (dropped []*Entry) {
		s.cleared.Add(1)
		for _, t := range s.tables {
			dropped = slices.AppendSeq(dropped, maps.Keys(t.all))
		}
		return dropped
	})
}

// drop takes the entries that find returns out of the index, and then out of the
// cache, which must not be called under the lock.
func (s *Space) drop(find func() []*Entry) {
	s.mu.Lock()
	dropped := find()
	for _, e := range dropped {
		s.removeLocked(e)
	}
	s.mu.Unlock()
	for _, e := range dropped {
		s.cache.kept.Invalidate(e.name)
	}
}

// Demote ends the freshness of everything: notices may have been missed. What
// is kept can be confirmed still.
func (s *Space) Demote() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.cleared.Add(1)
	for _, t := range s.tables {
		for e := range t.all {
			e.valid.Store(never)
		}
	}
}
