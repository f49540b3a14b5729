package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"runtime"
	"sync/atomic"
	"time"
)

// contender is one way to do a work.
type contender struct {
	name string
	// run does the work n times. It is called again and again.
	run func(ctx context.Context, n int) error
	// warm is how often it is done before anything is measured, so that what
	// can be cached is.
	warm int
	// trips counts round trips to Redis; nil if it needs none.
	trips *atomic.Int64
	// after, if set, adds figures of its own to the result.
	after func() map[string]float64
	close func()
}

// suite is a set of works that are measured on each database.
type suite struct {
	name string
	once bool // independent of the database
	make func(ctx context.Context, env *environment, d *database) ([]group, error)
}

// group is the contenders of one work. The first is the baseline.
type group struct {
	work       string
	contenders []contender
}

// result is what one contender needed for one work.
type result struct {
	suite, work, database, contender string

	baseline string
	ns       []float64 // per operation, one per round
	ratios   []float64 // to the baseline of the same round
	allocs   float64
	bytes    float64
	trips    float64
	extra    map[string]float64
}

// runSuite measures the suite's works on one database.
func (env *environment) runSuite(ctx context.Context, o options, s suite, d *database) ([]result, error) {
	groups, err := s.make(ctx, env, d)
	defer func() {
		for _, g := range groups {
			for _, c := range g.contenders {
				if c.close != nil {
					c.close()
				}
			}
		}
	}()
	if err != nil {
		return nil, err
	}
	name := d.name
	if s.once {
		name = "-"
	}
	var all []result
	for _, g := range groups {
		results, err := measure(ctx, o, g)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", g.work, err)
		}
		for i := range results {
			results[i].suite, results[i].work, results[i].database = s.name, g.work, name
		}
		all = append(all, results...)
	}
	return all, nil
}

// measure lets the contenders of one work take turns.
func measure(ctx context.Context, o options, g group) ([]result, error) {
	var (
		results = make([]result, len(g.contenders))
		sizes   = make([]int, len(g.contenders))
	)
	for i, c := range g.contenders {
		n, err := calibrate(ctx, c, o.slice)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", c.name, err)
		}
		sizes[i] = n
		results[i].contender, results[i].baseline = c.name, g.contenders[0].name
		if err := results[i].count(ctx, c, min(n, 1000)); err != nil {
			return nil, fmt.Errorf("%s: %w", c.name, err)
		}
	}
	// The order is another one in each round, and the same in each run.
	random := rand.New(rand.NewPCG(1, uint64(len(g.work))))
	for range o.rounds {
		times := make([]float64, len(g.contenders))
		for _, i := range random.Perm(len(g.contenders)) {
			start := time.Now()
			if err := g.contenders[i].run(ctx, sizes[i]); err != nil {
				return nil, fmt.Errorf("%s: %w", g.contenders[i].name, err)
			}
			times[i] = float64(time.Since(start).Nanoseconds()) / float64(sizes[i])
		}
		for i := range results {
			results[i].ns = append(results[i].ns, times[i])
			results[i].ratios = append(results[i].ratios, times[i]/times[0])
		}
	}
	for i, c := range g.contenders {
		if c.after != nil {
			results[i].extra = c.after()
		}
	}
	return results, nil
}

// calibrate warms a contender up and returns how often it does its work in one
// slice.
func calibrate(ctx context.Context, c contender, slice time.Duration) (int, error) {
	if c.warm > 0 {
		if err := c.run(ctx, c.warm); err != nil {
			return 0, err
		}
	}
	for n := 1; ; {
		start := time.Now()
		if err := c.run(ctx, n); err != nil {
			return 0, err
		}
		took := time.Since(start)
		if took >= slice/4 || n >= 1<<22 {
			return max(1, int(float64(n)*float64(slice)/float64(max(took, 1)))), nil
		}
		n *= 4
	}
}

// count takes allocations and round trips, which need no rounds.
func (r *result) count(ctx context.Context, c contender, n int) error {
	runtime.GC()
	var before, after runtime.MemStats
	var trips int64
	if c.trips != nil {
		trips = c.trips.Load()
	}
	runtime.ReadMemStats(&before)
	if err := c.run(ctx, n); err != nil {
		return err
	}
	runtime.ReadMemStats(&after)
	r.allocs = float64(after.Mallocs-before.Mallocs) / float64(n)
	r.bytes = float64(after.TotalAlloc-before.TotalAlloc) / float64(n)
	if c.trips != nil {
		r.trips = float64(c.trips.Load()-trips) / float64(n)
	}
	return nil
}

// repeat makes a run of one operation.
func repeat(op func(ctx context.Context, i int) error) func(context.Context, int) error {
	return func(ctx context.Context, n int) error {
		for i := range n {
			if err := op(ctx, i); err != nil {
				return err
			}
		}
		return nil
	}
}
