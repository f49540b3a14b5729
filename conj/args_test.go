package conj_test

import (
	"bytes"
	"database/sql"
	"database/sql/driver"
	"encoding/json"
	"errors"
	"math"
	"reflect"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"gorm.io/gorm"
	"pgregory.net/rapid"

	"github.com/cacheplugin/cacheplugin/conj"
)

type (
	namedInt    int32
	namedUint   uint64
	namedString string
	namedBool   bool
	namedFloat  float64
	namedBytes  []byte
	namedUUID   [16]byte
	status      int
	color       string
	point       struct{ X, Y int }
)

func (s status) String() string { return "active" }
func (c color) String() string  { return "#" + string(c) }

// byValue panics on a nil pointer, as database/sql knows.
type byValue struct{ n int64 }

func (b byValue) Value() (driver.Value, error) { return b.n, nil }

type byPointer struct{ n int64 }

func (b *byPointer) Value() (driver.Value, error) {
	if b == nil {
		return "nobody", nil
	}
	return b.n, nil
}

type endless struct{}

func (e endless) Value() (driver.Value, error) { return e, nil }

var errValue = errors.New("no value")

type failing struct{}

func (failing) Value() (driver.Value, error) { return nil, errValue }

func ptr[T any](v T) *T { return &v }

func TestNormalizeArg(t *testing.T) {
	now := time.Now()
	id := [16]byte{1, 2}
	for _, test := range []struct {
		name string
		in   any
		want any
	}{
		{"nil", nil, nil},
		{"int", 5, int64(5)},
		{"int8", int8(-5), int64(-5)},
		{"uint", uint(5), int64(5)},
		{"uint64 above int64", uint64(math.MaxUint64), uint64(math.MaxUint64)},
		{"uint64 of int64", uint64(math.MaxInt64), int64(math.MaxInt64)},
		{"float32 stays what it is", float32(0.1), float32(0.1)},
		{"float64", 0.1, 0.1},
		{"bool", true, true},
		{"string", "a", "a"},
		{"bytes", []byte("a"), []byte("a")},
		{"no bytes", []byte(nil), nil},
		{"empty bytes", []byte{}, []byte{}},
		{"time", now, now},
		{"raw JSON", json.RawMessage("{}"), json.RawMessage("{}")},
		{"named int", namedInt(5), int64(5)},
		{"named uint", namedUint(math.MaxUint64), uint64(math.MaxUint64)},
		{"named string", namedString("a"), "a"},
		{"named bool", namedBool(true), true},
		{"named float", namedFloat(1.5), 1.5},
		{"named bytes", namedBytes("a"), []byte("a")},
		{"named bytes that are nil", namedBytes(nil), nil},
		{"16 bytes", id, id},
		{"named 16 bytes", namedUUID(id), id},
		{"int with a String method", status(1), conj.Stringer{Value: int64(1), Text: "active"}},
		{"string with a String method", color("f00"), conj.Stringer{Value: "f00", Text: "#f00"}},
		{"pointer", ptr(5), int64(5)},
		{"pointer to pointer", ptr(ptr(namedString("a"))), "a"},
		{"nil pointer", (*int)(nil), nil},
		{"pointer to time", &now, now},
		{"Valuer", byValue{5}, int64(5)},
		{"pointer to Valuer", &byValue{5}, int64(5)},
		{"nil pointer to Valuer", (*byValue)(nil), nil},
		{"Valuer by pointer", &byPointer{5}, int64(5)},
		{"nil Valuer by pointer", (*byPointer)(nil), "nobody"},
		{"sql.NullString", sql.NullString{String: "a", Valid: true}, "a"},
		{"invalid sql.NullString", sql.NullString{String: "a"}, nil},
		{"sql.NullInt16", sql.NullInt16{Int16: 5, Valid: true}, int64(5)},
		{"sql.Null", sql.Null[namedInt]{V: 5, Valid: true}, int64(5)},
		{"gorm.DeletedAt", gorm.DeletedAt{}, nil},
		{"valid gorm.DeletedAt", gorm.DeletedAt{Time: now, Valid: true}, now},
		{"ints", []int{1, 2}, []int64{1, 2}},
		{"named ints", []namedInt{1, 2}, []int64{1, 2}},
		{"uints", []uint64{1, math.MaxUint64}, []any{int64(1), uint64(math.MaxUint64)}},
		{"strings", []namedString{"a"}, []string{"a"}},
		{"bools", []bool{true}, []bool{true}},
		{"floats", []float64{1.5}, []float64{1.5}},
		{"bytes of bytes", [][]byte{{1}, nil}, []any{[]byte{1}, nil}},
		{"Valuers", []byValue{{1}}, []any{int64(1)}},
		{"ids", [][16]byte{id}, []any{id}},
		{"pointers", []*int{ptr(1), nil}, []any{int64(1), nil}},
		{"any", []any{1, "a", nil}, []any{int64(1), "a", nil}},
		{"times", []time.Time{now}, []any{now}},
		{"no slice", []int(nil), nil},
		{"empty slice", []int{}, []int64{}},
		{"pointer to slice", &[]int{1}, []int64{1}},
		{"struct", point{1, 2}, point{1, 2}},
		{"map", map[string]int{"a": 1}, map[string]int{"a": 1}},
		{"other array", [2]int{1, 2}, [2]int{1, 2}},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, err := conj.NormalizeArg(test.in)
			require.NoError(t, err)
			require.Equal(t, test.want, got)
			again, err := conj.NormalizeArg(got)
			require.NoError(t, err)
			if _, ok := got.(conj.Stringer); !ok {
				require.Equal(t, got, again, "normal arguments stay as they are")
			}
		})
	}
}

func TestNormalizeArgFails(t *testing.T) {
	for _, v := range []any{failing{}, []failing{{}}, &failing{}} {
		_, err := conj.NormalizeArg(v)
		require.ErrorIs(t, err, conj.ErrArgument)
		require.ErrorIs(t, err, errValue)
	}
	_, err := conj.NormalizeArg(endless{})
	require.ErrorIs(t, err, conj.ErrArgument)
	type loop *loop
	var self loop
	self = &self
	_, err = conj.NormalizeArg(self)
	require.ErrorIs(t, err, conj.ErrArgument)
}

// TestNormalizeArgAgreesWithDatabaseSQL: what database/sql would hand to a
// driver that has no conversions of its own.
func TestNormalizeArgAgreesWithDatabaseSQL(t *testing.T) {
	for _, v := range []any{
		5, uint8(5), "a", 1.5, true, []byte("a"), namedInt(5), namedString("a"), ptr(5), (*int)(nil), byValue{5}, (*byValue)(nil),
		&byPointer{5}, sql.NullBool{Bool: true, Valid: true}, gorm.DeletedAt{}, namedFloat(1.5), time.Unix(5, 0),
	} {
		want, err := driver.DefaultParameterConverter.ConvertValue(v)
		require.NoError(t, err)
		got, err := conj.NormalizeArg(v)
		require.NoError(t, err)
		require.Equal(t, want, got, "%T", v)
	}
}

func encode(t require.TestingT, v any) []byte {
	n, err := conj.NormalizeArg(v)
	require.NoError(t, err)
	b, ok := conj.AppendArg(nil, n)
	require.True(t, ok, "%T", v)
	return b
}

func TestAppendArgTellsArgumentsApart(t *testing.T) {
	at := time.Date(2024, 2, 29, 12, 0, 0, 0, time.UTC)
	all := []any{
		nil, int64(0), int64(1), uint64(math.MaxUint64), 0.0, math.Copysign(0, -1), 1.0, float32(1), true, false, "", "1", "a", []byte{}, []byte("a"),
		json.RawMessage(nil), json.RawMessage(""), json.RawMessage("a"), [16]byte{}, string(make([]byte, 16)), make([]byte, 16),
		at, at.In(time.FixedZone("", 3600)), at.In(time.FixedZone("x", 3600)), at.Add(time.Nanosecond), time.Time{},
		status(1), color("a"), conj.Stringer{Value: "a", Text: "b"}, conj.Stringer{Value: "ab", Text: ""},
		[]int64{}, []int64{1}, []int64{1, 1}, []string{}, []string{"a"}, []string{"a", ""}, []string{"", "a"}, []bool{true}, []float64{1},
		[]any{}, []any{nil}, []any{int64(1)}, []any{int64(1), "a"}, []any{[]any{}}, []any{[]any{}, nil},
	}
	seen := map[string]int{}
	for i, v := range all {
		b := string(encode(t, v))
		if other, twice := seen[b]; twice {
			t.Errorf("%#v and %#v are one", all[other], v)
		}
		seen[b] = i
	}
}

func TestAppendArgRefusesWhatItDoesNotKnow(t *testing.T) {
	for _, v := range []any{point{}, map[string]int{}, make(chan int), []any{point{}}, conj.Stringer{Value: point{}}, 5, namedString("a")} {
		_, ok := conj.AppendArg(nil, v)
		require.False(t, ok, "%T", v)
	}
}

func TestAppendArgAppends(t *testing.T) {
	b, ok := conj.AppendArg([]byte("before"), "a")
	require.True(t, ok)
	require.True(t, bytes.HasPrefix(b, []byte("before")))
}

func TestAppendArgOfOneTimeIsOne(t *testing.T) {
	now := time.Now()
	require.Equal(t, encode(t, now), encode(t, now.Round(0)), "the monotonic clock is no part of it")
}

// argument draws from what NormalizeArg may return.
func argument() *rapid.Generator[any] {
	text := rapid.StringOfN(rapid.RuneFrom([]rune("ab\x00\x01")), 0, 3, -1)
	plain := rapid.OneOf(
		rapid.Just[any](nil),
		rapid.Map(rapid.Int64Range(-2, 2), func(n int64) any { return n }),
		rapid.Map(rapid.Bool(), func(b bool) any { return b }),
		rapid.Map(text, func(s string) any { return s }),
		rapid.Map(text, func(s string) any { return []byte(s) }),
		rapid.Map(text, func(s string) any { return json.RawMessage(s) }),
		rapid.Map(rapid.Float64Range(0, 1), func(f float64) any { return f }),
	)
	return rapid.OneOf(plain, rapid.Map(rapid.SliceOfN(plain, 0, 3), func(s []any) any { return s }),
		rapid.Map(rapid.SliceOfN(text, 0, 3), func(s []string) any { return s }))
}

// TestArgumentListsAreInjective: a list of arguments is their encodings in a
// row, so that none may be cut in another way.
func TestArgumentListsAreInjective(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		lists := rapid.SliceOfN(rapid.SliceOfN(argument(), 0, 4), 2, 2).Draw(t, "lists")
		var encoded [2][]byte
		for i, list := range lists {
			for _, v := range list {
				var ok bool
				encoded[i], ok = conj.AppendArg(encoded[i], v)
				require.True(t, ok)
			}
		}
		equal := len(lists[0]) == len(lists[1])
		for i := 0; equal && i < len(lists[0]); i++ {
			equal = reflect.DeepEqual(lists[0][i], lists[1][i])
		}
		require.Equal(t, equal, bytes.Equal(encoded[0], encoded[1]))
	})
}

func FuzzAppendArgIsInjective(f *testing.F) {
	f.Add("a", []byte("b"), int64(1), "a", []byte("b"), int64(1))
	f.Add("", []byte{}, int64(0), "s", []byte("x"), int64(-1))
	f.Fuzz(func(t *testing.T, s1 string, b1 []byte, n1 int64, s2 string, b2 []byte, n2 int64) {
		list := func(s string, b []byte, n int64) []byte {
			var dst []byte
			for _, v := range []any{s, b, n, []string{s, string(b)}, []any{b, n}} {
				if raw, ok := v.([]byte); ok && raw == nil {
					v = []byte{}
				}
				dst, _ = conj.AppendArg(dst, v)
			}
			return dst
		}
		same := s1 == s2 && bytes.Equal(b1, b2) && n1 == n2
		if same != bytes.Equal(list(s1, b1, n1), list(s2, b2, n2)) {
			t.Fatalf("%q %q %d and %q %q %d", s1, b1, n1, s2, b2, n2)
		}
	})
}

func FuzzCanonicalFormsNeverPanic(f *testing.F) {
	f.Add("5", uint8(1), uint8(1))
	f.Add("{a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11}", uint8(7), uint8(1))
	f.Fuzz(func(t *testing.T, s string, kind, dialect uint8) {
		c := conj.Column{Kind: conj.Kind(kind)}
		d := conj.Dialect(dialect)
		for _, v := range []any{s, []byte(s)} {
			// A row and a parameter of the same type and bytes are equal anywhere.
			row, param := c.FromRow(d, v), c.FromParam(d, v)
			if row != "" && param != "" && row != param {
				t.Fatalf("%T %q: row %q, parameter %q", v, s, row, param)
			}
		}
	})
}
