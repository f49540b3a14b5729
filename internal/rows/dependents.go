package rows

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/cacheplugin/cacheplugin/conj"
	"github.com/cacheplugin/cacheplugin/internal/catalog"
	"github.com/cacheplugin/cacheplugin/internal/change"
)

// dependents are rows of one table that a foreign key of it will change when
// the rows that they reference are deleted or updated.
type dependents struct {
	step
	scope
	statement *Statement
	name      conj.TableName

	old     []conj.Image // of the rows, before
	changes []conj.Change
	keys    [][]any // primary keys of the rows
	reread  bool    // their new images are to be read
}

func newDependents(s *Statement, from *step, key *catalog.ForeignKey, table *catalog.Table) *dependents {
	return &dependents{
		statement: s, name: key.Child.Name, scope: scope{extent: change.Rows},
		step: step{table: table, depth: from.depth + 1, deleted: from.deleted && key.OnDelete == catalog.Cascade},
	}
}

func (d *dependents) reader() *reader {
	return &reader{statement: d.statement, table: d.table, name: d.name, lead: d.lead}
}

// widen gives up the images.
func (d *dependents) widen(reason string) {
	d.scope.widen(change.Table, reason)
	d.changes = nil
}

// becomes notes what an update does to the child's columns.
func (d *dependents) becomes(parent *step, key *catalog.ForeignKey, parents, children []int) {
	n := len(d.table.Columns())
	d.set, d.changed = make(conj.Image, n), make([]bool, n)
	act := key.OnUpdate
	if parent.deleted {
		act = key.OnDelete
	}
	for i, child := range children {
		d.changed[child] = true
		switch {
		case act == catalog.SetNull:
			d.set[child] = conj.Null
		case act == catalog.Cascade && parent.changed[parents[i]]:
			d.set[child] = parent.set[parents[i]]
		}
	}
	for i := range d.changed {
		d.changed[i] = d.changed[i] || changesAlong(d.table, i)
	}
}

// readOld reads and locks the child's rows that have one of some lists of
// values; false if they can't be had.
func (d *dependents) readOld(ctx context.Context, columns []int, lists [][]any) bool {
	limit := d.statement.options.MaxImages
	suffix := " LIMIT " + strconv.Itoa(limit+1)
	if d.statement.options.Dialect != conj.SQLite {
		suffix += " FOR UPDATE"
	}
	rows, err := d.reader().readBy(ctx, columns, lists, suffix)
	if err != nil {
		d.statement.session.Failed(ctx, "rows that foreign keys lead to could not be read", d.table.ID, err)
		return false
	}
	d.old, d.keys, d.rows = rows.images, rows.keys, rows.lead
	return len(d.old) <= limit
}

// leaveOut leaves out rows that were met before by the same key, and deleted
// ones that were by any, so that a circle ends.
func (d *dependents) leaveOut(seen map[string]bool, key string) {
	if len(d.table.PrimaryKey) == 0 {
		return
	}
	if d.deleted {
		key = ""
	}
	kept := 0
	for i, row := range d.keys {
		name := listName(append([]any{d.table.ID, d.deleted, key, fmt.Sprint(d.changed)}, row...))
		if seen[name] {
			continue
		}
		seen[name] = true
		d.old[kept], d.keys[kept], d.rows[kept] = d.old[i], d.keys[i], d.rows[i]
		kept++
	}
	d.old, d.keys, d.rows = d.old[:kept], d.keys[:kept], d.rows[:kept]
}

// addNew notes the changes, with the new images of updated rows. Those with values
// that only the database knows are read after the statement, if the rows can be
// found again.
func (d *dependents) addNew(need []bool, children []int) {
	if d.deleted {
		d.changes = deleted(d.old)
		return
	}
	unknown := false
	for i, needed := range need {
		unknown = unknown || needed && d.changed[i] && d.set[i] == ""
	}
	keyChanges := slices.ContainsFunc(children, func(i int) bool { return inKey(d.table, i) })
	if unknown && len(d.table.PrimaryKey) > 0 && !keyChanges {
		d.changes, d.reread = conj.Separate(d.old...), true
		return
	}
	for _, old := range d.old {
		d.changes = append(d.changes, d.statement.updated(d.table, old, overlay(old, d.set, d.changed), d.changed))
	}
}

// complete reads the new images that were not known before the statement.
func (d *dependents) complete(ctx context.Context) {
	if !d.reread || len(d.keys) == 0 {
		return
	}
	images, err := d.reader().readBack(ctx, d.keys)
	if err != nil {
		d.statement.session.Failed(ctx, "new rows could not be read", d.table.ID, err)
		d.widen("new rows could not be read")
		return
	}
	d.changes = d.statement.paired(d.table, d.old, images, d.changed)
}

// note passes on what changes.
func (d *dependents) note(sink Sink) {
	switch {
	case d.wide():
		sink.Table(d.table.Table, d.reason)
	case len(d.changes) > 0:
		sink.Rows(d.table.Table, d.changes...)
	}
}

// values are the lists of values that the rows have in some of the lead
// columns, without those that hold NULL: nothing references them.
func (s *step) values(d conj.Dialect, columns []int) [][]any {
	var lists [][]any
	seen := map[string]bool{}
	for _, row := range s.rows {
		values := make([]any, len(columns))
		null := false
		for n, column := range columns {
			v := row[slices.Index(s.lead, column)]
			if b, ok := v.([]byte); ok && d == conj.MySQL && s.table.Columns()[column].Kind != conj.Bytes {
				v = string(b) // as bytes it would be compared without its collation
			}
			values[n], null = v, null || v == nil
		}
		name := listName(values)
		if null || seen[name] {
			continue
		}
		seen[name] = true
		lists = append(lists, values)
	}
	return lists
}

// listName distinguishes a list of values from every other.
func listName(values []any) string {
	var b strings.Builder
	for _, v := range values {
		text := fmt.Sprintf("%T %v", v, v)
		b.WriteString(strconv.Itoa(len(text)) + ":" + text)
	}
	return b.String()
}
