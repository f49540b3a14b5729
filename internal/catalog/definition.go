package catalog

import (
	"context"
	"database/sql"
	"errors"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/cacheplugin/cacheplugin/conj"
)

// definition is what a dialect's reader has found out about a table.
type definition struct {
	id          string // its family's, if it has one
	name        conj.TableName
	own         conj.TableName // its own name, whatever its family's
	members     []string       // the names of all tables of its family
	uncacheable string
	base        bool
	view        *conj.View
	temporary   bool
	triggers    string // names
	hidden      bool   // triggers can't be seen
	foldedIndex bool
	unique      []UniqueIndex
	columns     []columnDefinition
}

// columnDefinition is a column of a definition.
type columnDefinition struct {
	name          string
	kind          conj.Kind
	key           int // 1-based position in the primary key, 0 if none
	autoIncrement bool
	deflt         ColumnDefault
	onUpdate      bool
}

func (d *definition) table(keys *foreignKeys) *Table {
	columns := make([]conj.Column, len(d.columns))
	t := &Table{
		AutoIncrement: -1, Base: d.base, Temporary: d.temporary,
		Triggers: d.triggers, TriggersHidden: d.hidden && d.triggers == "",
		FoldedIndex: d.foldedIndex, UniqueIndexes: d.unique, Defaults: make([]ColumnDefault, len(d.columns)),
		onUpdate: make([]bool, len(d.columns)), referenced: make([]bool, len(d.columns)),
	}
	for i, c := range d.columns {
		columns[i] = conj.Column{Name: c.name, Kind: c.kind}
		t.Defaults[i] = c.deflt
		t.onUpdate[i] = c.onUpdate
		t.referenced[i] = keys.refersTo(d.id, c.name)
		if c.autoIncrement && t.AutoIncrement < 0 {
			t.AutoIncrement = i
		}
		if c.key > 0 {
			t.PrimaryKey = append(t.PrimaryKey, i)
		}
	}
	slices.SortFunc(t.PrimaryKey, func(a, b int) int { return d.columns[a].key - d.columns[b].key })
	t.Table = conj.NewTable(d.id, d.name.Name, columns)
	if len(t.PrimaryKey) > 0 {
		t.Unique = [][]int{t.PrimaryKey}
	}
	t.Table.Schema, t.Table.Members = d.name.Schema, d.members
	t.Table.Uncacheable, t.Table.View = d.uncacheable, d.view
	t.Table.Declarable = declarable[d.uncacheable]

	t.ForeignKeys = keys.acting(d.id)
	t.DeleteTouches, t.UpdateTouches = keys.reach(d.id, true), keys.reach(d.id, false)
	t.Referencing = keys.referencing(d.id)
	return t
}

// declarable are the reasons not to cache that end where the tables behind are
// named.
var declarable = map[string]bool{
	unreadableView: true, backslashedView: true, strangeView: true, "is a foreign table": true, "is a virtual table": true,
}

// Why a view's tables are not known.
const (
	unreadableView  = "is a view whose definition this user may not read (grant SHOW VIEW)"
	backslashedView = "is a view with a backslash in its definition" // its meaning depends on the sql_mode of its making
	strangeView     = "is a view whose definition is not understood"
)

// TableID returns the ID of a table that is by itself, and not one of a family.
func TableID(name conj.TableName) string { return tableID(name.Schema, name.Name) }

// tableID makes an ID of a schema and a name, such that no two tables share one.
func tableID(schema, name string) string {
	return idPart(schema) + "." + idPart(name)
}

func idPart(name string) string {
	if !strings.ContainsAny(name, `."`) {
		return name
	}
	return `"` + strings.ReplaceAll(name, `"`, `""`) + `"`
}

// queryable keeps names from the database that none can have and that would
// make a query fail.
func queryable(name string) bool {
	return name != "" && utf8.ValidString(name) && !strings.ContainsRune(name, 0)
}

// each runs a query and calls scan for every row. The rows are closed when it
// returns.
func each(ctx context.Context, q Querier, scan func(*sql.Rows) error, query string, args ...any) (err error) {
	rows, err := q.QueryContext(ctx, query, args...)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		if err := scan(rows); err != nil {
			return err
		}
	}
	return rows.Err()
}
