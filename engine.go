package cacheplugin

import (
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"gorm.io/gorm"

	"github.com/cacheplugin/cacheplugin/conj"
	"github.com/cacheplugin/cacheplugin/internal/catalog"
	"github.com/cacheplugin/cacheplugin/txn"
)

const (
	// resolverPlugin is the name of GORM's dbresolver, and resolverWrite the
	// setting by which it is told to use a source.
	resolverPlugin = "gorm:db_resolver"
	resolverWrite  = "gorm:db_resolver:write"

	planCacheSize    = 4096
	profileCacheSize = 4096
)

// engine is the plugin on one handle: its callbacks, and what it knows of the
// databases behind it.
type engine struct {
	*Plugin
	db      *gorm.DB
	dialect conj.Dialect

	databases sync.Map // *sql.DB -> *database
	main      *database

	// instance identifies databases that have no identity of their own: those
	// in memory, which no other process sees.
	instance string

	profiles     sync.Map // profileKey -> resolved
	profileCount atomic.Int64

	keyBuffers sync.Pool // of *[]byte
}

// database is what is known of one physical database.
type database struct {
	dialect conj.Dialect
	limits  conj.Limits
	catalog *catalog.Catalog
	plans   *conj.PlanCache
	// identity is part of every entry's key.
	identity atomic.Pointer[string]
	settings atomic.Pointer[string] // of its sessions, part of the identity
	// strange is set when a statement changed a pooled session in a way that
	// may change what texts mean (search_path, role): which connection it was
	// is unknown, so that nothing is cached from then on.
	strange atomic.Bool
	// watched: its outbox is drained.
	watched atomic.Bool
	// shadowed are the lower-case names of temporary tables that were made on
	// some connection of the pool: what they mean differs from then on.
	shadowed sync.Map // string -> struct{}
}

func newEngine(p *Plugin, db *gorm.DB, dialect conj.Dialect) *engine {
	e := &engine{Plugin: p, db: db, dialect: dialect, instance: rand.Text()}
	e.main = e.newDatabase()
	if sqlDB, err := db.DB(); err == nil {
		e.databases.Store(sqlDB, e.main)
	}
	return e
}

func (e *engine) newDatabase() *database {
	return &database{
		dialect: e.dialect,
		limits:  conj.Limits{MaxInValues: e.config.LongDisjunction},
		catalog: catalog.New(e.dialect),
		plans:   conj.NewPlanCache(planCacheSize),
	}
}

// database finds what is known of the database behind a pool. Connections and
// transactions that don't tell theirs belong to the handle's own.
func (e *engine) database(pool gorm.ConnPool) *database {
	var key *sql.DB
	switch p := pool.(type) {
	case *sql.DB:
		key = p
	case gorm.GetDBConnector:
		key, _ = p.GetDBConn()
	}
	if key == nil {
		return e.main
	}
	if d, ok := e.databases.Load(key); ok {
		return d.(*database)
	}
	d, _ := e.databases.LoadOrStore(key, e.newDatabase())
	return d.(*database)
}

// register wraps GORM's handlers. Handlers are wrapped, not registered around:
// gorm:commit_or_rollback_transaction would otherwise run in between.
func (e *engine) register(db *gorm.DB) error {
	cb := db.Callback()
	type processor interface {
		Get(string) func(*gorm.DB)
		Replace(string, func(*gorm.DB)) error
	}
	for _, h := range []struct {
		processor processor
		name      string
		wrap      func(func(*gorm.DB)) func(*gorm.DB)
	}{
		{cb.Query(), "gorm:query", func(next func(*gorm.DB)) func(*gorm.DB) { return e.onQuery(next, false) }},
		{cb.Query(), "gorm:preload", onPreload},
		{cb.Row(), "gorm:row", func(next func(*gorm.DB)) func(*gorm.DB) { return e.onQuery(next, true) }},
		{cb.Create(), "gorm:create", e.onWrite},
		{cb.Update(), "gorm:update", e.onWrite},
		{cb.Delete(), "gorm:delete", e.onWrite},
		{cb.Raw(), "gorm:raw", e.onWrite},
	} {
		if err := h.processor.Replace(h.name, h.wrap(h.processor.Get(h.name))); err != nil {
			return err
		}
	}
	return nil
}

// plan returns the plan of a text, from the cache or compiled. The catalog is
// read through q, the statement's own connection, so that a transaction's own
// tables are seen and a pool of one connection doesn't wait for itself.
func (d *database) plan(ctx context.Context, q catalog.Querier, text string, keep bool) (*conj.Plan, error) {
	return d.planOn(ctx, q, text, keep, nil)
}

// planOn is plan for a query that depends on rows by some columns only.
func (d *database) planOn(ctx context.Context, q catalog.Querier, text string, keep bool, on []string) (*conj.Plan, error) {
	key := text
	if len(on) > 0 {
		key += "\x00" + strings.Join(on, "\x00")
	}
	known, epoch := d.plans.Get(key)
	if known != nil && keep {
		return known, nil
	}
	unknown := false
	p, err := conj.CompileOn(d.dialect, text, func(name conj.TableName) (*conj.Table, error) {
		t, err := d.catalog.Table(ctx, q, name, keep)
		if err != nil {
			return nil, err
		}
		if t == nil {
			unknown = true
			return nil, nil
		}
		return t.Table, nil
	}, d.limits, on)
	if err != nil {
		return nil, err
	}
	if p.Statement == conj.Select && p.Skip == "" {
		if err := d.hideAdded(ctx, q, text, keep, p); err != nil {
			return nil, err
		}
	}
	// A table that is unknown now may be made by another process.
	if keep && !unknown {
		d.plans.Put(key, p, epoch)
	}
	return p, nil
}

// identity tells the database behind a pool, and the settings of its sessions
// that change what a query returns, from all others.
func (e *engine) identity(ctx context.Context, d *database, pool gorm.ConnPool) (string, error) {
	bare, prepared := unprepared(pool)
	id := d.identity.Load()
	if id == nil {
		read, err := e.readIdentity(ctx, d, bare)
		if err != nil {
			return "", err
		}
		id = &read
		d.identity.Store(id)
	}
	// MySQL's driver gives values of other types where it prepares, and pgx in
	// its simple protocol times of other locations where it doesn't.
	if prepared && e.dialect != conj.SQLite {
		return *id + "\x00prepared", nil
	}
	return *id, nil
}

func (e *engine) readIdentity(ctx context.Context, d *database, q gorm.ConnPool) (string, error) {
	server, err := d.catalog.Server(ctx, q)
	if err != nil {
		return "", err
	}
	id := server.Database + "\x00" + server.Instance
	if server.Database == "" {
		id = e.instance
	}
	if e.dialect == conj.MySQL && server.DefaultIsolation == "read uncommitted" {
		return "", errDirtyReads
	}
	settings, err := sessionSettings(ctx, e.dialect, q)
	if err != nil {
		return "", fmt.Errorf("read the session's settings: %w", err)
	}
	d.settings.Store(&settings)
	return id + "\x00" + settings, nil
}

// unprepared looks under GORM's layers of prepared statements.
func unprepared(pool gorm.ConnPool) (bare gorm.ConnPool, prepared bool) {
	for {
		switch p := pool.(type) {
		case *gorm.PreparedStmtDB:
			pool, prepared = p.ConnPool, true
		case *gorm.PreparedStmtTX:
			pool, prepared = p.Tx, true
		default:
			return pool, prepared
		}
	}
}

// sessionSettings are the settings by which two handles on one database get
// other values for the same query: time zones, and forms of output. What
// drivers are set to only shows in values: MySQL's has a zone of its own, and
// gives other types where it sends parameters apart from the text; pgx has
// other locations in its simple protocol.
func sessionSettings(ctx context.Context, dialect conj.Dialect, q catalog.Querier) (settings string, err error) {
	var query string
	var args []any
	switch dialect {
	case conj.PostgreSQL:
		query = "SELECT current_setting('TimeZone'), current_setting('DateStyle'), current_setting('IntervalStyle'), " +
			"current_setting('bytea_output'), current_setting('extra_float_digits'), timestamptz '2001-02-03 04:05:06+07'"
	case conj.MySQL:
		query = "SELECT @@autocommit, @@time_zone, @@sql_mode, @@character_set_results, CAST('2001-02-03 04:05:06' AS DATETIME), CAST(? AS UNSIGNED)"
		args = []any{1}
	default:
		return "", nil
	}
	rows, err := q.QueryContext(ctx, query, args...)
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	columns, err := rows.Columns()
	if err != nil {
		return "", err
	}
	values := make([]any, len(columns))
	pointers := make([]any, len(columns))
	for i := range values {
		pointers[i] = &values[i]
	}
	for rows.Next() {
		if err := rows.Scan(pointers...); err != nil {
			return "", err
		}
	}
	for i, v := range values {
		if b, ok := v.([]byte); ok {
			v = string(b)
		}
		if dialect == conj.MySQL && i == 0 && fmt.Sprint(v) != "1" {
			return "", errNoAutocommit
		}
		settings += fmt.Sprintf("%T:%v\x00", v, v)
	}
	return settings, rows.Err()
}

// errNoAutocommit and errDirtyReads say why nothing of a database may be
// cached: its reads may be of an old snapshot, or of what is never committed.
var (
	errNoAutocommit = errors.New("autocommit is off: each query would see the snapshot of a transaction that never ends; switch it on in the DSN")
	errDirtyReads   = errors.New("the default isolation is READ UNCOMMITTED: queries see what may be rolled back; set READ COMMITTED or REPEATABLE READ in the DSN")
)

// shadow notes a temporary table.
func (d *database) shadow(name string) { d.shadowed.Store(strings.ToLower(name), struct{}{}) }

// shadows returns a name among some that a temporary table may have taken; empty
// if there is none.
func (d *database) shadows(names []conj.TableName) string {
	for _, n := range names {
		if _, ok := d.shadowed.Load(strings.ToLower(n.Name)); ok {
			return n.Name
		}
	}
	return ""
}

// forget drops what DDL may have changed.
func (d *database) forget() {
	d.catalog.Drop()
	d.plans.Drop()
}

// keep tells whether what is read of the catalog may be remembered: not in a
// transaction that has changed tables and may be rolled back.
func keep(tx *txn.Tx) bool { return tx == nil || !tx.DDL() }

type profileKey struct {
	table string
	model reflect.Type
}

// resolved is a table's profile as found.
type resolved struct {
	profile *Profile
	found   bool
	err     error
}

// forbidden tells whether queries that read the table must not be cached.
func (r resolved) forbidden() bool { return r.found && r.profile == nil }

// profile finds the profile of a table; model may be nil.
func (e *engine) profile(table string, model reflect.Type) resolved {
	key := profileKey{table, model}
	if r, ok := e.profiles.Load(key); ok {
		return r.(resolved)
	}
	if e.config.Outbox.holds(table) {
		return resolved{found: true}
	}
	var m profiler
	if model != nil {
		m, _ = reflect.New(model).Interface().(profiler)
	}
	var r resolved
	r.profile, r.found, r.err = e.matcher.find(table, m)
	// Table names can be made up by queries (db.Table with an expression).
	if e.profileCount.Add(1) <= profileCacheSize {
		e.profiles.Store(key, r)
	}
	return r
}

// forbidden tells whether a table's profile forbids caching, whatever model
// the query uses. A family goes by the profile of its root; a pattern that
// names another member, and is not the catch-all, can forbid it, too.
func (e *engine) forbidden(table *conj.Table) bool {
	if e.profile(table.Name, nil).forbidden() {
		return true
	}
	return e.matcher.forbids(table.Members)
}

// flushTimeout bounds an invalidation: the retries of the commit path and
// what comes around them.
func (p *Plugin) flushTimeout() time.Duration {
	return p.config.RetryFor + 2*p.config.RedisTimeout + time.Second
}

// logLimiter lets one message of a kind through in a while.
type logLimiter struct {
	last sync.Map // string -> *atomic.Int64, nanoseconds
}

const logEvery = 10 * time.Second

func (l *logLimiter) allow(kind string) bool {
	v, _ := l.last.LoadOrStore(kind, new(atomic.Int64))
	last := v.(*atomic.Int64)
	now := time.Now().UnixNano()
	then := last.Load()
	return (then == 0 || now-then >= int64(logEvery)) && last.CompareAndSwap(then, now)
}

// first lets one message of a kind through, ever.
func (l *logLimiter) first(kind string) bool {
	_, again := l.last.LoadOrStore(kind, new(atomic.Int64))
	return !again
}

// failed reports an error that the caller goes on without.
func (p *Plugin) failed(ctx context.Context, what, table string, err error) {
	p.observe(ctx, Event{Kind: EventError, Table: table, Reason: what, Err: err})
	if p.limiter.allow(what) {
		p.config.Logger.WarnContext(ctx, "cacheplugin: "+what, "table", table, "error", err)
	}
}
