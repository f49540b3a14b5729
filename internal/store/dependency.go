package store

import (
	"slices"

	"github.com/cacheplugin/cacheplugin/conj"
)

// Dependency is what an entry depends on in one table. An entry without keys
// is dropped only by invalidations of the whole table.
type Dependency struct {
	Table   string        // the table's identity, such as "public.users"
	Schemes []conj.Scheme // the schemes of Keys
	Keys    []conj.Key    // the conjunctions

	// Joined says that more keys, of Schemes, are known only when the result
	// is: those of the rows of this table that it shows. Until Save names them
	// the entry depends on the whole table. Keys must not hold the key of the
	// whole table itself.
	Joined bool
}

// wholeTable is the conjunction of all rows of a table.
func wholeTable(table string) conj.Key { return conj.MakeKey(table, "", nil) }

// Dependencies turns what a bound plan depends on into what the store keeps:
// one Dependency per table, in order of first appearance.
func Dependencies(deps []conj.Dependency) []Dependency {
	all := make([]Dependency, 0, len(deps))
	for _, d := range deps {
		i := slices.IndexFunc(all, func(have Dependency) bool { return have.Table == d.Table.ID })
		if i < 0 {
			i = len(all)
			all = append(all, Dependency{Table: d.Table.ID, Keys: make([]conj.Key, 0, len(d.Conjunctions))})
		}
		have := &all[i]
		for _, c := range d.Conjunctions {
			if !slices.Contains(have.Schemes, c.Scheme) {
				have.Schemes = append(have.Schemes, c.Scheme)
			}
			have.Keys = append(have.Keys, c.Key)
		}
	}
	return all
}
