package cacheplugin

import (
	"slices"
	"strings"

	"github.com/cacheplugin/cacheplugin/conj"
	"github.com/cacheplugin/cacheplugin/internal/catalog"
	"github.com/cacheplugin/cacheplugin/txn"
)

// reach notes the other tables that a write of this one changes: what views
// stand on, what triggers write, where foreign keys lead.
func (t *target) reach() {
	w := t.write
	switch {
	case w.Statement == conj.DDL:
		// SQLite deletes a table's rows before it drops it, and foreign keys act.
		if t.c.engine.dialect == conj.SQLite {
			t.follow(t.table.DeleteTouches)
		}
	case t.table.View != nil:
		t.widen("is a view")
		t.reachBelow(t.table)
	case t.table.Temporary && t.c.where == txn.InTx:
		// Of the one connection that there is, and nothing of it is cached.
		t.widen("is temporary")
	case !t.table.Base:
		t.everything = t.table.Name + " " + t.table.Uncacheable
	case w.Statement == conj.Truncate && w.Cascade:
		t.follow(t.table.Referencing)
	case w.Statement == conj.Update && w.Wide == "":
		if t.setsReferenced() {
			t.cascades(t.table.UpdateTouches)
		}
	case w.Statement == conj.Delete && w.Wide == "":
		t.cascades(t.table.DeleteTouches)
	case w.Statement == conj.Insert && w.Wide == "":
		if w.Upsert && t.setsReferenced() {
			t.follow(t.table.UpdateTouches)
		}
	case t.c.engine.dialect == conj.SQLite && w.Wide != "":
		// OR REPLACE deletes what is in the way, whatever the statement is.
		t.follow(t.table.DeleteTouches, t.table.UpdateTouches)
	case w.Statement == conj.Insert, w.Statement == conj.Update: // an upsert updates
		t.follow(t.table.UpdateTouches)
	default:
		t.follow(t.table.DeleteTouches, t.table.UpdateTouches)
	}
	if fires(t.table) && w.Statement != conj.DDL {
		t.widen("triggers")
		t.fire(t.table)
	}
}

// fires tells whether a write of a table fires triggers, or may.
func fires(table *catalog.Table) bool { return table.Triggers != "" || table.TriggersHidden }

// reachBelow notes what a write through a view changes: all of every table
// that the view reads, for one of them is written, or what its triggers say.
func (t *target) reachBelow(view *catalog.Table) {
	name := t.quote(view.Schema) + "." + t.quote(view.Name)
	plan, err := t.c.base.plan(t.c.ctx, t.c.pool, "SELECT * FROM "+name, keep(t.c.tx))
	if err != nil || plan.Skip != "" || slices.ContainsFunc(plan.Hidden, func(h conj.Hidden) bool { return h.Kind == conj.HiddenTable }) {
		t.everything = view.Name + " is a view whose tables can't be told"
		return
	}
	for _, below := range plan.Tables {
		if below.ID == view.ID {
			continue
		}
		t.touch(conj.TableName{Schema: below.Schema, Name: below.Name}, writtenTo)
	}
}

// follow notes the tables that foreign keys lead to from a table.
func (t *target) follow(lists ...[]catalog.Ref) {
	for _, list := range lists {
		for _, ref := range list {
			t.touch(ref.Name, ledTo)
		}
	}
}

// contact is how a write comes to change another table than its own.
type contact uint8

const (
	ledTo     contact = iota // by foreign keys, which have been followed to the end
	writtenTo                // by a trigger or through a view: what follows is to be found out
)

// touch notes that a write changes another table, and what else comes of that.
func (t *target) touch(name conj.TableName, how contact) {
	if t.everything != "" {
		return
	}
	table, err := t.c.base.catalog.Table(t.c.ctx, t.c.pool, name, keep(t.c.tx))
	if err != nil || table == nil {
		t.everything = "a table that a write of " + t.table.Name + " reaches is unknown: " + name.String()
		return
	}
	for _, seen := range t.touched {
		if seen.table.ID == table.ID && seen.how >= how {
			return
		}
	}
	t.touched = append(t.touched, contacted{table, how})
	if fires(table) && !(how == ledTo && t.c.engine.dialect == conj.MySQL) { // where cascades fire none
		t.fire(table)
	}
	if how == ledTo {
		return
	}
	if table.View != nil {
		t.reachBelow(table)
	}
	t.follow(table.DeleteTouches, table.UpdateTouches)
}

// contacted is a table that a write changes besides its own.
type contacted struct {
	table *catalog.Table
	how   contact
}

// fire notes what a table's triggers write, as its profile says.
func (t *target) fire(table *catalog.Table) {
	e := t.c.engine
	model := modelType(t.c.db.Statement)
	if table != t.table {
		model = nil
	}
	profile := e.profile(table.Name, model).profile
	if profile == nil || profile.Touches == nil {
		t.everything = "triggers of " + table.Name
		message := "cacheplugin: the table has triggers or rules, whose writes can't be seen: everything cached is dropped by each write to it; list the tables that they write in its profile's Touches"
		if table.Triggers == "" {
			message = "cacheplugin: MySQL hides the table's triggers from this user, so that it may have some: everything cached is dropped by each write to it; grant the user TRIGGER, or set its profile's Touches"
		}
		if e.limiter.first("triggers " + table.ID) {
			e.config.Logger.WarnContext(t.c.ctx, message, "table", table.ID, "triggers", table.Triggers)
		}
		return
	}
	if e.dialect == conj.SQLite { // ON CONFLICT REPLACE deletes rows in any write
		t.follow(table.DeleteTouches, table.UpdateTouches)
	}
	for _, name := range profile.Touches {
		n := conj.TableName{Name: name}
		if schema, rest, qualified := strings.Cut(name, "."); qualified {
			n = conj.TableName{Schema: schema, Name: rest}
		}
		t.touch(n, writtenTo)
	}
}

// setsKey tells whether an update assigns a column of the primary key.
func (t *target) setsKey() bool {
	for _, a := range t.write.Set {
		if t.inKey(a.Column) {
			return true
		}
	}
	return false
}

// setsReferenced tells whether an update may change a column that the foreign
// keys of UpdateTouches refer to.
func (t *target) setsReferenced() bool {
	if t.write.Wide != "" {
		return true
	}
	for i := range t.table.Columns() {
		if t.table.Referenced(i) && t.changesAlong(i) {
			return true
		}
	}
	for _, a := range t.write.Set {
		if t.table.Referenced(a.Column) {
			return true
		}
	}
	return false
}
