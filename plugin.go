package cacheplugin

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
	"gorm.io/gorm"

	"github.com/cacheplugin/cacheplugin/conj"
	"github.com/cacheplugin/cacheplugin/internal/background"
	"github.com/cacheplugin/cacheplugin/internal/callbacks"
	"github.com/cacheplugin/cacheplugin/internal/commit"
	"github.com/cacheplugin/cacheplugin/internal/database"
	"github.com/cacheplugin/cacheplugin/internal/lookup"
	"github.com/cacheplugin/cacheplugin/internal/misconfig"
	"github.com/cacheplugin/cacheplugin/internal/namespace"
	"github.com/cacheplugin/cacheplugin/internal/near"
	"github.com/cacheplugin/cacheplugin/internal/policy"
	"github.com/cacheplugin/cacheplugin/internal/report"
	"github.com/cacheplugin/cacheplugin/internal/shapes"
	"github.com/cacheplugin/cacheplugin/internal/store"
	"github.com/cacheplugin/cacheplugin/txn"
)

// Name is the name that the plugin is registered under in GORM.
const Name = "cacheplugin"

// Plugin caches the queries of the handles that it is used on and invalidates
// what their writes change. Make it with New and install it with db.Use:
//
//	if err := db.Use(cacheplugin.New(config)); err != nil { ... }
//
// It is safe for concurrent use. A plugin may be used on several handles.
type Plugin struct {
	given Config // as passed to New, validated by Initialize

	mu      sync.Mutex
	started bool
	closed  bool
	handles map[any]*handle // by the identity of a handle's callbacks
	claims  sync.Map        // keys that Claim has given away

	// What follows is made by start and not changed afterwards.
	config     Config
	report     *report.Reporter
	shapes     *shapes.Set
	process    ProcessReport
	policies   *policy.Policies
	namespaces *namespace.Set
	listener   *store.Listener // of other processes' invalidations
	reads      *lookup.Cache
	commit     *commit.Committer
	databases  database.Registry
	drained    sync.Map // *database.Database -> struct{}: sources whose outbox is drained
	publishing background.Group
}

// handle is the plugin on one handle of GORM.
type handle struct {
	plugin    *Plugin
	dialect   conj.Dialect
	databases *database.Set
	reads     *lookup.Handle
}

var _ gorm.Plugin = (*Plugin)(nil)

// New returns a plugin with the given configuration, which db.Use validates.
func New(config Config) *Plugin {
	return &Plugin{given: config, handles: map[any]*handle{}}
}

// Name implements gorm.Plugin.
func (p *Plugin) Name() string { return Name }

// Initialize implements gorm.Plugin; db.Use calls it. It validates the
// configuration and reports what is wrong with the field's name. With
// RequireRedis it fails when Redis does not answer. After an error the handle is
// as it was before.
func (p *Plugin) Initialize(db *gorm.DB) error {
	if p.given.Disabled {
		return nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if err := p.startLocked(db.Statement.Context); err != nil {
		return err
	}
	dialect, err := dialectOf(db)
	if err != nil {
		return err
	}
	if _, twice := p.handles[db.Callback()]; twice {
		return fmt.Errorf("%w: the plugin is installed on this handle already: call db.Use once", ErrConfig)
	}
	// A resolver that is registered after us opens its own handles with our
	// plugin in their configuration; one that was there before has pools that
	// we never see.
	if _, before := db.Plugins[lookup.ResolverPlugin]; before && len(p.handles) == 0 {
		return fmt.Errorf("%w: dbresolver is registered before this plugin: call db.Use(cacheplugin.New(config)) first, then db.Use(resolver)", ErrConfig)
	}
	drains, err := p.checkOutboxLocked(db, dialect)
	if err != nil {
		return err
	}
	h := p.newHandle(db, dialect)
	handlers := p.newCallbacks(db, h)
	if err := handlers.Check(); err != nil {
		return err
	}
	if err := p.watch(db, dialect, handlers); err != nil {
		return err
	}
	h.databases.Bind(db)
	if err := handlers.Register(); err != nil {
		return fmt.Errorf("cacheplugin: register callbacks: %w", err)
	}
	if drains {
		if pool, err := db.DB(); err == nil {
			p.commit.OpenOutbox(pool, dialect)
		}
	}
	if len(p.handles) == 0 && p.config.ReportEvery > 0 {
		p.publishing.Go(p.publishRegularly)
	}
	p.handles[db.Callback()] = h
	return nil
}

// dialectOf is the dialect of a handle.
func dialectOf(db *gorm.DB) (conj.Dialect, error) {
	dialect, ok := conj.DialectOf(db.Name())
	if !ok {
		return 0, misconfig.New("Dialector", db.Name(), "the plugin knows postgres, mysql and sqlite")
	}
	return dialect, nil
}

// checkOutboxLocked reports a missing outbox, and whether that of the handle's
// database is to be drained. What dbresolver opens has the plugin already: these
// are watched when they turn out to be sources.
func (p *Plugin) checkOutboxLocked(db *gorm.DB, dialect conj.Dialect) (drains bool, err error) {
	if _, opened := db.Plugins[Name]; p.config.Outbox == nil || opened && len(p.handles) > 0 {
		return false, nil
	}
	pool, err := db.DB()
	if err != nil {
		return false, misconfig.New("Outbox", "a handle without a *sql.DB", "leave Outbox out on it")
	}
	if err := commit.CheckOutbox(db.Statement.Context, pool, dialect, p.config.Outbox.Table); err != nil {
		return false, fmt.Errorf("%w: Outbox.Table is %q, which can't be read: %w: create it by cacheplugin.MigrateOutbox before db.Use, or leave Outbox out",
			ErrConfig, p.config.Outbox.Table, err)
	}
	return true, nil
}

func (p *Plugin) newHandle(db *gorm.DB, dialect conj.Dialect) *handle {
	databases := database.NewSet(db, dialect, conj.Limits{MaxInValues: p.config.MaxInValues}, p.report, &p.databases)
	return &handle{plugin: p, dialect: dialect, databases: databases, reads: p.reads.On(dialect, databases)}
}

func (p *Plugin) newCallbacks(db *gorm.DB, h *handle) *callbacks.Handlers {
	return callbacks.New(callbacks.Options{
		DB: db, Dialect: h.dialect, Databases: h.databases, Reads: h.reads, Commit: p.commit,
		Namespaces: p.namespaces, Policies: p.policies, Report: p.report,
		MaxImages: p.config.MaxImages, MaxRows: p.config.MaxRows, MaxBytes: p.config.MaxBytes,
		IgnoreUnknownWrites: p.config.OnUnknownWrite == Warn,
		Strict:              p.config.Consistency == Strict, Outbox: p.config.Outbox != nil,
		FlushTimeout: p.config.flushTimeout(),
	})
}

// watch has the handle's pool watched.
func (p *Plugin) watch(db *gorm.DB, dialect conj.Dialect, handlers *callbacks.Handlers) error {
	err := p.databases.Pools.Install(db, txn.Options{
		NewJournal: func() txn.Journal { return p.commit.NewJournal(dialect) },
		BeforeCommit: func(ctx context.Context, tx *txn.Tx, j txn.Journal) error {
			return p.commit.BeforeCommit(ctx, tx, j.(*commit.Journal)) //nolint:forcetypeassert // from NewJournal
		},
		Watch:        handlers.Watch,
		FlushTimeout: p.config.flushTimeout(),
		Owner:        p,
	})
	switch {
	case errors.Is(err, txn.ErrResolverFirst), errors.Is(err, txn.ErrOwner), errors.Is(err, txn.ErrHidden):
		return fmt.Errorf("%w: %w", ErrConfig, err)
	case err != nil:
		return fmt.Errorf("cacheplugin: watch the connection pool: %w", err)
	}
	return nil
}

// startLocked validates the configuration and connects the store, once.
func (p *Plugin) startLocked(ctx context.Context) error {
	if p.started {
		return nil
	}
	config, err := p.given.withDefaults()
	if err != nil {
		return err
	}
	m, err := newMatcher(config.Profiles, config.Defaults)
	if err != nil {
		return err
	}
	kept, err := near.New(config.NearCache.options())
	if err != nil {
		return fmt.Errorf("%w: NearCache: %w", ErrConfig, err)
	}
	spaces, err := namespace.NewSet(config.namespaceOptions(kept))
	if err != nil {
		return fmt.Errorf("%w: %w", ErrConfig, err)
	}
	p.config, p.namespaces = config, spaces
	p.shapes, p.process = shapes.NewSet(), newProcess()
	p.report = report.New(config.Logger, config.observe())
	info, err := p.checkRedis(ctx)
	if err != nil {
		return err
	}
	p.policies = policy.New(func(table string, model reflect.Type) policy.Policy {
		if config.Outbox.holds(table) {
			return policy.Policy{Found: true, Forbids: true}
		}
		return m.policyOf(table, model)
	}, m.forbids)
	p.listener = store.NewListener(config.Redis, config.Prefix, store.ListenerOptions{OnError: func(err error) {
		p.report.Failed(context.Background(), "other processes' invalidations are not heard; what MaxStale permits is served for that long", "", err)
	}})
	p.commit = commit.New(p.commitOptions())
	p.reads = lookup.New(p.lookupOptions(m))
	for _, message := range p.given.withoutEffect() {
		p.report.WarnAlways(ctx, message)
	}
	p.report.Info(ctx, "started", p.config.summary(info)...)
	p.started = true
	return nil
}

// flushTimeout bounds an invalidation: the retries of the commit path and
// what comes around them.
func (c Config) flushTimeout() time.Duration {
	return c.RetryFor + 2*c.RedisTimeout + time.Second
}

func (c Config) namespaceOptions(kept *near.Cache) namespace.Options {
	o := namespace.Options{
		Store: store.Options{
			Client: c.Redis, Namespace: c.Prefix, Mode: store.Mode(c.Mode), Spread: c.Spread,
			LeaseTTL: c.LeaseTTL, Timeout: c.RedisTimeout, Settle: c.ReplicaLag,
			DirectConnections: c.DirectConnections, Notices: c.NearCache != nil,
		},
		Guard:       store.GuardOptions{RetryFor: c.RetryFor, Logger: c.Logger},
		Near:        kept,
		TryAlways:   c.OnReadError == Return,
		PerDatabase: c.DBSpecific,
	}
	if c.PrefixFunc != nil {
		o.Suffix = func(ctx context.Context, database string, tables []string) (suffix string, several bool) {
			suffix = c.PrefixFunc(ctx, QueryInfo{Database: database, Tables: tables, several: &several})
			return suffix, several
		}
	}
	return o
}

func (p *Plugin) commitOptions() commit.Options {
	c := p.config
	return commit.Options{
		Namespaces: p.namespaces, Report: p.report, Shapes: p.shapes,
		Strict: c.Consistency == Strict, FenceTTL: c.FenceTTL, FenceFallback: c.OnFenceError == Fallback, ReplicaLag: c.ReplicaLag,
		ReturnErrors: c.OnInvalidateError == Return, MaxImages: c.MaxImages, FlushTimeout: c.flushTimeout(),
		Prefix: c.Prefix, Outbox: c.Outbox.internal(),
	}
}

func (p *Plugin) lookupOptions(m *matcher) lookup.Options {
	c := p.config
	o := lookup.Options{
		Namespaces: p.namespaces, Policies: p.policies, Report: p.report, Shapes: p.shapes,
		Unmatched:    policy.Policy{Timeout: c.Defaults.Timeout, Lock: c.Defaults.Lock},
		ReturnErrors: c.OnReadError == Return, LockWait: c.LockWait, MaxRows: c.MaxRows, MaxBytes: c.MaxBytes,
		Spread: c.Spread, ReplicaLag: c.ReplicaLag, StoreQueue: c.StoreQueue,
		ShadowReads: c.ShadowReads, ShadowDelay: c.ShadowDelay,
		OnTables: p.tellMisspelled(m),
	}
	if c.NearCache != nil {
		o.Follow = func(s *store.Store, n *near.Space) { p.listener.Follow(s, n) }
	}
	if c.Outbox != nil {
		o.OnSource = p.drainOutbox
	}
	return o
}

// drainOutbox has the outbox of a source drained that results are read from.
func (p *Plugin) drainOutbox(d *database.Database, pool gorm.ConnPool) {
	if _, drained := p.drained.Load(d); drained {
		return
	}
	if db := p.databases.Pools.Place(pool).DB; db != nil {
		p.commit.OpenOutbox(db, d.Dialect)
		p.drained.Store(d, struct{}{})
	}
}

// checkRedis asks Redis who it is and what it permits, and warns of what the
// operator should know.
func (p *Plugin) checkRedis(ctx context.Context) (store.ServerInfo, error) {
	info, err := p.namespaces.Home().Store.Check(ctx)
	switch {
	case errors.Is(err, store.ErrConfig):
		return info, fmt.Errorf("%w: Redis: %w", ErrConfig, err)
	case err != nil && p.config.RequireRedis && refusesUser(err):
		return info, fmt.Errorf("%w: Redis refuses the user: %w: correct Username and Password in the client's options", ErrConfig, err)
	case err != nil && p.config.RequireRedis:
		return info, fmt.Errorf("%w: Redis does not answer: %w: start it, correct Redis' address, or leave RequireRedis out", ErrConfig, err)
	case err != nil && refusesUser(err):
		p.report.WarnAlways(ctx, "Redis refuses the user, and queries go to the database: correct Username and Password in the client's options", "error", err)
		return info, nil
	case err != nil:
		p.report.WarnAlways(ctx, "Redis does not answer; queries go to the database until it does", "error", err)
		return info, nil
	}
	if info.IdentityHidden {
		const hidden = "INFO replication is hidden from scripts, so that a restart from an old snapshot and a failover can't be noticed"
		if p.config.Consistency == Strict {
			return info, misconfig.New("Consistency", Strict, hidden+": allow INFO (ACL rule +info), or use Returned")
		}
		p.report.WarnAlways(ctx, "Redis: "+hidden+"; allow INFO (ACL rule +info), or call InvalidateAll after either", "version", info.Version)
	}
	for _, refusal := range info.Refusals {
		p.report.WarnAlways(ctx, "Redis refuses a command that the cache can do without", "command", refusal.Command.String(), "lost", refusal.Command.Without, "remedy", refusal.Remedy)
	}
	return info, nil
}

// refusesUser reports whether Redis is there, and the client has no valid password.
func refusesUser(err error) bool {
	return redis.HasErrorPrefix(err, "WRONGPASS") || redis.HasErrorPrefix(err, "NOAUTH")
}

// Close stores and flushes what is queued and ends what runs in the background, as long
// as the context allows. Handles that the plugin is installed on must not be
// used after it.
func (p *Plugin) Close(ctx context.Context) error {
	p.mu.Lock()
	if !p.started || p.closed {
		p.mu.Unlock()
		return nil
	}
	p.closed = true
	p.mu.Unlock()
	// It ends as soon as it is told to, so that a context that is over is no error.
	errs := []error{p.publishing.Close(context.WithoutCancel(ctx)), p.listener.Close(ctx), p.reads.Close(ctx), p.commit.Close(ctx)}
	for _, n := range p.namespaces.All() { // last: what is left to be invalidated
		errs = append(errs, n.Guard.Close(ctx))
	}
	return errors.Join(errs...)
}

// handleOf finds the plugin on a handle. It returns nil and no error when the
// plugin is disabled.
func handleOf(db *gorm.DB) (*handle, error) {
	p, ok := db.Plugins[Name].(*Plugin)
	if !ok {
		return nil, ErrNotInstalled
	}
	if p.given.Disabled {
		return nil, nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	h, ok := p.handles[db.Callback()]
	if !ok {
		return nil, ErrNotInstalled
	}
	return h, nil
}

// ConfigOf returns the configuration of the plugin that a handle has, with its
// defaults filled in, for packages that build on it: package decorators asks
// it for the client and the prefix. Of a plugin with Disabled set, only that
// means anything. It returns ErrNotInstalled for a handle without the plugin.
func ConfigOf(db *gorm.DB) (Config, error) {
	h, err := handleOf(db)
	if err != nil {
		return Config{}, err
	}
	if h == nil {
		return Config{Disabled: true}, nil
	}
	return h.plugin.config, nil
}
