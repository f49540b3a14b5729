package store

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/cacheplugin/cacheplugin/internal/background"
)

// Follower is told what is dropped in a namespace, by one goroutine.
type Follower interface {
	// Apply is told of a notice.
	Apply(Notice)
	// Demote is told that notices may have been missed: at the beginning, and
	// after the connection was lost. None is missed from the call on until
	// the connection is lost again.
	Demote()
}

// ListenerOptions configure a Listener. The zero value is fine.
type ListenerOptions struct {
	// Ping is the time without a message after which the server is asked whether
	// it is there; as long again without an answer, and it counts as lost.
	// Defaults to 5 seconds.
	Ping time.Duration

	// OnError is called when the connection is lost or can't be made; it is tried
	// again after a pause.
	OnError func(error)
}

// DefaultPing is the default of ListenerOptions.Ping.
const DefaultPing = 5 * time.Second

// Listener receives the notices of all namespaces that begin alike, through one
// connection besides those of the client. Redis keeps no messages for those who
// are away, so that a follower must do without as well.
//
// It is safe for concurrent use and must be closed.
type Listener struct {
	client  redis.UniversalClient
	pattern string // of the channels
	o       ListenerOptions

	group background.Group

	mu        sync.Mutex
	followed  map[string]following // by channel
	listening bool
}

type following struct {
	store    *Store
	follower Follower
}

// NewListener returns a Listener for namespaces that begin with a prefix. It
// starts no goroutine and makes no connection before there is one to follow.
func NewListener(client redis.UniversalClient, prefix string, o ListenerOptions) *Listener {
	if o.Ping <= 0 {
		o.Ping = DefaultPing
	}
	if o.OnError == nil {
		o.OnError = func(error) {}
	}
	return &Listener{client: client, pattern: noticePattern(prefix), o: o, followed: map[string]following{}}
}

// noticePattern matches the channels of all namespaces that begin with a prefix.
func noticePattern(prefix string) string { return escapeGlob("{"+prefix) + "*e:" }

// Follow has a follower told of a store's namespace, which has one at most. It
// does not wait for the connection.
func (l *Listener) Follow(s *Store, f Follower) {
	l.mu.Lock()
	channel := s.Channel()
	_, twice := l.followed[channel]
	if twice || l.group.Closing().Err() != nil {
		l.mu.Unlock()
		return
	}
	l.followed[channel] = following{s, f}
	if !l.listening {
		l.listening = l.group.Go(l.listen)
	}
	l.mu.Unlock()
	f.Demote() // until now its notices went to nobody
}

const (
	listenPauseMin = 50 * time.Millisecond
	listenPauseMax = 5 * time.Second
)

// listen goes from one connection to the next.
func (l *Listener) listen(ctx context.Context) {
	for pause := listenPauseMin; ; pause = min(2*pause, listenPauseMax) {
		heard, err := l.connect(ctx)
		if ctx.Err() != nil {
			return
		}
		l.o.OnError(fmt.Errorf("store: listen: %w", err))
		if heard {
			pause = listenPauseMin
		}
		if background.Sleep(ctx, pause) != nil {
			return
		}
	}
}

// errSilent is the end of a connection that looks as if it were there.
var errSilent = errors.New("redis does not answer on the connection of notices")

// connect follows all namespaces until the connection is lost. It reports whether
// it was ever there. The client would mend a connection by itself; but then
// nobody could tell what was missed.
func (l *Listener) connect(ctx context.Context) (heard bool, err error) {
	sub := l.client.PSubscribe(ctx, l.pattern) // it is sent by the first Receive if it can't be sent now
	defer func() { _ = sub.Close() }()
	// Closing it ends a Receive that is under way.
	defer context.AfterFunc(ctx, func() { _ = sub.Close() })()
	silent := false
	for {
		m, err := sub.ReceiveTimeout(ctx, l.o.Ping)
		var timeout net.Error
		if errors.As(err, &timeout) && timeout.Timeout() && !silent {
			silent = true
			if err := sub.Ping(ctx); err != nil {
				return heard, err
			}
			continue
		}
		if err != nil {
			if silent {
				err = fmt.Errorf("%w: %w", errSilent, err)
			}
			return heard, err
		}
		heard, silent = true, false
		switch m := m.(type) {
		case *redis.Subscription:
			for _, f := range l.all() {
				f.follower.Demote()
			}
		case *redis.Message:
			if f, ok := l.following(m.Channel); ok {
				f.follower.Apply(f.store.ReadNotice(m.Payload))
			}
		}
	}
}

func (l *Listener) following(channel string) (following, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	f, ok := l.followed[channel]
	return f, ok
}

func (l *Listener) all() []following {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Collect(maps.Values(l.followed))
}

// Close ends the connection and the goroutine, as long as the context allows.
func (l *Listener) Close(ctx context.Context) error {
	if err := l.group.Close(ctx); err != nil {
		return fmt.Errorf("store: close the listener: %w", err)
	}
	return nil
}
