package store

import "context"

// Once invalidates through a Guard, with a single try for each call and nothing
// queued. It is for callers who keep what fails and try it again themselves.
type Once struct{ guard *Guard }

// Once returns the guard's invalidations without retries and without its queue.
func (g *Guard) Once() Once { return Once{g} }

// Invalidate is Store.Invalidate. What it leaves is reclaimed in the background.
func (o Once) Invalidate(ctx context.Context, changes []Change, fences ...string) ([]Report, error) {
	reports, err := o.guard.store.Invalidate(ctx, changes, fences...)
	o.guard.garbage.add(reports)
	return reports, err
}

// InvalidateAll is Store.InvalidateAll.
func (o Once) InvalidateAll(ctx context.Context, fences ...string) error {
	return o.guard.store.InvalidateAll(ctx, fences...)
}
