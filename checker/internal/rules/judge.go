package rules

import (
	"fmt"
	"path/filepath"
	"strings"

	"github.com/cacheplugin/cacheplugin/checker/internal/history"
)

// ClientOf is the client that has written a history's file.
func ClientOf(file string) string { return strings.TrimSuffix(filepath.Base(file), ".log") }

// judge goes through one reader's history.
type judge struct {
	*Index
	client string

	// Where the last searches ended, by row and by function.
	begun, done [2][]int32
	floors      [grades][2][]int32
	own         map[*steps]*int32

	seen  []int64 // the version of an item that the answer shows, plus one
	moved []uint32
}

func (x *Index) newJudge(client string) *judge {
	j := &judge{Index: x, client: client, own: map[*steps]*int32{}, seen: make([]int64, len(x.items))}
	sizes := [2]int{len(x.items), len(x.groups)}
	for t, n := range sizes {
		j.begun[t], j.done[t] = make([]int32, n), make([]int32, n)
		for g := range j.floors {
			j.floors[g][t] = make([]int32, n)
		}
	}
	return j
}

// chain returns a row's chain; nil for a row that never was.
func (x *Index) chain(r history.Row) *chain {
	list := x.items
	if r.Table == history.Groups {
		list = x.groups
	}
	if int(r.ID) >= len(list) {
		return nil
	}
	return list[r.ID]
}

// at returns the value of a function at a time.
func (j *judge) at(s *steps, t int64) int64 {
	if s == nil {
		return 0
	}
	hint := j.own[s]
	if hint == nil {
		hint = new(int32)
		j.own[s] = hint
	}
	return s.before(t, hint)
}

// floor is the moment that the answer must not be older than: a commit that
// changes the answer and binds has taken effect after it was sent. A feed has none.
func (j *judge) floor(b *bonds, r *history.Record, start int64) int64 {
	row := func(t history.Table, id uint32) int64 {
		return j.at(b.floor[query{Row: history.Row{Table: t, ID: id}}], start)
	}
	switch r.Kind {
	case history.ReadItem:
		return row(history.Items, r.A)
	case history.ReadGroupOf:
		return j.at(b.floor[query{Row: history.Row{Table: history.Items, ID: r.A}, placed: true}], start)
	case history.ReadItems:
		return max(row(history.Items, r.A), row(history.Items, r.B))
	case history.ReadList:
		return j.at(b.floor[groupQuery(r.A)], start)
	case history.ReadCount:
		q := groupQuery(r.A)
		q.placed = true
		return j.at(b.floor[q], start)
	case history.ReadEither:
		return max(j.at(b.floor[groupQuery(r.A)], start), row(history.Items, r.B))
	case history.ReadJoined:
		return max(j.at(b.floor[groupQuery(r.A)], start), row(history.Groups, r.A))
	case history.ReadGroup:
		return row(history.Groups, r.A)
	}
	return 0
}

// owed is the oldest version of a row that an answer to r may show if it was
// asked for at start.
func (j *judge) owed(g Grade, c *chain, r *history.Record, start, floor int64) int64 {
	if g == Committed {
		return c.done.before(start, &j.done[c.Table][c.ID])
	}
	b := &j.bonds[g]
	owed := c.done.before(floor, &j.floors[g][c.Table][c.ID])
	if c.Table == history.Groups {
		if r.Kind == history.ReadGroupOf {
			return owed // which groups it asks for isn't known before
		}
		return max(owed, j.at(b.byRow[c.Row], start))
	}
	switch r.Kind {
	case history.ReadItem, history.ReadItems:
		return max(owed, j.at(b.byRow[c.Row], start))
	case history.ReadGroupOf:
		return max(owed, j.at(b.byPlace[c.Row], start))
	case history.ReadCount:
		return max(owed, j.at(b.byCount[membership{c.ID, r.A}], start))
	case history.ReadEither:
		if c.ID == r.B {
			return max(owed, j.at(b.byRow[c.Row], start))
		}
	}
	return max(owed, j.at(b.byGroup[membership{c.ID, r.A}], start))
}

// problem is why an answer is wrong.
type problem struct {
	row   history.Row
	owed  int64
	text  string
	never bool // no moment ever was like that
}

// check reports whether an answer to r can have been asked for at start: whether
// each row has a version that belongs so into it, not older than what is owed
// and not newer than what was there at the end. It returns nil if so.
func (j *judge) check(g Grade, r *history.Record, start int64) *problem {
	var floor int64
	if g != Committed {
		floor = j.floor(&j.bonds[g], r, start)
	}
	span := func(c *chain) (owed, last int64) {
		owed = j.owed(g, c, r, start, floor)
		return owed, max(owed, c.begun.before(r.End, &j.begun[c.Table][c.ID]))
	}
	if r.Kind.Counts() {
		least, most := 0, 0
		for _, c := range j.items {
			if c == nil {
				continue
			}
			may, must := c.within(span(c))(func(s *history.State) bool { return matches(r, s) })
			if may {
				most++
			}
			if must {
				least++
			}
		}
		if n := int(r.Count); n < least || n > most {
			return &problem{row: history.Row{Table: history.Items}, text: fmt.Sprintf("%d rows, and there were %d to %d", n, least, most)}
		}
		return nil
	}

	defer j.forget(r)
	for i := range r.States {
		s := &r.States[i]
		c := j.chain(s.Row)
		if c == nil {
			return &problem{row: s.Row, never: true, text: "a row that never was"}
		}
		owed, last := span(c)
		v := int64(s.Version)
		switch {
		case v > last || c.versions[v].State != *s:
			return &problem{row: s.Row, owed: owed, never: true, text: fmt.Sprintf("it never was version %d in group %d by then", v, s.Group)}
		case v < owed:
			return &problem{row: s.Row, owed: owed, text: fmt.Sprintf("version %d, and %d is owed", v, owed)}
		case s.Table == history.Items && !matches(r, s):
			return &problem{row: s.Row, owed: owed, never: true, text: "it does not belong there"}
		}
		if s.Table == history.Items {
			j.seen[s.ID] = v + 1
		}
	}
	absent := func(c *chain, in func(*history.State) bool) *problem {
		if c == nil {
			return nil
		}
		owed, last := span(c)
		if _, must := c.within(owed, last)(in); must {
			return &problem{row: c.Row, owed: owed, text: fmt.Sprintf("it is missing, and belongs there since version %d at the latest", owed)}
		}
		return nil
	}
	in := func(s *history.State) bool { return matches(r, s) }
	switch r.Kind {
	case history.ReadItem, history.ReadItems:
		for _, id := range []uint32{r.A, r.B} {
			if id != 0 && j.seen[id] == 0 {
				if p := absent(j.items[id], in); p != nil {
					return p
				}
			}
		}
	case history.ReadList, history.ReadEither, history.ReadJoined, history.ReadFeed:
		for id, c := range j.items {
			if j.seen[id] == 0 {
				if p := absent(c, in); p != nil {
					return p
				}
			}
		}
		if r.Kind == history.ReadJoined && len(r.States) > 0 && r.States[len(r.States)-1].Table != history.Groups {
			return absent(j.groups[r.A], func(s *history.State) bool { return s.Present })
		}
	case history.ReadGroup:
		if len(r.States) == 0 {
			return absent(j.groups[r.A], func(s *history.State) bool { return s.Present })
		}
	case history.ReadGroupOf:
		return j.checkGroupOf(r, span)
	}
	return nil
}

// checkGroupOf: the group that is shown is one that the item was in.
func (j *judge) checkGroupOf(r *history.Record, span func(*chain) (int64, int64)) *problem {
	item := j.items[r.A]
	owed, last := span(item)
	for v := owed; v <= last; v++ {
		s := &item.versions[v].State
		switch {
		case len(r.States) == 1:
			if s.Present && s.Group == r.States[0].ID {
				return nil
			}
		case !s.Present:
			return nil
		default: // maybe the group was not there
			if c := j.chain(history.Row{Table: history.Groups, ID: s.Group}); c == nil {
				return nil
			} else if _, must := c.within(span(c))(func(s *history.State) bool { return s.Present }); !must {
				return nil
			}
		}
	}
	return &problem{row: item.Row, owed: owed, text: fmt.Sprintf("its group is another one since version %d at the latest", owed)}
}

// forget clears what check has noted of an answer.
func (j *judge) forget(r *history.Record) {
	for _, s := range r.States {
		if s.Table == history.Items && int(s.ID) < len(j.seen) {
			j.seen[s.ID] = 0
		}
	}
}

// within reports whether one, and whether each, of the versions satisfies a
// condition.
func (c *chain) within(from, to int64) func(func(*history.State) bool) (may, must bool) {
	return func(condition func(*history.State) bool) (may, must bool) {
		must = true
		for v := from; v <= to && (must || !may); v++ {
			if condition(&c.versions[v].State) {
				may = true
			} else {
				must = false
			}
		}
		return may, must
	}
}

// matches reports whether an item belongs into an answer.
func matches(r *history.Record, s *history.State) bool {
	if !s.Present {
		return false
	}
	switch r.Kind {
	case history.ReadItem:
		return s.ID == r.A
	case history.ReadItems:
		return s.ID == r.A || s.ID == r.B
	case history.ReadEither:
		return s.Group == r.A || s.ID == r.B
	default:
		return s.Group == r.A
	}
}

// torn reports whether no single moment can have been like the answer: one row's
// successor was there before another row was.
func (j *judge) torn(r *history.Record) bool {
	begun, over := int64(0), int64(never)
	for _, s := range r.States {
		c := j.chain(s.Row)
		if c == nil || int(s.Version) >= len(c.versions) {
			return false // told by check
		}
		begun = max(begun, c.versions[s.Version].began)
		if int(s.Version)+1 < len(c.versions) {
			over = min(over, c.versions[s.Version+1].done)
		}
	}
	return begun > over
}
