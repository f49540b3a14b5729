package cacheplugin

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"

	"gorm.io/gorm"
	"gorm.io/gorm/clause"

	"github.com/cacheplugin/cacheplugin/cache"
	"github.com/cacheplugin/cacheplugin/conj"
	"github.com/cacheplugin/cacheplugin/internal/store"
	"github.com/cacheplugin/cacheplugin/txn"
)

// prepare decides whether a query is looked up; it returns nil if not. An
// error is the query's own.
func (e *engine) prepare(ctx context.Context, db *gorm.DB, pool gorm.ConnPool, query string, args []any, row bool) (*read, error) {
	stmt := db.Statement
	settings := cache.Of(stmt)
	where, tx := txn.Of(pool)
	raw := where == txn.InTx && startsRaw(stmt)
	if raw && !tx.Dirty() {
		e.watchRaw(ctx, pool, tx, query)
	}
	if settings == nil {
		if row {
			return nil, nil // streaming and the migrator: by hand only
		}
		if stmt.TableExpr == nil && stmt.Table != "" {
			p := e.profile(stmt.Table, modelType(stmt))
			if p.err == nil && (p.profile == nil || p.profile.Ops == 0) {
				return nil, nil
			}
		}
	}
	rd, reason, err := e.decide(ctx, db, pool, query, args, row)
	if errors.Is(err, ErrConfig) { // an option of the call site
		return nil, err
	}
	if err != nil {
		e.failed(ctx, "a query could not be prepared for the cache", stmt.Table, err)
		return nil, nil
	}
	if rd == nil {
		if reason != "" {
			e.observe(ctx, Event{Kind: EventSkip, Table: stmt.Table, Reason: reason})
		}
		return nil, nil
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	return rd, nil
}

// decision is what decide and Explain share: what is known of a query before
// the cache is asked.
type decision struct {
	plan    *conj.Plan
	base    *database
	version uint64 // of the catalog that the plan was made of
	op      cache.Op
	table   string
	profile *Profile
	deps    []conj.Dependency
	joined  []*conj.Joined // tables of which the result tells the rows, in the order of deps
	key     store.EntryKey
	space   *space
	pool    gorm.ConnPool
	tx      *txn.Tx

	declared []*conj.Table // by DependsOn
	unknown  string        // a function that nobody vouches for
}

// decide returns the read, or the reason why the query is not cached; both are
// empty where the profile just doesn't list the operation.
func (e *engine) decide(ctx context.Context, db *gorm.DB, pool gorm.ConnPool, query string, args []any, row bool) (*read, string, error) {
	d, reason, err := e.analyse(ctx, db, pool, query, args)
	if err != nil || reason != "" {
		return nil, reason, err
	}
	settings := cache.Of(db.Statement)
	if settings != nil && settings.MaxStale != nil && *settings.MaxStale < 0 {
		return nil, "", configError("cache.MaxStale", *settings.MaxStale, "use for how long the result may be served without asking Redis, or zero to ask each time")
	}
	adm := d.admit(settings)
	if adm.reason != "" {
		if adm.unasked {
			return nil, "", nil
		}
		return nil, adm.reason, nil
	}
	rd := &read{
		engine: e, pool: d.pool, filler: d.pool, query: query, args: args,
		table: d.table, op: d.op, timeout: adm.timeout, lock: adm.lock,
		peek: d.tx != nil, drain: !row,
		space: d.space, key: d.key,
		catalog: d.base.catalog, version: d.version, joined: d.joined,
	}
	rd.dependOn(d.deps)
	for _, j := range d.joined {
		i := d.dependencyOn(j.Table)
		rd.deps[i] = store.Dependency{Table: j.Table.ID, Schemes: []conj.Scheme{j.Scheme}, Joined: true}
	}
	if e.dialect == conj.SQLite && d.plan.Sole != nil && startsWithAll(query) {
		rd.columns = len(d.plan.Sole.Columns())
	}
	if e.config.ReplicaLag > 0 && d.tx == nil {
		if rd.filler, err = e.filler(ctx, d.pool, pool); err != nil {
			return nil, "", err
		}
	}
	if e.shadows != nil && d.shadowed(ctx, cache.Of(db.Statement)) {
		rd.plan = d.plan
	}
	e.useNear(ctx, rd, &d, settings)
	if reason := rd.space.reason(rd.tables); reason != "" {
		return nil, reason, nil
	}
	return rd, "", nil
}

// admission says whether, and how, a query that can be cached is.
type admission struct {
	timeout time.Duration
	lock    bool
	reason  string // why it is not
	unasked bool   // because nobody has asked for it
}

// admit weighs the profile and what the query says of itself.
func (d *decision) admit(settings *cache.Settings) admission {
	a := admission{timeout: d.profile.Timeout, lock: d.profile.Lock}
	ops := d.profile.Ops
	if settings != nil {
		ops, a.lock = settings.Ops, a.lock || settings.Lock
		if settings.Timeout > 0 {
			a.timeout = settings.Timeout
		}
	}
	switch {
	case !ops.Has(d.op):
		a.unasked = true
		a.reason = fmt.Sprintf("%s is not among the operations to cache: %s", d.op, ops)
	case a.timeout <= 0:
		a.reason = "no timeout: no profile matches the table, and Defaults has none"
	case settings != nil && (settings.Volatile || settings.Timeout > 0): // by hand, for a time
	case d.plan.Volatile != "":
		a.reason = "volatile: " + d.plan.Volatile + "; cache it by hand with AllowVolatile or a timeout if you accept that"
	case d.unknown != "":
		a.reason = d.unknown + "; list the tables that it reads in DependsOn, or cache it by hand with AllowVolatile or a timeout"
	}
	return a
}

// analyse compiles and binds a query and says why it can't be cached.
func (e *engine) analyse(ctx context.Context, db *gorm.DB, pool gorm.ConnPool, query string, args []any) (decision, string, error) {
	var d decision
	stmt := db.Statement
	settings := cache.Of(stmt)
	if settings != nil && settings.Off {
		return d, "NoCache", nil
	}
	if cache.IsWithoutCache(ctx) {
		return d, "WithoutCache", nil
	}
	if j := postponed(ctx); j != nil && !j.empty() {
		return d, "invalidations are postponed", nil
	}
	where, tx := txn.Of(pool)
	d.pool, d.tx = pool, tx
	switch where {
	case txn.Foreign:
		return d, "a connection or transaction that the plugin did not open", nil
	case txn.InTx:
		if reason := e.transactionReason(ctx, pool, tx); reason != "" {
			return d, reason, nil
		}
	}
	if tx == nil {
		d.pool = e.source(db, pool)
	}
	base := e.database(d.pool)
	if tx == nil {
		e.watch(base, d.pool)
	}
	if base.strange.Load() {
		return d, "a statement has changed a pooled session's settings", nil
	}
	d.base, d.version = base, base.catalog.Version()
	var on []string
	if settings != nil {
		on = settings.On
	}
	plan, err := e.pinned(ctx, base, d.pool, tx, query, on)
	if err != nil {
		return d, "", err
	}
	d.plan = plan
	if plan.Statement != conj.Select {
		return d, "not a SELECT", nil
	}
	if plan.Skip != "" {
		return d, plan.Skip, nil
	}
	if reason, err := e.declare(ctx, &d, db, settings); reason != "" || err != nil {
		return d, reason, err
	}
	if len(plan.Tables) == 0 && len(d.declared) == 0 {
		return d, "reads no table", nil
	}
	if name := base.shadows(plan.Names); name != "" {
		return d, "a temporary table " + name + " was made on one of the connections", nil
	}
	for _, t := range plan.Tables {
		if e.forbidden(t) {
			return d, "forbidden: the profile of " + t.Name + " is nil", nil
		}
	}
	d.table = d.mainTable(stmt)
	p := e.profile(d.table, modelType(stmt))
	switch {
	case p.err != nil:
		return d, p.err.Error(), nil
	case p.forbidden():
		return d, "forbidden: the profile of " + d.table + " is nil", nil
	case p.found:
		d.profile = p.profile
	default:
		d.profile = &Profile{Timeout: e.config.Defaults.Timeout, Lock: e.config.Defaults.Lock}
	}
	if reason, err := e.place(ctx, &d); reason != "" || err != nil {
		return d, reason, err
	}
	normal, reason := normalize(args)
	if reason != "" {
		return d, reason, nil
	}
	d.op = operation(stmt, plan, normal)
	if d.deps, err = plan.Bind(normal); err != nil {
		return d, err.Error(), nil
	}
	d.dependOnDeclared()
	if !e.config.Spread { // the store could not register them in one step with the result
		d.join()
	}
	identity, err := e.identity(ctx, base, d.pool)
	if errors.Is(err, errNoAutocommit) || errors.Is(err, errDirtyReads) {
		return d, err.Error(), nil
	}
	if err != nil {
		return d, "", err
	}
	var extra []any
	if settings != nil {
		extra = settings.Extra
	}
	key, ok := e.entryKey(identity, plan, d.scope(), query, normal, cache.VaryOf(ctx), extra)
	if !ok {
		return d, "a parameter or an extra value is of a type that has no stable form", nil
	}
	d.key = key
	return d, "", nil
}

// place finds the namespace of the query's result.
func (e *engine) place(ctx context.Context, d *decision) (reason string, err error) {
	if d.space = e.only(); d.space != nil {
		return "", nil
	}
	var names []string
	for _, t := range slices.Concat(d.plan.Tables, d.declared) {
		if !slices.Contains(names, t.Name) {
			names = append(names, t.Name)
		}
	}
	var several bool
	if d.space, several, err = e.space(ctx, d.pool, names...); err != nil {
		return "", err
	}
	if several {
		return "PrefixFunc makes the prefix of one table, and the query reads several: " + strings.Join(names, ", "), nil
	}
	return "", nil
}

// transactionReason says why a transaction's reads must not come from the
// cache: it has written, or it may see an older snapshot than the cache.
func (e *engine) transactionReason(ctx context.Context, pool gorm.ConnPool, tx *txn.Tx) string {
	if tx.Err() != nil {
		return "the transaction is over" // the database says so best
	}
	if tx.Dirty() {
		return "the transaction has written"
	}
	if tx.Opaque() {
		return "the transaction has failed, or changed session settings"
	}
	level := sql.LevelDefault
	if o := tx.Options(); o != nil {
		level = o.Isolation
	}
	switch level {
	case sql.LevelReadCommitted:
		if e.dialect != conj.SQLite {
			return ""
		}
	case sql.LevelDefault:
		if e.dialect == conj.PostgreSQL {
			server, err := e.database(pool).catalog.Server(ctx, pool)
			if err == nil && server.DefaultIsolation == "read committed" {
				return ""
			}
		}
	}
	return "the transaction's isolation is above READ COMMITTED"
}

// watchRaw marks a transaction dirty for hand-made queries that may write:
// functions can.
func (e *engine) watchRaw(ctx context.Context, pool gorm.ConnPool, tx *txn.Tx, query string) {
	plan, err := e.database(pool).plan(ctx, pool, query, keep(tx))
	if err != nil || plan.HasSideEffects || plan.Volatile != "" || plan.CallsUnknown() || plan.Statement != conj.Select {
		tx.MarkDirty()
	}
}

// source returns the pool that fills the cache: the given one, or, under
// dbresolver, a source, since a replica may lag behind the commits whose
// invalidation the cache has already seen.
func (e *engine) source(db *gorm.DB, pool gorm.ConnPool) gorm.ConnPool {
	if _, ok := db.Plugins[resolverPlugin]; !ok {
		return pool
	}
	choose := db.Callback().Query().Get(resolverPlugin)
	if choose == nil {
		return pool
	}
	stmt := db.Statement
	current := stmt.ConnPool
	_, had := stmt.Settings.LoadOrStore(resolverWrite, struct{}{})
	choose(db)
	chosen := stmt.ConnPool
	stmt.ConnPool = current
	if !had {
		stmt.Settings.Delete(resolverWrite)
	}
	if r, ok := chosen.(*readPool); ok {
		return r.ConnPool
	}
	return chosen
}

// startsRaw tells whether the statement's text was made by hand.
func startsRaw(stmt *gorm.Statement) bool {
	_, built := stmt.Clauses["FROM"]
	return !built && stmt.SQL.Len() > 0
}

func modelType(stmt *gorm.Statement) reflect.Type {
	if stmt.Schema == nil {
		return nil
	}
	return stmt.Schema.ModelType
}

// mainTable is the table whose profile applies: the statement's own if the
// query reads it, else the first, else the function or table that stands for it.
func (d *decision) mainTable(stmt *gorm.Statement) string {
	plan := d.plan
	if len(plan.Tables) == 0 {
		if len(plan.Hidden) > 0 && plan.Hidden[0].Kind == conj.HiddenTableFunction {
			return plan.Hidden[0].Name
		}
		return d.declared[0].Name
	}
	own := ""
	if stmt.Schema != nil {
		own = stmt.Schema.Table
	}
	for _, name := range [...]string{stmt.Table, own} {
		for _, t := range plan.Tables {
			if t.Name == name {
				return name
			}
		}
	}
	return plan.Tables[0].Name
}

// operation classifies a query by its text first and by its destination then.
func operation(stmt *gorm.Statement, plan *conj.Plan, args []any) cache.Op {
	switch plan.Shape {
	case conj.Exists:
		return cache.Exists
	case conj.Count:
		return cache.Count
	case conj.Aggregate:
		return cache.Aggregate
	}
	if stmt.RaiseErrorOnNotFound || plan.Single {
		return cache.Get
	}
	if i := plan.LimitParam; i >= 0 && i < len(args) && args[i] == int64(1) {
		return cache.Get
	}
	if c, ok := stmt.Clauses["LIMIT"]; ok {
		if l, ok := c.Expression.(clause.Limit); ok && l.Limit != nil && *l.Limit == 1 {
			return cache.Get
		}
	}
	switch stmt.ReflectValue.Kind() {
	case reflect.Struct, reflect.Map:
		return cache.Get
	}
	return cache.Fetch
}
