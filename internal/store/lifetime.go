package store

import "time"

// grace is the time that a query may take before its result loses some of its own:
// what a result depends on is kept for so much longer, from the look-up on.
const grace = time.Second

// lifetime returns for how many milliseconds a look-up keeps what an entry depends on:
// as long as the result or the lease needs it. Without it an entry is a miss, and what
// nobody needs any more is to go soon, since a short timeout means many keys.
func (s *Store) lifetime(ttl time.Duration) int64 {
	return max(1, (max(ttl, s.leaseTTL) + grace).Milliseconds())
}

// outliving returns the sets of a lease that live for longer than its result needs,
// because the lease may take longer to be saved. Of stamps nobody knows who needs
// them.
func (s *Store) outliving(deps []Dependency, ttl time.Duration) []string {
	if ttl >= s.leaseTTL || s.mode != "sets" {
		return nil
	}
	var sets []string
	for _, d := range deps {
		for _, k := range d.Keys {
			sets = append(sets, s.ConjunctionName(d.Table, k))
		}
	}
	return sets
}
