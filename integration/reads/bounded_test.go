package reads

import (
	"bytes"
	"context"
	"errors"
	"net"
	"sync"
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
	"github.com/cacheplugin/cacheplugin/internal/testmodel"
	"github.com/cacheplugin/cacheplugin/lua"
)

// boundedOptions permit results to be an hour old: nothing but what is dropped
// ends them within a test.
func boundedOptions() fixture.Options {
	o := nearOptions()
	o.Config.Profiles = cacheplugin.Profiles{"*": {Ops: cache.All, Timeout: time.Hour, MaxStale: time.Hour}}
	return o
}

// settle reads until a result is served out of memory alone: the first ones are
// validated until the process listens to the others.
func settle(t testing.TB, f *fixture.Fixture, read func()) {
	t.Helper()
	require.Eventually(t, func() bool { return f.From(t, read) == "near" }, time.Minute, time.Millisecond)
}

func TestABoundedResultTakesNoRoundTrip(t *testing.T) {
	client, received := countedRedis(t)
	o := boundedOptions()
	o.Config.Redis = client
	f := fixture.New(t, testenv.NeedSQLite(t), o)
	require.NoError(t, f.Plain.Create(&fixture.Brand{ID: 1, Kind: 1}).Error)
	one := f.Brands(t, f.DB, 1)
	// The connection that listens may just be answered.
	require.Eventually(t, func() bool {
		settle(t, f, one)
		before, near := received.Load(), 0
		for range 10 {
			if f.From(t, one) == "near" {
				near++
			}
		}
		return near == 10 && received.Load() == before
	}, time.Minute, time.Millisecond)
	stats := f.Plugin.Stats()
	require.GreaterOrEqual(t, stats.NearHits-stats.NearValidated, int64(10))
}

func TestABoundedResultShowsOwnWritesAtOnce(t *testing.T) {
	for name, write := range map[string]func(t *testing.T, f *fixture.Fixture, kind int, name string) error{
		"an update": func(t *testing.T, f *fixture.Fixture, kind int, name string) error {
			return f.DB.Model(&fixture.Brand{}).Where("kind = ?", kind).Update("name", name).Error
		},
		"raw SQL": func(t *testing.T, f *fixture.Fixture, kind int, name string) error {
			return f.DB.Exec("UPDATE brands SET name = ? WHERE kind = ?", name, kind).Error
		},
		"a transaction": func(t *testing.T, f *fixture.Fixture, kind int, name string) error {
			return f.DB.Transaction(func(tx *gorm.DB) error {
				return tx.Model(&fixture.Brand{}).Where("kind = ?", kind).Update("name", name).Error
			})
		},
		"Postpone": func(t *testing.T, f *fixture.Fixture, kind int, name string) error {
			return cacheplugin.Postpone(f.DB, func(tx *gorm.DB) error {
				return tx.Model(&fixture.Brand{}).Where("kind = ?", kind).Update("name", name).Error
			})
		},
		"InvalidateObj": func(t *testing.T, f *fixture.Fixture, kind int, name string) error {
			require.NoError(t, f.Plain.Model(&fixture.Brand{}).Where("kind = ?", kind).Update("name", name).Error)
			return cacheplugin.InvalidateObj(f.DB, &fixture.Brand{ID: uint(kind), Kind: kind})
		},
		"InvalidateModel": func(t *testing.T, f *fixture.Fixture, kind int, name string) error {
			require.NoError(t, f.Plain.Model(&fixture.Brand{}).Where("kind = ?", kind).Update("name", name).Error)
			return cacheplugin.InvalidateModel(f.DB, &fixture.Brand{})
		},
		"InvalidateAll": func(t *testing.T, f *fixture.Fixture, kind int, name string) error {
			require.NoError(t, f.Plain.Model(&fixture.Brand{}).Where("kind = ?", kind).Update("name", name).Error)
			return cacheplugin.InvalidateAll(f.DB)
		},
	} {
		t.Run(name, func(t *testing.T) {
			fixture.OnEveryDatabase(t, boundedOptions(), func(t *testing.T, f *fixture.Fixture) {
				require.NoError(t, f.Plain.Create(&[]fixture.Brand{{ID: 1, Kind: 1}, {ID: 2, Kind: 2}}).Error)
				one, two := f.Brands(t, f.DB, 1), f.Brands(t, f.DB, 2)
				settle(t, f, one)
				settle(t, f, two)
				for _, value := range []string{"a", "b", "c"} {
					require.NoError(t, write(t, f, 1, value))
					require.Empty(t, f.From(t, one), "from the database: not out of memory, nor from Redis")
					one()
				}
			})
		})
	}
}

// barrier is a dialer that can be closed to new connections.
type barrier struct{ shut atomic.Bool }

func (g *barrier) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	if g.shut.Load() {
		return nil, errors.New("the barrier is down")
	}
	return new(net.Dialer).DialContext(ctx, network, addr)
}

// deafen ends the connection that a client listens on, and keeps it from making
// another one, until the returned function is called.
func (g *barrier) deafen(t *testing.T) (listen func()) {
	t.Helper()
	require.Eventually(t, func() bool { // it may just be about to be made
		g.shut.Store(true)
		killed, err := testenv.Redis(t).Do(t.Context(), "CLIENT", "KILL", "TYPE", "pubsub").Int()
		require.NoError(t, err)
		g.shut.Store(killed > 0)
		return killed > 0
	}, time.Minute, time.Millisecond)
	return func() { g.shut.Store(false) }
}

// through is a fixture whose Redis is reached through a barrier.
func through(t *testing.T, g *barrier, env testenv.Database, o fixture.Options) *fixture.Fixture {
	r := testenv.RedisOptions(t)
	client := redis.NewClient(&redis.Options{Addr: r.Addr, Username: r.Username, Password: r.Password, DB: r.DB, Dialer: g.dial})
	t.Cleanup(func() { require.NoError(t, client.Close()) })
	o.Config.Redis = client
	return fixture.New(t, env, o)
}

// otherProcess is another process with a client of its own.
func otherProcess(t *testing.T, f *fixture.Fixture, client redis.UniversalClient) *fixture.Fixture {
	c := f.Config
	c.Redis = client
	g := &fixture.Fixture{Env: f.Env, Plain: f.Plain, Events: &fixture.Recorder{}, Config: c}
	c.Observer = g.Events
	g.DB = f.Env.Reopen(t, f.Plain, nil)
	g.Plugin = cacheplugin.New(c)
	require.NoError(t, g.DB.Use(g.Plugin))
	t.Cleanup(func() { require.NoError(t, g.Plugin.Close(context.Background())) })
	return g
}

func nameOf(t *testing.T, db *gorm.DB) string {
	var b fixture.Brand
	require.NoError(t, db.Where("kind = ?", 1).Take(&b).Error)
	return b.Name
}

func TestABoundedResultShowsOthersWritesWhenItIsToldOfThem(t *testing.T) {
	testenv.NeedRedisServer(t)
	onSharedDatabases(t, boundedOptions(), func(t *testing.T, plain *fixture.Fixture) {
		var g barrier
		f := through(t, &g, plain.Env, fixture.Options{Config: plain.Config, Models: []any{&fixture.Brand{}}})
		other := otherProcess(t, f, testenv.Redis(t))
		require.NoError(t, f.Plain.Create(&fixture.Brand{ID: 1, Name: "0", Kind: 1}).Error)
		read := func() { nameOf(t, f.DB) }
		shows := func(name string) {
			t.Helper()
			require.Eventually(t, func() bool { return nameOf(t, f.DB) == name }, time.Minute, time.Millisecond)
		}
		write := func(name string) {
			t.Helper()
			require.NoError(t, other.DB.Model(&fixture.Brand{ID: 1}).Update("name", name).Error)
		}
		settle(t, f, read)
		write("1")
		shows("1")
		settle(t, f, read)
		require.NoError(t, f.Plain.Model(&fixture.Brand{ID: 1}).Update("name", "2").Error)
		require.NoError(t, cacheplugin.InvalidateAll(other.DB))
		shows("2")
		settle(t, f, read)

		// The hazard: without the messages it stays.
		listen := g.deafen(t)
		write("3")
		require.Equal(t, "near", f.From(t, func() { require.Equal(t, "2", nameOf(t, f.DB)) }))
		var asked fixture.Brand
		require.NoError(t, f.DB.Scopes(cache.Cache(cache.MaxStale(0))).Where("kind = ?", 1).Take(&asked).Error)
		require.Equal(t, "3", asked.Name, "validated all the same where it is asked for")
		require.NoError(t, f.DB.Model(&fixture.Brand{ID: 1}).Update("name", "4").Error)
		require.Equal(t, "4", nameOf(t, f.DB), "and own writes are seen")
		settle(t, f, read)
		write("5")
		require.Equal(t, "4", nameOf(t, f.DB))
		listen()
		shows("5")
		settle(t, f, read)
		write("6")
		shows("6")
	})
}

// The bound holds although nobody tells of anything.
func TestABoundedResultIsNoOlderThanMaxStale(t *testing.T) {
	testenv.NeedRedisServer(t)
	env := testdb.Need(t, testenv.SQLiteFile)
	o := nearOptions()
	const bound = 50 * time.Millisecond
	o.Config.Profiles = cacheplugin.Profiles{"*": {Ops: cache.All, Timeout: time.Hour, MaxStale: bound}}
	var g barrier
	f := through(t, &g, env, o)
	other := otherProcess(t, f, testenv.Redis(t))
	require.NoError(t, f.Plain.Create(&fixture.Brand{ID: 1, Name: "0", Kind: 1}).Error)
	settle(t, f, func() { nameOf(t, f.DB) })
	defer g.deafen(t)()
	near := f.Plugin.Stats()
	for i := range 20 {
		name := string(rune('a' + i))
		require.NoError(t, other.DB.Model(&fixture.Brand{ID: 1}).Update("name", name).Error)
		returned := time.Now()
		for {
			began := time.Now()
			if nameOf(t, f.DB) == name {
				break
			}
			require.Less(t, began.Sub(returned), bound, "a read that began later must not show the old state")
		}
	}
	now := f.Plugin.Stats()
	require.Greater(t, now.NearHits-now.NearValidated, near.NearHits-near.NearValidated)
}

// What the database says while a result is computed may be outdated when it is
// stored: the bound begins with the look-up.
func TestMaxStaleCountsFromTheLookUpOfAResultThatIsStored(t *testing.T) {
	const maxStale = time.Second
	o := boundedOptions()
	o.Config.Profiles = cacheplugin.Profiles{"*": {Ops: cache.All, Timeout: time.Hour, MaxStale: maxStale}}
	f := fixture.New(t, testenv.NeedSQLite(t), o)
	require.NoError(t, f.Plain.Create(&fixture.Brand{ID: 1, Kind: 1}).Error)
	settle(t, f, f.Brands(t, f.DB, 2)) // it listens to the others
	read := func(wait time.Duration) func() {
		return func() {
			rows, err := f.DB.Model(&fixture.Brand{}).Scopes(cache.Cache()).Where("kind = ?", 1).Rows()
			require.NoError(t, err)
			start := time.Now()
			require.True(t, rows.Next())
			require.Eventually(t, func() bool { return time.Since(start) >= wait }, time.Minute, time.Millisecond)
			require.False(t, rows.Next())
			require.NoError(t, rows.Close())
		}
	}
	f.Misses(t, read(maxStale))
	require.Equal(t, "validated", f.From(t, read(0)))
	settle(t, f, read(0))
}

func TestAQueryHasTheLeastMaxStaleOfItsTables(t *testing.T) {
	o := fixture.Options{Models: []any{&fixture.Brand{}, &testmodel.Category{}, &testmodel.Label{}}, Config: cacheplugin.Config{
		NearCache: &cacheplugin.NearCache{},
		Profiles: cacheplugin.Profiles{
			"brands": {Ops: cache.All, Timeout: time.Hour, MaxStale: time.Hour}, "categories": {Ops: cache.All, Timeout: time.Hour, MaxStale: time.Minute},
			"labels": {Ops: cache.All, Timeout: time.Hour},
		},
	}}
	f := fixture.New(t, testenv.NeedSQLite(t), o)
	read := func(join string, options ...cache.Option) func() {
		return func() {
			db := f.DB.Model(&fixture.Brand{})
			if options != nil {
				db = db.Scopes(cache.Cache(options...))
			}
			if join != "" {
				db = db.Joins("JOIN " + join + " x ON x.id = brands.id")
			}
			var n int64
			require.NoError(t, db.Count(&n).Error)
		}
	}
	settle(t, f, read(""))
	settle(t, f, read("categories"))
	validated := func(read func()) {
		t.Helper()
		f.Outcome(read)
		for range 3 {
			require.Equal(t, "validated", f.From(t, read))
		}
	}
	validated(read("labels"))
	validated(read("", cache.MaxStale(0)))
	settle(t, f, read("labels", cache.MaxStale(time.Hour)))
	validated(func() { require.NoError(t, f.DB.Find(&[]testmodel.Label{}).Error) })
	require.ErrorIs(t, f.DB.Scopes(cache.Cache(cache.MaxStale(-1))).Find(&[]fixture.Brand{}).Error, cacheplugin.ErrConfig)
}

// What one reader permits is not permitted to others.
func TestAnotherReadersMaxStaleIsNotMine(t *testing.T) {
	testenv.NeedRedisServer(t)
	env := testdb.Need(t, testenv.SQLiteFile)
	o := nearOptions()
	o.Config.Profiles = cacheplugin.Profiles{"*": {Ops: cache.All, Timeout: time.Hour, MaxStale: time.Nanosecond}}
	f := fixture.New(t, env, o)
	require.NoError(t, f.Plain.Create(&fixture.Brand{ID: 1, Kind: 1}).Error)
	read := func(options ...cache.Option) func() {
		return func() {
			require.NoError(t, f.DB.Scopes(cache.Cache(options...)).Where("kind = ?", 1).Take(&fixture.Brand{}).Error)
		}
	}
	settle(t, f, read(cache.MaxStale(time.Hour)))
	require.Equal(t, "validated", f.From(t, read()))
	require.Equal(t, "validated", f.From(t, read(cache.MaxStale(0))))
	settle(t, f, read(cache.MaxStale(time.Hour)))
}

// tap lets a test do something when Redis has answered a look-up, before the
// reader knows of it.
type tap struct {
	mu       sync.Mutex
	answered func()
}

// on sets what is done at the next answer.
func (p *tap) on(do func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.answered = do
}

func (p *tap) take() func() {
	p.mu.Lock()
	defer p.mu.Unlock()
	do := p.answered
	p.answered = nil
	return do
}

func (p *tap) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	conn, err := new(net.Dialer).DialContext(ctx, network, addr)
	return &tapped{Conn: conn, tap: p}, err
}

type tapped struct {
	net.Conn
	tap   *tap
	asked atomic.Bool
}

func (c *tapped) Write(b []byte) (int, error) {
	if bytes.Contains(b, []byte(lua.Acquire.Hash())) {
		c.asked.Store(true)
	}
	return c.Conn.Write(b)
}

func (c *tapped) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if n > 0 && c.asked.Swap(false) {
		if do := c.tap.take(); do != nil {
			do()
		}
	}
	return n, err
}

// A read gets a hit from Redis, or a confirmation; a write of the same process
// commits and returns; only then the reader keeps what it got.
func TestAResultThatIsReadOverAnOwnWriteIsNotServedAfterIt(t *testing.T) {
	onSharedDatabases(t, boundedOptions(), func(t *testing.T, f *fixture.Fixture) {
		var hook tap
		r := testenv.RedisOptions(t)
		client := redis.NewClient(&redis.Options{Addr: r.Addr, Username: r.Username, Password: r.Password, DB: r.DB, Dialer: hook.dial})
		defer client.Close()
		process := otherProcess(t, f, client)
		require.NoError(t, f.Plain.Create(&[]fixture.Brand{{ID: 1, Name: "0", Kind: 1}, {ID: 2, Kind: 2}}).Error)
		settle(t, process, process.Brands(t, process.DB, 2))
		require.Equal(t, "0", nameOf(t, f.DB)) // Redis has it

		write := func(id uint, name string) func() {
			return func() { require.NoError(t, process.DB.Model(&fixture.Brand{ID: id}).Update("name", name).Error) }
		}
		read := func(want string) func() {
			return func() { require.Equal(t, want, nameOf(t, process.DB)) }
		}
		hook.on(write(2, "another row, so that Redis keeps the result"))
		require.Equal(t, "redis", process.From(t, read("0")))
		hook.on(write(1, "1"))
		require.Equal(t, "validated", process.From(t, read("0")), "it began before")
		require.Empty(t, process.From(t, read("1")))

		require.NoError(t, process.DB.Model(&fixture.Brand{ID: 1}).Update("name", "2").Error)
		require.Equal(t, "2", nameOf(t, f.DB))
		hook.on(write(1, "3"))
		require.Equal(t, "redis", process.From(t, read("2")))
		require.Empty(t, process.From(t, read("3")))
	})
}

// Under Strict what a transaction is about to change is dropped before its COMMIT,
// here and in other processes.
func TestAFenceDropsBoundedResults(t *testing.T) {
	env := testdb.Need(t, testenv.SQLiteFile)
	testenv.NeedRedisServer(t)
	client, w := fixture.Wired(t)
	o := boundedOptions()
	o.Config.Consistency = cacheplugin.Strict
	o.Config.Redis = client
	f := fixture.New(t, env, o)
	other := otherProcess(t, f, testenv.Redis(t))
	require.NoError(t, f.Plain.Create(&fixture.Brand{ID: 1, Name: "old", Kind: 1}).Error)
	settle(t, f, func() { nameOf(t, f.DB) })
	settle(t, other, func() { nameOf(t, other.DB) })

	reached, resume := w.Stop()
	done := make(chan error, 1)
	go func() { done <- f.DB.Model(&fixture.Brand{ID: 1}).Update("name", "new").Error }()
	<-reached // committed, and not invalidated yet
	require.Equal(t, "new", nameOf(t, f.DB))
	require.Eventually(t, func() bool { return nameOf(t, other.DB) == "new" }, time.Minute, time.Millisecond, "it is told of the fence")
	resume()
	require.NoError(t, <-done)
}
