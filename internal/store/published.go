package store

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"
)

// What processes tell of themselves is no part of the protocol: a payload for each,
// which expires, and a hash of their names. All is in the slot {namespace}, whether
// the namespace is spread or not.

func (s *Store) published() (names string) { return "{" + s.namespace + "}p" }

func (s *Store) publication(name string) string { return s.published() + ":" + name }

// Publish leaves what a process tells of itself to those who ask for Published, for
// a while, in place of what it told before.
func (s *Store) Publish(ctx context.Context, name string, payload []byte, life time.Duration) error {
	_, err := bounded(ctx, s, func(ctx context.Context, c redis.UniversalClient) (any, error) {
		pipe := c.Pipeline()
		pipe.Set(ctx, s.publication(name), payload, life)
		pipe.HSet(ctx, s.published(), name, "")
		pipe.PExpire(ctx, s.published(), life)
		_, err := pipe.Exec(ctx)
		return nil, err
	})
	if err != nil {
		return fmt.Errorf("store: publish: %w", err)
	}
	return nil
}

// Published returns what processes have left that has not expired yet, by their names.
func (s *Store) Published(ctx context.Context) (map[string][]byte, error) {
	all, err := bounded(ctx, s, s.readPublished)
	if err != nil {
		return nil, fmt.Errorf("store: read what was published: %w", err)
	}
	return all, nil
}

func (s *Store) readPublished(ctx context.Context, c redis.UniversalClient) (map[string][]byte, error) {
	names, err := c.HKeys(ctx, s.published()).Result()
	if err != nil || len(names) == 0 {
		return nil, err
	}
	pipe := c.Pipeline()
	replies := make([]*redis.StringCmd, len(names))
	for i, name := range names {
		replies[i] = pipe.Get(ctx, s.publication(name))
	}
	_, _ = pipe.Exec(ctx) // each command has its error
	all := map[string][]byte{}
	var ended []string
	for i, reply := range replies {
		payload, err := reply.Bytes()
		switch {
		case errors.Is(err, redis.Nil):
			ended = append(ended, names[i])
		case err != nil:
			return nil, err
		default:
			all[names[i]] = payload
		}
	}
	if len(ended) > 0 {
		return all, c.HDel(ctx, s.published(), ended...).Err()
	}
	return all, nil
}
