// Package crosscheck compares package conj with parsers that others have
// written: PostgreSQL's own (as WebAssembly, by go-pgquery) and TiDB's for
// MySQL and MariaDB. It holds tests only, in a module of its own, so that
// nobody who imports the plugin compiles them.
//
// Over the corpus of texts that GORM's test-suite sends, and over generated
// ones, it compares the kind of a statement, the tables that it reads and
// writes and whether it locks or calls what isn't stable; and it looks for rows
// that the parser's tree lets through its conditions although no conjunction
// of conj's plan holds for them: such a row would change a result and not drop
// it.
package crosscheck
