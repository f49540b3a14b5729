package conformance

import (
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"
	"gorm.io/gorm"
	"gorm.io/gorm/logger"

	"github.com/cacheplugin/cacheplugin"
	"github.com/cacheplugin/cacheplugin/integration/internal/fixture"
	"github.com/cacheplugin/cacheplugin/integration/testdb"
	"github.com/cacheplugin/cacheplugin/internal/testenv"
	"github.com/cacheplugin/cacheplugin/internal/testmodel"
)

// conform runs a test of the behaviours that we owe on each database, seeded
// with testmodel's rows. Both modes, prepared statements and direct connections
// are covered by a run each on SQLite, and by one run together on the others.
func conform(t *testing.T, o fixture.Options, test func(t *testing.T, c *seeded)) {
	t.Helper()
	for _, env := range testdb.Databases(t) {
		variants := []variant{{"sets", cacheplugin.ConjunctionSets, false, false}}
		if env.Name == testenv.SQLite {
			variants = append(variants, variant{"prepared", cacheplugin.ConjunctionSets, true, false},
				variant{"inside-out", cacheplugin.InsideOut, false, false}, variant{"direct", cacheplugin.ConjunctionSets, false, true})
		} else {
			variants = append(variants, variant{"inside-out prepared direct", cacheplugin.InsideOut, true, true})
		}
		for _, v := range variants {
			t.Run(env.Name+"/"+v.name, func(t *testing.T) {
				t.Parallel()
				o := o
				o.Config.Mode, o.Gorm.PrepareStmt, o.Config.DirectConnections = v.mode, v.prepare, v.direct
				test(t, newSeeded(t, env, o))
			})
		}
	}
}

type variant struct {
	name    string
	mode    cacheplugin.Mode
	prepare bool
	direct  bool
}

// seeded is a fixture with testmodel's tables and rows. The rows were written
// without the plugin, before anything was cached.
type seeded struct {
	*fixture.Fixture
	o     fixture.Options
	redis redis.UniversalClient
	sent  *commands // through redis; nil of a twin
}

func newSeeded(t testing.TB, env testenv.Database, o fixture.Options) *seeded {
	t.Helper()
	if o.Config.Prefix == "" {
		o.Config.Prefix = "test-" + rand.Text()
	}
	sent := &commands{}
	if o.Config.Redis == nil {
		own := testenv.RedisOptions(t)
		own.Limiter = sent
		client := redis.NewClient(own)
		t.Cleanup(func() { _ = client.Close() })
		o.Config.Redis = client
	}
	f := fixture.New(t, env, o)
	require.NoError(t, testmodel.AutoMigrate(f.Plain))
	_, err := testmodel.Seed(f.Plain)
	require.NoError(t, err)
	require.NoError(t, testmodel.Register(f.DB))
	return &seeded{f, o, o.Config.Redis, sent}
}

// twin is another process on the same database: another handle, plugin and
// Redis client. An empty prefix is the same one.
func (c *seeded) twin(t testing.TB, prefix string) *seeded {
	t.Helper()
	o := c.o
	o.Config.Redis = testenv.Redis(t)
	if prefix != "" {
		o.Config.Prefix = prefix
	}
	g := o.Gorm
	g.Logger = logger.Discard
	f := &fixture.Fixture{Env: c.Env, DB: c.Env.Reopen(t, c.Plain, &g), Plain: c.Plain, Events: &fixture.Recorder{}}
	config := o.Config
	config.Observer, config.RedisTimeout = f.Events, testTimeout
	if config.Profiles == nil {
		config.Profiles = fixture.CacheAll()
	}
	f.Plugin = cacheplugin.New(config)
	require.NoError(t, f.DB.Use(f.Plugin))
	t.Cleanup(func() { require.NoError(t, f.Plugin.Close(context.Background())) })
	require.NoError(t, testmodel.Register(f.DB))
	return &seeded{f, o, o.Config.Redis, nil}
}

// keys are the names of all that the plugin has in Redis.
func (c *seeded) keys(t testing.TB) map[string]bool {
	t.Helper()
	keys := map[string]bool{}
	scan := c.redis.Scan(t.Context(), 0, "{"+c.o.Config.Prefix+"}*", 1000).Iterator()
	for scan.Next(t.Context()) {
		keys[scan.Val()] = true
	}
	require.NoError(t, scan.Err())
	return keys
}

// query is a read: it returns what it has read in a form that can be compared.
type query func(db *gorm.DB) (any, error)

// find reads rows into a slice of T.
func find[T any](build func(db *gorm.DB) *gorm.DB) query {
	return func(db *gorm.DB) (any, error) {
		var rows []T
		result := build(db).Find(&rows)
		return []any{rows, result.RowsAffected}, result.Error
	}
}

// first reads one row, or ErrRecordNotFound, which is a result too.
func first[T any](build func(db *gorm.DB) *gorm.DB) query {
	return func(db *gorm.DB) (any, error) {
		var row T
		err := build(db).First(&row).Error
		if errors.Is(err, gorm.ErrRecordNotFound) {
			return "not found", nil
		}
		return row, err
	}
}

// byKey reads the row of a numeric primary key.
func byKey[T any](id any) query {
	return func(db *gorm.DB) (any, error) {
		return first[T](func(db *gorm.DB) *gorm.DB { return db.Where("id = ?", id) })(db)
	}
}

// counting counts the rows of T.
func counting[T any](build func(db *gorm.DB) *gorm.DB) query {
	return func(db *gorm.DB) (any, error) {
		var n int64
		err := build(db.Model(new(T))).Count(&n).Error
		return n, err
	}
}

// where is a build function for conditions alone; rows come ordered.
func where(condition any, args ...any) func(*gorm.DB) *gorm.DB {
	return func(db *gorm.DB) *gorm.DB { return db.Where(condition, args...) }
}

// reads runs a query on the handle with the plugin and says what became of it.
// Whatever that was, the result must be what the database says without us.
func (c *seeded) reads(t testing.TB, q query) string {
	t.Helper()
	return c.readsOn(t, c.DB, q)
}

func (c *seeded) readsOn(t testing.TB, db *gorm.DB, q query) string {
	t.Helper()
	var got any
	var err error
	outcome := c.Outcome(func() { got, err = q(db) })
	want, wantErr := q(c.Plain)
	require.NoError(t, wantErr)
	require.NoError(t, err)
	require.Equal(t, want, got, "the plugin changes a result (%s)", outcome)
	return outcome
}

// fill reads queries until they are answered from the cache.
func (c *seeded) fill(t testing.TB, queries ...query) {
	t.Helper()
	for i, q := range queries {
		first := c.reads(t, q)
		require.Equal(t, "hit", c.reads(t, q), "query %d is not cached, at first: %s", i, first)
	}
}

// kept requires that queries are answered from the cache, dropped that they
// are not, and that they are cached again afterwards.
func (c *seeded) kept(t testing.TB, queries ...query) {
	t.Helper()
	for i, q := range queries {
		require.Equal(t, "hit", c.reads(t, q), "query %d was dropped", i)
	}
}

func (c *seeded) dropped(t testing.TB, queries ...query) {
	t.Helper()
	for i, q := range queries {
		require.Equal(t, "miss", c.reads(t, q), "query %d was not dropped", i)
		require.Equal(t, "hit", c.reads(t, q), "query %d is not cached any more", i)
	}
}

// fresh requires nothing but the right result.
func (c *seeded) fresh(t testing.TB, queries ...query) {
	t.Helper()
	for _, q := range queries {
		c.reads(t, q)
	}
}

// begin opens a transaction in which reads may come from the cache.
func (c *seeded) begin(t testing.TB) *gorm.DB {
	t.Helper()
	return c.beginOn(t, c.DB)
}

func (c *seeded) beginOn(t testing.TB, db *gorm.DB) *gorm.DB {
	t.Helper()
	var o []*sql.TxOptions
	if c.Env.Dialect == "mysql" {
		o = append(o, &sql.TxOptions{Isolation: sql.LevelReadCommitted})
	}
	tx := db.Begin(o...)
	require.NoError(t, tx.Error)
	t.Cleanup(func() { tx.Rollback() })
	return tx
}

// testTimeout is longer than any test.
const testTimeout = time.Hour

// soon is a context that bounds what must not hang.
func soon(t testing.TB) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	t.Cleanup(cancel)
	return ctx
}
