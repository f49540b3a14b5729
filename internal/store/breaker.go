package store

import (
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
)

// The pauses between looks at a server that can't be reached.
const (
	minPause = 100 * time.Millisecond
	maxPause = 2 * time.Second
)

// breaker remembers that Redis can't be reached, so that not every read has to
// find out by a timeout. While it is open one caller at a time is let through.
type breaker struct {
	now   func() time.Time
	probe time.Duration // how long the one that is let through may take

	open  atomic.Bool // the rest is looked at only while open
	mu    sync.Mutex
	pause time.Duration
	until time.Time
	tried bool // someone was let through since the last failure
}

// allow reports whether a call is worth trying. It is true for one caller
// after each pause, which is to make a call then.
func (b *breaker) allow() bool {
	if !b.open.Load() {
		return true
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	now := b.now()
	if !b.open.Load() {
		return true
	}
	if now.Before(b.until) {
		return false
	}
	// A prober that never reports back must not shut the door for good.
	b.until = now.Add(max(b.probe, b.pause))
	b.tried = true
	return true
}

// observe learns from the outcome of a call.
func (b *breaker) observe(err error) {
	if !unreachable(err) {
		// Any answer at all, an error too, says that the server is there.
		if b.open.Load() && (err == nil || isAnswer(err)) {
			b.mu.Lock()
			b.open.Store(false)
			b.pause, b.tried = 0, false
			b.mu.Unlock()
		}
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	// Calls that were under way together count as one failure.
	if !b.open.Load() || b.tried {
		b.pause = min(max(2*b.pause, minPause), maxPause)
	}
	b.until = b.now().Add(b.pause)
	b.tried = false
	b.open.Store(true)
}

func isAnswer(err error) bool {
	var answer redis.Error
	return errors.As(err, &answer)
}

// unreachable reports whether an error says that no answer is to be had from
// the server, rather than being an answer.
func unreachable(err error) bool {
	if err == nil {
		return false
	}
	var netErr net.Error
	if errors.As(err, &netErr) || errors.Is(err, ErrTimeout) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) ||
		errors.Is(err, redis.ErrClosed) || errors.Is(err, redis.ErrPoolTimeout) || errors.Is(err, redis.ErrPoolExhausted) {
		return true
	}
	var answer redis.Error
	if !errors.As(err, &answer) {
		return false
	}
	for _, prefix := range []string{"LOADING", "MASTERDOWN", "CLUSTERDOWN", "TRYAGAIN", "BUSY", "READONLY"} {
		if redis.HasErrorPrefix(err, prefix) {
			return true
		}
	}
	return false
}

// moving reports whether a cluster has refused a call because the slot of its
// keys is just moving to another node and some keys are here, some there.
func moving(err error) bool {
	return redis.HasErrorPrefix(err, "TRYAGAIN") || err != nil && strings.Contains(err.Error(), "access a non local key")
}
