package rules

import (
	"cmp"
	"slices"
	"sort"

	"github.com/cacheplugin/cacheplugin/checker/internal/history"
)

// followed is what followers have told of, in the order of time: only what is further
// on than all before.
type followed []history.Record

// readFollowed reads the followers' files. Each of them speaks for all of the log that
// lies before: what it has begun behind, another one has told of.
func readFollowed(files []string) (followed, error) {
	var all followed
	for _, file := range files {
		err := history.Read(file, func(r *history.Record) error {
			all = append(all, history.Record{Start: r.Start, Place: r.Place})
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	slices.SortFunc(all, func(a, b history.Record) int { return cmp.Compare(a.Start, b.Start) })
	furthest := uint64(0)
	return slices.DeleteFunc(all, func(r history.Record) bool {
		if r.Place <= furthest {
			return true
		}
		furthest = r.Place
		return false
	}), nil
}

// told is when it was told of the log up to a place; never if it wasn't.
func (f followed) told(place uint64) int64 {
	i := sort.Search(len(f), func(i int) bool { return f[i].Place >= place })
	if i == len(f) {
		return never
	}
	return f[i].Start
}
