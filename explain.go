package cacheplugin

import (
	"cmp"
	"errors"
	"fmt"
	"strings"

	"gorm.io/gorm"

	"github.com/cacheplugin/cacheplugin/cache"
	"github.com/cacheplugin/cacheplugin/internal/callbacks"
	"github.com/cacheplugin/cacheplugin/internal/lookup"
	"github.com/cacheplugin/cacheplugin/txn"
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
	// Writes says that the statement writes. Drops is what it would drop then, by
	// table: only ExplainFunc finds it out, and with cache.WithoutInvalidation it is
	// nothing.
	Writes bool
	Drops  []Drop

	tried bool // by ExplainFunc
}

// Drop is what a write would drop of a table.
type Drop struct {
	// Table is the table, with its schema or database; "*" stands for all tables.
	Table string
	// Rows is how many of its rows have changed, as far as that is known.
	Rows int
	// Whole says that all is dropped that is cached of the table, and Why why.
	Whole bool
	Why   string
	// Cached reports whether something is cached, at the moment, that would be
	// dropped.
	Cached bool
	// Keys are the keys of results that would be, as Explanation.Key has them: of
	// rows, in mode ConjunctionSets. Some may have expired, and of many not all
	// are named.
	Keys []string
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
	fmt.Fprintf(&b, "%s\n", x.SQL)
	if x.Writes {
		x.writeDrops(&b)
		return b.String()
	}
	fmt.Fprintf(&b, "  operation: %s\n", x.Op)
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

func (x Explanation) writeDrops(b *strings.Builder) {
	switch {
	case !x.tried:
		b.WriteString("  a write: let ExplainFunc run it to see what it would drop\n")
	case len(x.Drops) == 0:
		b.WriteString("  drops nothing\n")
	}
	for _, d := range x.Drops {
		switch {
		case !d.Cached:
			fmt.Fprintf(b, "  drops nothing of %s: nothing is cached that depends on the rows (%d)\n", d.Table, d.Rows)
		case d.Whole:
			fmt.Fprintf(b, "  drops all that is cached of %s: %s\n", d.Table, d.Why)
		case len(d.Keys) == 0:
			fmt.Fprintf(b, "  drops results of %s (rows: %d)\n", d.Table, d.Rows)
		default:
			fmt.Fprintf(b, "  drops results of %s (rows: %d): %s\n", d.Table, d.Rows, strings.Join(d.Keys, ", "))
		}
	}
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
//
// What a write would drop can't be told without running it: ExplainFunc does. A
// handle that has made one is an error.
func Explain(db *gorm.DB) (Explanation, error) {
	h, err := handleOf(db)
	if err != nil {
		return Explanation{}, err
	}
	if lookup.Written(db.Statement) {
		return Explanation{}, errors.New("cacheplugin: explain: the handle has made a write, or is for one: let ExplainFunc make it, which rolls it back and says what it would drop")
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
	x.take(found)
	return x, nil
}

// take takes over what was found out about a query.
func (x *Explanation) take(found lookup.Explanation) {
	x.Op, x.Table, x.Key = found.Op, found.Table, found.Key
	x.Cached, x.Reason, x.Writes = found.Reason == "", found.Reason, found.Writes
	x.On, x.DependsOn, x.Volatile, x.LongLists = found.On, found.DependsOn, found.Volatile, found.LongLists
	for _, d := range found.Dependencies {
		x.Dependencies = append(x.Dependencies, Dependency(d))
	}
}

// ExplainFunc runs a function in a transaction that it rolls back, and explains
// the statements that the function runs by the handle that it is given, in their
// order: of a query, that of a preload as well, how it would be cached; of a write,
// what it would drop of what is cached now.
//
//	list, err := cacheplugin.ExplainFunc(db, func(tx *gorm.DB) error {
//		return tx.Model(&article).Update("title", "Deuterium").Error
//	})
//
// Each statement is explained as if it stood alone, outside of the transaction; of a
// handle that is in a transaction, as a part of it. The queries are answered by the
// database, and nothing is stored or dropped. Statements that could not be undone are
// refused, such as COMMIT, and definitions on MySQL. What a rollback does not undo
// stays done: numbers that the database has given, rows of MySQL's older engines, what
// the function does elsewhere. Writes by a handle with another context are undone, and
// not explained.
//
// In a handle's own transaction the function is undone to a savepoint: the transaction
// counts as one that has written from then on. The error is the function's, or that
// the statements could not be explained or undone. What was explained before it is
// returned with it.
func ExplainFunc(db *gorm.DB, fn func(tx *gorm.DB) error) ([]Explanation, error) {
	h, err := handleOf(db)
	switch {
	case err != nil:
		return nil, err
	case h == nil:
		return nil, errors.New("cacheplugin: ExplainFunc: the plugin is disabled and sees no statements: leave out Config.Disabled")
	}
	trial := new(callbacks.Trial)
	place := h.databases.Place(db.Statement.ConnPool)
	switch place.Where {
	case txn.InTx:
		if db.DisableNestedTransaction {
			return nil, errors.New("cacheplugin: ExplainFunc: the handle is in a transaction, which DisableNestedTransaction lets nothing be undone in: use a handle outside of it")
		}
	case txn.Autocommit:
		trial.Alone = &place
	default:
		return nil, fmt.Errorf("cacheplugin: ExplainFunc: a transaction of the handle (%s) would not be seen: call db.Use right after gorm.Open, and make sessions after it", place.Where)
	}
	err = undone(db.WithContext(callbacks.WithTrial(db.Statement.Context, trial)), place.Where == txn.InTx, fn)
	var list []Explanation
	for _, one := range trial.Tried() {
		list = append(list, explainTried(one))
	}
	return list, err
}

// undone runs a function in a transaction, or up to a savepoint of the one that the
// handle is in, and undoes what it has done, even if it panics.
func undone(db *gorm.DB, inside bool, fn func(tx *gorm.DB) error) (err error) {
	const savepoint = "cacheplugin_explain"
	tx := db
	if inside {
		err = db.SavePoint(savepoint).Error
	} else {
		tx = db.Begin()
		err = tx.Error
	}
	if err != nil {
		return fmt.Errorf("cacheplugin: ExplainFunc: begin: %w", err)
	}
	defer func() {
		last := tx.Session(&gorm.Session{NewDB: true})
		if inside {
			last = last.RollbackTo(savepoint)
		} else {
			last = last.Rollback()
		}
		if last.Error != nil {
			err = errors.Join(err, fmt.Errorf("cacheplugin: ExplainFunc: roll back: %w: if the function has ended the transaction, what it has committed stays: leave out Commit and Rollback", last.Error))
		}
	}()
	return fn(tx)
}

func explainTried(one callbacks.Tried) Explanation {
	x := Explanation{SQL: one.Text}
	if one.Query != nil {
		x.take(*one.Query)
		return x
	}
	x.Writes, x.tried = true, true
	for _, d := range one.Drops {
		x.Drops = append(x.Drops, Drop{Table: cmp.Or(d.Table, "*"), Rows: d.Rows, Whole: d.Whole, Why: d.Why, Cached: d.Cached, Keys: d.Entries})
	}
	return x
}
