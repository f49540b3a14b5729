package concurrency

import (
	"fmt"
	"math"
	"slices"
	"sort"
)

// A history is what processes have done to the rows of one table, and what
// they have read: see check. Times are nanoseconds of the machine's clock.
type history struct {
	Writes []wrote
	Reads  []saw

	ShadowReads, Stale int64 // of the plugin's own checks
	NearHits           int64
}

// wrote is one committed transaction: the row's version and group since.
type wrote struct {
	ID, Ver, Grp    int
	Began, Returned int64 // before COMMIT was sent, and after it returned
}

// saw is one read.
type saw struct {
	Kind       string // "row", "rows", "group", "count"
	IDs        []int  // that were asked for
	Grp        int    // that was asked for
	Rows       []counter
	Count      int
	Start, End int64
	Hit        bool
}

// counter is a row. Its version goes up by one in each transaction that
// writes it.
type counter struct {
	ID  int `gorm:"primaryKey;autoIncrement:false"`
	Grp int
	Ver int
}

func (h *history) add(other history) {
	h.Writes = append(h.Writes, other.Writes...)
	h.Reads = append(h.Reads, other.Reads...)
	h.ShadowReads, h.Stale = h.ShadowReads+other.ShadowReads, h.Stale+other.Stale
	h.NearHits += other.NearHits
}

// verdict is the outcome of a check.
type verdict struct {
	reads, hits, writes int
	stale               []string // what was wrong, one line for each read
	staleHits           int
	wrong               []string // histories that no database could have made

	shadowReads, shadowStale, nearHits int64
}

// line is the life of one row: by version, its group and its times.
type line struct {
	grp    []int
	began  []int64
	closed []int64 // when this version and all before it had returned
}

// owed is the version that a read which started then must have seen at least:
// the last one such that the commits of it and of all before have returned.
// That closure is the promise's own limit: while an earlier commit of the row
// has not returned, what it changed may still be served.
func (l *line) owed(start int64) int {
	return sort.Search(len(l.closed), func(v int) bool { return l.closed[v] >= start }) - 1
}

// last is the newest version that a read which ended then can have seen.
func (l *line) last(end int64) int {
	return sort.Search(len(l.began), func(v int) bool { return l.began[v] > end }) - 1
}

// check holds every read against every commit: none may show a row, or miss
// or count it in a group, as it was before the version that it is owed.
func check(initial []counter, h history) verdict {
	lines := map[int]*line{}
	for _, c := range initial {
		lines[c.ID] = &line{grp: []int{c.Grp}, began: []int64{math.MinInt64}, closed: []int64{math.MinInt64}}
	}
	v := verdict{reads: len(h.Reads), writes: len(h.Writes)}
	slices.SortFunc(h.Writes, func(a, b wrote) int { return a.Ver - b.Ver })
	for _, w := range h.Writes {
		l := lines[w.ID]
		if w.Ver != len(l.grp) {
			v.wrong = append(v.wrong, fmt.Sprintf("row %d: version %d comes after %d", w.ID, w.Ver, len(l.grp)-1))
			continue
		}
		l.grp = append(l.grp, w.Grp)
		l.began = append(l.began, w.Began)
		l.closed = append(l.closed, max(w.Returned, l.closed[w.Ver-1]))
	}
	for _, r := range h.Reads {
		if r.Hit {
			v.hits++
		}
		if what := r.stale(lines); what != "" {
			v.stale = append(v.stale, fmt.Sprintf("%s of %v/%d (hit: %v): %s", r.Kind, r.IDs, r.Grp, r.Hit, what))
			if r.Hit {
				v.staleHits++
			}
		}
	}
	return v
}

func (r saw) stale(lines map[int]*line) string {
	seen := map[int]counter{}
	for _, c := range r.Rows {
		seen[c.ID] = c
		l := lines[c.ID]
		switch owed := l.owed(r.Start); {
		case c.Ver < owed:
			return fmt.Sprintf("row %d has version %d, and %d was committed before", c.ID, c.Ver, owed)
		case c.Ver >= len(l.grp) || l.grp[c.Ver] != c.Grp:
			return fmt.Sprintf("row %d was never version %d in group %d", c.ID, c.Ver, c.Grp)
		}
	}
	switch r.Kind {
	case "row", "rows":
		for _, id := range r.IDs {
			if _, ok := seen[id]; !ok {
				return fmt.Sprintf("row %d is missing", id)
			}
		}
	case "group":
		for id, l := range lines {
			if _, must := l.member(r); must && !has(seen, id) {
				return fmt.Sprintf("row %d is missing from the group since version %d", id, l.owed(r.Start))
			}
		}
		for _, c := range r.Rows {
			if c.Grp != r.Grp {
				return fmt.Sprintf("row %d is of group %d", c.ID, c.Grp)
			}
		}
	case "count":
		least, most := 0, 0
		for _, l := range lines {
			may, must := l.member(r)
			if may {
				most++
			}
			if must {
				least++
			}
		}
		if r.Count < least || r.Count > most {
			return fmt.Sprintf("%d rows, and there were %d to %d", r.Count, least, most)
		}
	}
	return ""
}

func has(seen map[int]counter, id int) bool { _, ok := seen[id]; return ok }

// member reports whether a row can, and whether it must, have been in the group
// of a read, in the versions that the read can have seen.
func (l *line) member(r saw) (may, must bool) {
	must = true
	for v := l.owed(r.Start); v <= max(l.last(r.End), l.owed(r.Start)); v++ {
		if l.grp[v] == r.Grp {
			may = true
		} else {
			must = false
		}
	}
	return may, must
}
