package cacheplugin_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"
	"gorm.io/gorm"
	"gorm.io/gorm/logger"

	"github.com/cacheplugin/cacheplugin"
	"github.com/cacheplugin/cacheplugin/integration/testdb"
	"github.com/cacheplugin/cacheplugin/internal/testenv"
)

// wire is a hook of the Redis client that is told before a fence or an
// invalidation is sent.
type wire struct {
	announces, invalidates atomic.Pointer[func()]
}

func (w *wire) DialHook(next redis.DialHook) redis.DialHook {
	return func(ctx context.Context, network, addr string) (net.Conn, error) { return next(ctx, network, addr) }
}

func (w *wire) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		w.see(cmd)
		return next(ctx, cmd)
	}
}

func (w *wire) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		for _, cmd := range cmds {
			w.see(cmd)
		}
		return next(ctx, cmds)
	}
}

func (w *wire) see(cmd redis.Cmder) {
	args := cmd.Args()
	if len(args) < 3 {
		return
	}
	keys, ok := args[2].(int)
	if !ok || len(args) < 3+keys+6 {
		return
	}
	// The script's arguments: mode, operation, version, prefix, entries at once,
	// time of the fence.
	argv := args[3+keys:]
	switch argv[1] {
	case "keys", "table", "all":
	default:
		return
	}
	call := w.announces.Load()
	if argv[5] == "0" {
		call = w.invalidates.Load()
	}
	if call != nil {
		(*call)()
	}
}

// stop makes the next invalidation wait; it returns what is closed when it is
// reached, and what lets it go on.
func (w *wire) stop() (reached chan struct{}, resume func()) {
	reached = make(chan struct{})
	gate := make(chan struct{})
	var first atomic.Bool
	hold := func() {
		if first.CompareAndSwap(false, true) {
			close(reached)
			<-gate
		}
	}
	w.invalidates.Store(&hold)
	return reached, func() {
		w.invalidates.Store(nil)
		close(gate)
	}
}

// wired returns a client of the shared Redis, and its wire.
func wired(t testing.TB) (redis.UniversalClient, *wire) {
	t.Helper()
	client := redis.NewClient(testenv.RedisOptions(t))
	t.Cleanup(func() { _ = client.Close() })
	w := &wire{}
	client.AddHook(w)
	return client, w
}

// strict are the options of a strict fixture whose fences outlive any test.
func strict(client redis.UniversalClient) options {
	return options{
		models: []any{&brand{}},
		config: cacheplugin.Config{Redis: client, Consistency: cacheplugin.Strict, FenceTTL: time.Hour},
	}
}

const announced = "skip: a write is being committed"

// ways to write.
var ways = []struct {
	name  string
	only  string // a dialect
	write func(db *gorm.DB) error
}{
	{name: "transaction", write: func(db *gorm.DB) error {
		return db.Transaction(func(tx *gorm.DB) error {
			return tx.Model(&brand{}).Where("id = ?", 1).Update("name", "new").Error
		})
	}},
	{name: "default transaction", write: func(db *gorm.DB) error {
		return db.Model(&brand{}).Where("id = ?", 1).Update("name", "new").Error
	}},
	{name: "create", write: func(db *gorm.DB) error { return db.Create(&brand{Name: "new", Kind: 1}).Error }},
	{name: "update without a transaction", write: func(db *gorm.DB) error {
		return db.Session(&gorm.Session{SkipDefaultTransaction: true}).Model(&brand{}).Where("id = ?", 1).Update("name", "new").Error
	}},
	{name: "create without a transaction", write: func(db *gorm.DB) error {
		return db.Session(&gorm.Session{SkipDefaultTransaction: true}).Create(&brand{Name: "new", Kind: 1}).Error
	}},
	{name: "raw", write: func(db *gorm.DB) error { return db.Exec("DELETE FROM brands WHERE id = ?", 1).Error }},
	{name: "raw with rows", only: "postgres", write: func(db *gorm.DB) error {
		return db.Raw("UPDATE brands SET name = 'new' WHERE id = 1 RETURNING id").Scan(new(int)).Error
	}},
	{name: "unknown", only: "postgres", write: func(db *gorm.DB) error {
		return db.Exec("DO $$ BEGIN UPDATE brands SET name = 'new' WHERE id = 1; END $$").Error
	}},
	{name: "unknown in a transaction", only: "postgres", write: func(db *gorm.DB) error {
		return db.Transaction(func(tx *gorm.DB) error {
			return tx.Exec("DO $$ BEGIN UPDATE brands SET name = 'new' WHERE id = 1; END $$").Error
		})
	}},
	{name: "committed by a definition", only: "mysql", write: func(db *gorm.DB) error {
		return db.Transaction(func(tx *gorm.DB) error {
			if err := tx.Model(&brand{}).Where("id = ?", 1).Update("name", "new").Error; err != nil {
				return err
			}
			return tx.Exec("CREATE TABLE others (id int)").Error
		})
	}},
	{name: "committed by text", only: "mysql", write: func(db *gorm.DB) error {
		return db.Transaction(func(tx *gorm.DB) error {
			if err := tx.Model(&brand{}).Where("id = ?", 1).Update("name", "new").Error; err != nil {
				return err
			}
			return tx.Exec("COMMIT").Error
		})
	}},
}

func TestStrictShowsTheNewStateAndKeepsNothingBetweenCommitAndInvalidation(t *testing.T) {
	for _, way := range ways {
		t.Run(way.name, func(t *testing.T) {
			client, w := wired(t)
			onEveryDatabase(t, strict(client), func(t *testing.T, f *fixture) {
				if way.only != "" && way.only != f.env.Dialect {
					return
				}
				require.NoError(t, f.plain.Create(&[]brand{{Kind: 1}, {Kind: 2}, {Kind: 3}}).Error)
				changed, other := f.brands(t, f.db, 1), f.brands(t, f.db, 2)
				f.cached(t, changed)
				f.cached(t, other)

				reached, resume := w.stop()
				done := make(chan error, 1)
				go func() { done <- way.write(f.db) }()
				select {
				case <-reached:
				case err := <-done:
					resume()
					t.Fatalf("it was not invalidated: %v", err)
				}
				require.Equal(t, announced, f.outcome(changed)) // and is the database's answer
				require.Equal(t, announced, f.outcome(changed), "nothing was stored")
				require.Equal(t, announced, f.outcome(f.brands(t, f.db, 3)), "the table takes nothing new")
				resume()
				require.NoError(t, <-done)
				f.cached(t, changed, "the fence has fallen")
				f.cached(t, f.brands(t, f.db, 3))
			})
		})
	}
}

func TestStrictKeepsTheResultsOfOtherRows(t *testing.T) {
	client, w := wired(t)
	onEveryDatabase(t, strict(client), func(t *testing.T, f *fixture) {
		require.NoError(t, f.plain.Create(&[]brand{{Kind: 1}, {Kind: 2}}).Error)
		other := f.brands(t, f.db, 2)
		f.cached(t, other)
		f.cached(t, f.brands(t, f.db, 1))
		reached, resume := w.stop()
		done := make(chan error, 1)
		go func() { done <- ways[0].write(f.db) }()
		<-reached
		f.hits(t, other)
		resume()
		require.NoError(t, <-done)
		f.hits(t, other)
	})
}

func TestStrictAnnouncesWhatIsPostponed(t *testing.T) {
	client, _ := wired(t)
	onEveryDatabase(t, strict(client), func(t *testing.T, f *fixture) {
		require.NoError(t, f.plain.Create(&brand{Kind: 1}).Error)
		read := f.brands(t, f.db, 1)
		f.cached(t, read)
		require.NoError(t, cacheplugin.Postpone(f.db, func(tx *gorm.DB) error {
			for _, way := range ways[:4] {
				require.NoError(t, way.write(tx))
				require.Equal(t, announced, f.outcome(read))
			}
			return nil
		}))
		f.cached(t, read)
	})
}

func TestStrictDropsTheFenceOfWhatChangedNothing(t *testing.T) {
	client, _ := wired(t)
	onEveryDatabase(t, strict(client), func(t *testing.T, f *fixture) {
		require.NoError(t, f.plain.Create(&brand{Kind: 1}).Error)
		read := f.brands(t, f.db, 1)
		alone := f.db.Session(&gorm.Session{SkipDefaultTransaction: true})
		f.cached(t, read)

		require.NoError(t, alone.Model(&brand{}).Where("id = ?", 99).Update("name", "x").Error)
		require.NotEqual(t, announced, f.outcome(read))

		roll := errors.New("roll back")
		require.ErrorIs(t, f.db.Transaction(func(tx *gorm.DB) error {
			require.NoError(t, tx.Model(&brand{}).Where("id = ?", 1).Update("name", "x").Error)
			return roll
		}), roll)
		f.hits(t, read, "a rollback needs no announcement")

		// A refusal is the database's own word; of MySQL's errors that isn't
		// known here, and the fence is left to run out.
		require.Error(t, alone.Exec("INSERT INTO brands (id, kind) VALUES (1, 1)").Error)
		require.Equal(t, f.env.Dialect == "mysql", announced == f.outcome(read))
	})
}

func TestStrictDoesNotCommitWhatRedisCantBeTold(t *testing.T) {
	for _, env := range testdb.Databases(t) {
		t.Run(env.Name, func(t *testing.T) {
			for _, policy := range []cacheplugin.ErrorPolicy{cacheplugin.Return, cacheplugin.Fallback} {
				srv := testenv.StartRedis(t)
				client := redis.NewClient(&redis.Options{Addr: srv.Addr, MaxRetries: -1, DialerRetries: 1})
				t.Cleanup(func() { _ = client.Close() })
				o := strict(client)
				o.config.OnFenceError, o.config.RetryFor = policy, time.Millisecond
				f := newFixture(t, env, o)
				require.NoError(t, f.plain.Create(&brand{Name: "old", Kind: 1}).Error)
				names := func() (names []string) {
					require.NoError(t, f.plain.Model(&brand{}).Order("id").Pluck("name", &names).Error)
					return names
				}
				srv.Kill(t)
				for _, way := range ways[:5] {
					before := names()
					err := way.write(f.db)
					if policy == cacheplugin.Return {
						require.ErrorIs(t, err, cacheplugin.ErrNotFenced, way.name)
						require.Equal(t, before, names(), "%s: nothing is committed", way.name)
						continue
					}
					require.NoError(t, err, way.name)
				}
				if policy == cacheplugin.Fallback {
					require.Equal(t, []string{"new", "new", "new"}, names())
				}
				srv.Start(t)
				require.Eventually(t, func() bool { return ways[0].write(f.db) == nil }, 20*time.Second, 10*time.Millisecond)
				require.Equal(t, "new", names()[0])
			}
		})
	}
}

func TestStrictRefusesAFenceThatWouldRunOutTooSoon(t *testing.T) {
	o := strict(testenv.Redis(t))
	o.config.FenceTTL = time.Nanosecond
	env := testenv.NeedSQLite(t)
	f := newFixture(t, env, o)
	require.NoError(t, f.plain.Create(&brand{Kind: 1}).Error)
	err := ways[0].write(f.db)
	require.ErrorIs(t, err, cacheplugin.ErrNotFenced)
	require.ErrorContains(t, err, "longer than half of FenceTTL")
}

func TestStrictConfiguration(t *testing.T) {
	env := testenv.NeedSQLite(t)
	for field, c := range map[string]cacheplugin.Config{
		"Consistency":  {Consistency: 7},
		"OnFenceError": {OnFenceError: cacheplugin.Queue},
		"FenceTTL":     {FenceTTL: -1},
	} {
		c.Redis, c.Profiles = testenv.Redis(t), cacheAll()
		err := env.Open(t, nil).Use(cacheplugin.New(c))
		require.ErrorIs(t, err, cacheplugin.ErrConfig)
		require.ErrorContains(t, err, field)
	}
}

// doomed is what the process gets that is to be killed.
type doomed struct {
	Dialect, DSN, Prefix string
	Addr, User, Password string
	DB                   int
	Mode                 cacheplugin.Mode
	Grade                cacheplugin.Consistency
	Outbox               *cacheplugin.Outbox
	Way                  int
}

const doomedEnv = "CACHEPLUGIN_TEST_DOOMED"

// TestDoomedWriter is the writer of the tests that kill one. By itself it does
// nothing. It dies by SIGKILL when it is about to send an invalidation and the
// database already shows another connection what it has written.
func TestDoomedWriter(t *testing.T) {
	text := os.Getenv(doomedEnv)
	if text == "" {
		return
	}
	var d doomed
	require.NoError(t, json.Unmarshal([]byte(text), &d))
	env := testenv.Database{Name: d.Dialect, Dialect: d.Dialect}
	db, plain := env.Connect(t, d.DSN, &gorm.Config{Logger: logger.Discard}), env.Connect(t, d.DSN, nil)
	client := redis.NewClient(&redis.Options{Addr: d.Addr, Username: d.User, Password: d.Password, DB: d.DB})
	w := &wire{}
	client.AddHook(w)
	require.NoError(t, db.Use(cacheplugin.New(cacheplugin.Config{
		Redis: client, Prefix: d.Prefix, Mode: d.Mode, Profiles: cacheAll(),
		Consistency: d.Grade, FenceTTL: time.Hour, RedisTimeout: 30 * time.Second, Outbox: d.Outbox,
	})))
	die := func() {
		var changed int64
		if plain.Model(&brand{}).Where("name = ?", "new").Count(&changed).Error == nil && changed > 0 {
			self, _ := os.FindProcess(os.Getpid())
			_ = self.Kill()
			select {}
		}
	}
	w.invalidates.Store(&die)
	require.NoError(t, ways[d.Way].write(db))
	t.Fatal("it should have been killed")
}

// killWriter has another process write, and be killed between its COMMIT and
// its invalidation.
func killWriter(t *testing.T, f *fixture, d doomed) {
	t.Helper()
	o := testenv.RedisOptions(t)
	d.Dialect, d.DSN, d.Prefix = f.env.Dialect, f.env.DSN(t, f.plain), f.config.Prefix
	d.Addr, d.User, d.Password, d.DB = o.Addr, o.Username, o.Password, o.DB
	text, err := json.Marshal(d)
	require.NoError(t, err)
	cmd := exec.Command(os.Args[0], "-test.run=^TestDoomedWriter$", "-test.timeout=3m")
	cmd.Env = append(os.Environ(), doomedEnv+"="+string(text))
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	require.ErrorAs(t, err, &exit, "%s", out)
	require.False(t, exit.Exited(), "it should have been killed: %s", out)
	require.NoError(t, f.plain.Where("name = ?", "new").First(&brand{}).Error, "it has committed")
}

// A writer is killed between its COMMIT and its invalidation. A reader in
// another process gets the new state under Strict; without it the old one, so
// that the test is known to bite.
func TestAWriterThatIsKilledLeavesNoOldStateUnderStrict(t *testing.T) {
	for _, env := range testdb.Databases(t) {
		if env.Name == testenv.SQLite {
			continue // another process has no way to it
		}
		for i, way := range []int{0, 3} {
			mode := []cacheplugin.Mode{cacheplugin.ConjunctionSets, cacheplugin.InsideOut}[i]
			for _, grade := range []cacheplugin.Consistency{cacheplugin.Returned, cacheplugin.Strict} {
				t.Run(fmt.Sprintf("%s/%s/%v", env.Name, ways[way].name, grade), func(t *testing.T) {
					o := strict(nil)
					o.config.Mode, o.config.Consistency = mode, grade
					f := newFixture(t, env, o)
					require.NoError(t, f.plain.Create(&brand{Name: "old", Kind: 1}).Error)
					name := ""
					read := func() {
						var b brand
						require.NoError(t, f.db.Where("kind = ?", 1).First(&b).Error)
						name = b.Name
					}
					f.cached(t, read)

					killWriter(t, f, doomed{Mode: mode, Grade: grade, Way: way})

					if grade == cacheplugin.Returned {
						f.hits(t, read)
						require.Equal(t, "old", name)
						return
					}
					for range 2 {
						require.Equal(t, announced, f.outcome(read))
						require.Equal(t, "new", name)
					}
				})
			}
		}
	}
}
