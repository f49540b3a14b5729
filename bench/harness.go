package main

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"runtime"
	"sync/atomic"
	"time"
)

// contender is one way to do a work.
type contender struct {
	name string
	// run does the work as often as the lap says. It is called again and
	// again. Without it, the contender has nothing but figures.
	run func(context.Context, *lap) error
	// warm is how often the work is done before anything is measured, so that
	// what can be cached is.
	warm int
	// trips counts round trips to Redis; nil if it needs none.
	trips *atomic.Int64
	// elsewhere: in another process, whose allocations are not seen.
	elsewhere bool
	// begin, if set, is called when the rounds begin, and figures when they
	// have ended: it adds figures of the contender's own to the result.
	begin   func()
	figures func() map[string]float64
}

// suite is a set of works that are measured on each database.
type suite struct {
	name string
	// title says what is compared, for tables and charts.
	title string
	// once: independent of the database.
	once bool
	// networked: not for a database in the process.
	networked bool
	make      func(ctx context.Context, env *environment, d *database, o *opened) ([]group, error)
}

// group is the contenders of one work. The first is the baseline.
type group struct {
	work       string
	contenders []contender
	// busy, if set, returns how long Redis' thread has worked so far. Of
	// contenders with round trips, what they cost Redis is reported then.
	busy func(context.Context) (time.Duration, error)
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

// opened is what a suite has opened on one database, closed in the reverse
// order when the suite has been measured.
type opened struct {
	closers []func()
}

func (o *opened) closeLater(f func()) { o.closers = append(o.closers, f) }

// setup keeps a setup to be closed.
func (o *opened) setup(s setup, err error) (setup, error) {
	if err == nil {
		o.closeLater(s.close)
	}
	return s, err
}

func (o *opened) close() {
	for len(o.closers) > 0 {
		last := len(o.closers) - 1
		o.closers[last]()
		o.closers = o.closers[:last]
	}
}

// runSuite measures the suite's works on one database, and leaves nothing in
// Redis.
func (env *environment) runSuite(ctx context.Context, o options, s suite, d *database) (all []result, err error) {
	open := new(opened)
	defer func() {
		open.close()
		if flushErr := env.flush(ctx); err == nil {
			err = flushErr
		}
	}()
	groups, err := s.make(ctx, env, d, open)
	if err != nil {
		return nil, err
	}
	name := d.name
	if s.once {
		name = "-"
	}
	for _, g := range groups {
		results, err := measure(ctx, o, g)
		if err != nil {
			return all, fmt.Errorf("%s: %w", g.work, err)
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
		racers  []int
	)
	for i, c := range g.contenders {
		results[i].contender, results[i].baseline = c.name, g.contenders[0].name
		if c.run == nil {
			continue
		}
		racers = append(racers, i)
		n, err := calibrate(ctx, c, o.slice)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", c.name, err)
		}
		sizes[i] = n
		if err := results[i].count(ctx, c, min(n, 500)); err != nil {
			return nil, fmt.Errorf("%s: %w", c.name, err)
		}
	}
	for _, c := range g.contenders {
		if c.begin != nil {
			c.begin()
		}
	}
	busy, err := race(ctx, o, g, racers, sizes, results)
	if err != nil {
		return nil, err
	}
	for i, c := range g.contenders {
		if c.figures != nil {
			results[i].extra = c.figures()
		}
		if g.busy != nil && c.trips != nil {
			if results[i].extra == nil {
				results[i].extra = map[string]float64{}
			}
			results[i].extra["Redis µs"] = float64(busy[i].Nanoseconds()) / 1000 / float64(sizes[i]*len(results[i].ns))
		}
	}
	return results, nil
}

// fewest is the number of rounds that is run even if they take long.
const fewest = 3

// race runs the rounds and returns for how long each contender kept Redis busy.
// Works that can't be done in a slice, or that take long to prepare, would take
// minutes: they have fewer rounds.
func race(ctx context.Context, o options, g group, racers, sizes []int, results []result) ([]time.Duration, error) {
	busy := make([]time.Duration, len(g.contenders))
	// The order is another one in each round, and the same in each run.
	random := rand.New(rand.NewPCG(1, uint64(len(g.work))))
	limit := 2 * time.Duration(o.rounds*len(racers)) * o.slice
	began := time.Now()
	for round := range o.rounds {
		if round >= fewest && time.Since(began) > limit {
			break
		}
		times := make([]float64, len(g.contenders))
		for _, turn := range random.Perm(len(racers)) {
			i := racers[turn]
			c := g.contenders[i]
			var before, after time.Duration
			var err error
			if g.busy != nil {
				if before, err = g.busy(ctx); err != nil {
					return nil, err
				}
			}
			l, err := drive(ctx, c, sizes[i], false)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", c.name, err)
			}
			if g.busy != nil {
				if after, err = g.busy(ctx); err != nil {
					return nil, err
				}
			}
			busy[i] += after - before
			times[i] = float64(l.took.Nanoseconds()) / float64(sizes[i])
		}
		for _, i := range racers {
			results[i].ns = append(results[i].ns, times[i])
			results[i].ratios = append(results[i].ratios, times[i]/times[racers[0]])
		}
	}
	return busy, nil
}

// calibrate warms a contender up and returns how often it does its work in one
// slice, of which what it does aside may take no more than three times as long.
func calibrate(ctx context.Context, c contender, slice time.Duration) (int, error) {
	// The first time is no measure of what follows.
	if _, err := drive(ctx, c, max(1, c.warm), false); err != nil {
		return 0, err
	}
	for n := 1; ; {
		start := time.Now()
		l, err := drive(ctx, c, n, false)
		if err != nil {
			return 0, err
		}
		took := max(l.took, time.Since(start)/4, 1)
		if took >= slice/4 || n >= 1<<22 {
			return max(1, int(float64(n)*float64(slice)/float64(took))), nil
		}
		n *= 4
	}
}

// count takes allocations and round trips, which need no rounds.
func (r *result) count(ctx context.Context, c contender, n int) error {
	runtime.GC()
	l, err := drive(ctx, c, n, true)
	if err != nil {
		return err
	}
	r.allocs = float64(l.allocs) / float64(n)
	r.bytes = float64(l.bytes) / float64(n)
	r.trips = float64(l.made) / float64(n)
	if c.elsewhere {
		r.allocs, r.bytes = math.NaN(), math.NaN()
	}
	return nil
}

// lap is one slice of a contender: how often it does its work, and what the
// work took.
type lap struct {
	n    int
	took time.Duration

	// Allocations and round trips are taken only when they are asked for:
	// counting allocations stops the program.
	counting      bool
	trips         *atomic.Int64
	allocs, bytes uint64
	made          int64

	began  time.Time
	memory runtime.MemStats
	before int64
}

// drive lets a contender do its work n times.
func drive(ctx context.Context, c contender, n int, counting bool) (*lap, error) {
	l := &lap{n: n, counting: counting, trips: c.trips}
	l.start()
	err := c.run(ctx, l)
	l.stop()
	return l, err
}

// aside does what belongs to the work but is not measured.
func (l *lap) aside(do func() error) error {
	l.stop()
	defer l.start()
	return do()
}

func (l *lap) start() {
	if l.counting {
		if l.trips != nil {
			l.before = l.trips.Load()
		}
		runtime.ReadMemStats(&l.memory)
	}
	l.began = time.Now()
}

func (l *lap) stop() {
	l.took += time.Since(l.began)
	if !l.counting {
		return
	}
	allocs, bytes := l.memory.Mallocs, l.memory.TotalAlloc
	runtime.ReadMemStats(&l.memory)
	l.allocs += l.memory.Mallocs - allocs
	l.bytes += l.memory.TotalAlloc - bytes
	if l.trips != nil {
		l.made += l.trips.Load() - l.before
	}
}

// repeat makes a run of one operation.
func repeat(op func(ctx context.Context, i int) error) func(context.Context, *lap) error {
	return func(ctx context.Context, l *lap) error {
		for i := range l.n {
			if err := op(ctx, i); err != nil {
				return err
			}
		}
		return nil
	}
}
