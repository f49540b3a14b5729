package decorators

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"
	"gorm.io/gorm"

	"github.com/cacheplugin/cacheplugin"
)

// ErrMiss is returned by Cache.Get for a key that is not there, or is there no
// more. Compare by errors.Is.
var ErrMiss = errors.New("decorators: cache miss")

// Cache keeps values by key, for a time, and knows nothing of the database. It
// is safe for concurrent use.
type Cache interface {
	// Get returns the value of a key, the caller's own, or ErrMiss.
	Get(ctx context.Context, key string) ([]byte, error)
	// Set stores a value. A timeout of zero keeps it until it is deleted or
	// evicted; a negative one is an error.
	Set(ctx context.Context, key string, value []byte, timeout time.Duration) error
	// Delete drops a key. It is no error if there is none.
	Delete(ctx context.Context, key string) error
}

// errTimeout is returned by Set for a negative timeout.
var errTimeout = errors.New("decorators: a negative timeout: use a positive one, or zero for none")

// RedisCache is a Cache in the plugin's Redis, under the plugin's Prefix.
//
// It is independent of the plugin's other entries: InvalidateAll leaves it
// alone, since nothing says that its values come from the database, and a Redis
// that was restored from an older snapshot serves them as they were then. With
// a plugin that is Disabled every Get is a miss and nothing is stored.
//
// A value is stored with a checksum of it and its key before it. What is damaged
// is a miss.
type RedisCache struct {
	pluginNames
	client redis.UniversalClient // nil: disabled
	prefix string
}

var (
	_ Cache   = (*RedisCache)(nil)
	_ claimer = (*RedisCache)(nil)
)

// NewRedisCache returns the simple cache of the plugin on a handle. A plugin has
// one: two that are returned for it share their keys.
func NewRedisCache(db *gorm.DB) (*RedisCache, error) {
	if !isHandle(db) {
		return nil, fmt.Errorf("%w: NewRedisCache: the handle is nil: pass the one that the plugin is installed on", ErrOption)
	}
	config, err := cacheplugin.ConfigOf(db)
	if err != nil {
		return nil, err
	}
	names := pluginNames{db, simplePlace{}}
	if config.Disabled {
		return &RedisCache{pluginNames: names}, nil
	}
	client := config.Redis
	// go-redis heeds its own timeouts, not the context's.
	if c, ok := client.(*redis.Client); ok {
		d := config.RedisTimeout
		if own := c.Options().ReadTimeout; own > 0 {
			d = min(d, own)
		}
		client = c.WithTimeout(d)
	}
	return &RedisCache{pluginNames: names, client: client, prefix: config.Prefix + ":simple:"}, nil
}

// Get implements Cache. Errors of Redis come as they are; functions with On
// treat them as a miss.
func (c *RedisCache) Get(ctx context.Context, key string) ([]byte, error) {
	if c.client == nil {
		return nil, ErrMiss
	}
	sealed, err := c.client.Get(ctx, c.prefix+key).Bytes()
	switch {
	case errors.Is(err, redis.Nil):
		return nil, ErrMiss
	case err != nil:
		return nil, fmt.Errorf("decorators: get %q: %w", key, err)
	}
	value, ok := unseal(c.prefix, key, sealed)
	if !ok {
		return nil, ErrMiss
	}
	return value, nil
}

// Set implements Cache.
func (c *RedisCache) Set(ctx context.Context, key string, value []byte, timeout time.Duration) error {
	switch {
	case timeout < 0:
		return errTimeout
	case c.client == nil:
		return nil
	case timeout > 0:
		timeout = max(timeout, time.Millisecond) // Redis knows nothing shorter
	}
	if err := c.client.Set(ctx, c.prefix+key, seal(c.prefix, key, value), timeout).Err(); err != nil {
		return fmt.Errorf("decorators: set %q: %w", key, err)
	}
	return nil
}

// Delete implements Cache.
func (c *RedisCache) Delete(ctx context.Context, key string) error {
	if c.client == nil {
		return nil
	}
	if err := c.client.Unlink(ctx, c.prefix+key).Err(); err != nil {
		return fmt.Errorf("decorators: delete %q: %w", key, err)
	}
	return nil
}

// GetAs returns the value that [SetAs] stored with the same type and codec. One of
// another type, codec or version is a miss. [WithCodec] is the only option.
func GetAs[T any](ctx context.Context, c Cache, key string, opts ...Option) (T, error) {
	var zero T
	p, err := valuePayloads[T]("GetAs", c, opts)
	if err != nil {
		return zero, err
	}
	payload, err := c.Get(ctx, key)
	if err != nil {
		return zero, err
	}
	o, err := p.decode(payload)
	if err != nil {
		return zero, fmt.Errorf("%w: %w", ErrMiss, err)
	}
	return o.value, nil
}

// SetAs stores a value of any type that the codec encodes. [WithCodec] is the only
// option.
func SetAs[T any](ctx context.Context, c Cache, key string, value T, timeout time.Duration, opts ...Option) error {
	p, err := valuePayloads[T]("SetAs", c, opts)
	if err != nil {
		return err
	}
	payload, err := p.encode(value)
	if err != nil {
		return fmt.Errorf("decorators: set %q: %w", key, err)
	}
	return c.Set(ctx, key, payload, timeout)
}

func valuePayloads[T any](what string, c Cache, opts []Option) (payloads[T], error) {
	if isNil(c) {
		return payloads[T]{}, fmt.Errorf("%w: %s: the cache is nil", ErrOption, what)
	}
	o, err := collect(what, opts, "WithCodec")
	if err != nil {
		return payloads[T]{}, err
	}
	return newPayloads[T](what, o.codec, nil)
}
