package cache

import "context"

type contextKey uint8

const (
	withoutCacheKey contextKey = iota
	withoutInvalidationKey
	varyKey
	infoKey
)

// WithoutCache returns a context whose queries go to the database: nothing is
// looked up and nothing is stored. Writes invalidate as ever.
func WithoutCache(ctx context.Context) context.Context {
	return context.WithValue(ctx, withoutCacheKey, true)
}

// WithoutInvalidation returns a context whose writes invalidate nothing. What
// they change stays cached until its timeout, unless the program invalidates it.
// A caller that uses it takes the plugin's promise on itself.
func WithoutInvalidation(ctx context.Context) context.Context {
	return context.WithValue(ctx, withoutInvalidationKey, true)
}

// Vary returns a context whose queries are kept apart by the given values, in
// addition to those of the contexts it comes from: a tenant, a locale. Writes
// invalidate all variants.
func Vary(ctx context.Context, values ...string) context.Context {
	all := append(append([]string(nil), VaryOf(ctx)...), values...)
	return context.WithValue(ctx, varyKey, all)
}

// IsWithoutCache reports whether the context comes from [WithoutCache].
func IsWithoutCache(ctx context.Context) bool {
	off, _ := ctx.Value(withoutCacheKey).(bool)
	return off
}

// IsWithoutInvalidation reports whether the context comes from
// [WithoutInvalidation].
func IsWithoutInvalidation(ctx context.Context) bool {
	off, _ := ctx.Value(withoutInvalidationKey).(bool)
	return off
}

// VaryOf returns the values that [Vary] gave to the context, outermost first. It
// must not be changed.
func VaryOf(ctx context.Context) []string {
	values, _ := ctx.Value(varyKey).([]string)
	return values
}
