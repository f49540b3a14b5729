package store

import (
	"encoding/hex"
	"strings"

	"github.com/cacheplugin/cacheplugin/conj"
)

// shards is the number of parts that the entries of a spread namespace lie in,
// each in a slot of its own with an epoch and fences of everything. It bounds
// both how evenly entries spread and what dropping everything costs.
const shards = 256

// keyspace names the keys of a namespace.
//
// In one slot they all begin with the tag {ns}. A spread namespace has a tag for
// each table, {ns{table}, and one for each shard, {ns{xx}: the slot is that of
// what is between the first brace and the first that closes. A namespace has no
// braces, so that no two share a tag, and where a table has the name of a shard
// the keys still differ.
type keyspace struct {
	spread bool
	tag    string // of one slot, {ns}; what begins each tag of a spread one, {ns{
}

func newKeyspace(namespace string, spread bool) keyspace {
	if spread {
		return keyspace{spread: true, tag: "{" + namespace + "{"}
	}
	return keyspace{tag: "{" + namespace + "}"}
}

func (k keyspace) entry(key EntryKey) string {
	var room [96]byte
	return string(k.appendEntry(room[:0], key))
}

func (k keyspace) appendEntry(b []byte, key EntryKey) []byte {
	b = append(b, k.tag...)
	if k.spread {
		b = append(hex.AppendEncode(b, key[:1]), '}')
	}
	return appendEncoded(append(b, "e:"...), key)
}

func (k keyspace) table(table string) string {
	var room [96]byte
	return string(k.appendTable(room[:0], table))
}

func (k keyspace) appendTable(b []byte, table string) []byte {
	b = append(b, k.tag...)
	if k.spread {
		return append(append(b, table...), "}t"...)
	}
	return append(append(b, "t:"...), table...)
}

func (k keyspace) conjunction(table string, key conj.Key) string {
	var room [96]byte
	return string(k.appendConjunction(room[:0], table, key))
}

func (k keyspace) appendConjunction(b []byte, table string, key conj.Key) []byte {
	b = append(b, k.tag...)
	if k.spread {
		b = append(append(b, table...), '}')
	}
	return appendEncoded(append(b, "c:"...), key)
}

// list names the head of a list, in its table's slot.
func (k keyspace) list(table string, key conj.Key) string {
	b := []byte(k.tag)
	if k.spread {
		b = append(append(b, table...), '}')
	}
	return string(appendEncoded(append(b, "l:"...), key))
}

// origin returns the conjunction whose set has been taken away under a key. Its
// name is followed by the time.
func (k keyspace) origin(garbage string) (conjunction string, ok bool) {
	rest, ok := strings.CutPrefix(garbage, k.tag+"x:")
	if !ok || len(rest) < encodedLen {
		return "", false
	}
	return k.tag + "c:" + rest[:encodedLen], true
}

// shard returns the tag of a shard.
func (k keyspace) shard(n byte) string { return k.tag + hex.EncodeToString([]byte{n}) + "}" }

// root is where an epoch is, and the fences around everything.
type root struct{ epoch, fences string }

// root returns that of an entry.
func (k keyspace) root(key EntryKey) root {
	tag := k.tag
	if k.spread {
		tag = k.shard(key[0])
	}
	return root{tag + "N", tag + "F"}
}

// roots returns them all.
func (k keyspace) roots() []root {
	if !k.spread {
		return []root{k.root(EntryKey{})}
	}
	all := make([]root, shards)
	for n := range all {
		all[n] = k.root(EntryKey{byte(n)})
	}
	return all
}

// keyKind is what is under a key.
type keyKind uint8

const (
	otherKey keyKind = iota
	tableKey
	conjunctionKey
	entryKey
	listKey
)

// classify tells what is under a key, and of which table, or with which tag in
// the case of an entry.
func (k keyspace) classify(key string) (keyKind, string) {
	rest, ok := strings.CutPrefix(key, k.tag)
	if !ok {
		return otherKey, ""
	}
	tag := k.tag
	if k.spread {
		// Nothing behind the tag has braces.
		end := strings.LastIndexByte(rest, '}')
		if end < 0 {
			return otherKey, ""
		}
		var table string
		table, rest, tag = rest[:end], rest[end+1:], key[:len(k.tag)+end+1]
		switch {
		case rest == "t":
			return tableKey, table
		case strings.HasPrefix(rest, "c:"):
			return conjunctionKey, table
		}
	}
	switch {
	case strings.HasPrefix(rest, "e:"):
		return entryKey, tag
	case strings.HasPrefix(rest, "c:"), strings.HasPrefix(rest, "x:"):
		return conjunctionKey, ""
	case strings.HasPrefix(rest, "l:"):
		return listKey, ""
	case strings.HasPrefix(rest, "t:"):
		return tableKey, rest[len("t:"):]
	}
	return otherKey, ""
}

// tables is a pattern that the keys of tables match, and few others.
func (k keyspace) tables() string {
	if k.spread {
		return escapeGlob(k.tag) + "*}t"
	}
	return escapeGlob(k.tag+"t:") + "*"
}
