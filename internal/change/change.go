// Package change says how much of what is cached a write can have made wrong.
//
// On the way of a write, package rows finds it out for each table, package
// commit collects it until the transaction ends, and package store drops what
// it reaches. The outbox stores it in between.
package change

// Extent is how far a change reaches. A wider extent includes the narrower
// ones: where a change can't be pinned down, its extent is widened.
type Extent uint8

// The extents, from the narrowest to the widest.
const (
	// Nothing is the extent of a change that touches no result.
	Nothing Extent = iota
	// Rows is the extent of a change whose rows are known, before and after.
	Rows
	// Table is the extent of a change of any row of a table.
	Table
	// Everything is the extent of a change of any row of any table.
	Everything
)

// String returns the constant's name in lower case.
func (e Extent) String() string {
	switch e {
	case Nothing:
		return "nothing"
	case Rows:
		return "rows"
	case Table:
		return "table"
	case Everything:
		return "everything"
	}
	return "unknown"
}
