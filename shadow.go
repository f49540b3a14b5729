package cacheplugin

import (
	"context"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/cacheplugin/cacheplugin/cache"
	"github.com/cacheplugin/cacheplugin/conj"
	"github.com/cacheplugin/cacheplugin/internal/rowset"
	"github.com/cacheplugin/cacheplugin/internal/store"
)

const (
	// shadowWorkers is how many shadow reads a process has at a time. A hit
	// that comes when all are busy is not checked.
	shadowWorkers = 4
	// shadowTimeout bounds each of their queries.
	shadowTimeout = 10 * time.Second
)

// shadows runs the shadow reads of a plugin: queries that were answered from
// the cache are asked of the database as well, and compared. It is what Meta
// calls consistency monitoring (Polaris) and checks the whole of the plugin
// where it matters: on the program's own queries.
type shadows struct {
	share float64
	delay time.Duration

	life  context.Context // of all shadow reads, ended by close
	stop  context.CancelFunc
	slots chan struct{}
	mu    sync.Mutex // no read is begun after close
	all   sync.WaitGroup
}

func newShadows(c Config) *shadows {
	s := &shadows{share: c.ShadowReads, delay: c.ShadowDelay, slots: make(chan struct{}, shadowWorkers)}
	s.life, s.stop = context.WithCancel(context.Background())
	return s
}

// begin takes a slot, if there is one.
func (s *shadows) begin() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.life.Err() != nil {
		return false
	}
	select {
	case s.slots <- struct{}{}:
		s.all.Add(1)
		return true
	default:
		return false
	}
}

func (s *shadows) end() {
	<-s.slots
	s.all.Done()
}

// close ends all shadow reads. It waits for them, as long as the context
// allows.
func (s *shadows) close(ctx context.Context) {
	s.mu.Lock()
	s.stop()
	s.mu.Unlock()
	ended := make(chan struct{})
	go func() {
		s.all.Wait()
		close(ended)
	}()
	select {
	case <-ended:
	case <-ctx.Done():
	}
}

// shadowed tells whether hits of a query can be checked: not where its user has
// accepted old results, nor where the result depends on more than the database
// and the text.
func (d *decision) shadowed(ctx context.Context, settings *cache.Settings) bool {
	if d.tx != nil || len(d.deps) == 0 || d.plan.Volatile != "" || len(d.plan.Hidden) > 0 || len(d.plan.On) > 0 || len(cache.VaryOf(ctx)) > 0 {
		return false
	}
	return settings == nil || !settings.Volatile && len(settings.Extra) == 0
}

// shadow checks a share of the hits, in the background.
func (r *read) shadow(ctx context.Context, payload []byte) {
	s := r.engine.shadows
	if s == nil || r.plan == nil || rand.Float64() >= s.share {
		return
	}
	args, ok := keepArgs(r.args)
	if !ok || !s.begin() {
		return
	}
	copied := *r
	copied.args = args
	hit := time.Now()
	// The caller's values, not its end: loggers and tracers go by them.
	ctx = context.WithoutCancel(ctx)
	go func() {
		defer s.end()
		ctx, cancel := context.WithCancel(ctx)
		defer context.AfterFunc(s.life, cancel)()
		defer cancel()
		if err := copied.check(ctx, payload, hit); err != nil && s.life.Err() == nil {
			r.engine.failed(ctx, "a shadow read failed", r.table, err)
		}
	}()
}

// check compares a result that was hit with the database's answer, and reports
// it if it is older.
//
// A difference alone says nothing: a commit may be on its way to Redis. It is
// confirmed when the very same entry is still served after a while, so that
// the invalidation had that long to arrive, and differs from what the database
// says then, too.
func (r *read) check(ctx context.Context, payload []byte, hit time.Time) error {
	e := r.engine
	decidable, err := r.decidable(ctx)
	if err != nil || !decidable {
		return err
	}
	e.observe(ctx, Event{Kind: EventShadow, Table: r.table, Op: r.op, Key: r.key.String()})
	same, err := r.sameInDatabase(ctx, payload)
	if err != nil || same {
		return err
	}
	pause := time.NewTimer(e.shadows.delay)
	defer pause.Stop()
	select {
	case <-pause.C:
	case <-ctx.Done():
		return ctx.Err()
	}
	found, err := r.space.store.Peek(ctx, r.key, r.deps)
	if err != nil || found.State != store.Hit || string(found.Payload) != string(payload) {
		return err
	}
	remaining, err := r.space.store.Remaining(ctx, r.key)
	if err != nil {
		return err
	}
	age := r.timeout - remaining
	if age < time.Since(hit)-time.Millisecond { // Redis counts in milliseconds
		return nil // another one, with the same rows
	}
	same, err = r.sameInDatabase(ctx, payload)
	if err != nil || same {
		return err
	}
	e.observe(ctx, Event{Kind: EventStale, Table: r.table, Op: r.op, Key: r.key.String(), Query: r.query, Age: age, Rows: rowset.Count(payload), Bytes: len(payload)})
	e.config.Logger.ErrorContext(ctx, "cacheplugin: a stale result was served; it is dropped. Was the table written without the plugin?",
		"table", r.table, "query", r.query, "key", r.key.String(), "age", age)
	for _, table := range r.tables {
		r.space.near.Drop(store.Change{Table: table, All: true})
	}
	return r.space.store.Forget(ctx, r.key)
}

// sameInDatabase asks the database that fills the cache. A result that is too
// large to compare counts as the same.
func (r *read) sameInDatabase(ctx context.Context, payload []byte) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, shadowTimeout)
	defer cancel()
	rows, err := r.pool.QueryContext(ctx, r.query, r.args...)
	if err != nil {
		return false, err
	}
	outdated := r.outdated(rows)
	var fresh rowset.Recording
	src, err := rowset.Tee(rows, rowset.TeeOptions{
		Limits: rowset.Limits{Rows: r.engine.config.MaxRows, Bytes: r.engine.config.MaxBytes},
		Drain:  true,
		Done:   func(rec rowset.Recording) { fresh = rec },
	})
	if err != nil {
		return false, err
	}
	if err := src.Close(); err != nil {
		return false, err
	}
	if !fresh.Complete || outdated {
		return true, nil
	}
	return rowset.Same(payload, fresh.Payload)
}

// keepArgs copies a query's arguments, for a time when their owner may have
// changed them. It is false for what can't be copied.
func keepArgs(args []any) ([]any, bool) {
	kept := slices.Clone(args)
	for i, v := range kept {
		if b, ok := v.([]byte); ok {
			kept[i] = slices.Clone(b)
			continue
		}
		switch reflect.ValueOf(v).Kind() {
		case reflect.Pointer, reflect.Map, reflect.Slice, reflect.Func, reflect.Chan, reflect.UnsafePointer:
			return nil, false
		}
	}
	return kept, true
}

// arbitrary are words that may make a result depend on the order in which rows
// are met. Where one only looks like it, a check is left out.
var arbitrary = []string{"_AGG", "CONCAT", "OVER(", "OVER (", "DISTINCT ON", "ANY_VALUE", "TABLESAMPLE", "JSON_GROUP", "JSONB_GROUP", "XML"}

// cutting are words of clauses that leave out rows.
var cutting = []string{"LIMIT", "OFFSET", "FETCH"}

// decidable tells whether the rows of the tables determine a query's result,
// but for the order of its rows: a LIMIT needs an order that is total.
func (r *read) decidable(ctx context.Context) (bool, error) {
	text := strings.ToUpper(r.query)
	contains := func(word string) bool { return strings.Contains(text, word) }
	switch {
	case slices.ContainsFunc(arbitrary, contains):
		return false, nil
	case r.engine.dialect != conj.PostgreSQL && contains("GROUP BY"):
		return false, nil // columns beside the groups' own may be of any row
	case !slices.ContainsFunc(cutting, contains):
		return true, nil
	case strings.Count(text, "SELECT") != 1 || len(r.plan.Tables) != 1 || len(r.plan.Names) != 1 || len(r.deps) != 1:
		return false, nil
	}
	table, err := r.engine.database(r.pool).catalog.Table(ctx, r.pool, r.plan.Names[0], true)
	if err != nil || table == nil || len(table.PrimaryKey) == 0 {
		return false, err
	}
	key := make([]string, len(table.PrimaryKey))
	for i, column := range table.PrimaryKey {
		key[i] = strings.ToUpper(table.Columns()[column].Name)
	}
	return within(key, r.pinned()) || within(key, orderedBy(text)), nil
}

// pinned are the columns that a query asks one value of, in capitals.
func (r *read) pinned() []string {
	if d := r.deps[0]; len(d.Keys) == 1 && len(d.Schemes) == 1 {
		columns, _ := d.Schemes[0].Typed()
		names := make([]string, len(columns))
		for i, c := range columns {
			names[i] = strings.ToUpper(c.Name)
		}
		return names
	}
	return nil
}

// orderedBy are the columns of a text's last ORDER BY that stand there alone.
func orderedBy(text string) []string {
	at := strings.LastIndex(text, "ORDER BY")
	if at < 0 {
		return nil
	}
	clause := text[at+len("ORDER BY"):]
	for _, word := range cutting {
		clause, _, _ = strings.Cut(clause, word)
	}
	var columns []string
	for _, item := range strings.Split(clause, ",") {
		item = strings.TrimSpace(item)
		item = strings.TrimSuffix(strings.TrimSuffix(item, " DESC"), " ASC")
		item = item[strings.LastIndexByte(item, '.')+1:]
		columns = append(columns, strings.Trim(item, "\"`"))
	}
	return columns
}

func within(some, all []string) bool {
	for _, s := range some {
		if !slices.Contains(all, s) {
			return false
		}
	}
	return true
}
