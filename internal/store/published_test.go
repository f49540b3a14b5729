package store_test

import (
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/cacheplugin/cacheplugin/internal/store"
)

func TestWhatIsPublishedIsReadUntilItExpires(t *testing.T) {
	client := newRealServer(t).Client(t)
	s, err := store.New(store.Options{Client: client, Namespace: "shop", Timeout: time.Minute})
	require.NoError(t, err)
	all, err := s.Published(t.Context())
	require.NoError(t, err)
	require.Empty(t, all)

	require.NoError(t, s.Publish(t.Context(), "a", []byte("1"), time.Hour))
	require.NoError(t, s.Publish(t.Context(), "a", []byte("2"), time.Hour))
	require.NoError(t, s.Publish(t.Context(), "b", []byte("3"), time.Hour))
	all, err = s.Published(t.Context())
	require.NoError(t, err)
	require.Equal(t, map[string][]byte{"a": []byte("2"), "b": []byte("3")}, all)
	for _, key := range []string{"{shop}p", "{shop}p:a"} {
		require.Positive(t, client.PTTL(t.Context(), key).Val(), key)
	}

	require.NoError(t, client.Del(t.Context(), "{shop}p:a").Err()) // as it expires
	all, err = s.Published(t.Context())
	require.NoError(t, err)
	require.Equal(t, map[string][]byte{"b": []byte("3")}, all)
	require.Equal(t, []string{"b"}, client.HKeys(t.Context(), "{shop}p").Val(), "its name is forgotten")

	require.NoError(t, s.InvalidateAll(t.Context()))
	all, err = s.Published(t.Context())
	require.NoError(t, err)
	require.Len(t, all, 1, "it is not cached")

	other, err := store.New(store.Options{Client: client, Namespace: "shop2", Timeout: time.Minute})
	require.NoError(t, err)
	all, err = other.Published(t.Context())
	require.NoError(t, err)
	require.Empty(t, all)
	gone := redis.NewClient(&redis.Options{Addr: "localhost:1", MaxRetries: -1, DialerRetries: 1})
	defer gone.Close()
	s, err = store.New(store.Options{Client: gone, Namespace: "shop"})
	require.NoError(t, err)
	_, err = s.Published(t.Context())
	require.ErrorContains(t, err, "read what was published")
	require.ErrorContains(t, s.Publish(t.Context(), "a", nil, time.Hour), "publish")
}
