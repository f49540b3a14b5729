package store

import (
	"context"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/cacheplugin/cacheplugin/lua"
)

// A look-up in a spread namespace is several calls, to several nodes: one to the
// entry's shard and one to each table, all in one pipeline, and after a miss one
// more that takes the lease. They need not be atomic together. Each table's call
// registers, in one step with its look at the fences, what the entry depends on
// there, and all have answered before the database is read. A part of a witness
// that an invalidation has removed never returns; so an entry whose every part
// is found to be current, at whatever moments of the look-up, was read after
// each of them was registered, and no invalidation since has touched it. What
// becomes of the entry itself matters to nobody: a revived one has no witness,
// and a lease only keeps others from asking the database.

// spreadLookup is what the pipeline of a look-up has found.
type spreadLookup struct {
	witness witness // empty if something is missing
	fenced  bool
	entry   string
}

// acquireSpread is Acquire in a spread namespace.
func (s *Store) acquireSpread(ctx context.Context, key EntryKey, deps []Dependency, ttl time.Duration, have string) (Lookup, error) {
	token := s.token()
	found, err := s.lookSpread(ctx, key, deps, token, s.lifetime(ttl), have)
	if err != nil {
		return Lookup{}, err
	}
	if hit, ok, err := s.spreadHit(key, found, have); ok {
		return hit, err
	}
	if found.fenced {
		return Lookup{State: Fenced}, nil
	}
	if len(found.witness) == 0 {
		return Lookup{}, replyError("vouch", found.witness)
	}
	reply, err := direct(ctx, s, func(ctx context.Context, c redis.UniversalClient) ([]any, error) {
		return lua.Lease.Run(ctx, c, []string{s.keys.entry(key)}, token, s.leaseMS, found.witness.String()).Slice()
	})
	if err != nil {
		return Lookup{}, err
	}
	return s.readLookup(key, reply)
}

// peekSpread is Peek in a spread namespace.
func (s *Store) peekSpread(ctx context.Context, key EntryKey, deps []Dependency) (Lookup, error) {
	found, err := s.lookSpread(ctx, key, deps, "", 0, "")
	if err != nil {
		return Lookup{}, err
	}
	if hit, ok, err := s.spreadHit(key, found, ""); ok {
		return hit, err
	}
	return Lookup{State: Missing}, nil
}

// lookSpread asks for an entry and for what vouches for it, and registers it with a
// token that is not empty.
func (s *Store) lookSpread(ctx context.Context, key EntryKey, deps []Dependency, token string, life int64, have string) (spreadLookup, error) {
	r := s.keys.root(key)
	calls := make([]lua.Call, 0, 1+len(deps))
	calls = append(calls, lua.Call{Script: lua.Find, Keys: []string{s.keys.entry(key), r.epoch, r.fences}, Args: []any{token, s.settleMS, life, have}})
	for _, d := range deps {
		calls = append(calls, s.vouch(d, token, life))
	}
	results, err := direct(ctx, s, func(ctx context.Context, c redis.UniversalClient) ([]*redis.Cmd, error) {
		results := lua.Pipeline(ctx, c, calls)
		for _, cmd := range results {
			if err := cmd.Err(); err != nil {
				return nil, err
			}
		}
		return results, nil
	})
	if err != nil {
		return spreadLookup{}, err
	}
	return readSpread(results)
}

// vouch returns the call for one table. Joined rows are not followed: their
// conjunctions would have to be registered in one step with the save, which is
// elsewhere. The entry depends on their whole table.
func (s *Store) vouch(d Dependency, token string, life int64) lua.Call {
	keys := make([]string, 0, 2+len(d.Keys))
	keys = append(keys, s.keys.table(d.Table))
	args := make([]any, 0, 4+len(d.Schemes))
	args = append(args, token, life, s.settleMS)
	for _, k := range d.Keys {
		keys = append(keys, s.keys.conjunction(d.Table, k))
	}
	for _, scheme := range d.Schemes {
		args = append(args, string(scheme))
	}
	if d.Joined {
		keys = append(keys, s.keys.conjunction(d.Table, wholeTable(d.Table)))
		args = append(args, "")
	}
	return lua.Call{Script: lua.Vouch, Keys: keys, Args: args}
}

func readSpread(results []*redis.Cmd) (spreadLookup, error) {
	var found spreadLookup
	complete := true
	var w witness
	for i, cmd := range results {
		reply, err := cmd.Slice()
		if err != nil || len(reply) < 2 {
			return found, replyError("find and vouch", cmd.Val())
		}
		part, ok1 := reply[0].(string)
		fenced, ok2 := reply[1].(int64)
		if !ok1 || !ok2 {
			return found, replyError("find and vouch", cmd.Val())
		}
		if i == 0 {
			if len(reply) != 3 {
				return found, replyError("find", cmd.Val())
			}
			found.entry, _ = reply[2].(string)
		}
		found.fenced = found.fenced || fenced == 1
		complete = complete && part != ""
		w = w.add(part)
	}
	if complete {
		found.witness = w
	}
	return found, nil
}

// spreadHit returns the answer of a valid entry. Where it is of the version that the
// caller has, its payload was left behind.
func (s *Store) spreadHit(key EntryKey, found spreadLookup, have string) (l Lookup, ok bool, err error) {
	h, payload, ok := readHead(found.entry)
	if !ok || !found.witness.vouchesFor(h) {
		return Lookup{}, false, nil
	}
	if h.version == have {
		return Lookup{State: Unchanged}, true, nil
	}
	l, err = s.hit(key, h, payload)
	return l, true, err
}

// dropAllSpread is dropAll in a spread namespace. Until all shards are done the
// writer has not returned.
func (s *Store) dropAllSpread(ctx context.Context, fences fencing) error {
	roots := s.keys.roots()
	calls := make([]lua.Call, len(roots))
	for i, r := range roots {
		calls[i] = s.dropRoot(r, fences)
	}
	results, err := s.pipeline(ctx, calls)
	for i, cmd := range results {
		if err := cmd.Err(); moving(err) {
			if _, err := bounded(ctx, s, func(ctx context.Context, c redis.UniversalClient) (any, error) {
				return nil, s.dropMovingRoot(ctx, c, roots[i], fences)
			}); err != nil {
				return err
			}
		} else if err != nil {
			return err
		}
	}
	if err == nil && len(results) < len(calls) {
		err = fmt.Errorf("%w: %d of %d", ErrReply, len(results), len(calls))
	}
	return err
}
