package store

import (
	"context"
	"errors"
	"fmt"
)

// bounded calls f and returns when it does, when ctx ends, or after
// Options.Timeout, whichever is first. go-redis by default heeds neither
// deadlines nor cancellation while it waits for a reply, and retries on top of
// its own timeouts, so a server that hangs would hold a query for many
// seconds. f therefore runs on a goroutine of its own, which ends when go-redis
// gives up; what it then returns is dropped. A call of the protocol that takes
// effect late does no harm.
func bounded[T any](ctx context.Context, s *Store, f func(context.Context) (T, error)) (T, error) {
	type outcome struct {
		value T
		err   error
	}
	limited, cancel := context.WithTimeoutCause(ctx, s.timeout, ErrTimeout)
	defer cancel()
	done := make(chan outcome, 1)
	go func() {
		value, err := f(limited)
		done <- outcome{value, err}
	}()

	var o outcome
	select {
	case o = <-done:
	case <-limited.Done():
		o.err = limited.Err()
	}
	if o.err != nil && errors.Is(context.Cause(limited), ErrTimeout) && ctx.Err() == nil {
		o.err = fmt.Errorf("%w (%v): %w", ErrTimeout, s.timeout, o.err)
	}
	// The caller's own haste says nothing about the server.
	if ctx.Err() == nil {
		s.breaker.observe(o.err)
	}
	return o.value, o.err
}
