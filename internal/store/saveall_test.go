package store_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cacheplugin/cacheplugin/conj"
	"github.com/cacheplugin/cacheplugin/internal/store"
)

func TestSaveAllStoresEachResultByItself(t *testing.T) {
	onEach(t, func(t *testing.T, b backend) {
		s := b.open(t)
		var savings []store.Saving
		for i := range 20 {
			savings = append(savings, store.Saving{Lease: lease(t, s, fmt.Sprint(i), on("a", fmt.Sprint(i))), Payload: []byte(fmt.Sprint(i)), TTL: ttl})
		}
		joined := []store.Dependency{on("a", "20"), joinedTo("b")}
		savings = append(savings, store.Saving{Lease: lease(t, s, "20", joined...), Payload: []byte("20"), TTL: ttl, Joined: [][]conj.Key{ids("b", "7")}})
		wrong := store.Saving{Lease: lease(t, s, "wrong", joined...), TTL: ttl}
		savings = append(savings, wrong)
		given := lease(t, s, "given", on("a", "given"))
		invalidate(t, s, changed("a", row{"x", "3"}))

		saved, err := s.SaveAll(t.Context(), savings, []store.Lease{given, wrong.Lease})
		require.NoError(t, err)
		require.Len(t, saved, len(savings))
		for i := range 20 {
			require.NoError(t, saved[i].Err)
			if i == 3 { // its lease was dropped, or vouches for nothing
				requireMiss(t, s, "3", on("a", "3"))
				continue
			}
			require.True(t, saved[i].Stored)
			requireHit(t, s, fmt.Sprint(i), fmt.Sprint(i), on("a", fmt.Sprint(i)))
		}
		require.True(t, saved[20].Stored)
		requireHit(t, s, "20", "20", joined...)
		require.ErrorIs(t, saved[21].Err, store.ErrJoined)
		lease(t, s, "given", on("a", "given")) // nobody has it any more
		lease(t, s, "wrong", joined...)
		invalidate(t, s, changed("b", row{"7", "1"}))
		requireMiss(t, s, "20", joined...)
	})
}

func TestSaveAllSaysOfEachResultThatTheServerIsGone(t *testing.T) {
	onEach(t, func(t *testing.T, b backend) {
		s := b.open(t)
		one := store.Saving{Lease: lease(t, s, "1", on("a", "1")), TTL: ttl}
		two := store.Saving{Lease: lease(t, s, "2", on("a", "2")), TTL: ttl}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		saved, err := s.SaveAll(ctx, []store.Saving{one, two}, []store.Lease{one.Lease})
		require.ErrorIs(t, err, context.Canceled)
		for _, each := range saved {
			require.ErrorIs(t, each.Err, context.Canceled)
			require.False(t, each.Stored)
		}
		saved, err = s.SaveAll(t.Context(), nil, nil)
		require.NoError(t, err)
		require.Empty(t, saved)
	})
}
