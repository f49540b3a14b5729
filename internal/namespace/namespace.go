// Package namespace holds the parts of a Redis that results are kept in apart
// from others: that of the program's prefix alone, and those that a prefix by
// tenant or by database makes of it.
package namespace

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"

	"gorm.io/gorm"

	"github.com/cacheplugin/cacheplugin/internal/database"
	"github.com/cacheplugin/cacheplugin/internal/near"
	"github.com/cacheplugin/cacheplugin/internal/store"
)

// Namespace is one of them. It is compared by identity.
type Namespace struct {
	ID    string // what its name adds to the prefix
	Store *store.Store
	Guard *store.Guard
	Near  *near.Space

	// tryAlways has every read try, however long Redis has been away: who asked
	// for its errors is to get one from each.
	tryAlways bool
	followed  atomic.Bool
}

// Follow calls follow once, to have the process told of what others invalidate
// in the namespace.
func (n *Namespace) Follow(follow func(*store.Store, *near.Space)) {
	if !n.followed.Load() && !n.followed.Swap(true) {
		follow(n.Store, n.Near)
	}
}

// Unreadable says why reads of some tables must not be looked up now; empty if
// they may be.
func (n *Namespace) Unreadable(tables []string) string {
	if n.Guard.Bypass(tables...) {
		return "an invalidation is pending"
	}
	if !n.tryAlways && !n.Guard.Available() {
		return "Redis does not answer"
	}
	return ""
}

// Options configure the namespaces of a plugin.
type Options struct {
	// Store's Namespace is the prefix.
	Store store.Options
	Guard store.GuardOptions
	Near  *near.Cache
	// TryAlways has reads try Redis however long it has been away.
	TryAlways bool
	// PerDatabase keeps databases apart.
	PerDatabase bool
	// Suffix, if set, is what the prefix gets for a context, a database and
	// the tables of a query. It reports as well whether it asked for the one
	// table where there are several.
	Suffix func(ctx context.Context, database string, tables []string) (suffix string, several bool)
}

// Set holds the namespaces that a process has met. It is safe for concurrent
// use.
type Set struct {
	options Options
	home    *Namespace

	mu   sync.Mutex
	byID map[string]*Namespace
}

// NewSet opens the namespace of the prefix alone.
func NewSet(o Options) (*Set, error) {
	s := &Set{options: o, byID: map[string]*Namespace{}}
	home, err := s.Open("")
	if err != nil {
		return nil, err
	}
	s.home = home
	return s, nil
}

// Home is the namespace of the prefix alone.
func (s *Set) Home() *Namespace { return s.home }

// Open returns the namespace of an ID, made at its first use.
func (s *Set) Open(id string) (*Namespace, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if n, ok := s.byID[id]; ok {
		return n, nil
	}
	o := s.options.Store
	o.Namespace += id
	st, err := store.New(o)
	if err != nil {
		return nil, err
	}
	n := &Namespace{
		ID: id, Store: st, Guard: store.NewGuard(st, s.options.Guard),
		Near: s.options.Near.Space(), tryAlways: s.options.TryAlways,
	}
	s.byID[id] = n
	return n, nil
}

// All returns every namespace that the process has met.
func (s *Set) All() []*Namespace {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := make([]*Namespace, 0, len(s.byID))
	for _, n := range s.byID {
		all = append(all, n)
	}
	return all
}

// Sole returns the one namespace of all tables, nil where the configuration
// makes several.
func (s *Set) Sole() *Namespace {
	if s.options.Suffix == nil && !s.options.PerDatabase {
		return s.home
	}
	return nil
}

// escape keeps the braces, which mark a slot, and the marks of this package out
// of suffixes.
var escape = strings.NewReplacer("%", "%25", "{", "%7b", "}", "%7d", "@", "%40")

// Of returns the namespace of a query on some tables of a database, which pool
// leads to. several reports that the prefix goes by the one table of several.
func (s *Set) Of(ctx context.Context, d *database.Database, pool gorm.ConnPool, tables ...string) (n *Namespace, several bool, err error) {
	if n := s.Sole(); n != nil {
		return n, false, nil
	}
	// All handles on one database must agree on its namespace. Two in one
	// memory do by the empty name.
	server, err := d.Catalog.Server(ctx, pool)
	if err != nil {
		return nil, false, err
	}
	id := ""
	if s.options.PerDatabase {
		sum := sha256.Sum256([]byte(server.Database))
		id = "@" + hex.EncodeToString(sum[:8])
	}
	if s.options.Suffix != nil {
		var suffix string
		if suffix, several = s.options.Suffix(ctx, server.Database, tables); suffix != "" {
			id += ":" + escape.Replace(suffix)
		}
	}
	n, err = s.Open(id)
	if err != nil {
		return nil, false, fmt.Errorf("open the namespace %q: %w", id, err)
	}
	return n, several, nil
}

// Reached returns the namespaces that a write reaches of which nothing more is
// known: that of its context, or, where the prefix goes by tables, all that this
// process has met.
func (s *Set) Reached(ctx context.Context, d *database.Database, pool gorm.ConnPool) []*Namespace {
	n, several, err := s.Of(ctx, d, pool)
	if several || err != nil {
		return s.All()
	}
	return []*Namespace{n}
}
