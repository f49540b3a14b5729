package commit

import (
	"github.com/cacheplugin/cacheplugin/conj"
	"github.com/cacheplugin/cacheplugin/internal/change"
	"github.com/cacheplugin/cacheplugin/internal/namespace"
	"github.com/cacheplugin/cacheplugin/internal/shapes"
	"github.com/cacheplugin/cacheplugin/internal/store"
)

// changeKey is a table in a namespace. An empty table stands for all of them.
type changeKey struct {
	namespace *namespace.Namespace
	table     string // its ID
}

// changes are the changes of one table, or of extent Everything those of all
// tables of a namespace.
type changes struct {
	table  string // its ID
	extent change.Extent

	layout *conj.Table // of the rows
	rows   []conj.Change
	images int // in rows

	droppedBefore int // by the fence

	writer string // the shape of the first statement; empty if it is none
	reason string // why the rows are not known
}

// cause says what has dropped results of the table, if it was dropped whole or not.
func (c *changes) cause(whole bool) shapes.Cause {
	cause := shapes.Cause{Table: c.table, Writer: c.writer, Whole: whole, Why: c.reason}
	switch {
	case !whole:
		cause.Why = ""
	case c.reason == "" && c.writer != "":
		cause.Why = "many rows"
	}
	return cause
}

// widen makes the changes reach at least as far as extent.
func (c *changes) widen(extent change.Extent) {
	c.extent = max(c.extent, extent)
	if c.extent > change.Rows {
		c.layout, c.rows, c.images = nil, nil, 0
	}
}

// addRows adds changes of rows; more than limit images count as the whole table.
func (c *changes) addRows(layout *conj.Table, rows []conj.Change, limit int) {
	if c.extent > change.Rows {
		return
	}
	// The columns may have been read anew since the first rows; those of two
	// layouts can't be told apart later.
	if c.layout != nil && c.layout != layout {
		c.widen(change.Table)
		return
	}
	c.extent, c.layout = change.Rows, layout
	c.rows = append(c.rows, rows...)
	for _, row := range rows {
		c.images += len(row.Images())
	}
	if c.images > limit {
		c.widen(change.Table)
	}
}

// keys returns the conjunctions that depend on the rows' changes.
func (c *changes) keys(schemes []conj.Scheme) ([]conj.Key, bool) {
	seen := make(map[conj.Key]struct{}, c.images*len(schemes))
	keys := make([]conj.Key, 0, c.images*len(schemes))
	for _, row := range c.rows {
		ks, ok := c.layout.Keys(row, schemes)
		if !ok {
			return nil, false
		}
		for _, k := range ks {
			if _, twice := seen[k]; !twice {
				seen[k] = struct{}{}
				keys = append(keys, k)
			}
		}
	}
	return keys, true
}

// marks returns the rows of lists that the old and the new rows are.
func (c *changes) marks(schemes []conj.Scheme) ([]store.Mark, bool) {
	marks := make([]store.Mark, 0, c.images*len(schemes))
	for _, row := range c.rows {
		for _, img := range row.Images() {
			for _, scheme := range schemes {
				list, number, ok := c.layout.ListRow(img, scheme)
				if !ok {
					return nil, false
				}
				marks = append(marks, store.Mark{List: list, Row: number})
			}
		}
	}
	return marks, true
}

// debts are the changes that something must be dropped for, by namespace. The
// changes of extent Everything stand alone.
type debts map[*namespace.Namespace][]*changes

func (d debts) add(ns *namespace.Namespace, c *changes) {
	list := d[ns]
	switch {
	case everything(list):
	case c.extent == change.Everything:
		d[ns] = []*changes{c}
	default:
		d[ns] = append(list, c)
	}
}

// everything reports whether everything in the namespace must be dropped.
func everything(list []*changes) bool {
	return len(list) == 1 && list[0].extent == change.Everything
}

// owedLocked returns what the journal owes.
func (j *Journal) owedLocked() debts {
	owed := debts{}
	for key, c := range j.changes {
		owed.add(key.namespace, c)
	}
	return owed
}

// forStore says to package store what has changed in tables.
func forStore(list []*changes) []store.Change {
	told := make([]store.Change, len(list))
	for i, c := range list {
		told[i] = store.Change{Table: c.table}
		if c.extent < change.Table {
			// As they are now: what is queued asks later, when the journal may have
			// been widened or gone on.
			now := *c
			told[i].Keys, told[i].Marks = now.keys, now.marks
		}
	}
	return told
}
