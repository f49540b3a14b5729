package store_test

import (
	"context"
	"net"
	"testing"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/cacheplugin/cacheplugin/internal/testenv"
	"github.com/cacheplugin/cacheplugin/store"
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
