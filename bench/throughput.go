package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
)

// throughput measures hits in one goroutine and in many, and what each costs
// Redis, which does one thing at a time.
func throughput(_ context.Context, env *environment, d *database, open *opened) ([]group, error) {
	setups, err := env.setups(d, open, hitVariants...)
	if err != nil {
		return nil, err
	}
	var groups []group
	for _, w := range readWorks[:2] {
		for _, lanes := range []int{1, 20} {
			g := group{work: fmt.Sprintf("%s, %s", w.name, plural(lanes, "goroutine")), busy: env.busy(open)}
			for _, s := range setups {
				c := s.reader(w)
				c.run = parallel(lanes, c.run)
				g.contenders = append(g.contenders, c)
			}
			groups = append(groups, g)
		}
	}
	return groups, nil
}

// parallel shares the laps of a run among several goroutines.
func parallel(lanes int, run func(context.Context, *lap) error) func(context.Context, *lap) error {
	if lanes == 1 {
		return run
	}
	return func(ctx context.Context, l *lap) error {
		var (
			wait sync.WaitGroup
			errs = make([]error, lanes)
		)
		for lane := range lanes {
			share := &lap{n: portion(l.n, lanes, lane)}
			wait.Go(func() { errs[lane] = run(ctx, share) })
		}
		wait.Wait()
		return errors.Join(errs...)
	}
}

// portion is the share of one of several in n.
func portion(n, of, one int) int {
	share := n / of
	if one < n%of {
		share++
	}
	return share
}

// plural is a number of things, in words.
func plural(n int, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return fmt.Sprintf("%d %ss", n, thing)
}
