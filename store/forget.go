package store

import (
	"context"
	"fmt"
)

// Forget drops one entry, such as one whose payload can't be read. It leaves
// the conjunctions alone.
func (s *Store) Forget(ctx context.Context, key EntryKey) error {
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	if err := s.client.Unlink(ctx, s.EntryName(key)).Err(); err != nil {
		return fmt.Errorf("store: forget an entry: %w", err)
	}
	return nil
}
