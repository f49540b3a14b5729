package reads

import (
	"context"
	"regexp"
	"strconv"
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

// patience waits for another's result for as long as a test may take.
func patience(client redis.UniversalClient) fixture.Options {
	return fixture.Options{Models: []any{&fixture.Brand{}}, Config: cacheplugin.Config{Redis: client, LockWait: time.Hour, LeaseTTL: time.Hour}}
}

// locked is the query whose lease is fought for.
func locked(db *gorm.DB) *gorm.DB {
	return db.Model(&fixture.Brand{}).Scopes(cache.Cache(cache.Lock())).Where("kind = ?", 1)
}

var scriptCalls = regexp.MustCompile(`cmdstat_evalsha:calls=(\d+)`)

// calls counts the scripts that a server has run.
func calls(t testing.TB, client redis.UniversalClient) int {
	t.Helper()
	info, err := client.Info(context.Background(), "commandstats").Result()
	require.NoError(t, err)
	found := scriptCalls.FindStringSubmatch(info)
	if found == nil {
		return 0
	}
	n, err := strconv.Atoi(found[1])
	require.NoError(t, err)
	return n
}

// names reads the brands' names under the lock.
func names(db *gorm.DB) (names []string, err error) {
	return names, locked(db).Pluck("name", &names).Error
}

func TestOneReadingAnswersAllWhoWaitForItInAProcess(t *testing.T) {
	const crowd = 100
	for _, env := range testdb.Databases(t) {
		for _, mode := range []cacheplugin.Mode{cacheplugin.ConjunctionSets, cacheplugin.InsideOut} {
			t.Run(env.Name+"/"+mode.String(), func(t *testing.T) {
				client := testenv.StartRedis(t).Client(t)
				o := patience(client)
				o.Config.Mode = mode
				f := fixture.New(t, env, o)
				require.NoError(t, f.Plain.Create(&fixture.Brand{Name: "a", Kind: 1}).Error)
				_, err := names(f.DB) // reads the catalog
				require.NoError(t, err)
				require.NoError(t, cacheplugin.InvalidateModel(f.DB, &fixture.Brand{}))
				before, stats := calls(t, client), f.Plugin.Stats()

				held, err := locked(f.DB).Select("name").Rows()
				require.NoError(t, err)
				type answer struct {
					names []string
					err   error
				}
				answers := make(chan answer, crowd)
				for range crowd {
					go func() {
						got, err := names(f.DB)
						answers <- answer{got, err}
					}()
				}
				require.Eventually(t, func() bool { return calls(t, client) >= before+1+crowd }, time.Minute, time.Millisecond)
				for held.Next() {
				}
				require.NoError(t, held.Close())
				for range crowd {
					a := <-answers
					require.NoError(t, a.err)
					require.Equal(t, []string{"a"}, a.names)
				}
				now := f.Plugin.Stats()
				require.EqualValues(t, 1, now.Misses-stats.Misses, "the database was asked once")
				require.EqualValues(t, crowd, now.Hits-stats.Hits)
			})
		}
	}
}

// The race detector sees it where the bytes are shared.
func TestWhoComputesAValueMayChangeItWhileOthersOfTheProcessGetIt(t *testing.T) {
	client := testenv.StartRedis(t).Client(t)
	f := fixture.New(t, testenv.NeedSQLite(t), patience(client))
	c := cacheplugin.Computation{Name: "shared", Timeout: time.Hour, Lock: true}
	began, release := make(chan struct{}), make(chan struct{})
	before := calls(t, client)
	go func() {
		value, _, err := cacheplugin.Compute(f.DB, c, func(context.Context) ([]byte, error) {
			close(began)
			<-release
			return []byte("value"), nil
		})
		if err != nil {
			t.Error(err)
		}
		copy(value, "other")
	}()
	<-began
	got := make(chan []byte, 1)
	go func() {
		value, _, err := cacheplugin.Compute(f.DB, c, nil)
		if err != nil {
			t.Error(err)
		}
		got <- value
	}()
	require.Eventually(t, func() bool { return calls(t, client) == before+2 }, time.Minute, time.Millisecond)
	close(release)
	require.Equal(t, "value", string(<-got))
}

// A reading that began before a commit must not answer those who come after it:
// that is what distinguishes this from waiting by the key.
func TestNobodyJoinsAReadingThatBeganBeforeACommitThatHasReturned(t *testing.T) {
	for _, mode := range []cacheplugin.Mode{cacheplugin.ConjunctionSets, cacheplugin.InsideOut} {
		o := patience(testenv.StartRedis(t).Client(t))
		o.Config.Mode = mode
		fixture.OnEveryDatabase(t, o, func(t *testing.T, f *fixture.Fixture) {
			if f.Env.Dialect == "sqlite" {
				t.Skip("no writer gets past a reader")
			}
			client := f.Config.Redis
			require.NoError(t, f.Plain.Create(&fixture.Brand{Name: "old", Kind: 1}).Error)
			_, err := names(f.DB)
			require.NoError(t, err)
			require.NoError(t, cacheplugin.InvalidateModel(f.DB, &fixture.Brand{}))

			before := calls(t, client)
			held, err := locked(f.DB).Select("name").Rows()
			require.NoError(t, err)
			early := make(chan []string, 1)
			go func() {
				got, err := names(f.DB)
				if err != nil {
					t.Error(err)
				}
				early <- got
			}()
			require.Eventually(t, func() bool { return calls(t, client) >= before+2 }, time.Minute, time.Millisecond)

			require.NoError(t, fixture.Ways[0].Write(f.DB))
			got, err := names(f.DB)
			require.NoError(t, err)
			require.Equal(t, []string{"new"}, got)

			for held.Next() {
			}
			require.NoError(t, held.Close())
			require.Len(t, <-early, 1, "it began before the commit: either state is right")
			got, err = names(f.DB)
			require.NoError(t, err)
			require.Equal(t, []string{"new"}, got, "and what was read before it has replaced nothing")
		})
	}
}

func TestAWaiterThatIsCancelledCancelsNobodyElse(t *testing.T) {
	client := testenv.StartRedis(t).Client(t)
	fixture.OnEveryDatabase(t, patience(client), func(t *testing.T, f *fixture.Fixture) {
		require.NoError(t, f.Plain.Create(&fixture.Brand{Name: "a", Kind: 1}).Error)
		_, err := names(f.DB)
		require.NoError(t, err)
		require.NoError(t, cacheplugin.InvalidateModel(f.DB, &fixture.Brand{}))
		before := calls(t, client)
		held, err := locked(f.DB).Select("name").Rows()
		require.NoError(t, err)
		ctx, cancel := context.WithCancel(context.Background())
		cancelled, other := make(chan error, 1), make(chan error, 1)
		go func() {
			_, err := names(f.DB.WithContext(ctx))
			cancelled <- err
		}()
		go func() {
			_, err := names(f.DB)
			other <- err
		}()
		require.Eventually(t, func() bool { return calls(t, client) >= before+3 }, time.Minute, time.Millisecond)
		cancel()
		require.ErrorIs(t, <-cancelled, context.Canceled)
		select {
		case err := <-other:
			t.Fatalf("the other one has not waited: %v", err)
		default:
		}
		for held.Next() {
		}
		require.NoError(t, held.Close())
		require.NoError(t, <-other)
	})
}
