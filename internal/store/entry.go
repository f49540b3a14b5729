package store

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/cacheplugin/cacheplugin/conj"
	"github.com/cacheplugin/cacheplugin/lua"
)

// State is the outcome of a look-up.
type State uint8

// The states.
const (
	// Missing says that there is no valid entry. Peek only.
	Missing State = iota
	// Hit says that Lookup.Payload is the result.
	Hit
	// Leased says that there was no valid entry and that the caller holds
	// Lookup.Lease: it should read the database, then Save or Release.
	Leased
	// Busy says that another caller holds the lease: wait and try again, or
	// read the database without storing.
	Busy
	// Fenced says that a transaction that writes to one of the tables is
	// about to commit: read the database without storing.
	Fenced
	// Unchanged is a hit of the version that the caller has kept, whose payload
	// did not travel. Revalidate only.
	Unchanged
)

// String returns the state's name in lower case.
func (s State) String() string {
	switch s {
	case Missing:
		return "missing"
	case Hit:
		return "hit"
	case Leased:
		return "leased"
	case Busy:
		return "busy"
	case Fenced:
		return "fenced"
	case Unchanged:
		return "unchanged"
	}
	return "State(" + strconv.Itoa(int(s)) + ")"
}

// Lookup is the answer to Acquire and Peek.
type Lookup struct {
	State   State
	Payload []byte // of a hit; the caller's own
	Version string // of a hit; no other entry has it, whenever it is stored

	// Lease is the caller's own if it is Leased. If it is Busy it is the
	// other holder's, so that callers in one process recognise each other;
	// it must not be saved or released then.
	Lease Lease
}

// Lease is the right to store one entry until the lease runs out or is
// dropped by an invalidation.
type Lease struct {
	Key EntryKey
	ID  string

	joined []string // the tables of the Joined dependencies
	sets   []string // those that would outlive the result
}

// Version returns the version of the entry that Save makes of the lease.
func (l Lease) Version() string { return l.ID[:min(versionLen, len(l.ID))] }

// Acquire looks an entry up before the database is read. If there is no valid
// one it registers the dependencies and takes a lease. Entries must not be
// stored for longer than ttl; what invalidates them is kept for longer.
//
// The dependencies and their order must be determined by the key.
//
// An error means that nothing is known: read the database, store nothing.
func (s *Store) Acquire(ctx context.Context, key EntryKey, deps []Dependency, ttl time.Duration) (Lookup, error) {
	return s.Revalidate(ctx, key, deps, ttl, "")
}

// Revalidate is Acquire by a caller who has kept the payload of a version. While
// that is the valid one the answer is Unchanged, and the payload stays where it
// is: what the caller has is as good as a hit.
func (s *Store) Revalidate(ctx context.Context, key EntryKey, deps []Dependency, ttl time.Duration, have string) (Lookup, error) {
	acquire := s.acquire
	if s.keys.spread {
		acquire = s.acquireSpread
	}
	l, err := s.lookUp(ctx, key, deps, have, func() (Lookup, error) { return acquire(ctx, key, deps, ttl, have) })
	if err != nil {
		return Lookup{}, s.lookUpFailed(ctx, "acquire", key, err)
	}
	l.Lease.Key = key
	if l.State == Leased {
		l.Lease.joined = joinedTables(deps)
		l.Lease.sets = s.outliving(deps, ttl)
		s.register(deps)
	}
	return l, nil
}

// acquire is Acquire in one slot.
func (s *Store) acquire(ctx context.Context, key EntryKey, deps []Dependency, ttl time.Duration, have string) (Lookup, error) {
	m, name, joined := s.lookupMessage(key, deps)
	m.Add(s.mode, len(deps))
	m.AddText(s.token())
	m.Add(s.leaseMS, s.lifetime(ttl))
	m.AddText(name)
	m.Add(s.entries, joined, s.conjunctions, s.settleMS)
	m.AddText(have)
	for _, d := range deps {
		n := len(d.Schemes)
		if d.Joined {
			n++
		}
		m.Add(n)
		for _, scheme := range d.Schemes {
			m.AddText(string(scheme))
		}
		if d.Joined {
			m.Add("") // the whole table's
		}
	}
	return s.lookup(ctx, key, m)
}

// lookUpFailed completes the error of a look-up. A damaged entry is dropped.
func (s *Store) lookUpFailed(ctx context.Context, what string, key EntryKey, err error) error {
	err = fmt.Errorf("store: %s: %w", what, err)
	if errors.Is(err, ErrDamaged) {
		err = errors.Join(err, s.Forget(ctx, key))
	}
	return err
}

// Peek looks an entry up and leaves no trace: the answer is Hit or Missing.
func (s *Store) Peek(ctx context.Context, key EntryKey, deps []Dependency) (Lookup, error) {
	peek := s.peek
	if s.keys.spread {
		peek = s.peekSpread
	}
	l, err := s.lookUp(ctx, key, deps, "", func() (Lookup, error) { return peek(ctx, key, deps) })
	if err != nil {
		return Lookup{}, s.lookUpFailed(ctx, "peek", key, err)
	}
	return l, nil
}

// peek is Peek in one slot.
func (s *Store) peek(ctx context.Context, key EntryKey, deps []Dependency) (Lookup, error) {
	m, name, joined := s.lookupMessage(key, deps)
	m.Add(s.mode, len(deps), "", 0, 0)
	m.AddText(name)
	m.Add("", joined, s.conjunctions)
	return s.lookup(ctx, key, m)
}

// lookupMessage begins a look-up with its keys. It returns the entry's name
// and the number of joined tables besides.
func (s *Store) lookupMessage(key EntryKey, deps []Dependency) (m lua.Message, name string, joined int) {
	keys, args, texts, size := 3+len(deps), 11+len(deps), 4+len(deps), 0
	for _, d := range deps {
		size += len(d.Table)
		texts += len(d.Keys) + len(d.Schemes)
		keys += len(d.Keys)
		args += len(d.Schemes)
		if d.Joined {
			keys, args, texts, joined = keys+1, args+1, texts+1, joined+1
		}
	}
	m = lua.Acquire.Message(keys, args, texts)
	var room [96]byte
	var names strings.Builder // in one piece
	names.Grow(size + (keys-2)*(len(s.keys.tag)+len("e:")+encodedLen))
	add := func(name []byte) string {
		start := names.Len()
		names.Write(name)
		text := names.String()[start:]
		m.AddText(text)
		return text
	}
	entry := add(s.keys.appendEntry(room[:0], key))
	m.Add(s.epoch, s.fences)
	for _, d := range deps {
		add(s.keys.appendTable(room[:0], d.Table))
	}
	for _, d := range deps {
		for _, k := range d.Keys {
			add(s.keys.appendConjunction(room[:0], d.Table, k))
		}
	}
	for _, d := range deps {
		if d.Joined {
			add(s.keys.appendConjunction(room[:0], d.Table, wholeTable(d.Table)))
		}
	}
	return m, entry[len(entry)-encodedLen:], joined
}

// joinedTables returns the tables of which the rows are not known yet.
func joinedTables(deps []Dependency) []string {
	var tables []string
	for _, d := range deps {
		if d.Joined {
			tables = append(tables, d.Table)
		}
	}
	return tables
}

func (s *Store) lookup(ctx context.Context, key EntryKey, m lua.Message) (Lookup, error) {
	if s.direct == nil {
		m.Spell()
	}
	reply, err := direct(ctx, s, func(ctx context.Context, c redis.UniversalClient) ([]any, error) {
		return m.Send(ctx, c).Slice()
	})
	if err != nil {
		return Lookup{}, err
	}
	return s.readLookup(key, reply)
}

func (s *Store) readLookup(key EntryKey, reply []any) (Lookup, error) {
	if len(reply) == 0 {
		return Lookup{}, replyError("acquire", reply)
	}
	code, _ := reply[0].(int64)
	switch {
	case len(reply) == 2 && code == 1:
		entry, _ := reply[1].(string)
		h, payload, ok := readHead(entry)
		if !ok {
			return Lookup{}, replyError("acquire", reply)
		}
		return s.hit(key, h, payload)
	case len(reply) == 2 && (code == 2 || code == 3):
		id, ok := reply[1].(string)
		if !ok {
			return Lookup{}, replyError("acquire", reply)
		}
		return Lookup{State: State(code), Lease: Lease{ID: id}}, nil
	case len(reply) == 1 && code == 4:
		return Lookup{State: Fenced}, nil
	case len(reply) == 1 && code == 5:
		return Lookup{State: Unchanged}, nil
	case len(reply) == 1 && reply[0] == int64(0):
		return Lookup{State: Missing}, nil
	}
	return Lookup{}, replyError("acquire", reply)
}

// hit is the answer of a result that is valid, if it is what was stored.
func (s *Store) hit(key EntryKey, h head, text string) (Lookup, error) {
	payload := bytesOf(text)
	if err := s.verify(key, h, payload); err != nil {
		return Lookup{}, err
	}
	return Lookup{State: Hit, Payload: payload, Version: h.version}, nil
}

// Save stores the result of a lease for ttl, which must not be longer than
// that given to Acquire. It reports false if the lease was lost, because an
// invalidation dropped it or because it ran out. A call that the client had to
// repeat may report false although the first one has stored. The payload must
// not be changed afterwards, not even after an error.
//
// For each Joined dependency of the look-up, in order, joined holds the
// conjunctions of the rows that the result shows; where they can't be told, that
// of the whole table.
func (s *Store) Save(ctx context.Context, lease Lease, payload []byte, ttl time.Duration, joined ...[]conj.Key) (stored bool, err error) {
	call, err := s.saving(Saving{Lease: lease, Payload: payload, TTL: ttl, Joined: joined})
	if err == nil {
		stored, err = s.withLease(ctx, call)
	}
	if err != nil {
		return false, fmt.Errorf("store: save: %w", err)
	}
	return stored, nil
}

// Release gives a lease up, so that those who wait for it need not wait until
// it runs out.
func (s *Store) Release(ctx context.Context, lease Lease) error {
	if _, err := s.withLease(ctx, s.releasing(lease)); err != nil {
		return fmt.Errorf("store: release: %w", err)
	}
	return nil
}

// withLease executes a call that needs a lease, and reports whether it was there.
func (s *Store) withLease(ctx context.Context, call lua.Call) (bool, error) {
	n, err := direct(ctx, s, func(ctx context.Context, c redis.UniversalClient) (int64, error) {
		return call.Script.Run(ctx, c, call.Keys, call.Args...).Int64()
	})
	return n == 1, err
}
