package cacheplugin

import (
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"gorm.io/gorm"

	"github.com/cacheplugin/cacheplugin/conj"
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

// holds tells whether a table is the outbox's own.
func (o *Outbox) holds(table string) bool {
	return o != nil && strings.EqualFold(o.Table[strings.LastIndexByte(o.Table, '.')+1:], table)
}

// outboxTable are the statements on the outbox's table in a dialect.
type outboxTable struct {
	create, check, insert, read string
	remove                      func(n int) string
}

// outboxDDL is the table, by dialect. What is stored is ASCII but for the
// prefix; MySQL's types keep its character sets out of it.
var outboxDDL = map[conj.Dialect]string{
	conj.PostgreSQL: "id text PRIMARY KEY, prefix text NOT NULL, namespaces text NOT NULL, format text NOT NULL, changes text NOT NULL, created bigint NOT NULL)",
	conj.MySQL:      "id varbinary(32) PRIMARY KEY, prefix blob NOT NULL, namespaces mediumblob NOT NULL, format blob NOT NULL, changes mediumblob NOT NULL, created bigint NOT NULL) ENGINE=InnoDB",
	conj.SQLite:     "id text PRIMARY KEY, prefix text NOT NULL, namespaces text NOT NULL, format text NOT NULL, changes text NOT NULL, created integer NOT NULL)",
}

// outboxClock is the database's time in milliseconds since 1970. The clocks of
// the machines don't matter.
var outboxClock = map[conj.Dialect]string{
	conj.PostgreSQL: "(extract(epoch FROM clock_timestamp()) * 1000)::bigint",
	conj.MySQL:      "TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6)) DIV 1000",
	conj.SQLite:     "CAST((julianday('now') - 2440587.5) * 86400000 AS integer)",
}

// drainBatch is how many rows are read, and deleted, at a time.
const drainBatch = 500

func newOutboxTable(dialect conj.Dialect, name string) outboxTable {
	quote, place := `"`, func(int) string { return "?" }
	switch dialect {
	case conj.MySQL:
		quote = "`"
	case conj.PostgreSQL:
		place = func(n int) string { return "$" + strconv.Itoa(n) }
	}
	parts := strings.Split(name, ".")
	for i, p := range parts {
		parts[i] = quote + strings.ReplaceAll(p, quote, quote+quote) + quote
	}
	table, clock := strings.Join(parts, "."), outboxClock[dialect]
	const columns = "id, prefix, namespaces, format, changes, created"
	return outboxTable{
		create: "CREATE TABLE IF NOT EXISTS " + table + " (" + outboxDDL[dialect],
		check:  "SELECT " + columns + " FROM " + table + " WHERE 1 = 0",
		insert: "INSERT INTO " + table + " (" + columns + ") VALUES (" +
			place(1) + ", " + place(2) + ", " + place(3) + ", " + place(4) + ", " + place(5) + ", " + clock + ")",
		// A clock that was set back must not hide rows.
		read: "SELECT id, namespaces, format, changes FROM " + table + " WHERE prefix = " + place(1) +
			" AND abs(" + clock + " - created) >= " + place(2) + " LIMIT " + strconv.Itoa(drainBatch),
		remove: func(n int) string {
			places := make([]string, n)
			for i := range places {
				places[i] = place(i + 1)
			}
			return "DELETE FROM " + table + " WHERE id IN (" + strings.Join(places, ", ") + ")"
		},
	}
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
	if err := db.Exec(newOutboxTable(dialect, o.Table).create).Error; err != nil {
		return fmt.Errorf("cacheplugin: create the outbox %s: %w", o.Table, err)
	}
	return nil
}

// check reports a table that is missing or has another form.
func (o *outbox) check(ctx context.Context) error {
	rows, err := o.db.QueryContext(ctx, o.table.check)
	if err == nil {
		err = errors.Join(rows.Err(), rows.Close())
	}
	if err != nil {
		return fmt.Errorf("%w: Outbox.Table is %q, which can't be read: %w: create it by cacheplugin.MigrateOutbox before db.Use, or leave Outbox out",
			ErrConfig, o.plugin.config.Outbox.Table, err)
	}
	return nil
}

// postedRow is a transaction's row in an outbox.
type postedRow struct {
	box *outbox
	id  string
}

// beforeCommit is what comes right before the COMMIT of a transaction that has
// changed something. An error rolls it back.
func (p *Plugin) beforeCommit(ctx context.Context, tx *txn.Tx, j *journal) error {
	if err := p.post(ctx, tx, j); err != nil {
		err = fmt.Errorf("%w: %w", ErrNotPosted, err)
		p.failed(ctx, "a write could not be noted in the outbox; it is not committed", p.config.Outbox.Table, err)
		return err
	}
	return p.fence(ctx, j) // last: it runs out
}

// post writes a journal into the outbox, in the journal's own transaction.
func (p *Plugin) post(ctx context.Context, tx *txn.Tx, j *journal) error {
	if p.config.Outbox == nil {
		return nil
	}
	if o := tx.Options(); o != nil && o.ReadOnly {
		return nil // what is invalidated by hand has no COMMIT to be lost after
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	if len(j.tables)+len(j.everything) == 0 || j.posted == j.version {
		return nil
	}
	sqlDB, err := tx.GetDBConn()
	if err != nil {
		return err
	}
	box := p.openOutbox(sqlDB, j.dialect)
	namespaces, changes, err := j.encodeLocked()
	if err != nil {
		return err
	}
	row := postedRow{box, rand.Text()}
	if _, err := tx.ExecContext(ctx, box.table.insert, row.id, p.config.Prefix, namespaces, outboxFormat, changes); err != nil {
		return fmt.Errorf("insert into %s: %w", p.config.Outbox.Table, err)
	}
	j.rows, j.posted = append(j.rows, row), j.version
	return nil
}

// settleOutboxLocked has the rows deleted of what Redis has been told of. Those
// of a COMMIT whose end isn't known are left: it may take effect yet.
func (j *journal) settleOutboxLocked() {
	if !j.committed {
		return
	}
	for _, r := range j.rows {
		r.box.done(r.id)
	}
	j.rows = nil
}

// wraps tells whether a statement outside of a transaction is run in one, for
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

// openOutbox returns the outbox of a database, whose rows are drained from
// then on.
func (p *Plugin) openOutbox(db *sql.DB, dialect conj.Dialect) *outbox {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.openOutboxLocked(db, dialect)
}

func (p *Plugin) openOutboxLocked(db *sql.DB, dialect conj.Dialect) *outbox {
	o, ok := p.outboxes[db]
	if !ok {
		o = newOutbox(p, db, dialect)
		p.outboxes[db] = o
		if !p.closed {
			o.start()
		}
	}
	return o
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
