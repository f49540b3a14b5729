package background_test

import (
	"context"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/cacheplugin/cacheplugin/internal/background"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// start is one way to start work in a group.
type start func(g *background.Group, f func(ctx context.Context)) bool

var ways = map[string]start{
	"go":     (*background.Group).Go,
	"finish": (*background.Group).Finish,
	"after": func(g *background.Group, f func(ctx context.Context)) bool {
		return g.After(time.Hour, f)
	},
}

func TestGroup(t *testing.T) {
	for name, start := range ways {
		t.Run(name+"/is_waited_for", func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var g background.Group
				var ended atomic.Bool
				require.True(t, start(&g, func(context.Context) {
					time.Sleep(time.Minute)
					ended.Store(true)
				}))
				require.NoError(t, g.Close(t.Context()))
				require.True(t, ended.Load())
			})
		})
		t.Run(name+"/is_cancelled_when_the_wait_is_over", func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var g background.Group
				cancelled := make(chan struct{})
				require.True(t, start(&g, func(ctx context.Context) {
					<-ctx.Done()
					time.Sleep(time.Minute)
					close(cancelled)
				}))
				ctx, cancel := context.WithTimeout(t.Context(), time.Second)
				defer cancel()
				require.ErrorIs(t, g.Close(ctx), context.DeadlineExceeded)
				<-cancelled
				require.NoError(t, g.Close(t.Context()), "what was left has ended")
			})
		})
		t.Run(name+"/is_refused_after_close", func(t *testing.T) {
			var g background.Group
			require.NoError(t, g.Close(t.Context()))
			require.False(t, start(&g, func(context.Context) { t.Error("it was started") }))
			require.NoError(t, g.Close(t.Context()), "once more")
		})
		t.Run(name+"/is_refused_while_close_waits", func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var g background.Group
				var refused bool
				require.True(t, start(&g, func(context.Context) {
					<-g.Closing().Done()
					refused = !start(&g, func(context.Context) {})
				}))
				require.NoError(t, g.Close(t.Context()))
				require.True(t, refused)
			})
		})
	}
}

func TestGroup_Close(t *testing.T) {
	t.Run("cancels_what_can_end_at_any_time", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			var g background.Group
			require.True(t, g.Go(func(ctx context.Context) { <-ctx.Done() }))
			require.NoError(t, g.Close(t.Context()))
		})
	})
	t.Run("lets_what_must_be_done_go_on", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			var g background.Group
			var during error
			require.True(t, g.Finish(func(ctx context.Context) {
				<-g.Closing().Done()
				time.Sleep(time.Minute)
				during = ctx.Err()
			}))
			require.NoError(t, g.Close(t.Context()))
			require.NoError(t, during)
		})
	})
	t.Run("with_a_context_that_has_ended", func(t *testing.T) {
		ended, cancel := context.WithCancel(t.Context())
		cancel()
		var g background.Group
		require.NoError(t, g.Close(ended), "nothing ran")
	})
}

func TestGroup_After(t *testing.T) {
	for name, c := range map[string]struct {
		closeAfter time.Duration
		at         time.Duration
	}{
		"runs_when_the_time_is_over": {closeAfter: 3 * time.Minute, at: time.Minute},
		"runs_at_once_at_close":      {closeAfter: 10 * time.Second, at: 10 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var g background.Group
				began := time.Now()
				var ran []time.Duration
				require.True(t, g.After(time.Minute, func(ctx context.Context) {
					require.NoError(t, ctx.Err())
					ran = append(ran, time.Since(began))
				}))
				time.Sleep(c.closeAfter)
				require.NoError(t, g.Close(t.Context()))
				require.NoError(t, g.Close(t.Context()))
				time.Sleep(time.Hour)
				require.Equal(t, []time.Duration{c.at}, ran, "once")
			})
		})
	}
}

// Every item that was taken is done, whenever the group is closed.
func TestGroup_runs_work_while_there_is_some(t *testing.T) {
	for range 100 {
		var q queue
		taken := make(chan int)
		go func() {
			n := 0
			for q.add() {
				n++
			}
			taken <- n
		}()
		require.NoError(t, q.group.Close(t.Context()))
		require.Equal(t, <-taken, int(q.done.Load()))
	}
}
