package conj

import (
	"database/sql/driver"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"reflect"
	"time"
)

// ErrArgument is wrapped by the errors of arguments that can't be normalised.
var ErrArgument = errors.New("conj: bad argument")

// maxDepth bounds pointers to pointers and Valuers that return Valuers.
const maxDepth = 16

// Stringer is a normalised argument of a named basic type that has a String
// method. pgx sends what that method returns where the column is a text, and
// the value itself elsewhere, so that both belong to the argument.
type Stringer struct {
	Value any    // int64, uint64, float64, float32, bool, string or []byte
	Text  string // what String returned
}

// sent returns what the driver sends for the argument; false if that is not
// certain. Only pgx looks at String, and only for texts.
func (s Stringer) sent(d Dialect) (any, bool) {
	if text, ok := s.Value.(string); ok && d == PostgreSQL && text != s.Text {
		return nil, false
	}
	return s.Value, true
}

// NormalizeArg brings a statement's argument to one of int64, uint64 (above
// int64 only), float64, float32, bool, []byte, string, time.Time,
// json.RawMessage, [16]byte, Stringer, a slice of such, or nil, as
// database/sql would before it calls the driver: Valuers are called, pointers
// followed, named basic types replaced. Other types are returned as they are.
// Byte slices are not copied. It fails, wrapping [ErrArgument], if a Valuer does.
func NormalizeArg(v any) (any, error) {
	return normalize(v, 0)
}

func normalize(v any, depth int) (any, error) {
	switch v := v.(type) { // the common ones without reflection
	case nil:
		return nil, nil
	case int64, string, bool, float64, float32, time.Time, [16]byte:
		return v, nil
	case []byte:
		if v == nil {
			return nil, nil // every driver sends NULL
		}
		return v, nil
	case json.RawMessage:
		return v, nil // the drivers don't send it as they send []byte
	case int:
		return int64(v), nil
	case uint:
		return unsigned(uint64(v)), nil
	}
	if depth == maxDepth {
		return nil, fmt.Errorf("%w: %T never ends", ErrArgument, v)
	}
	rv := reflect.ValueOf(v)
	if valuer, ok := v.(driver.Valuer); ok {
		return normalizeValuer(valuer, rv, depth)
	}
	switch rv.Kind() {
	case reflect.Pointer:
		if rv.IsNil() {
			return nil, nil
		}
		return normalize(rv.Elem().Interface(), depth+1)
	case reflect.Slice:
		return normalizeSlice(v, rv, depth)
	case reflect.Array:
		if rv.Type().Elem().Kind() == reflect.Uint8 && rv.Len() == 16 {
			var id [16]byte
			reflect.Copy(reflect.ValueOf(&id).Elem(), rv)
			return id, nil
		}
		return v, nil
	}
	basic, ok := basicValue(rv)
	if !ok {
		return v, nil
	}
	return withText(v, basic), nil
}

// normalizeValuer calls Value, unless on a nil pointer whose element type
// carries the method: database/sql takes that for NULL.
func normalizeValuer(valuer driver.Valuer, rv reflect.Value, depth int) (any, error) {
	if rv.Kind() == reflect.Pointer && rv.IsNil() && rv.Type().Elem().Implements(reflect.TypeFor[driver.Valuer]()) {
		return nil, nil
	}
	value, err := valuer.Value()
	if err != nil {
		return nil, fmt.Errorf("%w: Value of %T: %w", ErrArgument, valuer, err)
	}
	return normalize(value, depth+1)
}

// basicValue returns a value of a basic kind as the type that stands for it.
func basicValue(rv reflect.Value) (any, bool) {
	switch rv.Kind() {
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		return rv.Int(), true
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return unsigned(rv.Uint()), true
	case reflect.Float32:
		return float32(rv.Float()), true
	case reflect.Float64:
		return rv.Float(), true
	case reflect.Bool:
		return rv.Bool(), true
	case reflect.String:
		return rv.String(), true
	}
	return nil, false
}

func unsigned(n uint64) any {
	if n <= math.MaxInt64 {
		return int64(n)
	}
	return n
}

func withText(v, basic any) any {
	if s, ok := v.(fmt.Stringer); ok {
		return Stringer{Value: basic, Text: s.String()}
	}
	return basic
}

// normalizeSlice keeps a slice a slice. Elements that are not of a plain
// basic type are normalised one by one, into a []any.
func normalizeSlice(v any, rv reflect.Value, depth int) (any, error) {
	if rv.IsNil() {
		return nil, nil
	}
	elem := rv.Type().Elem()
	plain := !elem.Implements(reflect.TypeFor[driver.Valuer]()) && !elem.Implements(reflect.TypeFor[fmt.Stringer]())
	if plain {
		switch elem.Kind() {
		case reflect.Uint8:
			return withText(v, rv.Bytes()), nil
		case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
			return convertSlice(rv, reflect.Value.Int), nil
		case reflect.String:
			return convertSlice(rv, reflect.Value.String), nil
		case reflect.Bool:
			return convertSlice(rv, reflect.Value.Bool), nil
		case reflect.Float64:
			return convertSlice(rv, reflect.Value.Float), nil
		}
	}
	elements := make([]any, rv.Len())
	for i := range elements {
		element, err := normalize(rv.Index(i).Interface(), depth+1)
		if err != nil {
			return nil, err
		}
		elements[i] = element
	}
	return elements, nil
}

func convertSlice[T any](rv reflect.Value, get func(reflect.Value) T) []T {
	s := make([]T, rv.Len())
	for i := range s {
		s[i] = get(rv.Index(i))
	}
	return s
}

// AppendArg appends an encoding of a normalised argument that no other
// argument has, the same in every process. It is false for a type that it
// does not know, of which nothing can be cached. Times are told apart by
// instant, offset and location: drivers send one instant in several ways.
func AppendArg(dst []byte, v any) ([]byte, bool) {
	switch v := v.(type) {
	case nil:
		return append(dst, 'n'), true
	case int64:
		return binary.BigEndian.AppendUint64(append(dst, 'i'), uint64(v)), true
	case uint64:
		return binary.BigEndian.AppendUint64(append(dst, 'u'), v), true
	case float64:
		return binary.BigEndian.AppendUint64(append(dst, 'f'), math.Float64bits(v)), true
	case float32:
		return binary.BigEndian.AppendUint32(append(dst, 'g'), math.Float32bits(v)), true
	case bool:
		if v {
			return append(dst, 'T'), true
		}
		return append(dst, 'F'), true
	case string:
		return appendText(append(dst, 's'), v), true
	case []byte:
		return appendText(append(dst, 'x'), string(v)), true
	case json.RawMessage:
		if v == nil {
			return append(dst, 'k'), true
		}
		return appendText(append(dst, 'j'), string(v)), true
	case [16]byte:
		return append(append(dst, 'U'), v[:]...), true
	case time.Time:
		return appendTime(append(dst, 't'), v), true
	case Stringer:
		dst, ok := AppendArg(append(dst, 'S'), v.Value)
		return appendText(dst, v.Text), ok
	case []int64:
		return appendSlice(append(dst, 'I'), v)
	case []string:
		return appendSlice(append(dst, 'Z'), v)
	case []bool:
		return appendSlice(append(dst, 'B'), v)
	case []float64:
		return appendSlice(append(dst, 'D'), v)
	case []any:
		return appendSlice(append(dst, 'A'), v)
	}
	return dst, false
}

func appendSlice[T any](dst []byte, s []T) ([]byte, bool) {
	dst = binary.AppendUvarint(dst, uint64(len(s)))
	for _, v := range s {
		var ok bool
		if dst, ok = AppendArg(dst, v); !ok {
			return dst, false
		}
	}
	return dst, true
}

func appendTime(dst []byte, t time.Time) []byte {
	_, offset := t.Zone()
	dst = binary.BigEndian.AppendUint64(dst, uint64(t.Unix()))
	dst = binary.BigEndian.AppendUint32(dst, uint32(t.Nanosecond()))
	dst = binary.BigEndian.AppendUint32(dst, uint32(int32(offset)))
	return appendText(dst, t.Location().String())
}
