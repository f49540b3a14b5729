package scan

import (
	"database/sql"
	"database/sql/driver"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"gorm.io/gorm"
	"gorm.io/gorm/logger"
	"gorm.io/gorm/utils/tests"
	"pgregory.net/rapid"

	"github.com/cacheplugin/cacheplugin/internal/rowset"
)

// list is a driver's rows.
type list struct {
	names []string
	rows  [][]driver.Value
}

func (l *list) Columns() []string { return l.names }
func (l *list) Close() error      { return nil }

func (l *list) Next(dest []driver.Value) error {
	if len(l.rows) == 0 {
		return io.EOF
	}
	copy(dest, l.rows[0])
	l.rows = l.rows[1:]
	return nil
}

// payload is what a hit finds of a result.
func payload(t require.TestingT, names []string, rows [][]driver.Value) []byte {
	live, err := rowset.Rows(&list{names, rows})
	require.NoError(t, err)
	require.NoError(t, live.Err())
	var kept rowset.Recording
	tee, err := rowset.Tee(live, rowset.TeeOptions{Drain: true, Done: func(r rowset.Recording) { kept = r }})
	require.NoError(t, err)
	require.NoError(t, tee.Close())
	require.True(t, kept.Complete, kept.Reason)
	return kept.Payload
}

func open(t require.TestingT) *gorm.DB {
	db, err := gorm.Open(tests.DummyDialector{}, &gorm.Config{Logger: logger.Discard})
	require.NoError(t, err)
	return db
}

// statement is a handle in the middle of a query into dest; nil if there is none.
func statement(db *gorm.DB, model, dest any) *gorm.DB {
	tx := db.Session(&gorm.Session{NewDB: true}).Table("things")
	stmt := tx.Statement
	stmt.Dest, stmt.Model = dest, model
	if model == nil {
		stmt.Model = dest
	}
	if err := stmt.Parse(stmt.Model); err != nil && stmt.Schema != nil {
		return nil // GORM does not come to ask
	}
	stmt.ReflectValue = reflect.ValueOf(dest)
	for stmt.ReflectValue.Kind() == reflect.Pointer {
		if stmt.ReflectValue.IsNil() && stmt.ReflectValue.CanAddr() {
			stmt.ReflectValue.Set(reflect.New(stmt.ReflectValue.Type().Elem()))
		}
		stmt.ReflectValue = stmt.ReflectValue.Elem()
	}
	return tx
}

// outcome is what a program sees of a scan.
type outcome struct {
	dest  any
	rows  int64
	err   string
	panic string
}

// run scans, and catches what panics.
func run(tx *gorm.DB, scan func(*gorm.DB)) (o outcome) {
	defer func() {
		if p := recover(); p != nil {
			o.panic = fmt.Sprint(p)
		}
		o.dest, o.rows = tx.Statement.Dest, tx.RowsAffected
		if tx.Error != nil {
			o.err = tx.Error.Error()
			o.dest = nil // GORM leaves in it what its pools had
		}
	}()
	scan(tx)
	return o
}

// byGORM scans a payload as every result was scanned once.
func byGORM(t require.TestingT, payload []byte) func(*gorm.DB) {
	return func(tx *gorm.DB) {
		src, err := rowset.Decode(payload)
		require.NoError(t, err)
		rows, err := rowset.Rows(src)
		require.NoError(t, err)
		gorm.Scan(rows, tx, 0)
		_ = tx.AddError(rows.Close()) // which does not return after a panic
	}
}

// byPlan scans a payload as callbacks do, and notes whether there was a plan for it.
func byPlan(t require.TestingT, plans *Plans, layouts *rowset.Layouts, payload []byte, planned *bool) func(*gorm.DB) {
	return func(tx *gorm.DB) {
		src, err := layouts.Decode(payload)
		require.NoError(t, err)
		if *planned = plans.Into(tx, src); *planned {
			return
		}
		rows, err := rowset.Rows(src)
		require.NoError(t, err)
		gorm.Scan(rows, tx, 0)
		_ = tx.AddError(rows.Close()) // which does not return after a panic
	}
}

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
	// loud is one that panics.
	loud struct{ N int64 }
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
}

// drawStruct draws a type and the names of columns for it.
func drawStruct(t *rapid.T) (reflect.Type, []string) {
	var fields []reflect.StructField
	var names []string
	for i := range rapid.IntRange(1, 6).Draw(t, "fields") {
		field := reflect.StructField{Name: fmt.Sprintf("F%d", i), Type: rapid.SampledFrom(fieldTypes).Draw(t, "type")}
		names = append(names, fmt.Sprintf("f%d", i))
		switch rapid.IntRange(0, 12).Draw(t, "special") {
		case 0:
			field.Type, field.Tag = reflect.TypeFor[embedded](), reflect.StructTag(fmt.Sprintf(`gorm:"embedded;embeddedPrefix:e%d_"`, i))
			names = append(names[:len(names)-1], fmt.Sprintf("e%d_inner", i), fmt.Sprintf("e%d_word", i))
		case 1:
			field.Type, field.Tag = reflect.TypeFor[*prefixed](), reflect.StructTag(fmt.Sprintf(`gorm:"embedded;embeddedPrefix:p%d_"`, i))
			names = append(names[:len(names)-1], fmt.Sprintf("p%d_inner", i), fmt.Sprintf("p%d_at", i))
		case 2:
			field.Type, field.Tag = reflect.TypeFor[[]string](), `gorm:"serializer:json"`
		case 3:
			field.Tag = `gorm:"->:false;<-"`
		case 4:
			field.Type, field.Tag = reflect.TypeFor[int64](), `gorm:"serializer:unixtime"`
		}
		fields = append(fields, field)
	}
	names = rapid.Permutation(names).Draw(t, "columns")
	switch rapid.IntRange(0, 15).Draw(t, "odd columns") {
	case 0:
		names = append(names, "unknown")
	case 1:
		names = append(names, names[0])
	case 2:
		names = append(names, "Other__name")
	case 3:
		names = names[:1]
	}
	return reflect.StructOf(fields), names
}

var instant = time.Date(2026, 2, 3, 4, 5, 6, 789_000_000, time.UTC)

// drawFor draws a value, mostly one that a column of the type might have.
func drawFor(t *rapid.T) driver.Value {
	return rapid.SampledFrom([]driver.Value{
		nil, nil, true, false, int64(0), int64(1), int64(-1), int64(127), int64(300), int64(math.MaxInt64), int64(1 << 53), int64(1<<53 + 1),
		uint64(1), uint64(math.MaxUint64), 0.5, 1.0, 1 + 1.0/(1<<24), 1e300, float32(0.1), float32(3),
		"", "1", "-12", "300", "true", "1.5", "word", strings.Repeat("long ", 300), `["a","b"]`, "1e400", "0x10",
		[]byte("1"), []byte("bytes"), []byte{}, []byte(nil), []byte(`["c"]`), []byte("t"),
		instant, instant.In(time.FixedZone("X", 3600)), instant.In(time.Local),
	}).Draw(t, "value")
}

func drawRows(t *rapid.T, columns int) [][]driver.Value {
	// Columns mostly are of one kind.
	common := make([]driver.Value, columns)
	for i := range common {
		common[i] = drawFor(t)
	}
	rows := make([][]driver.Value, rapid.SampledFrom([]int{0, 1, 1, 2, 5, 40}).Draw(t, "rows"))
	for i := range rows {
		row := append([]driver.Value(nil), common...)
		if rapid.IntRange(0, 2).Draw(t, "other") == 0 {
			row[rapid.IntRange(0, columns-1).Draw(t, "which")] = drawFor(t)
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

func TestAPlanDoesWhatGORMDoes(t *testing.T) {
	db := open(t)
	var plans Plans
	var layouts rowset.Layouts
	tried, planned := 0, 0
	rapid.Check(t, func(t *rapid.T) {
		var element reflect.Type
		var names []string
		if rapid.IntRange(0, 3).Draw(t, "scalar") == 0 {
			element, names = rapid.SampledFrom(fieldTypes).Draw(t, "type"), []string{"n"}
		} else {
			element, names = drawStruct(t)
		}
		kept := payload(t, names, drawRows(t, len(names)))
		dest := drawDest(t, element)
		var model any
		if rapid.IntRange(0, 3).Draw(t, "other model") == 0 {
			model = &embedded{}
		}
		oneRow := rapid.Bool().Draw(t, "must be found")
		for range 2 { // compiled, and remembered
			first, second := statement(db, model, dest()), statement(db, model, dest())
			if first == nil {
				t.Skip("no model")
			}
			first.Statement.RaiseErrorOnNotFound, second.Statement.RaiseErrorOnNotFound = oneRow, oneRow
			want := run(first, byGORM(t, kept))
			var direct bool
			got := run(second, byPlan(t, &plans, &layouts, kept, &direct))
			if !reflect.DeepEqual(want, got) {
				fmt.Printf("ROWS %v %T direct=%v\nWANT %+v %+v\nGOT  %+v %+v\n", names, first.Statement.Dest, direct, want, want.dest, got, got.dest)
			}
			require.Equal(t, want, got)
			requireSameCapacity(t, want.dest, got.dest)
			tried++
			if direct {
				planned++
			}
		}
	})
	t.Logf("%d of %d had a plan", planned, tried)
	require.Greater(t, planned, tried/8)
}

// requireSameCapacity holds where the caller had made room: what is behind the end of
// a slice is its, too.
func requireSameCapacity(t require.TestingT, want, got any) {
	w, g := reflect.ValueOf(want), reflect.ValueOf(got)
	if !w.IsValid() || w.Elem().Kind() != reflect.Slice {
		return
	}
	w, g = w.Elem(), g.Elem()
	if w.Len() < g.Cap() && w.Cap() == g.Cap() {
		require.Equal(t, w.Slice(0, w.Cap()).Interface(), g.Slice(0, g.Cap()).Interface())
	}
}
