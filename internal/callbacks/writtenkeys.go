package callbacks

import (
	"context"
	"reflect"

	"gorm.io/gorm"
	"gorm.io/gorm/schema"

	"github.com/cacheplugin/cacheplugin/conj"
	"github.com/cacheplugin/cacheplugin/internal/catalog"
)

// writtenKeys returns the values of some columns of a table in the rows of a
// statement's model, where GORM has written what the database has filled in:
// one list for each row, nil for a row that lacks a value. It returns nil if the
// model doesn't say. See rows.Outcome.
func writtenKeys(ctx context.Context, stmt *gorm.Statement, table *catalog.Table, columns []int) [][]any {
	if stmt.Schema == nil || stmt.Schema.Table != table.Name {
		return nil
	}
	fields := make([]*schema.Field, len(columns))
	for i, column := range columns {
		fields[i] = stmt.Schema.LookUpField(table.Columns()[column].Name)
		if fields[i] == nil {
			return nil
		}
	}
	models, ok := modelRows(stmt)
	if !ok {
		return nil
	}
	lists := make([][]any, len(models))
	for i, model := range models {
		lists[i] = writtenValues(ctx, fields, model)
	}
	return lists
}

// modelRows returns the structs that a statement was built from; false if it
// was built from something else, such as a map.
func modelRows(stmt *gorm.Statement) ([]reflect.Value, bool) {
	var rows []reflect.Value
	switch v := stmt.ReflectValue; v.Kind() {
	case reflect.Slice, reflect.Array:
		for i := range v.Len() {
			rows = append(rows, reflect.Indirect(v.Index(i)))
		}
	case reflect.Struct:
		rows = append(rows, v)
	default:
		return nil, false
	}
	for _, row := range rows {
		if row.Kind() != reflect.Struct || row.Type() != stmt.Schema.ModelType {
			return nil, false
		}
	}
	return rows, true
}

// writtenValues returns the values of some fields, normalised; nil if one was
// not written.
func writtenValues(ctx context.Context, fields []*schema.Field, model reflect.Value) []any {
	values := make([]any, len(fields))
	for i, f := range fields {
		v, zero := f.ValueOf(ctx, model)
		n, err := conj.NormalizeArg(v)
		if err != nil || zero {
			return nil
		}
		values[i] = n
	}
	return values
}
