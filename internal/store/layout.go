package store

import (
	"context"
	"fmt"

	"github.com/redis/go-redis/v9"
)

// Layouts tells how the keys of a namespace lie in a server or cluster: in one
// slot, spread (Options.Spread), neither if nothing has been read since it was
// last dropped as a whole, or both, which is a mistake: processes that don't
// agree are not told of each other's invalidations.
func Layouts(ctx context.Context, client redis.UniversalClient, namespace string) (oneSlot, spread bool, err error) {
	if namespace == "" {
		namespace = DefaultNamespace
	}
	if oneSlot, err = inUse(ctx, client, newKeyspace(namespace, false)); err == nil {
		spread, err = inUse(ctx, client, newKeyspace(namespace, true))
	}
	if err != nil {
		return false, false, fmt.Errorf("store: look for the keys of %q: %w", namespace, err)
	}
	return oneSlot, spread, nil
}

// inUse reports whether there is an epoch.
func inUse(ctx context.Context, client redis.UniversalClient, keys keyspace) (bool, error) {
	pipe := client.Pipeline()
	var found []*redis.IntCmd
	for _, r := range keys.roots() {
		found = append(found, pipe.Exists(ctx, r.epoch))
	}
	// Who may not look at the keys of a layout doesn't use it.
	if _, err := pipe.Exec(ctx); err != nil && !redis.HasErrorPrefix(err, "NOPERM") {
		return false, err
	}
	for _, cmd := range found {
		if cmd.Val() > 0 {
			return true, nil
		}
	}
	return false, nil
}

// checkLayout refuses a namespace that others use in another way.
func (s *Store) checkLayout(ctx context.Context, client redis.UniversalClient) error {
	other := newKeyspace(s.namespace, !s.keys.spread)
	used, err := inUse(ctx, client, other)
	if err != nil || !used {
		return err
	}
	return fmt.Errorf("%w: Options.Spread is %v, and the keys of namespace %q are those of processes where it is %v, which are not told of what this one invalidates: "+
		"set it alike everywhere, or take another Namespace; after a change, end all the others and drop what they have left with cacheplugin invalidate all",
		ErrLayout, s.keys.spread, s.namespace, other.spread)
}
