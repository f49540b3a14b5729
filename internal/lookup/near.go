package lookup

import (
	"context"
	"database/sql/driver"
	"time"

	"github.com/cacheplugin/cacheplugin/conj"
	"github.com/cacheplugin/cacheplugin/internal/near"
	"github.com/cacheplugin/cacheplugin/internal/store"
)

// nearRead is what a read has to do with the near cache.
type nearRead struct {
	on       bool          // look there, and keep the result there
	maxStale time.Duration // for how long it may be served without asking Redis
	mark     near.Mark
	held     *near.Entry // found there, to be confirmed
	asked    time.Time   // when the last look-up in Redis began
	confirms bool        // what was found is what is held
}

// useNear decides whether a read looks into the near cache, and takes the mark,
// which must be done before it is looked up whether an invalidation is pending.
//
// In a transaction and in a computation nothing is served that Redis was not
// asked for.
func (h *Handle) useNear(ctx context.Context, r *Read, d *decision) {
	if h.Follow == nil || r.peek {
		return
	}
	r.near.on = true
	if !Leased(ctx) {
		r.near.maxStale = min(h.maxStale(d), r.timeout)
	}
	if r.near.maxStale > 0 {
		r.space.Follow(h.Follow)
	}
	r.near.mark = r.space.Near.Mark(r.deps)
}

// maxStale is what the call site says, or the least of what the profiles of all
// tables say.
func (h *Handle) maxStale(d *decision) time.Duration {
	if s := d.query.settings; s != nil && s.MaxStale != nil {
		return *s.MaxStale
	}
	least := d.policy.MaxStale
	if least == 0 {
		return 0
	}
	for _, tables := range [...][]*conj.Table{d.plan.Tables, d.declared} {
		for _, t := range tables {
			if t.Name == d.table {
				continue
			}
			p := h.Policies.Of(t.Name, nil)
			if p.MaxStale == 0 {
				return 0
			}
			least = min(least, p.MaxStale)
		}
	}
	return least
}

// openNear answers from the near cache, or notes what is there for Redis to
// confirm.
func (r *Read) openNear(ctx context.Context, start time.Time) driver.Rows {
	if !r.near.on {
		return nil
	}
	held, ok := r.space.Near.Get(r.key)
	if !ok {
		return nil
	}
	if !held.Fresh(r.near.maxStale) {
		r.near.held = held
		return nil
	}
	rows, err := r.cache.layouts.Decode(held.Payload())
	if err != nil {
		return nil
	}
	r.reportHit(ctx, held.Payload(), start, true)
	r.informHit(ctx, held.Payload(), held.Version(), true)
	return rows
}

// askStore looks the result up in Redis, and lets it leave out the payload that
// is here.
func (r *Read) askStore(ctx context.Context) (store.Lookup, error) {
	if !r.near.on {
		return r.space.Store.Acquire(ctx, r.key, r.deps, r.timeout)
	}
	r.near.asked = time.Now()
	held := r.near.held
	if held == nil {
		return r.space.Store.Acquire(ctx, r.key, r.deps, r.timeout)
	}
	found, err := r.space.Store.Revalidate(ctx, r.key, r.deps, r.timeout, held.Version())
	if found.State == store.Unchanged {
		r.near.confirms = true
		found.State, found.Payload, found.Version = store.Hit, held.Payload(), held.Version()
	}
	return found, err
}

// putNear keeps a result that was valid at some time in the near cache.
func (r *Read) putNear(payload []byte, version string, valid time.Time) {
	n := &r.near
	switch {
	case !n.on || version == "": // what another one of this process has read, who keeps it
	case n.confirms && n.maxStale == 0: // nobody need know
	case n.confirms:
		r.space.Near.Confirm(n.mark, n.held, valid)
	default:
		r.space.Near.Put(n.mark, r.key, near.Result{
			Payload: payload, Version: version, Dependencies: r.deps, Valid: valid, Life: r.timeout,
		})
	}
}
