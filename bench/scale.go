package main

import (
	"context"
	"encoding/binary"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/cacheplugin/cacheplugin/conj"
	"github.com/cacheplugin/cacheplugin/store"
)

// scaleConjunctions is how many conjunctions the entries of -scale spread over.
const scaleConjunctions = 10_000

// scale measures how costs grow with what is cached, on the store alone: no
// database would change the figures.
func (env *environment) scale(ctx context.Context, o options, r *report) error {
	o.slice *= 2
	for _, mode := range []store.Mode{store.ConjunctionSets, store.InsideOut} {
		for _, step := range []func(context.Context, options, store.Mode) ([]result, error){
			env.growingTable, env.hotConjunction, env.manyConjunctions, env.manySchemes, env.expiry,
		} {
			results, err := step(ctx, o, mode)
			if err != nil {
				return fmt.Errorf("%v: %w", mode, err)
			}
			r.add(results...)
		}
	}
	return nil
}

var (
	scheme  = conj.MakeScheme([]string{"id"})
	payload = []byte(strings.Repeat("x", 300))
)

const hour = time.Hour

func conjunction(i int) conj.Key {
	return conj.MakeKey("t", scheme, []conj.Value{conj.Value(strconv.Itoa(i))})
}

func entry(i int) store.EntryKey {
	var k store.EntryKey
	binary.BigEndian.PutUint64(k[:], uint64(i))
	binary.BigEndian.PutUint64(k[8:], 0x9e3779b97f4a7c15*uint64(i+1))
	return k
}

func on(keys ...conj.Key) []store.Dependency {
	return []store.Dependency{{Table: "t", Schemes: []conj.Scheme{scheme}, Keys: keys}}
}

// cacheEntry stores one entry.
func cacheEntry(ctx context.Context, s *store.Store, i int, deps []store.Dependency, ttl time.Duration) error {
	found, err := s.Acquire(ctx, entry(i), deps, ttl)
	if err != nil || found.State != store.Leased {
		return err
	}
	_, err = s.Save(ctx, found.Lease, payload, ttl)
	return err
}

func drop(ctx context.Context, s *store.Store, keys ...conj.Key) error {
	_, err := s.Invalidate(ctx, []store.Change{{Table: "t", Keys: func([]conj.Scheme) ([]conj.Key, bool) { return keys, true }}})
	return err
}

// inParallel does something for each number from..to-1, several at a time.
func inParallel(from, to int, do func(i int) error) error {
	const lanes = 32
	var (
		wait  sync.WaitGroup
		mu    sync.Mutex
		first error
	)
	for lane := range lanes {
		wait.Go(func() {
			for i := from + lane; i < to; i += lanes {
				if err := do(i); err != nil {
					mu.Lock()
					if first == nil {
						first = err
					}
					mu.Unlock()
					return
				}
			}
		})
	}
	wait.Wait()
	return first
}

// openStore returns a store in a namespace of its own, and its client.
func (env *environment) openStore(mode store.Mode, change func(*store.Options)) (*store.Store, *redis.Client, error) {
	client, _ := counted(*env.redis)
	so := store.Options{
		Client: client, Mode: mode, Timeout: 30 * time.Second,
		Namespace: fmt.Sprintf("scale-%d", time.Now().UnixNano()),
	}
	if change != nil {
		change(&so)
	}
	s, err := store.New(so)
	return s, client, err
}

// growingTable: a write that drops one entry, with more and more other entries
// on the same table.
func (env *environment) growingTable(ctx context.Context, o options, mode store.Mode) ([]result, error) {
	s, client, err := env.openStore(mode, nil)
	if err != nil {
		return nil, err
	}
	defer client.Close()
	defer client.FlushDB(ctx)
	g := group{work: fmt.Sprintf("%v: one entry dropped, others on the table", mode)}
	var all []result
	filled := 0
	for total := 1000; total <= o.entries; total *= 10 {
		if err := inParallel(filled, total, func(i int) error {
			return cacheEntry(ctx, s, i, on(conjunction(i%scaleConjunctions)), hour)
		}); err != nil {
			return nil, err
		}
		filled = total
		longest, err := slowest(ctx, client, func() error {
			c := contender{name: fmt.Sprintf("%d others", total), run: repeat(func(ctx context.Context, i int) error {
				own := conjunction(-1)
				if err := cacheEntry(ctx, s, -1, on(own), hour); err != nil {
					return err
				}
				return drop(ctx, s, own)
			})}
			g.contenders = []contender{c}
			results, err := measure(ctx, o, g)
			all = append(all, results...)
			return err
		})
		if err != nil {
			return nil, err
		}
		all[len(all)-1].extra = map[string]float64{"longest command ms": longest}
	}
	return relate(all, g.work), nil
}

// relate makes the first of some results the baseline of the others, which
// were not measured in the same rounds.
func relate(all []result, work string) []result {
	base := median(all[0].ns)
	for i := range all {
		all[i].suite, all[i].work, all[i].database, all[i].baseline = "scale", work, "-", all[0].contender
		all[i].ratios = nil
		for _, ns := range all[i].ns {
			all[i].ratios = append(all[i].ratios, ns/base)
		}
	}
	return all
}

// slowest returns the longest command that Redis ran meanwhile, in
// milliseconds, as its slow log has it.
func slowest(ctx context.Context, client *redis.Client, do func() error) (float64, error) {
	if err := client.ConfigSet(ctx, "slowlog-log-slower-than", "500").Err(); err != nil {
		return 0, err
	}
	if err := client.Do(ctx, "SLOWLOG", "RESET").Err(); err != nil {
		return 0, err
	}
	if err := do(); err != nil {
		return 0, err
	}
	logs, err := client.SlowLogGet(ctx, 1000).Result()
	if err != nil {
		return 0, err
	}
	longest := 0.0
	for _, l := range logs {
		longest = max(longest, float64(l.Duration.Microseconds())/1000)
	}
	return longest, client.ConfigSet(ctx, "slowlog-log-slower-than", "10000").Err()
}

// hotConjunction: one write that drops many entries at once.
func (env *environment) hotConjunction(ctx context.Context, o options, mode store.Mode) ([]result, error) {
	var all []result
	work := fmt.Sprintf("%v: all entries of one conjunction dropped", mode)
	for _, entries := range []int{1000, 10_000, 100_000} {
		s, client, err := env.openStore(mode, nil)
		if err != nil {
			return nil, err
		}
		hot := conjunction(7)
		longestFill, err := slowest(ctx, client, func() error {
			return inParallel(0, entries, func(i int) error { return cacheEntry(ctx, s, i, on(hot), hour) })
		})
		if err != nil {
			return nil, err
		}
		var took time.Duration
		longest, err := slowest(ctx, client, func() error {
			start := time.Now()
			defer func() { took = time.Since(start) }()
			return drop(ctx, s, hot)
		})
		if err != nil {
			return nil, err
		}
		name := fmt.Sprintf("%d entries", entries)
		all = append(all, result{contender: name, ns: []float64{float64(took.Nanoseconds())}, extra: map[string]float64{
			"longest command ms": longest, "longest while filling ms": longestFill,
		}})
		client.FlushDB(ctx)
		_ = client.Close()
	}
	return relate(all, work), nil
}

// manyConjunctions: hit, miss with store, and write of entries that depend on
// more and more conjunctions, as long IN lists and Preloads do.
func (env *environment) manyConjunctions(ctx context.Context, o options, mode store.Mode) ([]result, error) {
	s, client, err := env.openStore(mode, nil)
	if err != nil {
		return nil, err
	}
	defer client.Close()
	defer client.FlushDB(ctx)
	hit := group{work: fmt.Sprintf("%v: hit by conjunctions", mode)}
	miss := group{work: fmt.Sprintf("%v: miss, store and drop by conjunctions", mode)}
	for _, n := range []int{1, 10, 20, 50, 100, 200} {
		keys := make([]conj.Key, n)
		for i := range keys {
			keys[i] = conjunction(1000*n + i)
		}
		deps := on(keys...)
		if err := cacheEntry(ctx, s, 2*n, deps, hour); err != nil {
			return nil, err
		}
		name := fmt.Sprintf("%d conjunctions", n)
		hit.contenders = append(hit.contenders, contender{name: name, run: repeat(func(ctx context.Context, _ int) error {
			found, err := s.Acquire(ctx, entry(2*n), deps, hour)
			if err == nil && found.State != store.Hit {
				err = fmt.Errorf("no hit but %v", found.State)
			}
			return err
		})})
		other := make([]conj.Key, n)
		for i := range other {
			other[i] = conjunction(1_000_000 + 1000*n + i)
		}
		otherDeps := on(other...)
		miss.contenders = append(miss.contenders, contender{name: name, run: repeat(func(ctx context.Context, _ int) error {
			if err := cacheEntry(ctx, s, 2*n+1, otherDeps, hour); err != nil {
				return err
			}
			return drop(ctx, s, other[0])
		})})
	}
	return env.measureAll(ctx, o, hit, miss)
}

// manySchemes: a write to a table whose queries narrow by more and more sets
// of columns.
func (env *environment) manySchemes(ctx context.Context, o options, mode store.Mode) ([]result, error) {
	g := group{work: fmt.Sprintf("%v: write by schemes", mode)}
	for _, n := range []int{1, 4, 16, 64} {
		s, client, err := env.openStore(mode, nil)
		if err != nil {
			return nil, err
		}
		defer client.Close()
		for i := range n {
			sc := conj.MakeScheme([]string{fmt.Sprintf("column_%d", i)})
			d := []store.Dependency{{Table: "t", Schemes: []conj.Scheme{sc}, Keys: []conj.Key{conj.MakeKey("t", sc, []conj.Value{"1"})}}}
			if err := cacheEntry(ctx, s, i, d, hour); err != nil {
				return nil, err
			}
		}
		g.contenders = append(g.contenders, contender{name: fmt.Sprintf("%d schemes", n), run: repeat(func(ctx context.Context, _ int) error {
			_, err := s.Invalidate(ctx, []store.Change{{Table: "t", Keys: func(schemes []conj.Scheme) ([]conj.Key, bool) {
				keys := make([]conj.Key, len(schemes))
				for i, sc := range schemes {
					keys[i] = conj.MakeKey("t", sc, []conj.Value{"2"})
				}
				return keys, true
			}}})
			return err
		})})
	}
	return env.measureAll(ctx, o, g)
}

// expiry: what is left in Redis of entries that have expired, after many times
// their lifetime.
func (env *environment) expiry(ctx context.Context, o options, mode store.Mode) ([]result, error) {
	const (
		ttl   = 200 * time.Millisecond
		lease = 200 * time.Millisecond
	)
	s, client, err := env.openStore(mode, func(so *store.Options) { so.LeaseTTL = lease })
	if err != nil {
		return nil, err
	}
	defer client.Close()
	if err := client.FlushDB(ctx).Err(); err != nil {
		return nil, err
	}
	var all []result
	next := 0
	for _, lifetimes := range []int{5, 10, 20, 40} {
		for end := time.Now().Add(time.Duration(lifetimes) * ttl); time.Now().Before(end) && ctx.Err() == nil; next += 1000 {
			if err := inParallel(next, next+1000, func(i int) error {
				return cacheEntry(ctx, s, i, on(conjunction(i%scaleConjunctions+i/3)), ttl)
			}); err != nil {
				return nil, err
			}
		}
		used, err := usedMemory(ctx, client)
		if err != nil {
			return nil, err
		}
		keys := client.DBSize(ctx).Val()
		all = append(all, result{contender: fmt.Sprintf("after %d lifetimes more", lifetimes), ns: []float64{float64(used)}, extra: map[string]float64{
			"entries so far": float64(next), "keys": float64(keys), "memory MB": float64(used) / 1e6,
		}})
	}
	return relate(all, fmt.Sprintf("%v: memory under expiry (bytes in the place of time)", mode)), nil
}

func (env *environment) measureAll(ctx context.Context, o options, groups ...group) ([]result, error) {
	var all []result
	for _, g := range groups {
		results, err := measure(ctx, o, g)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", g.work, err)
		}
		for i := range results {
			results[i].suite, results[i].work, results[i].database = "scale", g.work, "-"
		}
		all = append(all, results...)
	}
	return all, nil
}
