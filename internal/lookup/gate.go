package lookup

import (
	"context"
	"database/sql"

	"gorm.io/gorm"

	"github.com/cacheplugin/cacheplugin/cache"
	"github.com/cacheplugin/cacheplugin/conj"
	"github.com/cacheplugin/cacheplugin/internal/commit"
	"github.com/cacheplugin/cacheplugin/internal/database"
	"github.com/cacheplugin/cacheplugin/txn"
)

// inTextTransaction is why nothing is read, or stored, beside a transaction that was
// begun by text: which statements belong to it shows at the connection only.
const inTextTransaction = "a connection of the pool is in a transaction that was begun by text"

const reasonWithoutCache = "WithoutCache"

// gate says why nothing that is read through a pool may come from the cache,
// whatever it is; empty if it may.
func (h *Handle) gate(ctx context.Context, pool gorm.ConnPool, where txn.Where, tx *txn.Tx) string {
	if cache.IsWithoutCache(ctx) {
		return reasonWithoutCache
	}
	if j := commit.Postponed(ctx); j != nil && !j.Empty() {
		return "invalidations are postponed"
	}
	switch where {
	case txn.Foreign:
		h.Report.WarnOnce(ctx, "foreign read", "queries on a connection whose transactions are not seen are not cached, such as those of a session that was made before db.Use: call db.Use right after gorm.Open, and make sessions after it")
		return "a connection whose transactions are not seen"
	case txn.Rewritten:
		return "another plugin's pool may rewrite the query"
	case txn.Unsettled:
		return inTextTransaction
	case txn.InTx:
		return h.transactionGate(ctx, pool, tx)
	}
	return ""
}

// transactionGate says why a transaction's reads must not come from the cache:
// it has written, or it may see an older snapshot than the cache.
func (h *Handle) transactionGate(ctx context.Context, pool gorm.ConnPool, tx *txn.Tx) string {
	switch {
	case tx.Err() != nil:
		return "the transaction is over" // the database says so best
	case tx.Dirty():
		return "the transaction has written"
	case tx.Opaque():
		return "the transaction has failed, or changed session settings"
	case !h.readsCommitted(ctx, pool, tx):
		h.hintTransaction(ctx)
		return "the transaction's isolation is above READ COMMITTED"
	}
	return ""
}

// hintTransaction tells once what somebody may not expect of reads in a transaction
// that has written nothing.
func (c *Cache) hintTransaction(ctx context.Context) {
	c.Report.Hint(ctx, "read in transaction", "what transactions read is not stored, and not looked up where the isolation is above READ COMMITTED: read outside of transactions what is to be cached")
}

// readsCommitted reports whether each statement of a transaction sees what is
// committed when it begins.
func (h *Handle) readsCommitted(ctx context.Context, pool gorm.ConnPool, tx *txn.Tx) bool {
	level := sql.LevelDefault
	if o := tx.Options(); o != nil {
		level = o.Isolation
	}
	switch level {
	case sql.LevelReadCommitted:
		return h.dialect != conj.SQLite
	case sql.LevelDefault:
		if h.dialect != conj.PostgreSQL {
			return false
		}
		server, err := h.databases.Of(pool).Catalog.Server(ctx, pool)
		return err == nil && server.DefaultIsolation == "read committed"
	}
	return false
}

// noteHandMade marks a transaction dirty for hand-made queries that may write:
// functions can.
func (h *Handle) noteHandMade(ctx context.Context, q *Query) {
	if q.where != txn.InTx || !q.byHand() || q.tx.Dirty() {
		return
	}
	plan, err := h.databases.Of(q.Pool).Plan(ctx, q.Pool, q.Text, database.Lasting(q.tx))
	if err != nil || plan.HasSideEffects || plan.Volatile != "" || plan.CallsUnknown() || plan.Statement != conj.Select {
		q.tx.MarkDirty()
	}
}

// leasedKey marks the context of a computation whose value will be stored for
// all processes: what it reads must not be older than what Redis was told, as
// a replica's answer or this process's own memory may be.
type leasedKey struct{}

// Leased reports whether a context is that of a computation whose value will
// be stored for all processes.
func Leased(ctx context.Context) bool { return ctx.Value(leasedKey{}) != nil }
