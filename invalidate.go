package cacheplugin

import (
	"context"
	"errors"
	"fmt"
	"path"
	"reflect"

	"gorm.io/gorm"

	"github.com/cacheplugin/cacheplugin/conj"
	"github.com/cacheplugin/cacheplugin/internal/catalog"
	"github.com/cacheplugin/cacheplugin/internal/commit"
	"github.com/cacheplugin/cacheplugin/internal/lookup"
	"github.com/cacheplugin/cacheplugin/internal/namespace"
	"github.com/cacheplugin/cacheplugin/txn"
)

// InvalidateObj drops the results that a change of the given objects could
// touch, as a save of each of them would: those whose conditions its values
// satisfy. Objects are structs of models, pointers to them, or slices of
// either; their values are taken as they are, so call it with the old and the
// new state where both matter. A field that the struct lacks counts as any
// value.
//
// In a transaction the invalidation waits for the commit. The error wraps
// ErrCommittedNotInvalidated when Redis could not be told; the invalidation
// stays queued.
func InvalidateObj(db *gorm.DB, objs ...any) error {
	return invalidate(db, func(i *byHand) error {
		if len(objs) == 0 {
			i.nothing("InvalidateObj without objects")
		}
		for _, obj := range objs {
			if err := i.object(reflect.ValueOf(obj)); err != nil {
				return err
			}
		}
		return nil
	})
}

// InvalidateModel drops every result that reads the tables of the given
// models. A model is a struct, a pointer to one, or a table's name.
//
// In a transaction the invalidation waits for the commit; see InvalidateObj
// for the errors.
func InvalidateModel(db *gorm.DB, models ...any) error {
	return invalidate(db, func(i *byHand) error {
		if len(models) == 0 {
			i.nothing("InvalidateModel without models")
		}
		for _, model := range models {
			table, err := i.modelTable(model)
			if err != nil {
				return err
			}
			if err := i.whole(table); err != nil {
				return err
			}
		}
		return nil
	})
}

// InvalidateAll drops every result of the plugin's namespace, and nothing else
// that is in the same Redis. It takes one round trip, however much is cached.
//
// In a transaction the invalidation waits for the commit; see InvalidateObj
// for the errors.
func InvalidateAll(db *gorm.DB) error {
	return invalidate(db, func(i *byHand) error {
		i.journal.AddEverything(i.plugin.namespaces.Reached(i.ctx(), i.databases.Of(i.pool()), i.pool())...)
		return nil
	})
}

// InvalidateValues drops the results that rows with the given column values
// could touch. The model is a struct, a pointer to one, or a table's name;
// columns that are not named count as any value. See InvalidateObj for
// transactions and errors.
func InvalidateValues(db *gorm.DB, model any, values map[string]any) error {
	return invalidate(db, func(i *byHand) error {
		table, err := i.modelTable(model)
		if err != nil {
			return err
		}
		if table.View != nil {
			return i.whole(table)
		}
		img := make(conj.Image, len(table.Columns()))
		for name, value := range values {
			n := table.Index(i.dialect, name)
			if n < 0 {
				return fmt.Errorf("cacheplugin: invalidate values: %s has no column %q", table.ID, name)
			}
			if img[n], err = i.canonical(table.Columns()[n], value); err != nil {
				return fmt.Errorf("cacheplugin: invalidate values: column %q: %w", name, err)
			}
		}
		return i.row(table, img)
	})
}

// InvalidatePattern drops every result that reads a table whose name matches a
// pattern, as in Profiles. See InvalidateObj for transactions and errors.
func InvalidatePattern(db *gorm.DB, pattern string) error {
	if _, err := path.Match(pattern, "x"); err != nil {
		return fmt.Errorf("cacheplugin: invalidate pattern %q: %w", pattern, err)
	}
	return invalidate(db, func(i *byHand) error {
		names, err := i.tx.Migrator().GetTables()
		if err != nil {
			return fmt.Errorf("cacheplugin: invalidate pattern %q: list the tables: %w", pattern, err)
		}
		matched := false
		for _, name := range names {
			if ok, _ := path.Match(pattern, name); !ok {
				continue
			}
			matched = true
			table, err := i.table(name)
			if errors.Is(err, ErrUnknownTable) {
				continue // dropped meanwhile, or in a schema that is not searched
			}
			if err != nil {
				return err
			}
			if err := i.whole(table); err != nil {
				return err
			}
		}
		if !matched {
			i.nothing("InvalidatePattern with a pattern that matches no table: " + pattern)
		}
		return nil
	})
}

// Postpone runs a function whose writes are invalidated together when it ends,
// whatever it returns, instead of one by one: for imports and other work of many
// transactions. What they have committed may be served in its old state until
// then, by this process to others than the function and by other processes: the
// plugin's promise begins with Postpone's return. (Under Strict it holds all the
// same: each commit is announced as ever.) The function's handle, and those
// derived from it or from its context, read the database from the first write
// on.
//
// The error joins the function's and, under OnInvalidateError: Return, one that
// wraps ErrCommittedNotInvalidated if the invalidation did not get through.
func Postpone(db *gorm.DB, fn func(tx *gorm.DB) error) (err error) {
	h, err := handleOf(db)
	if err != nil {
		return err
	}
	ctx := db.Statement.Context
	if h == nil || commit.Postponed(ctx) != nil {
		return fn(db) // the outermost one flushes
	}
	j := h.plugin.commit.NewJournal(h.dialect)
	defer func() {
		if j.Empty() {
			h.plugin.report.Warn(ctx, "Postpone", "Postpone of a function that has written nothing through the handle that it was given: nothing is dropped at its end")
			return
		}
		after, cancel := context.WithTimeout(context.WithoutCancel(ctx), h.plugin.config.flushTimeout())
		defer cancel()
		if flushErr := j.Flush(after); flushErr != nil {
			err = errors.Join(err, flushErr)
		}
	}()
	return fn(db.WithContext(commit.WithPostponed(ctx, j)))
}

// invalidate collects what note says, and flushes it or leaves it to the
// transaction's commit.
func invalidate(db *gorm.DB, note func(*byHand) error) error {
	h, err := handleOf(db)
	if err != nil || h == nil {
		return err
	}
	ctx := db.Statement.Context
	i := &byHand{
		handle: h, tx: db.Session(&gorm.Session{NewDB: true, Context: ctx}),
		journal: h.plugin.commit.NewJournal(h.dialect),
	}
	if err := note(i); err != nil {
		return err
	}
	place := i.handle.databases.Beneath(db.Statement.ConnPool)
	if place.Where == txn.InTx {
		return place.Tx.Record(ctx, func(into txn.Journal) { into.(*commit.Journal).Merge(i.journal) }) //nolint:forcetypeassert // all journals are the plugin's
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), h.plugin.config.flushTimeout())
	defer cancel()
	if outer := commit.Postponed(ctx); outer != nil {
		outer.Merge(i.journal)
		return nil
	}
	return h.plugin.commit.Flush(ctx, i.journal)
}

// byHand is an invalidation that a program asks for.
type byHand struct {
	*handle
	tx      *gorm.DB
	journal *commit.Journal
}

// nothing says that a call drops nothing, which is hardly meant.
func (i *byHand) nothing(call string) {
	i.plugin.report.Warn(i.ctx(), call, call+": nothing is dropped")
}

func (i *byHand) ctx() context.Context { return i.tx.Statement.Context }

func (i *byHand) pool() gorm.ConnPool { return i.tx.Statement.ConnPool }

// table finds a table by the name that GORM knows it by.
func (i *byHand) table(name string) (*catalog.Table, error) {
	return i.databases.Of(i.pool()).Table(i.ctx(), i.pool(), name)
}

// modelTable finds the table of a model, or of a name.
func (i *byHand) modelTable(model any) (*catalog.Table, error) {
	name, ok := model.(string)
	if !ok {
		stmt := &gorm.Statement{DB: i.tx}
		if err := stmt.Parse(model); err != nil {
			return nil, fmt.Errorf("cacheplugin: the table of %T: %w", model, err)
		}
		name = stmt.Table
	}
	return i.table(name)
}

// space is the namespace of a table's results.
func (i *byHand) space(table *catalog.Table) (*namespace.Namespace, error) {
	n, _, err := i.plugin.namespaces.Of(i.ctx(), i.databases.Of(i.pool()), i.pool(), table.Name)
	if err != nil {
		return nil, fmt.Errorf("cacheplugin: invalidate %s: %w", table.ID, err)
	}
	return n, nil
}

// whole notes that any row of a table may have changed.
func (i *byHand) whole(table *catalog.Table) error {
	n, err := i.space(table)
	if err != nil {
		return err
	}
	i.journal.AddTable(n, table.ID)
	return nil
}

// row notes that a row has changed.
func (i *byHand) row(table *catalog.Table, image conj.Image) error {
	n, err := i.space(table)
	if err != nil {
		return err
	}
	i.journal.AddRows(n, table.Table, conj.Change{New: image})
	return nil
}

// object notes an object's image, or those of a slice's elements.
func (i *byHand) object(v reflect.Value) error {
	for v.Kind() == reflect.Pointer || v.Kind() == reflect.Interface {
		if v.IsNil() {
			return fmt.Errorf("cacheplugin: invalidate object: it is nil: %w", lookup.ErrNotModel)
		}
		v = v.Elem()
	}
	switch v.Kind() {
	case reflect.Slice, reflect.Array:
		for n := range v.Len() {
			if err := i.object(v.Index(n)); err != nil {
				return err
			}
		}
		return nil
	case reflect.Struct:
	default:
		return fmt.Errorf("cacheplugin: invalidate object of kind %s: %w", v.Kind(), lookup.ErrNotModel)
	}
	// GORM's fields need an addressable struct.
	p := reflect.New(v.Type())
	p.Elem().Set(v)
	stmt := &gorm.Statement{DB: i.tx}
	if err := stmt.Parse(p.Interface()); err != nil {
		return fmt.Errorf("cacheplugin: invalidate object %s: %w", v.Type(), err)
	}
	table, err := i.table(stmt.Table)
	if err != nil {
		return err
	}
	if table.View != nil {
		return i.whole(table) // no result depends on single rows of a view
	}
	img := make(conj.Image, len(table.Columns()))
	for n, column := range table.Columns() {
		field := stmt.Schema.LookUpField(column.Name)
		if field == nil || field.DBName != column.Name {
			continue
		}
		value, _ := field.ValueOf(i.ctx(), p.Elem())
		// A value that can't be told stays unknown, which drops more.
		img[n], _ = i.canonical(column, value)
	}
	return i.row(table, img)
}

// canonical is a Go value's canonical form in a column.
func (i *byHand) canonical(column conj.Column, value any) (conj.Value, error) {
	n, err := conj.NormalizeArg(value)
	switch {
	case err != nil:
		return "", err
	case n == nil:
		return conj.Null, nil
	case column.Kind == conj.Opaque:
		return conj.NotNull, nil
	}
	return column.FromParam(i.dialect, n), nil
}
