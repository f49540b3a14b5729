package decorators_test

import (
	"context"
	"crypto/rand"
	"io"
	"log/slog"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"gorm.io/gorm"
	"gorm.io/gorm/logger"

	"github.com/cacheplugin/cacheplugin"
	"github.com/cacheplugin/cacheplugin/cache"
	"github.com/cacheplugin/cacheplugin/internal/testenv"
	"github.com/cacheplugin/cacheplugin/internal/testmodel"
)

func TestMain(m *testing.M) { testenv.Main(m) }

// fixture is a database of blog posts with the plugin installed.
type fixture struct {
	env    testenv.Database
	db     *gorm.DB
	config cacheplugin.Config
	events *recorder
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

// take returns the events of one kind since the last call.
func (r *recorder) take(kind cacheplugin.EventKind) []cacheplugin.Event {
	r.mu.Lock()
	defer r.mu.Unlock()
	var out []cacheplugin.Event
	for _, e := range r.events {
		if e.Kind == kind {
			out = append(out, e)
		}
	}
	r.events = nil
	return out
}

// newFixture opens a fresh database: two categories, and a post in each.
func newFixture(t testing.TB, env testenv.Database, configure ...func(*cacheplugin.Config)) *fixture {
	t.Helper()
	f := &fixture{env: env, db: env.Open(t, &gorm.Config{Logger: logger.Discard}), events: &recorder{}}
	require.NoError(t, f.db.AutoMigrate(&testmodel.Category{}, &testmodel.Post{}))
	require.NoError(t, f.db.Create(&[]testmodel.Category{{Title: "a"}, {Title: "b"}}).Error)
	require.NoError(t, f.db.Create(&[]testmodel.Post{{CategoryID: 1, Title: "x"}, {CategoryID: 2, Title: "y"}}).Error)
	f.config = cacheplugin.Config{
		Prefix:       "test-" + rand.Text(),
		Profiles:     cacheplugin.Profiles{"posts": {Timeout: 2 * time.Hour}, "*": {Timeout: time.Hour}},
		Defaults:     cacheplugin.Profile{Timeout: 30 * time.Minute},
		Logger:       slog.New(slog.NewTextHandler(io.Discard, nil)),
		RedisTimeout: 10 * time.Second, // the machine that runs the tests may be busy
		LockWait:     time.Minute,
		LeaseTTL:     time.Minute,
		Observer:     f.events,
	}
	for _, c := range configure {
		c(&f.config)
	}
	if f.config.Redis == nil {
		f.config.Redis = testenv.Redis(t)
	}
	f.use(t)
	return f
}

// use installs a plugin.
func (f *fixture) use(t testing.TB) {
	t.Helper()
	plugin := cacheplugin.New(f.config)
	require.NoError(t, f.db.Use(plugin))
	t.Cleanup(func() { require.NoError(t, plugin.Close(context.Background())) })
}

// process is another process: it has the same database, Redis and prefix, and a
// plugin of its own.
func (f *fixture) process(t testing.TB) *fixture {
	t.Helper()
	other := &fixture{env: f.env, db: f.env.Reopen(t, f.db, &gorm.Config{Logger: logger.Discard}), config: f.config, events: f.events}
	other.use(t)
	return other
}

func onSQLite(t testing.TB, configure ...func(*cacheplugin.Config)) *fixture {
	t.Helper()
	env, ok := testenv.Find(t, testenv.SQLite)
	require.True(t, ok)
	return newFixture(t, env, configure...)
}

// onDatabases runs a test on SQLite, and on PostgreSQL if there is one.
func onDatabases(t *testing.T, test func(t *testing.T, f *fixture)) {
	for _, name := range []string{testenv.SQLite, testenv.Postgres} {
		if env, ok := testenv.Find(t, name); ok {
			t.Run(name, func(t *testing.T) { test(t, newFixture(t, env)) })
		}
	}
}

// retitle changes the post of a category.
func (f *fixture) retitle(t testing.TB, category int, title string) {
	t.Helper()
	require.NoError(t, f.db.Model(&testmodel.Post{}).Where("category_id = ?", category).Update("title", title).Error)
}

// titles reads the posts of a category.
func titles(db *gorm.DB, category int) (string, error) {
	var all []string
	err := db.Scopes(cache.NoCache()).Model(&testmodel.Post{}).Where("category_id = ?", category).Order("id").Pluck("title", &all).Error
	return strings.Join(all, ","), err
}

// counter counts how often something ran.
type counter struct {
	mu sync.Mutex
	n  int
}

func (c *counter) add() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.n++
	return c.n
}

// ran returns the count since the last call.
func (c *counter) ran() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := c.n
	c.n = 0
	return n
}

// cacheDir names a directory for a FileCache, which makes it: that of t.TempDir
// may be writable by the group.
func cacheDir(t testing.TB) string {
	t.Helper()
	return filepath.Join(t.TempDir(), "cache")
}
