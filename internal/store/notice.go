package store

import (
	"encoding/base64"
	"strconv"
	"strings"

	"github.com/cacheplugin/cacheplugin/conj"
)

// Notice is what the script of an invalidation, or of a fence, has told those
// who keep results in their own memory: what it has dropped. It comes when that
// is done, if it comes at all: Redis keeps no messages for those who are away.
type Notice struct {
	// Table is where something was dropped; empty for everything.
	Table string
	// Keys are the conjunctions; nil for all of the table.
	Keys []conj.Key
}

// Channel is the channel of a namespace's notices. Its name begins as those of
// the namespace's keys do, for ACL's sake.
func (s *Store) Channel() string { return s.keys.tag + "e:" }

// ReadNotice reads a message of Channel. One that it doesn't understand, since
// another release sends it, says that everything was dropped.
func (s *Store) ReadNotice(message string) Notice {
	if message == "" {
		return Notice{}
	}
	op, rest := message[0], message[1:]
	size, rest, ok := strings.Cut(rest, ":")
	n, err := strconv.Atoi(size)
	if !ok || err != nil || n < 0 || n > len(rest) {
		return Notice{}
	}
	key, names := rest[:n], rest[n:]
	kind, table := s.keys.classify(key)
	if kind != tableKey {
		return Notice{}
	}
	switch {
	case op == 't' && names == "":
		return Notice{Table: table}
	case op == 'k' && len(names)%encodedLen == 0:
		notice := Notice{Table: table, Keys: make([]conj.Key, 0, len(names)/encodedLen)}
		for ; names != ""; names = names[encodedLen:] {
			key, ok := decode[conj.Key](names[:encodedLen])
			if !ok {
				return Notice{Table: table}
			}
			notice.Keys = append(notice.Keys, key)
		}
		return notice
	}
	return Notice{}
}

// decode is the reverse of encode.
func decode[K ~[16]byte](name string) (K, bool) {
	var raw [16]byte
	n, err := base64.RawURLEncoding.Decode(raw[:], []byte(name))
	return K(raw), err == nil && n == len(raw)
}
