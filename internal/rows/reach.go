package rows

import (
	"context"
	"slices"

	"github.com/cacheplugin/cacheplugin/conj"
	"github.com/cacheplugin/cacheplugin/internal/catalog"
	"github.com/cacheplugin/cacheplugin/internal/change"
	"github.com/cacheplugin/cacheplugin/internal/dialect"
)

// reach is the other tables that a write of one table changes: what views stand
// on, what triggers write, where foreign keys lead.
type reach struct {
	statement *Statement
	write     *conj.Write
	own       *catalog.Table // the table that is written
	scope     *scope         // of its change

	touched []touched
	// closure are the tables that foreign keys lead to from the own one, if
	// their rows may be found out one by one.
	closure []*catalog.Table
}

// contact is how a write comes to change another table than its own.
type contact uint8

const (
	ledTo     contact = iota // by foreign keys, which have been followed to the end
	writtenTo                // by a trigger or through a view: what follows is to be found out
)

// touched is a table that a write changes besides its own.
type touched struct {
	table *catalog.Table
	how   contact
}

// find finds out what the write reaches.
func (r *reach) find(ctx context.Context) {
	w := r.write
	sqlite := r.statement.options.Dialect == conj.SQLite
	switch {
	case w.Statement == conj.DDL:
		// SQLite deletes a table's rows before it drops it, and foreign keys act.
		if sqlite {
			r.follow(ctx, r.own.DeleteTouches)
		}
	case r.own.View != nil:
		r.scope.widen(change.Table, "is a view")
		r.below(ctx, r.own)
	case r.own.Temporary && r.statement.options.InTransaction:
		// Of the one connection that there is, and nothing of it is cached.
		r.scope.widen(change.Table, "is temporary")
	case !r.own.Base:
		r.scope.widen(change.Everything, r.own.Name+" "+r.own.Uncacheable)
	case w.Statement == conj.Truncate && w.Cascade:
		r.follow(ctx, r.own.Referencing)
	case w.Statement == conj.Update && w.Wide == "":
		if r.setsReferenced() {
			r.followClosely(ctx, r.own.UpdateTouches)
		}
	case w.Statement == conj.Delete && w.Wide == "":
		r.followClosely(ctx, r.own.DeleteTouches)
	case w.Statement == conj.Insert && w.Wide == "":
		if w.Upsert && r.setsReferenced() {
			r.follow(ctx, r.own.UpdateTouches)
		}
	case sqlite && w.Wide != "":
		// OR REPLACE deletes what is in the way, whatever the statement is.
		r.follow(ctx, r.own.DeleteTouches, r.own.UpdateTouches)
	case w.Statement == conj.Insert, w.Statement == conj.Update: // an upsert updates
		r.follow(ctx, r.own.UpdateTouches)
	default:
		r.follow(ctx, r.own.DeleteTouches, r.own.UpdateTouches)
	}
	if fires(r.own) && w.Statement != conj.DDL {
		r.scope.widen(change.Table, "triggers")
		r.fire(ctx, r.own)
	}
}

// setsReferenced reports whether an update may change a column that the foreign
// keys of UpdateTouches refer to.
func (r *reach) setsReferenced() bool {
	if r.write.Wide != "" {
		return true
	}
	for i := range r.own.Columns() {
		if r.own.Referenced(i) && changesAlong(r.own, i) {
			return true
		}
	}
	return slices.ContainsFunc(r.write.Set, func(a conj.Assignment) bool { return r.own.Referenced(a.Column) })
}

// fires reports whether a write of a table fires triggers, or may.
func fires(table *catalog.Table) bool { return table.Triggers != "" || table.TriggersHidden }

// firesBelow reports whether what foreign keys do to a table fires triggers.
// MySQL's cascades fire none.
func (r *reach) firesBelow(table *catalog.Table) bool {
	return fires(table) && r.statement.options.Dialect != conj.MySQL
}

// below notes what a write through a view changes: all of every table that the
// view reads, for one of them is written, or what its triggers write.
func (r *reach) below(ctx context.Context, view *catalog.Table) {
	name := dialect.QuoteTable(r.statement.options.Dialect, conj.TableName{Schema: view.Schema, Name: view.Name})
	plan, err := r.statement.session.ViewPlan(ctx, "SELECT * FROM "+name)
	if err != nil || plan.Skip != "" || slices.ContainsFunc(plan.Hidden, func(h conj.Hidden) bool { return h.Kind == conj.HiddenTable }) {
		r.scope.widen(change.Everything, view.Name+" is a view whose tables can't be told")
		return
	}
	for _, table := range plan.Tables {
		if table.ID != view.ID {
			r.touch(ctx, conj.TableName{Schema: table.Schema, Name: table.Name}, writtenTo)
		}
	}
}

// follow notes the tables that foreign keys lead to from a table.
func (r *reach) follow(ctx context.Context, lists ...[]catalog.Ref) {
	for _, list := range lists {
		for _, ref := range list {
			r.touch(ctx, ref.Name, ledTo)
		}
	}
}

// followClosely notes the tables that foreign keys lead to from the own one.
// Unless the cascade finds their rows, each is dropped whole.
func (r *reach) followClosely(ctx context.Context, list []catalog.Ref) {
	for _, ref := range list {
		table, err := r.statement.session.Table(ctx, ref.Name)
		if err != nil || table == nil {
			r.scope.widen(change.Everything, "a table that foreign keys of "+r.own.Name+" lead to is unknown: "+ref.ID)
			return
		}
		if slices.ContainsFunc(r.closure, func(have *catalog.Table) bool { return have.ID == table.ID }) {
			continue
		}
		r.closure = append(r.closure, table)
		if r.firesBelow(table) {
			r.fire(ctx, table)
		}
	}
}

// touch notes that the write changes another table, and what else comes of that.
func (r *reach) touch(ctx context.Context, name conj.TableName, how contact) {
	if r.scope.extent == change.Everything {
		return
	}
	table, err := r.statement.session.Table(ctx, name)
	if err != nil || table == nil {
		r.scope.widen(change.Everything, "a table that a write of "+r.own.Name+" reaches is unknown: "+name.String())
		return
	}
	for _, seen := range r.touched {
		if seen.table.ID == table.ID && seen.how >= how {
			return
		}
	}
	r.touched = append(r.touched, touched{table, how})
	if how == ledTo {
		if r.firesBelow(table) {
			r.fire(ctx, table)
		}
		return
	}
	if fires(table) {
		r.fire(ctx, table)
	}
	if table.View != nil {
		r.below(ctx, table)
	}
	r.follow(ctx, table.DeleteTouches, table.UpdateTouches)
}

// fire notes what a table's triggers write, as its profile says.
func (r *reach) fire(ctx context.Context, table *catalog.Table) {
	tables, said := r.statement.session.Touches(table, table == r.own)
	if !said {
		r.scope.widen(change.Everything, "triggers of "+table.Name)
		r.warnTriggers(ctx, table)
		return
	}
	if r.statement.options.Dialect == conj.SQLite { // ON CONFLICT REPLACE deletes rows in any write
		r.follow(ctx, table.DeleteTouches, table.UpdateTouches)
	}
	for _, name := range tables {
		r.touch(ctx, dialect.SplitName(name), writtenTo)
	}
}

func (r *reach) warnTriggers(ctx context.Context, table *catalog.Table) {
	message := "the table has triggers or rules, whose writes can't be seen: everything cached is dropped by each write to it; list the tables that they write in its profile's Touches"
	if table.Triggers == "" {
		message = "MySQL hides the table's triggers from this user, so that it may have some: everything cached is dropped by each write to it; grant the user TRIGGER, or set its profile's Touches"
	}
	r.statement.session.WarnOnce(ctx, "triggers "+table.ID, message, "table", table.ID, "triggers", table.Triggers)
}

// note passes on the tables that were touched.
func (r *reach) note(sink Sink) {
	for _, other := range r.touched {
		if !r.statement.session.Forbids(other.table.Table) {
			sink.Table(other.table.Table, "touched by "+r.own.Name)
		}
	}
}
