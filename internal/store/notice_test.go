package store_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/cacheplugin/cacheplugin/conj"
	"github.com/cacheplugin/cacheplugin/internal/store"
)

// notices subscribes to those of a store, and returns what waits for the next.
func notices(t *testing.T, b backend, s *store.Store) (next func() store.Notice) {
	t.Helper()
	sub := b.client.Subscribe(t.Context(), s.Channel())
	t.Cleanup(func() { require.NoError(t, sub.Close()) })
	_, err := sub.Receive(t.Context())
	require.NoError(t, err)
	return func() store.Notice {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		m, err := sub.ReceiveMessage(ctx)
		require.NoError(t, err)
		return s.ReadNotice(m.Payload)
	}
}

func TestAnInvalidationTellsWhatItHasDropped(t *testing.T) {
	onEach(t, func(t *testing.T, b backend) {
		s := b.open(t)
		next := notices(t, b, s)
		fill(t, s, "q", "x", on("a", "1"))
		invalidate(t, s, changed("a", row{"1", "1"}))
		require.Equal(t, store.Notice{Table: "a", Keys: []conj.Key{key("a", byGroup, "1")}}, next(), "once, though it was sent twice")

		var ids []conj.Key
		for i := range 101 {
			ids = append(ids, key("a", byID, fmt.Sprint(i)))
		}
		keys := func(n int) store.Change {
			return store.Change{Table: "a", Keys: func([]conj.Scheme) ([]conj.Key, bool) { return ids[:n], true }}
		}
		invalidate(t, s, keys(100))
		require.Equal(t, store.Notice{Table: "a", Keys: ids[:100]}, next())
		invalidate(t, s, keys(101))
		require.Equal(t, store.Notice{Table: "a"}, next(), "too many to be told")
		invalidate(t, s, store.Change{Table: "b"})
		require.Equal(t, store.Notice{Table: "b"}, next())

		_, err := s.Fence(t.Context(), store.NewFenceID(), []store.Change{changed("a", row{"1", "7"})}, time.Minute)
		require.NoError(t, err)
		require.Equal(t, store.Notice{Table: "a", Keys: []conj.Key{key("a", byGroup, "7")}}, next(), "a fence drops as well")
		require.NoError(t, s.InvalidateAll(t.Context()))
		require.Equal(t, store.Notice{}, next())
	})
}

func TestAMessageThatIsNotUnderstoodSaysEverything(t *testing.T) {
	client := redis.NewClient(&redis.Options{})
	defer client.Close()
	s, err := store.New(store.Options{Client: client, Namespace: "ns"})
	require.NoError(t, err)
	table := s.TableName("a")
	for _, message := range []string{"", "k", "k:", "k5", "k99:x", "k-1:x", "kx:y", "t1:x", "x" + fmt.Sprint(len(table)) + ":" + table,
		"k" + fmt.Sprint(len(table)) + ":" + table + "short", "t" + fmt.Sprint(len(table)) + ":" + table + "more"} {
		require.Equal(t, store.Notice{}, s.ReadNotice(message), message)
	}
	require.Equal(t, store.Notice{Table: "a"}, s.ReadNotice("k"+fmt.Sprint(len(table))+":"+table+"~~~~~~~~~~~~~~~~~~~~~~"))
}

// A user who may not publish invalidates all the same.
func TestAUserWithoutTheChannelInvalidates(t *testing.T) {
	t.Parallel()
	for _, mode := range modes {
		b := backend{client: realRedis(t), mode: mode}
		ns := newNamespace()
		s := b.open(t, in(ns))
		fill(t, s, "q", "x", on("a", "1"))
		require.NoError(t, b.client.Do(t.Context(), "ACL", "SETUSER", "silent", "on", "nopass", "~*", "+@all", "resetchannels").Err())
		silent := redis.NewClient(&redis.Options{Addr: b.client.(*redis.Client).Options().Addr, Username: "silent", Password: "any", PipelinePoolSize: -1})
		defer silent.Close()
		require.ErrorContains(t, silent.Publish(t.Context(), s.Channel(), "x").Err(), "NOPERM")
		invalidate(t, backend{client: silent, mode: mode}.open(t, in(ns)), changed("a", row{"1", "1"}))
		requireMiss(t, s, "q", on("a", "1"))
	}
}
