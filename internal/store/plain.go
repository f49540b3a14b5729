package store

import (
	"context"
	"strings"

	"github.com/redis/go-redis/v9"
)

// A look-up through connections that are named after their server's identity needs
// no script to find a hit: the name, the entry and what vouches for it are read one
// by one, in one pipeline, and compared here. They need not be read at one moment.
//
// A part of a witness that has been removed never returns. One that is found after
// the look-up began, and was there when the entry's lease was taken, was there in
// between: no invalidation of it had been carried out when the look-up began.
//
// A member that has left a set may return, with a later lease. So the sets are
// read before the entry: what is a member then is, or will have been replaced by, an
// entry that no invalidation of the set had missed by then, for a lease takes the
// place of an older entry before the set learns of it.
//
// What can return, with a snapshot or on a replica, is all of it together with its
// epoch. The connection's name tells: all commands of a pipeline go through one
// connection, and one that the restored server has accepted bears no name yet.
//
// Whatever is not a hit is left to the script, which looks again.

// plainKeys is the number of conjunctions up to which a look-up is tried without
// the script. Many stamps cost more to send than the script to compare.
const plainKeys = 64

// plain reports whether a look-up can be tried without the script. The script
// alone knows the rows that an entry names.
func (s *Store) plain(deps []Dependency) bool {
	if !s.introductions.possible() {
		return false
	}
	keys := 0
	for _, d := range deps {
		keys += len(d.Keys)
		if d.Joined {
			return false
		}
	}
	return keys <= plainKeys
}

// lookUp tries a look-up without the script first. have is the version that the
// caller has kept, if any.
func (s *Store) lookUp(ctx context.Context, key EntryKey, deps []Dependency, have string, script func() (Lookup, error)) (Lookup, error) {
	if !s.plain(deps) {
		return script()
	}
	found, err := direct(ctx, s, func(ctx context.Context, c redis.UniversalClient) (plainLookup, error) {
		l := s.newPlainLookup(ctx, key, deps, have != "")
		return l, l.send(ctx, c)
	})
	if err != nil {
		return Lookup{}, err
	}
	if h, payload, ok := found.valid(); ok {
		switch {
		case have == "":
			return s.hit(key, h, payload)
		case have == h.version:
			return Lookup{State: Unchanged}, nil
		}
	}
	l, err := script()
	if err != nil {
		return Lookup{}, err
	}
	// The connection is new, or its server lives on under another identity, as when
	// it gets its first replica. If it can't be introduced now, it will be when it is
	// used next.
	if valid := l.State == Hit || l.State == Unchanged; found.identity() == "" || valid && !found.ofServer() {
		_, _ = direct(ctx, s, func(ctx context.Context, _ redis.UniversalClient) (any, error) {
			return nil, s.introductions.introduce(ctx)
		})
	}
	return l, nil
}

// plainLookup is the commands of a look-up, in order: the connection's name, the
// marks in sets, the tables' generations, the epoch with the stamps, the entry, and perhaps one that
// tells the role; else the entry's does.
type plainLookup struct {
	commands     []redis.Cmder
	sets, tables int // the number of such commands
	head         bool
}

// plainSpace has room for what most look-ups send, in one object on the heap. What
// needs more grows out of it, and what points into it stays.
type plainSpace struct {
	commands [8]redis.Cmder
	texts    [8]string
	args     [24]any
}

// newPlainLookup returns the commands for the entry, or for what precedes its payload.
func (s *Store) newPlainLookup(ctx context.Context, key EntryKey, deps []Dependency, head bool) plainLookup {
	l := plainLookup{tables: len(deps), head: head}
	conjunctions, size := 0, 0
	for _, d := range deps {
		conjunctions += len(d.Keys)
		size += len(d.Table)
	}
	sets := s.mode == "sets"
	if sets {
		l.sets = conjunctions
	}

	// All names lie in one piece of memory, and texts are what arguments point to:
	// go-redis takes them so, and each alone would be one more object on the heap.
	var names strings.Builder
	names.Grow(size + (len(deps)+conjunctions+1)*(len(s.keys.tag)+len("t:")+encodedLen))
	space := new(plainSpace)
	l.commands = space.commands[:0]
	texts, args := space.texts[:0], space.args[:0]
	var room [96]byte
	name := func(b []byte) *string {
		start := names.Len()
		names.Write(b)
		texts = append(texts, names.String()[start:])
		return &texts[len(texts)-1]
	}
	// words returns the arguments that have been added since it was called last.
	begin := 0
	words := func() []any {
		all := args[begin:len(args):len(args)]
		begin = len(args)
		return all
	}

	args = append(args, "client", "getname")
	l.commands = append(l.commands, redis.NewStringCmd(ctx, words()...))
	entry := name(s.keys.appendEntry(room[:0], key))
	if sets {
		texts = append(texts, (*entry)[len(*entry)-encodedLen:])
		member := &texts[len(texts)-1]
		for _, d := range deps {
			for _, k := range d.Keys {
				args = append(args, "hget", name(s.keys.appendConjunction(room[:0], d.Table, k)), member)
				l.commands = append(l.commands, redis.NewStringCmd(ctx, words()...))
			}
		}
	}
	for _, d := range deps {
		args = append(args, "hget", name(s.keys.appendTable(room[:0], d.Table)), "g")
		l.commands = append(l.commands, redis.NewStringCmd(ctx, words()...))
	}
	args = append(args, "mget", s.epoch)
	if !sets {
		for _, d := range deps {
			for _, k := range d.Keys {
				args = append(args, name(s.keys.appendConjunction(room[:0], d.Table, k)))
			}
		}
	}
	l.commands = append(l.commands, redis.NewStringSliceCmd(ctx, words()...))

	// A replica refuses what may write, though these do not: it may have been the
	// master a moment ago, and have kept its connections.
	if head {
		args = append(args, "getrange", entry, 0, headLen-1)
		l.commands = append(l.commands, redis.NewStringCmd(ctx, words()...))
		args = append(args, "persist", s.epoch) // which never expires
		l.commands = append(l.commands, redis.NewBoolCmd(ctx, words()...))
	} else {
		args = append(args, "getex", entry)
		l.commands = append(l.commands, redis.NewStringCmd(ctx, words()...))
	}
	return l
}

// send executes the commands in one round trip. An answer that is an error is no
// error, but the command's own.
func (l plainLookup) send(ctx context.Context, c redis.UniversalClient) error {
	pipe := c.Pipeline()
	_ = pipe.BatchProcess(ctx, l.commands...)
	_, _ = pipe.Exec(ctx)
	// The last one has the error of the connection, if there is one.
	if err := l.commands[len(l.commands)-1].Err(); err != nil && !isAnswer(err) {
		return err
	}
	return nil
}

// The commands' places.
func (l plainLookup) ofSets() []redis.Cmder   { return l.commands[1:][:l.sets] }
func (l plainLookup) ofTables() []redis.Cmder { return l.commands[1+l.sets:][:l.tables] }
func (l plainLookup) ofVouchers() redis.Cmder { return l.commands[1+l.sets+l.tables] }
func (l plainLookup) ofEntry() redis.Cmder    { return l.commands[2+l.sets+l.tables] }

// identity returns the identity that the connection is named after; empty if it
// is not.
func (l plainLookup) identity() string {
	name := l.commands[0].(*redis.StringCmd).Val()
	if at := strings.LastIndex(name, nameMark); at >= 0 {
		return name[at+len(nameMark):]
	}
	return ""
}

// vouchers returns the epoch with the stamps; empty if something else is there.
func (l plainLookup) vouchers() []string { return l.ofVouchers().(*redis.StringSliceCmd).Val() }

// epoch returns the random part of the epoch, if its identity is the connection's.
func (l plainLookup) epoch() (string, bool) {
	identity, values := l.identity(), l.vouchers()
	if identity == "" || len(values) == 0 {
		return "", false
	}
	rest, ok := strings.CutPrefix(values[0], identity)
	if !ok {
		return "", false
	}
	return strings.CutPrefix(rest, ":")
}

// ofServer reports whether the epoch's identity is the connection's.
func (l plainLookup) ofServer() bool {
	_, ok := l.epoch()
	return ok
}

// valid takes a valid entry apart; without its payload where that wasn't asked for.
func (l plainLookup) valid() (h head, payload string, ok bool) {
	for _, cmd := range l.commands {
		if cmd.Err() != nil {
			return head{}, "", false
		}
	}
	h, payload, ok = readHead(l.ofEntry().(*redis.StringCmd).Val())
	if !ok {
		return head{}, "", false
	}
	for _, cmd := range l.ofSets() {
		if !strings.HasPrefix(cmd.(*redis.StringCmd).Val(), h.version[:markLen]) {
			return head{}, "", false
		}
	}
	epoch, ok := l.epoch()
	if !ok {
		return head{}, "", false
	}
	var room [witnessMax + 1]byte
	w := witness(room[:0]).add(epoch)
	for _, cmd := range l.ofTables() {
		w = w.add(cmd.(*redis.StringCmd).Val())
	}
	for _, stamp := range l.vouchers()[1:] {
		if stamp == "" { // there is none
			return head{}, "", false
		}
		w = w.add(stamp)
	}
	return h, payload, w.vouchesFor(h)
}
