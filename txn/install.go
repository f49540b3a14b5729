package txn

import (
	"database/sql"
	"fmt"
	"reflect"

	"gorm.io/gorm"
)

// resolverCallback is the name under which dbresolver registers its callbacks.
const resolverCallback = "gorm:db_resolver"

// Install wraps the connection pool of db, under its prepared statements.
//
// Installing again is a no-op, also for another *gorm.DB on the same wrapped
// pool: dbresolver opens its sources and replicas with a copy of the
// configuration, plugins included. A *gorm.DB without a pool (dry runs), or
// opened on a transaction, is left as it is; Of says Foreign for the latter.
//
// Sessions made before keep the bare pool, except that those with prepared
// statements of the configuration share the wrapped one. So Install belongs
// right after gorm.Open, and is not safe for use concurrent with statements.
//
// With both plugins in gorm.Config.Plugins, a map, GORM initializes them in any
// order: use db.Use.
//
// Errors: [ErrResolverFirst], [ErrOwner], [ErrNoJournal].
func Install(db *gorm.DB, o Options) error {
	if o.NewJournal == nil {
		return ErrNoJournal
	}
	if o.Dialect == "" && db.Dialector != nil {
		o.Dialect = db.Name()
	}

	// The innermost pool, and the prepared layer right above it.
	var prepared *gorm.PreparedStmtDB
	inner := db.ConnPool
	for range maxLayers {
		p, ok := inner.(*gorm.PreparedStmtDB)
		if !ok || p == nil {
			break
		}
		prepared, inner = p, p.ConnPool
	}

	switch p := inner.(type) {
	case nil:
		return nil
	case *Pool:
		if p.options.Owner != o.Owner {
			return fmt.Errorf("install in gorm: %w", ErrOwner)
		}
		return nil
	case gorm.TxCommitter:
		return nil
	case *sql.DB:
		if p == nil {
			return nil
		}
	}

	// Not by db.Plugins: sources that dbresolver opens share that map.
	if db.Callback().Query().Get(resolverCallback) != nil {
		return fmt.Errorf("install in gorm: %w", ErrResolverFirst)
	}

	pool := newPool(inner, &o)
	if prepared != nil {
		prepared.ConnPool = pool
		return nil
	}
	if db.Statement != nil && same(db.Statement.ConnPool, inner) {
		db.Statement.ConnPool = pool
	}
	db.ConnPool = pool
	return nil
}

// same compares pools, which may be of a type that == panics on.
func same(a, b gorm.ConnPool) bool {
	return a != nil && reflect.TypeOf(a).Comparable() && a == b
}
