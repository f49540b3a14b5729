package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/cacheplugin/cacheplugin/conj"
	"github.com/cacheplugin/cacheplugin/internal/store"
)

// scaleConjunctions is how many conjunctions the entries of -scale spread over.
const scaleConjunctions = 10_000

// scale measures how costs grow with what is cached, on the store alone: no
// database would change the figures.
func (env *environment) scale(ctx context.Context, o options, r *report) error {
	o.slice *= 2
	for _, mode := range []store.Mode{store.ConjunctionSets, store.InsideOut} {
		for _, step := range []func(context.Context, options, store.Mode) ([]result, error){
			env.growingTable, env.hotConjunction, env.longestScripts, env.manyConjunctions, env.manySchemes, env.expiry,
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

// drop drops what depends on conjunctions, and returns what is left to be reclaimed.
func drop(ctx context.Context, s *store.Store, keys ...conj.Key) (garbage []string, err error) {
	reports, err := s.Invalidate(ctx, []store.Change{{Table: "t", Keys: func([]conj.Scheme) ([]conj.Key, bool) { return keys, true }}})
	for _, r := range reports {
		garbage = append(garbage, r.Garbage...)
	}
	return garbage, err
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

// openStore returns a store in a namespace of its own, and its client. Redis is to
// note what every command takes.
func (env *environment) openStore(ctx context.Context, mode store.Mode, change func(*store.Options)) (*store.Store, *redis.Client, error) {
	client, _ := counted(*env.redis)
	so := store.Options{
		Client: client, Mode: mode, Timeout: 30 * time.Second,
		Namespace: fmt.Sprintf("scale-%d", time.Now().UnixNano()),
	}
	if change != nil {
		change(&so)
	}
	s, err := store.New(so)
	if err == nil {
		s.Close(ctx) // what it leaves is reclaimed when that is measured
	}
	return s, client, errors.Join(err,
		client.ConfigSet(ctx, "slowlog-log-slower-than", "0").Err(),
		client.ConfigSet(ctx, "slowlog-max-len", "1000").Err())
}

// clean leaves Redis as it was found.
func clean(ctx context.Context, client *redis.Client) {
	_ = client.FlushDBAsync(ctx).Err()
	_ = client.ConfigSet(ctx, "slowlog-log-slower-than", "10000").Err()
	_ = client.ConfigSet(ctx, "slowlog-max-len", "128").Err()
	_ = client.Close()
}

// scriptTime returns for how long the longest script kept Redis busy of those that
// it ran meanwhile, of the last 1000 commands, in nanoseconds. It is the time that
// went by: more than Redis needed if it had to wait for a processor.
func scriptTime(ctx context.Context, client *redis.Client, do func() error) (float64, error) {
	if err := client.Do(ctx, "SLOWLOG", "RESET").Err(); err != nil {
		return 0, err
	}
	if err := do(); err != nil {
		return 0, err
	}
	logs, err := client.SlowLogGet(ctx, -1).Result()
	if err != nil {
		return 0, err
	}
	longest := time.Duration(0)
	for _, l := range logs {
		if len(l.Args) > 0 && strings.HasPrefix(strings.ToLower(l.Args[0]), "eval") {
			longest = max(longest, l.Duration)
		}
	}
	return float64(longest.Nanoseconds()), nil
}

// relate makes the first of some results the baseline of the others, which
// were not measured in the same rounds.
func relate(all []result, work string) []result {
	for i := range all {
		all[i].suite, all[i].work, all[i].database, all[i].baseline = "scale", work, "-", all[0].contender
		all[i].ratios = nil
		for _, ns := range all[i].ns {
			all[i].ratios = append(all[i].ratios, ns/median(all[0].ns))
		}
	}
	return all
}

// scriptFigures are the median and the maximum of what scripts took.
func scriptFigures(ns []float64) map[string]float64 {
	return map[string]float64{"script ms": median(ns) / 1e6, "longest script ms": slices.Max(ns) / 1e6}
}

// growingTable: a write that drops one entry, with more and more other entries
// on the same table.
func (env *environment) growingTable(ctx context.Context, o options, mode store.Mode) ([]result, error) {
	const writes = 500
	s, client, err := env.openStore(ctx, mode, nil)
	if err != nil {
		return nil, err
	}
	defer clean(ctx, client)
	var all []result
	filled := 0
	for _, total := range []int{0, 10_000, 100_000, 1_000_000} {
		if total > o.entries {
			break
		}
		if err := inParallel(filled, total, func(i int) error {
			return cacheEntry(ctx, s, i, on(conjunction(i%scaleConjunctions)), hour)
		}); err != nil {
			return nil, err
		}
		filled = total
		r := result{contender: fmt.Sprintf("%d others", total)}
		var scripts []float64
		for i := range writes {
			own := conjunction(-1 - i)
			if err := cacheEntry(ctx, s, -1-i, on(own), hour); err != nil {
				return nil, err
			}
			took, err := scriptTime(ctx, client, func() error {
				start := time.Now()
				_, err := drop(ctx, s, own)
				r.ns = append(r.ns, float64(time.Since(start).Nanoseconds()))
				return err
			})
			if err != nil {
				return nil, err
			}
			scripts = append(scripts, took)
		}
		used, err := usedMemory(ctx, client)
		if err != nil {
			return nil, err
		}
		r.extra = scriptFigures(scripts)
		r.extra["Redis MB"] = float64(used) / 1e6
		all = append(all, r)
	}
	return relate(all, fmt.Sprintf("%v: write that drops one entry, others on the table", mode)), nil
}

// hotConjunction: one write that drops many entries at once, and what reclaims
// them.
func (env *environment) hotConjunction(ctx context.Context, o options, mode store.Mode) ([]result, error) {
	s, client, err := env.openStore(ctx, mode, nil)
	if err != nil {
		return nil, err
	}
	defer clean(ctx, client)
	var all []result
	for _, entries := range []int{1, 500, 1000, 10_000, 100_000} {
		if entries > o.entries {
			break
		}
		hot := conjunction(entries)
		r := result{contender: fmt.Sprintf("%d entries", entries)}
		var misses, drops, reclaims, reclaimed []float64
		for range min(o.rounds, 5) {
			var garbage []string
			for _, step := range []struct {
				scripts *[]float64
				took    *[]float64
				do      func() error
			}{
				{&misses, nil, func() error {
					return inParallel(0, entries, func(i int) error { return cacheEntry(ctx, s, i, on(hot), hour) })
				}},
				{&drops, &r.ns, func() (err error) {
					garbage, err = drop(ctx, s, hot)
					return err
				}},
				{&reclaims, &reclaimed, func() error { return s.Reclaim(ctx, garbage...) }},
			} {
				script, err := scriptTime(ctx, client, func() error {
					start := time.Now()
					err := step.do()
					if step.took != nil {
						*step.took = append(*step.took, float64(time.Since(start).Nanoseconds()))
					}
					return err
				})
				if err != nil {
					return nil, err
				}
				*step.scripts = append(*step.scripts, script)
			}
		}
		r.extra = scriptFigures(drops)
		r.extra["longest of 500 misses ms"] = median(misses) / 1e6
		r.extra["longest of reclaiming ms"] = median(reclaims) / 1e6
		r.extra["reclaimed after ms"] = median(reclaimed) / 1e6
		all = append(all, r)
	}
	return relate(all, fmt.Sprintf("%v: write that drops all entries of one conjunction", mode)), nil
}

// manyConjunctions: hit, miss with store, and write of entries that depend on
// more and more conjunctions, as long IN lists and Preloads do.
func (env *environment) manyConjunctions(ctx context.Context, o options, mode store.Mode) ([]result, error) {
	s, client, err := env.openStore(ctx, mode, nil)
	if err != nil {
		return nil, err
	}
	defer clean(ctx, client)
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
			_, err := drop(ctx, s, other[0])
			return err
		})})
	}
	return env.measureAll(ctx, o, hit, miss)
}

// manySchemes: a write to a table whose queries narrow by more and more sets
// of columns.
func (env *environment) manySchemes(ctx context.Context, o options, mode store.Mode) ([]result, error) {
	g := group{work: fmt.Sprintf("%v: write by schemes", mode)}
	for _, n := range []int{1, 4, 16, 64} {
		s, client, err := env.openStore(ctx, mode, nil)
		if err != nil {
			return nil, err
		}
		defer clean(ctx, client)
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
// their lifetime. Each depends on one of many conjunctions, most of them new, and
// on one that all share.
func (env *environment) expiry(ctx context.Context, o options, mode store.Mode) ([]result, error) {
	const (
		ttl   = 200 * time.Millisecond
		lease = 200 * time.Millisecond
	)
	s, client, err := env.openStore(ctx, mode, func(so *store.Options) { so.LeaseTTL = lease })
	if err != nil {
		return nil, err
	}
	defer clean(ctx, client)
	var all []result
	next, shared := 0, conjunction(-1)
	for _, lifetimes := range []int{5, 10, 20, 40, 80} {
		for end := time.Now().Add(time.Duration(lifetimes) * ttl); time.Now().Before(end) && ctx.Err() == nil; next += 1000 {
			if err := inParallel(next, next+1000, func(i int) error {
				return cacheEntry(ctx, s, i, on(conjunction(i%scaleConjunctions+i/3), shared), ttl)
			}); err != nil {
				return nil, err
			}
		}
		used, err := usedMemory(ctx, client)
		if err != nil {
			return nil, err
		}
		names, err := s.ConjunctionInfo(ctx, "t", shared)
		if err != nil {
			return nil, err
		}
		all = append(all, result{contender: fmt.Sprintf("after %d lifetimes more", lifetimes), extra: map[string]float64{
			"entries so far": float64(next), "keys": float64(client.DBSize(ctx).Val()),
			"names in the shared set": float64(names.Size), "Redis MB": float64(used) / 1e6,
		}})
	}
	return relate(all, fmt.Sprintf("%v: what is left of expired entries", mode)), nil
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
