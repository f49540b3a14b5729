package conj

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// schemeName is how a column stands in a scheme: with its kind, so that a
// process which still takes the column for another type, because somebody else
// has altered the table, finds a scheme that it can't serve and drops the table
// instead of looking for a key that nobody has. No name holds the separator,
// which sorts before all others.
func (c Column) schemeName() string {
	return c.Name + "\x00" + string(rune('A'+c.Kind))
}

// Typed returns the columns that a scheme names, with their kinds, in the
// scheme's order. It is false for a text that Conjunction does not make, and
// for a kind that this version doesn't know. It is for tools that have no
// database to ask.
func (s Scheme) Typed() ([]Column, bool) {
	names := s.Columns()
	if names == nil && s != "" {
		return nil, false
	}
	columns := make([]Column, len(names))
	for i, name := range names {
		column, kind, ok := strings.Cut(name, "\x00")
		r, size := utf8.DecodeRuneInString(kind)
		if !ok || size != len(kind) || r < 'A' || r > 'A'+rune(Label) {
			return nil, false
		}
		columns[i] = Column{Name: column, Kind: Kind(r - 'A')}
	}
	return columns, true
}

// SchemeColumns returns the indexes of a scheme's columns in the scheme's order;
// false if the table has not all of them, of the same kinds.
func (t *Table) SchemeColumns(s Scheme) ([]int, bool) {
	names := s.Columns()
	if names == nil && s != "" {
		return nil, false
	}
	columns := make([]int, len(names))
	for n, name := range names {
		column, _, _ := strings.Cut(name, "\x00")
		i, ok := t.exact[column]
		if !ok || t.columns[i].schemeName() != name {
			return nil, false
		}
		columns[n] = i
	}
	return columns, true
}

// Conjunction returns the conjunction of equalities on some columns, given by
// index, with their canonical values.
func (t *Table) Conjunction(columns []int, values []Value) Conjunction {
	order := make([]int, len(columns))
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(a, b int) int {
		return strings.Compare(t.columns[columns[a]].schemeName(), t.columns[columns[b]].schemeName())
	})
	c := Conjunction{}
	names := make([]string, len(order))
	sorted := make([]Value, len(order))
	for n, i := range order {
		column := t.columns[columns[i]]
		names[n], sorted[n] = column.schemeName(), values[i]
		c.Terms = append(c.Terms, BoundTerm{Column: column.Name, Value: values[i]})
	}
	c.Scheme = MakeScheme(names)
	c.Key = MakeKey(t.ID, c.Scheme, sorted)
	return c
}

// Scheme is the set of columns that a conjunction names, sorted and encoded
// so that two sets never share a Scheme. The empty Scheme is that of the
// empty conjunction: the whole table. Conjunction and scheme are cacheops'
// terms.
type Scheme string

// MakeScheme returns the scheme of a set of names, in any order.
func MakeScheme(columns []string) Scheme {
	if len(columns) == 0 {
		return ""
	}
	sorted := slices.Clone(columns)
	slices.Sort(sorted)
	var b strings.Builder
	for _, name := range slices.Compact(sorted) {
		b.WriteString(strconv.Itoa(len(name)))
		b.WriteByte(':')
		b.WriteString(name)
	}
	return Scheme(b.String())
}

// Columns returns the names in the scheme, sorted. It returns nil for the empty
// scheme, and for a text that [MakeScheme] does not make.
func (s Scheme) Columns() []string {
	var columns []string
	for rest := string(s); rest != ""; {
		size, tail, ok := strings.Cut(rest, ":")
		n, err := strconv.Atoi(size)
		if !ok || err != nil || n < 0 || n > len(tail) {
			return nil
		}
		columns = append(columns, tail[:n])
		rest = tail[n:]
	}
	if MakeScheme(columns) != s {
		return nil
	}
	return columns
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
