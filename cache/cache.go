// Package cache is what application code imports to decide, for one query or
// one context, whether and how the plugin caches it.
//
// It stands before everything else in the flow of a read: the scopes and
// clauses of this package leave Settings in a GORM statement, the switches
// leave values in a context, and the plugin (the module's root package) reads
// both when the statement runs. The package depends on GORM only, and a program
// that uses it without the plugin installed runs as if it did not.
package cache

import (
	"time"

	"gorm.io/gorm"
	"gorm.io/gorm/clause"
)

// Settings is what the scopes and clauses of this package say of one query.
type Settings struct {
	// Off is true after NoCache or Without.
	Off bool
	// Ops are the operations to cache, whatever the profile lists.
	Ops Op
	// Timeout is the lifetime of the result; zero means the profile's.
	Timeout time.Duration
	// Lock makes one process compute a missing result while others wait.
	Lock bool
	// Extra are values that the cache key varies with.
	Extra []any
}

// Option is an option of Cache and With.
type Option func(*Settings)

// Timeout sets the lifetime of the result in place of the profile's. A zero or
// negative duration leaves the profile's.
func Timeout(d time.Duration) Option {
	return func(s *Settings) { s.Timeout = d }
}

// Ops names the operations to cache: a scope shared by a page and its count
// can cache the count alone. Without this option all operations are cached;
// Ops() with no argument caches none.
func Ops(ops ...Op) Option {
	return func(s *Settings) {
		s.Ops = 0
		for _, op := range ops {
			s.Ops |= op
		}
	}
}

// Lock makes one process compute a missing result while the others wait for
// it, instead of all of them asking the database (dog-pile prevention). A
// waiter asks the database itself when the result does not come within the
// configuration's LockWait.
func Lock() Option {
	return func(s *Settings) { s.Lock = true }
}

// Extra adds values to the cache key: queries that differ in them are
// different entries. The values must be of basic types, times, byte slices or
// driver.Valuers; a query with another one is not cached.
func Extra(values ...any) Option {
	return func(s *Settings) { s.Extra = append(s.Extra, values...) }
}

// settingsKey is where Settings are kept in a statement's settings.
const settingsKey = "cacheplugin:query"

func settings(opts []Option) *Settings {
	s := &Settings{Ops: All}
	for _, opt := range opts {
		opt(s)
	}
	return s
}

// Cache is a scope that caches the query by hand, whatever operations its
// profile lists; a profile of nil still forbids it:
//
//	db.Scopes(cache.Cache(cache.Timeout(time.Minute))).Where("tag_id = ?", 2).Find(&articles)
//
// Preloads and associations of the query inherit it.
func Cache(opts ...Option) func(*gorm.DB) *gorm.DB {
	s := settings(opts)
	return func(db *gorm.DB) *gorm.DB { return db.Set(settingsKey, s) }
}

// NoCache is a scope that sends the query, and everything that is derived from
// its handle, to the database.
func NoCache() func(*gorm.DB) *gorm.DB {
	s := &Settings{Off: true}
	return func(db *gorm.DB) *gorm.DB { return db.Set(settingsKey, s) }
}

// With is Cache as a clause, for GORM's generics API and for Clauses:
//
//	users, err := gorm.G[User](db, cache.With()).Where("age = ?", 18).Find(ctx)
func With(opts ...Option) clause.Expression { return modifier{settings(opts)} }

// Without is NoCache as a clause.
func Without() clause.Expression { return modifier{&Settings{Off: true}} }

// modifier stores settings in a statement. GORM calls ModifyStatement instead
// of Build for an expression that has both.
type modifier struct{ settings *Settings }

// ModifyStatement implements gorm.StatementModifier.
func (m modifier) ModifyStatement(stmt *gorm.Statement) {
	stmt.Settings.Store(settingsKey, m.settings)
}

// Build implements clause.Expression; it adds nothing to the SQL.
func (modifier) Build(clause.Builder) {}

// Of returns the settings that a statement carries, or nil. The plugin calls
// it; programs need not.
func Of(stmt *gorm.Statement) *Settings {
	if v, ok := stmt.Settings.Load(settingsKey); ok {
		if s, ok := v.(*Settings); ok {
			return s
		}
	}
	return nil
}
