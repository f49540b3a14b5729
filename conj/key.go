package conj

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"slices"
	"strings"
)

// schemeName is how a column stands in a scheme: with its kind, so that a
// process which still takes the column for another type, because somebody else
// has altered the table, finds a scheme that it can't serve and drops the table
// instead of looking for a key that nobody has. No name holds the separator,
// which sorts before all others.
func (c Column) schemeName() string {
	return c.Name + "\x00" + string(rune('A'+c.Kind))
}

// Conjunction returns the conjunction of equalities on some columns, given by
// index, with their canonical values, for those who may use all columns.
func (t *Table) Conjunction(columns []int, values []Value) Conjunction {
	names := make([]string, len(columns))
	for i, column := range columns {
		names[i] = t.columns[column].schemeName()
	}
	return t.conjunction(columns, values, MakeScheme(names))
}

// conjunction is Conjunction for a scheme of these columns.
func (t *Table) conjunction(columns []int, values []Value, s Scheme) Conjunction {
	order := make([]int, len(columns))
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(a, b int) int {
		return strings.Compare(t.columns[columns[a]].schemeName(), t.columns[columns[b]].schemeName())
	})
	c := Conjunction{Scheme: s}
	sorted := make([]Value, len(order))
	for n, i := range order {
		sorted[n] = values[i]
		c.Terms = append(c.Terms, BoundTerm{Column: t.columns[columns[i]].Name, Value: values[i]})
	}
	c.Key = MakeKey(t.ID, s, sorted)
	return c
}

// Key names a conjunction: a table, a scheme and a value for each of its
// columns, in 128 bits.
type Key [16]byte

// KeyFormat names the form of keys and values, and is hashed into every key. A change of any canonical form must
// change it, so that processes of both versions never share a key by chance.
const KeyFormat = "cacheplugin/key/1"

// MakeKey returns the key of a conjunction. The values are in the order of
// the scheme's columns.
func MakeKey(tableID string, s Scheme, values []Value) Key {
	b := make([]byte, 0, 256)
	b = append(b, KeyFormat...)
	b = appendText(b, tableID)
	b = appendText(b, string(s))
	for _, v := range values {
		b = appendText(b, string(v))
	}
	sum := sha256.Sum256(b)
	return Key(sum[:16])
}

// String returns the key in hexadecimal digits.
func (k Key) String() string { return hex.EncodeToString(k[:]) }

// appendText appends a length and the text, so that texts in a row can't be
// cut in another way.
func appendText(dst []byte, s string) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(s)))
	return append(dst, s...)
}
