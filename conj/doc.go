// Package conj turns SQL texts into what a cache must know of them: which
// tables a statement reads and writes, and which rows of each table can make
// a difference to its result.
//
// A text is compiled once into a [Plan]. For each table that a query reads,
// the plan holds the query's condition on that table in disjunctive normal
// form, reduced to terms that can be looked up: column = value and column IS
// NULL. [Plan.Bind] fills in a call's arguments and gives the conjunctions as
// keys. A row's [Image] gives keys by the same schemes ([Table.Keys]). A row
// that shares no key with a query can neither be in its result nor have
// influenced it.
//
// In a read, conj stands between the final SQL text of GORM and package
// internal/store, which keeps a result under the keys that [Plan.Bind] returns. In
// a write, a plan's [Write] says how to get the images of the rows about to change,
// and the images' keys say what to drop.
//
// The parser reads PostgreSQL, MySQL (and MariaDB) and SQLite tolerantly: it
// understands tables, joins and the boolean skeleton of conditions and skips
// the rest. Where it is not certain that a condition narrows, the condition is
// opaque and doesn't. A missed invalidation would serve stale rows, one too many
// only costs a query.
//
// The idea of conjunction keys is that of Alexander Schepanovski's
// django-cacheops; the package imports nothing of this module and does no
// I/O but through [Lookup].
package conj
