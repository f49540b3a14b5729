package catalog

import (
	"slices"
	"strings"

	"github.com/cacheplugin/cacheplugin/conj"
)

// Action is what a foreign key does to the rows that reference a row which is
// deleted or whose key is updated.
type Action uint8

// The actions.
const (
	Refuse     Action = iota // NO ACTION, RESTRICT: other rows stay as they are
	Cascade                  // the rows are deleted, or get the new key
	SetNull                  // their columns become NULL
	SetDefault               // some or all of their columns get a value that only the database knows
)

// Ref names a table.
type Ref struct {
	ID   string // as in conj.Table
	Name conj.TableName
}

// ForeignKey is a foreign key from a child to the table that it is read of,
// its parent.
type ForeignKey struct {
	Child Ref
	// Columns are the parent's, in the order of ChildColumns. An empty name
	// stands for the column of the parent's primary key in the same place.
	Columns, ChildColumns []string
	OnDelete, OnUpdate    Action
	// Readable is set if this user may read and lock the child's rows. Where
	// the others refuse that it is a statement's error, and PostgreSQL's
	// transactions end with it.
	Readable bool
}

// Acts reports whether the key changes rows of the child when rows of the parent
// are deleted, or updated.
func (k *ForeignKey) Acts(deleted bool) bool {
	if deleted {
		return k.OnDelete != Refuse
	}
	return k.OnUpdate != Refuse
}

// refersTo reports whether the key is to a column of the parent.
func (k *ForeignKey) refersTo(column string) bool {
	return slices.ContainsFunc(k.Columns, func(c string) bool { return c == "" || strings.EqualFold(c, column) })
}

// foreignKeys is the graph of a database's foreign keys, by the parent's ID.
type foreignKeys struct {
	byParent map[string][]*ForeignKey
}

// reach returns the tables whose rows change when rows of a table are deleted
// or updated, transitively and sorted. Which columns an UPDATE names is not
// looked at: every one may be referenced.
func (k *foreignKeys) reach(id string, deleted bool) []Ref {
	type event struct {
		table   string
		deleted bool
	}
	found := make(map[string]Ref)
	seen := map[event]bool{}
	queue := []event{{id, deleted}}
	for len(queue) > 0 {
		e := queue[0]
		queue = queue[1:]
		if seen[e] {
			continue
		}
		seen[e] = true
		for _, key := range k.byParent[e.table] {
			if !key.Acts(e.deleted) {
				continue
			}
			found[key.Child.ID] = key.Child
			queue = append(queue, event{key.Child.ID, e.deleted && key.OnDelete == Cascade})
		}
	}
	return sortedRefs(found)
}

// referencing returns the tables that reference a table, whatever their keys
// do, transitively and sorted.
func (k *foreignKeys) referencing(id string) []Ref {
	found := make(map[string]Ref)
	queue := []string{id}
	for len(queue) > 0 {
		table := queue[0]
		queue = queue[1:]
		for _, key := range k.byParent[table] {
			if _, seen := found[key.Child.ID]; !seen {
				found[key.Child.ID] = key.Child
				queue = append(queue, key.Child.ID)
			}
		}
	}
	return sortedRefs(found)
}

func sortedRefs(found map[string]Ref) []Ref {
	refs := make([]Ref, 0, len(found))
	for _, r := range found {
		refs = append(refs, r)
	}
	slices.SortFunc(refs, func(a, b Ref) int { return strings.Compare(a.ID, b.ID) })
	return refs
}

// acting returns the keys to a table that act.
func (k *foreignKeys) acting(id string) []*ForeignKey {
	var keys []*ForeignKey
	for _, key := range k.byParent[id] {
		if key.Acts(true) || key.Acts(false) {
			keys = append(keys, key)
		}
	}
	return keys
}

// keyColumn is one column of a foreign key as a database tells it.
type keyColumn struct {
	constraint         string // one for all columns of a key
	parent             string // its ID
	child              Ref
	column             string // of the parent; empty if not told
	childColumn        string
	onDelete, onUpdate Action
	readable           bool
}

// newForeignKeys makes the graph of columns that are in the order of their
// keys.
func newForeignKeys(columns []keyColumn) *foreignKeys {
	k := &foreignKeys{byParent: make(map[string][]*ForeignKey)}
	byName := make(map[string]*ForeignKey)
	for _, c := range columns {
		key := byName[c.constraint]
		if key == nil {
			key = &ForeignKey{Child: c.child, OnDelete: c.onDelete, OnUpdate: c.onUpdate, Readable: c.readable}
			byName[c.constraint] = key
			k.byParent[c.parent] = append(k.byParent[c.parent], key)
		}
		key.Columns = append(key.Columns, c.column)
		key.ChildColumns = append(key.ChildColumns, c.childColumn)
	}
	return k
}

// refersTo reports whether an update of a table's column makes a foreign key act.
func (k *foreignKeys) refersTo(id, column string) bool {
	return slices.ContainsFunc(k.byParent[id], func(key *ForeignKey) bool {
		return key.OnUpdate != Refuse && key.refersTo(column)
	})
}

// ruleAction reads an action as the SQL standard spells it. One that is not
// known is taken for the widest.
func ruleAction(rule string) Action {
	switch strings.ToUpper(rule) {
	case "NO ACTION", "RESTRICT", "NONE":
		return Refuse
	case "SET NULL":
		return SetNull
	case "SET DEFAULT":
		return SetDefault
	}
	return Cascade
}
