package cacheplugin_test

import (
	"context"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"
	"gorm.io/gorm"

	"github.com/cacheplugin/cacheplugin"
	"github.com/cacheplugin/cacheplugin/cache"
	"github.com/cacheplugin/cacheplugin/internal/testenv"
)

// from runs a read and says where its result came from: "near", "validated",
// "redis", or "" for the database.
func (f *fixture) from(t testing.TB, read func()) string {
	t.Helper()
	f.events.take()
	read()
	from := ""
	for _, e := range f.events.take() {
		switch {
		case e.Kind == cacheplugin.EventHit && e.Validated:
			from += "validated"
		case e.Kind == cacheplugin.EventHit && e.Near:
			from += "near"
		case e.Kind == cacheplugin.EventHit:
			from += "redis"
		}
	}
	return from
}

// countedRedis is a client of the tests' Redis that counts the bytes that arrive.
func countedRedis(t testing.TB) (client *redis.Client, received *atomic.Int64) {
	t.Helper()
	shared, ok := testenv.Redis(t).(*redis.Client)
	require.True(t, ok)
	received = new(atomic.Int64)
	o := shared.Options()
	client = redis.NewClient(&redis.Options{
		Addr: o.Addr, Username: o.Username, Password: o.Password, DB: o.DB,
		Dialer: func(ctx context.Context, network, addr string) (net.Conn, error) {
			conn, err := new(net.Dialer).DialContext(ctx, network, addr)
			return &countedConn{conn, received}, err
		},
	})
	t.Cleanup(func() { require.NoError(t, client.Close()) })
	return client, received
}

type countedConn struct {
	net.Conn
	received *atomic.Int64
}

func (c *countedConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	c.received.Add(int64(n))
	return n, err
}

// onSharedDatabases runs a test on each database that other processes can read,
// in both modes.
func onSharedDatabases(t *testing.T, o options, test func(t *testing.T, f *fixture)) {
	t.Helper()
	for _, env := range testenv.Databases(t) {
		if env.Name == testenv.SQLite {
			continue
		}
		for _, mode := range []cacheplugin.Mode{cacheplugin.ConjunctionSets, cacheplugin.InsideOut} {
			t.Run(env.Name+"/"+mode.String(), func(t *testing.T) {
				o := o
				o.config.Mode = mode
				test(t, newFixture(t, env, o))
			})
		}
	}
}

func nearOptions() options {
	return options{models: []any{&brand{}}, config: cacheplugin.Config{NearCache: &cacheplugin.NearCache{}}}
}

func TestAValidatedResultIsAsNewAsOneFromRedis(t *testing.T) {
	validatedIsNew(t, nearOptions())
}

func TestAValidatedResultIsAsNewByPlainReads(t *testing.T) {
	if !testenv.RedisIsReal(t) {
		return
	}
	o := nearOptions()
	o.config.DirectConnections = true
	validatedIsNew(t, o)
}

func validatedIsNew(t *testing.T, o options) {
	onSharedDatabases(t, o, func(t *testing.T, f *fixture) {
		other := newFixtureOn(t, f)
		require.NoError(t, f.plain.Create(&[]brand{{ID: 1, Name: "a", Kind: 1}, {ID: 2, Name: "b", Kind: 2}}).Error)
		one, two := f.brands(t, f.db, 1), f.brands(t, f.db, 2)
		for range 2 {
			f.misses(t, one)
			require.Equal(t, "validated", f.from(t, one), "it was kept when it was stored")
			f.outcome(two)
			require.Equal(t, "validated", f.from(t, two))
			require.Equal(t, "redis", other.from(t, f.brands(t, other.db, 1)))
			require.Equal(t, "validated", other.from(t, other.brands(t, other.db, 1)), "or when it was read")

			require.NoError(t, other.db.Model(&brand{ID: 1}).Update("name", "by another process").Error)
			f.misses(t, one)
			require.Equal(t, "validated", f.from(t, two), "of other rows")
			require.NoError(t, f.db.Model(&brand{ID: 1}).Update("name", "by this one").Error)
		}
		stats := f.plugin.Stats()
		require.Equal(t, stats.NearHits, stats.NearValidated)
		require.Equal(t, stats.NearHits, stats.Hits)
		require.NoError(t, cacheplugin.InvalidateAll(other.db))
		f.misses(t, one)
	})
}

func TestAValidatedResultDoesNotTravel(t *testing.T) {
	env := testenv.Databases(t)[0]
	o := nearOptions()
	client, received := countedRedis(t)
	o.config.Redis = client
	f := newFixture(t, env, o)
	require.NoError(t, f.plain.Create(&brand{ID: 1, Name: strings.Repeat("x", 40_000), Kind: 1}).Error)
	one := f.brands(t, f.db, 1)
	f.misses(t, one)
	before := received.Load()
	require.Equal(t, "validated", f.from(t, one))
	require.Less(t, received.Load()-before, int64(100))
}

// An entry that goes by itself, as an eviction takes it, and is stored anew has the
// same witness in mode ConjunctionSets, and another content if somebody has
// written without the plugin.
func TestAResultThatWasStoredAnewIsNotTakenForTheOneThatIsKept(t *testing.T) {
	onSharedDatabases(t, nearOptions(), func(t *testing.T, f *fixture) {
		other := newFixtureOn(t, f)
		require.NoError(t, f.plain.Create(&brand{ID: 1, Name: "old", Kind: 1}).Error)
		one := f.brands(t, f.db, 1)
		f.misses(t, one)
		require.NoError(t, f.plain.Model(&brand{ID: 1}).Update("name", "new").Error)
		client := testenv.Redis(t)
		entries, err := client.Keys(t.Context(), "{"+f.config.Prefix+"}e:*").Result()
		require.NoError(t, err)
		require.Len(t, entries, 1)
		require.NoError(t, client.Del(t.Context(), entries...).Err())
		other.misses(t, other.brands(t, other.db, 1))
		require.Equal(t, "redis", f.from(t, one))
	})
}

func TestTenantsDoNotShareTheProcessesMemory(t *testing.T) {
	for name, config := range map[string]cacheplugin.Config{
		"with MaxStale": {NearCache: &cacheplugin.NearCache{}, PrefixFunc: tenantOf, Profiles: cacheplugin.Profiles{
			"*": {Ops: cache.All, Timeout: time.Hour, MaxStale: time.Hour},
		}},
		"without MaxStale": {NearCache: &cacheplugin.NearCache{}, PrefixFunc: tenantOf, Profiles: cacheplugin.Profiles{"*": {Ops: cache.All, Timeout: time.Hour}}},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t, testenv.Databases(t)[0], options{models: []any{&brand{}}, config: config})
			require.NoError(t, f.plain.Create(&brand{ID: 1, Kind: 1}).Error)
			byID := func(name string) func() {
				return func() { require.NoError(t, tenant(f.db, name).First(&brand{}, 1).Error) }
			}
			f.cached(t, byID("a"))
			f.misses(t, byID("b"))
		})
	}
}

func TestATransactionIsServedNothingThatRedisWasNotAskedFor(t *testing.T) {
	o := nearOptions()
	o.config.Profiles = cacheplugin.Profiles{"*": {Ops: cache.All, Timeout: time.Hour, MaxStale: time.Hour}}
	onEveryDatabase(t, o, func(t *testing.T, f *fixture) {
		one := func(db *gorm.DB) func() {
			return func() { require.NoError(t, db.Where("kind = ?", 1).Find(&[]brand{}).Error) }
		}
		f.misses(t, one(f.db))
		require.NoError(t, f.db.Transaction(func(tx *gorm.DB) error {
			require.NotContains(t, []string{"near", "validated"}, f.from(t, one(tx)))
			return nil
		}))
	})
}
