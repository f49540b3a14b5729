package shapes

// enough is how many misses of a shape it takes to say something about it.
const enough = 100

// Advice says what to do about a shape for which the cache does nothing; empty if
// there is nothing to say.
func (c Counts) Advice() string {
	switch {
	case c.ID == Others || c.Misses < enough:
		return ""
	case c.Hits == 0 && 2*c.Dropped < c.Misses:
		return "it never hits: a parameter changes with every call, such as time.Now(), or nobody asks twice within the timeout; round the parameter, or leave the query out by cache.NoCache"
	case c.Hits < c.Dropped && 2*c.Dropped >= c.Misses:
		return "its results are dropped before they are read again: narrow it by a column that tells rows apart, or leave it out by cache.NoCache"
	}
	return ""
}

// Advice is that of the shape's numbers, for every hundredth miss; empty for others.
func (s *Shape) Advice(misses int64) string {
	if misses%enough != 0 {
		return ""
	}
	return s.counts().Advice()
}
