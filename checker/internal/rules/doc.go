// Package rules holds what processes have read against what they have
// committed.
//
// NewIndex makes of the writers' histories, and of the tables as they are in
// the end, the chain of versions that each row went through, with the times at
// which COMMIT was sent, was answered, and had returned to the caller. That is
// kept in memory, some hundred bytes for each commit. Index.Judge then goes
// through a reader's history in one pass and asks of each answer: is there a
// version of each row that it can show, that it is owed, and in which it
// belongs into the answer? Nothing is searched: the time is O(n log n) in the
// commits and, for the few that are wrong, in the reads.
//
// Three grades are judged at once; see Grade. Registers hands short histories
// to porcupine, a checker of linearizability that knows nothing of all this, as
// a second opinion.
package rules
