package cacheplugin_test

import (
	"context"
	crand "crypto/rand"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"reflect"
	"regexp"
	"strings"
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
	twinSteps    = flag.Int("twin.steps", 160, "steps of the twin test per database, mode and kind of statements")
	twinSeed     = flag.Uint64("twin.seed", 0, "seed of the twin test; 0 draws one and prints it")
	twinDuration = flag.Duration("twin.duration", 0, "run the twin test for so long per combination, and for at least -twin.steps")
	twinLive     = flag.Int("twin.queries", 24, "queries that are asked again after each step of the twin test")
)

// twinRound is the number of steps after which a new database, with other
// queries, is begun.
const twinRound = 40

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
					g := &twinGen{Rand: rand.New(rand.NewPCG(seed, stream)), dialect: env.Dialect}
					t.Run(fmt.Sprintf("prepared=%v/mode=%v", prepare, mode), func(t *testing.T) {
						end := time.Now().Add(*twinDuration)
						stats := &twinStats{}
						for left := *twinSteps; left > 0 || *twinDuration > 0 && time.Now().Before(end); left -= twinRound {
							g.focus, g.strict = nil, false
							if !g.chance(3) {
								g.narrow()
							}
							tw := newTwin(t, env, g, prepare, mode)
							tw.seed = seed
							tw.round(t, twinRound)
							stats.add(tw.stats)
							if t.Failed() {
								break
							}
						}
						t.Logf("%s; not cached:%s", stats, stats.skipped())
						total.add(*stats)
						require.Positive(t, stats.hits, "nothing came from the cache: the test is blind")
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
			g := &twinGen{Rand: rand.New(rand.NewPCG(1, 1)), dialect: env.Dialect}
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
	*twinGen
	env      testenv.Database
	seed     uint64
	ctx      context.Context // of the writes
	events   *recorder
	handles  []twinHandle
	ddl      bool // whether definitions may change
	sessions bool // whether some sessions prepare
	queries  []*twinLiving
	steps    int
	log      []string // what the writes were
	stats    twinStats
}

// twinHandle is a handle with the plugin, and one that is like it without.
// Two of them are what two processes have.
type twinHandle struct {
	db, truth *gorm.DB
	immediate bool // its transactions keep other writers out from their begin
}

// twinLiving is a query that is asked again and again.
type twinLiving struct {
	*twinQuery
	last []twinLast // of each handle
}

// twinLast is what is known of the last time that a query was asked.
type twinLast struct {
	step   int
	truth  twinAnswer
	stored bool // whether the cache had the answer then
}

// refused tells whether the query was an error on some handle, or not asked yet.
func (q *twinLiving) refused() bool {
	for _, l := range q.last {
		if l.step == 0 || l.truth.refused() {
			return true
		}
	}
	return false
}

// refused tells whether the database gave an error.
func (a twinAnswer) refused() bool {
	return a.err != "" && a.err != gorm.ErrRecordNotFound.Error()
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
	tw := &twin{env: env, twinGen: g, ctx: context.Background(), events: &recorder{}}
	dsn := env.Create(t)
	plain := env.Connect(t, dsn, nil)
	require.NoError(t, plain.AutoMigrate(twinModels()...))
	require.NoError(t, twinTrigger(plain))
	require.NoError(t, g.seed(plain))

	combination := int(mode)
	if prepare {
		combination += 2
	}
	flavours := twinFlavours[env.Dialect]
	profiles := cacheAll()
	profiles["twin_devices"] = &cacheplugin.Profile{Ops: cache.All, Timeout: time.Hour, Touches: []string{"twin_tags"}}
	prefix := "test-" + crand.Text()
	for i := range 2 {
		flavour := flavours[(combination+i)%len(flavours)]
		dsn := twinDSN(dsn, flavour)
		config := &gorm.Config{Logger: logger.Discard, PrepareStmt: prepare}
		h := twinHandle{db: env.Connect(t, dsn, config), truth: env.Connect(t, dsn, config), immediate: strings.Contains(flavour, "immediate")}
		plugin := cacheplugin.New(cacheplugin.Config{
			Redis: testenv.Redis(t), Prefix: prefix, Profiles: profiles, Mode: mode, Observer: tw.events,
			Logger: slog.New(slog.DiscardHandler), RedisTimeout: 10 * time.Second,
		})
		require.NoError(t, h.db.Use(plugin))
		t.Cleanup(func() { require.NoError(t, plugin.Close(context.Background())) })
		tw.handles = append(tw.handles, h)
	}
	// Prepared statements outlive a table's definition in the drivers, with
	// and without the plugin.
	tw.ddl = !prepare && (env.Dialect != "postgres" || combination == 1)
	// pgx takes its simple protocol no more on a connection that has prepared
	// the same text before: times have other locations from then on.
	tw.sessions = !tw.ddl && (env.Dialect != "postgres" || prepare)
	for range *twinLive {
		tw.queries = append(tw.queries, tw.living())
	}
	return tw
}

func (tw *twin) living() *twinLiving {
	return &twinLiving{tw.query(), make([]twinLast, len(tw.handles))}
}

// handle draws one of the handles, mostly the first.
func (tw *twin) handle() twinHandle {
	if tw.chance(4) {
		return tw.handles[1]
	}
	return tw.handles[0]
}

// round runs some steps on one database.
func (tw *twin) round(t *testing.T, steps int) {
	t.Helper()
	for range steps {
		if difference := tw.step(); difference != "" {
			t.Error(difference)
			return
		}
	}
}

// step writes, and compares all living queries. It returns what differs.
func (tw *twin) step() string {
	tw.steps++
	tw.stats.steps++
	tw.events.take()
	if d := tw.change(); d != "" {
		return d
	}
	for _, e := range tw.events.take() {
		if e.Kind == cacheplugin.EventInvalidate {
			tw.stats.invalidations++
			if e.Whole {
				tw.stats.whole++
			}
		}
	}
	for i, q := range tw.queries {
		if d := tw.compare(q); d != "" {
			return d
		}
		// Some are replaced, and the new ones asked so that the next step
		// finds them stored.
		if tw.chance(40) {
			tw.queries[i] = tw.living()
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
	// What a destination holds after an error of scanning is left over from
	// others: GORM takes its buffers from a pool.
	if strings.Contains(a.err, "Scan error") {
		a.dest = nil
	}
	if q.loose && a.dest != nil {
		sortRows(dest)
	}
	return a
}

// compare asks a living query through a handle with the plugin and through one
// without.
func (tw *twin) compare(q *twinLiving) string {
	n := 0
	if tw.chance(4) {
		n = 1
	}
	h, last := tw.handles[n], &q.last[n]
	session := &gorm.Session{PrepareStmt: tw.sessions && tw.chance(20)}
	truth := q.ask(h.truth.Session(session))
	tw.events.take()
	got := q.ask(h.db.Session(session))
	hits, misses, skips, failed := tw.outcomes()
	if failed != nil {
		return tw.report(q.twinQuery, "the plugin reports an error: "+failed.Error(), truth, got)
	}
	tw.stats.reads++
	tw.stats.hits += hits
	tw.stats.misses += misses
	tw.stats.skips += skips
	if hits+misses == 0 {
		tw.stats.unasked++
	}
	if truth.refused() {
		tw.stats.errors++
	}
	if last.stored && last.step == tw.steps-1 && misses > 0 && !session.PrepareStmt {
		tw.stats.dropped++
		if !last.truth.equal(truth) {
			tw.stats.changed++
		}
	}
	*last = twinLast{tw.steps, truth, hits+misses > 0 && skips == 0 && truth.err == ""}
	if !truth.equal(got) {
		return tw.report(q.twinQuery, fmt.Sprintf("a difference (handle %d, hits %d, misses %d, skips %d)", n, hits, misses, skips), truth, got)
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
