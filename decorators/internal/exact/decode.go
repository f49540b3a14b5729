package exact

import (
	"encoding"
	"encoding/binary"
	"fmt"
	"math"
	"reflect"
)

// Unmarshal decodes data, all of it, into what v points to. The type must have
// passed Check. Bytes that were not made by Marshal for this type are an error
// that wraps ErrCorrupt; v's target is then in an unknown state. What is
// allocated is bounded by the data's length. The result shares nothing with data.
func Unmarshal(data []byte, v any) error {
	p := reflect.ValueOf(v)
	if p.Kind() != reflect.Pointer || p.IsNil() {
		return fmt.Errorf("%w: %T: pass a pointer to the value", ErrValue, v)
	}
	d := &decoder{data: data}
	if err := d.decode(p.Elem(), 0); err != nil {
		return err
	}
	if len(d.data) > 0 {
		return fmt.Errorf("%w: %d bytes too many", ErrCorrupt, len(d.data))
	}
	return nil
}

type decoder struct{ data []byte }

var errShort = fmt.Errorf("%w: it ends too early", ErrCorrupt)

func (d *decoder) byte() (byte, error) {
	if len(d.data) == 0 {
		return 0, errShort
	}
	b := d.data[0]
	d.data = d.data[1:]
	return b, nil
}

func (d *decoder) bytes(n uint64) ([]byte, error) {
	if n > uint64(len(d.data)) {
		return nil, errShort
	}
	b := d.data[:n:n]
	d.data = d.data[n:]
	return b, nil
}

func (d *decoder) uvarint() (uint64, error) {
	u, n := binary.Uvarint(d.data)
	if n <= 0 {
		return 0, errShort
	}
	d.data = d.data[n:]
	return u, nil
}

// length reads the length of a slice or map, of which each element takes a
// byte at least; nil is told apart.
func (d *decoder) length() (n int, isNil bool, err error) {
	u, err := d.uvarint()
	if err != nil || u == 0 {
		return 0, true, err
	}
	if u-1 > uint64(len(d.data)) {
		return 0, false, errShort
	}
	return int(u - 1), false, nil
}

func (d *decoder) decode(v reflect.Value, depth int) error {
	if depth > maxDepth {
		return fmt.Errorf("%w: it nests too deep", ErrCorrupt)
	}
	t := v.Type()
	if f := formOf(t); f != structural {
		return d.unmarshaled(v, f)
	}
	switch v.Kind() {
	case reflect.Bool:
		b, err := d.byte()
		if err != nil {
			return err
		}
		if b > 1 {
			return fmt.Errorf("%w: a bool is %d", ErrCorrupt, b)
		}
		v.SetBool(b == 1)
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		i, n := binary.Varint(d.data)
		if n <= 0 {
			return errShort
		}
		d.data = d.data[n:]
		if v.OverflowInt(i) {
			return fmt.Errorf("%w: %d overflows %s", ErrCorrupt, i, t)
		}
		v.SetInt(i)
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		u, err := d.uvarint()
		if err != nil {
			return err
		}
		if v.OverflowUint(u) {
			return fmt.Errorf("%w: %d overflows %s", ErrCorrupt, u, t)
		}
		v.SetUint(u)
	case reflect.Float32:
		b, err := d.bytes(4)
		if err != nil {
			return err
		}
		v.SetFloat(float64(math.Float32frombits(binary.LittleEndian.Uint32(b))))
	case reflect.Float64:
		b, err := d.bytes(8)
		if err != nil {
			return err
		}
		v.SetFloat(math.Float64frombits(binary.LittleEndian.Uint64(b)))
	case reflect.Complex64, reflect.Complex128:
		b, err := d.bytes(16)
		if err != nil {
			return err
		}
		v.SetComplex(complex(math.Float64frombits(binary.LittleEndian.Uint64(b)), math.Float64frombits(binary.LittleEndian.Uint64(b[8:]))))
	case reflect.String:
		n, err := d.uvarint()
		if err != nil {
			return err
		}
		b, err := d.bytes(n)
		if err != nil {
			return err
		}
		v.SetString(string(b))
	case reflect.Slice:
		return d.slice(v, depth)
	case reflect.Array:
		if v.Len() == 0 {
			_, err := d.byte()
			return err
		}
		return d.elements(v, depth)
	case reflect.Map:
		return d.mapEntries(v, depth)
	case reflect.Pointer:
		b, err := d.byte()
		if err != nil {
			return err
		}
		if b == 0 {
			v.SetZero()
			return nil
		}
		p := reflect.New(t.Elem())
		if err := d.decode(p.Elem(), depth+1); err != nil {
			return err
		}
		v.Set(p.Convert(t)) // of a named pointer type, perhaps
	case reflect.Interface:
		return d.dynamic(v, depth)
	case reflect.Struct:
		return d.structFields(v, depth)
	default:
		return fmt.Errorf("%w: %s", ErrType, t)
	}
	return nil
}

func (d *decoder) slice(v reflect.Value, depth int) error {
	n, isNil, err := d.length()
	if err != nil {
		return err
	}
	if isNil {
		v.SetZero()
		return nil
	}
	if isBytes(v.Type()) {
		b, err := d.bytes(uint64(n))
		if err != nil {
			return err
		}
		own := make([]byte, n)
		copy(own, b)
		v.SetBytes(own)
		return nil
	}
	if n > len(d.data)/minSize(v.Type().Elem()) {
		return errShort
	}
	s := reflect.MakeSlice(v.Type(), n, n)
	if err := d.elements(s, depth); err != nil {
		return err
	}
	v.Set(s)
	return nil
}

// minSize is the number of bytes that the smallest value of a type takes.
func minSize(t reflect.Type) int {
	if formOf(t) != structural {
		return 1
	}
	switch t.Kind() {
	case reflect.Float32:
		return 4
	case reflect.Float64:
		return 8
	case reflect.Complex64, reflect.Complex128:
		return 16
	case reflect.Array:
		return max(1, t.Len()*minSize(t.Elem()))
	case reflect.Struct:
		n := 0
		for i := range t.NumField() {
			if t.Field(i).Name == "_" {
				n++
				continue
			}
			n += minSize(t.Field(i).Type)
		}
		return max(1, n)
	}
	return 1
}

func (d *decoder) elements(v reflect.Value, depth int) error {
	for i := range v.Len() {
		if err := d.decode(v.Index(i), depth+1); err != nil {
			return err
		}
	}
	return nil
}

func (d *decoder) mapEntries(v reflect.Value, depth int) error {
	n, isNil, err := d.length()
	if err != nil {
		return err
	}
	if isNil {
		v.SetZero()
		return nil
	}
	t := v.Type()
	if n > len(d.data)/(minSize(t.Key())+minSize(t.Elem())) {
		return errShort
	}
	m := reflect.MakeMapWithSize(t, n)
	for range n {
		key, value := reflect.New(t.Key()).Elem(), reflect.New(t.Elem()).Elem()
		if err := d.decode(key, depth+1); err != nil {
			return err
		}
		if !key.Comparable() {
			return fmt.Errorf("%w: a key that can't be compared", ErrCorrupt)
		}
		if err := d.decode(value, depth+1); err != nil {
			return err
		}
		m.SetMapIndex(key, value)
	}
	v.Set(m)
	return nil
}

func (d *decoder) structFields(v reflect.Value, depth int) error {
	t := v.Type()
	if t.NumField() == 0 {
		_, err := d.byte()
		return err
	}
	for i := range t.NumField() {
		f := t.Field(i)
		switch {
		case f.Name == "_":
			if _, err := d.byte(); err != nil {
				return err
			}
		case !f.IsExported():
			return fmt.Errorf("%w: %s.%s is not exported", ErrType, t, f.Name)
		default:
			if err := d.decode(v.Field(i), depth+1); err != nil {
				return err
			}
		}
	}
	return nil
}

func (d *decoder) unmarshaled(v reflect.Value, f form) error {
	n, err := d.uvarint()
	if err != nil {
		return err
	}
	b, err := d.bytes(n)
	if err != nil {
		return err
	}
	b = append([]byte(nil), b...) // the method may keep it
	p := reflect.New(v.Type())
	switch u := p.Interface().(type) {
	case encoding.BinaryUnmarshaler:
		if f != binaryForm {
			if text, ok := u.(encoding.TextUnmarshaler); ok {
				err = text.UnmarshalText(b)
			}
			break
		}
		err = u.UnmarshalBinary(b)
	case encoding.TextUnmarshaler:
		err = u.UnmarshalText(b)
	}
	if err != nil {
		return fmt.Errorf("%w: %s: %w", ErrCorrupt, v.Type(), err)
	}
	v.Set(p.Elem())
	return nil
}
