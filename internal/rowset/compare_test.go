package rowset

import (
	"bytes"
	"database/sql/driver"
	"errors"
	"io"
	"math"
	"reflect"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// same reports whether two values are of one type and can't be told apart: floats by their bits, nil from empty bytes,
// times with their location.
func same(a, b any) bool {
	if reflect.TypeOf(a) != reflect.TypeOf(b) {
		return false
	}
	switch a := a.(type) {
	case float64:
		return math.Float64bits(a) == math.Float64bits(b.(float64))
	case float32:
		return math.Float32bits(a) == math.Float32bits(b.(float32))
	case []byte:
		b := b.([]byte)
		return (a == nil) == (b == nil) && bytes.Equal(a, b)
	case time.Time:
		return sameTime(a, b.(time.Time))
	default:
		return reflect.DeepEqual(a, b)
	}
}

func sameTime(a, b time.Time) bool {
	if a.Unix() != b.Unix() || a.Nanosecond() != b.Nanosecond() {
		return false
	}
	for _, singular := range []*time.Location{time.UTC, time.Local} {
		if (a.Location() == singular) != (b.Location() == singular) {
			return false
		}
	}
	nameA, offsetA := a.Zone()
	nameB, offsetB := b.Zone()
	if nameA != nameB || offsetA != offsetB || a.Location().String() != b.Location().String() {
		return false
	}
	startA, endA := a.ZoneBounds()
	startB, endB := b.ZoneBounds()
	return startA.Equal(startB) && endA.Equal(endB)
}

func sameRows(a, b [][]driver.Value) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if len(a[i]) != len(b[i]) {
			return false
		}
		for j := range a[i] {
			if !same(a[i][j], b[i][j]) {
				return false
			}
		}
	}
	return true
}

// readAll reads rows as database/sql would, to the end.
func readAll(rows driver.Rows) ([][]driver.Value, error) {
	var all [][]driver.Value
	width := len(rows.Columns())
	for {
		row := make([]driver.Value, width)
		if err := rows.Next(row); errors.Is(err, io.EOF) {
			return all, nil
		} else if err != nil {
			return all, err
		}
		all = append(all, row)
	}
}

// encode makes a payload of rows.
func encode(columns []column, rows [][]driver.Value) ([]byte, error) {
	e := newEncoder(columns)
	values := make([]any, len(columns))
	for _, row := range rows {
		for i, v := range row {
			values[i] = v
		}
		if err := e.add(values); err != nil {
			return nil, err
		}
	}
	return e.finish(), nil
}

// requireIdentical fails unless got is the very error want, not one that wraps it.
func requireIdentical(t testing.TB, want, got error) {
	t.Helper()
	require.True(t, want == got, "want %#v, got %#v", want, got)
}
