package main

import (
	"encoding/hex"
	"fmt"
	"math"
	"net"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/cacheplugin/cacheplugin/conj"
)

func splitAddr(t *testing.T, addr string) (host, port string) {
	t.Helper()
	host, port, err := net.SplitHostPort(addr)
	require.NoError(t, err)
	return host, port
}

// A value that is given as text must reach the conjunctions that a query made
// with that value, whatever the database and the type that the query used.
func TestATextReachesEveryFormOfItsValue(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		d := rapid.SampledFrom([]conj.Dialect{conj.PostgreSQL, conj.MySQL, conj.SQLite}).Draw(rt, "dialect")
		kind := conj.Kind(rapid.IntRange(int(conj.Opaque), int(conj.Label)).Draw(rt, "kind"))
		column := conj.Column{Name: "c", Kind: kind}
		var text string
		var params []any
		switch kind {
		case conj.Integer:
			n := rapid.OneOf(rapid.Int64(), rapid.Int64Range(-100, 100), rapid.Just(int64(math.MaxInt64))).Draw(rt, "n")
			text = fmt.Sprint(n)
			params = []any{n, text, []byte(text), float64(n)}
			if int64(float64(n)) != n || n > 1<<53 || n < -1<<53 {
				params = params[:3]
			}
		case conj.Boolean:
			b := rapid.Bool().Draw(rt, "b")
			text = rapid.SampledFrom(map[bool][]string{true: {"true", "1", "t"}, false: {"false", "0", "f"}}[b]).Draw(rt, "text")
			params = []any{b, map[bool]int64{true: 1}[b]}
		case conj.Decimal:
			text = fmt.Sprintf("%d.%02d", rapid.IntRange(-10000, 10000).Draw(rt, "whole"), rapid.IntRange(0, 99).Draw(rt, "fraction"))
			params = []any{text, text + "0", []byte(text)}
		case conj.UUID:
			raw := rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(rt, "uuid")
			text = hex.EncodeToString(raw)
			params = []any{text, strings.ToUpper(text), [16]byte(raw)}
		case conj.Bytes:
			raw := rapid.SliceOf(rapid.Byte()).Draw(rt, "bytes")
			text = rapid.SampledFrom([]string{`\x`, "0x"}).Draw(rt, "prefix") + hex.EncodeToString(raw)
			params = []any{raw}
		case conj.Opaque:
			text = rapid.String().Draw(rt, "text")
			params = []any{text}
		default:
			text = rapid.String().Draw(rt, "text")
			params = []any{text, []byte(text)}
		}
		found, ok := canonical(column, text)
		if !ok {
			return // the whole table is dropped
		}
		for _, param := range params {
			for _, v := range []conj.Value{column.FromRow(d, param), column.FromParam(d, param)} {
				if v != "" {
					require.Contains(rt, found, v, "%s %s: %q and %#v", d, kind, text, param)
				}
			}
		}
	})
}

func TestNullIsAWordAndNoValue(t *testing.T) {
	found, ok := canonical(conj.Column{Kind: conj.Text}, "null")
	require.True(t, ok)
	require.Contains(t, found, conj.Null)
	require.Contains(t, found, conj.Value("=null"))
	found, ok = canonical(conj.Column{Kind: conj.Integer}, "null")
	require.True(t, ok)
	require.Contains(t, found, conj.Null)
	found, ok = canonical(conj.Column{Kind: conj.Opaque}, "2020-01-01")
	require.True(t, ok)
	require.NotContains(t, found, conj.Null)
}

func TestWhatCannotBeToldDropsTheTable(t *testing.T) {
	scheme := func(columns ...conj.Column) conj.Scheme {
		table := conj.NewTable("t", "t", columns)
		index, values := make([]int, len(columns)), make([]conj.Value, len(columns))
		for i := range columns {
			index[i], values[i] = i, "=1"
		}
		return table.Conjunction(index, values).Scheme
	}
	id := conj.Column{Name: "id", Kind: conj.Integer}
	word := conj.Column{Name: "id", Kind: conj.Text}
	for name, test := range map[string]struct {
		rows    condition
		schemes []conj.Scheme
		keys    int
		reason  string
	}{
		"the whole table needs no column":       {condition{"id": {"1"}}, []conj.Scheme{""}, 1, ""},
		"each value":                            {condition{"id": {"1", "2"}}, []conj.Scheme{scheme(id)}, 2, ""},
		"each combination":                      {condition{"id": {"1", "2"}, "a": {"x", "y"}}, []conj.Scheme{scheme(id, conj.Column{Name: "a", Kind: conj.Text})}, 4, ""},
		"a column that was another kind before": {condition{"id": {"1"}}, []conj.Scheme{scheme(id), scheme(word)}, 2, ""},
		"a missing column":                      {condition{"id": {"1"}}, []conj.Scheme{scheme(id), scheme(conj.Column{Name: "a"})}, 0, "a, which was not given"},
		"a column's case":                       {condition{"ID": {"1"}}, []conj.Scheme{scheme(id)}, 0, "not given"},
		"no such value":                         {condition{"id": {"1.5.2"}}, []conj.Scheme{scheme(id)}, 0, "integer"},
		"an unknown scheme":                     {condition{"id": {"1"}}, []conj.Scheme{"3:abc"}, 0, "does not understand"},
		"too many":                              {condition{"id": strings.Split(strings.Repeat("1,", 40)+"1", ","), "a": nil}, []conj.Scheme{scheme(id)}, 1, ""},
	} {
		t.Run(name, func(t *testing.T) {
			keys, reason := test.rows.keys("t", test.schemes)
			require.Len(t, keys, test.keys)
			if test.reason == "" {
				require.Empty(t, reason)
			} else {
				require.Contains(t, reason, test.reason)
			}
		})
	}

	rows := condition{"id": nil, "b": nil}
	for i := range 40 {
		rows["id"] = append(rows["id"], fmt.Sprint(i))
		rows["b"] = append(rows["b"], fmt.Sprint(i))
	}
	_, reason := rows.keys("t", []conj.Scheme{scheme(id, conj.Column{Name: "b", Kind: conj.Integer})})
	require.Contains(t, reason, "combinations")
}
