package store

import (
	"context"
	"fmt"

	"github.com/redis/go-redis/v9"
)

// Forget drops one entry, such as one whose payload can't be read, or the
// lease under its key. It leaves the conjunctions alone.
func (s *Store) Forget(ctx context.Context, key EntryKey) error {
	_, err := direct(ctx, s, func(ctx context.Context, c redis.UniversalClient) (int64, error) {
		return c.Unlink(ctx, s.EntryName(key)).Result()
	})
	if err != nil {
		return fmt.Errorf("store: forget an entry: %w", err)
	}
	return nil
}
