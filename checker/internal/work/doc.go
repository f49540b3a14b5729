// Package work is what the checker's processes do: readers read a few rows in
// every way, writers change them in every way, both through handles with the
// plugin, and write down what they did (package history). Where there are followers
// of the database's log, half of the writers have no plugin.
//
// A process is the checker's own program, started again with a Job on its
// standard input: Main runs it, package chaos starts, commands and kills it.
// Its commands and what it tells are lines; see Command and Told.
package work
