package decorators

import (
	"context"
	"fmt"
	"reflect"

	"gorm.io/gorm"

	"github.com/cacheplugin/cacheplugin"
	"github.com/cacheplugin/cacheplugin/decorators/internal/exact"
)

// Func is a function whose results are cached. It is safe for concurrent use if
// the function is.
type Func[A, T any] struct {
	what      string
	name      string
	fn        func(context.Context, A) (T, error)
	options   options
	backend   backend
	payloads  payloads[T]
	extra     []byte
	samplesOf func(A) []any
	extraOf   func(context.Context, A) any
}

// Cached wraps a function whose results are kept for a time. name tells it from
// all others that share the plugin's prefix, or the cache of On. A name that is
// taken there is ErrNameTaken: wrap a function once, not at each call.
//
// The key is made of the name, Version, the argument, Extra, and the context's
// cache.Vary. The argument may be of any type that is made of plain ones,
// unexported fields included; a struct{} where there is none. A type of argument
// or result that can't be encoded is an error here.
func Cached[A, T any](db *gorm.DB, name string, fn func(ctx context.Context, arg A) (T, error), opts ...Option) (*Func[A, T], error) {
	return newFunc("Cached", false, db, name, fn, opts)
}

// CachedAs wraps a function whose results are kept until what its samples stand
// for is written, or for a time, whichever is shorter. The samples must cover all
// that the function reads: what they don't name can be stale. Without samples it
// returns [ErrNoSamples].
//
// A result whose samples are written while the function runs is returned and not
// stored. The function must read from the database's primary, not from a replica
// that lags behind.
func CachedAs[A, T any](db *gorm.DB, name string, fn func(ctx context.Context, arg A) (T, error), opts ...Option) (*Func[A, T], error) {
	return newFunc("CachedAs", true, db, name, fn, opts)
}

func newFunc[A, T any](kind string, sampled bool, db *gorm.DB, name string, fn func(context.Context, A) (T, error), opts []Option) (*Func[A, T], error) {
	what := fmt.Sprintf("%s %q", kind, name)
	o, err := collect(what, opts, "Timeout", "Version", "Lock", "Extra", "ExtraOf", "Samples", "SamplesOf", "WithCodec", "CacheErrors", "On")
	if err != nil {
		return nil, err
	}
	switch {
	case name == "":
		return nil, fmt.Errorf("%w: %s: the name is empty", ErrOption, what)
	case fn == nil:
		return nil, fmt.Errorf("%w: %s: the function is nil", ErrOption, what)
	}
	if err := o.checkSampled(what, sampled); err != nil {
		return nil, err
	}
	if err := o.checkHandle(what, db, sampled); err != nil {
		return nil, err
	}
	f := &Func[A, T]{what: what, name: "func/" + name, fn: fn, options: o, backend: o.backend(db)}
	if err := exact.CheckKey(reflect.TypeFor[A]()); err != nil {
		return nil, fmt.Errorf("%w: %s: no key can be made of its argument: %w", ErrOption, what, err)
	}
	if f.payloads, err = newPayloads[T](what, o.codec, o.cacheErrors); err != nil {
		return nil, err
	}
	if f.extra, err = extraKey(what, o.extra); err != nil {
		return nil, err
	}
	if f.samplesOf, f.extraOf, err = typed[A](what, &o); err != nil {
		return nil, err
	}
	if err := o.claim(what, db, f.name); err != nil {
		return nil, err
	}
	return f, nil
}

// extraKey encodes the values of Extra.
func extraKey(what string, extra []any) ([]byte, error) {
	key, err := exact.AppendKey(nil, extra)
	if err != nil {
		return nil, fmt.Errorf("%w: %s: no key can be made of Extra: %w", ErrOption, what, err)
	}
	return key, nil
}

// Call returns the cached result for the argument, or runs the function and
// keeps what it returns. Each call gets a value of its own. Errors of the
// function are returned as they are, and not stored unless [CacheErrors] says so;
// a panic goes through and stores nothing.
//
// The function runs uncached, too, when the plugin is disabled, when Redis does
// not answer, under cache.WithoutCache, and in a transaction that has written;
// see In.
func (f *Func[A, T]) Call(ctx context.Context, arg A) (T, error) {
	c, err := f.computation(ctx, arg)
	if err != nil {
		var zero T
		return zero, err
	}
	if f.samplesOf != nil {
		c.Samples = append(append([]any(nil), c.Samples...), f.samplesOf(arg)...)
	}
	var failed error
	o, _, err := fetch(ctx, f.backend, c, f.payloads.decode, func(ctx context.Context) (outcome[T], []byte, error) {
		v, err := f.fn(ctx, arg)
		o := outcome[T]{value: v, err: err}
		if err != nil {
			if s := f.payloads.sentinel(err); s != nil {
				return o, f.payloads.encodeError(s), nil
			}
			failed = err
			return o, nil, err
		}
		payload, err := f.payloads.encode(v)
		if err != nil {
			return o, nil, &cacheplugin.NotStoredError{Reason: "it can't be encoded: " + err.Error()}
		}
		return o, payload, nil
	})
	if failed != nil {
		return o.value, failed
	}
	if err != nil {
		return o.value, err
	}
	return o.value, o.err
}

// Invalidate drops the result for an argument. One that is being computed
// meanwhile is returned to its caller and not stored.
func (f *Func[A, T]) Invalidate(ctx context.Context, arg A) error { return f.Key(arg).Delete(ctx) }

// Set replaces the result for an argument. The value must be as new as the
// database's: a write that it doesn't know, and that committed before Set was
// called, does not drop it. Where another caller is computing the same result,
// Set may leave it at that.
func (f *Func[A, T]) Set(ctx context.Context, arg A, value T) error {
	return f.Key(arg).Set(ctx, value)
}

// Key returns the place of the result for an argument.
func (f *Func[A, T]) Key(arg A) Key[A, T] { return Key[A, T]{f: f, arg: arg} }

// Key is the place of one cached result.
type Key[A, T any] struct {
	f   *Func[A, T]
	arg A
}

// Set is [Func.Set].
func (k Key[A, T]) Set(ctx context.Context, value T) error {
	c, err := k.f.computation(ctx, k.arg)
	if err != nil {
		return err
	}
	if k.f.samplesOf != nil {
		c.Samples = append(append([]any(nil), c.Samples...), k.f.samplesOf(k.arg)...)
	}
	payload, err := k.f.payloads.encode(value)
	if err != nil {
		return fmt.Errorf("decorators: %s: set: %w", k.f.what, err)
	}
	return k.f.backend.set(ctx, c, payload)
}

// Delete is [Func.Invalidate].
func (k Key[A, T]) Delete(ctx context.Context) error {
	c, err := k.f.computation(ctx, k.arg)
	if err != nil {
		return err
	}
	return k.f.backend.discard(ctx, c)
}

// computation describes a call, without the samples of its argument.
func (f *Func[A, T]) computation(ctx context.Context, arg A) (cacheplugin.Computation, error) {
	key := appendField(appendField(nil, f.options.version), f.extra)
	part, err := exact.AppendKey(nil, arg)
	if err != nil {
		return cacheplugin.Computation{}, fmt.Errorf("decorators: %s: no key can be made of the argument: %w", f.what, err)
	}
	key = appendField(key, part)
	if f.extraOf != nil {
		if part, err = exact.AppendKey(nil, f.extraOf(ctx, arg)); err != nil {
			return cacheplugin.Computation{}, fmt.Errorf("decorators: %s: no key can be made of what ExtraOf returns: %w", f.what, err)
		}
		key = appendField(key, part)
	}
	return cacheplugin.Computation{
		Name: f.name, Key: key, Samples: f.options.samples, Timeout: f.options.timeout, Lock: f.options.lock,
	}, nil
}
