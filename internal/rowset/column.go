package rowset

import (
	"database/sql"
	"reflect"
	"time"
)

// column is what database/sql tells of a column. Its zero value is what a driver tells that implements none of the
// optional interfaces.
type column struct {
	name         string
	databaseType string
	length       int64
	precision    int64
	scale        int64
	scan         uint8 // index into scanTypes
	flags        uint8
}

// scanTypes are the scan types that the drivers of PostgreSQL (pgx), MySQL and SQLite report, and their close
// relatives. The index is the code in the payload: append only.
var scanTypes = [...]reflect.Type{
	reflect.TypeFor[any](), // what database/sql reports where a driver reports nothing
	nil,                    // a driver that reports nil
	reflect.TypeFor[*any](),
	reflect.TypeFor[bool](),
	reflect.TypeFor[int](),
	reflect.TypeFor[int8](),
	reflect.TypeFor[int16](),
	reflect.TypeFor[int32](),
	reflect.TypeFor[int64](),
	reflect.TypeFor[uint](),
	reflect.TypeFor[uint8](),
	reflect.TypeFor[uint16](),
	reflect.TypeFor[uint32](),
	reflect.TypeFor[uint64](),
	reflect.TypeFor[float32](),
	reflect.TypeFor[float64](),
	reflect.TypeFor[string](),
	reflect.TypeFor[[]byte](),
	reflect.TypeFor[time.Time](),
	reflect.TypeFor[sql.RawBytes](),
	reflect.TypeFor[sql.NullBool](),
	reflect.TypeFor[sql.NullByte](),
	reflect.TypeFor[sql.NullInt16](),
	reflect.TypeFor[sql.NullInt32](),
	reflect.TypeFor[sql.NullInt64](),
	reflect.TypeFor[sql.NullFloat64](),
	reflect.TypeFor[sql.NullString](),
	reflect.TypeFor[sql.NullTime](),
}

func scanTypeCode(t reflect.Type) (code uint8, known bool) {
	for i, s := range scanTypes {
		if s == t {
			return uint8(i), true
		}
	}
	return 0, false
}

// describe reads a live column's type; known is false for a scan type that the format does not know.
func describe(t *sql.ColumnType) (c column, known bool) {
	c = column{name: t.Name(), databaseType: t.DatabaseTypeName()}
	if nullable, ok := t.Nullable(); ok {
		c.flags |= hasNullable
		if nullable {
			c.flags |= isNullable
		}
	}
	if length, ok := t.Length(); ok {
		c.flags |= hasLength
		c.length = length
	}
	if precision, scale, ok := t.DecimalSize(); ok {
		c.flags |= hasPrecision
		c.precision, c.scale = precision, scale
	}
	c.scan, known = scanTypeCode(t.ScanType())
	return c, known
}

func (c *column) scanType() reflect.Type { return scanTypes[c.scan] }

func (c *column) nullableOK() (nullable, ok bool) {
	return c.flags&isNullable != 0, c.flags&hasNullable != 0
}

func (c *column) lengthOK() (length int64, ok bool) { return c.length, c.flags&hasLength != 0 }

func (c *column) precisionScale() (precision, scale int64, ok bool) {
	return c.precision, c.scale, c.flags&hasPrecision != 0
}
