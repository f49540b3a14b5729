// Package commit does what a transaction owes to the cache: it collects what the
// transaction changes, announces that before COMMIT where it is asked to, and
// drops what was cached of it after.
//
// On the way of a write, package rows finds out what a statement changes, and
// the callbacks record it in a Journal. Package txn gives each transaction one,
// and calls Committer.BeforeCommit right before COMMIT: it writes the journal
// into the outbox, a table in the same database, and sets a fence in Redis. After
// COMMIT it calls Journal.Flush, which invalidates through package store, and
// leaves that to the end of a function whose writes are postponed.
//
// Of a process that dies in between the row in the outbox is left. The
// processes that have opened the outbox look for such rows and invalidate what
// they say, by the same steps as a flush.
package commit
