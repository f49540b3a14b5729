package store_test

import (
	"context"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/cacheplugin/cacheplugin/internal/store"
)

func TestDeadlineEndsByItself(t *testing.T) {
	d := store.NewDeadlines(time.Millisecond)
	ctx := d.Begin(t.Context())
	at, ok := ctx.Deadline()
	require.True(t, ok)
	<-ctx.Done()
	require.False(t, time.Now().Before(at))
	require.ErrorIs(t, ctx.Err(), context.DeadlineExceeded)
}

func TestDeadlineIsKnownBeforeItsAlarm(t *testing.T) {
	d := store.NewDeadlines(50 * time.Millisecond)
	d.Begin(t.Context())
	ctx := d.Begin(t.Context())
	begun := ctx.Done()
	at, _ := ctx.Deadline()
	require.Eventually(t, func() bool { return !time.Now().Before(at) }, 10*time.Second, time.Microsecond)
	select {
	case <-ctx.Done():
	default:
		t.Fatal("whoever would try again now must be kept from it")
	}
	require.ErrorIs(t, ctx.Err(), context.DeadlineExceeded)
	<-begun
}

func TestDeadlinesShareAnAlarm(t *testing.T) {
	d := store.NewDeadlines(time.Hour)
	first, second := d.Begin(t.Context()), d.Begin(t.Context())
	require.Equal(t, first.Done(), second.Done())
	require.NoError(t, first.Err())
}

func TestDeadlineFollowsTheCaller(t *testing.T) {
	type key struct{}
	d := store.NewDeadlines(time.Hour)
	caller, cancel := context.WithCancel(context.WithValue(t.Context(), key{}, "v"))
	ctx := d.Begin(caller)
	require.Equal(t, "v", ctx.Value(key{}))
	cancel()
	require.ErrorIs(t, ctx.Err(), context.Canceled)

	earlier, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	require.Equal(t, earlier, d.Begin(earlier))
}

func TestAnExhaustedPoolDoesNotHoldReads(t *testing.T) {
	t.Parallel()
	srv := newRealServer(t)
	client := redis.NewClient(&redis.Options{Addr: srv.Addr, PoolSize: 1, PoolTimeout: time.Hour, PipelinePoolSize: -1})
	t.Cleanup(func() { _ = client.Close() })
	s := backend{client: client}.open(t, func(o *store.Options) { o.Timeout = 50 * time.Millisecond })
	held := client.Conn()
	require.NoError(t, held.Ping(t.Context()).Err())
	_, err := s.Acquire(t.Context(), entry("q"), []store.Dependency{on("a", "1")}, ttl)
	require.ErrorIs(t, err, store.ErrTimeout)

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = s.Acquire(ctx, entry("q"), []store.Dependency{on("a", "1")}, ttl)
	require.ErrorIs(t, err, context.Canceled)
	require.NoError(t, held.Close())
}
