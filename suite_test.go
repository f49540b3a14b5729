package cacheplugin_test

import (
	"context"
	"crypto/rand"
	"io"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"gorm.io/gorm"
	"gorm.io/gorm/logger"
	"gorm.io/plugin/dbresolver"

	"github.com/cacheplugin/cacheplugin"
	"github.com/cacheplugin/cacheplugin/cache"
	"github.com/cacheplugin/cacheplugin/integration/testdb"
	"github.com/cacheplugin/cacheplugin/internal/testenv"
)

func TestMain(m *testing.M) { testenv.Main(m) }

// fixture is a database with the plugin installed, and the same database
// without it.
type fixture struct {
	env    testenv.Database
	db     *gorm.DB // with the plugin
	plain  *gorm.DB // the truth
	plugin *cacheplugin.Plugin
	events *recorder
	config cacheplugin.Config // as the plugin got it
}

// options vary a fixture.
type options struct {
	config cacheplugin.Config // Redis, Prefix, Observer and Logger are filled in
	gorm   gorm.Config
	models []any // migrated before the plugin is installed
}

// cacheAll caches every operation on every table.
func cacheAll() cacheplugin.Profiles {
	return cacheplugin.Profiles{"*": {Ops: cache.All, Timeout: time.Hour}}
}

// newFixture opens a fresh database with the plugin in a namespace of its own.
func newFixture(t testing.TB, env testenv.Database, o options) *fixture {
	t.Helper()
	f := &fixture{env: env, events: &recorder{}}
	f.plain = env.Open(t, &gorm.Config{Logger: logger.Discard})
	if len(o.models) > 0 {
		require.NoError(t, f.plain.AutoMigrate(o.models...))
	}
	g := o.gorm
	g.Logger = logger.Discard
	f.db = env.Reopen(t, f.plain, &g)
	c := o.config
	if c.Redis == nil {
		c.Redis = testenv.Redis(t)
	}
	if c.Prefix == "" {
		c.Prefix = "test-" + rand.Text()
	}
	if c.Profiles == nil {
		c.Profiles = cacheAll()
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.NewTextHandler(io.Discard, nil))
	}
	// The machine that runs the tests may be busy.
	if c.RedisTimeout == 0 {
		c.RedisTimeout = 10 * time.Second
	}
	c.Observer = f.events
	if c.Outbox != nil {
		require.NoError(t, cacheplugin.MigrateOutbox(f.plain, *c.Outbox))
	}
	f.config = c
	f.plugin = cacheplugin.New(c)
	require.NoError(t, f.db.Use(f.plugin))
	t.Cleanup(func() { require.NoError(t, f.plugin.Close(context.Background())) })
	return f
}

// onEveryDatabase runs a test on each database that there is, with and without
// prepared statements.
func onEveryDatabase(t *testing.T, o options, test func(t *testing.T, f *fixture)) {
	t.Helper()
	for _, env := range testdb.Databases(t) {
		for _, prepare := range []bool{false, true} {
			name := env.Name
			if prepare {
				name += "/prepared"
			}
			t.Run(name, func(t *testing.T) {
				o := o
				o.gorm.PrepareStmt = prepare
				test(t, newFixture(t, env, o))
			})
		}
	}
}

// recorder is an Observer that remembers.
type recorder struct {
	mu     sync.Mutex
	events []cacheplugin.Event
}

func (r *recorder) Observe(_ context.Context, e cacheplugin.Event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.events = append(r.events, e)
}

// take returns the events since the last call.
func (r *recorder) take() []cacheplugin.Event {
	r.mu.Lock()
	defer r.mu.Unlock()
	events := r.events
	r.events = nil
	return events
}

// outcome runs a read and says what became of its look-ups: "hit", "miss", or
// "skip: reason", one after the other; empty if there was none.
func (f *fixture) outcome(read func()) string {
	f.events.take()
	read()
	out := ""
	for _, e := range f.events.take() {
		text := ""
		switch e.Kind {
		case cacheplugin.EventHit, cacheplugin.EventMiss:
			text = e.Kind.String()
		case cacheplugin.EventSkip:
			text = "skip: " + e.Reason
		case cacheplugin.EventError:
			text = "error: " + e.Err.Error()
		default:
			continue
		}
		if out != "" {
			out += ", "
		}
		out += text
	}
	return out
}

// hits requires that a read is answered from the cache, misses that it is not.
func (f *fixture) hits(t testing.TB, read func(), msg ...any) {
	t.Helper()
	require.Equal(t, "hit", f.outcome(read), msg...)
}

func (f *fixture) misses(t testing.TB, read func(), msg ...any) {
	t.Helper()
	require.Equal(t, "miss", f.outcome(read), msg...)
}

// cached requires a miss and then a hit.
func (f *fixture) cached(t testing.TB, read func(), msg ...any) {
	t.Helper()
	f.misses(t, read, msg...)
	f.hits(t, read, msg...)
}

// useResolver registers a resolver, whose own connections are closed when the
// test ends.
func useResolver(t testing.TB, db *gorm.DB, config dbresolver.Config) {
	t.Helper()
	resolver := dbresolver.Register(config)
	require.NoError(t, db.Use(resolver))
	t.Cleanup(func() {
		require.NoError(t, resolver.Call(func(pool gorm.ConnPool) error {
			if c, ok := pool.(gorm.GetDBConnector); ok {
				sqlDB, err := c.GetDBConn()
				if err != nil {
					return err
				}
				return sqlDB.Close()
			}
			return pool.(io.Closer).Close()
		}))
	})
}
