package cacheplugin

import (
	"gorm.io/gorm"

	"github.com/cacheplugin/cacheplugin/internal/lookup"
)

// LookupsOf returns the way of reads on a handle, for package lists. It is nil of a
// plugin with Disabled set. It returns ErrNotInstalled for a handle without the plugin.
func LookupsOf(db *gorm.DB) (*lookup.Handle, error) {
	h, err := handleOf(db)
	if err != nil || h == nil {
		return nil, err
	}
	return h.reads, nil
}
