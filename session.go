package cacheplugin

import (
	"context"
	"strings"

	"gorm.io/gorm"

	"github.com/cacheplugin/cacheplugin/conj"
	"github.com/cacheplugin/cacheplugin/txn"
)

// configured notes what a statement changes of its session. What may change the
// meaning of texts, and lasts, keeps the handle from caching anything: which of
// the pool's connections it was is not known. In a transaction PostgreSQL's SET
// LOCAL ends with it: until then nothing is read from the cache, and names are
// looked up anew.
func (e *engine) configured(ctx context.Context, pool gorm.ConnPool, plan *conj.Plan, query string) {
	where, tx := txn.Of(pool)
	for _, s := range plan.Settings {
		if tx != nil {
			tx.MarkOpaque()
		}
		text := s.Name
		if text == "" {
			text = query
		}
		if !changesMeaning(text) && !changesIsolation(e.dialect, query) && (s.Name != "" || plan.Statement == conj.Set) {
			continue
		}
		switch {
		case !s.Local, where == txn.Foreign:
			e.database(pool).strange.Store(true)
			e.config.Logger.WarnContext(ctx, "cacheplugin: a statement has changed which tables or rows a session sees; nothing more is cached through this handle: set it in the DSN, or by SET LOCAL in a transaction", "statement", query)
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

// watchConfig notes the settings that a query outside of the cache changes.
func (e *engine) watchConfig(ctx context.Context, pool gorm.ConnPool, query string) {
	if e.dialect != conj.PostgreSQL || !strings.Contains(strings.ToLower(query), "set_config") {
		return
	}
	_, tx := txn.Of(pool)
	plan, err := e.database(pool).plan(ctx, pool, query, keep(tx))
	if err != nil {
		e.failed(ctx, "a query that changes settings could not be looked up in the catalog", "", err)
		e.database(pool).strange.Store(true)
		return
	}
	e.configured(ctx, pool, plan, query)
}
