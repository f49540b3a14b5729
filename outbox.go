package cacheplugin

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"gorm.io/gorm"

	"github.com/cacheplugin/cacheplugin/conj"
	"github.com/cacheplugin/cacheplugin/internal/commit"
	"github.com/cacheplugin/cacheplugin/txn"
)

// Outbox makes invalidations outlive the process that owes them. Right before
// its COMMIT a transaction that changes something writes what it changes into a
// table of the same database; when Redis has been told, the row is deleted, in
// the background. Rows that are older than After were left by a process that
// died between its COMMIT and the invalidation, or that can't reach Redis: any
// process invalidates what they say and deletes them. What was cached before
// such a commit is served for After and Poll at most, as long as one process
// runs that reaches both the database and Redis.
//
// Make the table by MigrateOutbox, or by the statements in docs/consistency.md.
// The database's user needs SELECT, INSERT and DELETE on it.
//
// A write costs one INSERT, and a share of a DELETE of many rows. A row that
// can't be written rolls its transaction back with ErrNotPosted. Creates,
// updates, deletes, and raw statements of these kinds that are sent outside of
// a transaction are run in one. Others outside of a transaction (definitions,
// CALL, statements whose rows the caller reads) and transactions that the
// plugin did not open are not covered, and a log line says so.
//
// The pattern is known as the transactional outbox.
type Outbox struct {
	// Table is the table's name, with a schema or without. It is never cached,
	// and its changes drop nothing.
	//
	// Defaults to "cache_outbox".
	Table string

	// After is how old a row must be to be taken for a dead process's. A
	// smaller one repairs sooner, and repeats what slow writers are about to do.
	//
	// Defaults to 2 seconds.
	After time.Duration

	// Poll is how often each process looks for such rows.
	//
	// Defaults to 1 second.
	Poll time.Duration
}

func (o Outbox) withDefaults() (Outbox, error) {
	if o.Table == "" {
		o.Table = "cache_outbox"
	}
	for _, f := range []struct {
		name     string
		value    *time.Duration
		fallback time.Duration
	}{{"Outbox.After", &o.After, 2 * time.Second}, {"Outbox.Poll", &o.Poll, time.Second}} {
		if *f.value < 0 {
			return o, configError(f.name, *f.value, "use a positive duration, or zero for the default")
		}
		if *f.value == 0 {
			*f.value = f.fallback
		}
	}
	return o, nil
}

// holds reports whether a table is the outbox's own.
func (o *Outbox) holds(table string) bool {
	return o != nil && strings.EqualFold(o.Table[strings.LastIndexByte(o.Table, '.')+1:], table)
}

// MigrateOutbox makes the outbox's table where there is none. Call it before
// db.Use, on each database that is written.
func MigrateOutbox(db *gorm.DB, o Outbox) error {
	o, err := o.withDefaults()
	if err != nil {
		return err
	}
	dialect, ok := conj.DialectOf(db.Name())
	if !ok {
		return configError("Dialector", db.Name(), "the plugin knows postgres, mysql and sqlite")
	}
	if err := db.Exec(commit.OutboxDDL(dialect, o.Table)).Error; err != nil {
		return fmt.Errorf("cacheplugin: create the outbox %s: %w", o.Table, err)
	}
	return nil
}

// wraps reports whether a statement outside of a transaction is run in one, for
// its row in the outbox. It is where the results are the same.
func (e *engine) wraps(stmt *gorm.Statement) bool {
	if e.config.Outbox == nil {
		return false
	}
	if where, _ := txn.Of(stmt.ConnPool); where != txn.Autocommit {
		return false
	}
	if stmt.SQL.Len() == 0 {
		return true // GORM's own
	}
	plan, err := e.database(stmt.ConnPool).plan(stmt.Context, stmt.ConnPool, stmt.SQL.String(), true)
	if err != nil {
		return false
	}
	switch plan.Statement {
	case conj.Insert, conj.Update, conj.Delete, conj.Replace, conj.Merge:
		return true
	}
	return false
}

// wrap runs a handler in a transaction of its own. It is committed whatever
// comes: the statement alone would have been.
func (e *engine) wrap(db *gorm.DB, run func()) {
	stmt := db.Statement
	pool := stmt.ConnPool
	beginner, ok := pool.(gorm.ConnPoolBeginner)
	if !ok {
		run()
		return
	}
	tx, err := beginner.BeginTx(stmt.Context, nil)
	if errors.Is(err, gorm.ErrInvalidTransaction) {
		run()
		return
	}
	if err != nil {
		_ = db.AddError(err)
		return
	}
	stmt.ConnPool = tx
	defer func() {
		stmt.ConnPool = pool
		// PostgreSQL answers the COMMIT after a statement that has failed with
		// an error of its own.
		if err := tx.(gorm.TxCommitter).Commit(); err != nil && db.Error == nil {
			_ = db.AddError(err)
		}
	}()
	run()
}

// warnUncovered tells of a write that no row in the outbox stands for.
func (p *Plugin) warnUncovered(ctx context.Context) {
	if p.config.Outbox != nil && p.limiter.allow("uncovered") {
		p.config.Logger.WarnContext(ctx, "cacheplugin: a write outside of a transaction of the plugin's is not covered by the outbox: if this process dies before it is invalidated, old results may be served; send it in db.Transaction")
	}
}

// watch has the outbox of a source drained that results are read from.
func (e *engine) watch(d *database, pool gorm.ConnPool) {
	if e.config.Outbox == nil || d.watched.Load() {
		return
	}
	c, ok := pool.(gorm.GetDBConnector)
	if !ok {
		return
	}
	if db, err := c.GetDBConn(); err == nil {
		e.openOutbox(db, e.dialect)
		d.watched.Store(true)
	}
}
