package cacheplugin

import (
	"fmt"
	"strings"
	"time"

	"gorm.io/gorm"

	"github.com/cacheplugin/cacheplugin/internal/commit"
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
// Make the table by MigrateOutbox, or by the statements in docs/outbox.md.
// The database's user needs SELECT, INSERT and DELETE on it.
//
// A write costs one INSERT, and a share of a DELETE of many rows. A row that
// can't be written rolls its transaction back with ErrOutboxWrite. Creates,
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
		if err := fill(f.name, f.value, f.fallback, "use a positive duration, or zero for the default"); err != nil {
			return o, err
		}
	}
	return o, nil
}

// holds reports whether a table is the outbox's own.
func (o *Outbox) holds(table string) bool {
	return o != nil && strings.EqualFold(o.Table[strings.LastIndexByte(o.Table, '.')+1:], table)
}

// internal is the outbox as the engine takes it, nil if there is none.
func (o *Outbox) internal() *commit.OutboxOptions {
	if o == nil {
		return nil
	}
	return &commit.OutboxOptions{Table: o.Table, After: o.After, Poll: o.Poll}
}

// MigrateOutbox makes the outbox's table where there is none. Call it before
// db.Use, on each database that is written.
func MigrateOutbox(db *gorm.DB, o Outbox) error {
	o, err := o.withDefaults()
	if err != nil {
		return err
	}
	dialect, err := dialectOf(db)
	if err != nil {
		return err
	}
	if err := db.Exec(commit.OutboxDDL(dialect, o.Table)).Error; err != nil {
		return fmt.Errorf("cacheplugin: create the outbox %s: %w", o.Table, err)
	}
	return nil
}
