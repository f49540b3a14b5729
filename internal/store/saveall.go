package store

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/cacheplugin/cacheplugin/conj"
	"github.com/cacheplugin/cacheplugin/lua"
)

// Saving is a result that is to be stored; see Save for its parts.
type Saving struct {
	Lease   Lease
	Payload []byte
	TTL     time.Duration
	Joined  [][]conj.Key
}

// Saved is what became of a Saving; see Save.
type Saved struct {
	Stored bool
	Err    error
}

// SaveAll is Save for several results, and Release for leases whose results are not
// to be stored, in one round trip that is bounded by Options.Timeout. It
// returns one outcome for each saving, in their order, and the first error of a
// release. Each is a step of its own: what becomes of one says nothing of the
// others.
func (s *Store) SaveAll(ctx context.Context, savings []Saving, release []Lease) (saved []Saved, err error) {
	saved = make([]Saved, len(savings))
	calls := make([]lua.Call, 0, len(savings)+len(release))
	var from []int // the saving of each call
	for i, one := range savings {
		call, err := s.saving(one)
		if err != nil {
			saved[i].Err = fmt.Errorf("store: save: %w", err)
			continue
		}
		calls, from = append(calls, call), append(from, i)
	}
	for _, lease := range release {
		calls = append(calls, s.releasing(lease))
	}
	if len(calls) == 0 {
		return saved, nil
	}
	results, failed := direct(ctx, s, func(ctx context.Context, c redis.UniversalClient) ([]*redis.Cmd, error) {
		results := lua.PipelineAnyOrder(ctx, c, calls)
		for _, cmd := range results {
			if unreachable(cmd.Err()) {
				return results, cmd.Err() // for the breaker
			}
		}
		return results, nil
	})
	for n := range calls {
		// Without the results, as after the timeout, nothing is known of any.
		callErr, stored := failed, false
		if n < len(results) {
			var done int64
			done, callErr = results[n].Int64()
			stored = done == 1
		}
		switch {
		case n < len(from) && callErr != nil:
			saved[from[n]].Err = fmt.Errorf("store: save: %w", callErr)
		case n < len(from):
			saved[from[n]].Stored = stored
		case callErr != nil && err == nil:
			err = fmt.Errorf("store: release: %w", callErr)
		}
	}
	return saved, err
}

// saving returns the call that stores a result.
func (s *Store) saving(one Saving) (lua.Call, error) {
	lease, joined := one.Lease, one.Joined
	if len(joined) != len(lease.joined) {
		return lua.Call{}, fmt.Errorf("%w: %d lists of joined rows for %d joined tables", ErrJoined, len(joined), len(lease.joined))
	}
	keys, first := []string{s.EntryName(lease.Key)}, 0 // the first of the joined rows'
	if len(joined) > 0 && !s.keys.spread {             // there the whole tables remain
		for _, table := range lease.joined {
			keys = append(keys, s.ConjunctionName(table, wholeTable(table)))
		}
		first = len(keys)
		for i, rows := range joined {
			for _, k := range rows {
				keys = append(keys, s.ConjunctionName(lease.joined[i], k))
			}
		}
	}
	var names strings.Builder
	for _, key := range keys[first:] {
		if first > 0 {
			names.WriteString(key[len(key)-encodedLen:])
		}
	}
	sum := s.appendSum(make([]byte, 0, sumLen), lease.Key, lease.Version(), names.String(), one.Payload)
	keys = append(keys, lease.sets...)
	args := []any{lease.ID, sum, one.Payload, milliseconds(one.TTL), milliseconds(one.TTL + grace)}
	if first == 0 {
		return lua.Call{Script: lua.Save, Keys: keys, Args: args}, nil
	}
	args = append(args, s.mode, len(joined), len(lease.sets), encode(lease.Key), s.entries, s.conjunctions)
	return lua.Call{Script: lua.SaveJoined, Keys: keys, Args: args}, nil
}

// releasing returns the call that gives a lease up.
func (s *Store) releasing(lease Lease) lua.Call {
	return lua.Call{Script: lua.Release, Keys: []string{s.EntryName(lease.Key)}, Args: []any{lease.ID}}
}
