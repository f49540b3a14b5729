package conj

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"slices"
	"strconv"
	"strings"
)

// Scheme is the set of columns that a conjunction names, sorted and encoded
// so that two sets never share a Scheme. The empty Scheme is that of the
// empty conjunction: the whole table. Conjunction and scheme are cacheops'
// terms.
type Scheme string

// MakeScheme returns the scheme of a set of columns, in any order and as the
// database spells them.
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

// Columns returns the scheme's columns, sorted. It returns nil for the empty
// scheme, and for a text that MakeScheme does not make.
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

// keyFormat is hashed into every key. A change of any canonical form must
// change it, so that processes of both versions never share a key by chance.
const keyFormat = "cacheplugin/key/1"

// MakeKey returns the key of a conjunction. The values are in the order of
// the scheme's columns.
func MakeKey(tableID string, s Scheme, values []Value) Key {
	b := make([]byte, 0, 256)
	b = append(b, keyFormat...)
	b = appendText(b, tableID)
	b = appendText(b, string(s))
	for _, v := range values {
		b = appendText(b, string(v))
	}
	sum := sha256.Sum256(b)
	return Key(sum[:16])
}

func (k Key) String() string { return hex.EncodeToString(k[:]) }

// appendText appends a length and the text, so that texts in a row can't be
// cut in another way.
func appendText(dst []byte, s string) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(s)))
	return append(dst, s...)
}
