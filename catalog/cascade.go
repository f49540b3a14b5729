package catalog

import (
	"maps"
	"slices"
	"strings"
)

// action is what a foreign key does to the rows that reference a row which is
// deleted or whose key is updated.
type action uint8

const (
	refuse action = iota // NO ACTION, RESTRICT: other rows stay as they are
	remove               // ON DELETE CASCADE
	change               // ON UPDATE CASCADE, SET NULL, SET DEFAULT
)

// foreignKey is one column of a foreign key from child to parent, both table
// IDs.
type foreignKey struct {
	parent, child      string
	column             string // of the parent; empty if not told
	onDelete, onUpdate action
	childTriggers      bool // what it does to the child fires triggers
}

// foreignKeys is the graph of the foreign keys that act, by parent.
type foreignKeys struct {
	byParent map[string][]foreignKey
}

func newForeignKeys(list []foreignKey) *foreignKeys {
	k := &foreignKeys{byParent: make(map[string][]foreignKey)}
	for _, key := range list {
		if key.onDelete != refuse || key.onUpdate != refuse {
			k.byParent[key.parent] = append(k.byParent[key.parent], key)
		}
	}
	return k
}

// reach returns the tables whose rows change when rows of a table are deleted
// or updated, and whether that may fire triggers. Which columns an UPDATE
// names is not looked at: every one may be referenced.
func (k *foreignKeys) reach(id string, deleted bool) (touched []string, triggers bool) {
	type event struct {
		table   string
		deleted bool
	}
	found := make(map[string]bool)
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
			act := key.onUpdate
			if e.deleted {
				act = key.onDelete
			}
			if act == refuse {
				continue
			}
			found[key.child] = true
			triggers = triggers || key.childTriggers
			queue = append(queue, event{key.child, act == remove})
		}
	}
	return slices.Sorted(maps.Keys(found)), triggers
}

// refersTo tells whether an update of a table's column makes a foreign key act.
func (k *foreignKeys) refersTo(id, column string) bool {
	for _, key := range k.byParent[id] {
		if key.onUpdate != refuse && (key.column == "" || strings.EqualFold(key.column, column)) {
			return true
		}
	}
	return false
}
