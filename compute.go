package cacheplugin

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"reflect"
	"time"

	"gorm.io/gorm"

	"github.com/cacheplugin/cacheplugin/cache"
	"github.com/cacheplugin/cacheplugin/conj"
	"github.com/cacheplugin/cacheplugin/internal/catalog"
	"github.com/cacheplugin/cacheplugin/internal/store"
	"github.com/cacheplugin/cacheplugin/txn"
)

// Computation describes a value that is cached like a query's result, such as
// that of a function or a rendered page. Package decorators builds on it.
type Computation struct {
	// Name says what is computed, in Observer events, and is part of the key.
	Name string
	// Key is the rest of the key: everything that the value depends on but the
	// database, in a form that is stable across processes.
	Key []byte
	// Samples are what of the database the value depends on: a model (a zero
	// struct or a pointer to one) or a table's name for a whole table; an
	// object (a struct with its primary key set), or a slice of them, for that
	// row; a query (a *gorm.DB that has not been run) for what it reads.
	// Without samples the value is bound by its timeout only.
	Samples []any
	// Timeout is how long the value may live. Defaults to the smallest of the
	// samples' profiles, or to that of Config.Defaults without samples.
	Timeout time.Duration
	// Lock makes one process compute the value while the others wait for it.
	Lock bool
}

// NotStoredError is what the function of a computation returns, with the value,
// when the value is good for its caller and must not be stored: it is too
// large, say, or somebody's own. Compute returns the value and no error.
type NotStoredError struct {
	// Reason goes into the event.
	Reason string
}

// Error implements error.
func (e *NotStoredError) Error() string { return "not stored: " + e.Reason }

// errNoTimeout is for computations that nothing bounds.
var errNoTimeout = errors.New("no timeout: set one, or a profile for the samples' tables")

// Compute returns the value of a computation from the cache, or computes and
// stores it. A value whose samples are written while it is computed is returned
// but not stored, and so is one larger than Config.MaxBytes. Errors of compute
// but a NotStoredError are returned as they are, and nothing is stored. In a
// transaction that has written (see the handle), and when Redis fails, compute
// answers.
//
// The context is the handle's; set it by db.WithContext.
func Compute(db *gorm.DB, c Computation, compute func(context.Context) ([]byte, error)) (value []byte, hit bool, err error) {
	return computed(db, c, compute, false)
}

// computed is Compute, which stores the value at once where that is asked for.
func computed(db *gorm.DB, c Computation, compute func(context.Context) ([]byte, error), atOnce bool) (value []byte, hit bool, err error) {
	ctx := db.Statement.Context
	var skip *NotStoredError
	defer func() {
		if err != nil && errors.As(err, &skip) {
			err = nil
		}
	}()
	e, err := engineOf(db)
	if err != nil {
		return nil, false, err
	}
	if e == nil || cache.IsWithoutCache(ctx) {
		value, err = compute(ctx)
		return value, false, err
	}
	r, reason, err := e.computation(db, c)
	if err != nil {
		return nil, false, err
	}
	if reason != "" {
		e.observe(ctx, Event{Kind: EventSkip, Table: c.Name, Reason: reason})
		value, err = compute(ctx)
		return value, false, err
	}
	start := e.clock()
	found, err := r.lookup(ctx)
	if err != nil {
		if ctx.Err() != nil {
			return nil, false, ctx.Err()
		}
		e.failed(ctx, "a look-up failed; the value is computed", c.Name, err)
		if e.config.OnReadError == Return {
			return nil, false, err
		}
	}
	if err == nil && found.State == store.Hit {
		e.observe(ctx, Event{Kind: EventHit, Table: c.Name, Key: r.key.String(), Bytes: len(found.Payload), Duration: since(start)})
		return found.Payload, true, nil
	}
	e.observe(ctx, Event{Kind: EventMiss, Table: c.Name, Key: r.key.String(), Duration: since(start)})
	if err != nil || found.State != store.Leased {
		value, err = compute(ctx)
		return value, false, err
	}
	kept := false
	defer func() {
		if !kept { // an error, or a panic on its way through
			r.release(context.WithoutCancel(ctx), found.Lease)
		}
	}()
	value, err = compute(context.WithValue(ctx, leasedKey{}, true))
	if err == nil && len(value) > e.config.MaxBytes {
		err = &NotStoredError{Reason: "too large"}
	}
	if err != nil {
		if errors.As(err, &skip) {
			e.observe(ctx, Event{Kind: EventSkip, Table: c.Name, Key: r.key.String(), Reason: skip.Reason, Bytes: len(value)})
		}
		return value, false, err
	}
	kept = true
	r.atOnce = atOnce
	r.save(saving{read: r, ctx: context.WithoutCancel(ctx), lease: found.Lease, payload: bytes.Clone(value)}) // the caller may change its own
	return value, false, nil
}

// StoreComputed stores a value as if it had just been computed, before it returns.
func StoreComputed(db *gorm.DB, c Computation, value []byte) error {
	e, err := engineOf(db)
	if err != nil || e == nil {
		return err
	}
	if err := DiscardComputed(db, c); err != nil {
		return err
	}
	_, _, err = computed(db, c, func(context.Context) ([]byte, error) { return value, nil }, true)
	return err
}

// DiscardComputed drops a value. One that is being computed meanwhile is not
// stored.
func DiscardComputed(db *gorm.DB, c Computation) error {
	e, err := engineOf(db)
	if err != nil || e == nil {
		return err
	}
	s, _, err := e.space(db.Statement.Context, db.Statement.ConnPool)
	if err != nil {
		return fmt.Errorf("cacheplugin: discard %s: %w", c.Name, err)
	}
	if err := s.store.Forget(db.Statement.Context, computationKey(db.Statement.Context, c)); err != nil {
		return fmt.Errorf("cacheplugin: discard %s: %w", c.Name, err)
	}
	return nil
}

// computation resolves what a computation depends on. A reason says why it is
// not cached now; an error, why it can't be.
func (e *engine) computation(db *gorm.DB, c Computation) (*read, string, error) {
	ctx, pool := db.Statement.Context, db.Statement.ConnPool
	if j := postponed(ctx); j != nil && !j.empty() {
		return nil, "invalidations are postponed", nil
	}
	where, tx := txn.Of(pool)
	switch where {
	case txn.Foreign:
		return nil, "a connection or transaction that the plugin did not open", nil
	case txn.InTx:
		if reason := e.transactionReason(ctx, pool, tx); reason != "" {
			return nil, reason, nil
		}
	}
	r := &read{
		engine: e, table: c.Name, timeout: c.Timeout, lock: c.Lock, peek: tx != nil,
		key: computationKey(ctx, c), catalog: e.database(pool).catalog,
	}
	r.version = r.catalog.Version()
	var err error
	if r.space, _, err = e.space(ctx, pool); err != nil {
		return nil, "", fmt.Errorf("cacheplugin: %s: %w", c.Name, err)
	}
	var deps []conj.Dependency
	var smallest time.Duration
	for _, s := range c.Samples {
		more, timeout, err := e.sample(db, s)
		if err != nil {
			return nil, "", fmt.Errorf("cacheplugin: samples of %s: %w", c.Name, err)
		}
		deps, smallest = append(deps, more...), shorter(smallest, timeout)
	}
	if r.timeout <= 0 {
		r.timeout = smallest
	}
	if r.timeout <= 0 {
		r.timeout = e.config.Defaults.Timeout
	}
	if r.timeout <= 0 {
		return nil, "", fmt.Errorf("cacheplugin: %s: %w", c.Name, errNoTimeout)
	}
	r.dependOn(unite(deps))
	for _, d := range deps {
		if s, _, err := e.space(ctx, pool, d.Table.Name); err != nil || s != r.space {
			return nil, "PrefixFunc goes by tables, and computed values have none", err
		}
	}
	if reason := r.space.reason(r.tables); reason != "" {
		return nil, reason, nil
	}
	return r, "", nil
}

// shorter is the smaller one of two timeouts, of which zero is none.
func shorter(a, b time.Duration) time.Duration {
	if a == 0 || b > 0 && b < a {
		return b
	}
	return a
}

// leasedKey marks the context of a computation whose value will be stored for
// all processes: what it reads must not be older than what Redis was told, as
// a replica's answer or this process's own memory may be.
type leasedKey struct{}

func leased(ctx context.Context) bool { return ctx.Value(leasedKey{}) != nil }

// computationKey names a computation's value. The samples are no part of it:
// they follow from the name and the key.
func computationKey(ctx context.Context, c Computation) store.EntryKey {
	b := appendString(nil, "computed/"+keyVersion)
	b = appendString(b, c.Name)
	b = appendString(b, string(c.Key))
	for _, v := range cache.VaryOf(ctx) {
		b = appendString(b, v)
	}
	sum := sha256.Sum256(b)
	return store.EntryKey(sum[:16])
}

// sample returns what a sample stands for, and the timeout of its profile.
func (e *engine) sample(db *gorm.DB, s any) ([]conj.Dependency, time.Duration, error) {
	tx := db.Session(&gorm.Session{NewDB: true, Context: db.Statement.Context})
	switch s := s.(type) {
	case *gorm.DB:
		return e.sampleQuery(db, s)
	case string:
		table, err := e.table(tx, s)
		if err != nil {
			return nil, 0, err
		}
		return e.sampleTable(tx, table)
	}
	v := reflect.ValueOf(s)
	for v.Kind() == reflect.Pointer || v.Kind() == reflect.Interface {
		if v.IsNil() {
			return nil, 0, fmt.Errorf("a sample is nil: %w", errNotModel)
		}
		v = v.Elem()
	}
	switch v.Kind() {
	case reflect.Slice, reflect.Array:
		var deps []conj.Dependency
		var smallest time.Duration
		for i := range v.Len() {
			more, timeout, err := e.sample(db, v.Index(i).Interface())
			if err != nil {
				return nil, 0, err
			}
			deps, smallest = append(deps, more...), shorter(smallest, timeout)
		}
		return deps, smallest, nil
	case reflect.Struct:
		return e.sampleObject(tx, v)
	}
	return nil, 0, fmt.Errorf("a sample of kind %s: pass a model, an object, a query or a table's name", v.Kind())
}

func (e *engine) sampleQuery(db, query *gorm.DB) ([]conj.Dependency, time.Duration, error) {
	tx := query.Session(&gorm.Session{DryRun: true, Context: db.Statement.Context})
	tx = tx.Find(explainDest(tx))
	if tx.Error != nil {
		return nil, 0, fmt.Errorf("build the query: %w", tx.Error)
	}
	d, reason, err := e.analyse(db.Statement.Context, tx, db.Statement.ConnPool, tx.Statement.SQL.String(), tx.Statement.Vars)
	if err != nil {
		return nil, 0, err
	}
	if reason != "" {
		return nil, 0, fmt.Errorf("the query %s can't be followed: %s", tx.Statement.SQL.String(), reason)
	}
	return d.deps, d.profile.Timeout, nil
}

func (e *engine) sampleObject(tx *gorm.DB, v reflect.Value) ([]conj.Dependency, time.Duration, error) {
	p := reflect.New(v.Type())
	p.Elem().Set(v)
	stmt := &gorm.Statement{DB: tx}
	if err := stmt.Parse(p.Interface()); err != nil {
		return nil, 0, err
	}
	table, err := e.table(tx, stmt.Table)
	if err != nil {
		return nil, 0, err
	}
	if table.View != nil {
		return e.sampleTable(tx, table)
	}
	var columns []int
	var values []conj.Value
	for _, i := range table.PrimaryKey {
		column := table.Columns()[i]
		field := stmt.Schema.LookUpField(column.Name)
		if field == nil {
			continue
		}
		value, zero := field.ValueOf(tx.Statement.Context, p.Elem())
		if zero {
			return e.sampleRow(table.Table, nil, nil) // a model
		}
		n, err := conj.NormalizeArg(value)
		if err != nil {
			return nil, 0, fmt.Errorf("the key of %T: %w", p.Interface(), err)
		}
		// A value without a canonical form doesn't narrow.
		if canonical := column.FromParam(e.dialect, n); canonical != "" {
			columns, values = append(columns, i), append(values, canonical)
		}
	}
	return e.sampleRow(table.Table, columns, values)
}

// sampleTable is a sample of all that a table or view gives.
func (e *engine) sampleTable(tx *gorm.DB, table *catalog.Table) ([]conj.Dependency, time.Duration, error) {
	if table.View == nil {
		return e.sampleRow(table.Table, nil, nil)
	}
	return e.sampleQuery(tx, tx.Table(table.Schema+"."+table.Name))
}

func (e *engine) sampleRow(table *conj.Table, columns []int, values []conj.Value) ([]conj.Dependency, time.Duration, error) {
	p := e.profile(table.Name, nil)
	switch {
	case p.forbidden():
		return nil, 0, fmt.Errorf("the profile of %s is nil: its changes are not followed", table.Name)
	case table.Uncacheable != "":
		return nil, 0, fmt.Errorf("%s %s: its changes can't be followed", table.Name, table.Uncacheable)
	}
	var timeout time.Duration
	if p.profile != nil {
		timeout = p.profile.Timeout
	}
	return []conj.Dependency{{Table: table, Conjunctions: []conj.Conjunction{table.Conjunction(columns, values)}}}, timeout, nil
}

// unite merges the dependencies on the same table.
func unite(deps []conj.Dependency) []conj.Dependency {
	var out []conj.Dependency
	at := map[string]int{}
	for _, d := range deps {
		i, ok := at[d.Table.ID]
		if !ok {
			at[d.Table.ID] = len(out)
			out = append(out, conj.Dependency{Table: d.Table, Conjunctions: append([]conj.Conjunction(nil), d.Conjunctions...)})
			continue
		}
		out[i].Conjunctions = append(out[i].Conjunctions, d.Conjunctions...)
	}
	return out
}
