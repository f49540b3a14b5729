// Package follow tells the cache of what others commit: of changes that a database's
// own log has, whoever made them.
//
// Packages replication/postgres and replication/mysql read the logs. This package is
// what they have in common: one follower at a time, in order, at least once, and in
// bounded memory. A [Log] is read by one goroutine, which merges what it finds into one
// batch; another one tells Redis of the batch, and only then counts the position as
// told. A third one looks what the database shows, and prolongs the seat.
//
// # Why a commit's own time is not asked
//
// A transaction is in the log before others can see it: while its commit waits for the
// disk, or for a standby. So no batch is told before a [View] of the database shows all
// of it; what was leased in between may have been read without it.
//
// What is leased after such a view was taken has seen the changes, and stays. So a
// program's own writes, which come back through the log, don't drop what was read again
// since. The views are taken every few milliseconds, and each is followed by a look at
// Redis' clock, by which leases are stamped. No other clock is compared with it.
package follow
