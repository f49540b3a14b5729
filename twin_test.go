package cacheplugin_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"reflect"
	"regexp"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"gorm.io/gorm"
	"gorm.io/gorm/logger"

	"github.com/cacheplugin/cacheplugin"
	"github.com/cacheplugin/cacheplugin/cache"
	"github.com/cacheplugin/cacheplugin/internal/testenv"
)

var (
	twinSteps    = flag.Int("twin.steps", 120, "steps of the twin test per database, mode and kind of statements")
	twinSeed     = flag.Uint64("twin.seed", 0, "seed of the twin test; 0 draws one and prints it")
	twinDuration = flag.Duration("twin.duration", 0, "run the twin test for so long per combination, in place of -twin.steps")
	twinLive     = flag.Int("twin.queries", 24, "queries that are asked again after each step of the twin test")
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
	stream := uint64(0)
	for _, env := range testenv.Databases(t) {
		total := &twinStats{}
		t.Run(env.Name, func(t *testing.T) {
			for _, prepare := range []bool{false, true} {
				for _, mode := range []cacheplugin.Mode{cacheplugin.ConjunctionSets, cacheplugin.InsideOut} {
					stream++
					g := &twinGen{rand.New(rand.NewPCG(seed, stream)), env.Dialect}
					t.Run(fmt.Sprintf("prepared=%v/mode=%v", prepare, mode), func(t *testing.T) {
						tw := newTwin(t, env, g, prepare, mode)
						tw.seed = seed
						tw.runAll(t)
						total.add(tw.stats)
						require.Positive(t, tw.stats.hits, "nothing came from the cache: the test is blind")
					})
				}
			}
		})
		t.Logf("%s: %s", env.Name, total)
		fmt.Printf("twin %s: %s, seed %d\n", env.Name, total, seed)
	}
}

// TestTwinFindsStaleReads is the control: where writes invalidate nothing, the
// same machinery must find a difference.
func TestTwinFindsStaleReads(t *testing.T) {
	for _, env := range testenv.Databases(t) {
		t.Run(env.Name, func(t *testing.T) {
			g := &twinGen{rand.New(rand.NewPCG(1, 1)), env.Dialect}
			tw := newTwin(t, env, g, false, cacheplugin.ConjunctionSets)
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

// twin is one run.
type twin struct {
	*fixture
	*twinGen
	seed    uint64
	ctx     context.Context // of the writes
	truth   *gorm.DB        // like fixture.db, without the plugin
	queries []*twinLiving
	steps   int
	log     []string // what the writes were
	stats   twinStats
}

// twinLiving is a query that is asked again and again.
type twinLiving struct {
	*twinQuery
	last   twinAnswer // the truth after the last step
	stored bool       // whether the cache had the answer then
}

// twinPanic is the error of a query that panics, which differs from none.
const twinPanic = "panic"

// twinAddress is what differs in GORM's messages about associations.
var twinAddress = regexp.MustCompile(`0x[0-9a-f]+`)

// equal compares two answers.
func (a twinAnswer) equal(b twinAnswer) bool {
	return a.err == twinPanic || reflect.DeepEqual(a, b)
}

// twinAnswer is all that a caller sees of a query.
type twinAnswer struct {
	dest any
	err  string
	rows int64
}

func newTwin(t *testing.T, env testenv.Database, g *twinGen, prepare bool, mode cacheplugin.Mode) *twin {
	f := newFixture(t, env, options{config: cacheplugin.Config{Mode: mode}, gorm: gorm.Config{PrepareStmt: prepare}, models: twinModels()})
	tw := &twin{fixture: f, twinGen: g, ctx: context.Background()}
	// Statements with and without preparation give values of other types on
	// MySQL: the truth is asked the same way.
	tw.truth = env.Reopen(t, f.plain, &gorm.Config{Logger: logger.Discard, PrepareStmt: prepare})
	require.NoError(t, g.seed(f.plain))
	for range *twinLive {
		tw.queries = append(tw.queries, &twinLiving{twinQuery: g.query()})
	}
	return tw
}

func (tw *twin) runAll(t *testing.T) {
	t.Helper()
	end := time.Now().Add(*twinDuration)
	for n := 0; ; n++ {
		if *twinDuration > 0 && time.Now().After(end) || *twinDuration == 0 && n >= *twinSteps {
			break
		}
		if difference := tw.step(); difference != "" {
			t.Fatal(difference)
		}
	}
	t.Log(tw.stats.String())
}

// step writes, and compares all living queries. It returns what differs.
func (tw *twin) step() string {
	tw.steps++
	tw.stats.steps++
	if d := tw.change(); d != "" {
		return d
	}
	for i, q := range tw.queries {
		if d := tw.compare(q); d != "" {
			return d
		}
		// Some are replaced, and the new ones asked so that the next step
		// finds them stored.
		if tw.chance(40) {
			tw.queries[i] = &twinLiving{twinQuery: tw.query()}
			if d := tw.compare(tw.queries[i]); d != "" {
				return d
			}
		}
	}
	return ""
}

// ask asks a query through a handle.
func (q *twinQuery) ask(db *gorm.DB) (a twinAnswer) {
	defer func() {
		// GORM's Row does so in a prepared session where the text is refused.
		if r := recover(); r != nil {
			a = twinAnswer{err: twinPanic}
		}
	}()
	dest, tx := q.run(db)
	a = twinAnswer{dest: dest, rows: tx.RowsAffected}
	if tx.Error != nil {
		a.err = twinAddress.ReplaceAllString(tx.Error.Error(), "")
	}
	if q.loose {
		sortRows(dest)
	}
	return a
}

// compare asks a living query through both handles.
func (tw *twin) compare(q *twinLiving) string {
	truth := q.ask(tw.truth.WithContext(context.Background()))
	tw.events.take()
	got := q.ask(tw.db.WithContext(context.Background()))
	hits, misses, skips, failed := tw.outcomes()
	if failed != nil {
		return tw.report(q.twinQuery, "the plugin reports an error: "+failed.Error(), truth, got)
	}
	tw.stats.reads++
	tw.stats.hits += hits
	tw.stats.misses += misses
	tw.stats.skips += skips
	if truth.err != "" && truth.err != gorm.ErrRecordNotFound.Error() {
		tw.stats.errors++
	}
	if q.stored && misses > 0 {
		tw.stats.dropped++
		if !q.last.equal(truth) {
			tw.stats.changed++
		}
	}
	q.stored = hits+misses > 0 && skips == 0
	q.last = truth
	if !truth.equal(got) {
		return tw.report(q.twinQuery, fmt.Sprintf("a difference (hits %d, misses %d, skips %d)", hits, misses, skips), truth, got)
	}
	return ""
}

// outcomes counts the look-ups since the last call.
func (tw *twin) outcomes() (hits, misses, skips int, failed error) {
	for _, e := range tw.events.take() {
		switch e.Kind {
		case cacheplugin.EventHit:
			hits++
		case cacheplugin.EventMiss:
			misses++
		case cacheplugin.EventSkip:
			skips++
			tw.stats.skip(e.Reason)
		case cacheplugin.EventError:
			failed = errors.Join(failed, fmt.Errorf("%s: %w", e.Reason, e.Err))
		}
	}
	return hits, misses, skips, failed
}

// note remembers what was done.
func (tw *twin) note(format string, args ...any) {
	tw.log = append(tw.log, fmt.Sprintf("%d: ", tw.steps)+fmt.Sprintf(format, args...))
	if len(tw.log) > 40 {
		tw.log = tw.log[1:]
	}
}
