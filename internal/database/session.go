package database

import (
	"context"

	"gorm.io/gorm"

	"github.com/cacheplugin/cacheplugin/conj"
	"github.com/cacheplugin/cacheplugin/txn"
)

// SessionTainted reports whether a statement has changed what some pooled
// session sees, or the form in which it gives it. Nothing may be cached from
// then on.
func (d *Database) SessionTainted() bool { return d.sessionTainted.Load() }

// NoteSettings notes what a statement changes of its session. What may change a
// result, and lasts, taints the sessions of the handle: which of the pool's
// connections it was is not known. In a transaction PostgreSQL's SET LOCAL ends
// with it: until then nothing is read from the cache, and names are looked up
// anew.
func (d *Database) NoteSettings(ctx context.Context, pool gorm.ConnPool, settings []conj.Setting, query string) {
	if len(settings) == 0 {
		return
	}
	where, tx := d.pools.Of(pool)
	if tx != nil {
		tx.MarkOpaque()
	}
	for _, s := range settings {
		switch {
		case !s.Effect.Meaningful():
		case !s.Local, where == txn.Foreign, where.AtConnection():
			d.sessionTainted.Store(true)
			d.report.WarnAlways(ctx, "a statement has changed what a session sees, or the form of its values; nothing more is cached through this handle: set it in the DSN, or by SET LOCAL in a transaction",
				"setting", s.Name, "statement", conj.Mask(d.Dialect, query))
		case tx != nil:
			tx.MarkDDL()
		}
	}
}

// NoteQuerySettings notes the settings that a query outside of the cache
// changes, as by PostgreSQL's set_config.
func (d *Database) NoteQuerySettings(ctx context.Context, pool gorm.ConnPool, query string) {
	d.NoteSettings(ctx, pool, conj.SettingsOf(d.Dialect, query), query)
}
