package faults

import (
	"context"
	"math/rand/v2"
	"strconv"
	"strings"
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

// faulty is a fixture on a Redis of its own, with one row whose text is the
// version that was written last.
type faulty struct {
	*fixture.Fixture
	server  *testenv.RedisServer
	admin   redis.UniversalClient // past the plugin
	version int
}

// onFaultyRedis runs a test in both modes.
func onFaultyRedis(t *testing.T, config cacheplugin.Config, arguments []string, test func(t *testing.T, f *faulty)) {
	t.Helper()
	env := testdb.Need(t, testenv.SQLiteFile)
	for _, mode := range []cacheplugin.Mode{cacheplugin.ConjunctionSets, cacheplugin.InsideOut} {
		t.Run(mode.String(), func(t *testing.T) {
			t.Parallel()
			server := testenv.StartRedis(t, arguments...)
			c := config
			c.Mode = mode
			c.Redis = server.Client(t)
			if c.RedisTimeout == 0 {
				c.RedisTimeout = 5 * time.Second
			}
			f := &faulty{server: server, admin: server.Client(t)}
			f.Fixture = fixture.New(t, env, fixture.Options{Config: c, Models: []any{&testmodel.Label{}}})
			require.NoError(t, f.Plain.Create(&testmodel.Label{ID: 1, Text: "0"}).Error)
			test(t, f)
		})
	}
}

// impatient gives up on Redis soon.
func impatient() cacheplugin.Config {
	return cacheplugin.Config{RedisTimeout: 200 * time.Millisecond, RetryFor: 50 * time.Millisecond}
}

// read requires the version that was written last, by key and by list.
func (f *faulty) read(t testing.TB) {
	t.Helper()
	var one testmodel.Label
	require.NoError(t, f.DB.Where("id = ?", 1).Take(&one).Error)
	require.Equal(t, strconv.Itoa(f.version), one.Text, "a stale result")
	var all []string
	require.NoError(t, f.DB.Model(&testmodel.Label{}).Pluck("text", &all).Error)
	require.Equal(t, []string{strconv.Itoa(f.version)}, all, "a stale list")
}

// write writes the next version.
func (f *faulty) write() error {
	f.version++
	return f.DB.Model(&testmodel.Label{}).Where("id = ?", 1).Update("text", strconv.Itoa(f.version)).Error
}

// recovers requires that hits come back, with no stale result on the way.
func (f *faulty) recovers(t testing.TB) {
	t.Helper()
	deadline := time.Now().Add(time.Minute)
	for f.Outcome(func() { f.read(t) }) != "hit, hit" {
		require.True(t, time.Now().Before(deadline), "nothing is cached again")
	}
}

// entries are the names of what is cached.
func (f *faulty) entries(t testing.TB, kind string) []string {
	t.Helper()
	names, err := f.admin.Keys(context.Background(), "{"+f.Config.Prefix+"}"+kind+"*").Result()
	require.NoError(t, err)
	require.NotEmpty(t, names)
	return names
}

func TestRedisThatIsDownAtUse(t *testing.T) {
	onFaultyRedis(t, impatient(), nil, func(t *testing.T, f *faulty) {
		f.server.Kill(t)
		c := f.Config
		c.RequireRedis = true
		db := f.Env.Reopen(t, f.Plain, &gorm.Config{Logger: logger.Discard})
		require.ErrorIs(t, db.Use(cacheplugin.New(c)), cacheplugin.ErrConfig)

		late := fixture.NewSibling(t, f.Fixture, gorm.Config{})
		f.Fixture = late
		for range 5 {
			require.NotContains(t, f.Outcome(func() { f.read(t) }), "hit")
		}
		f.server.Start(t)
		f.recovers(t)
		require.NoError(t, f.write())
		f.recovers(t)
	})
}

func TestRedisThatIsDownWhileReading(t *testing.T) {
	onFaultyRedis(t, impatient(), nil, func(t *testing.T, f *faulty) {
		f.recovers(t)
		f.server.Kill(t)
		seen := f.Outcome(func() {
			for range 5 {
				f.read(t)
			}
		})
		require.Contains(t, seen, "error", "the Observer was told")
		require.NotContains(t, seen, "hit")
		require.Positive(t, f.Plugin.Stats().Errors)
		f.server.Start(t)
		f.recovers(t)
	})
}

func TestReadsReturnRedissErrorIfTheyAreToldTo(t *testing.T) {
	config := impatient()
	config.OnReadError = cacheplugin.Return
	onFaultyRedis(t, config, nil, func(t *testing.T, f *faulty) {
		f.recovers(t)
		f.server.Kill(t)
		for range 3 {
			require.Error(t, f.DB.Take(&testmodel.Label{}, 1).Error)
		}
		f.server.Start(t)
		require.Eventually(t, func() bool { return f.DB.Take(&testmodel.Label{}, 1).Error == nil }, time.Minute, time.Millisecond)
		f.recovers(t)
	})
}

func TestWritesThatRedisCannotBeToldOf(t *testing.T) {
	for name, policy := range map[string]cacheplugin.ErrorPolicy{"queue": cacheplugin.Queue, "return": cacheplugin.Return} {
		t.Run(name, func(t *testing.T) {
			config := impatient()
			config.OnInvalidateError = policy
			onFaultyRedis(t, config, nil, func(t *testing.T, f *faulty) {
				f.recovers(t)
				f.server.Pause(t) // with all that it has
				for range 3 {
					f.Events.Take()
					err := f.write()
					if policy == cacheplugin.Queue {
						require.NoError(t, err)
					} else {
						require.ErrorIs(t, err, cacheplugin.ErrCommittedNotInvalidated)
					}
					told := false
					for _, e := range f.Events.Take() {
						told = told || e.Kind == cacheplugin.EventError
					}
					require.True(t, told, "the Observer was told")
					require.Equal(t, "skip: an invalidation is pending, skip: an invalidation is pending", f.Outcome(func() { f.read(t) }))
				}
				require.EqualValues(t, 3, f.Plugin.Stats().Queued)
				f.server.Resume(t)
				f.recovers(t)
				require.Eventually(t, func() bool { return f.write() == nil }, time.Minute, time.Millisecond)
				f.recovers(t)
				// No other process sees what this one had cached before.
				other := fixture.NewSibling(t, f.Fixture, gorm.Config{})
				mine := f.Fixture
				f.Fixture = other
				f.read(t)
				f.Fixture = mine
			})
		})
	}
}

// go-redis left to itself would wait for a frozen server without end.
func TestAFrozenRedisHoldsNobodyLongerThanRedisTimeout(t *testing.T) {
	onFaultyRedis(t, impatient(), nil, func(t *testing.T, f *faulty) {
		c := f.Config
		client := redis.NewClient(&redis.Options{Addr: f.server.Addr, ReadTimeout: -1, WriteTimeout: -1, PoolTimeout: time.Hour})
		t.Cleanup(func() { _ = client.Close() })
		c.Redis = client
		f.Config = c
		f.Fixture = fixture.NewSibling(t, f.Fixture, gorm.Config{})
		f.recovers(t)
		f.server.Pause(t)
		for range 3 {
			f.read(t)
			require.NoError(t, f.write())
			f.read(t)
		}
		f.server.Resume(t)
		f.recovers(t)
	})
}

func TestACommitDoesNotWaitForTheQueueToDrain(t *testing.T) {
	onFaultyRedis(t, impatient(), nil, func(t *testing.T, f *faulty) {
		f.recovers(t)
		f.server.Kill(t)
		require.NoError(t, f.write())
		f.read(t)
		f.server.Start(t)
		f.recovers(t)
	})
}

func TestGarbageUnderTheCachesKeysIsAMissAndIsReplaced(t *testing.T) {
	ctx := context.Background()
	random := func() string {
		b := make([]byte, 1+rand.IntN(300))
		for i := range b {
			b[i] = byte(rand.Uint32())
		}
		return string(b)
	}
	for name, spoil := range map[string]func(t *testing.T, f *faulty, key, old string){
		"random": func(t *testing.T, f *faulty, key, old string) {
			require.NoError(t, f.admin.Set(ctx, key, random(), 0).Err())
		},
		"empty": func(t *testing.T, f *faulty, key, old string) { require.NoError(t, f.admin.Set(ctx, key, "", 0).Err()) },
		"truncated": func(t *testing.T, f *faulty, key, old string) {
			require.NoError(t, f.admin.Set(ctx, key, old[:len(old)-3], 0).Err())
		},
		"longer": func(t *testing.T, f *faulty, key, old string) {
			require.NoError(t, f.admin.Append(ctx, key, "xyz").Err())
		},
		"one bit": func(t *testing.T, f *faulty, key, old string) {
			b := []byte(old)
			b[len(b)-10] ^= 4
			require.NoError(t, f.admin.Set(ctx, key, b, 0).Err())
		},
		"another type": func(t *testing.T, f *faulty, key, old string) {
			require.NoError(t, f.admin.Del(ctx, key).Err())
			require.NoError(t, f.admin.RPush(ctx, key, old).Err())
		},
	} {
		t.Run(name, func(t *testing.T) {
			onFaultyRedis(t, cacheplugin.Config{}, nil, func(t *testing.T, f *faulty) {
				for range 5 {
					f.recovers(t)
					entries := f.entries(t, "e:")
					require.Len(t, entries, 2)
					for _, key := range entries {
						old, err := f.admin.Get(ctx, key).Result()
						require.NoError(t, err)
						spoil(t, f, key, old)
					}
					require.NotContains(t, f.Outcome(func() { f.read(t) }), "hit")
					f.recovers(t)
					require.NoError(t, f.write())
				}
			})
		})
	}
	t.Run("in what invalidates", func(t *testing.T) {
		onFaultyRedis(t, cacheplugin.Config{}, nil, func(t *testing.T, f *faulty) {
			for _, kind := range []string{"t:", "c:", "N"} {
				for name, spoil := range map[string]func(key string){
					"random":  func(key string) { f.admin.Set(ctx, key, random(), 0) },
					"a list":  func(key string) { f.admin.Del(ctx, key); f.admin.RPush(ctx, key, random()) },
					"a hash":  func(key string) { f.admin.Del(ctx, key); f.admin.HSet(ctx, key, "g", random()) },
					"missing": func(key string) { f.admin.Del(ctx, key) },
				} {
					f.recovers(t)
					for _, key := range f.entries(t, kind) {
						spoil(key)
					}
					require.NoError(t, f.write(), "%s %s", kind, name)
					f.read(t)
					f.recovers(t)
					for _, key := range f.entries(t, kind) {
						spoil(key)
					}
					f.read(t)
					f.recovers(t)
				}
			}
			require.Zero(t, f.Plugin.Stats().Queued)
		})
	})
}

func TestALossOfMemoryIsOnlyMisses(t *testing.T) {
	ctx := context.Background()
	for name, lose := range map[string]func(t *testing.T, f *faulty){
		"FLUSHALL":     func(t *testing.T, f *faulty) { require.NoError(t, f.admin.FlushAll(ctx).Err()) },
		"SCRIPT FLUSH": func(t *testing.T, f *faulty) { require.NoError(t, f.admin.ScriptFlush(ctx).Err()) },
		"restart":      func(t *testing.T, f *faulty) { f.server.Kill(t); f.server.Start(t) },
	} {
		t.Run(name, func(t *testing.T) {
			onFaultyRedis(t, cacheplugin.Config{}, nil, func(t *testing.T, f *faulty) {
				f.recovers(t)
				lose(t, f)
				f.recovers(t)
				lose(t, f)
				require.NoError(t, f.write())
				f.recovers(t)
				require.NoError(t, f.write())
				lose(t, f)
				f.recovers(t)
			})
		})
	}
}

func TestARestartFromAnOldSnapshotServesNothingOld(t *testing.T) {
	onFaultyRedis(t, cacheplugin.Config{}, []string{"--save", "3600 1"}, func(t *testing.T, f *faulty) {
		ctx := context.Background()
		f.recovers(t)
		require.NoError(t, f.admin.Save(ctx).Err())
		require.NoError(t, f.write())
		f.recovers(t)
		old := f.entries(t, "e:")
		f.server.Kill(t)
		f.server.Start(t)
		require.Eventually(t, func() bool { return f.admin.Ping(ctx).Err() == nil }, time.Minute, time.Millisecond)
		require.ElementsMatch(t, old, f.entries(t, "e:"), "the snapshot is back")
		require.NotContains(t, f.Outcome(func() { f.read(t) }), "hit")
		f.recovers(t)

		// And where the restart is seen by a write first.
		require.NoError(t, f.admin.Save(ctx).Err())
		require.NoError(t, f.write())
		f.recovers(t)
		f.server.Kill(t)
		f.server.Start(t)
		require.NoError(t, f.write())
		f.read(t)
		f.recovers(t)
	})
}

// INS-02.
func TestNothingStaleWhateverRedisEvicts(t *testing.T) {
	for _, policy := range []string{"allkeys-random", "volatile-lru", "noeviction"} {
		t.Run(policy, func(t *testing.T) {
			onFaultyRedis(t, cacheplugin.Config{}, []string{"--maxmemory", "5mb", "--maxmemory-policy", policy}, func(t *testing.T, f *faulty) {
				const rows, steps = 60, 1500
				filler := strings.Repeat("x", 30_000)
				texts := map[int]string{1: "0"}
				for id := 2; id <= rows; id++ {
					texts[id] = filler
					require.NoError(t, f.Plain.Create(&testmodel.Label{ID: uint(id), Text: filler}).Error)
				}
				random := rand.New(rand.NewPCG(1, 2))
				for step := range steps {
					id := 1 + random.IntN(rows)
					if random.IntN(5) == 0 {
						texts[id] = strconv.Itoa(step) + filler
						require.NoError(t, f.DB.Model(&testmodel.Label{}).Where("id = ?", id).Update("text", texts[id]).Error)
						continue
					}
					ids := []int{id, 1 + (id % rows), 1 + (id+random.IntN(2))%rows}
					var found []testmodel.Label
					require.NoError(t, f.DB.Where("id IN ?", ids).Find(&found).Error)
					for _, label := range found {
						require.Equal(t, texts[int(label.ID)] == label.Text, true, "row %d is stale at step %d", label.ID, step)
					}
				}
				stats := f.Plugin.Stats()
				info, err := f.admin.Info(context.Background(), "stats").Result()
				require.NoError(t, err)
				_, evicted, _ := strings.Cut(info, "evicted_keys:")
				evicted, _, _ = strings.Cut(evicted, "\r")
				t.Logf("%d hits, %d misses, %s keys evicted, %d errors", stats.Hits, stats.Misses, evicted, stats.Errors)
				require.Greater(t, stats.Hits, int64(20))
				if policy == "noeviction" {
					require.Positive(t, stats.Errors, "the server was never full: the test shows nothing")
				} else {
					require.NotEqual(t, "0", evicted, "nothing was evicted: the test shows nothing")
				}
				require.Zero(t, stats.Queued, "a full server takes invalidations all the same")
			})
		})
	}
}

func TestCloseDrainsTheQueue(t *testing.T) {
	onFaultyRedis(t, impatient(), nil, func(t *testing.T, f *faulty) {
		other := fixture.NewSibling(t, f.Fixture, gorm.Config{})
		f.recovers(t)
		f.server.Pause(t)
		require.NoError(t, f.write())
		require.EqualValues(t, 1, f.Plugin.Stats().Queued)
		f.server.Resume(t)
		require.NoError(t, f.Plugin.Close(context.Background()))
		f.Fixture = other
		f.read(t)
	})
}

func TestCloseSaysWhatItHadToLeave(t *testing.T) {
	onFaultyRedis(t, impatient(), nil, func(t *testing.T, f *faulty) {
		f.recovers(t)
		f.server.Kill(t)
		require.NoError(t, f.write())
		err := f.Plugin.Close(context.Background())
		require.ErrorContains(t, err, "labels")
		require.NoError(t, f.Plugin.Close(context.Background()), "closing again")
	})
}
