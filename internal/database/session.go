package database

import (
	"context"
	"strings"

	"gorm.io/gorm"

	"github.com/cacheplugin/cacheplugin/conj"
	"github.com/cacheplugin/cacheplugin/txn"
)

// SessionTainted reports whether a statement has changed which tables or rows
// some pooled session sees. Nothing may be cached from then on.
func (d *Database) SessionTainted() bool { return d.sessionTainted.Load() }

// NoteSettings notes what a statement changes of its session. What may change
// the meaning of texts, and lasts, taints the sessions of the handle: which of
// the pool's connections it was is not known. In a transaction PostgreSQL's SET
// LOCAL ends with it: until then nothing is read from the cache, and names are
// looked up anew.
func (d *Database) NoteSettings(ctx context.Context, pool gorm.ConnPool, plan *conj.Plan, query string) {
	where, tx := txn.Of(pool)
	for _, s := range plan.Settings {
		if tx != nil {
			tx.MarkOpaque()
		}
		text := s.Name
		if text == "" {
			text = query
		}
		if !changesMeaning(text) && !changesIsolation(d.Dialect, query) && (s.Name != "" || plan.Statement == conj.Set) {
			continue
		}
		switch {
		case !s.Local, where == txn.Foreign:
			d.sessionTainted.Store(true)
			d.report.WarnAlways(ctx, "a statement has changed which tables or rows a session sees; nothing more is cached through this handle: set it in the DSN, or by SET LOCAL in a transaction", "statement", query)
		case tx != nil:
			tx.MarkDDL()
		}
	}
}

// changesIsolation tells whether a SET changes what later transactions of the
// session see: they may read an older state than the cache has, or, under READ
// UNCOMMITTED, what is never committed.
func changesIsolation(d conj.Dialect, query string) bool {
	low := strings.ToLower(query)
	return strings.Contains(low, "default_transaction_isolation") || strings.Contains(low, "characteristics") ||
		d == conj.MySQL && strings.Contains(low, "isolation")
}

// changesMeaning tells whether a SET changes what the texts of a session mean.
func changesMeaning(query string) bool {
	low := strings.ToLower(query)
	for _, word := range []string{"search_path", "role", "authorization", "sql_mode", "row_security", "ansi_quotes"} {
		if strings.Contains(low, word) {
			return true
		}
	}
	return strings.HasPrefix(strings.TrimSpace(low), "use")
}

// NoteQuerySettings notes the settings that a query outside of the cache
// changes, by PostgreSQL's set_config.
func (d *Database) NoteQuerySettings(ctx context.Context, pool gorm.ConnPool, query string) {
	if d.Dialect != conj.PostgreSQL || !strings.Contains(strings.ToLower(query), "set_config") {
		return
	}
	_, tx := txn.Of(pool)
	plan, err := d.Plan(ctx, pool, query, Lasting(tx))
	if err != nil {
		d.report.Failed(ctx, "a query that changes settings could not be looked up in the catalog", "", err)
		d.sessionTainted.Store(true)
		return
	}
	d.NoteSettings(ctx, pool, plan, query)
}
