package reads

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
	"github.com/cacheplugin/cacheplugin/integration/internal/fixture"
	"github.com/cacheplugin/cacheplugin/integration/testdb"
	"github.com/cacheplugin/cacheplugin/internal/testenv"
)

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
func onSharedDatabases(t *testing.T, o fixture.Options, test func(t *testing.T, f *fixture.Fixture)) {
	t.Helper()
	for _, env := range testdb.Databases(t) {
		if env.Name == testenv.SQLite {
			continue
		}
		for _, mode := range []cacheplugin.Mode{cacheplugin.ConjunctionSets, cacheplugin.InsideOut} {
			t.Run(env.Name+"/"+mode.String(), func(t *testing.T) {
				o := o
				o.Config.Mode = mode
				test(t, fixture.New(t, env, o))
			})
		}
	}
}

func nearOptions() fixture.Options {
	return fixture.Options{Models: []any{&fixture.Brand{}}, Config: cacheplugin.Config{NearCache: &cacheplugin.NearCache{}}}
}

func TestAValidatedResultIsAsNewAsOneFromRedis(t *testing.T) {
	validatedIsNew(t, nearOptions())
}

func TestAValidatedResultIsAsNewByPlainReads(t *testing.T) {
	testenv.NeedRedisServer(t)
	o := nearOptions()
	o.Config.DirectConnections = true
	validatedIsNew(t, o)
}

func validatedIsNew(t *testing.T, o fixture.Options) {
	onSharedDatabases(t, o, func(t *testing.T, f *fixture.Fixture) {
		other := fixture.NewOn(t, f)
		require.NoError(t, f.Plain.Create(&[]fixture.Brand{{ID: 1, Name: "a", Kind: 1}, {ID: 2, Name: "b", Kind: 2}}).Error)
		one, two := f.Brands(t, f.DB, 1), f.Brands(t, f.DB, 2)
		for range 2 {
			f.Misses(t, one)
			require.Equal(t, "validated", f.From(t, one), "it was kept when it was stored")
			f.Outcome(two)
			require.Equal(t, "validated", f.From(t, two))
			require.Equal(t, "redis", other.From(t, f.Brands(t, other.DB, 1)))
			require.Equal(t, "validated", other.From(t, other.Brands(t, other.DB, 1)), "or when it was read")

			require.NoError(t, other.DB.Model(&fixture.Brand{ID: 1}).Update("name", "by another process").Error)
			f.Misses(t, one)
			require.Equal(t, "validated", f.From(t, two), "of other rows")
			require.NoError(t, f.DB.Model(&fixture.Brand{ID: 1}).Update("name", "by this one").Error)
		}
		stats := f.Plugin.Stats()
		require.Equal(t, stats.NearHits, stats.NearValidated)
		require.Equal(t, stats.NearHits, stats.Hits)
		require.NoError(t, cacheplugin.InvalidateAll(other.DB))
		f.Misses(t, one)
	})
}

func TestAValidatedResultDoesNotTravel(t *testing.T) {
	env := testenv.NeedSQLite(t)
	o := nearOptions()
	client, received := countedRedis(t)
	o.Config.Redis = client
	f := fixture.New(t, env, o)
	require.NoError(t, f.Plain.Create(&fixture.Brand{ID: 1, Name: strings.Repeat("x", 40_000), Kind: 1}).Error)
	one := f.Brands(t, f.DB, 1)
	f.Misses(t, one)
	before := received.Load()
	require.Equal(t, "validated", f.From(t, one))
	require.Less(t, received.Load()-before, int64(100))
}

// An entry that goes by itself, as an eviction takes it, and is stored anew has the
// same witness in mode ConjunctionSets, and another content if somebody has
// written without the plugin.
func TestAResultThatWasStoredAnewIsNotTakenForTheOneThatIsKept(t *testing.T) {
	onSharedDatabases(t, nearOptions(), func(t *testing.T, f *fixture.Fixture) {
		other := fixture.NewOn(t, f)
		require.NoError(t, f.Plain.Create(&fixture.Brand{ID: 1, Name: "old", Kind: 1}).Error)
		one := f.Brands(t, f.DB, 1)
		f.Misses(t, one)
		require.NoError(t, f.Plain.Model(&fixture.Brand{ID: 1}).Update("name", "new").Error)
		client := testenv.Redis(t)
		entries, err := client.Keys(t.Context(), "{"+f.Config.Prefix+"}e:*").Result()
		require.NoError(t, err)
		require.Len(t, entries, 1)
		require.NoError(t, client.Del(t.Context(), entries...).Err())
		other.Misses(t, other.Brands(t, other.DB, 1))
		require.Equal(t, "redis", f.From(t, one))
	})
}

func TestTenantsDoNotShareTheProcessesMemory(t *testing.T) {
	for name, config := range map[string]cacheplugin.Config{
		"with MaxStale": {NearCache: &cacheplugin.NearCache{}, PrefixFunc: fixture.TenantOf, Profiles: cacheplugin.Profiles{
			"*": {Ops: cache.All, Timeout: time.Hour, MaxStale: time.Hour},
		}},
		"without MaxStale": {NearCache: &cacheplugin.NearCache{}, PrefixFunc: fixture.TenantOf, Profiles: cacheplugin.Profiles{"*": {Ops: cache.All, Timeout: time.Hour}}},
	} {
		t.Run(name, func(t *testing.T) {
			f := fixture.New(t, testenv.NeedSQLite(t), fixture.Options{Models: []any{&fixture.Brand{}}, Config: config})
			require.NoError(t, f.Plain.Create(&fixture.Brand{ID: 1, Kind: 1}).Error)
			byID := func(name string) func() {
				return func() { require.NoError(t, fixture.Tenant(f.DB, name).First(&fixture.Brand{}, 1).Error) }
			}
			f.Cached(t, byID("a"))
			f.Misses(t, byID("b"))
		})
	}
}

func TestATransactionIsServedNothingThatRedisWasNotAskedFor(t *testing.T) {
	o := nearOptions()
	o.Config.Profiles = cacheplugin.Profiles{"*": {Ops: cache.All, Timeout: time.Hour, MaxStale: time.Hour}}
	fixture.OnEveryDatabase(t, o, func(t *testing.T, f *fixture.Fixture) {
		one := func(db *gorm.DB) func() {
			return func() { require.NoError(t, db.Where("kind = ?", 1).Find(&[]fixture.Brand{}).Error) }
		}
		f.Misses(t, one(f.DB))
		require.NoError(t, f.DB.Transaction(func(tx *gorm.DB) error {
			require.NotContains(t, []string{"near", "validated"}, f.From(t, one(tx)))
			return nil
		}))
	})
}
