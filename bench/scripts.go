package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/cacheplugin/cacheplugin/conj"
	"github.com/cacheplugin/cacheplugin/internal/store"
)

// scriptWork is a call whose script keeps Redis busy for as long as any of its kind.
type scriptWork struct {
	name    string
	prepare func() error // not measured; nil for nothing
	do      func() error
}

// longestScripts: what the longest calls take of Redis' time.
func (env *environment) longestScripts(ctx context.Context, o options, mode store.Mode) ([]result, error) {
	s, client, err := env.openStore(ctx, mode, nil)
	if err != nil {
		return nil, err
	}
	defer clean(ctx, client)
	var all []result
	for _, w := range scriptWorks(ctx, s) {
		r := result{contender: w.name}
		for range max(o.rounds, 5) {
			if w.prepare != nil {
				if err := w.prepare(); err != nil {
					return nil, fmt.Errorf("%s: %w", w.name, err)
				}
			}
			took, err := scriptTime(ctx, client, w.do)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", w.name, err)
			}
			r.ns = append(r.ns, took)
		}
		all = append(all, r)
	}
	return relate(all, fmt.Sprintf("%v: time of the longest script in Redis", mode)), nil
}

// scriptWorks are the largest calls that the plugin makes: 256 is the number of
// conjunctions that a query may have on a table, 250 that of a call of an
// invalidation, and 500 that of the entries that it unlinks itself.
func scriptWorks(ctx context.Context, s *store.Store) []scriptWork {
	const wide, call, crowd, schemes = 256, 250, 100, 1000
	keys := make([]conj.Key, wide)
	for i := range keys {
		keys[i] = conjunction(i)
	}
	rows := make([]conj.Key, wide)
	for i := range rows {
		rows[i] = conj.MakeKey("u", scheme, []conj.Value{conj.Value(strconv.Itoa(i))})
	}
	deep := make([]store.Dependency, schemes)
	for i := range deep {
		sc := conj.MakeScheme([]string{"column" + strconv.Itoa(i)})
		deep[i] = store.Dependency{Table: "d", Schemes: []conj.Scheme{sc}, Keys: []conj.Key{conj.MakeKey("d", sc, []conj.Value{"1"})}}
	}
	var (
		one    = on(keys[0])
		known  = on(keys[:wide]...)
		joined = append(on(keys[0]), store.Dependency{Table: "u", Schemes: []conj.Scheme{scheme}, Joined: true})
		lease  store.Lease
	)
	look := func(i int, deps []store.Dependency) func() error {
		return func() error {
			found, err := s.Acquire(ctx, entry(i), deps, hour)
			lease = found.Lease
			return err
		}
	}
	forget := func(i int) func() error { return func() error { return s.Forget(ctx, entry(i)) } }
	cached := func(i int, deps []store.Dependency) func() error {
		return func() error { return cacheEntry(ctx, s, i, deps, hour) }
	}
	save := func() error {
		stored, err := s.Save(ctx, lease, payload, hour, rows)
		if err == nil && !stored {
			err = errors.New("the lease was lost")
		}
		return err
	}
	invalidate := func(c store.Change) func() error {
		return func() error {
			_, err := s.Invalidate(ctx, []store.Change{c})
			return err
		}
	}
	dropAll := func(keys []conj.Key) func() error {
		return func() error {
			_, err := drop(ctx, s, keys...)
			return err
		}
	}
	each := func(steps ...func() error) func() error {
		return func() error {
			for _, step := range steps {
				if err := step(); err != nil {
					return err
				}
			}
			return nil
		}
	}
	spread := func(perKey int) func() error { // entries on each of the keys
		return func() error {
			return inParallel(0, perKey*call, func(i int) error { return cacheEntry(ctx, s, 10_000+i, on(keys[i%call]), hour) })
		}
	}
	schemesOf := func() error {
		for i := range deep {
			if err := cacheEntry(ctx, s, 100_000+i, deep[i:i+1], hour); err != nil {
				return err
			}
		}
		return nil
	}
	fence := func() error {
		_, err := s.Fence(ctx, "bench", []store.Change{{Table: "t", Keys: func([]conj.Scheme) ([]conj.Key, bool) { return keys[:call], true }}}, time.Hour)
		return err
	}
	unfence := func() error {
		_, err := s.Invalidate(ctx, []store.Change{{Table: "t"}}, "bench")
		return err
	}
	return []scriptWork{
		{"hit by 1 conjunction", cached(1, one), look(1, one)},
		{"hit by 256 conjunctions", cached(2, known), look(2, known)},
		{"hit by 256 joined rows", each(forget(3), look(3, joined), save), look(3, joined)},
		{"miss by 1 conjunction", forget(4), look(4, one)},
		{"miss by 256 conjunctions", forget(4), look(4, known)},
		{"miss by 256 conjunctions of 100 entries", each(func() error {
			return inParallel(1000, 1000+crowd, func(i int) error { return cacheEntry(ctx, s, i, known, hour) })
		}, forget(5)), look(5, known)},
		{"store with 256 joined rows", each(forget(3), look(3, joined)), save},
		{"write that drops 1 entry", each(dropAll(keys), cached(1, one)), dropAll(keys[:1])},
		{"write that drops 500 entries of 1 conjunction", each(dropAll(keys), func() error {
			return inParallel(10_000, 10_500, func(i int) error { return cacheEntry(ctx, s, i, one, hour) })
		}), dropAll(keys[:1])},
		{"write of 250 conjunctions, none known", dropAll(keys), dropAll(keys[:call])},
		{"write of 250 conjunctions of 1 entry", spread(1), dropAll(keys[:call])},
		{"write of 250 conjunctions of 20 entries", spread(20), dropAll(keys[:call])},
		{"fence of 250 conjunctions of 1 entry", each(unfence, spread(1)), fence},
		{"miss on a table of 1000 schemes", each(unfence, schemesOf, forget(100_000)), look(100_000, deep[:1])},
		{"write to a table of 1000 schemes, new to the writer", schemesOf, invalidate(store.Change{Table: "d", Keys: func(known []conj.Scheme) ([]conj.Key, bool) {
			keys := make([]conj.Key, len(known))
			for i, sc := range known {
				keys[i] = conj.MakeKey("d", sc, []conj.Value{"1"})
			}
			return keys, true
		}})},
		{"whole table of 1000 schemes", schemesOf, invalidate(store.Change{Table: "d"})},
		{"everything", each(schemesOf, spread(1)), func() error { return s.InvalidateAll(ctx) }},
	}
}
