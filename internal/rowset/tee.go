package rowset

import (
	"database/sql"
	"database/sql/driver"
	"fmt"
	"io"
	"math"
	"reflect"
	"slices"
)

// Limits of what a [Tee] keeps. A result beyond them is passed on to its reader but not kept.
type Limits struct {
	// Rows is the largest number of rows kept. Defaults to 10,000.
	Rows int
	// Bytes is the largest size of a payload, in bytes. Defaults to 4 MiB.
	Bytes int
}

const (
	defaultRows  = 10_000
	defaultBytes = 4 << 20
)

// TeeOptions are the options of [Tee]; the zero value is usable, if of no use without Done.
type TeeOptions struct {
	Limits Limits

	// Drain has Close read on to the end (or up to the limits), to complete the copy where the reader stops early: one
	// that fills a single struct closes after the first row, without having seen whether there is another. An error
	// met there is Close's error, as it is with drivers that themselves read to the end on Close (pgx, MySQL's).
	Drain bool

	// Peek has the second row asked for when the first is read, so that the copy is complete where there is none and
	// the reader stops after the first. Where there is one nothing more is read. An error met there is Close's error,
	// unless the reader comes to it.
	Peek bool

	// Stops is set if the driver's Close doesn't read on, as SQLite's: an error that Peek has met and the reader hasn't
	// is nobody's then.
	Stops bool

	// Row is called with each row that goes into the copy, in order. It must not keep or change the slice.
	Row func([]any)

	// Done is called once, when the reader has closed the rows, with what has been kept. By then the live rows are
	// closed and their connection is free. A reader reaches the end, and so closes, within its last call of Next.
	Done func(Recording)
}

// Recording is the copy of a result that a [Tee] has kept.
type Recording struct {
	Payload  []byte // for Decode; nil if not complete. It is the receiver's.
	Rows     int    // number of rows in Payload
	Complete bool   // the whole result was read, without an error, and is in Payload
	Reason   string // why it is not complete: one of the constants Reason..., or "unknown type T" and the like
}

// Why a [Recording] is not complete.
const (
	ReasonTooManyRows       = "too many rows"
	ReasonTooLarge          = "too large"
	ReasonClosedEarly       = "closed early"
	ReasonError             = "error"
	ReasonSeveralResultSets = "several result sets"
)

// Tee returns rows that read from live and keep a copy of what is read. What the reader sees are live's columns,
// column types, values and errors as they are. The rows own live and close it; if Tee itself fails, which it does only
// where live fails (a cancelled context), it has closed live, and Done is never called.
//
// A result of several sets, as a stored procedure's, is passed on in full but not kept.
func Tee(live *sql.Rows, o TeeOptions) (driver.Rows, error) {
	if o.Limits.Rows <= 0 {
		o.Limits.Rows = defaultRows
	}
	if o.Limits.Bytes <= 0 {
		o.Limits.Bytes = defaultBytes
	}
	o.Limits.Bytes = min(o.Limits.Bytes, math.MaxUint32)
	t := &tee{live: live, o: o}
	if err := t.begin(); err != nil {
		_ = live.Close() // the error that counts is the one that stopped us
		return nil, err
	}
	t.record()
	return t, nil
}

type tee struct {
	live  *sql.Rows
	o     TeeOptions
	names []string
	types []*sql.ColumnType

	values []any // the current row
	dest   []any // pointers to values

	copy   *encoder // nil once the copy is given up
	reason string   // why it was
	ended  bool     // the end of the first result set was seen
	closed bool

	peeked bool // live was moved on already, for the next row
	more   bool // to which, if it was
}

// begin reads the columns of the current result set.
func (t *tee) begin() error {
	types, err := t.live.ColumnTypes()
	if err != nil {
		return err
	}
	t.types = types
	t.names = make([]string, len(types))
	t.values = make([]any, len(types))
	t.dest = make([]any, len(types))
	for i, ct := range types {
		t.names[i] = ct.Name()
		t.dest[i] = &t.values[i]
	}
	return nil
}

// record begins the copy.
func (t *tee) record() {
	columns := make([]column, len(t.types))
	for i, ct := range t.types {
		var known bool
		if columns[i], known = describe(ct); !known {
			t.giveUp(fmt.Sprintf("unknown scan type %v", ct.ScanType()))
			return
		}
	}
	t.copy = newEncoder(columns)
}

func (t *tee) giveUp(reason string) {
	if t.reason == "" {
		t.reason = reason
	}
	t.copy = nil
}

// Columns returns a copy, as callers (gorm.Scan is one) write into it.
func (t *tee) Columns() []string { return slices.Clone(t.names) }

// Next hands on the next live row.
func (t *tee) Next(dest []driver.Value) error {
	if err := t.read(); err != nil {
		return err
	}
	for i, v := range t.values {
		dest[i] = v
	}
	return nil
}

// read reads a live row into t.values and adds it to the copy.
func (t *tee) read() error {
	if !t.advance() {
		if err := t.live.Err(); err != nil {
			t.giveUp(ReasonError)
			return err
		}
		t.ended = true
		if t.HasNextResultSet() {
			t.giveUp(ReasonSeveralResultSets)
		}
		return io.EOF
	}
	// Scanning into *any clones what the driver may overwrite and converts nothing. It fails only where the rows have
	// been closed under us, by their context or by the end of their transaction.
	if err := t.live.Scan(t.dest...); err != nil {
		t.giveUp(ReasonError)
		if cause := t.live.Err(); cause != nil {
			return cause
		}
		return err
	}
	t.keep()
	if t.o.Peek && t.copy != nil && t.copy.rows == 1 {
		t.peeked, t.more = true, t.live.Next()
	}
	return nil
}

// advance moves live on to the next row.
func (t *tee) advance() bool {
	if t.peeked {
		t.peeked = false
		return t.more
	}
	return t.live.Next()
}

func (t *tee) keep() {
	if t.copy == nil {
		return
	}
	if int(t.copy.rows) == t.o.Limits.Rows {
		t.giveUp(ReasonTooManyRows)
		return
	}
	if err := t.copy.add(t.values); err != nil {
		t.giveUp(err.Error())
		return
	}
	if t.copy.size() > t.o.Limits.Bytes {
		t.giveUp(ReasonTooLarge)
		return
	}
	if t.o.Row != nil {
		t.o.Row(t.values)
	}
}

// Close closes the live rows and then reports the copy.
func (t *tee) Close() error {
	if t.closed {
		return nil
	}
	t.closed = true
	var err error
	switch {
	case t.o.Drain:
		err = t.drain()
	case t.peeked && !t.more:
		if err = t.read(); err == io.EOF || t.o.Stops {
			err = nil
		}
	}
	if closeErr := t.live.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		t.giveUp(ReasonError)
	}
	if t.o.Done != nil {
		t.o.Done(t.recording())
	}
	return err
}

// drain reads on while there is a copy to complete.
func (t *tee) drain() error {
	for t.copy != nil && !t.ended {
		if err := t.read(); err != nil && err != io.EOF {
			return err
		}
	}
	return nil
}

func (t *tee) recording() Recording {
	if t.copy == nil {
		return Recording{Reason: t.reason}
	}
	if !t.ended {
		return Recording{Reason: ReasonClosedEarly}
	}
	payload := t.copy.finish()
	if len(payload) > t.o.Limits.Bytes { // the zone table may have been too much
		return Recording{Reason: ReasonTooLarge}
	}
	return Recording{Payload: payload, Rows: int(t.copy.rows), Complete: true}
}

// HasNextResultSet implements driver.RowsNextResultSet. database/sql asks at the end of a result set, where live has
// closed itself unless another set follows.
func (t *tee) HasNextResultSet() bool {
	_, err := t.live.Columns()
	return err == nil
}

// NextResultSet implements driver.RowsNextResultSet.
func (t *tee) NextResultSet() error {
	if t.live.NextResultSet() {
		t.giveUp(ReasonSeveralResultSets)
		return t.begin()
	}
	if err := t.live.Err(); err != nil {
		t.giveUp(ReasonError)
		return err
	}
	return io.EOF
}

// ColumnTypeDatabaseTypeName implements driver.RowsColumnTypeDatabaseTypeName.
func (t *tee) ColumnTypeDatabaseTypeName(i int) string { return t.types[i].DatabaseTypeName() }

// ColumnTypeScanType implements driver.RowsColumnTypeScanType.
func (t *tee) ColumnTypeScanType(i int) reflect.Type { return t.types[i].ScanType() }

// ColumnTypeNullable implements driver.RowsColumnTypeNullable.
func (t *tee) ColumnTypeNullable(i int) (nullable, ok bool) { return t.types[i].Nullable() }

// ColumnTypeLength implements driver.RowsColumnTypeLength.
func (t *tee) ColumnTypeLength(i int) (length int64, ok bool) { return t.types[i].Length() }

// ColumnTypePrecisionScale implements driver.RowsColumnTypePrecisionScale.
func (t *tee) ColumnTypePrecisionScale(i int) (precision, scale int64, ok bool) {
	return t.types[i].DecimalSize()
}

var _ interface {
	columnTypes
	driver.RowsNextResultSet
} = (*tee)(nil)
