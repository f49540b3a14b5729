package lookup

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cacheplugin/cacheplugin/internal/store"
)

func TestOfThoseWhoWaitForAFlightOneAsksRedisAtATime(t *testing.T) {
	const crowd = 20
	fs := newFlights()
	lease := store.Lease{ID: "a"}
	fs.begin(lease)
	one := fs.find(lease)
	ctx, cancel := context.WithCancel(t.Context())
	turns := make(chan waited, crowd)
	for range crowd {
		go func() { turns <- one.await(ctx, nil, time.Millisecond) }()
	}

	require.Equal(t, ask, <-turns)
	require.Empty(t, one.scout, "the right is taken")
	require.Empty(t, turns)
	one.handOver()
	require.Equal(t, ask, <-turns, "another one's turn")
	require.Empty(t, turns)

	fs.land(lease, []byte("result"))
	for range crowd - 2 {
		require.Equal(t, landed, <-turns)
	}
	require.Equal(t, landed, fs.find(lease).await(ctx, nil, time.Hour), "who comes before it is stored")
	fs.end(lease)
	require.Nil(t, fs.find(lease))
	fs.land(lease, nil) // a second landing, of a lease that was given up
	cancel()
	require.Equal(t, "result", string(one.payload))
}

func TestAScoutWhoseContextEndsHandsOver(t *testing.T) {
	fs := newFlights()
	lease := store.Lease{ID: "a"}
	fs.begin(lease)
	one := fs.find(lease)
	ctx, cancel := context.WithCancel(t.Context())
	first := make(chan waited)
	go func() { first <- one.await(ctx, nil, time.Hour) }()
	require.Eventually(t, func() bool { return len(one.scout) == 0 }, time.Minute, time.Millisecond)
	cancel()
	require.Equal(t, ended, <-first)
	require.Equal(t, ask, one.await(t.Context(), nil, time.Millisecond))

	over := make(chan time.Time, 1)
	over <- time.Time{}
	require.Equal(t, ended, one.await(t.Context(), over, time.Hour), "LockWait is over while another one is the scout")
}
