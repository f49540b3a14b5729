package rowset

import (
	"database/sql/driver"
	"io"
	"reflect"
)

// Full are rows with all of the optional interfaces of database/sql/driver. It answers for rows that lack one as
// database/sql does.
type Full struct{ driver.Rows }

// HasNextResultSet implements driver.RowsNextResultSet.
func (f Full) HasNextResultSet() bool {
	r, ok := f.Rows.(driver.RowsNextResultSet)
	return ok && r.HasNextResultSet()
}

// NextResultSet implements driver.RowsNextResultSet.
func (f Full) NextResultSet() error {
	if r, ok := f.Rows.(driver.RowsNextResultSet); ok {
		return r.NextResultSet()
	}
	return io.EOF
}

// ColumnTypeDatabaseTypeName implements driver.RowsColumnTypeDatabaseTypeName.
func (f Full) ColumnTypeDatabaseTypeName(i int) string {
	if r, ok := f.Rows.(driver.RowsColumnTypeDatabaseTypeName); ok {
		return r.ColumnTypeDatabaseTypeName(i)
	}
	return ""
}

// ColumnTypeScanType implements driver.RowsColumnTypeScanType.
func (f Full) ColumnTypeScanType(i int) reflect.Type {
	if r, ok := f.Rows.(driver.RowsColumnTypeScanType); ok {
		return r.ColumnTypeScanType(i)
	}
	return reflect.TypeFor[any]()
}

// ColumnTypeNullable implements driver.RowsColumnTypeNullable.
func (f Full) ColumnTypeNullable(i int) (nullable, ok bool) {
	if r, ok := f.Rows.(driver.RowsColumnTypeNullable); ok {
		return r.ColumnTypeNullable(i)
	}
	return false, false
}

// ColumnTypeLength implements driver.RowsColumnTypeLength.
func (f Full) ColumnTypeLength(i int) (length int64, ok bool) {
	if r, ok := f.Rows.(driver.RowsColumnTypeLength); ok {
		return r.ColumnTypeLength(i)
	}
	return 0, false
}

// ColumnTypePrecisionScale implements driver.RowsColumnTypePrecisionScale.
func (f Full) ColumnTypePrecisionScale(i int) (precision, scale int64, ok bool) {
	if r, ok := f.Rows.(driver.RowsColumnTypePrecisionScale); ok {
		return r.ColumnTypePrecisionScale(i)
	}
	return 0, 0, false
}

// columnTypes are the optional interfaces by which a driver tells of its columns.
type columnTypes interface {
	driver.RowsColumnTypeDatabaseTypeName
	driver.RowsColumnTypeLength
	driver.RowsColumnTypeNullable
	driver.RowsColumnTypePrecisionScale
	driver.RowsColumnTypeScanType
}

var _ interface {
	columnTypes
	driver.RowsNextResultSet
} = Full{}
