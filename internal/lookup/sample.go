package lookup

import (
	"errors"
	"fmt"
	"reflect"
	"time"

	"gorm.io/gorm"

	"github.com/cacheplugin/cacheplugin/conj"
	"github.com/cacheplugin/cacheplugin/internal/catalog"
)

// ErrNotModel is for objects that no table can be told of.
var ErrNotModel = errors.New("pass a model's struct, a pointer to one, or a slice of them")

// sample returns what a sample stands for, and the timeout of its profile.
func (h *Handle) sample(db *gorm.DB, s any) ([]conj.Dependency, time.Duration, error) {
	tx := db.Session(&gorm.Session{NewDB: true, Context: db.Statement.Context})
	switch s := s.(type) {
	case *gorm.DB:
		return h.sampleQuery(db, s)
	case string:
		table, err := h.tableOf(tx, s)
		if err != nil {
			return nil, 0, err
		}
		return h.sampleTable(tx, table)
	}
	v := reflect.ValueOf(s)
	for v.Kind() == reflect.Pointer || v.Kind() == reflect.Interface {
		if v.IsNil() {
			return nil, 0, fmt.Errorf("a sample is nil: %w", ErrNotModel)
		}
		v = v.Elem()
	}
	switch v.Kind() {
	case reflect.Slice, reflect.Array:
		var deps []conj.Dependency
		var smallest time.Duration
		for i := range v.Len() {
			more, timeout, err := h.sample(db, v.Index(i).Interface())
			if err != nil {
				return nil, 0, err
			}
			deps, smallest = append(deps, more...), shorter(smallest, timeout)
		}
		return deps, smallest, nil
	case reflect.Struct:
		return h.sampleObject(tx, v)
	}
	return nil, 0, fmt.Errorf("a sample of kind %s: pass a model, an object, a query or a table's name", v.Kind())
}

func (h *Handle) sampleQuery(db, query *gorm.DB) ([]conj.Dependency, time.Duration, error) {
	tx := BuildQuery(query.Session(&gorm.Session{Context: db.Statement.Context}))
	if tx.Error != nil {
		return nil, 0, fmt.Errorf("build the query: %w", tx.Error)
	}
	q := NewQuery(tx, db.Statement.ConnPool, h.databases.Place(db.Statement.ConnPool), tx.Statement.SQL.String(), tx.Statement.Vars, false)
	d, reason, err := h.decide(db.Statement.Context, &q)
	if err != nil {
		return nil, 0, err
	}
	if reason != "" {
		return nil, 0, fmt.Errorf("the query %s can't be followed: %s", conj.Mask(h.dialect, q.Text), reason)
	}
	return d.deps, d.policy.Timeout, nil
}

func (h *Handle) sampleObject(tx *gorm.DB, v reflect.Value) ([]conj.Dependency, time.Duration, error) {
	p := reflect.New(v.Type())
	p.Elem().Set(v)
	stmt := &gorm.Statement{DB: tx}
	if err := stmt.Parse(p.Interface()); err != nil {
		return nil, 0, err
	}
	table, err := h.tableOf(tx, stmt.Table)
	if err != nil {
		return nil, 0, err
	}
	if table.View != nil {
		return h.sampleTable(tx, table)
	}
	var columns []int
	var values []conj.Value
	for _, i := range table.PrimaryKey {
		column := table.Columns()[i]
		field := stmt.Schema.LookUpField(column.Name)
		if field == nil {
			continue
		}
		value, zero := field.ValueOf(tx.Statement.Context, p.Elem())
		if zero {
			return h.sampleRow(table.Table, nil, nil) // a model
		}
		n, err := conj.NormalizeArg(value)
		if err != nil {
			return nil, 0, fmt.Errorf("the key of %T: %w", p.Interface(), err)
		}
		// A value without a canonical form doesn't narrow.
		if canonical := column.FromParam(h.dialect, n); canonical != "" {
			columns, values = append(columns, i), append(values, canonical)
		}
	}
	return h.sampleRow(table.Table, columns, values)
}

// sampleTable is a sample of all that a table or view gives.
func (h *Handle) sampleTable(tx *gorm.DB, table *catalog.Table) ([]conj.Dependency, time.Duration, error) {
	if table.View == nil {
		return h.sampleRow(table.Table, nil, nil)
	}
	return h.sampleQuery(tx, tx.Table(table.Schema+"."+table.Name))
}

func (h *Handle) sampleRow(table *conj.Table, columns []int, values []conj.Value) ([]conj.Dependency, time.Duration, error) {
	p := h.Policies.Of(table.Name, nil)
	switch {
	case p.Forbids:
		return nil, 0, fmt.Errorf("the profile of %s is nil: its changes are not followed", table.Name)
	case table.Uncacheable != "":
		return nil, 0, fmt.Errorf("%s %s: its changes can't be followed", table.Name, table.Uncacheable)
	}
	return []conj.Dependency{{Table: table, Conjunctions: []conj.Conjunction{table.Conjunction(columns, values)}}}, p.Timeout, nil
}

// unite merges the dependencies on the same table.
func unite(deps []conj.Dependency) []conj.Dependency {
	var out []conj.Dependency
	at := map[string]int{}
	for _, d := range deps {
		i, ok := at[d.Table.ID]
		if !ok {
			at[d.Table.ID] = len(out)
			out = append(out, conj.Dependency{Table: d.Table, Conjunctions: append([]conj.Conjunction(nil), d.Conjunctions...)})
			continue
		}
		out[i].Conjunctions = append(out[i].Conjunctions, d.Conjunctions...)
	}
	return out
}

func (h *Handle) tableOf(tx *gorm.DB, name string) (*catalog.Table, error) {
	pool := tx.Statement.ConnPool
	return h.databases.Of(pool).Table(tx.Statement.Context, pool, name)
}
