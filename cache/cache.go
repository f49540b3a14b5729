// Package cache is what application code imports to decide, for one query or
// one context, whether and how the plugin caches it.
//
// In a read it stands before everything else. Its scopes ([Cache], [NoCache]) and
// clauses ([With], [Without]) leave [Settings] in a GORM statement. Its switches
// ([WithoutCache], [Vary]) leave values in a context. The plugin, the module's
// root package, reads both when the statement runs, and tells in an [Info] how it
// was answered ([WithInfo]). In a write it has one part: [WithoutInvalidation].
//
// The package depends on GORM only. A program that uses it without the plugin
// installed runs as if it did not.
package cache

import (
	"time"

	"gorm.io/gorm"
	"gorm.io/gorm/clause"
)

// Settings is what the scopes and clauses of this package say of one query; see
// [Of].
type Settings struct {
	// Off is true after [NoCache] or [Without].
	Off bool
	// Ops are the operations to cache, whatever the profile lists.
	Ops Op
	// Timeout is the lifetime of the result; zero means the profile's.
	Timeout time.Duration
	// Lock makes one process compute a missing result while others wait.
	Lock bool
	// Extra are values that the cache key varies with.
	Extra []any
	// On are the columns that alone decide which changes drop the result.
	On []string
	// DependsOn are further tables, by name or as models. It is not nil after
	// the option, even without any.
	DependsOn []any
	// Volatile accepts a result that nothing but its timeout makes new.
	Volatile bool
	// MaxStale is for how long the near cache may serve the result without asking
	// Redis; nil means what the profiles say.
	MaxStale *time.Duration
}

// Option is an option of [Cache] and [With].
type Option func(*Settings)

// Timeout sets the lifetime of the result in place of the profile's. Zero leaves
// the profile's; a negative duration, or one below a millisecond, is an error of
// the query. It caches volatile functions, too, as [AllowVolatile] does.
func Timeout(d time.Duration) Option {
	return func(s *Settings) { s.Timeout = d }
}

// Ops names the operations to cache: a scope shared by a page and its count
// can cache the count alone. Without this option all operations are cached
// ([All]). Ops() with no argument caches none. A value that is none of the
// constants is an error of the query.
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
// waiter asks the database itself when the result does not come within
// Config.LockWait.
func Lock() Option {
	return func(s *Settings) { s.Lock = true }
}

// Extra adds values to the cache key: queries that differ in them are
// different entries. The values must be of basic types, times, byte slices or
// [database/sql/driver.Valuer]s. A query with another one is not cached.
func Extra(values ...any) Option {
	return func(s *Settings) { s.Extra = append(s.Extra, values...) }
}

// On limits what drops the result to changes of the given columns' conditions,
// each given as "column", "table.column" or "schema.table.column":
//
//	db.Scopes(cache.Cache(cache.On("orders.user_id"))).
//		Joins("JOIN items ON items.order_id = orders.id").
//		Where("orders.user_id = ? AND orders.total > ?", 5, 100).
//		Find(&orders)
//
// is dropped by every change of an order of user 5, in its old or its new
// state, and by nothing else. Without the option any change of any item would
// drop it, since the query asks no value of the items. You vouch for the
// difference: until its timeout the result may be older than
//
//   - the tables of which no column is named (an item that is added to one of
//     the orders),
//   - rows that come in or go out by another branch of an OR, one that asks
//     nothing of the named columns (with "user_id = 5 OR total > 100", orders of
//     other users), and likewise by another part of the query that reads the
//     table, such as a second alias, a subquery or a side of a UNION.
//
// Several columns of a table count together where a condition asks values of
// all of them, and each for itself where it does not. What the query's
// conditions can't tell for this call (an IN of more than MaxInValues
// values, a parameter of another type) depends on any row of the table, as it
// would without the option. Changes that drop a table as a whole still do so
// for every table of the query.
//
// A column by which the query doesn't narrow is an error of the query, as is
// one that it doesn't read; see Config.MaxInValues and docs/sql.md for
// what narrows. Preloads of the query are not limited. The option is that of
// django-cachebot's cache('user').
func On(columns ...string) Option {
	return func(s *Settings) { s.On = append(s.On, columns...) }
}

// DependsOn adds tables, by name or as models, any change of which drops the
// result: those that functions, views and foreign tables read and that the
// query's text doesn't show. You vouch that these are all. The query is then
// cached even though it reads a view whose tables can't be told, or calls a
// function that is not known to be stable. DependsOn() says that they read no
// further table.
//
// A table that the database doesn't have is an error of the query. Preloads
// inherit the option.
func DependsOn(tables ...any) Option {
	return func(s *Settings) {
		if s.DependsOn == nil {
			s.DependsOn = []any{}
		}
		s.DependsOn = append(s.DependsOn, tables...)
	}
}

// AllowVolatile caches a query whose result changes by itself: by now(),
// random() or a function of which nothing is known. It is kept until its
// timeout, the profile's or that of [Timeout], and may be as old as that. An
// explicit [Timeout] says the same. Statements with side effects and locking reads are
// never cached.
func AllowVolatile() Option {
	return func(s *Settings) { s.Volatile = true }
}

// MaxStale permits serving the result out of the process's own memory
// (Config.NearCache) without asking Redis, for that long after Redis has last
// vouched for it. It overrides the profiles of the tables; MaxStale(0) asks
// Redis each time. It is no longer than the timeout. A negative duration is an
// error of the query. Without a near cache it does nothing.
func MaxStale(d time.Duration) Option {
	return func(s *Settings) { s.MaxStale = &d }
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

// Cache is a scope that opts the query in to the cache, whatever operations its
// profile lists. A nil profile still forbids it:
//
//	db.Scopes(cache.Cache(cache.Timeout(time.Minute))).Where("tag_id = ?", 2).Find(&articles)
//
// Preloads and associations of the query inherit it; preloads don't inherit [On].
// [With] is the same as a clause.
func Cache(opts ...Option) func(*gorm.DB) *gorm.DB {
	s := settings(opts)
	return func(db *gorm.DB) *gorm.DB { return db.Set(settingsKey, s) }
}

// NoCache is a scope that sends the query, and everything that is derived from
// its handle, to the database. [Without] is the same as a clause, and
// [WithoutCache] does it for a context.
func NoCache() func(*gorm.DB) *gorm.DB {
	s := &Settings{Off: true}
	return func(db *gorm.DB) *gorm.DB { return db.Set(settingsKey, s) }
}

// With is [Cache] as a clause, for GORM's generics API and for Clauses:
//
//	users, err := gorm.G[User](db, cache.With()).Where("age = ?", 18).Find(ctx)
func With(opts ...Option) clause.Expression { return modifier{settings(opts)} }

// Without is [NoCache] as a clause.
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
