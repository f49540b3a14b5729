package cacheplugin

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"gorm.io/gorm"

	"github.com/cacheplugin/cacheplugin/conj"
	"github.com/cacheplugin/cacheplugin/internal/near"
	"github.com/cacheplugin/cacheplugin/internal/rowset"
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
	given    Config // as passed to New, validated by Initialize
	config   Config
	matcher  *matcher
	home     *space // of Prefix alone
	spaces   spaces
	near     *near.Cache // of all spaces
	layouts  rowset.Layouts
	listener *store.Listener // of other processes' invalidations
	counters counters
	limiter  logLimiter
	shadows  *shadows // nil without ShadowReads
	flights  *flights
	queue    *storeQueue
	claims   sync.Map // keys that Claim has given away

	mu       sync.Mutex
	started  bool
	engines  map[any]*engine // by the identity of a handle's callbacks
	repeats  map[*time.Timer]*journal
	outboxes map[*sql.DB]*outbox
	closed   bool
}

var _ gorm.Plugin = (*Plugin)(nil)

// New returns a plugin with the given configuration, which db.Use validates.
func New(config Config) *Plugin {
	return &Plugin{
		given: config, flights: newFlights(), engines: map[any]*engine{},
		repeats: map[*time.Timer]*journal{}, outboxes: map[*sql.DB]*outbox{},
	}
}

// Name implements gorm.Plugin.
func (p *Plugin) Name() string { return Name }

// Initialize implements gorm.Plugin; db.Use calls it. It validates the
// configuration and reports what is wrong with the field's name. With
// RequireRedis it fails when Redis does not answer.
func (p *Plugin) Initialize(db *gorm.DB) error {
	if p.given.Disabled {
		return nil
	}
	if err := p.start(db.Statement.Context); err != nil {
		return err
	}
	dialect, ok := conj.DialectOf(db.Name())
	if !ok {
		return configError("Dialector", db.Name(), "the plugin knows postgres, mysql and sqlite")
	}

	p.mu.Lock()
	defer p.mu.Unlock()
	if _, twice := p.engines[db.Callback()]; twice {
		return fmt.Errorf("%w: the plugin is installed on this handle already: call db.Use once", ErrConfig)
	}
	// A resolver that is registered after us opens its own handles with our
	// plugin in their configuration; one that was there before has pools that
	// we never see.
	if _, before := db.Plugins[resolverPlugin]; before && len(p.engines) == 0 {
		return fmt.Errorf("%w: dbresolver is registered before this plugin: call db.Use(cacheplugin.New(config)) first, then db.Use(resolver)", ErrConfig)
	}
	e := newEngine(p, db, dialect)
	err := txn.Install(db, txn.Options{
		NewJournal: func() txn.Journal {
			j := newJournal(p)
			j.dialect, j.embedded = dialect, dialect == conj.SQLite
			return j
		},
		BeforeCommit: func(ctx context.Context, tx *txn.Tx, j txn.Journal) error {
			return p.beforeCommit(ctx, tx, j.(*journal))
		},
		FlushTimeout: p.flushTimeout(),
		Owner:        p,
	})
	switch {
	case errors.Is(err, txn.ErrResolverFirst), errors.Is(err, txn.ErrOwner):
		return fmt.Errorf("%w: %w", ErrConfig, err)
	case err != nil:
		return fmt.Errorf("cacheplugin: install the transaction hooks: %w", err)
	}
	if err := e.register(db); err != nil {
		return fmt.Errorf("cacheplugin: register callbacks: %w", err)
	}
	// What dbresolver opens has the plugin already: these are watched when they
	// turn out to be sources.
	if _, opened := db.Plugins[Name]; p.config.Outbox != nil && (!opened || len(p.engines) == 0) {
		sqlDB, err := db.DB()
		if err != nil {
			return configError("Outbox", "a handle without a *sql.DB", "leave Outbox out on it")
		}
		if err := p.openOutboxLocked(sqlDB, dialect).check(db.Statement.Context); err != nil {
			return err
		}
	}
	p.engines[db.Callback()] = e
	return nil
}

// start validates the configuration and connects the store, once.
func (p *Plugin) start(ctx context.Context) error {
	p.mu.Lock()
	defer p.mu.Unlock()
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
	p.near = kept
	p.listener = store.NewListener(config.Redis, config.Prefix, store.ListenerOptions{OnError: func(err error) {
		p.failed(context.Background(), "other processes' invalidations are not heard; what MaxStale permits is served for that long", "", err)
	}})
	home, err := newSpace(config, config.Prefix, kept)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrConfig, err)
	}
	p.config, p.matcher, p.home = config, m, home
	p.spaces.byID = map[string]*space{"": home}
	if err := p.check(ctx); err != nil {
		return err
	}
	p.queue = newStoreQueue(config, p.storeAll)
	if config.ShadowReads > 0 {
		p.shadows = newShadows(config)
	}
	p.started = true
	return nil
}

// check asks Redis who it is, and warns of what the operator should know.
func (p *Plugin) check(ctx context.Context) error {
	info, err := p.home.store.Check(ctx)
	if errors.Is(err, store.ErrLayout) {
		return fmt.Errorf("%w: %w", ErrConfig, err)
	}
	if err != nil {
		if p.config.RequireRedis {
			return fmt.Errorf("%w: Redis does not answer: %w: start it, correct Redis' address, or leave RequireRedis out", ErrConfig, err)
		}
		p.config.Logger.Warn("cacheplugin: Redis does not answer; queries go to the database until it does", "error", err)
		return nil
	}
	if info.IdentityHidden && info.Version != "" {
		p.config.Logger.Warn("cacheplugin: Redis hides INFO replication from scripts, so that a restart from an old snapshot and a failover can't be noticed; allow it, or call InvalidateAll after either", "version", info.Version)
	}
	return nil
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
	var again []*journal
	for timer, j := range p.repeats {
		if timer.Stop() {
			again = append(again, j)
		}
	}
	clear(p.repeats)
	boxes := slices.Collect(maps.Values(p.outboxes))
	p.mu.Unlock()
	errs := []error{p.listener.Close(ctx)}
	if p.shadows != nil {
		p.shadows.close(ctx)
	}
	errs = append(errs, p.queue.close(ctx))
	for _, j := range again {
		errs = append(errs, p.flush(ctx, j))
	}
	for _, s := range p.allSpaces() {
		errs = append(errs, s.guard.Close(ctx))
	}
	for _, o := range boxes {
		o.close(ctx)
	}
	return errors.Join(errs...)
}

// Stats returns a snapshot of the counters.
func (p *Plugin) Stats() Stats { return p.counters.snapshot() }

// engineOf finds the engine of a handle. It returns nil and no error when the
// plugin is disabled.
func engineOf(db *gorm.DB) (*engine, error) {
	p, ok := db.Plugins[Name].(*Plugin)
	if !ok {
		return nil, ErrNotInstalled
	}
	if p.given.Disabled {
		return nil, nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	e, ok := p.engines[db.Callback()]
	if !ok {
		return nil, ErrNotInstalled
	}
	return e, nil
}
