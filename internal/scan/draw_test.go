package scan

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"reflect"
	"strings"
	"time"

	"gorm.io/gorm"
	"gorm.io/gorm/schema"
	"pgregory.net/rapid"
)

type (
	namedBool   bool
	namedInt    int
	namedInt64  int64
	namedUint   uint8
	namedFloat  float32
	namedString string
	namedBytes  []byte
	embedded    struct {
		Inner int
		Note  *string
		Word  namedString
	}
	prefixed struct {
		Inner int64
		At    *time.Time
	}
	// picky is a Scanner that takes what fits it.
	picky struct{ seen string }
	// loud is one that panics at what it does not know.
	loud struct{ N int64 }
	// spy is its own serializer, which tells what it was given, and panics at a word.
	spy struct{ Seen string }
)

func (p picky) Value() (driver.Value, error) { return p.seen, nil }
func (l loud) Value() (driver.Value, error)  { return l.N, nil }

func (p *picky) Scan(v any) error {
	switch v := v.(type) {
	case nil:
		p.seen = "nil"
	case float64, float32:
		return errors.New("no numbers with a point")
	case []byte:
		p.seen = string(v)
		for i := range v {
			v[i] = 'X'
		}
	default:
		p.seen = fmt.Sprint(v)
	}
	return nil
}

func (l *loud) Scan(v any) error {
	n, ok := v.(int64)
	if !ok {
		panic(fmt.Sprintf("what is %v?", v))
	}
	l.N = n
	return nil
}

func (s *spy) Scan(_ context.Context, field *schema.Field, dst reflect.Value, value any) error {
	if value == "word" {
		panic("a word for " + field.Name)
	}
	s.Seen = fmt.Sprint(field.Name, " ", dst.Type(), " ", dst.CanSet(), " ", value)
	return nil
}

func (s spy) Value(context.Context, *schema.Field, reflect.Value, any) (any, error) {
	return s.Seen, nil
}

var fieldTypes = []reflect.Type{
	reflect.TypeFor[bool](), reflect.TypeFor[int](), reflect.TypeFor[int8](), reflect.TypeFor[int16](), reflect.TypeFor[int32](),
	reflect.TypeFor[int64](), reflect.TypeFor[uint](), reflect.TypeFor[uint8](), reflect.TypeFor[uint16](), reflect.TypeFor[uint32](),
	reflect.TypeFor[uint64](), reflect.TypeFor[float32](), reflect.TypeFor[float64](), reflect.TypeFor[string](), reflect.TypeFor[[]byte](),
	reflect.TypeFor[time.Time](), reflect.TypeFor[time.Duration](),
	reflect.TypeFor[*bool](), reflect.TypeFor[*int8](), reflect.TypeFor[*int64](), reflect.TypeFor[*uint](), reflect.TypeFor[*float32](),
	reflect.TypeFor[*float64](), reflect.TypeFor[*string](), reflect.TypeFor[*[]byte](), reflect.TypeFor[*time.Time](),
	reflect.TypeFor[sql.NullBool](), reflect.TypeFor[sql.NullByte](), reflect.TypeFor[sql.NullInt16](), reflect.TypeFor[sql.NullInt32](),
	reflect.TypeFor[sql.NullInt64](), reflect.TypeFor[sql.NullFloat64](), reflect.TypeFor[sql.NullString](), reflect.TypeFor[sql.NullTime](),
	reflect.TypeFor[gorm.DeletedAt](), reflect.TypeFor[*sql.NullString](), reflect.TypeFor[sql.Null[string]](),
	reflect.TypeFor[namedBool](), reflect.TypeFor[namedInt](), reflect.TypeFor[namedInt64](), reflect.TypeFor[namedUint](), reflect.TypeFor[namedFloat](),
	reflect.TypeFor[namedString](), reflect.TypeFor[namedBytes](), reflect.TypeFor[json.RawMessage](), reflect.TypeFor[sql.RawBytes](),
	reflect.TypeFor[*namedInt](), reflect.TypeFor[*namedString](), reflect.TypeFor[*namedBytes](),
	reflect.TypeFor[picky](), reflect.TypeFor[*picky](), reflect.TypeFor[loud](), reflect.TypeFor[*loud](),
	reflect.TypeFor[spy](), reflect.TypeFor[*spy](),
}

// col is a column of a result, and the type that its values are mostly for.
type col struct {
	name string
	of   reflect.Type
}

func namesOf(columns []col) []string {
	names := make([]string, len(columns))
	for i, c := range columns {
		names[i] = c.name
	}
	return names
}

// drawStruct draws a type and columns for it.
func drawStruct(t *rapid.T) (reflect.Type, []col) {
	var fields []reflect.StructField
	var columns []col
	for i := range rapid.IntRange(1, 6).Draw(t, "fields") {
		field := reflect.StructField{Name: fmt.Sprintf("F%d", i), Type: rapid.SampledFrom(fieldTypes).Draw(t, "type")}
		own := []col{{fmt.Sprintf("f%d", i), field.Type}}
		switch rapid.IntRange(0, 20).Draw(t, "special") {
		case 0, 1:
			field.Type, field.Tag = reflect.TypeFor[embedded](), reflect.StructTag(fmt.Sprintf(`gorm:"embedded;embeddedPrefix:e%d_"`, i))
			own = []col{{fmt.Sprintf("e%d_inner", i), reflect.TypeFor[int]()}, {fmt.Sprintf("e%d_word", i), reflect.TypeFor[string]()}}
		case 2, 3:
			field.Type, field.Tag = reflect.TypeFor[*prefixed](), reflect.StructTag(fmt.Sprintf(`gorm:"embedded;embeddedPrefix:p%d_"`, i))
			own = []col{{fmt.Sprintf("p%d_inner", i), reflect.TypeFor[int]()}, {fmt.Sprintf("p%d_at", i), reflect.TypeFor[time.Time]()}}
		case 4:
			field.Type, field.Tag = reflect.TypeFor[[]string](), `gorm:"serializer:json"`
			own[0].of = field.Type
		case 5:
			field.Tag = `gorm:"->:false;<-"`
		case 6:
			field.Type, field.Tag = reflect.TypeFor[int64](), `gorm:"serializer:unixtime"`
			own[0].of = reflect.TypeFor[time.Time]()
		case 7:
			own[0].name = field.Name // as GORM finds it, too
		}
		fields, columns = append(fields, field), append(columns, own...)
	}
	columns = rapid.Permutation(columns).Draw(t, "columns")
	switch rapid.IntRange(0, 20).Draw(t, "odd columns") {
	case 0:
		columns = append(columns, col{"unknown", fieldTypes[0]})
	case 1:
		columns = append(columns, columns[0])
	case 2:
		columns = append(columns, col{"Other__name", fieldTypes[0]})
	case 3:
		columns = columns[:1]
	}
	return reflect.StructOf(fields), columns
}

var (
	instant = time.Date(2026, 2, 3, 4, 5, 6, 789_000_000, time.UTC)
	long    = strings.Repeat("long ", 300)

	// suited are values that drivers give of columns for fields of a kind.
	suited = map[reflect.Kind][]driver.Value{
		reflect.Bool:    {true, false, int64(0), int64(1), uint64(1), "true", []byte("1")},
		reflect.Int:     {int64(0), int64(1), int64(-1), int64(127), uint64(1), "-12", []byte("1")},
		reflect.Uint:    {int64(0), int64(1), int64(127), uint64(1), "12", []byte("1")},
		reflect.Float64: {0.5, 1.0, 1 + 1.0/(1<<24), float32(0.1), int64(1<<53 + 1), uint64(1), "1.5", []byte("1")},
		reflect.String:  {"", "1", "text", "other text", long, []byte("bytes"), []byte{}, []byte(nil)},
		reflect.Slice:   {"", "text", long, []byte("bytes"), []byte{}, []byte(nil), `["a","b"]`, []byte(`["c"]`)},
		reflect.Struct:  {instant, instant.In(time.FixedZone("X", 3600)), instant.In(time.Local)},
	}

	anyValue = []driver.Value{
		nil, true, false, int64(0), int64(1), int64(-1), int64(127), int64(300), int64(math.MaxInt64), int64(1 << 53), int64(1<<53 + 1),
		uint64(1), uint64(math.MaxUint64), 0.5, 1.0, 1 + 1.0/(1<<24), 1e300, float32(0.1), float32(3),
		"", "1", "-12", "300", "true", "1.5", "word", long, `["a","b"]`, "1e400", "0x10",
		[]byte("1"), []byte("bytes"), []byte{}, []byte(nil), []byte(`["c"]`), []byte("t"),
		instant, instant.In(time.FixedZone("X", 3600)), instant.In(time.Local),
	}
)

// kindOf returns the kind among those of suited that is like a type's.
func kindOf(of reflect.Type) reflect.Kind {
	if of.Kind() == reflect.Pointer {
		of = of.Elem()
	}
	if of.Kind() == reflect.Struct && of != timeType && of.NumField() > 0 {
		of = of.Field(0).Type // of one that is a value and whether there is one
	}
	switch kind := of.Kind(); kind {
	case reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		return reflect.Int
	case reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return reflect.Uint
	case reflect.Float32:
		return reflect.Float64
	default:
		return kind
	}
}

// drawFor draws a value, mostly one that a column for the type might have.
func drawFor(t *rapid.T, of reflect.Type) driver.Value {
	switch rapid.IntRange(0, 40).Draw(t, "odd value") {
	case 0:
		return rapid.SampledFrom(anyValue).Draw(t, "value")
	case 1, 2, 3:
		return nil
	}
	return rapid.SampledFrom(suited[kindOf(of)]).Draw(t, "value")
}

func drawRows(t *rapid.T, columns []col) [][]driver.Value {
	// Columns mostly are of one kind.
	common := make([]driver.Value, len(columns))
	for i, c := range columns {
		common[i] = drawFor(t, c.of)
	}
	rows := make([][]driver.Value, rapid.SampledFrom([]int{0, 1, 1, 2, 5, 40}).Draw(t, "rows"))
	for i := range rows {
		row := append([]driver.Value(nil), common...)
		if rapid.IntRange(0, 2).Draw(t, "other") == 0 {
			which := rapid.IntRange(0, len(columns)-1).Draw(t, "which")
			row[which] = drawFor(t, columns[which].of)
		}
		rows[i] = row
	}
	return rows
}

// drawDest draws a maker of destinations that are alike.
func drawDest(t *rapid.T, element reflect.Type) func() any {
	filled := reflect.New(element).Elem()
	if element.Kind() == reflect.Struct && rapid.Bool().Draw(t, "filled") {
		for i := range element.NumField() {
			f := filled.Field(i)
			if !f.CanSet() {
				continue
			}
			switch f.Kind() {
			case reflect.Bool:
				f.SetBool(true)
			case reflect.Int, reflect.Int64:
				f.SetInt(77)
			case reflect.String:
				f.SetString("before")
			case reflect.Pointer:
				f.Set(reflect.New(f.Type().Elem()))
			}
		}
	}
	room := rapid.SampledFrom([]int{0, 0, 1, 3, 60}).Draw(t, "room")
	slice := func(of reflect.Type) func() any {
		return func() any {
			made := reflect.New(reflect.SliceOf(of))
			if room > 0 {
				made.Elem().Set(reflect.MakeSlice(reflect.SliceOf(of), room, room))
				for i := range room {
					if of == element {
						made.Elem().Index(i).Set(filled)
					}
				}
			}
			return made.Interface()
		}
	}
	switch rapid.IntRange(0, 5).Draw(t, "destination") {
	case 0, 1:
		return func() any {
			made := reflect.New(element)
			made.Elem().Set(filled)
			return made.Interface()
		}
	case 2:
		return slice(reflect.PointerTo(element))
	case 3:
		return func() any { return reflect.New(reflect.ArrayOf(3, element)).Interface() }
	}
	return slice(element)
}
