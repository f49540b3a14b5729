package rows

import (
	"context"
	"slices"
	"strings"

	"github.com/cacheplugin/cacheplugin/conj"
	"github.com/cacheplugin/cacheplugin/internal/catalog"
	"github.com/cacheplugin/cacheplugin/internal/change"
)

// target is one table that a statement writes, and what is known of its rows.
type target struct {
	scope
	statement *Statement
	write     *conj.Write
	table     *catalog.Table // nil if it isn't known
	forbidden bool           // the table's profile forbids caching

	form    form // how the statement writes; nil if no images can be had
	rows    []conj.Change
	reach   *reach
	cascade *cascade
}

// form is a way to write, and how the images of its rows are found out.
type form interface {
	// begin takes what is known before the statement is sent.
	begin(ctx context.Context)
	// complete checks it against what the statement did, and adds the images
	// that were not known before. Some row was changed.
	complete(ctx context.Context, o Outcome)
}

// widen gives up the images.
func (t *target) widen(reason string) {
	t.scope.widen(change.Table, reason)
	t.rows = nil
}

// fail gives up the images because of an error.
func (t *target) fail(ctx context.Context, what string, err error) {
	t.statement.session.Failed(ctx, what, t.table.ID, err)
	t.widen(what)
}

// begin takes the old images of the table's rows, and notes what else the
// statement changes.
func (t *target) begin(ctx context.Context, table *catalog.Table, granular bool) {
	t.table = table
	t.reach = &reach{statement: t.statement, write: t.write, own: table, scope: &t.scope}
	t.cascade = &cascade{statement: t.statement, reach: t.reach}
	t.reach.find(ctx)
	t.forbidden = t.statement.session.Forbids(table.Table)
	w := t.write
	switch {
	case t.forbidden || t.extent == change.Everything:
		return
	case !granular:
		t.widen("several tables or unknown parameters")
	case w.Wide != "":
		t.widen(w.Wide)
	case t.statement.options.Dialect == conj.MySQL && (w.Upsert || w.OnConflictDoNothing && !w.Ignore):
		t.form = &duplication{insertion: insertion{target: t}}
	case w.Upsert:
		t.form = &upsertion{insertion: insertion{target: t}}
	case w.Statement == conj.Insert:
		t.form = &insertion{target: t}
	case w.Statement == conj.Update, w.Statement == conj.Delete:
		t.form = &matching{target: t, matched: -1}
	default:
		t.widen(w.Statement.String())
	}
	if t.form != nil {
		t.form.begin(ctx)
	}
}

// complete completes the images when the statement was sent.
func (t *target) complete(ctx context.Context, o Outcome) {
	if t.table == nil || t.wide() {
		return
	}
	if o.Affected == 0 {
		t.rows, t.cascade.dependents = nil, nil
		return
	}
	if t.form != nil {
		t.form.complete(ctx, o)
	}
	if !t.wide() {
		t.cascade.complete(ctx)
	}
}

// note passes on what is known to have changed.
func (t *target) note(sink Sink) {
	if t.extent == change.Everything {
		if t.table != nil || !t.statement.failed {
			sink.Everything(t.reason)
		}
		return
	}
	if t.table == nil {
		return
	}
	t.reach.note(sink)
	t.cascade.note(sink, t.wide())
	switch {
	case t.forbidden:
	case t.wide():
		sink.Table(t.table.Table, t.reason)
	case len(t.rows) > 0:
		sink.Rows(t.table.Table, t.rows...)
	}
}

// reader returns what reads images of the table's rows.
func (t *target) reader() *reader {
	return &reader{statement: t.statement, table: t.table, name: t.write.Name}
}

// setsKey reports whether an update assigns a column of the primary key.
func (t *target) setsKey() bool {
	return slices.ContainsFunc(t.write.Set, func(a conj.Assignment) bool { return inKey(t.table, a.Column) })
}

// assignedValue is the canonical form of a value that a statement stores, if
// it is sure to be what a row will hold.
func (t *target) assignedValue(ctx context.Context, column int, o conj.Operand) conj.Value {
	v, known := o.Resolve(t.statement.args.Normal)
	if !known || t.table.Generated(column) {
		return ""
	}
	if t.numbers(column, v) {
		return ""
	}
	if v == nil {
		// MySQL turns NULL into a default where its mode is not strict.
		if t.nonStrictSQLMode(ctx) {
			return ""
		}
		return conj.Null
	}
	col := t.table.Columns()[column]
	if col.Kind == conj.Opaque {
		return conj.NotNull
	}
	if !storedAsSent(col.Kind, v) || t.nonStrictSQLMode(ctx) {
		return ""
	}
	return col.FromParam(t.statement.options.Dialect, v)
}

// numbers reports whether the database may put a number of its own in the place
// of a value: in that of NULL, and MySQL in that of zero as well.
func (t *target) numbers(column int, v any) bool {
	if column != t.table.AutoIncrement {
		return false
	}
	return v == nil || t.statement.options.Dialect == conj.MySQL && (v == int64(0) || v == false)
}

// storedAsSent reports whether a strict database stores a value as it is, or
// refuses it.
func storedAsSent(kind conj.Kind, v any) bool {
	switch kind {
	case conj.Integer, conj.Boolean:
		switch v.(type) {
		case int64, bool:
			return true
		}
	case conj.PaddedText, conj.FoldedText:
		_, ok := v.(string)
		return ok
	case conj.Text:
		// Spaces at the end are cut off where the column is too short for them.
		s, ok := v.(string)
		return ok && !strings.HasSuffix(s, " ")
	}
	return false
}

// nonStrictSQLMode reports whether the server changes values that don't fit
// (numbers are clamped to the column's range, texts are cut off) instead of
// refusing them.
func (t *target) nonStrictSQLMode(ctx context.Context) bool {
	if t.statement.options.Dialect != conj.MySQL {
		return false
	}
	server, err := t.statement.session.Server(ctx)
	return err != nil || !server.Strict || t.write.Ignore
}
