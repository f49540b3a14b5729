package store

import "slices"

// pending holds the changes that wait for Redis. It stays bounded by giving up
// detail: the rows of a table for the whole table, tables for everything. The
// zero value is empty.
type pending struct {
	everything bool
	tables     map[string][]Change
	rows       int // changes that are not of a whole table
}

// maxPendingTables is the number of tables above which everything is dropped
// instead.
const maxPendingTables = 1000

func (p *pending) empty() bool { return !p.everything && len(p.tables) == 0 }

// covers reports whether something is pending for one of the tables.
func (p *pending) covers(tables []string) bool {
	return p.everything || slices.ContainsFunc(tables, func(t string) bool {
		_, ok := p.tables[t]
		return ok
	})
}

// add merges changes. maxRows bounds the changes that are kept in detail.
func (p *pending) add(changes []Change, maxRows int) {
	for _, c := range changes {
		if p.everything {
			return
		}
		old := p.tables[c.Table]
		if len(old) == 1 && old[0].Keys == nil {
			continue
		}
		if c.Keys == nil || p.rows >= maxRows {
			p.rows -= len(old)
			c = Change{Table: c.Table}
			old = nil
		} else {
			p.rows++
		}
		if p.tables == nil {
			p.tables = make(map[string][]Change)
		}
		p.tables[c.Table] = append(old, c)
		if len(p.tables) > maxPendingTables {
			p.addEverything()
		}
	}
}

func (p *pending) addEverything() { *p = pending{everything: true} }

// merge adds what another holds.
func (p *pending) merge(other pending, maxRows int) {
	if other.everything {
		p.addEverything()
		return
	}
	p.add(other.changes(), maxRows)
}

func (p *pending) changes() []Change {
	var all []Change
	for _, changes := range p.tables {
		all = append(all, changes...)
	}
	return all
}

// names returns the tables, sorted.
func (p *pending) names() []string {
	if p.everything {
		return []string{"*"}
	}
	names := make([]string, 0, len(p.tables))
	for name := range p.tables {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}
