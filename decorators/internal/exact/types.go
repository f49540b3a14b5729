package exact

import (
	"crypto/sha256"
	"encoding"
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"time"
)

var (
	binaryMarshaler   = reflect.TypeFor[encoding.BinaryMarshaler]()
	binaryUnmarshaler = reflect.TypeFor[encoding.BinaryUnmarshaler]()
	textMarshaler     = reflect.TypeFor[encoding.TextMarshaler]()
	textUnmarshaler   = reflect.TypeFor[encoding.TextUnmarshaler]()
	anyType           = reflect.TypeFor[any]()
	timeType          = reflect.TypeFor[time.Time]()
)

// form is how the values of a type encode themselves.
type form uint8

const (
	structural form = iota // by their kind
	binaryForm
	textForm
)

// formOf prefers the binary form over the text, and both over the structure,
// but only where the type reads what it writes.
func formOf(t reflect.Type) form {
	switch {
	case t.Kind() == reflect.Pointer, t.Kind() == reflect.Interface:
		return structural
	case t.PkgPath() == "" && t.Kind() != reflect.Struct:
		return structural // no methods: asking for them costs
	}
	switch p := reflect.PointerTo(t); {
	case p.Implements(binaryMarshaler) && p.Implements(binaryUnmarshaler):
		return binaryForm
	case p.Implements(textMarshaler) && p.Implements(textUnmarshaler):
		return textForm
	}
	return structural
}

// Check reports, as an error that wraps ErrType and names the place, why values
// of a type would not come back as they were: channels and functions, unexported
// fields, interfaces with methods, structs whose encoding is that of a field
// they embed. An empty interface is accepted; see Marshal for what it may hold.
func Check(t reflect.Type) error { return (&checker{}).check(t, t.String()) }

// CheckKey is Check for what AppendKey takes. A key is never read back, so that
// unexported fields of plain kinds are accepted.
func CheckKey(t reflect.Type) error { return (&checker{key: true}).check(t, t.String()) }

type checker struct {
	key  bool
	seen map[reflect.Type]bool
	// hidden: inside an unexported field, whose methods can't be called.
	hidden bool
}

func (c *checker) check(t reflect.Type, path string) error {
	if f := formOf(t); f != structural {
		if c.hidden {
			return fmt.Errorf("%w: %s is not exported and of type %s, whose methods can't be called there", ErrType, path, t)
		}
		return checkInherited(t, path)
	}
	switch t.Kind() {
	case reflect.Chan, reflect.Func, reflect.UnsafePointer, reflect.Uintptr:
		return fmt.Errorf("%w: %s is a %s", ErrType, path, t.Kind())
	case reflect.Interface:
		if t == anyType || c.key && !c.hidden {
			return nil
		}
		return fmt.Errorf("%w: %s is of interface type %s, whose values can't be made again", ErrType, path, t)
	case reflect.Pointer:
		return c.once(t, func() error { return c.check(t.Elem(), path) })
	case reflect.Slice, reflect.Array:
		return c.once(t, func() error { return c.check(t.Elem(), path+"[]") })
	case reflect.Map:
		return c.once(t, func() error {
			if err := c.check(t.Key(), path+" key"); err != nil {
				return err
			}
			return c.check(t.Elem(), path+"[]")
		})
	case reflect.Struct:
		return c.once(t, func() error { return c.checkFields(t, path) })
	}
	return nil
}

// once keeps recursive types from being looked at for ever. A type that was
// found good among exported fields may be bad in an unexported one.
func (c *checker) once(t reflect.Type, check func() error) error {
	if hidden, seen := c.seen[t]; seen && (hidden || !c.hidden) {
		return nil
	}
	if c.seen == nil {
		c.seen = map[reflect.Type]bool{}
	}
	c.seen[t] = c.hidden
	return check()
}

func (c *checker) checkFields(t reflect.Type, path string) error {
	for i := range t.NumField() {
		f := t.Field(i)
		at := path + "." + f.Name
		if f.Name == "_" {
			continue
		}
		hidden := c.hidden
		if !f.IsExported() {
			if !c.key {
				return fmt.Errorf("%w: %s is not exported", ErrType, at)
			}
			c.hidden = true
		}
		err := c.check(f.Type, at)
		c.hidden = hidden
		if err != nil {
			return err
		}
	}
	return nil
}

// checkInherited refuses a struct that embeds a type such as time.Time beside
// other fields: it inherits its methods, which know nothing of the others.
func checkInherited(t reflect.Type, path string) error {
	if t.Kind() != reflect.Struct || t.NumField() < 2 {
		return nil
	}
	for i := range t.NumField() {
		f := t.Field(i)
		if !f.Anonymous {
			continue
		}
		embedded := f.Type
		if embedded.Kind() == reflect.Pointer {
			embedded = embedded.Elem()
		}
		if embedded.Kind() == reflect.Interface || formOf(embedded) != structural {
			return fmt.Errorf("%w: %s embeds %s and encodes itself by its methods, without the other fields: give the field a name", ErrType, path, f.Type)
		}
	}
	return nil
}

// Fingerprint tells types apart whose encodings may be mistaken for each other:
// it changes with names, with fields and their order, and with how values
// encode themselves. It is the same in every build that has the same types.
func Fingerprint(t reflect.Type) [8]byte {
	sum := sha256.Sum256([]byte(describe(t)))
	return [8]byte(sum[:8])
}

func describe(t reflect.Type) string {
	var b strings.Builder
	b.WriteString("exact/1 ")
	(&describer{to: &b}).write(t)
	return b.String()
}

type describer struct {
	to   *strings.Builder
	seen map[reflect.Type]int
}

func (d *describer) write(t reflect.Type) {
	if t.Name() != "" {
		d.to.WriteString(strconv.Quote(t.PkgPath() + "." + t.Name()))
		if t.PkgPath() == "" {
			return // predeclared
		}
		if n, ok := d.seen[t]; ok {
			d.to.WriteString("#" + strconv.Itoa(n))
			return
		}
		if d.seen == nil {
			d.seen = map[reflect.Type]int{}
		}
		d.seen[t] = len(d.seen)
	}
	switch formOf(t) {
	case binaryForm:
		d.to.WriteString(" binary")
		return
	case textForm:
		d.to.WriteString(" text")
		return
	}
	d.to.WriteString(" " + t.Kind().String())
	switch t.Kind() {
	case reflect.Array:
		d.to.WriteString("[" + strconv.Itoa(t.Len()) + "]")
		d.write(t.Elem())
	case reflect.Pointer, reflect.Slice:
		d.to.WriteString(" ")
		d.write(t.Elem())
	case reflect.Map:
		d.to.WriteString("[")
		d.write(t.Key())
		d.to.WriteString("]")
		d.write(t.Elem())
	case reflect.Struct:
		d.to.WriteString("{")
		for i := range t.NumField() {
			d.to.WriteString(strconv.Quote(t.Field(i).Name) + " ")
			d.write(t.Field(i).Type)
			d.to.WriteString(";")
		}
		d.to.WriteString("}")
	}
}
