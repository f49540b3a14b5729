// Package txn stands below database/sql and sees what goes through a pool: where
// transactions begin and end, and which statements are sent, by whatever library.
//
// A [Connector] opens a driver's connections and puts a [Conn] before each. So a
// program keeps its *sql.DB, *sql.Tx, *sql.Conn and *sql.Stmt, and GORM its
// prepared statements, as they are. A program that makes its *sql.DB itself puts the
// Connector under it. [Pools.Install] puts one under the pool of a *gorm.DB that is
// open already.
//
// The connection knows the transaction that it is in: a [Tx], whether it was begun
// by database/sql or by text. The Tx owns what the plugin knows of the transaction:
// whether it has written ([Tx.Dirty]), whether its reads may differ from those of
// others ([Tx.Opaque]), and the [Journal] of what it has changed. [Pools.Of] finds
// it behind a pool that GORM has in Statement.ConnPool: it sends a statement through
// the pool whose context is a probe, which the connection answers without asking the
// database.
//
// At COMMIT the connection sends it, flushes the journal, and only then returns:
// code that runs after a commit finds the cache invalidated. The outcome of a COMMIT
// that returned an error is unknown, so that the journal is flushed then as well. It
// is dropped after a rollback only.
//
// Statements whose context says that somebody knows of them ([Known]) are sent as
// they are. All others are shown to [Options.Watch].
package txn
