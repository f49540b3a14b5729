package exact

import (
	"fmt"
	"reflect"
	"time"
)

// dynamic are the types that an empty interface may hold. Their order is part
// of the format.
var dynamic = [...]reflect.Type{
	reflect.TypeFor[bool](),
	reflect.TypeFor[int](), reflect.TypeFor[int8](), reflect.TypeFor[int16](), reflect.TypeFor[int32](), reflect.TypeFor[int64](),
	reflect.TypeFor[uint](), reflect.TypeFor[uint8](), reflect.TypeFor[uint16](), reflect.TypeFor[uint32](), reflect.TypeFor[uint64](),
	reflect.TypeFor[float32](), reflect.TypeFor[float64](), reflect.TypeFor[complex64](), reflect.TypeFor[complex128](),
	reflect.TypeFor[string](), reflect.TypeFor[[]byte](), timeType,
	reflect.TypeFor[[]any](), reflect.TypeFor[map[string]any](), reflect.TypeFor[[]string](), reflect.TypeFor[[]map[string]any](),
	reflect.TypeFor[time.Duration](),
}

// appendDynamic writes which type the interface holds: 0 for nil, else one more
// than its place in dynamic.
func (e *encoder) appendDynamic(dst []byte, v reflect.Value, depth int) ([]byte, error) {
	if v.IsNil() {
		return append(dst, 0), nil
	}
	held := v.Elem()
	for i, t := range dynamic {
		if held.Type() == t {
			return e.append(append(dst, byte(i+1)), held, depth+1)
		}
	}
	return nil, fmt.Errorf("%w: an interface holds a %s", ErrValue, held.Type())
}

func (d *decoder) dynamic(v reflect.Value, depth int) error {
	tag, err := d.byte()
	if err != nil {
		return err
	}
	if tag == 0 {
		v.SetZero()
		return nil
	}
	if int(tag) > len(dynamic) {
		return fmt.Errorf("%w: an interface holds type %d", ErrCorrupt, tag)
	}
	held := reflect.New(dynamic[tag-1]).Elem()
	if err := d.decode(held, depth+1); err != nil {
		return err
	}
	v.Set(held)
	return nil
}
