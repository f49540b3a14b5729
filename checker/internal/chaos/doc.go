// Package chaos runs the checker's processes on real servers, does to them what
// a Fault says, and has what they read judged.
//
// A Cell is one run: a database, a mode, a grade of consistency and a fault,
// for a time or a number of reads. What may go wrong under a fault is stated
// with it (Expect); a Result that shows more has found a bug, and one that shows
// less where something must go wrong has found a blind checker.
package chaos
