// Package sqltoken splits SQL texts into tokens, as the three dialects do.
//
// It is the one place that knows where a string, a comment or a name ends.
// Package conj parses its tokens, txn finds the statements of a text by them,
// and internal/catalog reads what SQLite keeps of a definition.
//
// A [Scanner] is strict or guesses. Where the end of a token depends on a
// server's setting (backslashes in MySQL's strings), a strict one fails, and
// one that guesses goes by the setting's default.
package sqltoken
