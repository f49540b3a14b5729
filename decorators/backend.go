package decorators

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"strconv"

	"gorm.io/gorm"

	"github.com/cacheplugin/cacheplugin"
	"github.com/cacheplugin/cacheplugin/cache"
)

type handleKey struct{}

// In returns a context whose calls of decorated functions, handlers and
// fragments belong to a transaction: they look nothing up and store nothing once
// it has written, and see its changes. tx is the handle that db.Transaction or
// db.Begin gives.
func In(ctx context.Context, tx *gorm.DB) context.Context {
	return context.WithValue(ctx, handleKey{}, tx)
}

// Handle returns the handle that a decorated function should read by: that of the
// transaction that In gave to the context, else db, with the context in either
// case.
func Handle(ctx context.Context, db *gorm.DB) *gorm.DB {
	if tx := transaction(ctx); tx != nil {
		return tx.WithContext(ctx)
	}
	return db.WithContext(ctx)
}

// transaction returns the handle that In gave to the context, or nil.
func transaction(ctx context.Context) *gorm.DB {
	tx, _ := ctx.Value(handleKey{}).(*gorm.DB)
	return tx
}

// backend keeps computed values.
type backend interface {
	compute(ctx context.Context, c cacheplugin.Computation, f func(context.Context) ([]byte, error)) (value []byte, hit bool, err error)
	set(ctx context.Context, c cacheplugin.Computation, value []byte) error
	discard(ctx context.Context, c cacheplugin.Computation) error
}

func (o *options) backend(db *gorm.DB) backend {
	if o.on != nil {
		return timed{o.on}
	}
	return plugged{db}
}

// plugged is the plugin's own cache.
type plugged struct{ db *gorm.DB }

func (p plugged) compute(ctx context.Context, c cacheplugin.Computation, f func(context.Context) ([]byte, error)) ([]byte, bool, error) {
	return cacheplugin.Compute(Handle(ctx, p.db), c, f)
}

func (p plugged) set(ctx context.Context, c cacheplugin.Computation, value []byte) error {
	return cacheplugin.StoreComputed(Handle(ctx, p.db), c, value)
}

func (p plugged) discard(ctx context.Context, c cacheplugin.Computation) error {
	return cacheplugin.DiscardComputed(Handle(ctx, p.db), c)
}

// timed is a simple cache.
type timed struct{ cache Cache }

// key is a digest: a simple cache may take keys as they are.
func (t timed) key(ctx context.Context, c cacheplugin.Computation) string {
	b := appendField(nil, c.Name)
	b = appendField(b, c.Key)
	for _, v := range cache.VaryOf(ctx) {
		b = appendField(b, v)
	}
	sum := sha256.Sum256(b)
	return "computed:" + hex.EncodeToString(sum[:16])
}

func (t timed) compute(ctx context.Context, c cacheplugin.Computation, f func(context.Context) ([]byte, error)) ([]byte, bool, error) {
	// Whether a transaction has written only the plugin can tell.
	bypass := cache.IsWithoutCache(ctx) || transaction(ctx) != nil
	if !bypass {
		// A cache that fails must not keep the function from running.
		if value, err := t.cache.Get(ctx, t.key(ctx, c)); err == nil {
			return value, true, nil
		}
	}
	value, err := f(ctx)
	var skip *cacheplugin.NotStoredError
	if errors.As(err, &skip) {
		return value, false, nil
	}
	if err == nil && !bypass {
		_ = t.cache.Set(context.WithoutCancel(ctx), t.key(ctx, c), value, c.Timeout)
	}
	return value, false, err
}

func (t timed) set(ctx context.Context, c cacheplugin.Computation, value []byte) error {
	return t.cache.Set(ctx, t.key(ctx, c), value, c.Timeout)
}

func (t timed) discard(ctx context.Context, c cacheplugin.Computation) error {
	return t.cache.Delete(ctx, t.key(ctx, c))
}

// fetch returns a computation's value. What can't be decoded, since another
// version of the program stored it, say, is dropped and computed anew. produce
// returns the value and its encoding; an error keeps it from being stored.
func fetch[V any](
	ctx context.Context, b backend, c cacheplugin.Computation,
	decode func([]byte) (V, error), produce func(context.Context) (V, []byte, error),
) (value V, hit bool, err error) {
	ran := false
	run := func(ctx context.Context) ([]byte, error) {
		ran = true
		var encoded []byte
		value, encoded, err = produce(ctx)
		return encoded, err
	}
	for range 2 {
		payload, hit, err := b.compute(ctx, c, run)
		if !hit || ran {
			return value, false, err
		}
		if v, err := decode(payload); err == nil {
			return v, true, nil
		}
		if err := b.discard(ctx, c); err != nil {
			break // the value is what counts
		}
	}
	value, _, err = produce(ctx)
	var skip *cacheplugin.NotStoredError
	if errors.As(err, &skip) {
		err = nil
	}
	return value, false, err
}

// appendField appends a text so that it can't be mistaken for another one and
// what follows: its length stands before it.
func appendField[T string | []byte](b []byte, field T) []byte {
	b = strconv.AppendInt(b, int64(len(field)), 10)
	return append(append(b, ':'), field...)
}
