package conj_test

import (
	"math"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/cacheplugin/cacheplugin/conj"
)

// The law that ties these forms to what a database deems equal is tested by
// package catalog, on the databases. Here is what needs none.

var dialects = []conj.Dialect{conj.PostgreSQL, conj.MySQL, conj.SQLite}

var allKinds = []conj.Kind{
	conj.Opaque, conj.Integer, conj.Boolean, conj.Decimal, conj.Text, conj.PaddedText, conj.FoldedText,
	conj.UUID, conj.Bytes, conj.Label, conj.Unreadable,
}

func TestNullIsNullInEveryKind(t *testing.T) {
	for _, d := range dialects {
		for _, k := range allKinds {
			c := conj.Column{Name: "c", Kind: k}
			require.Equal(t, conj.Null, c.FromRow(d, nil))
			require.Equal(t, conj.Null, c.FromParam(d, nil))
		}
	}
}

func TestOpaqueRowsAreKnownNotToBeNull(t *testing.T) {
	for _, d := range dialects {
		opaque, unreadable := conj.Column{Kind: conj.Opaque}, conj.Column{Kind: conj.Unreadable}
		for _, v := range []any{int64(1), "", []byte{}, time.Now(), 1.5, struct{}{}} {
			require.Equal(t, conj.NotNull, opaque.FromRow(d, v))
			require.Empty(t, opaque.FromParam(d, v))
			require.Empty(t, unreadable.FromRow(d, v))
			require.Empty(t, unreadable.FromParam(d, v))
		}
	}
}

func TestCanonicalForms(t *testing.T) {
	for _, test := range []struct {
		name string
		d    conj.Dialect
		kind conj.Kind
		row  any // nil: only the parameter is looked at
		want any // a parameter with the same form; nil: the row has none
	}{
		{"binary and text protocol", conj.MySQL, conj.Integer, []byte("42"), int64(42)},
		{"ZEROFILL", conj.MySQL, conj.Integer, []byte("00042"), int64(42)},
		{"zero filled with zeros", conj.MySQL, conj.Integer, []byte("0000"), int64(0)},
		{"negative", conj.MySQL, conj.Integer, []byte("-42"), "-42"},
		{"unsigned", conj.MySQL, conj.Integer, []byte("18446744073709551615"), uint64(math.MaxUint64)},
		{"unsigned in a row", conj.MySQL, conj.Integer, uint64(math.MaxUint64), uint64(math.MaxUint64)},
		{"no number", conj.MySQL, conj.Integer, []byte("x"), nil},
		{"a minus alone", conj.MySQL, conj.Integer, []byte("-"), nil},
		{"a time", conj.MySQL, conj.Integer, time.Now(), nil},
		{"a decimal in digits", conj.MySQL, conj.Decimal, []byte("1.50"), "001.5"},
		{"a decimal by an integer", conj.PostgreSQL, conj.Decimal, "5.00", int64(5)},
		{"a decimal by an unsigned integer", conj.PostgreSQL, conj.Decimal, uint64(7), uint64(7)},
		{"minus zero", conj.PostgreSQL, conj.Decimal, "-0.00", "0"},
		{"a point alone", conj.PostgreSQL, conj.Decimal, ".5", nil},
		{"a long decimal", conj.MySQL, conj.Decimal, []byte("1234567890.123456"), nil},
		{"a long decimal in PostgreSQL", conj.PostgreSQL, conj.Decimal, "1234567890.123456", "1234567890.1234560"},
		{"a float row", conj.PostgreSQL, conj.Decimal, 1.5, nil},
		{"boolean", conj.PostgreSQL, conj.Boolean, true, true},
		{"boolean in SQLite", conj.SQLite, conj.Boolean, int64(1), int64(1)},
		{"boolean text", conj.SQLite, conj.Boolean, "true", nil},
		{"minus zero in SQLite", conj.SQLite, conj.Integer, math.Copysign(0, -1), int64(0)},
		{"infinity in SQLite", conj.SQLite, conj.Integer, math.Inf(1), nil},
		{"malformed text in SQLite", conj.SQLite, conj.Text, "a\xff", nil},
		{"malformed text in MySQL", conj.MySQL, conj.PaddedText, "a\xff", nil},
		{"text in bytes", conj.PostgreSQL, conj.Text, []byte("a"), "a"},
		{"printable ASCII", conj.MySQL, conj.FoldedText, []byte("aB~ "), "Ab~"},
		{"a tab", conj.MySQL, conj.FoldedText, []byte("a\t"), nil},
		{"uuid", conj.PostgreSQL, conj.UUID, "A0EEBC99-9c0b4ef8bb6d6bb9bd380a11", [16]byte{0xa0, 0xee, 0xbc, 0x99, 0x9c, 0x0b, 0x4e, 0xf8, 0xbb, 0x6d, 0x6b, 0xb9, 0xbd, 0x38, 0x0a, 0x11}},
		{"uuid too long", conj.PostgreSQL, conj.UUID, "a0eebc999c0b4ef8bb6d6bb9bd380a1100", nil},
		{"uuid too short", conj.PostgreSQL, conj.UUID, "a0eebc99", nil},
		{"uuid of other digits", conj.PostgreSQL, conj.UUID, "g0eebc999c0b4ef8bb6d6bb9bd380a11", nil},
		{"label", conj.PostgreSQL, conj.Label, "a", "a"},
		{"label by a named string", conj.PostgreSQL, conj.Label, "a", conj.Stringer{Value: "a", Text: "a"}},
		{"integer by a named one", conj.PostgreSQL, conj.Integer, int64(1), conj.Stringer{Value: int64(1), Text: "active"}},
		{"folded text by a named string", conj.MySQL, conj.FoldedText, "a", conj.Stringer{Value: "a", Text: "b"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := conj.Column{Name: "c", Kind: test.kind}
			if test.want == nil {
				require.Empty(t, c.FromRow(test.d, test.row))
				return
			}
			require.NotEmpty(t, c.FromRow(test.d, test.row))
			require.Equal(t, c.FromParam(test.d, test.want), c.FromRow(test.d, test.row))
		})
	}
}

func TestParametersThatDoNotNarrow(t *testing.T) {
	for _, test := range []struct {
		d     conj.Dialect
		kind  conj.Kind
		param any
	}{
		{conj.PostgreSQL, conj.Integer, true},
		{conj.PostgreSQL, conj.Integer, 5.0},
		{conj.PostgreSQL, conj.Integer, "-0"},
		{conj.PostgreSQL, conj.Integer, "+1"},
		{conj.PostgreSQL, conj.Integer, "1_0"},
		{conj.PostgreSQL, conj.Integer, ""},
		{conj.SQLite, conj.Integer, uint64(math.MaxUint64)},
		{conj.SQLite, conj.Integer, "9223372036854775808"},
		{conj.MySQL, conj.Integer, "9007199254740993"},
		{conj.MySQL, conj.Integer, []byte("5")},
		{conj.SQLite, conj.Boolean, int64(2)},
		{conj.PostgreSQL, conj.Boolean, int64(1)},
		{conj.PostgreSQL, conj.Boolean, "true"},
		{conj.PostgreSQL, conj.Decimal, 1.5},
		{conj.PostgreSQL, conj.Decimal, []byte("1.5")},
		{conj.PostgreSQL, conj.Text, int64(5)},
		{conj.PostgreSQL, conj.Text, []byte("a")},
		{conj.PostgreSQL, conj.Text, conj.Stringer{Value: "a", Text: "b"}},
		{conj.PostgreSQL, conj.Text, conj.Stringer{Value: int64(1), Text: "a"}},
		{conj.PostgreSQL, conj.Text, float32(1)},
		{conj.MySQL, conj.FoldedText, int64(0)},
		{conj.MySQL, conj.FoldedText, time.Now()},
		{conj.MySQL, conj.UUID, []byte("0123456789abcdef")},
		{conj.MySQL, conj.UUID, [16]byte{}},
		{conj.PostgreSQL, conj.Bytes, "a"},
		{conj.PostgreSQL, conj.Bytes, []int64{1}},
	} {
		require.Empty(t, conj.Column{Kind: test.kind}.FromParam(test.d, test.param), "%v %v %#v", test.d, test.kind, test.param)
	}
}

func TestLongTextsAreKeptShortAndApart(t *testing.T) {
	c := conj.Column{Kind: conj.Text}
	long, other := strings.Repeat("x", 100_000), strings.Repeat("x", 99_999)+"y"
	require.Equal(t, c.FromParam(conj.PostgreSQL, long), c.FromRow(conj.PostgreSQL, long))
	require.NotEqual(t, c.FromParam(conj.PostgreSQL, long), c.FromRow(conj.PostgreSQL, other))
	require.Less(t, len(c.FromRow(conj.PostgreSQL, long)), 100)
}

func TestNoTextIsTakenForNull(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := conj.Column{Kind: rapid.SampledFrom([]conj.Kind{conj.Text, conj.PaddedText, conj.FoldedText, conj.Bytes}).Draw(t, "kind")}
		text := rapid.String().Draw(t, "text")
		for _, v := range []conj.Value{c.FromRow(conj.MySQL, []byte(text)), c.FromParam(conj.MySQL, text)} {
			require.NotContains(t, []conj.Value{conj.Null, conj.NotNull}, v)
		}
	})
}
