package twin

import (
	"context"
	crand "crypto/rand"
	"fmt"
	"log/slog"
	"reflect"
	"regexp"
	"slices"
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

// twin is one round on one database.
type twin struct {
	*twinGen
	env      testenv.Database
	seed     uint64
	name     string          // of the round
	ctx      context.Context // of the writes
	events   *recorder
	handles  []twinHandle
	dueling  bool // whether another transaction writes meanwhile
	ddl      bool // whether definitions may change
	sessions bool // whether some sessions prepare
	queries  []*twinLiving
	steps    int
	log      []twinNote // what was done
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
	idle bool       // whether nothing of it is cached
}

// twinLast is what is known of the last time that a query was asked.
type twinLast struct {
	step   int
	truth  twinAnswer
	stored bool // whether the cache had the answer then
}

// refused reports whether the query was an error on some handle, or not asked yet.
func (q *twinLiving) refused() bool {
	for _, l := range q.last {
		if l.step == 0 || l.truth.refused() {
			return true
		}
	}
	return false
}

// refused reports whether the database gave an error.
func (a twinAnswer) refused() bool {
	return a.err != "" && a.err != gorm.ErrRecordNotFound.Error()
}

// twinPanic is the error of a query that panics, which differs from none.
const twinPanic = "panic"

// twinAddress is what differs in GORM's messages about associations.
var twinAddress = regexp.MustCompile(`0x[0-9a-f]+`)

// equal compares two answers.
func (a twinAnswer) equal(b twinAnswer) bool {
	return a.err == twinPanic || a.unplanned() || b.unplanned() || reflect.DeepEqual(a, b)
}

// unplanned tells of an error that says no more than how PostgreSQL has planned
// the query: with the parameter's value, or for any, as it does when a connection
// has asked the same a few times.
func (a twinAnswer) unplanned() bool {
	return strings.Contains(a.err, "FULL JOIN is only supported with merge-joinable")
}

// twinAnswer is all that a caller sees of a query.
type twinAnswer struct {
	dest any
	err  string
	rows int64
}

func newTwin(t *testing.T, env testenv.Database, g *twinGen, c twinCombination) *twin {
	tw := &twin{env: env, twinGen: g, ctx: context.Background(), events: &recorder{}}
	dsn := env.Create(t)
	plain := env.Connect(t, dsn, nil)
	require.NoError(t, plain.AutoMigrate(twinModels()...))
	require.NoError(t, twinTrigger(plain))
	require.NoError(t, twinFamily(plain))
	require.NoError(t, g.seed(plain))

	flavours := twinFlavours[env.Dialect]
	profiles := cacheplugin.Profiles{"*": {Ops: cache.All, Timeout: time.Hour}}
	profiles["twin_devices"] = &cacheplugin.Profile{Ops: cache.All, Timeout: time.Hour, Touches: []string{"twin_tags"}}
	prefix := "test-" + crand.Text()
	long := pick(g, 0, 5) // values that an IN may have to narrow
	for i := range 2 {
		flavour := flavours[(c.number+i)%len(flavours)]
		dsn := twinDSN(dsn, flavour)
		config := &gorm.Config{Logger: logger.Discard, PrepareStmt: c.prepare}
		h := twinHandle{db: env.Connect(t, dsn, config), truth: env.Connect(t, dsn, config), immediate: strings.Contains(flavour, "immediate")}
		var kept *cacheplugin.NearCache
		if c.near {
			kept = &cacheplugin.NearCache{MaxBytes: 256 << 10} // others have to give way
		}
		plugin := cacheplugin.New(cacheplugin.Config{
			NearCache: kept,
			Redis:     testenv.Redis(t), Prefix: prefix, Profiles: profiles, Mode: c.mode, Observer: tw.events, MaxInValues: long,
			Logger: slog.New(slog.DiscardHandler), RedisTimeout: 10 * time.Second,
		})
		require.NoError(t, h.db.Use(plugin))
		t.Cleanup(func() { require.NoError(t, plugin.Close(context.Background())) })
		tw.handles = append(tw.handles, h)
	}
	// Prepared statements outlive a table's definition in the drivers, with
	// and without the plugin.
	tw.ddl = !c.prepare && (env.Dialect != "postgres" || c.number == 1)
	// pgx takes its simple protocol no more on a connection that has prepared
	// the same text before: times have other locations from then on.
	tw.sessions = !tw.ddl && (env.Dialect != "postgres" || c.prepare)
	for range *twinLive {
		tw.queries = append(tw.queries, tw.living())
	}
	return tw
}

func (tw *twin) living() *twinLiving {
	q := &twinLiving{twinQuery: tw.query(), last: make([]twinLast, len(tw.handles))}
	tw.stats.queries++
	if dry, x, err := tw.explain(q.twinQuery); dry != nil && err == nil && x.Cached {
		tw.stats.cacheable++
		for _, d := range x.Dependencies {
			tw.stats.tables++
			if !slices.Contains(d.Conjunctions, "any value") {
				tw.stats.narrowed++
			}
		}
	}
	return q
}

// handle draws one of the handles, mostly the first.
func (tw *twin) handle() twinHandle {
	if tw.chance(4) {
		return tw.handles[1]
	}
	return tw.handles[0]
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
		// Some are replaced, those that aren't cached soon, and the new ones
		// asked so that the next step finds them stored.
		if tw.chance(40) || q.idle && tw.chance(4) {
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
	if db.Name() == "mysql" {
		widen(dest)
	}
	return a
}

// widen gives the numbers in maps one width. MySQL and MariaDB say of a column of
// an outer join that it may be NULL or not by the plan that they have chosen, which
// changes with other rows, and the driver's type goes by that: two answers to one
// query differ in it without the plugin, too.
func widen(dest any) {
	rows, ok := dest.(*[]map[string]any)
	if !ok {
		return
	}
	for _, row := range *rows {
		for name, v := range row {
			switch v := v.(type) {
			case int8:
				row[name] = int64(v)
			case int16:
				row[name] = int64(v)
			case int32:
				row[name] = int64(v)
			case float32:
				row[name] = float64(v)
			}
		}
	}
}

// compare asks a living query through the handles with the plugin, and through
// one without. Handles differ in driver options, which few answers show: what
// the first one's database says is asked again through another only where that
// one's answer is different.
func (tw *twin) compare(q *twinLiving) string {
	session := &gorm.Session{PrepareStmt: tw.sessions && tw.chance(20)}
	first := tw.IntN(len(tw.handles))
	truth := q.ask(tw.handles[first].truth.Session(session))
	if truth.refused() {
		tw.stats.errors++
	}
	q.idle = true
	for i := range tw.handles {
		n := (first + i) % len(tw.handles)
		h, last := tw.handles[n], &q.last[n]
		tw.events.take()
		got := q.ask(h.db.Session(session))
		o := tw.events.outcome()
		tw.stats.looked(o)
		if o.failed != nil && !tw.dueling { // it may be of the other's write, which the database refuses
			return tw.report(q, "the plugin reports an error: "+o.failed.Error(), truth, got)
		}
		if i > 0 && !truth.equal(got) {
			truth = q.ask(h.truth.Session(session))
		}
		if !truth.equal(got) {
			return tw.report(q, fmt.Sprintf("a difference (handle %d, hits %d, misses %d, skips %v)", n, o.hits, o.misses, o.skips), truth, got)
		}
		if last.stored && last.step == tw.steps-1 && o.misses > 0 && !session.PrepareStmt {
			tw.stats.dropped++
			if !last.truth.equal(truth) {
				tw.stats.changed++
			}
		}
		*last = twinLast{tw.steps, truth, o.hits+o.misses > 0 && len(o.skips) == 0 && truth.err == ""}
		if q.idle = q.idle && (!last.stored || truth.refused()); q.idle {
			break // nothing is cached of it
		}
	}
	return ""
}
