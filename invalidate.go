package cacheplugin

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"strings"

	"gorm.io/gorm"

	"github.com/cacheplugin/cacheplugin/catalog"
	"github.com/cacheplugin/cacheplugin/conj"
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
			name, ok := model.(string)
			if !ok {
				stmt := &gorm.Statement{DB: tx}
				if err := stmt.Parse(model); err != nil {
					return fmt.Errorf("cacheplugin: invalidate model %T: %w", model, err)
				}
				name = stmt.Table
			}
			table, err := e.table(tx, name)
			if err != nil {
				return err
			}
			j.whole(table.ID)
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
	return invalidate(db, func(_ *engine, _ *gorm.DB, j *journal) error {
		j.all()
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
	return e.flush(ctx, j)
}

// merge adds what another journal has collected.
func (j *journal) merge(other *journal) {
	if other.everything {
		j.all()
	}
	for id, c := range other.tables {
		if c.whole {
			j.whole(id)
		} else {
			j.add(c.table, c.images...)
		}
	}
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
	img := make(conj.Image, len(table.Columns()))
	for i, column := range table.Columns() {
		field := stmt.Schema.LookUpField(column.Name)
		if field == nil || field.DBName != column.Name {
			continue
		}
		value, _ := field.ValueOf(tx.Statement.Context, p.Elem())
		n, err := conj.NormalizeArg(value)
		switch {
		case err != nil:
		case n == nil:
			img[i] = conj.Null
		case column.Kind == conj.Opaque:
			img[i] = conj.NotNull
		default:
			img[i] = column.FromParam(e.dialect, n)
		}
	}
	j.add(table.Table, img)
	return nil
}
