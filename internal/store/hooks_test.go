package store_test

import (
	"context"
	"fmt"
	"net"
	"sync"
	"testing"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/cacheplugin/cacheplugin/internal/store"
	"github.com/cacheplugin/cacheplugin/internal/testenv"
)

// argumentTypes notes the types of what is sent.
type argumentTypes struct{ others []any }

func (h *argumentTypes) DialHook(next redis.DialHook) redis.DialHook {
	return func(ctx context.Context, network, addr string) (net.Conn, error) { return next(ctx, network, addr) }
}

func (h *argumentTypes) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		for _, arg := range cmd.Args() {
			switch arg.(type) {
			case string, []byte, int, int64:
			default:
				h.others = append(h.others, arg)
			}
		}
		return next(ctx, cmd)
	}
}

func (h *argumentTypes) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
}

// Tracers print what they are shown.
func TestHooksAreShownTextsNotPointers(t *testing.T) {
	t.Parallel()
	client := testenv.Redis(t)
	seen := &argumentTypes{}
	client.AddHook(seen)
	b := backend{client: otherClient{client}}
	s := b.open(t)
	mine := lease(t, s, "q", on("a", "1"))
	require.True(t, save(t, s, mine, "result"))
	l, err := s.Acquire(t.Context(), entry("q"), []store.Dependency{on("a", "1")}, ttl)
	require.NoError(t, err)
	require.Equal(t, store.Hit, l.State)
	require.Empty(t, seen.others)
}

// Its batches are executed in any order, as calls on different connections are.
func TestTheProtocolNeedsNoOrderOfCommands(t *testing.T) {
	t.Parallel()
	client := redis.NewClient(testenv.RedisOptions(t))
	t.Cleanup(func() { _ = client.Close() })
	o := redis.DefaultBlockingAutoPipelineOptions()
	o.MaxConcurrentBatches, o.Unordered = 4, true
	pipeline, err := client.AutoPipelineWithOptions(o)
	require.NoError(t, err)
	t.Cleanup(func() { _ = pipeline.Close() })
	b := backend{client: pipeline}
	s := b.open(t)
	var all sync.WaitGroup
	for i := range 16 {
		all.Go(func() {
			table, query := fmt.Sprint("t", i), fmt.Sprint("q", i)
			deps := []store.Dependency{on(table, "1")}
			for round := range 50 {
				l, err := s.Acquire(t.Context(), entry(query), deps, ttl)
				if err != nil || l.State != store.Leased {
					t.Errorf("%v in round %d: %v", l.State, round, err)
					return
				}
				if stored, err := s.Save(t.Context(), l.Lease, []byte(query), ttl); err != nil || !stored {
					t.Errorf("stored: %v in round %d: %v", stored, round, err)
					return
				}
				if l, err = s.Acquire(t.Context(), entry(query), deps, ttl); err != nil || l.State != store.Hit || string(l.Payload) != query {
					t.Errorf("%v in round %d: %v", l.State, round, err)
					return
				}
				if _, err := s.Invalidate(t.Context(), []store.Change{changed(table, row{"7", "1"})}); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	all.Wait()
}
