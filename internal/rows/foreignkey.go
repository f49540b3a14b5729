package rows

import (
	"slices"

	"github.com/cacheplugin/cacheplugin/conj"
	"github.com/cacheplugin/cacheplugin/internal/catalog"
)

// leadColumns are the columns of a table whose values say which rows of other
// tables foreign keys lead to, when rows are deleted or some columns updated.
func leadColumns(d conj.Dialect, table *catalog.Table, deleted bool, changed []bool) []int {
	from := &step{deleted: deleted, changed: changed}
	var columns []int
	for _, key := range table.ForeignKeys {
		parents, ok := parentColumns(d, table, key)
		if !ok || !key.Acts(deleted) || !from.changes(parents) {
			continue
		}
		for _, i := range parents {
			if !slices.Contains(columns, i) && followable(table.Columns()[i].Kind) {
				columns = append(columns, i)
			}
		}
	}
	return columns
}

// parentColumns are the parent's columns of a foreign key; false if their
// values can't be asked for.
func parentColumns(d conj.Dialect, table *catalog.Table, key *catalog.ForeignKey) ([]int, bool) {
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

// childColumns are the child's columns of a foreign key; false if values of the
// parent's columns can't be asked for in them.
func childColumns(d conj.Dialect, child *catalog.Table, key *catalog.ForeignKey, parent *catalog.Table, parents []int) ([]int, bool) {
	columns := make([]int, len(key.ChildColumns))
	for n, name := range key.ChildColumns {
		i := child.Index(d, name)
		if i < 0 || !followable(child.Columns()[i].Kind) || child.Columns()[i].Kind != parent.Columns()[parents[n]].Kind {
			return nil, false
		}
		columns[n] = i
	}
	return columns, true
}

// followable reports whether values of a kind can be read and asked for again.
func followable(k conj.Kind) bool { return k != conj.Opaque && k != conj.Unreadable }
