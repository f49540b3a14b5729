package conj

import (
	"fmt"
	"slices"
	"strings"
)

// A pinned query depends on the rows of a table by some of its columns only,
// those that the caller names, whatever else its conditions ask: their other
// terms are left out of each conjunction, and a conjunction that is left with
// none is left out of the disjunction, where it would otherwise stand for any
// row. Tables of which no column is named are not depended on at all. What the
// limits or the arguments keep from narrowing widens as ever.

// PinError says why a query can't be limited to a column.
type PinError struct {
	// Column is the column as it was given.
	Column string
	// Problem says what is wrong with it, and Remedy what to do.
	Problem, Remedy string
}

// Error implements error.
func (e *PinError) Error() string {
	return fmt.Sprintf("conj: pin %q: %s: %s", e.Column, e.Problem, e.Remedy)
}

// pin is a column that a query is limited to.
type pin struct {
	given    string
	table    *Table
	col      int
	asked    bool // a term on it was met
	possible bool // the table's conditions may be true
}

type pins []*pin

// resolvePins finds the columns that names such as "user_id" or
// "orders.user_id" mean among the tables that are read.
func (c *compiler) resolvePins(names []string) (pins, error) {
	all := make(pins, 0, len(names))
	direct := c.direct()
	for _, name := range names {
		p, err := resolvePin(c.d, direct, name)
		if err != nil {
			return nil, err
		}
		if all.of(p.table, p.col) == nil {
			all = append(all, p)
		}
	}
	return all, nil
}

// direct are the tables that the text names itself. What a view reads can't be
// pinned, and all of it counts.
func (c *compiler) direct() []*Table {
	var tables []*Table
	for _, core := range c.cores {
		for _, e := range core.entries {
			if e.table != nil && e.view == nil && tableIndex(tables, e.table) < 0 {
				tables = append(tables, e.table)
			}
		}
	}
	return tables
}

func resolvePin(d Dialect, direct []*Table, name string) (*pin, error) {
	table, column := "", name
	if i := strings.LastIndexByte(name, '.'); i >= 0 {
		table, column = name[:i], name[i+1:]
	}
	var found *pin
	known := false
	for _, t := range direct {
		if table != "" && !sameName(d, t.Name, table) && !sameName(d, t.ID, table) {
			continue
		}
		known = true
		col := t.Index(d, column)
		switch {
		case col < 0:
		case found != nil:
			return nil, &PinError{name, fmt.Sprintf("both %s and %s have the column", found.table.ID, t.ID),
				fmt.Sprintf("name the table, too, as %q", found.table.Name+"."+column)}
		default:
			found = &pin{given: name, table: t, col: col}
		}
	}
	reads := make([]string, len(direct))
	for i, t := range direct {
		reads[i] = t.Name
	}
	switch {
	case !known:
		return nil, &PinError{name, "the query doesn't read the table " + table,
			"name one that it reads: " + strings.Join(reads, ", ")}
	case found == nil && table != "":
		return nil, &PinError{name, "the table " + table + " has no column " + column, "correct its name"}
	case found == nil:
		return nil, &PinError{name, "no table of the query has the column " + column,
			"name a column of one that it reads: " + strings.Join(reads, ", ")}
	}
	return found, nil
}

func (all pins) of(t *Table, col int) *pin {
	i := slices.IndexFunc(all, func(p *pin) bool { return p.col == col && p.table.ID == t.ID })
	if i < 0 {
		return nil
	}
	return all[i]
}

// on reports whether a column of the table is pinned.
func (all pins) on(t *Table) bool {
	return slices.ContainsFunc(all, func(p *pin) bool { return p.table.ID == t.ID })
}

// ask notes that a condition asks a value of a column, and reports whether that
// is pinned.
func (all pins) ask(t *Table, col int) bool {
	p := all.of(t, col)
	if p == nil {
		return false
	}
	p.asked = true
	return true
}

// reach notes that the conditions on a table may be true.
func (all pins) reach(t *Table) {
	for _, p := range all {
		p.possible = p.possible || p.table.ID == t.ID
	}
}

// keep leaves the terms on pinned columns.
func (all pins) keep(t *Table, terms []term) []term {
	return slices.DeleteFunc(terms, func(tm term) bool { return !all.ask(t, tm.col) })
}

// check reports a column that no condition asks a value of. Where the
// conditions can't be true, as IN of an empty list is not, no row matters.
func (all pins) check() error {
	for _, p := range all {
		if p.asked || !p.possible {
			continue
		}
		c := p.table.columns[p.col]
		if c.Kind == Opaque || c.Kind == Unreadable {
			return &PinError{p.given, "values of the column's type can't be told apart by equality",
				"name a column of another type by which the query narrows"}
		}
		return &PinError{p.given, "the query has no condition that narrows by the column",
			fmt.Sprintf("name a column that it asks a value of, as %s = ? and %[1]s IN ? do", c.Name)}
	}
	return nil
}

// names are the pinned columns with their tables, sorted.
func (all pins) names() []string {
	names := make([]string, len(all))
	for i, p := range all {
		names[i] = p.table.ID + "." + p.table.columns[p.col].Name
	}
	slices.Sort(names)
	return names
}
