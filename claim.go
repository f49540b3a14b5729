package cacheplugin

import "gorm.io/gorm"

// Claim reserves a key among all callers that share the plugin of a handle, and
// reports whether it was free. It is for packages that build on the plugin:
// package decorators claims the names of functions, so that no two answer for
// each other. As with the keys of a context, the type of the key should be the
// caller's own. A claim lasts as long as the plugin. Claim returns
// ErrNotInstalled for a handle without the plugin.
func Claim(db *gorm.DB, key any) (bool, error) {
	p, ok := db.Plugins[Name].(*Plugin)
	if !ok {
		return false, ErrNotInstalled
	}
	_, taken := p.claims.LoadOrStore(key, true)
	return !taken, nil
}
