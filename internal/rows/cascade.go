package cacheplugin

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/cacheplugin/cacheplugin/conj"
	"github.com/cacheplugin/cacheplugin/internal/catalog"
	"github.com/cacheplugin/cacheplugin/txn"
)

// maxCascade is how many foreign keys in a row are followed row by row.
const maxCascade = 8

// dependents are rows of one table that a foreign key of it will change when
// the rows that they reference are deleted or updated.
type dependents struct {
	*target            // of the child: its old images, and the new ones if they are known
	reread  [][]any    // primary keys of the rows whose new images are to be read
	rows    [][]any    // of the child's lead columns
	deleted bool       // else updated
	set     conj.Image // what the changed columns become, as far as is known
	changed []bool     // the columns that change, of an update
	depth   int
}

// cascades notes the tables that foreign keys lead to from a write of this one.
// Unless the rows are found out by followRows, each is dropped whole.
func (t *target) cascades(lists ...[]catalog.Ref) {
	for _, list := range lists {
		for _, ref := range list {
			table, err := t.c.base.catalog.Table(t.c.ctx, t.c.pool, ref.Name, keep(t.c.tx))
			if err != nil || table == nil {
				t.everything = "a table that foreign keys of " + t.table.Name + " lead to is unknown: " + ref.ID
				return
			}
			if slices.ContainsFunc(t.closure, func(have *catalog.Table) bool { return have.ID == table.ID }) {
				continue
			}
			t.closure = append(t.closure, table)
			if t.firesBelow(table) {
				t.fire(table)
			}
		}
	}
}

// firesBelow tells whether what foreign keys do to a table fires triggers.
func (t *target) firesBelow(table *catalog.Table) bool {
	return fires(table) && t.c.engine.dialect != conj.MySQL
}

// leads tells whether it is worth to find out which rows foreign keys lead to:
// whether some query depends on single rows of such a table, or may.
func (t *target) leads() bool {
	if t.c.where != txn.InTx || t.silent {
		return false
	}
	return slices.ContainsFunc(t.closure, func(table *catalog.Table) bool {
		if table.Uncacheable != "" || t.c.engine.forbidden(table.Table) {
			return false
		}
		need, known := t.below(table, conj.TableName{}).needed()
		return !known || slices.Contains(need, true)
	})
}

// below is a target for the rows of a child.
func (t *target) below(table *catalog.Table, name conj.TableName) *target {
	return &target{c: t.c, write: &conj.Write{Name: name, Statement: conj.Delete}, table: table, matched: -1}
}

// leadColumns are the columns whose values tell which rows of other tables
// foreign keys lead to, when rows are deleted or some columns updated.
func (t *target) leadColumns(deleted bool, changed []bool) []int {
	table := t.table
	var columns []int
	for _, key := range table.ForeignKeys {
		if parents, ok := keyColumns(t.c.engine.dialect, table, key); ok && leadsBy(key, parents, deleted, changed) {
			for _, i := range parents {
				if !slices.Contains(columns, i) && followable(table.Columns()[i].Kind) {
					columns = append(columns, i)
				}
			}
		}
	}
	return columns
}

func leadsBy(key *catalog.ForeignKey, parents []int, deleted bool, changed []bool) bool {
	return key.Acts(deleted) && (deleted || slices.ContainsFunc(parents, func(i int) bool { return changed[i] }))
}

// keyColumns are the parent's columns of a foreign key; false if their values
// can't be asked for.
func keyColumns(d conj.Dialect, table *catalog.Table, key *catalog.ForeignKey) ([]int, bool) {
	columns := make([]int, len(key.Columns))
	for n, name := range key.Columns {
		i := -1
		switch {
		case name != "":
			i = table.Index(d, name)
		case n < len(table.PrimaryKey):
			i = table.PrimaryKey[n]
		}
		if i < 0 {
			return nil, false
		}
		columns[n] = i
	}
	return columns, true
}

// followRows reads the rows that foreign keys will change along with the
// target's, which are locked: no row can come to reference them any more. They
// are read and locked one key after the other, level by level.
func (t *target) followRows() {
	if len(t.closure) == 0 || t.whole != "" || t.everything != "" || t.leadRows == nil {
		return
	}
	t.followed = true
	deleted := t.write.Statement == conj.Delete
	first := &dependents{target: t, rows: t.leadRows, deleted: deleted}
	if !deleted {
		first.set, first.changed = t.set, t.assigned
	}
	seen := map[string]bool{}
	for queue := []*dependents{first}; len(queue) > 0; queue = queue[1:] {
		d := queue[0]
		for _, key := range d.table.ForeignKeys {
			parents, ok := keyColumns(t.c.engine.dialect, d.table, key)
			if ok && !leadsBy(key, parents, d.deleted, d.changed) || !ok && !key.Acts(d.deleted) {
				continue
			}
			next, done := t.followKey(d, key, parents, seen)
			switch {
			case !done:
				t.giveUp(key, d.deleted)
			case next != nil:
				t.dependents = append(t.dependents, next)
				queue = append(queue, next)
			}
		}
	}
	t.widenShared()
}

// widenShared gives up the images of rows that are updated more than once: by
// several foreign keys, or by the statement and one of them. Each knows what
// becomes of its own columns, and none what becomes of the row.
func (t *target) widenShared() {
	by := map[string]int{}
	for i, d := range t.dependents {
		if d.deleted || len(d.rows) == 0 {
			continue
		}
		if t.write.Statement == conj.Update && d.table.ID == t.table.ID {
			t.widen("foreign keys of the table change its rows as well")
			return
		}
		for _, key := range d.locked {
			if len(d.table.Members) > 0 { // which may have keys of their own
				key = nil
			}
			name := listName(append([]any{d.table.ID}, key...))
			if first, met := by[name]; met && first != i {
				d.widen("several foreign keys change a row")
			}
			by[name] = i
		}
	}
}

// giveUp drops a child and all below it whole.
func (t *target) giveUp(key *catalog.ForeignKey, deleted bool) {
	for _, table := range t.closure {
		if table.ID != key.Child.ID {
			continue
		}
		t.touched = append(t.touched, contacted{table, ledTo})
		if deleted && key.OnDelete == catalog.Cascade {
			t.follow(table.DeleteTouches)
		} else {
			t.follow(table.UpdateTouches)
		}
	}
}

// followKey reads the rows that one foreign key leads to; done is false if they
// can't be had, and next nil if there are none.
func (t *target) followKey(d *dependents, key *catalog.ForeignKey, parents []int, seen map[string]bool) (next *dependents, done bool) {
	table, err := t.c.base.catalog.Table(t.c.ctx, t.c.pool, key.Child.Name, keep(t.c.tx))
	if err != nil || table == nil || parents == nil || !key.Readable || d.depth == maxCascade {
		return nil, false
	}
	if table.Uncacheable != "" || t.c.engine.forbidden(table.Table) || t.firesBelow(table) {
		return nil, false
	}
	children := make([]int, len(key.ChildColumns))
	for n, name := range key.ChildColumns {
		i := table.Index(t.c.engine.dialect, name)
		if i < 0 || !followable(table.Columns()[i].Kind) || table.Columns()[i].Kind != d.table.Columns()[parents[n]].Kind {
			return nil, false
		}
		children[n] = i
	}
	lists := d.values(parents)
	if len(lists) == 0 {
		return nil, true
	}
	limit := t.c.engine.config.MaxImages
	if len(lists) > limit || len(lists)*len(children) > maxParameters {
		return nil, false
	}
	next = &dependents{target: t.below(table, key.Child.Name), depth: d.depth + 1}
	next.deleted = d.deleted && key.OnDelete == catalog.Cascade
	if !next.deleted {
		next.write.Statement = conj.Update
		next.becomes(d, key, parents, children)
	}
	need, known := next.needed()
	next.lead = next.leadColumns(next.deleted, next.changed)
	if known && !slices.Contains(need, true) && len(next.lead) == 0 {
		return nil, false // nothing depends on single rows of it
	}
	if !next.readOld(children, lists, limit) {
		return nil, false
	}
	next.forget(seen, fmt.Sprint(d.table.ID, key.Columns, key.ChildColumns))
	next.complement(need, children)
	return next, true
}

// followable tells whether values of a kind can be read and asked for again.
func followable(k conj.Kind) bool { return k != conj.Opaque && k != conj.Unreadable }

// values are the lists of values that the rows have in some of the lead
// columns, without those that hold NULL: nothing references them.
func (d *dependents) values(columns []int) [][]any {
	var lists [][]any
	seen := map[string]bool{}
	for _, row := range d.rows {
		values := make([]any, len(columns))
		null := false
		for n, column := range columns {
			v := row[slices.Index(d.lead, column)]
			if b, ok := v.([]byte); ok && d.c.engine.dialect == conj.MySQL && d.table.Columns()[column].Kind != conj.Bytes {
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

// listName tells a list of values from every other.
func listName(values []any) string {
	var b strings.Builder
	for _, v := range values {
		text := fmt.Sprintf("%T %v", v, v)
		b.WriteString(strconv.Itoa(len(text)) + ":" + text)
	}
	return b.String()
}

// becomes tells what an update does to the child's columns.
func (d *dependents) becomes(parent *dependents, key *catalog.ForeignKey, parents, children []int) {
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
		d.changed[i] = d.changed[i] || d.changesAlong(i)
	}
}

// readOld reads and locks the child's rows.
func (d *dependents) readOld(columns []int, lists [][]any, limit int) bool {
	suffix := " LIMIT " + strconv.Itoa(limit+1)
	if d.c.engine.dialect != conj.SQLite {
		suffix += " FOR UPDATE"
	}
	list := d.imageColumns()
	from, args, err := d.rowsOf(columns, lists)
	if err == nil {
		d.leadRows = [][]any{}
		d.images, d.locked, err = d.read("SELECT "+d.selectList(list)+from+suffix, args, list)
	}
	if err != nil {
		d.c.engine.failed(d.c.ctx, "rows that foreign keys lead to could not be read", d.table.ID, err)
		return false
	}
	d.rows = d.leadRows
	return len(d.images) <= limit
}

// forget leaves out rows that were met before by the same key, and deleted ones
// that were by any, so that a circle ends.
func (d *dependents) forget(seen map[string]bool, key string) {
	if len(d.table.PrimaryKey) == 0 {
		return
	}
	if d.deleted {
		key = ""
	}
	kept := 0
	for i, row := range d.locked {
		name := listName(append([]any{d.table.ID, d.deleted, key, fmt.Sprint(d.changed)}, row...))
		if seen[name] {
			continue
		}
		seen[name] = true
		d.images[kept], d.locked[kept], d.rows[kept] = d.images[i], d.locked[i], d.rows[i]
		kept++
	}
	d.images, d.locked, d.rows = d.images[:kept], d.locked[:kept], d.rows[:kept]
}

// complement adds the new images of updated rows. Those with values that only
// the database knows are read after the statement, if the rows can be found
// again.
func (d *dependents) complement(need []bool, children []int) {
	if d.deleted {
		return
	}
	unknown := false
	for i := range need {
		unknown = unknown || need[i] && d.changed[i] && d.set[i] == ""
	}
	if unknown && len(d.table.PrimaryKey) > 0 && !slices.ContainsFunc(children, d.inKey) {
		d.reread = d.locked
		return
	}
	for _, old := range d.images[:len(d.images):len(d.images)] {
		d.images = append(d.images, overlay(old, d.set, d.changed))
	}
}

// complete reads the new images that were not known before the statement.
func (d *dependents) complete() {
	if len(d.reread) == 0 {
		return
	}
	images, err := d.readBack(d.reread)
	if err != nil {
		d.c.engine.failed(d.c.ctx, "new rows could not be read", d.table.ID, err)
		d.widen("new rows could not be read")
		return
	}
	d.images = append(d.images, images...)
}
