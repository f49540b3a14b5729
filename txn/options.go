package txn

import (
	"context"
	"time"
)

// DefaultFlushTimeout bounds a flush when Options.FlushTimeout is zero.
const DefaultFlushTimeout = 5 * time.Second

// Journal collects what one transaction has changed.
type Journal interface {
	// Flush makes the changes known. It is called after COMMIT was tried and
	// before Commit returns, whatever became of the COMMIT; before that also
	// after a statement that should have committed and failed. The
	// context is not cancelled with the transaction's, but carries its values
	// and a deadline (Options.FlushTimeout).
	//
	// An error is returned by Commit; joined with COMMIT's own, if that
	// failed too.
	Flush(ctx context.Context) error
}

// OutcomeJournal is a Journal that is told, before its Flush, what COMMIT, or
// the statement that committed, has returned.
type OutcomeJournal interface {
	Journal
	Outcome(err error)
}

// Options configures the wrapped pools.
type Options struct {
	// NewJournal makes the journal of a transaction, at the first call of
	// Tx.Journal or Tx.Record: a transaction that only reads has none.
	// Required.
	NewJournal func() Journal

	// BeforeCommit, if set, is called before COMMIT is sent in a transaction
	// that has a journal. An error aborts: the transaction is rolled back and
	// Commit returns the error. The context is the one the transaction was
	// begun with; statements may be sent through the Tx. It is called as well, with the statement's context and
	// possibly twice, before a statement that commits what was done so far;
	// an error is the statement's then, which is not sent.
	BeforeCommit func(ctx context.Context, tx *Tx, j Journal) error

	// FlushTimeout bounds Journal.Flush.
	//
	// Defaults to 5 seconds. -1 means no limit.
	FlushTimeout time.Duration

	// Owner identifies who installs, by ==, so that installing twice can be
	// told from two plugins meeting on one pool. May stay nil if there is one
	// owner only.
	Owner any

	// Dialect is the name of the GORM dialector ("postgres", "mysql",
	// "sqlite"). It decides how texts are scanned for statements that end a
	// transaction.
	//
	// Defaults to the dialector of the *gorm.DB given to Install.
	Dialect string
}

func (o *Options) flushContext(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx = context.WithoutCancel(ctx)
	switch {
	case o.FlushTimeout < 0:
		return ctx, func() {}
	case o.FlushTimeout == 0:
		return context.WithTimeout(ctx, DefaultFlushTimeout)
	}
	return context.WithTimeout(ctx, o.FlushTimeout)
}
