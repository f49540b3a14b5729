package exact

import (
	"bytes"
	"encoding"
	"encoding/binary"
	"fmt"
	"math"
	"reflect"
	"slices"
)

// Marshal encodes what v points to. Its type must have passed Check.
//
// An empty interface may hold nil, the predeclared types, []byte, time.Time,
// []any and map[string]any; other values in it are an error that wraps ErrValue,
// as are values that nest deeper than 2000 levels. Two pointers to one value
// come back as pointers to two.
func Marshal(v any) ([]byte, error) {
	p := reflect.ValueOf(v)
	if p.Kind() != reflect.Pointer || p.IsNil() {
		return nil, fmt.Errorf("%w: %T: pass a pointer to the value", ErrValue, v)
	}
	return (&encoder{}).append(nil, p.Elem(), 0)
}

// AppendKey appends an encoding of v that differs from that of every other
// value and of every other type, and is the same in every process and build.
// Maps are written in the order of their keys. It returns an error that wraps
// ErrType or ErrValue where v has no such form.
func AppendKey(dst []byte, v any) ([]byte, error) {
	if v == nil {
		return append(dst, 0), nil
	}
	e := &encoder{key: true}
	return e.appendTyped(append(dst, 1), reflect.ValueOf(v), 0)
}

type encoder struct {
	key bool
}

// appendTyped writes the type before the value.
func (e *encoder) appendTyped(dst []byte, v reflect.Value, depth int) ([]byte, error) {
	if err := CheckKey(v.Type()); err != nil {
		return nil, err
	}
	print := Fingerprint(v.Type())
	return e.append(append(dst, print[:]...), v, depth)
}

func (e *encoder) append(dst []byte, v reflect.Value, depth int) ([]byte, error) {
	if depth > maxDepth {
		return nil, fmt.Errorf("%w: it nests deeper than %d levels, or holds a pointer to itself", ErrValue, maxDepth)
	}
	switch formOf(v.Type()) {
	case binaryForm, textForm:
		return appendMarshaled(dst, v)
	}
	switch v.Kind() {
	case reflect.Bool:
		if v.Bool() {
			return append(dst, 1), nil
		}
		return append(dst, 0), nil
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		return binary.AppendVarint(dst, v.Int()), nil
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return binary.AppendUvarint(dst, v.Uint()), nil
	case reflect.Float32:
		return binary.LittleEndian.AppendUint32(dst, math.Float32bits(float32(v.Float()))), nil
	case reflect.Float64:
		return binary.LittleEndian.AppendUint64(dst, math.Float64bits(v.Float())), nil
	case reflect.Complex64, reflect.Complex128:
		dst = binary.LittleEndian.AppendUint64(dst, math.Float64bits(real(v.Complex())))
		return binary.LittleEndian.AppendUint64(dst, math.Float64bits(imag(v.Complex()))), nil
	case reflect.String:
		dst = binary.AppendUvarint(dst, uint64(v.Len()))
		return append(dst, v.String()...), nil
	case reflect.Slice:
		if v.IsNil() {
			return append(dst, 0), nil
		}
		dst = binary.AppendUvarint(dst, uint64(v.Len())+1)
		if isBytes(v.Type()) {
			return append(dst, v.Bytes()...), nil
		}
		return e.appendElements(dst, v, depth)
	case reflect.Array:
		if v.Len() == 0 {
			return append(dst, 0), nil // everything takes a byte, which bounds what a length can claim
		}
		return e.appendElements(dst, v, depth)
	case reflect.Map:
		return e.appendMap(dst, v, depth)
	case reflect.Pointer:
		if v.IsNil() {
			return append(dst, 0), nil
		}
		return e.append(append(dst, 1), v.Elem(), depth+1)
	case reflect.Interface:
		if e.key {
			if v.IsNil() {
				return append(dst, 0), nil
			}
			return e.appendTyped(append(dst, 1), v.Elem(), depth+1)
		}
		return e.appendDynamic(dst, v, depth)
	case reflect.Struct:
		return e.appendStruct(dst, v, depth)
	}
	return nil, fmt.Errorf("%w: %s", ErrType, v.Type())
}

func (e *encoder) appendElements(dst []byte, v reflect.Value, depth int) ([]byte, error) {
	var err error
	for i := range v.Len() {
		if dst, err = e.append(dst, v.Index(i), depth+1); err != nil {
			return nil, err
		}
	}
	return dst, nil
}

func (e *encoder) appendStruct(dst []byte, v reflect.Value, depth int) ([]byte, error) {
	t := v.Type()
	if t.NumField() == 0 {
		return append(dst, 0), nil
	}
	var err error
	for i := range t.NumField() {
		if t.Field(i).Name == "_" {
			dst = append(dst, 0)
			continue
		}
		if dst, err = e.append(dst, v.Field(i), depth+1); err != nil {
			return nil, err
		}
	}
	return dst, nil
}

// appendMap writes the entries in the order of their keys' encodings, so that
// equal maps have equal encodings.
func (e *encoder) appendMap(dst []byte, v reflect.Value, depth int) ([]byte, error) {
	if v.IsNil() {
		return append(dst, 0), nil
	}
	entries := make([][2][]byte, 0, v.Len())
	for it := v.MapRange(); it.Next(); {
		key, err := e.append(nil, it.Key(), depth+1)
		if err != nil {
			return nil, err
		}
		value, err := e.append(nil, it.Value(), depth+1)
		if err != nil {
			return nil, err
		}
		entries = append(entries, [2][]byte{key, value})
	}
	slices.SortFunc(entries, func(a, b [2][]byte) int {
		// Keys of a map may be equal in form only if they are NaN.
		if c := bytes.Compare(a[0], b[0]); c != 0 {
			return c
		}
		return bytes.Compare(a[1], b[1])
	})
	dst = binary.AppendUvarint(dst, uint64(len(entries))+1)
	for _, entry := range entries {
		dst = append(append(dst, entry[0]...), entry[1]...)
	}
	return dst, nil
}

// appendMarshaled writes what the value writes of itself.
func appendMarshaled(dst []byte, v reflect.Value) ([]byte, error) {
	if !v.CanInterface() {
		return nil, fmt.Errorf("%w: a %s in an unexported field", ErrType, v.Type())
	}
	p := reflect.New(v.Type())
	p.Elem().Set(v)
	var b []byte
	var err error
	if formOf(v.Type()) == binaryForm {
		m, ok := p.Interface().(encoding.BinaryMarshaler)
		if !ok {
			return nil, fmt.Errorf("%w: %s", ErrType, v.Type())
		}
		b, err = m.MarshalBinary()
	} else {
		m, ok := p.Interface().(encoding.TextMarshaler)
		if !ok {
			return nil, fmt.Errorf("%w: %s", ErrType, v.Type())
		}
		b, err = m.MarshalText()
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %s: %w", ErrValue, v.Type(), err)
	}
	dst = binary.AppendUvarint(dst, uint64(len(b)))
	return append(dst, b...), nil
}

// isBytes reports whether a slice can be copied as bytes.
func isBytes(t reflect.Type) bool {
	return t.Elem().Kind() == reflect.Uint8 && formOf(t.Elem()) == structural
}
