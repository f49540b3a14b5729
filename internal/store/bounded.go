package store

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/redis/go-redis/v9"
)

// bounded calls f and returns when it does, when ctx ends, or after
// Options.Timeout, whichever is first. go-redis by default heeds neither
// deadlines nor cancellation while it waits for a reply, and retries on top of
// its own timeouts, so a server that hangs would hold a query for many
// seconds. f therefore runs on a goroutine of its own, which ends when go-redis
// gives up; what it then returns is dropped. A call of the protocol that takes
// effect late does no harm.
func bounded[T any](ctx context.Context, s *Store, f func(context.Context, redis.UniversalClient) (T, error)) (T, error) {
	type outcome struct {
		value T
		err   error
	}
	limited, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	done := make(chan outcome, 1)
	go func() {
		value, err := f(limited, s.client)
		done <- outcome{value, err}
	}()

	var o outcome
	select {
	case o = <-done:
	case <-limited.Done():
		o.err = limited.Err()
	}
	return o.value, s.observe(ctx, o.err)
}

// direct is bounded for the calls of a read, whose cost counts on every hit:
// handing a call to another goroutine takes several microseconds. Where the
// client can be had with our timeout, f runs on the caller's goroutine. Then a
// server that hangs holds the caller for Timeout, or for a small multiple of
// it if a connection must be opened first, even when ctx is cancelled.
func direct[T any](ctx context.Context, s *Store, f func(context.Context, redis.UniversalClient) (T, error)) (T, error) {
	if s.direct == nil {
		return bounded(ctx, s, f)
	}
	if err := ctx.Err(); err != nil {
		var none T
		return none, err
	}
	value, err := f(s.deadlines.begin(ctx), s.direct)
	return value, s.observe(ctx, err)
}

// withTimeout returns the client with timeouts of at most d, or nil for a
// client that can't be had so. Connections are shared; hooks are not called.
func withTimeout(client redis.UniversalClient, d time.Duration) redis.UniversalClient {
	c, ok := client.(*redis.Client)
	if !ok {
		return nil
	}
	if own := c.Options().ReadTimeout; own > 0 {
		d = min(d, own)
	}
	return c.WithTimeout(d)
}

// observe tells the breaker of a call's outcome and names our own timeout.
func (s *Store) observe(ctx context.Context, err error) error {
	if err == nil {
		s.breaker.observe(nil)
		return nil
	}
	// The caller's own haste says nothing about the server.
	if ctx.Err() != nil {
		if !errors.Is(err, ctx.Err()) {
			err = fmt.Errorf("%w: %w", ctx.Err(), err)
		}
		return err
	}
	var netErr net.Error
	if errors.As(err, &netErr) && netErr.Timeout() {
		err = fmt.Errorf("%w (%v): %w", ErrTimeout, s.timeout, err)
	}
	s.breaker.observe(err)
	if cluster, ok := s.client.(*redis.ClusterClient); ok && unreachable(err) {
		// A master that is gone tells nobody who has taken over. go-redis itself
		// would not ask for ClusterStateReloadInterval, a minute by default.
		cluster.ReloadState(ctx)
	}
	return err
}
