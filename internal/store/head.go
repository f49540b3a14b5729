package store

import (
	"crypto/sha1"
	"encoding/hex"
	"strconv"
	"strings"
	"unsafe"
)

// head is what precedes the payload of a result in Redis. Part entry of package lua
// describes the layout, and takes it apart in scripts.
type head struct {
	version string
	sum     string
	witness string
	names   string // of the conjunctions of joined rows, one after the other
	joined  bool   // they are known; names may be empty
}

// The lengths of what an entry consists of.
const (
	kindLen    = 1
	versionLen = encodedLen // a version is the token of a look-up
	sumLen     = 8
	markLen    = 6 // how a version begins; see part member of package lua
	witnessMax = 256

	witnessAt = kindLen + versionLen + sumLen
	// headLen is the length of what precedes the payload of a result without joined
	// rows, at most.
	headLen = witnessAt + len("256:") + witnessMax
)

// readHead takes a result apart, of which the payload may be missing. It is false
// for anything else.
func readHead(entry string) (h head, payload string, ok bool) {
	if len(entry) < witnessAt || entry[0] != 'V' && entry[0] != 'J' {
		return head{}, "", false
	}
	h.version, h.sum = entry[kindLen:kindLen+versionLen], entry[kindLen+versionLen:witnessAt]
	if h.witness, payload, ok = cutCounted(entry[witnessAt:], 1); !ok || entry[0] == 'V' {
		return h, payload, ok
	}
	h.joined = true
	h.names, payload, ok = cutCounted(payload, encodedLen)
	return h, payload, ok
}

// cutCounted takes as many pieces off a text as the number says that precedes them.
func cutCounted(text string, size int) (pieces, rest string, ok bool) {
	number, rest, ok := strings.Cut(text[:min(len(text), len("12345:"))], ":")
	if !ok {
		return "", "", false
	}
	n, err := strconv.ParseUint(number, 10, 32)
	rest = text[len(number)+len(":"):]
	if err != nil || n*uint64(size) > uint64(len(rest)) {
		return "", "", false
	}
	return rest[:n*uint64(size)], rest[n*uint64(size):], true
}

// isLease reports whether an entry is a result in the making.
func isLease(entry string) bool { return strings.HasPrefix(entry, "L") }

// witness is put together of what vouches for an entry now: the epoch, then of its
// tables and conjunctions the generations and stamps. Part witness of package lua is
// the same in scripts, which see all keys at one moment; where the keys lie in
// several slots, or are read one by one, only the process sees them all.
type witness []byte

func (w witness) add(part string) witness {
	if len(w) > 0 {
		w = append(w, '|')
	}
	return append(w, part...)
}

// String returns the witness as entries have it: a long one as its digest.
func (w witness) String() string {
	if len(w) <= witnessMax {
		return string(w)
	}
	sum := sha1.Sum(w)
	return hex.EncodeToString(sum[:])
}

// vouchesFor reports whether a result was read under this witness.
func (w witness) vouchesFor(h head) bool {
	if h.joined { // its own conjunctions are not in it
		return false
	}
	if len(w) <= witnessMax {
		return string(w) == h.witness
	}
	return w.String() == h.witness
}

// bytesOf returns the bytes of a text without copying it. The text is a reply that
// go-redis has made for this caller alone, in memory of its own, so that nobody else
// sees what the caller does to it.
func bytesOf(text string) []byte { return unsafe.Slice(unsafe.StringData(text), len(text)) }
