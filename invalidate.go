package cacheplugin

import (
	"context"
	"errors"
	"fmt"
	"path"
	"reflect"
	"strings"

	"gorm.io/gorm"

	"github.com/cacheplugin/cacheplugin/conj"
	"github.com/cacheplugin/cacheplugin/internal/catalog"
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
	return invalidate(db, func(e *engine, tx *gorm.DB, j *journal) error {
		for _, obj := range objs {
			if err := e.noteObject(tx, j, reflect.ValueOf(obj)); err != nil {
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
	return invalidate(db, func(e *engine, tx *gorm.DB, j *journal) error {
		for _, model := range models {
			name, err := tableName(tx, model)
			if err != nil {
				return err
			}
			table, err := e.table(tx, name)
			if err != nil {
				return err
			}
			if err := e.noteTable(tx, j, table); err != nil {
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
	return invalidate(db, func(e *engine, tx *gorm.DB, j *journal) error {
		j.all(e.everySpace(tx.Statement.Context, tx.Statement.ConnPool)...)
		return nil
	})
}

// invalidate collects what note says, and flushes it or leaves it to the
// transaction's commit.
func invalidate(db *gorm.DB, note func(*engine, *gorm.DB, *journal) error) error {
	e, err := engineOf(db)
	if err != nil || e == nil {
		return err
	}
	tx := db.Session(&gorm.Session{NewDB: true, Context: db.Statement.Context})
	j := newJournal(e.Plugin)
	if err := note(e, tx, j); err != nil {
		return err
	}
	where, open := txn.Of(db.Statement.ConnPool)
	if where == txn.InTx {
		return open.Record(db.Statement.Context, func(into txn.Journal) { into.(*journal).merge(j) })
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(db.Statement.Context), e.flushTimeout())
	defer cancel()
	if outer := postponed(ctx); outer != nil {
		outer.merge(j)
		return nil
	}
	return e.flush(ctx, j)
}

// table finds a table by the name that GORM knows it by.
func (e *engine) table(tx *gorm.DB, name string) (*catalog.Table, error) {
	pool := tx.Statement.ConnPool
	_, open := txn.Of(pool)
	n := conj.TableName{Name: name}
	if schema, rest, ok := strings.Cut(name, "."); ok {
		n = conj.TableName{Schema: schema, Name: rest}
	}
	table, err := e.database(pool).catalog.Table(tx.Statement.Context, pool, n, keep(open))
	if err != nil {
		return nil, fmt.Errorf("cacheplugin: look up table %s: %w", name, err)
	}
	if table == nil {
		return nil, fmt.Errorf("%w: %s", ErrUnknownTable, name)
	}
	return table, nil
}

// noteTable notes that any row of a table may have changed.
func (e *engine) noteTable(tx *gorm.DB, j *journal, table *catalog.Table) error {
	s, _, err := e.space(tx.Statement.Context, tx.Statement.ConnPool, table.Name)
	if err != nil {
		return fmt.Errorf("cacheplugin: invalidate table %s: %w", table.ID, err)
	}
	j.whole(s, table.ID)
	return nil
}

// errNotModel is for objects that no table can be told of.
var errNotModel = errors.New("pass a model's struct, a pointer to one, or a slice of them")

// noteObject notes an object's image, or those of a slice's elements.
func (e *engine) noteObject(tx *gorm.DB, j *journal, v reflect.Value) error {
	for v.Kind() == reflect.Pointer || v.Kind() == reflect.Interface {
		if v.IsNil() {
			return fmt.Errorf("cacheplugin: invalidate object: it is nil: %w", errNotModel)
		}
		v = v.Elem()
	}
	switch v.Kind() {
	case reflect.Slice, reflect.Array:
		for i := range v.Len() {
			if err := e.noteObject(tx, j, v.Index(i)); err != nil {
				return err
			}
		}
		return nil
	case reflect.Struct:
	default:
		return fmt.Errorf("cacheplugin: invalidate object of kind %s: %w", v.Kind(), errNotModel)
	}
	// GORM's fields need an addressable struct.
	p := reflect.New(v.Type())
	p.Elem().Set(v)
	stmt := &gorm.Statement{DB: tx}
	if err := stmt.Parse(p.Interface()); err != nil {
		return fmt.Errorf("cacheplugin: invalidate object %s: %w", v.Type(), err)
	}
	table, err := e.table(tx, stmt.Table)
	if err != nil {
		return err
	}
	if table.View != nil {
		return e.noteTable(tx, j, table) // no result depends on single rows of a view
	}
	img := make(conj.Image, len(table.Columns()))
	for i, column := range table.Columns() {
		field := stmt.Schema.LookUpField(column.Name)
		if field == nil || field.DBName != column.Name {
			continue
		}
		value, _ := field.ValueOf(tx.Statement.Context, p.Elem())
		// A value that can't be told stays unknown, which drops more.
		img[i], _ = e.canonical(column, value)
	}
	s, _, err := e.space(tx.Statement.Context, tx.Statement.ConnPool, table.Name)
	if err != nil {
		return fmt.Errorf("cacheplugin: invalidate object: %w", err)
	}
	j.add(s, table.Table, img)
	return nil
}

// InvalidateValues drops the results that rows with the given column values
// could touch. The model is a struct, a pointer to one, or a table's name;
// columns that are not named count as any value. See InvalidateObj for
// transactions and errors.
func InvalidateValues(db *gorm.DB, model any, values map[string]any) error {
	return invalidate(db, func(e *engine, tx *gorm.DB, j *journal) error {
		name, err := tableName(tx, model)
		if err != nil {
			return err
		}
		table, err := e.table(tx, name)
		if err != nil {
			return err
		}
		if table.View != nil {
			return e.noteTable(tx, j, table)
		}
		img := make(conj.Image, len(table.Columns()))
		for column, value := range values {
			i := table.Index(e.dialect, column)
			if i < 0 {
				return fmt.Errorf("cacheplugin: invalidate values: %s has no column %q", table.ID, column)
			}
			if img[i], err = e.canonical(table.Columns()[i], value); err != nil {
				return fmt.Errorf("cacheplugin: invalidate values: column %q: %w", column, err)
			}
		}
		s, _, err := e.space(tx.Statement.Context, tx.Statement.ConnPool, table.Name)
		if err != nil {
			return fmt.Errorf("cacheplugin: invalidate values: %w", err)
		}
		j.add(s, table.Table, img)
		return nil
	})
}

// InvalidatePattern drops every result that reads a table whose name matches a
// pattern, as in Profiles. See InvalidateObj for transactions and errors.
func InvalidatePattern(db *gorm.DB, pattern string) error {
	if _, err := path.Match(pattern, "x"); err != nil {
		return fmt.Errorf("cacheplugin: invalidate pattern %q: %w", pattern, err)
	}
	return invalidate(db, func(e *engine, tx *gorm.DB, j *journal) error {
		names, err := tx.Migrator().GetTables()
		if err != nil {
			return fmt.Errorf("cacheplugin: invalidate pattern %q: list the tables: %w", pattern, err)
		}
		for _, name := range names {
			if ok, _ := path.Match(pattern, name); !ok {
				continue
			}
			table, err := e.table(tx, name)
			if errors.Is(err, ErrUnknownTable) {
				continue // dropped meanwhile, or in a schema that is not searched
			}
			if err != nil {
				return err
			}
			if err := e.noteTable(tx, j, table); err != nil {
				return err
			}
		}
		return nil
	})
}

// tableName returns the table's name of a model, or of a name.
func tableName(tx *gorm.DB, model any) (string, error) {
	if name, ok := model.(string); ok {
		return name, nil
	}
	stmt := &gorm.Statement{DB: tx}
	if err := stmt.Parse(model); err != nil {
		return "", fmt.Errorf("cacheplugin: the table of %T: %w", model, err)
	}
	return stmt.Table, nil
}

// canonical is a Go value's canonical form in a column.
func (e *engine) canonical(column conj.Column, value any) (conj.Value, error) {
	n, err := conj.NormalizeArg(value)
	switch {
	case err != nil:
		return "", err
	case n == nil:
		return conj.Null, nil
	case column.Kind == conj.Opaque:
		return conj.NotNull, nil
	}
	return column.FromParam(e.dialect, n), nil
}
