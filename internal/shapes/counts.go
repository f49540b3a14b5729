package shapes

import (
	"cmp"
	"maps"
	"slices"
	"time"

	"github.com/cacheplugin/cacheplugin/cache"
)

// Counts are the numbers of one shape. What is an average to its readers is a sum
// here, so that those of several processes can be added up.
type Counts struct {
	ID, Text, Table                         string
	Op                                      cache.Op
	Hits, NearHits, Misses, Stores, Refused int64
	Rows, Bytes                             int64         // of what was stored
	HitTime                                 time.Duration // of the hits that were timed
	TimedHits                               int64         // how many
	DatabaseTime                            time.Duration // of what the database was asked
	Asked                                   int64         // how often
	Dropped, DroppedInVain, DroppedWhole    int64
	Skips                                   map[string]int64 `json:",omitempty"`
	Causes                                  []Drops          `json:",omitempty"` // by their numbers
}

// Drops are how many results a cause has dropped.
type Drops struct {
	Cause
	Dropped int64
}

func (s *Shape) counts() Counts {
	c := Counts{
		ID: s.ID, Text: s.Text, Op: s.Op,
		Hits: s.hits.Load(), NearHits: s.nearHits.Load(), Misses: s.misses.Load(), Stores: s.stores.Load(), Refused: s.refused.Load(),
		Rows: s.rows.Load(), Bytes: s.bytes.Load(),
		HitTime: time.Duration(s.hitNanos.Load()), TimedHits: s.timedHits.Load(),
		DatabaseTime: time.Duration(s.askedNanos.Load()), Asked: s.asked.Load(),
		Dropped: s.dropped.Load(), DroppedInVain: s.droppedInVain.Load(), DroppedWhole: s.droppedWhole.Load(),
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	c.Table, c.Skips, c.Causes = s.table, maps.Clone(s.skips), drops(s.causes)
	return c
}

// drops lists causes, the most frequent first.
func drops(causes map[Cause]int64) []Drops {
	var list []Drops
	for cause, n := range causes {
		list = append(list, Drops{cause, n})
	}
	slices.SortFunc(list, func(a, b Drops) int {
		return cmp.Or(cmp.Compare(b.Dropped, a.Dropped), cmp.Compare(a.Table, b.Table), cmp.Compare(a.Writer, b.Writer), cmp.Compare(a.Why, b.Why))
	})
	return list
}

// calls is how often the shape was used; what was not looked up counts as well.
func (c *Counts) calls() int64 {
	n := c.Hits + c.Misses
	for _, skipped := range c.Skips {
		n += skipped
	}
	return n
}

// add adds the numbers of another process.
func (c *Counts) add(o Counts) {
	c.Table = cmp.Or(c.Table, o.Table)
	c.Hits, c.NearHits, c.Misses, c.Stores, c.Refused = c.Hits+o.Hits, c.NearHits+o.NearHits, c.Misses+o.Misses, c.Stores+o.Stores, c.Refused+o.Refused
	c.Rows, c.Bytes = c.Rows+o.Rows, c.Bytes+o.Bytes
	c.HitTime, c.TimedHits, c.DatabaseTime, c.Asked = c.HitTime+o.HitTime, c.TimedHits+o.TimedHits, c.DatabaseTime+o.DatabaseTime, c.Asked+o.Asked
	c.Dropped, c.DroppedInVain, c.DroppedWhole = c.Dropped+o.Dropped, c.DroppedInVain+o.DroppedInVain, c.DroppedWhole+o.DroppedWhole
	c.Skips = sum(c.Skips, o.Skips)
	causes := map[Cause]int64{}
	for _, d := range slices.Concat(c.Causes, o.Causes) {
		add(&causes, d.Cause, otherCauses, d.Dropped)
	}
	c.Causes = drops(causes)
}

// sum returns a map of its own.
func sum(a, b map[string]int64) map[string]int64 {
	both := maps.Clone(a)
	for key, n := range b {
		add(&both, key, Others, n)
	}
	return both
}

// Snapshot are the numbers of a process, or of several.
type Snapshot struct {
	Shapes []Counts      // the most used first
	Tables []TableCounts // by their IDs
}

// Snapshot returns all numbers.
func (s *Set) Snapshot() Snapshot {
	s.mu.Lock()
	all := slices.Collect(maps.Values(s.byID))
	s.mu.Unlock()
	var snap Snapshot
	for _, shape := range append(all, s.others) {
		if c := shape.counts(); c.calls() > 0 {
			snap.Shapes = append(snap.Shapes, c)
		}
	}
	snap.Tables = s.tables()
	snap.sort()
	return snap
}

func (n *Snapshot) sort() {
	slices.SortFunc(n.Shapes, func(a, b Counts) int {
		return cmp.Or(cmp.Compare(b.calls(), a.calls()), cmp.Compare(a.ID, b.ID))
	})
	slices.SortFunc(n.Tables, func(a, b TableCounts) int { return cmp.Compare(a.Table, b.Table) })
}

// Add returns the sums of two processes' numbers.
func (n Snapshot) Add(o Snapshot) Snapshot {
	shapes, tables := map[string]Counts{}, map[string]TableCounts{}
	for _, c := range slices.Concat(n.Shapes, o.Shapes) {
		if known, ok := shapes[c.ID]; ok {
			known.add(c)
			c = known
		}
		shapes[c.ID] = c
	}
	for _, t := range slices.Concat(n.Tables, o.Tables) {
		if known, ok := tables[t.Table]; ok {
			known.add(t)
			t = known
		}
		tables[t.Table] = t
	}
	both := Snapshot{Shapes: slices.Collect(maps.Values(shapes)), Tables: slices.Collect(maps.Values(tables))}
	both.sort()
	return both
}

// Head returns the n most used shapes, with the others folded into one, and the n
// tables that were invalidated most often.
func (n Snapshot) Head(most int) Snapshot {
	head := Snapshot{Tables: slices.Clone(n.Tables)}
	others := Counts{ID: Others, Text: Others}
	for _, c := range n.Shapes {
		if c.ID != Others && len(head.Shapes) < most {
			head.Shapes = append(head.Shapes, c)
			continue
		}
		others.add(c)
	}
	others.Table = "" // it is of many
	if others.calls() > 0 {
		head.Shapes = append(head.Shapes, others)
	}
	if len(head.Tables) > most {
		slices.SortFunc(head.Tables, func(a, b TableCounts) int { return cmp.Compare(b.Narrow+b.Whole, a.Narrow+a.Whole) })
		head.Tables = head.Tables[:most]
	}
	head.sort()
	return head
}
