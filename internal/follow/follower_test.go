package follow_test

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"
	"gorm.io/gorm"

	"github.com/cacheplugin/cacheplugin"
	"github.com/cacheplugin/cacheplugin/cache"
	"github.com/cacheplugin/cacheplugin/conj"
	"github.com/cacheplugin/cacheplugin/internal/follow"
	"github.com/cacheplugin/cacheplugin/internal/store"
	"github.com/cacheplugin/cacheplugin/internal/testenv"
)

func TestMain(m *testing.M) { testenv.Main(m) }

type brand struct {
	ID   int64
	Kind int64
	Name string
}

// program is a process with a cache, whose database has a log that the test writes.
type program struct {
	db     *gorm.DB
	plugin *cacheplugin.Plugin
	config cacheplugin.Config
	log    *fakeLog
	f      *follow.Follower
	hook   *outage
}

// outage fails what is sent to Redis while it is on.
type outage struct{ on atomic.Bool }

var errAway = errors.New("redis is away")

func (o *outage) DialHook(next redis.DialHook) redis.DialHook { return next }

func (o *outage) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		if o.on.Load() {
			cmd.SetErr(errAway)
			return errAway
		}
		return next(ctx, cmd)
	}
}

func (o *outage) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		if o.on.Load() {
			for _, cmd := range cmds {
				cmd.SetErr(errAway)
			}
			return errAway
		}
		return next(ctx, cmds)
	}
}

func start(t *testing.T) *program {
	t.Helper()
	p := &program{hook: &outage{}}
	client := redis.NewClient(testenv.RedisOptions(t))
	t.Cleanup(func() { _ = client.Close() })
	reads := testenv.Redis(t)
	p.db = testenv.NeedSQLite(t).Open(t, nil)
	require.NoError(t, p.db.AutoMigrate(&brand{}))
	require.NoError(t, p.db.Create([]brand{{ID: 1, Kind: 1}, {ID: 2, Kind: 2}}).Error)
	p.config = cacheplugin.Config{
		Redis: reads, Prefix: "follow-" + rand.Text(), RedisTimeout: 10 * time.Second, RetryFor: time.Second,
		Logger:   slog.New(slog.NewTextHandler(io.Discard, nil)),
		Profiles: cacheplugin.Profiles{"*": {Ops: cache.All, Timeout: time.Hour}},
	}
	p.plugin = cacheplugin.New(p.config)
	require.NoError(t, p.db.Use(p.plugin))
	t.Cleanup(func() { require.NoError(t, p.plugin.Close(context.Background())) })

	// The follower is another process.
	client.AddHook(p.hook)
	other := p.config
	other.Redis = client
	followers := cacheplugin.New(other)
	db := testenv.NeedSQLite(t).Reopen(t, p.db, nil)
	require.NoError(t, db.Use(followers))
	t.Cleanup(func() { require.NoError(t, followers.Close(context.Background())) })
	target, err := cacheplugin.FollowTarget(db)
	require.NoError(t, err)
	p.log = &fakeLog{target: target, seats: p.config, t: t, written: make(chan logged, 1000)}
	p.f = follow.New(target, p.log)
	return p
}

// run has the follower follow until the test ends.
func (p *program) run(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- p.f.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		require.NoError(t, <-ended)
	})
	eventually(t, func() bool { return p.f.Status().Active })
}

func eventually(t *testing.T, condition func() bool) {
	t.Helper()
	require.Eventually(t, condition, 30*time.Second, time.Millisecond)
}

// hit reports whether the brands of a kind were answered from the cache.
func (p *program) hit(t *testing.T, kind int64) bool {
	t.Helper()
	before := p.plugin.Stats().Hits
	var found []brand
	require.NoError(t, p.db.Where("kind = ?", kind).Find(&found).Error)
	return p.plugin.Stats().Hits > before
}

// logged is a transaction in the log, which changes a row of a kind.
type logged struct {
	id   uint64
	kind int64
}

// fakeLog is a log that a test writes to.
type fakeLog struct {
	target  *follow.Target
	seats   cacheplugin.Config
	t       *testing.T
	written chan logged
	visible atomic.Uint64 // the last transaction that can be seen
	wrong   atomic.Bool   // it is not set up any more
	broken  atomic.Bool   // the connection breaks

	mu        sync.Mutex
	confirmed []string
}

func (l *fakeLog) write(id uint64, kind int64) { l.written <- logged{id, kind} }

func (l *fakeLog) Check(context.Context) (name, about string, err error) {
	if l.wrong.Load() {
		return "", "", follow.Setup("wal_level", "replica", "set it to logical")
	}
	return "fake", "a log", nil
}

func (l *fakeLog) Open(_ context.Context, position string) (follow.Stream, error) {
	s := &fakeStream{log: l, begins: position}
	if _, err := strconv.ParseUint(position, 10, 64); err != nil {
		s.begins, s.lost = "0", fmt.Sprintf("%q is no position", position)
	}
	return s, nil
}

func (l *fakeLog) Look(context.Context) (follow.View, error) { return fakeView(l.visible.Load()), nil }

func (l *fakeLog) Close() {}

type fakeView uint64

func (v fakeView) Shows(id uint64) bool { return id <= uint64(v) }
func (v fakeView) End() uint64          { return uint64(v) }
func (v fakeView) Behind(string) int64  { return 0 }

type fakeStream struct {
	log          *fakeLog
	begins, lost string
}

func (s *fakeStream) Begins() (position, lost string) { return s.begins, s.lost }

func (s *fakeStream) Next(ctx context.Context, into *follow.Collector) (follow.Commit, error) {
	for {
		select {
		case <-ctx.Done():
			return follow.Commit{}, ctx.Err()
		case <-time.After(time.Millisecond):
			if s.log.broken.Swap(false) {
				return follow.Commit{}, errors.New("the connection broke")
			}
		case one := <-s.log.written:
			table, err := s.log.target.Table(ctx, conj.TableName{Name: "brands"})
			if err != nil {
				return follow.Commit{}, err
			}
			err = into.Rows(ctx, table, func() []conj.Image {
				return []conj.Image{{"=1", conj.Value("=" + strconv.FormatInt(one.kind, 10)), "=x"}}
			})
			return follow.Commit{Position: strconv.FormatUint(one.id, 10), ID: one.id, Time: time.Now(), Changes: 1}, err
		}
	}
}

// Confirm requires that Redis knows of a position before the server may forget it.
func (s *fakeStream) Confirm(position string) {
	l := s.log
	seats := l.known()
	told, _ := strconv.ParseUint(seats, 10, 64)
	at, _ := strconv.ParseUint(position, 10, 64)
	if at > told {
		l.t.Errorf("position %d is confirmed, and Redis knows %q", at, seats)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.confirmed = append(l.confirmed, position)
}

// known is the position that Redis knows of.
func (l *fakeLog) known() string {
	s, err := store.New(store.Options{Client: l.seats.Redis, Namespace: l.seats.Prefix})
	if err != nil {
		return err.Error()
	}
	defer s.Close(context.Background())
	seats, err := s.Seats(context.Background())
	if err != nil || len(seats) != 1 {
		return fmt.Sprint(seats, err)
	}
	return seats[0].Position
}

func (s *fakeStream) Close() {}

// cached reads until what a follower drops when it begins has been dropped.
func (p *program) cached(t *testing.T, kinds ...int64) {
	t.Helper()
	for _, kind := range kinds {
		p.hit(t, kind)
		require.True(t, p.hit(t, kind))
	}
}

// A transaction is in the log before others can see it. What is read in between is old.
func TestNothing_is_told_before_it_can_be_seen(t *testing.T) {
	p := start(t)
	p.run(t)
	p.cached(t, 1, 2)
	p.log.write(5, 1)
	p.log.write(6, 1)
	time.Sleep(50 * time.Millisecond) // a follower that doesn't wait would be done by now
	require.True(t, p.hit(t, 1), "nobody sees the change")
	require.Zero(t, p.f.Status().Transactions)
	p.log.visible.Store(5)
	eventually(t, func() bool { return p.f.Status().Transactions >= 1 || p.log.visible.CompareAndSwap(5, 6) })
	eventually(t, func() bool { return p.f.Status().Transactions == 2 })
	require.False(t, p.hit(t, 1))
	require.True(t, p.hit(t, 2))
	eventually(t, func() bool { return p.log.known() == "6" })
}

func TestWhat_Redis_was_not_told_of_is_told_when_it_is_back(t *testing.T) {
	p := start(t)
	p.run(t)
	p.cached(t, 1, 2)
	p.hook.on.Store(true)
	for id := uint64(1); id <= 300; id++ {
		p.log.write(id, 1)
	}
	eventually(t, func() bool { return len(p.log.written) == 0 })
	p.log.visible.Store(300)
	require.True(t, p.hit(t, 1))
	require.NotEqual(t, "300", p.log.known())
	p.hook.on.Store(false)
	eventually(t, func() bool { return p.f.Status().Transactions == 300 })
	require.False(t, p.hit(t, 1))
	require.True(t, p.hit(t, 2), "row by row, however much has waited")
	eventually(t, func() bool { return p.log.known() == "300" })
}

func TestA_connection_that_breaks_begins_anew(t *testing.T) {
	p := start(t)
	p.run(t)
	p.log.write(1, 1)
	p.log.visible.Store(1)
	eventually(t, func() bool { return p.f.Status().Transactions == 1 })
	p.log.broken.Store(true)
	eventually(t, func() bool { return p.f.Status().Err != nil })
	p.cached(t, 1)
	p.log.write(2, 1)
	p.log.visible.Store(2)
	eventually(t, func() bool { return p.f.Status().Transactions == 2 })
	require.False(t, p.hit(t, 1))
	require.EqualValues(t, 1, p.f.Status().Lost, "when it began for the first time")
	require.ErrorContains(t, p.f.Status().Err, "broke")
	require.Error(t, p.f.Run(t.Context()), "it runs already")
}

func TestA_set_up_that_becomes_wrong_ends_it_and_drops_everything(t *testing.T) {
	p := start(t)
	ended := make(chan error, 1)
	go func() { ended <- p.f.Run(t.Context()) }()
	eventually(t, func() bool { return p.f.Status().Active })
	p.cached(t, 1)
	p.log.wrong.Store(true)
	p.log.broken.Store(true)
	err := <-ended
	require.ErrorIs(t, err, follow.ErrSetup)
	require.ErrorContains(t, err, "wal_level")
	require.False(t, p.hit(t, 1))

	// Nobody knows what the log had meanwhile.
	p.cached(t, 1)
	p.log.wrong.Store(false)
	p.run(t)
	require.False(t, p.hit(t, 1))
	require.EqualValues(t, 3, p.f.Status().Lost)
}
