package store_test

import (
	"context"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/cacheplugin/cacheplugin/store"
)

func TestIdentifiedNeedsOneServer(t *testing.T) {
	cluster := redis.NewClusterClient(&redis.ClusterOptions{Addrs: []string{"localhost:1"}})
	defer cluster.Close()
	_, err := store.NewIdentified(cluster, time.Second)
	require.ErrorIs(t, err, store.ErrConfig)
	require.ErrorContains(t, err, "*redis.ClusterClient")

	single := redis.NewClient(&redis.Options{Addr: "localhost:1"})
	defer single.Close()
	_, err = store.New(store.Options{Client: single, Mode: store.InsideOut, Spread: true, Identified: identified(t, single, time.Second)})
	require.ErrorIs(t, err, store.ErrConfig)
	require.ErrorContains(t, err, "Spread")
}

// Of two that are asked at the same time it can't be told which is newer.
func TestAnIdentityReplacesOnlyWhatWasNotedBeforeItWasAskedFor(t *testing.T) {
	client := redis.NewClient(&redis.Options{Addr: "localhost:1"})
	defer client.Close()
	d := identified(t, client, time.Second)
	none := store.See(d)
	require.Empty(t, none.ID())
	require.NoError(t, store.Note(d, none, "a"))
	require.NoError(t, store.Note(d, none, "a"), "another connection to the same server")
	require.Error(t, store.Note(d, none, "b"), "it was asked before a was noted")
	require.Equal(t, "a", store.See(d).ID())

	a := store.See(d)
	require.NoError(t, store.Note(d, a, "b"))
	require.Error(t, store.Note(d, a, "a"), "asked before b was noted, it may be the older one")
	require.Error(t, store.Note(d, store.See(d), "a"), "a master that was replaced and lives on")
	require.Equal(t, "b", store.See(d).ID())

	// A server that hides its identity for a while is the same one afterwards.
	require.NoError(t, store.Note(d, store.See(d), "none"))
	require.NoError(t, store.Note(d, store.See(d), "b"))
	require.Equal(t, "b", store.See(d).ID())
}

func TestAConnectionTellsItsServersIdentityBeforeItIsUsed(t *testing.T) {
	ctx := t.Context()
	srv := newRealServer(t)
	client := srv.Client(t)
	connected := 0
	own := redis.NewClient(&redis.Options{Addr: srv.Addr, OnConnect: func(context.Context, *redis.Conn) error { connected++; return nil }})
	defer own.Close()
	d := identified(t, own, time.Second)
	s := backend{client: own, mode: variant{Mode: store.InsideOut, identified: true}, reads: d}.open(t)

	_, err := s.Peek(ctx, entry("q"), []store.Dependency{on("a", "1")})
	require.NoError(t, err)
	require.Equal(t, 1, connected, "the caller's own OnConnect")
	first := store.See(d).ID()
	require.Equal(t, redisField(client.Info(ctx, "replication").Val(), "master_replid"), first)

	srv.Kill(t)
	srv.Start(t)
	require.Eventually(t, func() bool {
		_, err := s.Peek(ctx, entry("q"), []store.Dependency{on("a", "1")})
		return err == nil
	}, 20*time.Second, 10*time.Millisecond)
	require.Equal(t, redisField(client.Info(ctx, "replication").Val(), "master_replid"), store.See(d).ID())
	require.NotEqual(t, first, store.See(d).ID())
}

func TestAnEmbeddedServerHasNoIdentity(t *testing.T) {
	client := redis.NewClient(&redis.Options{Addr: miniredis.RunT(t).Addr()})
	defer client.Close()
	d := identified(t, client, time.Second)
	s := backend{client: client, mode: variant{Mode: store.InsideOut, identified: true}, reads: d}.open(t)
	fill(t, s, "q", "x", on("a", "1"))
	requireHit(t, s, "q", "x", on("a", "1"))
	require.Equal(t, "none", store.See(d).ID())
}

// A master takes another identity without a restart when its first replica
// attaches.
func TestAServerThatTakesAnotherIdentityIsAskedAgain(t *testing.T) {
	ctx := t.Context()
	for _, mode := range []store.Mode{store.ConjunctionSets, store.InsideOut} {
		t.Run(mode.String(), func(t *testing.T) {
			srv := newRealServer(t)
			client := srv.Client(t)
			ns := newNamespace()
			b := backend{client: client, mode: variant{Mode: mode, identified: true}, reads: identified(t, client, 10*time.Second)}
			s := b.open(t, in(ns))
			deps := []store.Dependency{on("a", "1")}
			fill(t, s, "q", "old", deps...)
			requireHit(t, s, "q", "old", deps...)
			before := store.See(b.reads).ID()

			replica := newRealServer(t)
			replica.ReplicaOf(t, srv)
			now := redisField(client.Info(ctx, "replication").Val(), "master_replid")
			require.NotEqual(t, before, now)

			// Another process is told, and begins anew.
			fill(t, backend{client: client, mode: variant{Mode: mode}}.open(t, in(ns)), "q", "new", deps...)
			requireHit(t, s, "q", "new", deps...)
			require.Equal(t, now, store.See(b.reads).ID())
		})
	}
}

func TestAReplicaAnswersNoLookUp(t *testing.T) {
	ctx := t.Context()
	for _, mode := range modes {
		t.Run(mode.String(), func(t *testing.T) {
			srv, other := newRealServer(t), newRealServer(t)
			client := srv.Client(t)
			s := backend{client: client, mode: mode}.open(t)
			deps := []store.Dependency{on("a", "1")}
			fill(t, s, "q", "old", deps...)
			requireHit(t, s, "q", "old", deps...)

			// It is demoted and keeps its connections, and all that it has until it
			// finds its master.
			host, port := splitAddr(t, other.Addr)
			other.Kill(t)
			require.NoError(t, client.Do(ctx, "REPLICAOF", host, port).Err())
			text, err := client.Get(ctx, s.EntryName(entry("q"))).Result()
			require.NoError(t, err)
			require.Contains(t, text, "old")
			_, err = s.Acquire(ctx, entry("q"), deps, ttl)
			require.Error(t, err)
			_, err = s.Peek(ctx, entry("q"), deps)
			require.Error(t, err)
		})
	}
}
