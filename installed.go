package cacheplugin

import "gorm.io/gorm"

// ConfigOf returns the configuration of the plugin that a handle has, with its
// defaults filled in, for packages that build on it: package decorators asks
// it for the client and the prefix. Of a plugin with Disabled set, only that
// means anything. It returns ErrNotInstalled for a handle without the plugin.
func ConfigOf(db *gorm.DB) (Config, error) {
	e, err := engineOf(db)
	if err != nil {
		return Config{}, err
	}
	if e == nil {
		return Config{Disabled: true}, nil
	}
	return e.config, nil
}
