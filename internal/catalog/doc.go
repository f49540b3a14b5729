// Package catalog reads from the database what the plugin must know of its
// tables: real column types and collations, keys, defaults, triggers, and
// which other tables a foreign key's cascade reaches. Struct tags are not
// asked: tables are made by migrations, and whether two values are equal is
// for the database to say.
//
// On the way of a read, conj.Compile looks tables up here to learn which
// columns narrow; on the way of a write, the captured row is brought to its
// canonical form by the same columns, and cascades and triggers tell what
// else the statement changes.
//
// Every query uses system catalogs only and is written not to fail on an
// unknown name, since it may run in the user's own transaction, which
// PostgreSQL aborts at the first error. All rows are read and closed before a
// call returns, so that one connection is enough.
package catalog
