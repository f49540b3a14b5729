// Package txn gives transaction boundaries to the cache plugin.
//
// GORM has callbacks for statements, but none for COMMIT and ROLLBACK. So
// [Install] puts a [Pool] between a *gorm.DB and its *sql.DB, as the innermost
// layer, under GORM's prepared statements. The Pool begins transactions as [Tx]. A
// Tx owns everything that the plugin knows of one transaction: whether it has
// written ([Tx.Dirty]), whether its reads may differ from those of others
// ([Tx.Opaque]), and the [Journal] of what it has changed.
//
// In a read, the read path asks [Of] for the state behind Statement.ConnPool. In
// autocommit and in a clean transaction the cache may be asked. In a dirty, opaque
// or foreign one the database is.
//
// In a write, the write path marks the Tx dirty before the statement is sent and
// records what it changed in the journal ([Tx.Record]). [Tx.Commit] sends COMMIT,
// flushes the journal, and only then returns: code that runs after a commit finds
// the cache invalidated. The outcome of a COMMIT that returned an error is unknown,
// so that the journal is flushed then as well. It is dropped after a
// [Tx.Rollback] only.
//
// All state belongs to the Tx and is collected with it. A transaction that ends
// without any call, by its context, leaves nothing behind, and the package starts
// no goroutines.
//
// Statements cannot be watched at this level: under PrepareStmt they run
// through *sql.Stmt. Boundaries come from here, statements from GORM's
// callbacks. What the package sees itself (COMMIT, SET and the like sent as
// text) it notes. For prepared texts the callbacks call [Tx.Observe].
package txn
