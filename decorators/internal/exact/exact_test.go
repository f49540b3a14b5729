package exact_test

import (
	"math"
	"math/big"
	"net/netip"
	"reflect"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"gorm.io/gorm"
	"pgregory.net/rapid"

	"github.com/cacheplugin/cacheplugin/decorators/internal/exact"
)

type level uint8

type node struct {
	Name     string
	Children []*node
	Next     *node
}

type model struct {
	ID        uint `json:"-"`
	Name      *string
	Age       *int
	Score     float64
	Levels    []level
	Bytes     []byte
	Fixed     [3]int16
	None      [0]int
	Empty     struct{}
	Tags      map[string][]string
	Born      time.Time
	DeletedAt gorm.DeletedAt
	Tree      node
	Free      any
	Row       map[string]any
	_         int
	Addr      netip.Addr
	Complex   complex64
}

func ptr[T any](v T) *T { return &v }

func roundTrip[T any](t require.TestingT, v T) T {
	require.NoError(t, exact.Check(reflect.TypeFor[T]()))
	data, err := exact.Marshal(&v)
	require.NoError(t, err)
	var back T
	require.NoError(t, exact.Unmarshal(data, &back))
	return back
}

func TestValuesComeBackAsTheyWere(t *testing.T) {
	for name, v := range map[string]model{
		"zero":                     {},
		"pointers to zero":         {Name: ptr(""), Age: ptr(0), Tree: node{Next: &node{}}},
		"nil":                      {Levels: nil, Bytes: nil, Tags: nil},
		"empty":                    {Levels: []level{}, Bytes: []byte{}, Tags: map[string][]string{}, Row: map[string]any{}},
		"nil inside":               {Tags: map[string][]string{"a": nil, "b": {}}, Tree: node{Children: []*node{nil, {}}}},
		"hidden from JSON":         {ID: 7},
		"extremes":                 {Score: math.Inf(-1), Age: ptr(math.MinInt), ID: math.MaxUint},
		"named bytes":              {Levels: []level{0, 255}},
		"UTC":                      {Born: time.Date(2001, 2, 3, 4, 5, 6, 7, time.UTC)},
		"another zone":             {Born: time.Date(2001, 2, 3, 4, 5, 6, 7, time.FixedZone("", 5400))},
		"deleted":                  {DeletedAt: gorm.DeletedAt{Valid: true, Time: time.Unix(0, 0).UTC()}},
		"an interface":             {Free: int32(5)},
		"a tree in an interface":   {Free: []any{nil, "x", uint8(1), map[string]any{"a": []any{}}}},
		"a row":                    {Row: map[string]any{"id": int64(1), "at": time.Unix(1, 0).UTC(), "raw": []byte{}, "null": nil}},
		"a binary marshaler":       {Addr: netip.MustParseAddr("::1%eth0")},
		"a negative complex":       {Complex: complex(-1, 2)},
		"unused blank is left out": {Fixed: [3]int16{-1, 0, 1}},
	} {
		t.Run(name, func(t *testing.T) { require.Equal(t, v, roundTrip(t, v)) })
	}
	large, _ := new(big.Int).SetString("123456789012345678901234567890", 10)
	require.Zero(t, large.Cmp(ptr(roundTrip(t, *large))), "a text marshaler")
	require.True(t, math.IsNaN(roundTrip(t, math.NaN())))
	require.True(t, math.Signbit(roundTrip(t, math.Copysign(0, -1))))
}

func TestRandomValuesComeBackAsTheyWere(t *testing.T) {
	type plain struct {
		A int
		B *string
		C []uint16
		D map[int8]*float32
		E []struct {
			F []byte
			G [2]bool
			H ***int
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		v := rapid.Make[plain]().Draw(t, "value")
		require.Equal(t, v, roundTrip(t, v))
	})
}

func TestResultSharesNothingWithTheData(t *testing.T) {
	v := []byte("abc")
	data, err := exact.Marshal(&v)
	require.NoError(t, err)
	var back []byte
	require.NoError(t, exact.Unmarshal(data, &back))
	clear(data)
	require.Equal(t, "abc", string(back))
}

type inherits struct {
	time.Time
	Name string
}

type wraps struct{ time.Time }

type hidden struct{ n int }

func TestTypesThatWouldLoseSomethingAreRefused(t *testing.T) {
	for name, c := range map[string]struct {
		t     reflect.Type
		where string
	}{
		"a channel":                 {reflect.TypeFor[struct{ C chan int }](), ".C is a chan"},
		"a function":                {reflect.TypeFor[[]func()](), "[] is a func"},
		"an unexported field":       {reflect.TypeFor[map[string]hidden](), "[].n is not exported"},
		"an interface with methods": {reflect.TypeFor[error](), "interface type error"},
		"an inherited encoding":     {reflect.TypeFor[*inherits](), "embeds time.Time"},
	} {
		t.Run(name, func(t *testing.T) {
			err := exact.Check(c.t)
			require.ErrorIs(t, err, exact.ErrType)
			require.ErrorContains(t, err, c.where)
		})
	}
	require.NoError(t, exact.Check(reflect.TypeFor[wraps]()))
	require.NoError(t, exact.Check(reflect.TypeFor[node]()), "recursive")
}

func TestValuesThatCantBeEncodedAreErrors(t *testing.T) {
	cycle := &node{}
	cycle.Next = cycle
	_, err := exact.Marshal(&cycle)
	require.ErrorIs(t, err, exact.ErrValue)
	_, err = exact.AppendKey(nil, cycle)
	require.ErrorIs(t, err, exact.ErrValue)
	var held any = hidden{}
	_, err = exact.Marshal(&held)
	require.ErrorIs(t, err, exact.ErrValue)
	require.ErrorContains(t, err, "exact_test.hidden")
	_, err = exact.Marshal(5)
	require.ErrorIs(t, err, exact.ErrValue)
}

func TestKeysDifferWhereValuesOrTypesDo(t *testing.T) {
	type pair struct{ A, B string }
	type riap struct{ A, B string }
	seen := map[string]any{}
	for _, v := range []any{
		nil, 0, 1, int64(0), uint(0), level(0), "", "0", []byte("0"), []byte(nil), []byte{}, false, 0.0, float32(0),
		pair{"a", "b"}, pair{"ab", ""}, pair{"", "ab"}, riap{"a", "b"}, []any{}, []any{nil}, []any{1}, []any{"1"}, []any{[]any{1}},
		hidden{1}, hidden{2}, &hidden{1}, (*hidden)(nil), []string{"a", "b"}, []string{"ab"}, [2]string{"a", "b"},
		map[string]int{}, map[string]int{"a": 1}, map[string]int{"a": 1, "b": 2}, map[string]int(nil),
		time.Unix(0, 0).UTC(), time.Unix(0, 1).UTC(), struct{ E error }{}, struct{ E error }{E: errno(3)},
	} {
		key, err := exact.AppendKey(nil, v)
		require.NoError(t, err, "%#v", v)
		require.NotContains(t, seen, string(key), "%#v", v)
		seen[string(key)] = v
	}
}

type errno int

func (errno) Error() string { return "" }

func TestKeysAreStable(t *testing.T) {
	// A key that changes from build to build makes an explicit invalidation
	// miss what another build has stored.
	key, err := exact.AppendKey(nil, map[string]int{"b": 2, "a": 1, "c": 3})
	require.NoError(t, err)
	require.Equal(t, []byte{1, 0x57, 0xb0, 0xdc, 0x3c, 0x92, 0x22, 0x6e, 0x89, 4, 1, 'a', 2, 1, 'b', 4, 1, 'c', 6}, key)
	for range 20 {
		again, err := exact.AppendKey(nil, map[string]int{"a": 1, "b": 2, "c": 3})
		require.NoError(t, err)
		require.Equal(t, key, again)
	}
}

func TestKeysOfTypesWithoutAFormAreRefused(t *testing.T) {
	for name, v := range map[string]any{
		"a channel":               make(chan int),
		"inside an interface":     []any{func() {}},
		"a hidden marshaler":      struct{ at time.Time }{},
		"a field behind a method": struct{ E error }{E: withFunc{}},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := exact.AppendKey(nil, v)
			require.ErrorIs(t, err, exact.ErrType)
		})
	}
}

type withFunc struct{ F func() }

func (withFunc) Error() string { return "" }

func TestFingerprintsTellTypesApart(t *testing.T) {
	type a struct{ X, Y int }
	type b struct{ Y, X int }
	prints := map[[8]byte]reflect.Type{}
	for _, typ := range []reflect.Type{
		reflect.TypeFor[a](), reflect.TypeFor[b](), reflect.TypeFor[*a](), reflect.TypeFor[[]a](), reflect.TypeFor[[1]a](),
		reflect.TypeFor[struct{ X, Y int }](), reflect.TypeFor[int](), reflect.TypeFor[level](), reflect.TypeFor[uint8](),
		reflect.TypeFor[time.Time](), reflect.TypeFor[node](), reflect.TypeFor[any](), reflect.TypeFor[map[string]any](),
	} {
		print := exact.Fingerprint(typ)
		require.NotContains(t, prints, print, typ)
		prints[print] = typ
		require.Equal(t, print, exact.Fingerprint(typ))
	}
}

func TestCorruptDataIsAnError(t *testing.T) {
	v := model{Name: ptr("x"), Tags: map[string][]string{"a": {"b"}}, Row: map[string]any{"c": "d"}, Born: time.Unix(1, 2)}
	data, err := exact.Marshal(&v)
	require.NoError(t, err)
	for n := range data {
		var back model
		require.ErrorIs(t, exact.Unmarshal(data[:n], &back), exact.ErrCorrupt, "cut at %d", n)
	}
	var back model
	require.ErrorIs(t, exact.Unmarshal(append(data, 0), &back), exact.ErrCorrupt)
	var huge [][1 << 16]float64
	require.ErrorIs(t, exact.Unmarshal([]byte{0xff, 0x01, 1, 2, 3}, &huge), exact.ErrCorrupt)
}

func FuzzUnmarshal(f *testing.F) {
	for _, v := range []model{{}, {Name: ptr("x"), Free: []any{1, "a"}, Tags: map[string][]string{"a": {"b"}}, Tree: node{Children: []*node{{}}}}} {
		data, err := exact.Marshal(&v)
		require.NoError(f, err)
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		var v model
		if err := exact.Unmarshal(data, &v); err != nil {
			return
		}
		// What can be read can be written, and is read again as the same.
		again, err := exact.Marshal(&v)
		require.NoError(t, err)
		var back model
		require.NoError(t, exact.Unmarshal(again, &back))
		third, err := exact.Marshal(&back)
		require.NoError(t, err)
		require.Equal(t, again, third)
	})
}
