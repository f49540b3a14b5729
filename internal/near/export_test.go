package near

// Indexed returns the number of entries in a namespace's index.
func Indexed(s *Space) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := map[*Entry]struct{}{}
	for _, t := range s.tables {
		for e := range t.all {
			all[e] = struct{}{}
		}
	}
	return len(all)
}
