package rowset

import (
	"database/sql/driver"
	"encoding/binary"
	"errors"
	"io"
	"slices"
	"strconv"
	"time"
)

// Same reports whether two payloads hold the same columns and the same rows, in any order. Values are compared by what
// they say: times by their instants, text and bytes alike, floats by nine digits, since sums of them come out
// differently in another order. Errors are those of [Decode].
func Same(a, b []byte) (bool, error) {
	namesA, rowsA, err := spelled(a)
	if err != nil {
		return false, err
	}
	namesB, rowsB, err := spelled(b)
	if err != nil {
		return false, err
	}
	if !slices.Equal(namesA, namesB) || len(rowsA) != len(rowsB) {
		return false, nil
	}
	slices.Sort(rowsA)
	slices.Sort(rowsB)
	return slices.Equal(rowsA, rowsB), nil
}

// spelled returns the names of a payload's columns, and each row as a text that equal rows share.
func spelled(payload []byte) (names, rows []string, err error) {
	decoded, err := Decode(payload)
	if err != nil {
		return nil, nil, err
	}
	defer func() { err = errors.Join(err, decoded.Close()) }()
	names = decoded.Columns()
	values := make([]driver.Value, len(names))
	for {
		switch err := decoded.Next(values); {
		case errors.Is(err, io.EOF):
			return names, rows, nil
		case err != nil:
			return nil, nil, err
		}
		var row []byte
		for _, v := range values {
			text := spell(v)
			row = binary.AppendUvarint(row, uint64(len(text)))
			row = append(row, text...)
		}
		rows = append(rows, string(row))
	}
}

func spell(v driver.Value) string {
	switch v := v.(type) {
	case nil:
		return "n"
	case int64:
		return "i" + strconv.FormatInt(v, 10)
	case uint64:
		return "i" + strconv.FormatUint(v, 10)
	case bool:
		return "b" + strconv.FormatBool(v)
	case float64:
		return "f" + strconv.FormatFloat(v+0, 'g', 9, 64)
	case float32:
		return "f" + strconv.FormatFloat(float64(v)+0, 'g', 6, 64)
	case string:
		return "s" + v
	case []byte:
		if v == nil {
			return "n"
		}
		return "s" + string(v)
	case time.Time:
		return "t" + strconv.FormatInt(v.Unix(), 10) + "." + strconv.Itoa(v.Nanosecond())
	}
	return "?" // no other type can be encoded
}
