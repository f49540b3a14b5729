package commit

import "context"

type postponedKey struct{}

// WithPostponed returns a context whose writes are left to a journal: the
// journals that are flushed in it are merged into this one, which whoever made
// it flushes in the end, in a context without it.
func WithPostponed(ctx context.Context, j *Journal) context.Context {
	return context.WithValue(ctx, postponedKey{}, j)
}

// Postponed returns the journal that a context's writes are left to; nil if
// there is none.
func Postponed(ctx context.Context) *Journal {
	j, _ := ctx.Value(postponedKey{}).(*Journal)
	return j
}
