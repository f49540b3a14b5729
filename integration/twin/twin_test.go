package twin

import (
	"flag"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cacheplugin/cacheplugin"
	"github.com/cacheplugin/cacheplugin/cache"
	"github.com/cacheplugin/cacheplugin/integration/testdb"
	"github.com/cacheplugin/cacheplugin/internal/testenv"
)

var (
	twinSteps    = flag.Int("twin.steps", 400, "steps of the twin test per database, if neither -twin.reads nor -twin.duration is set")
	twinReads    = flag.Int("twin.reads", 0, "run the twin test until so many reads per database are checked; SQLite in memory and in a file count as one")
	twinDuration = flag.Duration("twin.duration", 0, "run the twin test for so long per database")
	twinSeed     = flag.Uint64("twin.seed", 0, "seed of the twin test; 0 draws one and prints it")
	twinReplay   = flag.String("twin.replay", "", "run one round of the twin test alone, by the name that a failure prints")
	twinLive     = flag.Int("twin.queries", 24, "queries that are asked again after each step of the twin test")
	twinRound    = flag.Int("twin.round", 40, "steps after which the twin test begins a new database with other queries")
	twinProgress = flag.Duration("twin.progress", 0, "print a line on each database that often")
)

// TestTwin holds two handles on one database against each other, one of them
// with the plugin. Random writes go through it; after each, every query that
// is alive is asked through both, and must have the same answer: values, types,
// error, rows affected.
func TestTwin(t *testing.T) {
	if testing.Short() {
		*twinSteps /= 4
	}
	seed := *twinSeed
	if seed == 0 {
		seed = rand.Uint64()
	}
	t.Logf("-twin.seed=%d", seed)
	for _, env := range testdb.Databases(t) {
		t.Run(env.Name, func(t *testing.T) {
			t.Parallel()
			run := &twinRun{env: env, seed: seed, began: time.Now()}
			run.run(t)
			t.Logf("%s; not cached:%s", &run.total, run.total.skipped())
			fmt.Printf("twin %s: %s\n", env.Name, run)
			if *twinReplay == "" {
				require.Positive(t, run.total.hits, "nothing came from the cache: the test is blind")
			}
		})
	}
}

// twinRun are the rounds on one database.
type twinRun struct {
	env   testenv.Database
	seed  uint64
	began time.Time
	told  time.Time // when the last line of progress was printed
	total twinStats
}

func (r *twinRun) String() string {
	return fmt.Sprintf("%s in %s (%s); %s; seed %d", rate(r.total.reads, r.began), time.Since(r.began).Round(time.Second), r.env.Dialect, &r.total, r.seed)
}

// twinCombination is how the handles of a round are configured.
type twinCombination struct {
	number  int
	prepare bool
	mode    cacheplugin.Mode
	near    bool // with a near cache, validated
}

// twinCombinations are what the rounds take in turn.
var twinCombinations = []twinCombination{
	{0, false, cacheplugin.ConjunctionSets, false},
	{1, false, cacheplugin.InsideOut, true},
	{2, true, cacheplugin.ConjunctionSets, true},
	{3, true, cacheplugin.InsideOut, false},
}

// run goes through rounds until the flags say that it is enough.
func (r *twinRun) run(t *testing.T) {
	for n := 0; !r.enough(); n++ {
		name := fmt.Sprintf("%s/%d", r.env.Name, n)
		if *twinReplay != "" {
			database, _, _ := strings.Cut(*twinReplay, "/")
			if name != *twinReplay {
				if database != r.env.Name || n > 1_000_000 {
					return
				}
				continue
			}
			r.round(t, n, name)
			return
		}
		if !r.round(t, n, name) {
			return
		}
	}
}

// enough reports whether the run ends.
func (r *twinRun) enough() bool {
	switch {
	case *twinReplay != "":
		return false
	case *twinReads > 0:
		wanted := *twinReads
		if r.env.Dialect == "sqlite" {
			wanted /= 2
		}
		return r.total.reads >= wanted
	case *twinDuration > 0:
		return time.Since(r.began) >= *twinDuration
	}
	return r.total.steps >= *twinSteps
}

// round runs one round. It has a seed of its own, so that it can be run alone.
func (r *twinRun) round(t *testing.T, n int, name string) (ok bool) {
	c := twinCombinations[n%len(twinCombinations)]
	hash := fnv.New64a()
	hash.Write([]byte(name))
	g := &twinGen{Rand: rand.New(rand.NewPCG(r.seed, hash.Sum64())), dialect: r.env.Dialect}
	g.aim()
	return t.Run(fmt.Sprintf("round=%d/prepared=%v/mode=%v", n, c.prepare, c.mode), func(t *testing.T) {
		tw := newTwin(t, r.env, g, c)
		tw.seed, tw.name = r.seed, name
		tw.stats.rounds++
		defer func() { r.total.add(tw.stats) }()
		for range *twinRound {
			if difference := tw.step(); difference != "" {
				t.Error(difference)
				fmt.Printf("twin %s: %s\n", r.env.Name, difference)
				return
			}
			r.progress(tw)
		}
	})
}

// progress prints a line now and then.
func (r *twinRun) progress(tw *twin) {
	if *twinProgress == 0 || time.Since(r.told) < *twinProgress {
		return
	}
	if r.told.IsZero() {
		r.told = time.Now()
		return
	}
	r.told = time.Now()
	sum := twinStats{}
	sum.add(r.total)
	sum.add(tw.stats)
	fmt.Printf("twin %s: after %s %d reads (%s), hit ratio %s, precision %s, round %d\n", r.env.Name, time.Since(r.began).Round(time.Second),
		sum.reads, rate(sum.reads, r.began), share(sum.hits, sum.hits+sum.misses), share(sum.changed, sum.dropped), sum.rounds)
}

// TestTwinFindsStaleReads is the control: where writes invalidate nothing, the
// same machinery must find a difference.
func TestTwinFindsStaleReads(t *testing.T) {
	for _, env := range testdb.Databases(t) {
		t.Run(env.Name, func(t *testing.T) {
			g := &twinGen{Rand: rand.New(rand.NewPCG(1, 1)), dialect: env.Dialect}
			tw := newTwin(t, env, g, twinCombinations[0])
			tw.ctx = cache.WithoutInvalidation(tw.ctx)
			for range 100 {
				if tw.step() != "" {
					return
				}
			}
			t.Fatal("100 steps without invalidation, and no stale read was found")
		})
	}
}
