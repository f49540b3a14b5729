// Package twin holds the plugin against the database: random writes go through
// a handle with the plugin, and after each the queries that are alive are asked
// through it and through a handle without. Both must answer alike.
//
// It stands outside the flow of a read and a write; there are only tests in it.
// docs/twin.md says how to run it for long and how to run a failure again.
package twin
