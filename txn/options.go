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
	// before it returns to the program, whatever became of it; before that also
	// after a statement that should have committed and failed. The
	// context is not cancelled with the transaction's, but carries its values
	// and a deadline (Options.FlushTimeout).
	//
	// The transaction's connection is held meanwhile, so that Flush must not
	// wait for one of the same pool.
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

// Options say what is done for the transactions and statements of a pool.
type Options struct {
	// NewJournal makes the journal of a transaction, at the first call of
	// Tx.Journal or Tx.Record: a transaction that only reads has none.
	// Required.
	NewJournal func() Journal

	// BeforeCommit, if set, is called before COMMIT is sent in a transaction
	// that has a journal. An error aborts: the transaction is rolled back and
	// Commit returns the error. The context is the one the transaction was
	// begun with; statements may be sent through the Tx. It is called as well,
	// with the statement's context, before a statement that commits what was
	// done so far; an error is the statement's then, which is not sent.
	BeforeCommit func(ctx context.Context, tx *Tx, j Journal) error

	// Watch, if set, is called before each statement whose context is not
	// Known. It returns nil for one of which nothing is to be done.
	Watch func(ctx context.Context, s Statement) Watched

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

// Statement is one that nobody has announced, about to be sent.
type Statement struct {
	Query string
	// Args are the arguments as the driver gets them.
	Args []any
	// Pool sends statements on the same connection, which nobody is shown. It
	// must not be used any longer when Watched.Done has returned.
	Pool *Direct
	// Where is Foreign where it isn't known whether the connection is in a
	// transaction. Tx is nil unless InTx.
	Where Where
	Tx    *Tx
}

// Watched is what Options.Watch has to do for a statement.
type Watched interface {
	// Announce is called right before the statement is sent. After an error it
	// isn't, and the error is the program's.
	Announce(ctx context.Context) error
	// Done is called once the statement is done: rows that it gives have been
	// closed. An error is joined to the statement's own.
	Done(ctx context.Context, o Outcome) error
}

// unknown is the outcome of which nothing is known but the error.
func unknown(err error) Outcome {
	return Outcome{Affected: -1, LastInsertID: -1, Returned: -1, Err: err}
}

// Outcome is what a statement has returned.
type Outcome struct {
	// Affected and LastInsertID are the driver's, and Returned is the number of
	// rows that the statement has given; -1 where it is not known.
	Affected, LastInsertID, Returned int64
	Err                              error

	// Begun is the transaction that the text has begun, among other statements, or
	// that the connection may still be in; nil if none. What the statement has
	// changed may be part of it.
	Begun *Tx
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
