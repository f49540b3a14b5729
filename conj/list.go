package conj

import (
	"encoding/binary"
	"strconv"
	"strings"
)

// listPrefix begins the scheme of lists. No other scheme begins with a letter.
const listPrefix = "list:"

// ListScheme returns the scheme of the lists that hold the rows of a table with equal
// values in some columns, given by index, and tell them apart by a column of whole
// numbers. id distinguishes lists that differ in anything else; it must not contain a
// colon. A row is part of one list of each such scheme, and no conjunction's.
func (t *Table) ListScheme(id string, by []int, key int) Scheme {
	names := make([]string, len(by))
	for i, column := range by {
		names[i] = t.columns[column].schemeName()
	}
	grouping := string(MakeScheme(names))
	return Scheme(listPrefix + id + ":" + strconv.Itoa(len(grouping)) + ":" + grouping + t.columns[key].schemeName())
}

// Lists reports whether a scheme is that of lists.
func (s Scheme) Lists() bool { return strings.HasPrefix(string(s), listPrefix) }

// ListedBy returns the columns by whose values lists of a scheme are asked for, with their
// kinds, as [Scheme.Typed] does; false of any other scheme.
func (s Scheme) ListedBy() ([]Column, bool) {
	by, _, ok := s.listParts()
	if !ok {
		return nil, false
	}
	return by.Typed()
}

// listParts returns the scheme of the columns that lists are told by, and the name of the
// one that tells their rows apart.
func (s Scheme) listParts() (by Scheme, key string, ok bool) {
	rest, ok := strings.CutPrefix(string(s), listPrefix)
	if !ok {
		return "", "", false
	}
	_, rest, _ = strings.Cut(rest, ":")
	size, rest, _ := strings.Cut(rest, ":")
	n, err := strconv.Atoi(size)
	if err != nil || n < 0 || n > len(rest) {
		return "", "", false
	}
	return Scheme(rest[:n]), rest[n:], true
}

// ListColumns returns the indexes of the columns that a row's list is told by, in the
// order that [Table.ListKey] takes values in, and of the one that tells the list's rows
// apart; false if the table has not all of them, of the same kinds, or if the scheme is
// not that of lists.
func (t *Table) ListColumns(s Scheme) (by []int, key int, ok bool) {
	columns, rowKey, ok := s.listParts()
	if !ok {
		return nil, 0, false
	}
	if by, ok = t.SchemeColumns(columns); !ok {
		return nil, 0, false
	}
	name, _, _ := strings.Cut(rowKey, "\x00")
	key, ok = t.exact[name]
	if !ok || t.columns[key].schemeName() != rowKey || t.columns[key].Kind != Integer {
		return nil, 0, false
	}
	return by, key, true
}

// ListKey returns the key of the list of a scheme whose rows have these values in the
// scheme's columns.
func (t *Table) ListKey(s Scheme, values []Value) Key { return MakeKey(t.ID, s, values) }

// ListRow returns the list of a scheme that a row is part of, and the number that the
// row has in it. It is false if the image doesn't know them, or if the number is beyond
// an int64; then only dropping the whole table is safe.
func (t *Table) ListRow(img Image, s Scheme) (list Key, row int64, ok bool) {
	by, key, ok := t.ListColumns(s)
	if !ok {
		return Key{}, 0, false
	}
	values := make([]Value, len(by))
	for n, i := range by {
		if i >= len(img) || img[i] == "" || img[i] == NotNull {
			return Key{}, 0, false
		}
		values[n] = img[i]
	}
	if key >= len(img) {
		return Key{}, 0, false
	}
	digits, known := strings.CutPrefix(string(img[key]), "=")
	row, err := strconv.ParseInt(digits, 10, 64)
	if !known || err != nil {
		return Key{}, 0, false
	}
	return t.ListKey(s, values), row, true
}

// Ordered spells a whole number in 8 bytes that sort as the numbers do.
func Ordered(n int64) string {
	var b [8]byte
	binary.BigEndian.PutUint64(b[:], uint64(n)^1<<63)
	return string(b[:])
}

// FromOrdered returns the number that [Ordered] has spelled; false for anything else.
func FromOrdered(s string) (int64, bool) {
	if len(s) != 8 {
		return 0, false
	}
	return int64(binary.BigEndian.Uint64([]byte(s)) ^ 1<<63), true
}
