package rowset

import (
	"database/sql/driver"
	"encoding/binary"
	"io"
	"reflect"
	"time"
)

// Decode returns the rows of a payload, to be wrapped by [Rows] or [Row]. Rows are decoded as they are read, and each
// value is made anew: nothing that a reader does to its values is seen by another reader of the same payload. The
// payload must not be changed until the rows are closed.
//
// The error is [ErrCorrupt], wrapped, for anything but a payload of this version of the format, and for one
// with time zones that this machine does not know.
func Decode(payload []byte) (driver.Rows, error) { return decode(payload, decodeLayout) }

func decode(payload []byte, layout func([]byte) (*Layout, error)) (driver.Rows, error) {
	count, err := verify(payload)
	if err != nil {
		return nil, err
	}
	first, end := binary.LittleEndian.Uint32(payload[rowsAt:]), binary.LittleEndian.Uint32(payload[zonesAt:])
	if first < columnsAt || end < first || uint64(end) > uint64(len(payload)) {
		return nil, corrupt("sections out of bounds")
	}
	r := &replay{rest: payload[first:end], left: count}
	if uint64(count) > uint64(len(r.rest)) { // each row takes a byte at least
		return nil, corrupt("more rows than bytes")
	}
	if r.layout, err = layout(payload[columnsAt:first]); err != nil {
		return nil, err
	}
	if r.zones, err = decodeZones(payload[end:]); err != nil {
		return nil, err
	}
	return r, nil
}

// Count returns the number of rows in a payload that [Decode] takes. Of other bytes it is any number.
func Count(payload []byte) int {
	if len(payload) <= columnsAt {
		return 0
	}
	return int(binary.LittleEndian.Uint32(payload[countAt:]))
}

func verify(payload []byte) (count uint32, err error) {
	switch {
	case len(payload) <= columnsAt:
		return 0, corrupt("truncated")
	case string(payload[:len(magic)]) != magic:
		return 0, corrupt("foreign bytes")
	case payload[len(magic)] != version:
		return 0, corrupt("other version")
	}
	return binary.LittleEndian.Uint32(payload[countAt:]), nil
}

// reader takes fields off the front of bytes. After a field that isn't there bad is set, and what comes is zero.
type reader struct {
	rest []byte
	bad  bool
}

func (r *reader) uvarint() uint64 {
	v, n := binary.Uvarint(r.rest)
	if n <= 0 {
		r.fail()
		return 0
	}
	r.rest = r.rest[n:]
	return v
}

func (r *reader) varint() int64 {
	v, n := binary.Varint(r.rest)
	if n <= 0 {
		r.fail()
		return 0
	}
	r.rest = r.rest[n:]
	return v
}

func (r *reader) byte() byte {
	if len(r.rest) == 0 {
		r.fail()
		return 0
	}
	b := r.rest[0]
	r.rest = r.rest[1:]
	return b
}

// bytes returns the next n bytes, which stay part of the payload.
func (r *reader) bytes(n uint64) []byte {
	if n > uint64(len(r.rest)) {
		r.fail()
		return nil
	}
	b := r.rest[:n]
	r.rest = r.rest[n:]
	return b
}

// part returns the next string as a part of text, which is what r read from the start.
func (r *reader) part(text string) string {
	n := uint64(len(r.bytes(r.uvarint())))
	end := uint64(len(text) - len(r.rest))
	if r.bad {
		return ""
	}
	return text[end-n : end]
}

func (r *reader) fail() {
	r.rest = nil
	r.bad = true
}

func decodeZones(b []byte) ([]*time.Location, error) {
	r := reader{rest: b}
	n := r.uvarint()
	if n > uint64(len(r.rest)) {
		return nil, corrupt("zone table")
	}
	var locations []*time.Location
	if n > 0 {
		locations = make([]*time.Location, n)
	}
	for i := range locations {
		z := zone{kind: r.byte()}
		z.name = string(r.bytes(r.uvarint()))
		if z.kind == zoneFixed {
			z.offset = int(r.varint())
		}
		if r.bad || z.kind > zoneNamed {
			return nil, corrupt("zone table")
		}
		var ok bool
		if locations[i], ok = z.location(); !ok {
			return nil, corrupt("time zone " + z.name + " is not known here")
		}
	}
	if r.bad || len(r.rest) > 0 {
		return nil, corrupt("zone table")
	}
	return locations, nil
}

func decodeLayout(b []byte) (*Layout, error) {
	columns, err := decodeColumns(b)
	if err != nil {
		return nil, err
	}
	return &Layout{columns: columns}, nil
}

func decodeColumns(b []byte) ([]column, error) {
	const shortest = 4 // two empty strings, scan type, flags
	r := reader{rest: b}
	n := r.uvarint()
	if n > uint64(len(r.rest)/shortest) {
		return nil, corrupt("columns")
	}
	text := string(b) // one copy, of which all names are parts
	columns := make([]column, n)
	for i := range columns {
		c := &columns[i]
		c.name = r.part(text)
		c.databaseType = r.part(text)
		c.scan = r.byte()
		c.flags = r.byte()
		if c.flags&hasLength != 0 {
			c.length = r.varint()
		}
		if c.flags&hasPrecision != 0 {
			c.precision = r.varint()
			c.scale = r.varint()
		}
		if r.bad || int(c.scan) >= len(scanTypes) {
			return nil, corrupt("columns")
		}
	}
	if r.bad || len(r.rest) > 0 {
		return nil, corrupt("columns")
	}
	return columns, nil
}

// replay is the rows of a payload.
type replay struct {
	layout *Layout // not to be changed: others may have it, too
	zones  []*time.Location
	rest   []byte // rows not yet read
	left   uint32 // their number
}

// Columns returns a copy, as callers (gorm.Scan is one) write into it.
func (r *replay) Columns() []string { return r.layout.Names() }

func (r *replay) Close() error {
	r.rest, r.left = nil, 0
	return nil
}

// Next decodes a row into dest.
func (r *replay) Next(dest []driver.Value) error {
	if r.left == 0 {
		if len(r.rest) > 0 {
			return corrupt("bytes after the last row")
		}
		return io.EOF
	}
	in := reader{rest: r.rest}
	var v Value
	for i := range dest {
		if problem := in.value(&v, r.zones); problem != "" {
			return corrupt(problem)
		}
		dest[i] = v.Any()
	}
	if len(r.layout.columns) == 0 {
		in.byte()
	}
	if in.bad {
		return corrupt("row")
	}
	r.rest = in.rest
	r.left--
	return nil
}

// ColumnTypeDatabaseTypeName implements driver.RowsColumnTypeDatabaseTypeName.
func (r *replay) ColumnTypeDatabaseTypeName(i int) string { return r.layout.columns[i].databaseType }

// ColumnTypeScanType implements driver.RowsColumnTypeScanType.
func (r *replay) ColumnTypeScanType(i int) reflect.Type { return r.layout.columns[i].scanType() }

// ColumnTypeNullable implements driver.RowsColumnTypeNullable.
func (r *replay) ColumnTypeNullable(i int) (nullable, ok bool) {
	return r.layout.columns[i].nullableOK()
}

// ColumnTypeLength implements driver.RowsColumnTypeLength.
func (r *replay) ColumnTypeLength(i int) (length int64, ok bool) {
	return r.layout.columns[i].lengthOK()
}

// ColumnTypePrecisionScale implements driver.RowsColumnTypePrecisionScale.
func (r *replay) ColumnTypePrecisionScale(i int) (precision, scale int64, ok bool) {
	return r.layout.columns[i].precisionScale()
}

var _ columnTypes = (*replay)(nil)
