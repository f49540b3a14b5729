package scan

import (
	"context"
	"database/sql"
	"reflect"
	"sync"
	"time"

	"gorm.io/gorm"
	"gorm.io/gorm/schema"

	"github.com/cacheplugin/cacheplugin/internal/rowset"
)

// plan sets what a row goes into: a struct's fields, or one scalar.
type plan struct{ columns []column }

// column sets a value of a row, which is what GORM has of it: a pointer for an
// element of a slice. It reports whether it could.
type column func(ctx context.Context, row reflect.Value, v *rowset.Value, from *rowset.Values) bool

// scan takes the next row.
func (p *plan) scan(ctx context.Context, row reflect.Value, from *rowset.Values) bool {
	for _, set := range p.columns {
		v := from.Next()
		if v == nil || !set(ctx, row, v, from) {
			return false
		}
	}
	return true
}

var (
	scannerType = reflect.TypeFor[sql.Scanner]()
	timeType    = reflect.TypeFor[time.Time]()
)

// compile returns nil where GORM has to scan itself. sch is the statement's schema.
func compile(stmt *gorm.Statement, element reflect.Type, sch *schema.Schema, names []string) *plan {
	if sch == nil || element.Kind() != reflect.Struct || element == timeType {
		// One column that is no field: GORM scans into the element itself.
		return compileScalar(element, names)
	}
	if reflect.PointerTo(element).Implements(scannerType) || element.ConvertibleTo(timeType) {
		return nil
	}
	if element != sch.ModelType {
		own := &gorm.Statement{DB: stmt.DB}
		if err := own.Parse(stmt.Dest); err != nil || own.Schema.ModelType != element {
			return nil
		}
		sch = own.Schema
	}
	p := &plan{columns: make([]column, len(names))}
	met := make(map[string]bool, len(names))
	for i, name := range names {
		field := sch.LookUpField(name)
		if field == nil || !field.Readable || met[name] {
			return nil
		}
		met[name] = true
		if p.columns[i] = compileField(field); p.columns[i] == nil {
			return nil
		}
	}
	return p
}

func compileScalar(element reflect.Type, names []string) *plan {
	into := assigns(element)
	if len(names) != 1 || into == nil {
		return nil
	}
	// NULL is an error for most, and database/sql says so best.
	takesNull := element == bytesType || isNull(element)
	return &plan{columns: []column{func(_ context.Context, row reflect.Value, v *rowset.Value, from *rowset.Values) bool {
		row = reflect.Indirect(row)
		if v.Kind == rowset.Nil {
			row.SetZero()
			return takesNull
		}
		return into(row, v, from)
	}}}
}

// compileField returns nil for a field whose value only database/sql can make.
func compileField(field *schema.Field) column {
	if field.Serializer != nil {
		return compileOwn(field, nil)
	}
	made := field.NewValuePool.Get()
	field.NewValuePool.Put(made)
	base := field.IndirectFieldType
	if reflect.TypeOf(made) != reflect.PointerTo(reflect.PointerTo(base)) {
		return nil
	}
	if into := assigns(base); into != nil && setsAsGORM(field) {
		if field.FieldType == base {
			return compileValue(field, into)
		}
		if field.FieldType == reflect.PointerTo(base) && !isNull(base) {
			return compilePointer(field, into)
		}
	}
	if reflect.PointerTo(base).Implements(scannerType) {
		return compileOwn(field, base)
	}
	return nil
}

// compileValue sets a field that is no pointer. NULL leaves most as they were, but
// of a type that its setter does not know it makes the zero value.
func compileValue(field *schema.Field, into assign) column {
	clears := !keepsAtNull(field.FieldType)
	return func(ctx context.Context, row reflect.Value, v *rowset.Value, from *rowset.Values) bool {
		if v.Kind != rowset.Nil {
			return into(field.ReflectValueOf(ctx, row), v, from)
		}
		if clears {
			field.ReflectValueOf(ctx, row).SetZero()
		}
		return true
	}
}

// compilePointer sets a field that is a pointer, to a new value each time.
func compilePointer(field *schema.Field, into assign) column {
	base := field.IndirectFieldType
	clears := base != timeType
	return func(ctx context.Context, row reflect.Value, v *rowset.Value, from *rowset.Values) bool {
		if v.Kind == rowset.Nil {
			if clears {
				field.ReflectValueOf(ctx, row).SetZero()
			}
			return true
		}
		made := reflect.New(base)
		if !into(made.Elem(), v, from) {
			return false
		}
		field.ReflectValueOf(ctx, row).Set(made)
		return true
	}
}

// compileOwn sets a field of a serializer, or of a type that scans itself, which
// base is then.
func compileOwn(field *schema.Field, base reflect.Type) column {
	return func(ctx context.Context, row reflect.Value, v *rowset.Value, _ *rowset.Values) bool {
		value := field.NewValuePool.Get()
		defer field.NewValuePool.Put(value)
		switch {
		case base == nil:
			scanner, ok := value.(sql.Scanner)
			if !ok || scanner.Scan(v.Any()) != nil {
				return false
			}
		case v.Kind == rowset.Nil:
			reflect.ValueOf(value).Elem().SetZero()
		default:
			made := reflect.New(base)
			if made.Interface().(sql.Scanner).Scan(v.Any()) != nil {
				return false
			}
			reflect.ValueOf(value).Elem().Set(made)
		}
		return field.Set(ctx, row, value) == nil
	}
}

// keepsAtNull reports whether the setter of a type leaves its field as it was when
// the value is NULL.
func keepsAtNull(t reflect.Type) bool { return predeclared(t) || t == timeType || isNull(t) }

// setsAsGORM reports whether a field has the setter that GORM makes for its type,
// and not one that somebody has put there.
func setsAsGORM(field *schema.Field) bool {
	return reflect.ValueOf(field.Set).Pointer() == setters()[setterOf(field.FieldType)]
}

// setters are the code of the setters that GORM makes, which those of types alike
// share.
var setters = sync.OnceValue(func() (codes map[reflect.Type]uintptr) {
	type each struct {
		Bool    bool
		Int     int64
		Uint    uint64
		Float   float64
		String  string
		Time    time.Time
		Pointer *time.Time
		Null    sql.NullString
		Bytes   []byte
	}
	codes = map[reflect.Type]uintptr{}
	parsed, err := schema.Parse(&each{}, &sync.Map{}, schema.NamingStrategy{})
	if err != nil {
		return codes // so that all is scanned as ever
	}
	for _, field := range parsed.Fields {
		codes[field.FieldType] = reflect.ValueOf(field.Set).Pointer()
	}
	return codes
})

// setterOf returns the type among those of setters whose setter is made for a type
// as well.
func setterOf(t reflect.Type) reflect.Type {
	switch t.Kind() {
	case reflect.Bool:
		return reflect.TypeFor[bool]()
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		return reflect.TypeFor[int64]()
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return reflect.TypeFor[uint64]()
	case reflect.Float32, reflect.Float64:
		return reflect.TypeFor[float64]()
	case reflect.String:
		return reflect.TypeFor[string]()
	}
	switch {
	case t == timeType, t == reflect.PointerTo(timeType):
		return t
	case isNull(t):
		return reflect.TypeFor[sql.NullString]()
	}
	return bytesType // no setter of its own
}
