package lookup

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

	"gorm.io/gorm"

	"github.com/cacheplugin/cacheplugin/cache"
	"github.com/cacheplugin/cacheplugin/conj"
	"github.com/cacheplugin/cacheplugin/internal/report"
	"github.com/cacheplugin/cacheplugin/internal/store"
)

// Computation describes a value that is cached like a query's result. The root
// package documents the fields.
type Computation struct {
	Name    string
	Key     []byte
	Samples []any
	Timeout time.Duration
	Lock    bool
	// AtOnce stores the value before Compute returns, whatever StoreQueue says.
	AtOnce bool
}

// Unstored is implemented by the errors that functions return with a value
// which is good for the caller and must not be stored.
type Unstored interface {
	error
	// Unstored says why.
	Unstored() string
}

// tooLarge is the reason for values that exceed MaxBytes.
type tooLarge struct{}

func (tooLarge) Error() string    { return "not stored: too large" }
func (tooLarge) Unstored() string { return "too large" }

// errNoTimeout is for computations that nothing bounds.
var errNoTimeout = errors.New("no timeout: set one, or a profile for the samples' tables")

// Compute returns the value of a computation from the cache, or computes and
// stores it. An error of compute is returned as it is, unless it is Unstored.
func (h *Handle) Compute(db *gorm.DB, c Computation, compute func(context.Context) ([]byte, error)) (value []byte, hit bool, err error) {
	ctx := db.Statement.Context
	plain := func() ([]byte, bool, error) {
		value, err := compute(ctx)
		return value, false, Usable(err)
	}
	if cache.IsWithoutCache(ctx) {
		cache.RecorderOf(ctx).Answered(cache.Answer{Outcome: cache.Bypassed, Table: c.Name, Reason: reasonWithoutCache})
		return plain()
	}
	r, reason, err := h.computation(db, c)
	if err != nil {
		return nil, false, err
	}
	if reason != "" {
		h.Report.Event(ctx, report.Event{Kind: report.Skip, Table: c.Name, Reason: reason})
		cache.RecorderOf(ctx).Answered(cache.Answer{Outcome: cache.Bypassed, Table: c.Name, Reason: reason})
		return plain()
	}
	start := r.clock()
	found, err := r.find(ctx, start)
	switch {
	case err != nil:
		return nil, false, err
	case found.State == store.Hit:
		r.shape.Hit(false, report.Since(start))
		r.report(ctx, report.Event{Kind: report.Hit, Bytes: len(found.Payload), Duration: report.Since(start)})
		r.informHit(ctx, found.Payload, found.Version, false)
		return found.Payload, true, nil
	case found.State == store.Leased:
		value, err = r.compute(ctx, found.Lease, compute)
		return value, false, err
	}
	return plain()
}

// Usable is the error of a function, unless that came with a good value.
func Usable(err error) error {
	var unstored Unstored
	if errors.As(err, &unstored) {
		return nil
	}
	return err
}

// compute computes the value of a lease, and stores it.
func (r *Read) compute(ctx context.Context, lease store.Lease, compute func(context.Context) ([]byte, error)) ([]byte, error) {
	after := context.WithoutCancel(ctx)
	kept := false
	defer func() {
		if !kept { // an error, or a panic on its way through
			r.release(after, lease)
		}
	}()
	value, err := compute(context.WithValue(ctx, leasedKey{}, true))
	if err == nil && len(value) > r.cache.MaxBytes {
		err = tooLarge{}
	}
	if err != nil {
		var unstored Unstored
		if errors.As(err, &unstored) {
			r.report(ctx, report.Event{Kind: report.Skip, Reason: unstored.Unstored(), Unstored: true, Bytes: len(value)})
			r.informUnstored(unstored.Unstored())
		}
		return value, Usable(err)
	}
	kept = true
	r.save(saving{read: r, ctx: after, lease: lease, payload: bytes.Clone(value)}) // the caller may change its own
	return value, nil
}

// Discard drops a computation's value. One that is being computed meanwhile is
// not stored.
func (h *Handle) Discard(db *gorm.DB, c Computation) error {
	ctx, pool := db.Statement.Context, db.Statement.ConnPool
	space, _, err := h.Namespaces.Of(ctx, h.databases.Of(pool), pool)
	if err == nil {
		err = space.Store.Forget(ctx, computationKey(ctx, c))
	}
	if err != nil {
		return fmt.Errorf("cacheplugin: discard %s: %w", c.Name, err)
	}
	return nil
}

// computation resolves what a computation depends on. A reason says why it is
// not cached now; an error, why it can't be.
func (h *Handle) computation(db *gorm.DB, c Computation) (*Read, string, error) {
	ctx, pool := db.Statement.Context, db.Statement.ConnPool
	place := h.databases.Place(pool)
	tx := place.Tx
	if reason := h.gate(ctx, pool, place.Where, tx); reason != "" {
		return nil, reason, nil
	}
	r := &Read{
		cache: h.Cache, table: c.Name, timeout: c.Timeout, lock: c.Lock, peek: tx != nil, atOnce: c.AtOnce,
		key: computationKey(ctx, c), database: h.databases.Of(pool),
	}
	r.version, r.info = r.database.Catalog.Version(), cache.RecorderOf(ctx)
	r.shape = h.Shapes.Computed(c.Name)
	var err error
	if r.space, _, err = h.Namespaces.Of(ctx, r.database, pool); err != nil {
		return nil, "", fmt.Errorf("cacheplugin: %s: %w", c.Name, err)
	}
	var deps []conj.Dependency
	var smallest time.Duration
	for _, s := range c.Samples {
		more, timeout, err := h.sample(db, s)
		if err != nil {
			return nil, "", fmt.Errorf("cacheplugin: samples of %s: %w", c.Name, err)
		}
		deps, smallest = append(deps, more...), shorter(smallest, timeout)
	}
	for _, fallback := range [...]time.Duration{smallest, h.Unmatched.Timeout} {
		if r.timeout <= 0 {
			r.timeout = fallback
		}
	}
	if r.timeout <= 0 {
		return nil, "", fmt.Errorf("cacheplugin: %s: %w", c.Name, errNoTimeout)
	}
	r.dependOn(unite(deps))
	for _, d := range deps {
		if s, _, err := h.Namespaces.Of(ctx, r.database, pool, d.Table.Name); err != nil || s != r.space {
			return nil, "PrefixFunc goes by tables, and computed values have none", err
		}
	}
	return r, r.space.Unreadable(r.tables), nil
}

// shorter is the smaller one of two timeouts, of which zero is none.
func shorter(a, b time.Duration) time.Duration {
	if a == 0 || b > 0 && b < a {
		return b
	}
	return a
}

// computationKey names a computation's value. The samples are no part of it:
// they follow from the name and the key.
func computationKey(ctx context.Context, c Computation) store.EntryKey {
	b := appendString(nil, "computed/"+keyVersion)
	b = appendString(b, c.Name)
	b = appendString(b, string(c.Key))
	for _, v := range cache.VaryOf(ctx) {
		b = appendString(b, v)
	}
	return hashed(b)
}
