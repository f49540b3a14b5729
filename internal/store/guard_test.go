package store_test

import (
	"context"
	"io"
	"log/slog"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/cacheplugin/cacheplugin/internal/store"
	"github.com/cacheplugin/cacheplugin/internal/testenv"
)

// outage is a server that can be taken away, and a guard for it.
type outage struct {
	srv       *testenv.RedisServer
	client    redis.UniversalClient
	store     *store.Store
	namespace string
	guard     *store.Guard
	queued    chan []store.Change
	drained   chan []store.Report
}

// newOutage starts the server. Its tests don't run beside others: the store is to
// find out soon that the server is gone, and a busy machine must not look like that.
func newOutage(t *testing.T, mode variant, o store.GuardOptions) *outage {
	t.Helper()
	srv := newRealServer(t)
	client := redis.NewClient(&redis.Options{Addr: srv.Addr, ReadTimeout: time.Second, MaxRetries: 1, DialerRetries: 1, PipelinePoolSize: -1})
	t.Cleanup(func() { _ = client.Close() })
	ns := newNamespace()
	s := backend{client: client, mode: mode}.open(t, in(ns), func(o *store.Options) { o.Timeout = 250 * time.Millisecond })
	x := &outage{
		srv: srv, client: client, store: s, namespace: ns,
		queued: make(chan []store.Change, 1000), drained: make(chan []store.Report, 1000),
	}
	o.Logger = quiet
	o.OnQueue = func(changes []store.Change, cause error) { x.queued <- changes }
	o.OnDrain = func(reports []store.Report) { x.drained <- reports }
	x.guard = store.NewGuard(s, o)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		_ = x.guard.Close(ctx)
	})
	return x
}

var quiet = slog.New(slog.NewTextHandler(io.Discard, nil))

// await waits until nothing is queued any more.
func (x *outage) await(t *testing.T, tables ...string) {
	t.Helper()
	for x.guard.Bypass(tables...) {
		select {
		case <-x.drained:
		case <-time.After(30 * time.Second):
			t.Fatal("the queue was not drained")
		}
	}
}

func TestAnInvalidationThatRedisCantTakeIsQueuedAndCarriedOutLater(t *testing.T) {
	for _, mode := range modes {
		t.Run(mode.String(), func(t *testing.T) {
			t.Parallel()
			x := newOutage(t, mode, store.GuardOptions{RetryFor: 20 * time.Millisecond})
			fill(t, x.store, "a", "old", on("a", "1"))
			fill(t, x.store, "a2", "kept", on("a", "2"))
			fill(t, x.store, "b", "kept", on("b", "1"))
			late := lease(t, x.store, "late", on("a", "1"))
			require.False(t, x.guard.Bypass("a", "b"))
			x.srv.Pause(t)

			reports, err := x.guard.Invalidate(t.Context(), []store.Change{changed("a", row{"1", "1"})})
			require.ErrorIs(t, err, store.ErrQueued)
			require.Empty(t, reports)
			require.True(t, x.guard.Bypass("b", "a"))
			require.False(t, x.guard.Bypass("b"))
			require.Len(t, <-x.queued, 1)
			_, err = x.guard.Invalidate(t.Context(), []store.Change{changed("a", row{"5", "1"}), changed("c", row{"1", "1"})})
			require.ErrorIs(t, err, store.ErrQueued)
			require.True(t, x.guard.Bypass("c"))

			x.srv.Resume(t)
			x.await(t, "a", "c")
			ctx := t.Context()
			require.Eventually(t, func() bool { return x.client.Ping(ctx).Err() == nil }, 20*time.Second, 10*time.Millisecond)
			save(t, x.store, late, "old")
			require.Equal(t, store.Leased, acquire(t, x.store, "a", on("a", "1")).State)
			require.NotEqual(t, store.Hit, acquire(t, x.store, "late", on("a", "1")).State)
			requireHit(t, x.store, "a2", "kept", on("a", "2"))
			requireHit(t, x.store, "b", "kept", on("b", "1"))

			reports, err = x.guard.Invalidate(ctx, []store.Change{changed("b", row{"1", "1"})})
			require.NoError(t, err)
			require.Len(t, reports, 1)
		})
	}
}

func TestAShortOutageIsWaitedFor(t *testing.T) {
	x := newOutage(t, variant{Mode: store.ConjunctionSets}, store.GuardOptions{RetryFor: time.Minute})
	fill(t, x.store, "a", "old", on("a", "1"))
	x.srv.Pause(t)
	done := make(chan error, 1)
	go func() {
		_, err := x.guard.Invalidate(context.Background(), []store.Change{changed("a", row{"1", "1"})})
		done <- err
	}()
	require.Eventually(t, func() bool { return !x.store.Available() }, 20*time.Second, time.Millisecond, "a try should fail")
	x.srv.Resume(t)
	require.NoError(t, <-done)
	require.Empty(t, x.queued)
	require.Equal(t, store.Leased, acquire(t, x.store, "a", on("a", "1")).State)
}

func TestACancelledCommitStillQueues(t *testing.T) {
	x := newOutage(t, variant{Mode: store.ConjunctionSets}, store.GuardOptions{})
	fill(t, x.store, "a", "old", on("a", "1"))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := x.guard.Invalidate(ctx, []store.Change{changed("a", row{"1", "1"})})
	require.ErrorIs(t, err, store.ErrQueued)
	require.ErrorIs(t, err, context.Canceled)
	x.await(t, "a")
	require.Equal(t, store.Leased, acquire(t, x.store, "a", on("a", "1")).State)
}

func TestEverythingCanBeQueued(t *testing.T) {
	x := newOutage(t, variant{Mode: store.InsideOut}, store.GuardOptions{RetryFor: -1})
	fill(t, x.store, "a", "old", on("a", "1"))
	x.srv.Pause(t)
	require.ErrorIs(t, x.guard.InvalidateAll(t.Context()), store.ErrQueued)
	require.True(t, x.guard.Bypass("a"))
	require.True(t, x.guard.Bypass())
	x.srv.Resume(t)
	x.await(t)
	require.Equal(t, store.Leased, acquire(t, x.store, "a", on("a", "1")).State)
}

func TestACommitDrainsWhatIsQueuedFirst(t *testing.T) {
	x := newOutage(t, variant{Mode: store.ConjunctionSets}, store.GuardOptions{RetryFor: -1})
	fill(t, x.store, "a", "old", on("a", "1"))
	clock := time.Now()
	store.HoldWorker(x.guard, func() time.Time { return clock })
	x.srv.Pause(t)
	_, err := x.guard.Invalidate(t.Context(), []store.Change{changed("a", row{"1", "1"})})
	require.ErrorIs(t, err, store.ErrQueued)
	x.srv.Resume(t)
	require.Eventually(t, func() bool { return x.client.Ping(context.Background()).Err() == nil }, 20*time.Second, time.Millisecond)

	// It was tried just now: commits don't wait for another try.
	_, err = x.guard.Invalidate(t.Context(), []store.Change{changed("b", row{"1", "1"})})
	require.ErrorIs(t, err, store.ErrQueued)
	require.True(t, x.guard.Bypass("b"))

	clock = clock.Add(time.Minute)
	reports, err := x.guard.Invalidate(t.Context(), []store.Change{changed("c", row{"1", "1"})})
	require.NoError(t, err)
	require.Len(t, reports, 1)
	require.False(t, x.guard.Bypass("a", "b", "c"))
	require.Len(t, <-x.drained, 2)
	require.Equal(t, store.Leased, acquire(t, x.store, "a", on("a", "1")).State)
}

func TestCloseDrainsOrNamesWhatIsLeft(t *testing.T) {
	x := newOutage(t, variant{Mode: store.ConjunctionSets}, store.GuardOptions{RetryFor: -1})
	fill(t, x.store, "a", "old", on("a", "1"))
	require.NoError(t, x.guard.Close(t.Context()))
	_, err := x.guard.Invalidate(t.Context(), []store.Change{changed("b", row{"1", "1"})})
	require.NoError(t, err, "it still invalidates after Close")

	x.srv.Pause(t)
	_, err = x.guard.Invalidate(t.Context(), []store.Change{changed("a", row{"1", "1"})})
	require.ErrorIs(t, err, store.ErrClosed)
	require.NotErrorIs(t, err, store.ErrQueued, "nobody will carry it out")
	require.True(t, x.guard.Bypass("a"))
	err = x.guard.Close(t.Context())
	require.ErrorIs(t, err, store.ErrClosed)
	require.ErrorContains(t, err, "left for a:")

	x.srv.Resume(t)
	require.Eventually(t, func() bool { return x.guard.Close(context.Background()) == nil }, 20*time.Second, time.Millisecond)
	require.False(t, x.guard.Bypass("a"))
	require.Equal(t, store.Leased, acquire(t, x.store, "a", on("a", "1")).State)
}

func TestCloseEndsTheWorkerOfAServerThatStaysAway(t *testing.T) {
	x := newOutage(t, variant{Mode: store.ConjunctionSets}, store.GuardOptions{RetryFor: -1})
	x.srv.Kill(t)
	_, err := x.guard.Invalidate(t.Context(), []store.Change{changed("a", row{"1", "1"})})
	require.ErrorIs(t, err, store.ErrQueued)
	require.ErrorIs(t, x.guard.Close(t.Context()), store.ErrClosed) // goleak looks after the rest
}

// Writers go on while the server freezes, comes back, dies and restarts. What
// they have invalidated must be gone in the end, and nothing may stay queued.
func TestNoInvalidationIsLostInOutages(t *testing.T) {
	for _, mode := range modes {
		t.Run(mode.String(), func(t *testing.T) {
			t.Parallel()
			x := newOutage(t, mode, store.GuardOptions{RetryFor: 5 * time.Millisecond, MaxPending: 7})
			tables := []string{"a", "b", "c", "d", "e", "f"}
			// Only reads before the outage fill the cache.
			for round := range 3 {
				for _, table := range tables {
					if l := acquire(t, x.store, table, on(table, "1")); l.State == store.Leased {
						save(t, x.store, l.Lease, "old")
					}
				}
				var queued atomic.Int32
				var wg sync.WaitGroup
				x.srv.Pause(t)
				for i, table := range tables {
					wg.Go(func() {
						for j := range 4 {
							change := changed(table, row{"9", "9"})
							if j == i%4 {
								change = changed(table, row{"1", "1"})
							}
							if _, err := x.guard.Invalidate(context.Background(), []store.Change{change}); err != nil {
								queued.Add(1)
								if !x.guard.Bypass(table) && len(x.drained) == 0 {
									t.Errorf("%s was queued and isn't bypassed", table)
								}
							}
						}
					})
				}
				require.Eventually(t, func() bool { return queued.Load() > 0 }, 30*time.Second, time.Millisecond)
				if round == 1 {
					x.srv.Kill(t)
					x.srv.Start(t)
				} else {
					x.srv.Resume(t)
				}
				wg.Wait()
				x.await(t, tables...)
				ctx := t.Context()
				require.Eventually(t, func() bool { return x.client.Ping(ctx).Err() == nil }, 20*time.Second, 10*time.Millisecond)
				for _, table := range tables {
					l, err := x.store.Peek(ctx, entry(table), []store.Dependency{on(table, "1")})
					require.NoError(t, err)
					require.Equal(t, store.Missing, l.State, table)
				}
				require.NoError(t, x.store.InvalidateAll(ctx))
			}
		})
	}
}

// otherClient is a client that the store doesn't know, a wrapped one say.
type otherClient struct{ redis.UniversalClient }

func TestAHungServerDoesNotHoldReads(t *testing.T) {
	t.Parallel()
	for name, wrap := range map[string]func(redis.UniversalClient) redis.UniversalClient{
		"client":         func(c redis.UniversalClient) redis.UniversalClient { return c },
		"another client": func(c redis.UniversalClient) redis.UniversalClient { return otherClient{c} },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			srv := newRealServer(t)
			// The client alone would wait for a minute.
			client := redis.NewClient(&redis.Options{Addr: srv.Addr, ReadTimeout: time.Minute, DialerRetries: 1, PipelinePoolSize: -1})
			t.Cleanup(func() { _ = client.Close() })
			s := backend{client: wrap(client)}.open(t, func(o *store.Options) { o.Timeout = 100 * time.Millisecond })
			require.NoError(t, client.Ping(t.Context()).Err())
			srv.Pause(t)
			_, err := s.Acquire(t.Context(), entry("q"), []store.Dependency{on("a", "1")}, ttl)
			require.ErrorIs(t, err, store.ErrTimeout)
			require.False(t, s.Available())

			ctx, cancel := context.WithCancel(t.Context())
			cancel()
			_, err = s.Acquire(ctx, entry("q"), []store.Dependency{on("a", "1")}, ttl)
			require.ErrorIs(t, err, context.Canceled)
			require.NotErrorIs(t, err, store.ErrTimeout)

			srv.Resume(t)
			require.Eventually(t, func() bool {
				if !s.Available() {
					return false
				}
				_, err := s.Peek(context.Background(), entry("q"), nil)
				return err == nil
			}, 20*time.Second, time.Millisecond)
			require.True(t, s.Available())
			require.True(t, s.Available())
		})
	}
}
