package store

import (
	"bytes"
	"context"
	"strconv"
	"strings"

	"github.com/redis/go-redis/v9"
)

// A look-up through connections that know their server's identity needs no
// script to find a hit: the entry and what vouches for it are read one by one,
// in one pipeline, and compared here. They need not be read at one moment.
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
// epoch; the connection's identity tells.
//
// Whatever is not a hit is left to the script, which looks again.

// plainKeys is the number of conjunctions up to which a look-up is tried without
// the script. Many stamps cost more to send than the script to compare.
const plainKeys = 64

// plain reports whether a look-up can be tried without the script. The script
// alone knows the rows that an entry names.
func (s *Store) plain(deps []Dependency) bool {
	if s.reads == nil {
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
	// Only now: the connection that has answered may be newer than the call.
	identity := s.reads.current.Load()
	if version, payload, ok := found.hit(identity); ok {
		switch {
		case have == "":
			return Lookup{State: Hit, Payload: payload, Version: version}, nil
		case have == version:
			return Lookup{State: Unchanged}, nil
		}
	}
	l, err := script()
	if err == nil && (l.State == Hit || l.State == Unchanged) && !found.of(identity) {
		// A server that lives on takes another identity when it gets its first
		// replica, for one. If it can't be asked now, the next look-up will.
		_, _ = direct(ctx, s, func(ctx context.Context, _ redis.UniversalClient) (any, error) {
			return nil, s.reads.identify(ctx, s.reads.client)
		})
	}
	return l, err
}

// plainLookup is the commands of a look-up, in order.
type plainLookup struct {
	sets        []*redis.IntCmd // memberships
	generations []*redis.StringCmd
	stamps      *redis.SliceCmd // the epoch first
	entry       *redis.StringCmd
	role        *redis.BoolCmd // nil if the entry's command tells it
}

// headLen is the length of what precedes the payload of an entry at most.
const headLen = len("V256:") + 256 + versionLen

// newPlainLookup returns the commands for the entry, or for what precedes its payload.
func (s *Store) newPlainLookup(ctx context.Context, key EntryKey, deps []Dependency, head bool) plainLookup {
	l := plainLookup{generations: make([]*redis.StringCmd, len(deps))}
	keys := 0
	for _, d := range deps {
		keys += len(d.Keys)
	}
	entry := s.keys.entry(key)
	name := entry[len(entry)-encodedLen:]
	sets := s.mode == "sets"
	var stamps []any
	if sets {
		l.sets = make([]*redis.IntCmd, 0, keys)
		stamps = []any{"mget", s.epoch}
	} else {
		stamps = append(make([]any, 0, 2+keys), "mget", s.epoch)
	}
	for i, d := range deps {
		l.generations[i] = redis.NewStringCmd(ctx, "hget", s.keys.table(d.Table), "g")
		for _, k := range d.Keys {
			if conjunction := s.keys.conjunction(d.Table, k); sets {
				l.sets = append(l.sets, redis.NewIntCmd(ctx, "sismember", conjunction, name))
			} else {
				stamps = append(stamps, conjunction)
			}
		}
	}
	l.stamps = redis.NewSliceCmd(ctx, stamps...)
	// A replica refuses what may write, though these do not: it may have been the
	// master a moment ago, and have kept its connections.
	if head {
		l.entry = redis.NewStringCmd(ctx, "getrange", entry, 0, headLen-1)
		l.role = redis.NewBoolCmd(ctx, "persist", s.epoch) // which never expires
	} else {
		l.entry = redis.NewStringCmd(ctx, "getex", entry)
	}
	return l
}

// commands returns them in the order in which they are to be sent.
func (l plainLookup) commands() []redis.Cmder {
	all := make([]redis.Cmder, 0, len(l.sets)+len(l.generations)+3)
	for _, cmd := range l.sets {
		all = append(all, cmd)
	}
	for _, cmd := range l.generations {
		all = append(all, cmd)
	}
	all = append(all, l.stamps, l.entry)
	if l.role != nil {
		all = append(all, l.role)
	}
	return all
}

// send executes the commands in one round trip. An answer that is an error is no
// error, but the command's own.
func (l plainLookup) send(ctx context.Context, c redis.UniversalClient) error {
	pipe := c.Pipeline()
	_ = pipe.BatchProcess(ctx, l.commands()...)
	_, _ = pipe.Exec(ctx)
	// The last one has the error of the connection, if there is one.
	err := l.entry.Err()
	if l.role != nil {
		err = l.role.Err()
	}
	if isAnswer(err) {
		return nil
	}
	return err
}

// epoch returns the random part of the epoch, if it is of this identity.
func (l plainLookup) epoch(identity *identity) (string, bool) {
	values := l.stamps.Val()
	if l.stamps.Err() != nil || len(values) == 0 || identity == nil {
		return "", false
	}
	epoch, _ := values[0].(string)
	rest, ok := strings.CutPrefix(epoch, identity.id)
	if !ok {
		return "", false
	}
	return strings.CutPrefix(rest, ":")
}

// of reports whether the epoch is of this identity.
func (l plainLookup) of(identity *identity) bool {
	_, ok := l.epoch(identity)
	return ok
}

// hit returns the version and the payload of a valid entry; no payload of its head.
func (l plainLookup) hit(identity *identity) (version string, payload []byte, ok bool) {
	entry, err := l.entry.Bytes()
	if err != nil || len(entry) == 0 || entry[0] != 'V' || l.role != nil && l.role.Err() != nil {
		return "", nil, false
	}
	for _, member := range l.sets {
		if member.Val() != 1 || member.Err() != nil {
			return "", nil, false
		}
	}
	epoch, ok := l.epoch(identity)
	if !ok {
		return "", nil, false
	}
	var room [257]byte
	witness := append(room[:0], epoch...)
	for _, g := range l.generations {
		if g.Err() != nil {
			return "", nil, false
		}
		witness = append(append(witness, '|'), g.Val()...)
	}
	for _, v := range l.stamps.Val()[1:] {
		stamp, ok := v.(string)
		if !ok {
			return "", nil, false
		}
		witness = append(append(witness, '|'), stamp...)
	}
	if len(witness) > 256 {
		witness = []byte(shorten(string(witness)))
	}
	var digits [20]byte
	payload = entry[1:]
	for _, part := range [][]byte{strconv.AppendInt(digits[:0], int64(len(witness)), 10), {':'}, witness} {
		if payload, ok = bytes.CutPrefix(payload, part); !ok {
			return "", nil, false
		}
	}
	if len(payload) < versionLen {
		return "", nil, false
	}
	return string(payload[:versionLen]), payload[versionLen:], true
}
