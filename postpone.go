package cacheplugin

import (
	"context"
	"errors"

	"gorm.io/gorm"
)

// Postpone runs a function whose writes are invalidated together when it ends,
// whatever it returns, instead of one by one: for imports and other work of many
// transactions. What they have committed may be served in its old state until
// then, by this process to others than the function and by other processes: the
// plugin's promise begins with Postpone's return. (Under Strict it holds all the
// same: each commit is announced as ever.) The function's handle, and those
// derived from it or from its context, read the database from the first write
// on.
//
// The error joins the function's and, under OnInvalidateError: Return, one that
// wraps ErrCommittedNotInvalidated if the invalidation did not get through.
func Postpone(db *gorm.DB, fn func(tx *gorm.DB) error) (err error) {
	e, err := engineOf(db)
	if err != nil {
		return err
	}
	if e == nil {
		return fn(db)
	}
	ctx := db.Statement.Context
	if postponed(ctx) != nil {
		return fn(db) // the outermost one flushes
	}
	j := newJournal(e.Plugin)
	defer func() {
		after, cancel := context.WithTimeout(context.WithoutCancel(ctx), e.flushTimeout())
		defer cancel()
		if flushErr := j.Flush(after); flushErr != nil {
			err = errors.Join(err, flushErr)
		}
	}()
	return fn(db.WithContext(context.WithValue(ctx, postponeKey{}, j)))
}
