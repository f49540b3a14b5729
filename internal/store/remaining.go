package store

import (
	"context"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"
)

// Remaining returns how long an entry, or the lease under its key, has still to
// live; zero if there is none.
func (s *Store) Remaining(ctx context.Context, key EntryKey) (time.Duration, error) {
	d, err := direct(ctx, s, func(ctx context.Context, c redis.UniversalClient) (time.Duration, error) {
		return c.PTTL(ctx, s.EntryName(key)).Result()
	})
	if err != nil {
		return 0, fmt.Errorf("store: remaining time of an entry: %w", err)
	}
	return max(d, 0), nil // Redis' -1 and -2 come as they are
}
