package cacheplugin

import (
	"context"

	"gorm.io/gorm"
)

// filler returns the pool that a result which is to be stored is read from,
// under ReplicaLag: the one that the resolver has chosen, which may be a
// replica, unless its sessions give other values than the source's.
//
// It is sound if no replica lags behind by more than ReplicaLag. A look-up gets
// a lease only if the last invalidation of its tables is longer ago than that,
// by the clock of Redis; the commits that were invalidated until then have
// reached the replica. Those that are invalidated later drop the lease, as ever.
func (e *engine) filler(ctx context.Context, source, chosen gorm.ConnPool) (gorm.ConnPool, error) {
	if leased(ctx) {
		return source, nil
	}
	from, at := e.database(chosen), e.database(source)
	if from == at {
		return source, nil
	}
	if _, err := e.identity(ctx, from, chosen); err != nil {
		return nil, err
	}
	ours, theirs := at.settings.Load(), from.settings.Load()
	if ours == nil || theirs == nil || *ours != *theirs {
		if e.limiter.allow("replica settings") {
			e.config.Logger.WarnContext(ctx, "cacheplugin: a replica's sessions have other settings (time zone, formats, SQL mode) than the source's; results are read from the source")
		}
		return source, nil
	}
	return chosen, nil
}

// fencedReason says why a look-up was answered by a fence.
func (r *read) fencedReason() string {
	if r.engine.config.ReplicaLag > 0 {
		return "a write is being committed, or on its way to the replicas"
	}
	return "a write is being committed"
}
