package transactions

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
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
)

// strict are the options of a strict fixture whose fences outlive any test.
func strict(client redis.UniversalClient) fixture.Options {
	return fixture.Options{
		Models: []any{&fixture.Brand{}},
		Config: cacheplugin.Config{Redis: client, Consistency: cacheplugin.Strict, FenceTTL: time.Hour},
	}
}

const announced = "skip: a write is being committed"

func TestStrictShowsTheNewStateAndKeepsNothingBetweenCommitAndInvalidation(t *testing.T) {
	for _, way := range fixture.Ways {
		t.Run(way.Name, func(t *testing.T) {
			client, w := fixture.Wired(t)
			fixture.OnEveryDatabase(t, strict(client), func(t *testing.T, f *fixture.Fixture) {
				if way.Only != "" && way.Only != f.Env.Dialect {
					t.Skip("the statement is of another database")
				}
				require.NoError(t, f.Plain.Create(&[]fixture.Brand{{Kind: 1}, {Kind: 2}, {Kind: 3}}).Error)
				changed, other := f.Brands(t, f.DB, 1), f.Brands(t, f.DB, 2)
				f.Cached(t, changed)
				f.Cached(t, other)

				reached, resume := w.Stop()
				done := make(chan error, 1)
				go func() { done <- way.Write(f.DB) }()
				select {
				case <-reached:
				case err := <-done:
					resume()
					t.Fatalf("it was not invalidated: %v", err)
				}
				require.Equal(t, announced, f.Outcome(changed)) // and is the database's answer
				require.Equal(t, announced, f.Outcome(changed), "nothing was stored")
				require.Equal(t, announced, f.Outcome(f.Brands(t, f.DB, 3)), "the table takes nothing new")
				resume()
				require.NoError(t, <-done)
				f.Cached(t, changed, "the fence has fallen")
				f.Cached(t, f.Brands(t, f.DB, 3))
			})
		})
	}
}

func TestStrictKeepsTheResultsOfOtherRows(t *testing.T) {
	client, w := fixture.Wired(t)
	fixture.OnEveryDatabase(t, strict(client), func(t *testing.T, f *fixture.Fixture) {
		require.NoError(t, f.Plain.Create(&[]fixture.Brand{{Kind: 1}, {Kind: 2}}).Error)
		other := f.Brands(t, f.DB, 2)
		f.Cached(t, other)
		f.Cached(t, f.Brands(t, f.DB, 1))
		reached, resume := w.Stop()
		done := make(chan error, 1)
		go func() { done <- fixture.Ways[0].Write(f.DB) }()
		<-reached
		f.Hits(t, other)
		resume()
		require.NoError(t, <-done)
		f.Hits(t, other)
	})
}

func TestStrictAnnouncesWhatIsPostponed(t *testing.T) {
	client, _ := fixture.Wired(t)
	fixture.OnEveryDatabase(t, strict(client), func(t *testing.T, f *fixture.Fixture) {
		require.NoError(t, f.Plain.Create(&fixture.Brand{Kind: 1}).Error)
		read := f.Brands(t, f.DB, 1)
		f.Cached(t, read)
		require.NoError(t, cacheplugin.Postpone(f.DB, func(tx *gorm.DB) error {
			for _, way := range fixture.Ways[:4] {
				require.NoError(t, way.Write(tx))
				require.Equal(t, announced, f.Outcome(read))
			}
			return nil
		}))
		f.Cached(t, read)
	})
}

func TestStrictDropsTheFenceOfWhatChangedNothing(t *testing.T) {
	client, _ := fixture.Wired(t)
	fixture.OnEveryDatabase(t, strict(client), func(t *testing.T, f *fixture.Fixture) {
		require.NoError(t, f.Plain.Create(&fixture.Brand{Kind: 1}).Error)
		read := f.Brands(t, f.DB, 1)
		alone := f.DB.Session(&gorm.Session{SkipDefaultTransaction: true})
		f.Cached(t, read)

		require.NoError(t, alone.Model(&fixture.Brand{}).Where("id = ?", 99).Update("name", "x").Error)
		require.NotEqual(t, announced, f.Outcome(read))

		roll := errors.New("roll back")
		require.ErrorIs(t, f.DB.Transaction(func(tx *gorm.DB) error {
			require.NoError(t, tx.Model(&fixture.Brand{}).Where("id = ?", 1).Update("name", "x").Error)
			return roll
		}), roll)
		f.Hits(t, read, "a rollback needs no announcement")

		// A refusal is the database's own word; of MySQL's errors that isn't
		// known here, and the fence is left to run out.
		require.Error(t, alone.Exec("INSERT INTO brands (id, kind) VALUES (1, 1)").Error)
		require.Equal(t, f.Env.Dialect == "mysql", announced == f.Outcome(read))
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
				o.Config.OnFenceError, o.Config.RetryFor = policy, time.Millisecond
				f := fixture.New(t, env, o)
				require.NoError(t, f.Plain.Create(&fixture.Brand{Name: "old", Kind: 1}).Error)
				names := func() (names []string) {
					require.NoError(t, f.Plain.Model(&fixture.Brand{}).Order("id").Pluck("name", &names).Error)
					return names
				}
				srv.Kill(t)
				for _, way := range fixture.Ways[:5] {
					before := names()
					err := way.Write(f.DB)
					if policy == cacheplugin.Return {
						require.ErrorIs(t, err, cacheplugin.ErrNotFenced, way.Name)
						require.Equal(t, before, names(), "%s: nothing is committed", way.Name)
						continue
					}
					require.NoError(t, err, way.Name)
				}
				if policy == cacheplugin.Fallback {
					require.Equal(t, []string{"new", "new", "new"}, names())
				}
				srv.Start(t)
				require.Eventually(t, func() bool { return fixture.Ways[0].Write(f.DB) == nil }, 20*time.Second, 10*time.Millisecond)
				require.Equal(t, "new", names()[0])
			}
		})
	}
}

func TestStrictRefusesAFenceThatWouldRunOutTooSoon(t *testing.T) {
	o := strict(testenv.Redis(t))
	o.Config.FenceTTL = time.Nanosecond
	env := testenv.NeedSQLite(t)
	f := fixture.New(t, env, o)
	require.NoError(t, f.Plain.Create(&fixture.Brand{Kind: 1}).Error)
	err := fixture.Ways[0].Write(f.DB)
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
		c.Redis, c.Profiles = testenv.Redis(t), fixture.CacheAll()
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
	env := testdb.OfDialect(d.Dialect)
	db, plain := env.Connect(t, d.DSN, &gorm.Config{Logger: logger.Discard}), env.Connect(t, d.DSN, nil)
	client := redis.NewClient(&redis.Options{Addr: d.Addr, Username: d.User, Password: d.Password, DB: d.DB})
	w := &fixture.Wire{}
	client.AddHook(w)
	require.NoError(t, db.Use(cacheplugin.New(cacheplugin.Config{
		Redis: client, Prefix: d.Prefix, Mode: d.Mode, Profiles: fixture.CacheAll(),
		Consistency: d.Grade, FenceTTL: time.Hour, RedisTimeout: 30 * time.Second, Outbox: d.Outbox,
	})))
	die := func() {
		var changed int64
		if plain.Model(&fixture.Brand{}).Where("name = ?", "new").Count(&changed).Error == nil && changed > 0 {
			self, _ := os.FindProcess(os.Getpid())
			_ = self.Kill()
			select {}
		}
	}
	w.Invalidates.Store(&die)
	require.NoError(t, fixture.Ways[d.Way].Write(db))
	t.Fatal("it should have been killed")
}

// killWriter has another process write, and be killed between its COMMIT and
// its invalidation.
func killWriter(t *testing.T, f *fixture.Fixture, d doomed) {
	t.Helper()
	o := testenv.RedisOptions(t)
	d.Dialect, d.DSN, d.Prefix = f.Env.Dialect, f.Env.DSN(t, f.Plain), f.Config.Prefix
	d.Addr, d.User, d.Password, d.DB = o.Addr, o.Username, o.Password, o.DB
	text, err := json.Marshal(d)
	require.NoError(t, err)
	cmd := exec.Command(os.Args[0], "-test.run=^TestDoomedWriter$", "-test.timeout=3m")
	cmd.Env = append(os.Environ(), doomedEnv+"="+string(text))
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	require.ErrorAs(t, err, &exit, "%s", out)
	require.False(t, exit.Exited(), "it should have been killed: %s", out)
	require.NoError(t, f.Plain.Where("name = ?", "new").First(&fixture.Brand{}).Error, "it has committed")
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
				t.Run(fmt.Sprintf("%s/%s/%v", env.Name, fixture.Ways[way].Name, grade), func(t *testing.T) {
					o := strict(nil)
					o.Config.Mode, o.Config.Consistency = mode, grade
					f := fixture.New(t, env, o)
					require.NoError(t, f.Plain.Create(&fixture.Brand{Name: "old", Kind: 1}).Error)
					name := ""
					read := func() {
						var b fixture.Brand
						require.NoError(t, f.DB.Where("kind = ?", 1).First(&b).Error)
						name = b.Name
					}
					f.Cached(t, read)

					killWriter(t, f, doomed{Mode: mode, Grade: grade, Way: way})

					if grade == cacheplugin.Returned {
						f.Hits(t, read)
						require.Equal(t, "old", name)
						return
					}
					for range 2 {
						require.Equal(t, announced, f.Outcome(read))
						require.Equal(t, "new", name)
					}
				})
			}
		}
	}
}
