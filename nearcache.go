package cacheplugin

import (
	"context"
	"database/sql/driver"
	"time"

	"github.com/cacheplugin/cacheplugin/cache"
	"github.com/cacheplugin/cacheplugin/conj"
	"github.com/cacheplugin/cacheplugin/internal/near"
	"github.com/cacheplugin/cacheplugin/internal/store"
)

// NearCache configures the process's own memory of results; see
// Config.NearCache. The zero value is fine.
type NearCache struct {
	// MaxBytes bounds the memory that it takes, for all namespaces and handles
	// together. Which results give way is decided by how often and how lately
	// they were asked for.
	//
	// Defaults to 64 MiB.
	MaxBytes int64
}

// options are also those of the memory that LocalGet uses without a near cache.
func (c *NearCache) options() near.Options {
	if c == nil {
		return near.Options{}
	}
	return near.Options{MaxBytes: c.MaxBytes}
}

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
func (e *engine) useNear(ctx context.Context, r *read, d *decision, settings *cache.Settings) {
	local := d.profile.LocalGet && d.op == cache.Get && !leased(ctx)
	if d.tx != nil || !local && e.config.NearCache == nil {
		return
	}
	r.near.on = true
	switch {
	case local:
		r.near.maxStale = r.timeout
	case !leased(ctx):
		r.near.maxStale = min(e.maxStale(d, settings), r.timeout)
	}
	if r.near.maxStale > 0 && e.config.NearCache != nil && !r.space.followed.Load() && !r.space.followed.Swap(true) {
		e.listener.Follow(r.space.store, r.space.near)
	}
	r.near.mark = r.space.near.Mark(r.deps)
}

// maxStale is what the call site says, or the least of what the profiles of all
// tables say.
func (e *engine) maxStale(d *decision, settings *cache.Settings) time.Duration {
	if settings != nil && settings.MaxStale != nil {
		return *settings.MaxStale
	}
	least := d.profile.MaxStale
	if least == 0 {
		return 0
	}
	for _, tables := range [...][]*conj.Table{d.plan.Tables, d.declared} {
		for _, t := range tables {
			if t.Name == d.table {
				continue
			}
			p := e.profile(t.Name, nil).profile
			if p == nil || p.MaxStale == 0 {
				return 0
			}
			least = min(least, p.MaxStale)
		}
	}
	return least
}

// openNear answers from the near cache, or notes what is there for Redis to
// confirm.
func (r *read) openNear(ctx context.Context, start time.Time) (driver.Rows, bool) {
	held, ok := r.space.near.Get(r.key)
	if !ok {
		return nil, false
	}
	if !held.Fresh(r.near.maxStale) {
		r.near.held = held
		return nil, false
	}
	rows, err := r.engine.layouts.Decode(held.Payload())
	if err != nil {
		return nil, false
	}
	r.hit(ctx, held.Payload(), start, true)
	return rows, true
}

// askStore looks the result up in Redis, and lets it leave out the payload that
// is here.
func (r *read) askStore(ctx context.Context) (store.Lookup, error) {
	if !r.near.on {
		return r.space.store.Acquire(ctx, r.key, r.deps, r.timeout)
	}
	r.near.asked = time.Now()
	held := r.near.held
	if held == nil {
		return r.space.store.Acquire(ctx, r.key, r.deps, r.timeout)
	}
	found, err := r.space.store.Revalidate(ctx, r.key, r.deps, r.timeout, held.Version())
	if found.State == store.Unchanged {
		r.near.confirms = true
		found.State, found.Payload, found.Version = store.Hit, held.Payload(), held.Version()
	}
	return found, err
}

// keep keeps a result that was valid at some time in the near cache.
func (r *read) keep(payload []byte, version string, valid time.Time) {
	n := &r.near
	switch {
	case !n.on || version == "": // what another one of this process has read, who keeps it
	case n.confirms && n.maxStale == 0: // nobody need know
	case n.confirms:
		r.space.near.Confirm(n.mark, n.held, valid)
	default:
		r.space.near.Put(n.mark, r.key, near.Result{
			Payload: payload, Version: version, Dependencies: r.deps, Valid: valid, Life: r.timeout,
		})
	}
}
