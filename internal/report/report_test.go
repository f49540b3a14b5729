package report

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestEventsAreCountedAndPassedOn(t *testing.T) {
	var seen []Event
	r := New(slog.New(slog.DiscardHandler), func(_ context.Context, e Event) { seen = append(seen, e) })
	ctx := t.Context()
	for _, e := range []Event{
		{Kind: Hit}, {Kind: Hit, Near: true}, {Kind: Hit, Near: true, Validated: true},
		{Kind: Miss}, {Kind: Store}, {Kind: Skip}, {Kind: Repair}, {Kind: Stale}, {Kind: Shadow}, {Kind: Follow},
		{Kind: Invalidate, Dropped: 5}, {Kind: Error, Err: errors.New("away")},
	} {
		r.Event(ctx, e)
	}
	r.CountHit(false, false)
	r.CountRefused()
	r.CountOverflowed()
	r.CountQueued()
	require.Len(t, seen, 12)
	require.Equal(t, Stats{
		Hits: 4, NearHits: 2, NearValidated: 1, Misses: 1, Stores: 1, Skips: 1, Refused: 1, Overflowed: 1,
		Invalidations: 1, Dropped: 5, Queued: 1, Repaired: 1, Followed: 1, ShadowReads: 1, Stale: 1, Errors: 1,
	}, r.Stats())
}

func TestTimeIsMeasuredForThoseWhoListen(t *testing.T) {
	require.Zero(t, Since(New(slog.Default(), nil).Clock()))
	listened := New(slog.Default(), func(context.Context, Event) {})
	require.True(t, listened.Observed())
	require.False(t, listened.Clock().IsZero())
}

func TestOneMessageOfAKindInAWhile(t *testing.T) {
	var log bytes.Buffer
	r := New(slog.New(slog.NewTextHandler(&log, nil)), nil)
	ctx := t.Context()
	for range 3 {
		r.Warn(ctx, "kind a", "again and again")
		r.Failed(ctx, "could not", "users", errors.New("away"))
		r.WarnOnce(ctx, "kind b", "only once")
		r.WarnAlways(ctx, "always")
	}
	for message, times := range map[string]int{"again and again": 1, "could not": 1, "only once": 1, "always": 3} {
		require.Equal(t, times, strings.Count(log.String(), message), message)
	}
	require.EqualValues(t, 3, r.Stats().Errors, "but each is counted")
}
