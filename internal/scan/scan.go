// Package scan puts the rows of a hit straight into the destination of a
// statement.
//
// GORM scans rows by way of database/sql: each value becomes a driver.Value, a
// pointer to a pointer, and at last a field. For the destinations that most
// programs use, a plan is compiled once for a model and the columns of a result,
// which sets the fields from the payload's values. It does what gorm.Scan,
// database/sql and the fields' setters do together, and nothing else: a
// destination, a column or a conversion that it is not sure of, and every error,
// leaves the whole result to them.
//
// In the flow of a read it stands last, beside package rowset, whose rows it
// reads. A write has no part here.
package scan

import (
	"database/sql"
	"database/sql/driver"
	"reflect"
	"sync"
	"sync/atomic"
	"time"

	"gorm.io/gorm"
	"gorm.io/gorm/schema"

	"github.com/cacheplugin/cacheplugin/internal/rowset"
)

// maxPlans bounds what is remembered. A program has a few for each of its models.
const maxPlans = 4096

// Plans remembers what has been compiled. The zero value is ready for use, and
// safe for concurrent use.
type Plans struct {
	known sync.Map // planKey -> *plan, which is nil where there is none
	count atomic.Int64
}

// planKey is what a plan is compiled for.
type planKey struct {
	element reflect.Type
	schema  *schema.Schema // of the statement; nil for scalars
	layout  *rowset.Layout
}

// Into puts rows into the destination of a statement and counts them as gorm.Scan
// does. If it returns false the rows have still to be scanned, and the statement is
// as gorm.Scan expects it.
func (p *Plans) Into(db *gorm.DB, rows driver.Rows) bool {
	stmt := db.Statement
	if len(stmt.ColumnMapping) > 0 {
		return false
	}
	values, ok := rowset.ValuesOf(rows)
	if !ok {
		return false
	}
	db.RowsAffected = 0 // counted row by row, for a destination may panic
	if !p.into(db, values) {
		return false
	}
	if db.RowsAffected == 0 && stmt.RaiseErrorOnNotFound && db.Error == nil {
		_ = db.AddError(gorm.ErrRecordNotFound)
	}
	return true
}

func (p *Plans) into(db *gorm.DB, values *rowset.Values) bool {
	dest := db.Statement.ReflectValue
	if !dest.CanSet() {
		return false
	}
	if isScalar(db.Statement.Dest) {
		return p.intoScalar(db, dest, values)
	}
	switch dest.Kind() {
	case reflect.Slice:
		return p.intoSlice(db, dest, values)
	case reflect.Struct:
		return p.intoStruct(db, dest, values)
	}
	return false
}

// isScalar reports whether gorm.Scan scans rows into a destination itself.
func isScalar(dest any) bool {
	switch dest.(type) {
	case *int, *int8, *int16, *int32, *int64,
		*uint, *uint8, *uint16, *uint32, *uint64,
		*float32, *float64,
		*bool, *string, *time.Time,
		*sql.NullInt32, *sql.NullInt64, *sql.NullFloat64,
		*sql.NullBool, *sql.NullString, *sql.NullTime:
		return true
	}
	return false
}

// intoScalar scans all rows, of which the last one stays.
func (p *Plans) intoScalar(db *gorm.DB, dest reflect.Value, values *rowset.Values) bool {
	stmt := db.Statement
	plan := p.plan(planKey{element: dest.Type(), layout: values.Layout()}, stmt)
	if plan == nil {
		return false
	}
	for range values.Rows() {
		db.RowsAffected++
		if !plan.scan(stmt.Context, dest, values) {
			return false
		}
	}
	return values.Done()
}

// intoStruct scans the first row, if there is one.
func (p *Plans) intoStruct(db *gorm.DB, dest reflect.Value, values *rowset.Values) bool {
	stmt := db.Statement
	plan := p.plan(planKey{dest.Type(), stmt.Schema, values.Layout()}, stmt)
	if plan == nil {
		return false
	}
	if values.Rows() == 0 {
		return values.Done()
	}
	db.RowsAffected++
	return plan.scan(stmt.Context, dest, values)
}

// intoSlice scans all rows. The destination is empty until they are there, and
// what it had room for is used again.
func (p *Plans) intoSlice(db *gorm.DB, dest reflect.Value, values *rowset.Values) bool {
	stmt := db.Statement
	element := dest.Type().Elem()
	pointers := element.Kind() == reflect.Pointer
	if pointers {
		element = element.Elem()
	}
	plan := p.plan(planKey{element, stmt.Schema, values.Layout()}, stmt)
	if plan == nil {
		return false
	}
	rows := values.Rows()
	if dest.Cap() == 0 {
		dest.Set(reflect.MakeSlice(dest.Type(), 0, rows))
	} else {
		dest.SetLen(0)
	}
	all := reflect.New(dest.Type()).Elem()
	all.Set(dest)
	for i := range rows {
		if i == all.Cap() {
			all.Grow(rows - i)
		}
		all.SetLen(i + 1)
		var row reflect.Value // a pointer as GORM's, which serializers see
		if pointers {
			row = reflect.New(element)
			all.Index(i).Set(row)
		} else {
			all.Index(i).SetZero()
			row = all.Index(i).Addr()
		}
		db.RowsAffected++
		if !plan.scan(stmt.Context, row, values) {
			return false
		}
	}
	if !values.Done() {
		return false
	}
	dest.Set(all)
	return true
}

// plan returns what is remembered, or compiles it; nil if there is none.
func (p *Plans) plan(key planKey, stmt *gorm.Statement) *plan {
	if known, ok := p.known.Load(key); ok {
		return known.(*plan)
	}
	if p.count.Load() >= maxPlans {
		return nil
	}
	compiled := compile(stmt, key.element, key.schema, key.layout.Names())
	if _, raced := p.known.LoadOrStore(key, compiled); !raced {
		p.count.Add(1)
	}
	return compiled
}
