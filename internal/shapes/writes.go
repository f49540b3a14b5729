package shapes

import (
	"cmp"
	"maps"
	"sync"
	"time"
)

// maxTables bounds the tables whose invalidations are counted.
const maxTables = 1000

// Everything is the table of an invalidation of all tables.
const Everything = "*"

// writes are the invalidations of this process.
type writes struct {
	mu     sync.Mutex
	tables map[string]*written
}

type written struct {
	counts TableCounts
	at     time.Time // of the last that dropped something
	cause  Cause
}

// TableCounts are the numbers of one table, by its ID.
type TableCounts struct {
	Table         string
	Narrow, Whole int64 // invalidations of rows, and of the table
	Dropped       int64
	Reasons       map[string]int64 // why it was the table
	Writers       map[string]int64 // invalidations by the statement's shape
}

// Invalidated notes what has dropped results, and how many.
func (s *Set) Invalidated(c Cause, dropped int, now time.Time) {
	s.writes.mu.Lock()
	defer s.writes.mu.Unlock()
	w := &s.writes
	t := w.tables[c.Table]
	if t == nil {
		if len(w.tables) >= maxTables {
			return
		}
		if w.tables == nil {
			w.tables = map[string]*written{}
		}
		t = &written{counts: TableCounts{Table: c.Table}}
		w.tables[c.Table] = t
	}
	if c.Whole {
		t.counts.Whole++
		add(&t.counts.Reasons, cmp.Or(c.Why, "by hand"), Others, 1)
	} else {
		t.counts.Narrow++
	}
	t.counts.Dropped += int64(dropped)
	if c.Writer != "" {
		add(&t.counts.Writers, c.Writer, Others, 1)
	}
	if dropped == 0 && !c.Whole {
		return
	}
	t.at, t.cause = now, c
}

// cause is what has probably dropped a result that reads some tables and was
// stored at a time: the last invalidation of one of them. Without one it was another
// process, or Redis that needed the memory.
func (w *writes) cause(tables []string, since time.Time) Cause {
	w.mu.Lock()
	defer w.mu.Unlock()
	var c Cause
	for _, table := range append([]string{Everything}, tables...) {
		if t := w.tables[table]; t != nil && t.at.After(since) {
			since, c = t.at, t.cause
		}
	}
	return c
}

// tables returns the numbers of all tables.
func (s *Set) tables() []TableCounts {
	s.writes.mu.Lock()
	defer s.writes.mu.Unlock()
	list := make([]TableCounts, 0, len(s.writes.tables))
	for _, t := range s.writes.tables {
		c := t.counts
		c.Reasons, c.Writers = maps.Clone(c.Reasons), maps.Clone(c.Writers)
		list = append(list, c)
	}
	return list
}

// add adds the numbers of another process.
func (t *TableCounts) add(o TableCounts) {
	t.Narrow, t.Whole, t.Dropped = t.Narrow+o.Narrow, t.Whole+o.Whole, t.Dropped+o.Dropped
	t.Reasons, t.Writers = sum(t.Reasons, o.Reasons), sum(t.Writers, o.Writers)
}
