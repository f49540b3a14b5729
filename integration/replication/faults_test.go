package replication

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"
	"gorm.io/gorm"

	"github.com/cacheplugin/cacheplugin"
	"github.com/cacheplugin/cacheplugin/integration/internal/fixture"
	"github.com/cacheplugin/cacheplugin/internal/testenv"
	"github.com/cacheplugin/cacheplugin/lua"
	"github.com/cacheplugin/cacheplugin/replication/postgres"
)

// subject is a database that is followed.
type subject struct {
	*fixture.Fixture
	child child
	make  func(t testing.TB, f *fixture.Fixture) follower
	told  func(t testing.TB, f *fixture.Fixture, p follower)
}

// onEach runs a test on every database whose log can be followed.
func onEach(t *testing.T, o fixture.Options, test func(t *testing.T, s subject)) {
	t.Helper()
	for _, name := range []string{testenv.Postgres, testenv.MariaDB} {
		t.Run(name, func(t *testing.T) { test(t, on(t, name, o)) })
	}
}

// on is a database of that name.
func on(t *testing.T, name string, o fixture.Options) subject {
	t.Helper()
	if name == testenv.Postgres {
		f, c := onPostgres(t, true, o)
		return subject{
			Fixture: f, child: child{DSN: c.URL, Slot: c.Slot}, told: toldPostgres,
			make: func(t testing.TB, f *fixture.Fixture) follower { return newPostgres(t, f, c) },
		}
	}
	f, c := onMariaDB(t, o)
	return subject{
		Fixture: f, child: child{DSN: c.DSN}, told: toldMariaDB,
		make: func(t testing.TB, f *fixture.Fixture) follower { return newMariaDB(t, f, c) },
	}
}

// gate holds up what a client tells Redis of changes that it has read in a log.
type gate struct {
	closed  atomic.Bool
	reached atomic.Int64
}

func (g *gate) DialHook(next redis.DialHook) redis.DialHook { return next }

func (g *gate) ProcessHook(next redis.ProcessHook) redis.ProcessHook { return next }

func (g *gate) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		for _, cmd := range cmds {
			args := cmd.Args()
			if len(args) > 2 && (args[1] == lua.Invalidate.Hash() || args[1] == lua.Invalidate.Source()) {
				g.reached.Add(1)
				for g.closed.Load() && ctx.Err() == nil {
					time.Sleep(time.Millisecond)
				}
			}
		}
		return next(ctx, cmds)
	}
}

// sibling is another process's view, with a client of its own.
func sibling(t testing.TB, f *fixture.Fixture, hook redis.Hook) *fixture.Fixture {
	t.Helper()
	client := redis.NewClient(testenv.RedisOptions(t))
	t.Cleanup(func() { _ = client.Close() })
	if hook != nil {
		client.AddHook(hook)
	}
	changed := *f
	changed.Config.Redis = client
	return fixture.NewSibling(t, &changed, gorm.Config{})
}

// A program's own writes come back through the log. What was read again since they
// could be seen must stay, however late the log is.
func TestOwn_writes_that_come_back_spare_what_was_read_again(t *testing.T) {
	for _, mode := range []cacheplugin.Mode{cacheplugin.ConjunctionSets, cacheplugin.InsideOut} {
		t.Run(mode.String(), func(t *testing.T) {
			onEach(t, fixture.Options{Config: cacheplugin.Config{Mode: mode}}, func(t *testing.T, s subject) {
				execute(t, s.Fixture, "INSERT INTO articles VALUES (1, 1, 'Hydrogen', ''), (2, 2, 'Helium', '')")
				g := &gate{}
				p := s.make(t, sibling(t, s.Fixture, g))
				run(t, p)
				execute(t, s.Fixture, "UPDATE articles SET text = 'x' WHERE id = 1")
				s.told(t, s.Fixture, p)
				one := titles(t, s.Fixture, 1)
				s.Cached(t, one)

				g.closed.Store(true)
				before := g.reached.Load()
				require.NoError(t, s.DB.Model(&article{}).Where("id = ?", 1).Update("title", "own").Error)
				if s.Env.Name == testenv.Postgres {
					execute(t, s.Fixture, "SELECT set_config('synchronous_commit', 'on', false), pg_logical_emit_message(true, 'test', 'x')")
				}
				eventually(t, func() bool { return g.reached.Load() > before })
				s.Cached(t, one, "it is dropped by its writer, and read again before the log tells of it")
				g.closed.Store(false)
				s.told(t, s.Fixture, p)
				s.Hits(t, one)

				// What others write drops it.
				execute(t, s.Fixture, "UPDATE articles SET title = 'theirs' WHERE id = 1")
				s.told(t, s.Fixture, p)
				s.Misses(t, one)
			})
		})
	}
}

// A follower that is killed has not told of everything. Who takes over does.
func TestAnother_follower_takes_over_from_one_that_is_killed(t *testing.T) {
	onEach(t, fixture.Options{}, func(t *testing.T, s subject) {
		execute(t, s.Fixture, "INSERT INTO articles VALUES (1, 1, 'Hydrogen', ''), (2, 2, 'Helium', '')")
		killed := startChild(t, s.Fixture, s.child)
		seats := func() (held bool, position string) {
			infos, err := cacheStore(t, s.Fixture).Seats(t.Context())
			require.NoError(t, err)
			if len(infos) == 0 {
				return false, ""
			}
			return infos[0].Held, infos[0].Position
		}
		eventually(t, func() bool { held, position := seats(); return held && position != "" })

		one := titles(t, s.Fixture, 1)
		eventually(t, func() bool { // it drops everything when it begins
			s.Outcome(one)
			return s.Outcome(one) == "hit"
		})
		execute(t, s.Fixture, "UPDATE articles SET title = 'theirs' WHERE id = 1")
		eventually(t, func() bool { return s.Outcome(one) == "miss" })

		second := s.make(t, sibling(t, s.Fixture, nil))
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- second.Run(ctx) }()
		require.False(t, second.Status().Active)

		require.NoError(t, killed.Process.Kill())
		began := time.Now()
		s.Outcome(one)
		require.Equal(t, "hit", s.Outcome(one))
		execute(t, s.Fixture, "UPDATE articles SET title = 'while nobody followed' WHERE id = 1")
		eventually(t, func() bool { return second.Status().Active })
		t.Logf("taken over after %v", time.Since(began))
		s.told(t, s.Fixture, second)
		s.Misses(t, one)
		require.Zero(t, second.Status().Lost, "it goes on where the other one was")
		stop()
		require.NoError(t, <-ended)
		held, _ := seats()
		require.False(t, held, "it is given up at the end")
	})
}

// seatKey is where the position is kept.
func seatKey(t *testing.T, f *fixture.Fixture) string {
	t.Helper()
	keys, err := f.Config.Redis.Keys(t.Context(), "{"+f.Config.Prefix+"}L:*").Result()
	require.NoError(t, err)
	require.Len(t, keys, 1)
	return keys[0]
}

// What a follower has missed for good drops everything, and is said.
func TestPostgres_a_position_that_is_gone_drops_everything(t *testing.T) {
	for name, lose := range map[string]func(t *testing.T, f *fixture.Fixture, c postgres.Config){
		"the slot was dropped": func(t *testing.T, f *fixture.Fixture, c postgres.Config) {
			execute(t, f, "SELECT pg_drop_replication_slot(?)", c.Slot)
		},
		"the slot was moved": func(t *testing.T, f *fixture.Fixture, c postgres.Config) {
			execute(t, f, "SELECT pg_logical_emit_message(true, 'test', 'x')")
			execute(t, f, "SELECT pg_replication_slot_advance(?, pg_current_wal_flush_lsn())", c.Slot)
		},
		"Redis has lost the position": func(t *testing.T, f *fixture.Fixture, _ postgres.Config) {
			require.NoError(t, f.Config.Redis.Del(t.Context(), seatKey(t, f)).Err())
		},
		"the server was set back": func(t *testing.T, f *fixture.Fixture, _ postgres.Config) {
			// It is as if the log had once been longer.
			require.NoError(t, f.Config.Redis.HSet(t.Context(), seatKey(t, f), "position", "FFFF/0").Err())
		},
	} {
		t.Run(name, func(t *testing.T) {
			f, c := onPostgres(t, true, fixture.Options{})
			execute(t, f, "INSERT INTO articles VALUES (1, 1, 'Hydrogen', '')")
			p := newPostgres(t, f, c)
			stop := run(t, p)
			toldPostgres(t, f, p)
			stop()
			stop = run(t, p)
			require.EqualValues(t, 1, p.Status().Lost, "a restart loses nothing")
			toldPostgres(t, f, p)
			one := titles(t, f, 1)
			f.Cached(t, one)
			stop()
			eventually(t, func() bool {
				var active bool
				require.NoError(t, f.Plain.Raw("SELECT active FROM pg_replication_slots WHERE slot_name = ?", c.Slot).Scan(&active).Error)
				return !active
			})
			execute(t, f, "UPDATE articles SET title = 'unseen' WHERE id = 1")
			f.Hits(t, one)
			lose(t, f, c)
			run(t, p)
			require.EqualValues(t, 2, p.Status().Lost)
			f.Misses(t, one)
		})
	}
}

func TestMariaDB_a_position_that_is_gone_drops_everything(t *testing.T) {
	f, c := onMariaDB(t, fixture.Options{})
	execute(t, f, "INSERT INTO articles VALUES (1, 1, 'Hydrogen', '')")
	p := newMariaDB(t, f, c)
	stop := run(t, p)
	execute(t, f, "UPDATE articles SET text = 'x'")
	toldMariaDB(t, f, p)
	one := titles(t, f, 1)
	f.Cached(t, one)
	stop()
	execute(t, f, "UPDATE articles SET title = 'unseen' WHERE id = 1")
	f.Hits(t, one)
	execute(t, f, "FLUSH BINARY LOGS")
	eventually(t, func() bool { // a file is in use for a while
		var newest, ignored string
		var end int64
		require.NoError(t, f.Plain.Raw("SHOW MASTER STATUS").Row().Scan(&newest, &end, &ignored, &ignored))
		execute(t, f, "PURGE BINARY LOGS TO '"+newest+"'")
		rows, err := f.Plain.Raw("SHOW BINARY LOGS").Rows()
		require.NoError(t, err)
		n := 0
		for rows.Next() {
			n++
		}
		require.NoError(t, rows.Close())
		return n == 1
	})
	run(t, p)
	eventually(t, func() bool { return p.Status().Lost == 2 }, "the server says so when it is asked for the log")
	f.Misses(t, one)
}

// A publication that loses a table is noticed, and nothing is served any more that may
// have been missed.
func TestPostgres_a_publication_that_loses_a_table_ends_it(t *testing.T) {
	f, c := onPostgres(t, true, fixture.Options{})
	execute(t, f, "CREATE TABLE others (id INT PRIMARY KEY)")
	execute(t, f, "CREATE PUBLICATION two FOR TABLE articles, others")
	execute(t, f, "INSERT INTO articles VALUES (1, 1, 'Hydrogen', '')")
	c.Publication = "two"
	p := newPostgres(t, f, c)
	ended := make(chan error, 1)
	go func() { ended <- p.Run(t.Context()) }()
	eventually(t, func() bool { return p.Status().Active })
	one := titles(t, f, 1)
	f.Cached(t, one)
	execute(t, f, "ALTER PUBLICATION two DROP TABLE articles")
	execute(t, f, "UPDATE articles SET title = 'not in the log' WHERE id = 1")
	f.Hits(t, one)
	// The next connection looks at once.
	execute(t, f, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'cacheplugin follower ' || ?", f.Config.Prefix)
	err := <-ended
	require.ErrorIs(t, err, postgres.ErrSetup)
	require.ErrorContains(t, err, "public.articles")
	f.Misses(t, one)

	execute(t, f, "UPDATE articles SET title = 'neither' WHERE id = 1")
	f.Hits(t, one)
	execute(t, f, "ALTER PUBLICATION two ADD TABLE articles")
	run(t, p)
	f.Misses(t, one)
	require.EqualValues(t, 3, p.Status().Lost)
}
