package cacheplugin_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"
	"gorm.io/gorm"

	"github.com/cacheplugin/cacheplugin"
	"github.com/cacheplugin/cacheplugin/cache"
	"github.com/cacheplugin/cacheplugin/internal/testenv"
	"github.com/cacheplugin/cacheplugin/internal/testmodel"
)

func TestMain(m *testing.M) { testenv.Main(m) }

// cacheAll caches every operation on every table.
func cacheAll() cacheplugin.Profiles {
	return cacheplugin.Profiles{"*": {Ops: cache.All, Timeout: time.Hour}}
}

// newPlugin returns a plugin with a configuration that works, but for what
// change makes of it.
func newPlugin(t *testing.T, change func(c *cacheplugin.Config)) *cacheplugin.Plugin {
	t.Helper()
	config := cacheplugin.Config{
		Redis: testenv.Redis(t), Prefix: "test-" + rand.Text(), Profiles: cacheAll(),
		RedisTimeout: 10 * time.Second, Logger: slog.New(slog.DiscardHandler),
	}
	if change != nil {
		change(&config)
	}
	plugin := cacheplugin.New(config)
	t.Cleanup(func() { require.NoError(t, plugin.Close(context.Background())) })
	return plugin
}

// gone is a client of a Redis that nobody runs.
func gone(t *testing.T) redis.UniversalClient {
	t.Helper()
	server := testenv.StartRedis(t)
	client := redis.NewClient(&redis.Options{Addr: server.Addr, MaxRetries: -1, DialerRetries: 1, DialTimeout: time.Second})
	t.Cleanup(func() { _ = client.Close() })
	server.Kill(t)
	return client
}

func TestConfigurationErrorsNameTheFieldAndTheRemedy(t *testing.T) {
	env := testenv.NeedSQLite(t)
	for _, wrong := range []struct {
		name   string
		change func(c *cacheplugin.Config)
		says   []string
	}{
		{"no Redis", func(c *cacheplugin.Config) { c.Redis = nil }, []string{"Redis", "redis.NewClient"}},
		{"a nil client", func(c *cacheplugin.Config) { c.Redis = (*redis.Client)(nil) }, []string{"Redis", "redis.NewClient"}},
		{"a nil client of a cluster", func(c *cacheplugin.Config) { c.Redis = (*redis.ClusterClient)(nil) }, []string{"Redis", "redis.NewClient"}},
		{"a nil observer", func(c *cacheplugin.Config) { c.Observer = (*silent)(nil) }, []string{"Observer", "nil *cacheplugin_test.silent"}},
		{"a nil observer's function", func(c *cacheplugin.Config) { c.Observer = cacheplugin.ObserverFunc(nil) }, []string{"Observer", "leave it out"}},
		{"no timeout anywhere", func(c *cacheplugin.Config) {
			c.Profiles = cacheplugin.Profiles{"users": {Ops: cache.All}}
		}, []string{`Profiles["users"].Timeout`, "Defaults.Timeout"}},
		{"an unknown operation", func(c *cacheplugin.Config) {
			c.Profiles = cacheplugin.Profiles{"users": {Ops: 128, Timeout: time.Hour}}
		}, []string{`Profiles["users"].Ops`, "Get, Fetch"}},
		{"an unknown operation in Defaults", func(c *cacheplugin.Config) { c.Defaults.Ops = 128 }, []string{"Defaults.Ops", "Get, Fetch"}},
		{"a negative timeout", func(c *cacheplugin.Config) {
			c.Profiles = cacheplugin.Profiles{"users": {Timeout: -time.Second}}
		}, []string{`Profiles["users"].Timeout`, "-1s", "positive"}},
		{"a negative default", func(c *cacheplugin.Config) { c.Defaults.Timeout = -time.Second }, []string{"Defaults.Timeout", "positive"}},
		{"a negative LeaseTTL", func(c *cacheplugin.Config) { c.LeaseTTL = -1 }, []string{"LeaseTTL", "positive"}},
		{"a negative LockWait", func(c *cacheplugin.Config) { c.LockWait = -1 }, []string{"LockWait", "positive"}},
		{"a negative RedisTimeout", func(c *cacheplugin.Config) { c.RedisTimeout = -1 }, []string{"RedisTimeout", "positive"}},
		{"a negative RetryFor", func(c *cacheplugin.Config) { c.RetryFor = -1 }, []string{"RetryFor", "positive"}},
		{"a LeaseTTL below Redis' unit", func(c *cacheplugin.Config) { c.LeaseTTL = time.Microsecond }, []string{"LeaseTTL", "millisecond"}},
		{"a DependsOn of two names", func(c *cacheplugin.Config) {
			c.Profiles = cacheplugin.Profiles{"a": {Timeout: time.Hour, DependsOn: []string{"b, c"}}}
		}, []string{"DependsOn", "b, c", "one each"}},
		{"a DependsOn of a forbidden table", func(c *cacheplugin.Config) {
			c.Profiles = cacheplugin.Profiles{"a": {Timeout: time.Hour, DependsOn: []string{"s.secrets"}}, "secrets": nil}
		}, []string{`Profiles["a"].DependsOn`, "s.secrets", "its profile is nil"}},
		{"a negative MaxInValues", func(c *cacheplugin.Config) { c.MaxInValues = -1 }, []string{"MaxInValues", "positive"}},
		{"a negative MaxRows", func(c *cacheplugin.Config) { c.MaxRows = -1 }, []string{"MaxRows", "positive"}},
		{"a negative MaxBytes", func(c *cacheplugin.Config) { c.MaxBytes = -1 }, []string{"MaxBytes", "positive"}},
		{"a negative MaxImages", func(c *cacheplugin.Config) { c.MaxImages = -1 }, []string{"MaxImages", "positive"}},
		{"an unusable pattern", func(c *cacheplugin.Config) {
			c.Profiles = cacheplugin.Profiles{"users[": {Timeout: time.Hour}}
		}, []string{`Profiles["users["]`, "brackets"}},
		{"an unusable pattern after a usable start", func(c *cacheplugin.Config) {
			c.Profiles = cacheplugin.Profiles{"auth_[a": {Timeout: time.Hour}}
		}, []string{`Profiles["auth_[a"]`, "brackets"}},
		{"an empty pattern", func(c *cacheplugin.Config) {
			c.Profiles = cacheplugin.Profiles{"": {Timeout: time.Hour}}
		}, []string{`Profiles[""]`, "glob"}},
		{"braces in Prefix", func(c *cacheplugin.Config) { c.Prefix = "my{app}" }, []string{"Prefix", "leave them out"}},
		{"an unknown Mode", func(c *cacheplugin.Config) { c.Mode = 9 }, []string{"Mode", "InsideOut"}},
		{"a negative MaxBytes", func(c *cacheplugin.Config) { c.NearCache = &cacheplugin.NearCache{MaxBytes: -1} }, []string{"NearCache", "MaxBytes", "positive"}},
		{"a negative MaxStale", func(c *cacheplugin.Config) {
			c.Profiles = cacheplugin.Profiles{"users": {Timeout: time.Hour, MaxStale: -1}}
		}, []string{`Profiles["users"].MaxStale`, "zero"}},
		{"MaxStale without a near cache", func(c *cacheplugin.Config) {
			c.Profiles = cacheplugin.Profiles{"users": {Timeout: time.Hour, MaxStale: time.Minute}}
		}, []string{`Profiles["users"].MaxStale`, "NearCache"}},
		{"a timeout without its unit", func(c *cacheplugin.Config) {
			c.Profiles = cacheplugin.Profiles{"users": {Timeout: 10}}
		}, []string{`Profiles["users"].Timeout`, "10ns", "10 * time.Second"}},
		{"a default without its unit", func(c *cacheplugin.Config) { c.Defaults.Timeout = 10 }, []string{"Defaults.Timeout", "unit"}},
		{"a RedisTimeout without its unit", func(c *cacheplugin.Config) { c.RedisTimeout = 10 }, []string{"RedisTimeout", "unit"}},
		{"a ReportEvery without its unit", func(c *cacheplugin.Config) { c.ReportEvery = 10 }, []string{"ReportEvery", "10 * time.Second", "negative"}},
		{"MaxStale for all tables", func(c *cacheplugin.Config) { c.Defaults.MaxStale = time.Second }, []string{"Defaults.MaxStale", "profiles"}},
		{"Spread sets", func(c *cacheplugin.Config) { c.Spread = true }, []string{"Spread", "Mode", "InsideOut"}},
		{"direct connections to a cluster", func(c *cacheplugin.Config) {
			cluster := redis.NewClusterClient(&redis.ClusterOptions{Addrs: []string{"localhost:1"}})
			t.Cleanup(func() { _ = cluster.Close() })
			c.Redis, c.DirectConnections = cluster, true
		}, []string{"DirectConnections", "*redis.Client", "Sentinel"}},
		{"direct connections of two pools", func(c *cacheplugin.Config) {
			two := redis.NewClient(&redis.Options{Addr: "localhost:1"})
			t.Cleanup(func() { _ = two.Close() })
			c.Redis, c.DirectConnections = two, true
		}, []string{"DirectConnections", "PipelinePoolSize -1"}},
		{"direct connections and Spread", func(c *cacheplugin.Config) {
			c.Mode, c.Spread, c.DirectConnections = cacheplugin.InsideOut, true, true
		}, []string{"DirectConnections", "Spread"}},
		{"Queue for reads", func(c *cacheplugin.Config) { c.OnReadError = cacheplugin.Queue }, []string{"OnReadError", "Fallback or Return"}},
		{"Fallback for writes", func(c *cacheplugin.Config) { c.OnInvalidateError = cacheplugin.Fallback }, []string{"OnInvalidateError", "Queue or Return"}},
		{"an unknown OnUnknownWrite", func(c *cacheplugin.Config) { c.OnUnknownWrite = 9 }, []string{"OnUnknownWrite", "Warn"}},
		{"Redis is down and required", func(c *cacheplugin.Config) { c.Redis, c.RequireRedis = gone(t), true }, []string{"Redis", "RequireRedis"}},
	} {
		t.Run(wrong.name, func(t *testing.T) {
			err := env.Open(t, nil).Use(newPlugin(t, wrong.change))
			require.ErrorIs(t, err, cacheplugin.ErrConfig)
			for _, words := range wrong.says {
				require.ErrorContains(t, err, words)
			}
		})
	}
}

func TestAnInstallationHappensOnce(t *testing.T) {
	env := testenv.NeedSQLite(t)
	t.Run("Use twice", func(t *testing.T) {
		db, plugin := env.Open(t, nil), newPlugin(t, nil)
		require.NoError(t, db.Use(plugin))
		require.ErrorIs(t, db.Use(plugin), gorm.ErrRegistered)
		require.ErrorIs(t, db.Use(newPlugin(t, nil)), gorm.ErrRegistered)
	})
	t.Run("Initialize twice", func(t *testing.T) {
		db, plugin := env.Open(t, nil), newPlugin(t, nil)
		require.NoError(t, plugin.Initialize(db))
		err := plugin.Initialize(db)
		require.ErrorIs(t, err, cacheplugin.ErrConfig)
		require.ErrorContains(t, err, "once")
	})
	t.Run("two plugins on one handle", func(t *testing.T) {
		db := env.Open(t, nil)
		require.NoError(t, newPlugin(t, nil).Initialize(db))
		require.ErrorIs(t, newPlugin(t, nil).Initialize(db), cacheplugin.ErrConfig)
	})
	t.Run("one plugin on two handles", func(t *testing.T) {
		plugin := newPlugin(t, nil)
		for range 2 {
			db := env.Open(t, nil)
			require.NoError(t, db.AutoMigrate(&testmodel.Stock{}))
			require.NoError(t, db.Use(plugin))
			before := plugin.Stats()
			for range 2 {
				require.NoError(t, db.Find(&[]testmodel.Stock{}).Error)
			}
			require.Equal(t, before.Hits+1, plugin.Stats().Hits)
			require.Equal(t, before.Misses+1, plugin.Stats().Misses)
		}
	})
}

// silent is an Observer that nobody has made.
type silent struct{ events []cacheplugin.Event }

func (s *silent) Observe(_ context.Context, e cacheplugin.Event) { s.events = append(s.events, e) }

// TestAFailedUseLeavesTheHandleAsItWas: nothing is wrapped or started before
// everything has been checked.
func TestAFailedUseLeavesTheHandleAsItWas(t *testing.T) {
	env := testenv.NeedSQLite(t)
	for _, failing := range []struct {
		name   string
		change func(t *testing.T, db *gorm.DB, c *cacheplugin.Config)
	}{
		{"an outbox without its table", func(_ *testing.T, _ *gorm.DB, c *cacheplugin.Config) { c.Outbox = &cacheplugin.Outbox{} }},
		{"a wrong field", func(_ *testing.T, _ *gorm.DB, c *cacheplugin.Config) { c.LeaseTTL = -1 }},
		{"a wrong profile", func(_ *testing.T, _ *gorm.DB, c *cacheplugin.Config) {
			c.Profiles = cacheplugin.Profiles{"users": {}}
		}},
		{"a Redis that must answer", func(t *testing.T, _ *gorm.DB, c *cacheplugin.Config) { c.Redis, c.RequireRedis = gone(t), true }},
		{"a handler that was removed", func(t *testing.T, db *gorm.DB, _ *cacheplugin.Config) {
			create := db.Callback().Create().Get("gorm:create")
			require.NoError(t, db.Callback().Create().Remove("gorm:create"))
			t.Cleanup(func() { require.NoError(t, db.Callback().Create().Register("gorm:create", create)) })
		}},
	} {
		t.Run(failing.name, func(t *testing.T) {
			db := env.Open(t, nil)
			require.NoError(t, db.AutoMigrate(&testmodel.Stock{}))
			pool := db.ConnPool
			t.Run("Use", func(t *testing.T) {
				wrong := newPlugin(t, func(c *cacheplugin.Config) { failing.change(t, db, c) })
				require.Error(t, db.Use(wrong))
			})
			require.Same(t, pool, db.ConnPool, "the pool is not wrapped")
			require.NotContains(t, db.Plugins, cacheplugin.Name)
			require.NoError(t, db.Where("1 = 1").Delete(&testmodel.Stock{}).Error, "writes go on")
			require.ErrorIs(t, cacheplugin.InvalidateAll(db), cacheplugin.ErrNotInstalled)

			right := newPlugin(t, nil)
			require.NoError(t, db.Use(right), "a second, correct Use works")
			for range 2 {
				require.NoError(t, db.Find(&[]testmodel.Stock{}).Error)
			}
			require.EqualValues(t, 1, right.Stats().Hits)
		})
	}
}

// TestOptionsWithoutEffectAreTold: once, at the start.
func TestOptionsWithoutEffectAreTold(t *testing.T) {
	env := testenv.NeedSQLite(t)
	for _, test := range []struct {
		change func(c *cacheplugin.Config)
		told   string // empty: nothing
	}{
		{func(*cacheplugin.Config) {}, ""},
		{func(c *cacheplugin.Config) { c.FenceTTL = time.Second }, "FenceTTL has no effect without Consistency: Strict"},
		{func(c *cacheplugin.Config) { c.FenceTTL, c.Consistency = time.Second, cacheplugin.Strict }, ""},
		{func(c *cacheplugin.Config) { c.OnFenceError = cacheplugin.Fallback }, "OnFenceError has no effect without Consistency: Strict"},
		{func(c *cacheplugin.Config) { c.ShadowDelay = time.Second }, "ShadowDelay has no effect without ShadowReads"},
		{func(c *cacheplugin.Config) { c.Profiles = nil }, "without Profiles"},
	} {
		var log bytes.Buffer
		plugin := newPlugin(t, func(c *cacheplugin.Config) {
			test.change(c)
			c.Logger = slog.New(slog.NewTextHandler(&log, nil))
		})
		require.NoError(t, env.Open(t, nil).Use(plugin))
		if test.told == "" {
			require.NotContains(t, log.String(), "no effect")
			continue
		}
		require.Equal(t, 1, strings.Count(log.String(), test.told), log.String())
	}
}

// TestWhatTheRedisUserMayNotDoIsToldAtTheStart: a missing command is an error, a
// hidden identity a warning, and an error where the promise depends on it.
func TestWhatTheRedisUserMayNotDoIsToldAtTheStart(t *testing.T) {
	env := testenv.NeedSQLite(t)
	server := testenv.StartRedis(t)
	admin := redis.NewClient(&redis.Options{Addr: server.Addr})
	t.Cleanup(func() { require.NoError(t, admin.Close()) })
	for i, test := range []struct {
		name, rule string
		strict     bool
		err, log   string // empty: none
	}{
		{name: "all is allowed", rule: "+@all", strict: true},
		{name: "no UNLINK", rule: "-unlink", err: "+unlink"},
		{name: "no scripts", rule: "-evalsha", err: "+evalsha"},
		{name: "no INFO", rule: "-info", log: "INFO replication is hidden"},
		{name: "nothing dangerous", rule: "-@dangerous", log: "INFO replication is hidden"},
		{name: "no INFO under Strict", rule: "-info", strict: true, err: "INFO replication is hidden"},
	} {
		t.Run(test.name, func(t *testing.T) {
			user := fmt.Sprint("user", i)
			require.NoError(t, admin.Do(t.Context(), "ACL", "SETUSER", user, "on", ">secret", "~*", "&*", "+@all", test.rule).Err())
			client := redis.NewClient(&redis.Options{Addr: server.Addr, Username: user, Password: "secret"})
			t.Cleanup(func() { require.NoError(t, client.Close()) })
			var log bytes.Buffer
			err := env.Open(t, nil).Use(newPlugin(t, func(c *cacheplugin.Config) {
				c.Redis, c.Logger = client, slog.New(slog.NewTextHandler(&log, nil))
				if test.strict {
					c.Consistency = cacheplugin.Strict
				}
			}))
			if test.err == "" {
				require.NoError(t, err)
			} else {
				require.ErrorIs(t, err, cacheplugin.ErrConfig)
				require.ErrorContains(t, err, test.err)
			}
			require.Equal(t, test.log != "", strings.Contains(log.String(), "hidden"), log.String())
			require.Contains(t, log.String(), test.log)
		})
	}
}

// TestCallsThatDropNothingAreTold: a line in the log says so.
func TestCallsThatDropNothingAreTold(t *testing.T) {
	env := testenv.NeedSQLite(t)
	for _, test := range []struct {
		told string
		call func(db *gorm.DB) error
	}{
		{"InvalidateObj without objects", func(db *gorm.DB) error { return cacheplugin.InvalidateObj(db) }},
		{"InvalidateModel without models", func(db *gorm.DB) error { return cacheplugin.InvalidateModel(db) }},
		{"matches no table: stcok*", func(db *gorm.DB) error { return cacheplugin.InvalidatePattern(db, "stcok*") }},
		{"Postpone of a function that has written nothing", func(db *gorm.DB) error {
			return cacheplugin.Postpone(db, func(*gorm.DB) error { return nil })
		}},
	} {
		var log bytes.Buffer
		db := env.Open(t, nil)
		require.NoError(t, db.AutoMigrate(&testmodel.Stock{}))
		require.NoError(t, db.Use(newPlugin(t, func(c *cacheplugin.Config) { c.Logger = slog.New(slog.NewTextHandler(&log, nil)) })))
		require.NoError(t, cacheplugin.InvalidateObj(db, &testmodel.Stock{}))
		require.NoError(t, cacheplugin.InvalidatePattern(db, "*"))
		require.NotContains(t, log.String(), "level=WARN")
		require.NoError(t, test.call(db))
		require.Contains(t, log.String(), test.told)
		require.Contains(t, log.String(), "nothing is dropped")
	}
}

// TestLongListsAreTold: a list that is too long to narrow, by the log and by
// Explain.
func TestLongListsAreTold(t *testing.T) {
	var log bytes.Buffer
	db := testenv.NeedSQLite(t).Open(t, nil)
	require.NoError(t, db.AutoMigrate(&testmodel.Stock{}))
	require.NoError(t, db.Use(newPlugin(t, func(c *cacheplugin.Config) {
		c.Logger, c.MaxInValues = slog.New(slog.NewTextHandler(&log, nil)), 3
	})))
	in := func(n int) *gorm.DB {
		ids := make([]int, n)
		for i := range ids {
			ids[i] = i + 1
		}
		return db.Where("qty IN ?", ids)
	}
	read := func(n int) { require.NoError(t, in(n).Find(&[]testmodel.Stock{}).Error) }
	const told = "is longer than MaxInValues and does not narrow"
	read(3)
	require.NotContains(t, log.String(), told)
	x, err := cacheplugin.Explain(in(3).Model(&testmodel.Stock{}))
	require.NoError(t, err)
	require.Empty(t, x.LongLists)
	read(4)
	read(5)
	require.Equal(t, 1, strings.Count(log.String(), told), log.String())
	require.Contains(t, log.String(), "a list of 4 values for main.tbl_stock.qty "+told)
	x, err = cacheplugin.Explain(in(5).Model(&testmodel.Stock{}))
	require.NoError(t, err)
	require.Equal(t, []string{"a list of 5 values for main.tbl_stock.qty " + told}, x.LongLists)
	require.Contains(t, x.String(), told)
	require.Len(t, x.Dependencies, 1)
	require.Equal(t, []string{"any value"}, x.Dependencies[0].Conjunctions)
}

func TestCloseEndsOnce(t *testing.T) {
	env := testenv.NeedSQLite(t)
	require.NoError(t, cacheplugin.New(cacheplugin.Config{}).Close(t.Context()), "never used")
	plugin := newPlugin(t, nil)
	require.NoError(t, env.Open(t, nil).Use(plugin))
	require.NoError(t, plugin.Close(t.Context()))
	require.NoError(t, plugin.Close(t.Context()))
}
