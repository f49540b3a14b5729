package lookup

import (
	"context"

	"gorm.io/gorm"

	"github.com/cacheplugin/cacheplugin/internal/database"
)

const (
	// ResolverPlugin is the name of GORM's dbresolver, and resolverWrite the
	// setting by which it is told to use a source.
	ResolverPlugin = "gorm:db_resolver"
	resolverWrite  = "gorm:db_resolver:write"
)

// StandIn is a pool that stands in a statement's place while a handler runs.
type StandIn interface {
	gorm.ConnPool
	// Behind is the pool that it stands for.
	Behind() gorm.ConnPool
}

// Source returns the pool that fills the cache: the given one, or, under
// dbresolver, a source, since a replica may lag behind the commits whose
// invalidation the cache has already seen.
func (h *Handle) Source(db *gorm.DB, pool gorm.ConnPool) gorm.ConnPool {
	if _, ok := db.Plugins[ResolverPlugin]; !ok {
		return pool
	}
	choose := db.Callback().Query().Get(ResolverPlugin)
	if choose == nil {
		return pool
	}
	stmt := db.Statement
	current := stmt.ConnPool
	_, had := stmt.Settings.LoadOrStore(resolverWrite, struct{}{})
	choose(db)
	chosen := stmt.ConnPool
	stmt.ConnPool = current
	if !had {
		stmt.Settings.Delete(resolverWrite)
	}
	if s, ok := chosen.(StandIn); ok {
		return s.Behind()
	}
	return chosen
}

// filler returns the pool that a result which is to be stored is read from,
// under ReplicaLag: the one that the resolver has chosen, which may be a
// replica, unless its sessions give other values than the source's.
//
// It is sound if no replica lags behind by more than ReplicaLag. A look-up gets
// a lease only if the last invalidation of its tables is longer ago than that,
// by the clock of Redis; the commits that were invalidated until then have
// reached the replica. Those that are invalidated later drop the lease, as ever.
func (h *Handle) filler(ctx context.Context, source, chosen gorm.ConnPool) (gorm.ConnPool, error) {
	if Leased(ctx) {
		return source, nil
	}
	from, at := h.databases.Of(chosen), h.databases.Of(source)
	if from == at {
		return source, nil
	}
	if _, err := from.Identity(ctx, chosen); err != nil {
		return nil, err
	}
	if !database.SameSettings(at, from) {
		h.Report.Warn(ctx, "replica settings", "a replica's sessions have other settings (time zone, formats, SQL mode) than the source's; results are read from the source")
		return source, nil
	}
	return chosen, nil
}
