package scan

import (
	"bytes"
	"database/sql"
	"reflect"
	"strconv"
	"time"

	"gorm.io/gorm"

	"github.com/cacheplugin/cacheplugin/internal/rowset"
)

// assign sets a value as database/sql converts it into a pointer to dst, or reports
// that it may be no conversion at all. The value is not NULL.
type assign func(dst reflect.Value, v *rowset.Value, from *rowset.Values) bool

var bytesType = reflect.TypeFor[[]byte]()

// nullTypes are the types of database/sql that are a value, in their first field,
// and whether there is one, in their second; and what GORM makes of them.
var nullTypes = map[reflect.Type]bool{
	reflect.TypeFor[sql.NullBool]():    true,
	reflect.TypeFor[sql.NullByte]():    true,
	reflect.TypeFor[sql.NullInt16]():   true,
	reflect.TypeFor[sql.NullInt32]():   true,
	reflect.TypeFor[sql.NullInt64]():   true,
	reflect.TypeFor[sql.NullFloat64](): true,
	reflect.TypeFor[sql.NullString]():  true,
	reflect.TypeFor[sql.NullTime]():    true,
	reflect.TypeFor[gorm.DeletedAt]():  true,
}

func isNull(t reflect.Type) bool { return nullTypes[t] }

// predeclared reports whether a type is one of the language's own.
func predeclared(t reflect.Type) bool { return t.PkgPath() == "" && t.Name() != "" }

// assigns returns how values are assigned to a type; nil where database/sql has to.
func assigns(t reflect.Type) assign {
	if isNull(t) {
		return assignNull(assigns(t.Field(0).Type))
	}
	if reflect.PointerTo(t).Implements(scannerType) {
		return nil
	}
	switch t.Kind() {
	case reflect.Bool:
		if predeclared(t) {
			return assignBool
		}
		return assignNamedBool
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		return assignInt
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return assignUint
	case reflect.Float32, reflect.Float64:
		return assignFloat
	case reflect.String:
		if predeclared(t) {
			return assignString
		}
		return assignNamedString
	case reflect.Slice:
		switch {
		case t == bytesType:
			return assignBytes
		case t != reflect.TypeFor[sql.RawBytes]() && bytesType.AssignableTo(t):
			return assignNamedBytes
		}
	case reflect.Struct:
		if t == timeType {
			return assignTime
		}
	}
	return nil
}

func assignNull(into assign) assign {
	return func(dst reflect.Value, v *rowset.Value, from *rowset.Values) bool {
		dst.Field(1).SetBool(true)
		return into(dst.Field(0), v, from)
	}
}

func assignBool(dst reflect.Value, v *rowset.Value, _ *rowset.Values) bool {
	switch v.Kind {
	case rowset.Bool:
		dst.SetBool(v.Bool)
		return true
	case rowset.Int64:
		dst.SetBool(v.Int == 1)
		return v.Int == 0 || v.Int == 1
	case rowset.Uint64:
		dst.SetBool(v.Uint == 1)
		return v.Uint <= 1
	case rowset.String, rowset.Bytes:
		b, err := strconv.ParseBool(string(v.Raw))
		dst.SetBool(b)
		return err == nil
	}
	return false
}

func assignNamedBool(dst reflect.Value, v *rowset.Value, _ *rowset.Values) bool {
	if v.Kind != rowset.Bool {
		return false
	}
	dst.SetBool(v.Bool)
	return true
}

func assignInt(dst reflect.Value, v *rowset.Value, _ *rowset.Values) bool {
	var n int64
	switch v.Kind {
	case rowset.Int64:
		n = v.Int
	case rowset.Uint64:
		if n = int64(v.Uint); n < 0 {
			return false
		}
	case rowset.String, rowset.Bytes:
		var err error
		if n, err = strconv.ParseInt(string(v.Raw), 10, 64); err != nil {
			return false
		}
	default:
		return false
	}
	if dst.OverflowInt(n) {
		return false
	}
	dst.SetInt(n)
	return true
}

func assignUint(dst reflect.Value, v *rowset.Value, _ *rowset.Values) bool {
	var n uint64
	switch v.Kind {
	case rowset.Uint64:
		n = v.Uint
	case rowset.Int64:
		if v.Int < 0 {
			return false
		}
		n = uint64(v.Int)
	case rowset.String, rowset.Bytes:
		var err error
		if n, err = strconv.ParseUint(string(v.Raw), 10, 64); err != nil {
			return false
		}
	default:
		return false
	}
	if dst.OverflowUint(n) {
		return false
	}
	dst.SetUint(n)
	return true
}

// assignFloat goes by text where the types differ, as database/sql does: the
// nearest float32 of a float64's shortest text is not always its own.
func assignFloat(dst reflect.Value, v *rowset.Value, _ *rowset.Values) bool {
	var room [32]byte
	text := room[:0]
	switch v.Kind {
	case rowset.Float64:
		if dst.Kind() == reflect.Float64 {
			dst.SetFloat(v.Float)
			return true
		}
		text = strconv.AppendFloat(text, v.Float, 'g', -1, 64)
	case rowset.Float32:
		if dst.Kind() == reflect.Float32 {
			dst.SetFloat(v.Float)
			return true
		}
		text = strconv.AppendFloat(text, v.Float, 'g', -1, 32)
	case rowset.Int64:
		text = strconv.AppendInt(text, v.Int, 10)
	case rowset.Uint64:
		text = strconv.AppendUint(text, v.Uint, 10)
	case rowset.String, rowset.Bytes:
		text = v.Raw
	default:
		return false
	}
	f, err := strconv.ParseFloat(string(text), dst.Type().Bits())
	if err != nil {
		return false
	}
	dst.SetFloat(f)
	return true
}

func assignString(dst reflect.Value, v *rowset.Value, from *rowset.Values) bool {
	switch v.Kind {
	case rowset.String, rowset.Bytes:
		dst.SetString(from.Text())
	case rowset.Time:
		dst.SetString(v.Time().Format(time.RFC3339Nano))
	case rowset.Bool:
		dst.SetString(strconv.FormatBool(v.Bool))
	case rowset.Int64:
		dst.SetString(strconv.FormatInt(v.Int, 10))
	case rowset.Uint64:
		dst.SetString(strconv.FormatUint(v.Uint, 10))
	case rowset.Float64:
		dst.SetString(strconv.FormatFloat(v.Float, 'g', -1, 64))
	case rowset.Float32:
		dst.SetString(strconv.FormatFloat(v.Float, 'g', -1, 32))
	default:
		return false
	}
	return true
}

func assignNamedString(dst reflect.Value, v *rowset.Value, from *rowset.Values) bool {
	if v.Kind != rowset.String && v.Kind != rowset.Bytes {
		return false
	}
	dst.SetString(from.Text())
	return true
}

func assignBytes(dst reflect.Value, v *rowset.Value, from *rowset.Values) bool {
	if v.Kind == rowset.String {
		dst.SetBytes(append(make([]byte, 0, len(v.Raw)), v.Raw...))
		return true
	}
	return assignNamedBytes(dst, v, from)
}

func assignNamedBytes(dst reflect.Value, v *rowset.Value, _ *rowset.Values) bool {
	if v.Kind != rowset.Bytes {
		return false
	}
	dst.SetBytes(bytes.Clone(v.Raw))
	return true
}

func assignTime(dst reflect.Value, v *rowset.Value, _ *rowset.Values) bool {
	if v.Kind != rowset.Time {
		return false
	}
	*dst.Addr().Interface().(*time.Time) = v.Time()
	return true
}
