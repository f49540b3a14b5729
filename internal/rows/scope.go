package rows

import "github.com/cacheplugin/cacheplugin/internal/change"

// scope is how far a change reaches, and why it isn't known more closely.
type scope struct {
	extent change.Extent
	reason string
}

// widen makes the scope wider, if it is not as wide already.
func (s *scope) widen(to change.Extent, reason string) {
	if to > s.extent {
		s.extent, s.reason = to, reason
	}
}

// wide reports whether more may have changed than rows that are known.
func (s *scope) wide() bool { return s.extent > change.Rows }
