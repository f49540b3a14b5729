package cacheplugin

import (
	"fmt"
	"strings"

	"gorm.io/gorm"

	"github.com/cacheplugin/cacheplugin/cache"
	"github.com/cacheplugin/cacheplugin/internal/lookup"
)

// Explanation says how a query would be cached, and what drops it.
type Explanation struct {
	// SQL is the query's text.
	SQL string
	// Op is its operation.
	Op cache.Op
	// Cached reports whether it is looked up in the cache. Otherwise Reason
	// says why not.
	Cached bool
	Reason string
	// Table is the table whose profile applies.
	Table string
	// Key is the entry's key as it is spelled in Redis and as Observer events name it.
	Key string
	// Dependencies are the tables that the query reads, and which rows of
	// them.
	Dependencies []Dependency
	// On are the columns that alone count, if cache.On has limited the query.
	On []string
	// DependsOn are the tables that the query was said to depend on.
	DependsOn []string
	// Volatile is what makes the result change by itself, such as now(). If
	// the query is cached all the same, it was asked for.
	Volatile string
	// LongLists say of lists of values, such as a preload's IN, that they are
	// longer than Config.MaxInValues: any row of the table that the other
	// conditions don't rule out drops the result.
	LongLists []string
}

// Dependency is a table that a query reads, and the conjunctions one of which
// a row must satisfy, in its old or new state, to drop the result. The
// conjunction "keys of joined rows: id" stands for one for each row of the table
// that the result shows, known only with the result.
type Dependency struct {
	Table        string
	Conjunctions []string
	// Columns are those of which an update must change one to drop the result, in
	// the table's order; nil if any column may be one.
	Columns []string
}

// String shows the explanation in a few lines.
func (x Explanation) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s\n  operation: %s\n", x.SQL, x.Op)
	if x.Cached {
		fmt.Fprintf(&b, "  cached by the profile of %s, key %s\n", x.Table, x.Key)
	} else {
		fmt.Fprintf(&b, "  not cached: %s\n", x.Reason)
	}
	if x.Volatile != "" {
		fmt.Fprintf(&b, "  volatile by %s: at most as old as its timeout\n", x.Volatile)
	}
	if len(x.On) > 0 {
		fmt.Fprintf(&b, "  dropped by changes on %s only\n", strings.Join(x.On, ", "))
	}
	if len(x.DependsOn) > 0 {
		fmt.Fprintf(&b, "  said to depend on %s\n", strings.Join(x.DependsOn, ", "))
	}
	for _, list := range x.LongLists {
		fmt.Fprintf(&b, "  %s\n", list)
	}
	for _, d := range x.Dependencies {
		for _, c := range d.Conjunctions {
			fmt.Fprintf(&b, "  dropped by rows of %s with %s\n", d.Table, c)
		}
		if len(d.Columns) > 0 {
			fmt.Fprintf(&b, "  by updates of %s only if they change one of %s\n", d.Table, strings.Join(d.Columns, ", "))
		}
	}
	return b.String()
}

// Explain says how the query that a handle stands for would be cached, without
// running it:
//
//	cacheplugin.Explain(db.Model(&User{}).Where("age = ?", 18))
//
// The handle is taken as a Find into a slice of its model, unless it has a
// limit of one, or has made a Count:
//
//	cacheplugin.Explain(db.Model(&User{}).Where("age = ?", 18).Count(&n))
func Explain(db *gorm.DB) (Explanation, error) {
	h, err := handleOf(db)
	if err != nil {
		return Explanation{}, err
	}
	tx := lookup.BuildQuery(db)
	if tx.Error != nil {
		return Explanation{}, fmt.Errorf("cacheplugin: explain: %w", tx.Error)
	}
	stmt := tx.Statement
	x := Explanation{SQL: stmt.SQL.String()}
	if h == nil {
		x.Reason = "the plugin is disabled"
		return x, nil
	}
	found, err := h.reads.Explain(stmt.Context, lookup.NewQuery(tx, db.Statement.ConnPool, h.databases.Place(db.Statement.ConnPool), x.SQL, stmt.Vars, false))
	if err != nil {
		return x, fmt.Errorf("cacheplugin: explain: %w", err)
	}
	x.Op, x.Table, x.Key = found.Op, found.Table, found.Key
	x.Cached, x.Reason = found.Reason == "", found.Reason
	x.On, x.DependsOn, x.Volatile, x.LongLists = found.On, found.DependsOn, found.Volatile, found.LongLists
	for _, d := range found.Dependencies {
		x.Dependencies = append(x.Dependencies, Dependency(d))
	}
	return x, nil
}
