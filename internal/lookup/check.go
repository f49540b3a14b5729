package lookup

import (
	"context"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/cacheplugin/cacheplugin/cache"
	"github.com/cacheplugin/cacheplugin/conj"
	"github.com/cacheplugin/cacheplugin/internal/background"
	"github.com/cacheplugin/cacheplugin/internal/report"
	"github.com/cacheplugin/cacheplugin/internal/rowset"
	"github.com/cacheplugin/cacheplugin/internal/store"
	"github.com/cacheplugin/cacheplugin/txn"
)

const (
	// checkWorkers is how many shadow reads a process has at a time. A hit that
	// comes when all are busy is not checked.
	checkWorkers = 4
	// checkTimeout bounds each of their queries.
	checkTimeout = 10 * time.Second
)

// checks runs the shadow reads of a plugin: queries that were answered from
// the cache are asked of the database as well, and compared. It is what Meta
// calls consistency monitoring (Polaris) and checks the whole of the plugin
// where it matters: on the program's own queries.
type checks struct {
	share float64
	delay time.Duration
	group background.Group
	slots chan struct{}
}

func newChecks(o Options) *checks {
	return &checks{share: o.ShadowReads, delay: o.ShadowDelay, slots: make(chan struct{}, checkWorkers)}
}

// run checks in the background, if there is a slot. The context's values are
// the caller's, its end is not: loggers and tracers go by them.
func (c *checks) run(ctx context.Context, check func(context.Context)) {
	select {
	case c.slots <- struct{}{}:
	default:
		return
	}
	started := c.group.Go(func(life context.Context) {
		defer func() { <-c.slots }()
		ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
		defer context.AfterFunc(life, cancel)()
		defer cancel()
		check(ctx)
	})
	if !started {
		<-c.slots
	}
}

// checkable reports whether hits of a query can be checked: not where its user
// has accepted old results, nor where the result depends on more than the
// database and the text.
func (d *decision) checkable(ctx context.Context) bool {
	if d.query.tx != nil || len(d.deps) == 0 || d.volatile != "" || len(d.plan.Hidden) > 0 || len(d.plan.On) > 0 || len(cache.VaryOf(ctx)) > 0 {
		return false
	}
	s := d.query.settings
	return s == nil || !s.Volatile && len(s.Extra) == 0
}

// check compares a share of the hits with the database, in the background. A
// result that another one of this process has just read has no version yet.
func (r *Read) check(ctx context.Context, payload []byte, version string) {
	c := r.cache.checks
	if r.checked == nil || version == "" || rand.Float64() >= c.share {
		return
	}
	args, ok := copyArgs(r.args)
	if !ok {
		return
	}
	copied := *r
	copied.args = args
	c.run(ctx, func(ctx context.Context) {
		if err := copied.compare(ctx, payload, version); err != nil && c.group.Closing().Err() == nil {
			r.cache.Report.Failed(ctx, "a shadow read failed", r.table, err)
		}
	})
}

// compare compares a result that was hit with the database's answer, and
// reports it if it is older.
//
// A difference alone says nothing: a commit may be on its way to Redis. It is
// confirmed when the very same entry is still served after a while, so that
// the invalidation had that long to arrive, and differs from what the database
// says then, too.
func (r *Read) compare(ctx context.Context, payload []byte, version string) error {
	decidable, err := r.decidable(ctx)
	if err != nil || !decidable {
		return err
	}
	r.report(ctx, report.Event{Kind: report.Shadow})
	same, err := r.sameInDatabase(ctx, payload)
	if err != nil || same {
		return err
	}
	pause := time.NewTimer(r.cache.checks.delay)
	defer pause.Stop()
	select {
	case <-pause.C:
	case <-ctx.Done():
		return ctx.Err()
	}
	age, still, err := r.stillServed(ctx, version)
	if err != nil || !still {
		return err
	}
	same, err = r.sameInDatabase(ctx, payload)
	if err != nil || same {
		return err
	}
	r.report(ctx, report.Event{Kind: report.Stale, Query: conj.Mask(r.database.Dialect, r.query), Age: age, Rows: rowset.Count(payload), Bytes: len(payload)})
	r.cache.Report.Error(ctx, "a stale result was served; it is dropped. Was the table written without the plugin?",
		"table", r.table, "query", conj.Mask(r.database.Dialect, r.query), "key", r.key.String(), "age", age)
	for _, table := range r.tables {
		r.space.Near.Drop(store.Change{Table: table})
	}
	return r.space.Store.Forget(ctx, r.key)
}

// stillServed reports whether the entry that was hit is in Redis still, and how
// old it is.
func (r *Read) stillServed(ctx context.Context, version string) (age time.Duration, still bool, err error) {
	found, err := r.space.Store.Peek(ctx, r.key, r.deps)
	if err != nil || found.State != store.Hit || found.Version != version {
		return 0, false, err
	}
	remaining, err := r.space.Store.Remaining(ctx, r.key)
	return r.timeout - remaining, true, err
}

// sameInDatabase asks the database that fills the cache. A result that is too
// large to compare counts as the same.
func (r *Read) sameInDatabase(ctx context.Context, payload []byte) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()
	rows, err := r.pool.QueryContext(txn.Known(ctx, txn.InTx), r.query, r.args...)
	if err != nil {
		return false, err
	}
	outdated := r.outdated(rows)
	var fresh rowset.Recording
	src, err := rowset.Tee(rows, rowset.TeeOptions{
		Limits: r.limits(),
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

// copyArgs copies a query's arguments, for a time when their owner may have
// changed them. It is false for what can't be copied.
func copyArgs(args []any) ([]any, bool) {
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

// decidable reports whether the rows of the tables determine a query's result,
// but for the order of its rows: a LIMIT needs an order that is total.
func (r *Read) decidable(ctx context.Context) (bool, error) {
	plan := r.checked
	switch {
	case plan.OrderDependent != "":
		return false, nil
	case !plan.Cuts:
		return true, nil
	case plan.Sole == nil || len(plan.Tables) != 1 || len(plan.Names) != 1 || len(r.deps) != 1:
		return false, nil
	}
	table, err := r.database.Catalog.Table(ctx, r.pool, plan.Names[0], true)
	if err != nil || table == nil || len(table.PrimaryKey) == 0 {
		return false, err
	}
	key := make([]string, len(table.PrimaryKey))
	for i, column := range table.PrimaryKey {
		key[i] = table.Columns()[column].Name
	}
	return within(key, r.pinned()) || within(key, plan.Order), nil
}

// pinned are the columns that a query asks one value of.
func (r *Read) pinned() []string {
	d := r.deps[0]
	if len(d.Keys) != 1 || len(d.Schemes) != 1 {
		return nil
	}
	columns, _ := d.Schemes[0].Typed()
	names := make([]string, len(columns))
	for i, c := range columns {
		names[i] = c.Name
	}
	return names
}

func within(some, all []string) bool {
	for _, s := range some {
		if !slices.ContainsFunc(all, func(name string) bool { return strings.EqualFold(name, s) }) {
			return false
		}
	}
	return true
}
