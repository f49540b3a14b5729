// Package history is what the checker's processes write down of what they do,
// one file for each client (a goroutine that reads or writes), and how that is
// read back.
//
// It stands between the workers, who write, and package rules, which judges.
// Times are nanoseconds of CLOCK_MONOTONIC, which all processes of a machine
// share and nobody can set: the order of two events of two processes is the
// order of their times. Files may end in the middle of a record, as those of
// killed processes do; what is before it counts.
package history
