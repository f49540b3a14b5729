package store

// SetToken replaces what makes the tokens of look-ups.
func SetToken(s *Store, token func() string) (undo func()) {
	old := s.token
	s.token = token
	return func() { s.token = old }
}
