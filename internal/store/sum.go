package store

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"hash"
	"sync"
)

// The sum of a result binds its payload to the entry's key, to the version (the
// lease that it was stored by) and to the conjunctions that the entry names. Redis
// keeps what it is given; but others may write there, copy a value over another's, or
// restore a part of a dump.
//
// It is SHA-256, cut off: 8 bytes of it are what an entry can afford, and nothing
// that is likely to happen to a value leaves them as they are. It is no signature.

// summer computes sums. It is kept from one to the next for its memory.
type summer struct {
	hash   hash.Hash
	head   []byte
	digest []byte
}

var summers = sync.Pool{New: func() any { return &summer{hash: sha256.New()} }}

// appendSum appends the sum of a result.
func (s *Store) appendSum(dst []byte, key EntryKey, version, names string, payload []byte) []byte {
	m, _ := summers.Get().(*summer)
	defer summers.Put(m)
	// The parts of unknown length are preceded by theirs, but for the last.
	b := append(append(m.head[:0], key[:]...), version...)
	b = append(binary.AppendUvarint(b, uint64(len(s.namespace))), s.namespace...)
	b = append(binary.AppendUvarint(b, uint64(len(names))), names...)
	m.head = b
	m.hash.Reset()
	_, _ = m.hash.Write(b) // never fails
	_, _ = m.hash.Write(payload)
	m.digest = m.hash.Sum(m.digest[:0])
	return append(dst, m.digest[:sumLen]...)
}

// verify checks the sum of a result that is valid otherwise.
func (s *Store) verify(key EntryKey, h head, payload []byte) error {
	var room [sumLen]byte
	if string(s.appendSum(room[:0], key, h.version, h.names, payload)) != h.sum {
		return fmt.Errorf("%w: the value of %s is not what was stored under this key", ErrDamaged, s.keys.entry(key))
	}
	return nil
}
