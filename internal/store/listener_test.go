package store_test

import (
	"context"
	"errors"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/cacheplugin/cacheplugin/conj"
	"github.com/cacheplugin/cacheplugin/internal/store"
)

// told is a Follower that passes on what it is told; an empty pointer for Demote.
type told chan *store.Notice

func (c told) Apply(n store.Notice) { c <- &n }
func (c told) Demote()              { c <- nil }

func (c told) next(t *testing.T) *store.Notice {
	t.Helper()
	select {
	case n := <-c:
		return n
	case <-time.After(30 * time.Second):
		require.Fail(t, "nothing was told")
		return nil
	}
}

func closeListener(t *testing.T, l *store.Listener) {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	require.NoError(t, l.Close(ctx))
}

func TestFollowersAreToldOfTheirNamespaces(t *testing.T) {
	onEach(t, func(t *testing.T, b backend) {
		prefix := "listened*[" + newNamespace()
		one, two, other := b.open(t, in(prefix)), b.open(t, in(prefix+":two")), b.open(t, in("other"+prefix))
		l := store.NewListener(b.client, prefix, store.ListenerOptions{})
		defer closeListener(t, l)
		first, second := make(told, 600), make(told, 600)
		l.Follow(one, first)
		require.Nil(t, first.next(t), "what was before is not known")
		require.Nil(t, first.next(t), "the connection is there")
		l.Follow(two, second)
		l.Follow(two, second)
		require.Nil(t, second.next(t))

		change := changed("a", row{"1", "1"})
		fill(t, one, "q", "x", on("a", "1"))
		invalidate(t, other, change)
		invalidate(t, one, change)
		require.Equal(t, &store.Notice{Table: "a", Keys: []conj.Key{key("a", byGroup, "1")}}, first.next(t))
		require.NoError(t, two.InvalidateAll(t.Context()))
		require.Equal(t, &store.Notice{}, second.next(t))
		require.Empty(t, first)
	})
}

// gate is a dialer that can be closed to new connections.
type gate struct{ shut atomic.Bool }

func (g *gate) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	if g.shut.Load() {
		return nil, errors.New("the gate is shut")
	}
	return new(net.Dialer).DialContext(ctx, network, addr)
}

func TestAFollowerIsToldThatItMayHaveMissedSomething(t *testing.T) {
	t.Parallel()
	srv := newRealServer(t) // all of whose subscriptions are ended
	own := srv.Client(t)
	var g gate
	client := redis.NewClient(&redis.Options{Addr: srv.Addr, Dialer: g.dial})
	defer client.Close()
	ns := newNamespace()
	s := backend{client: own}.open(t, in(ns))
	failed := make(chan error, 100)
	l := store.NewListener(client, ns, store.ListenerOptions{OnError: func(err error) { failed <- err }})
	defer closeListener(t, l)
	f := make(told, 10)
	l.Follow(s, f)
	require.Nil(t, f.next(t))
	require.Nil(t, f.next(t))

	g.shut.Store(true)
	killed, err := own.Do(t.Context(), "CLIENT", "KILL", "TYPE", "pubsub").Int()
	require.NoError(t, err)
	require.Positive(t, killed)
	require.Error(t, <-failed)
	invalidate(t, s, store.Change{Table: "missed"})
	g.shut.Store(false)
	require.Nil(t, f.next(t), "it is back")
	invalidate(t, s, store.Change{Table: "a"})
	require.Equal(t, &store.Notice{Table: "a"}, f.next(t))
}

// A server that no longer answers is found out though its connection stands.
func TestASilentConnectionIsGivenUp(t *testing.T) {
	t.Parallel()
	shared := realRedis(t)
	var deaf atomic.Bool
	client := redis.NewClient(&redis.Options{Addr: shared.(*redis.Client).Options().Addr, Dialer: func(ctx context.Context, network, addr string) (net.Conn, error) {
		conn, err := new(net.Dialer).DialContext(ctx, network, addr)
		return &mutedConn{conn, &deaf}, err
	}})
	defer client.Close()
	ns := newNamespace()
	s := backend{client: shared}.open(t, in(ns))
	failed := make(chan error, 100)
	l := store.NewListener(client, ns, store.ListenerOptions{Ping: 20 * time.Millisecond, OnError: func(err error) { failed <- err }})
	defer closeListener(t, l)
	f := make(told, 10)
	l.Follow(s, f)
	require.Nil(t, f.next(t))
	require.Nil(t, f.next(t))
	deaf.Store(true)
	require.Error(t, <-failed)
	deaf.Store(false)
	require.Nil(t, f.next(t))
}

// mutedConn sends nothing as long as it is deaf, and says that it has.
type mutedConn struct {
	net.Conn
	deaf *atomic.Bool
}

func (c *mutedConn) Write(b []byte) (int, error) {
	if c.deaf.Load() {
		return len(b), nil
	}
	return c.Conn.Write(b)
}

func TestAListenerOfNothingNeedsNoServer(t *testing.T) {
	client := redis.NewClient(&redis.Options{Addr: "127.0.0.1:1"})
	defer client.Close()
	l := store.NewListener(client, "x", store.ListenerOptions{})
	closeListener(t, l)
	closeListener(t, l)
}
