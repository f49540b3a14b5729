package decorators

import (
	"fmt"
	"reflect"
	"sync"

	"gorm.io/gorm"

	"github.com/cacheplugin/cacheplugin"
)

// claimer is a place of values that knows which names are in use there.
type claimer interface {
	// claim reserves a name, and reports whether it was free.
	claim(name string) (bool, error)
}

// names is a claimer of its own.
type names struct{ taken sync.Map }

func (n *names) claim(name string) (bool, error) {
	_, taken := n.taken.LoadOrStore(name, true)
	return !taken, nil
}

// pluginNames are the names of one place that the plugin of a handle knows.
type pluginNames struct {
	db    *gorm.DB
	place any // nil: the plugin's own cache
}

// pluginName is what the plugin is asked for.
type pluginName struct {
	place any
	name  string
}

// simplePlace is that of the plugin's simple cache, however often
// NewRedisCache was called.
type simplePlace struct{}

func (p pluginNames) claim(name string) (bool, error) {
	return cacheplugin.Claim(p.db, pluginName{p.place, name})
}

// claimer returns who knows the names of the place where the values are kept, nil
// if nobody does.
func (o *options) claimer(db *gorm.DB) claimer {
	if o.on == nil {
		return pluginNames{db: db}
	}
	if c, ok := o.on.(claimer); ok {
		return c
	}
	if !isHandle(db) || db.Plugins[cacheplugin.Name] == nil || !reflect.ValueOf(o.on).Comparable() {
		return nil
	}
	return pluginNames{db, o.on}
}

// claim reserves a name, at the end of a registration: one that fails can be
// repeated.
func (o *options) claim(what string, db *gorm.DB, name string) error {
	c := o.claimer(db)
	if c == nil {
		return nil
	}
	free, err := c.claim(name)
	switch {
	case err != nil:
		return fmt.Errorf("%s: %w", what, err)
	case !free:
		return fmt.Errorf("%s: %w", what, ErrNameTaken)
	}
	return nil
}
