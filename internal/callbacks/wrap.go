package callbacks

import (
	"context"
	"errors"

	"gorm.io/gorm"

	"github.com/cacheplugin/cacheplugin/conj"
	"github.com/cacheplugin/cacheplugin/txn"
)

// wraps reports whether a statement outside of a transaction is run in one, for
// its row in the outbox. It is where the results are the same.
func (h *Handlers) wraps(stmt *gorm.Statement) bool {
	if !h.Outbox {
		return false
	}
	if h.Databases.Place(stmt.ConnPool).Where != txn.Autocommit {
		return false
	}
	if stmt.SQL.Len() == 0 {
		return true // GORM's own
	}
	plan, err := h.Databases.Of(stmt.ConnPool).Plan(stmt.Context, stmt.ConnPool, stmt.SQL.String(), true)
	if err != nil {
		return false
	}
	switch plan.Statement {
	case conj.Insert, conj.Update, conj.Delete, conj.Replace, conj.Merge:
		return true
	}
	return false
}

// wrap runs a handler in a transaction of its own. It is committed whatever
// comes: the statement alone would have been.
func (h *Handlers) wrap(db *gorm.DB, run func()) {
	stmt := db.Statement
	pool := stmt.ConnPool
	tx, err := beginOn(stmt.Context, pool)
	if errors.Is(err, gorm.ErrInvalidTransaction) {
		run()
		return
	}
	if err != nil {
		_ = db.AddError(err)
		return
	}
	stmt.ConnPool = tx
	defer func() {
		stmt.ConnPool = pool
		// PostgreSQL answers the COMMIT after a statement that has failed with
		// an error of its own.
		if err := tx.(gorm.TxCommitter).Commit(); err != nil && db.Error == nil {
			_ = db.AddError(err)
		}
	}()
	run()
}

// beginOn begins a transaction as GORM does.
func beginOn(ctx context.Context, pool gorm.ConnPool) (gorm.ConnPool, error) {
	switch b := pool.(type) {
	case gorm.TxBeginner:
		return b.BeginTx(ctx, nil)
	case gorm.ConnPoolBeginner:
		return b.BeginTx(ctx, nil)
	}
	return nil, gorm.ErrInvalidTransaction
}

// warnUncovered tells of a write that no row in the outbox stands for.
func (h *Handlers) warnUncovered(ctx context.Context) {
	if h.Outbox {
		h.Report.Warn(ctx, "uncovered", "a write outside of a transaction of the plugin's is not covered by the outbox: if this process dies before it is invalidated, old results may be served; send it in db.Transaction")
	}
}
