package cacheplugin

import (
	"gorm.io/gorm"

	"github.com/cacheplugin/cacheplugin/internal/follow"
	"github.com/cacheplugin/cacheplugin/internal/misconfig"
)

// FollowTarget returns the cache of a handle's plugin as the followers of modules
// replication/postgres and replication/mysql tell it of what others commit. It is for
// these: make a follower by their New. It returns ErrNotInstalled for a handle without
// the plugin, and an error that wraps ErrConfig where changes that are read in a log
// can't be followed: with PrefixFunc the log doesn't say whose a change is.
func FollowTarget(db *gorm.DB) (*follow.Target, error) {
	h, err := handleOf(db)
	if err != nil {
		return nil, err
	}
	if h == nil {
		return nil, misconfig.New("Disabled", true, "a plugin that is disabled has no cache to be told of changes")
	}
	p := h.plugin
	if p.config.PrefixFunc != nil {
		return nil, misconfig.New("PrefixFunc", "set", "a database's log does not say which prefix a change belongs to: give each tenant a Prefix and a follower, or invalidate by hand what others write")
	}
	pool, err := db.DB()
	if err != nil {
		return nil, misconfig.New("ConnPool", "a handle without a *sql.DB", "give the follower the handle that gorm.Open returned")
	}
	return &follow.Target{
		Dialect: h.dialect, Pool: pool, Database: h.databases.Of(pool), Namespaces: p.namespaces,
		Policies: p.policies, Commit: p.commit, Report: p.report, Timeout: p.config.flushTimeout(),
	}, nil
}
