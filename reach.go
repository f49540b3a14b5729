package cacheplugin

import (
	"strings"

	"github.com/cacheplugin/cacheplugin/conj"
)

// reach notes the other tables that a write of this one changes: what views
// stand on, what triggers write, where foreign keys cascade to.
func (t *target) reach() {
	e, w := t.c.engine, t.write
	if w.Statement == conj.DDL {
		return
	}
	if !t.table.Base {
		t.everything = t.table.Name + " " + t.table.Uncacheable
		return
	}
	switch w.Statement {
	case conj.Delete, conj.Replace, conj.Truncate, conj.Merge:
		t.touched = append(t.touched, t.table.DeleteTouches...)
		t.touched = append(t.touched, t.table.UpdateTouches...)
	case conj.Update:
		if t.setsReferenced() {
			t.touched = append(t.touched, t.table.UpdateTouches...)
		}
	case conj.Insert:
		// An upsert updates.
		if w.Wide != "" || w.Upsert && t.setsReferenced() {
			t.touched = append(t.touched, t.table.UpdateTouches...)
		}
	}
	if !t.table.Triggers {
		return
	}
	t.widen("triggers")
	profile := e.profile(t.table.Name, modelType(t.c.db.Statement)).profile
	if profile == nil || profile.Touches == nil {
		t.everything = "triggers"
		message := "cacheplugin: the table has triggers, whose writes can't be seen: everything cached is dropped by each write to it; list the tables that they write in its profile's Touches"
		if t.table.TriggersHidden {
			message = "cacheplugin: MySQL hides the table's triggers from this user, so that it may have some: everything cached is dropped by each write to it; grant the user TRIGGER, or set its profile's Touches"
		}
		if e.limiter.allow("triggers " + t.table.ID) {
			e.config.Logger.WarnContext(t.c.ctx, message, "table", t.table.ID)
		}
		return
	}
	for _, name := range profile.Touches {
		schema, rest, qualified := strings.Cut(name, ".")
		n := conj.TableName{Schema: schema, Name: rest}
		if !qualified {
			n = conj.TableName{Name: name}
		}
		touched, err := t.c.base.catalog.Table(t.c.ctx, t.c.pool, n, keep(t.c.tx))
		if err != nil || touched == nil {
			t.everything = "a table in Touches is unknown: " + name
			return
		}
		t.touched = append(t.touched, touched.ID)
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
