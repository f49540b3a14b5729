package cache

import "strings"

// Op is a set of operations that can be cached: [Get], [Fetch], [Count],
// [Aggregate], [Exists], or [All].
type Op uint8

// The operations.
const (
	// Get is a query for one row: First, Last, Take, a Find into a struct, or
	// any query with LIMIT 1.
	Get Op = 1 << iota
	// Fetch is a query for rows: Find, Scan, Pluck, Rows, a Preload's or an
	// association's query.
	Fetch
	// Count is a query for one count.
	Count
	// Aggregate is a query for aggregate functions, or one with GROUP BY.
	Aggregate
	// Exists is a query for whether there is a row.
	Exists
	// All is every operation.
	All = Get | Fetch | Count | Aggregate | Exists
)

var opNames = [...]string{"get", "fetch", "count", "aggregate", "exists"}

// Has reports whether the set holds every operation of other.
func (o Op) Has(other Op) bool { return o&other == other }

// Valid reports whether the set holds nothing but operations of this package.
func (o Op) Valid() bool { return o&^All == 0 }

// String names the operations, such as "get|count"; the empty set is "none".
func (o Op) String() string {
	if o == 0 {
		return "none"
	}
	var names []string
	for i, name := range opNames {
		if o&(1<<i) != 0 {
			names = append(names, name)
		}
	}
	if !o.Valid() {
		names = append(names, "unknown")
	}
	return strings.Join(names, "|")
}
