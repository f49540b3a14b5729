package commit

import (
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/cacheplugin/cacheplugin/conj"
	"github.com/cacheplugin/cacheplugin/txn"
)

// outbox is the outbox of one database. A goroutine deletes the rows of what
// Redis has been told of, and carries out what others have left.
type outbox struct {
	committer *Committer
	options   OutboxOptions
	db        *sql.DB
	dialect   conj.Dialect
	table     outboxTable

	mu   sync.Mutex
	done []string // ids of rows to be deleted
}

// maxDone bounds the ids that wait for their deletion. Rows beyond it are found
// when they are old, and invalidated once more.
const maxDone = 10_000

// rowHandle is a transaction's row in an outbox.
type rowHandle struct {
	outbox *outbox
	id     string
}

// outboxRow is a row as it is read.
type outboxRow struct {
	id                  string
	namespaces, changes []byte
	format              string
}

// OpenOutbox has the rows of a database's outbox carried out and deleted that
// others have left, from the first call on, until Close. Options.Outbox must not
// be nil.
func (c *Committer) OpenOutbox(db *sql.DB, d conj.Dialect) { c.outboxOf(db, d) }

// outboxOf returns the outbox of a database, opened if it is not yet.
func (c *Committer) outboxOf(db *sql.DB, d conj.Dialect) *outbox {
	c.mu.Lock()
	defer c.mu.Unlock()
	o, ok := c.outboxes[db]
	if !ok {
		options := *c.options.Outbox
		o = &outbox{committer: c, options: options, db: db, dialect: d, table: newOutboxTable(d, options.Table)}
		c.outboxes[db] = o
		c.group.Go(o.run)
	}
	return o
}

// CheckOutbox reports a table that is missing or has another form.
func CheckOutbox(ctx context.Context, db *sql.DB, d conj.Dialect, table string) error {
	rows, err := db.QueryContext(ctx, newOutboxTable(d, table).check)
	if err == nil {
		err = errors.Join(rows.Err(), rows.Close())
	}
	return err
}

// writeToOutbox writes a journal into the outbox, in the journal's own
// transaction. Its error wraps ErrOutboxWrite.
func (c *Committer) writeToOutbox(ctx context.Context, tx *txn.Tx, j *Journal) error {
	if c.options.Outbox == nil {
		return nil
	}
	if o := tx.Options(); o != nil && o.ReadOnly {
		return nil // what is invalidated by hand has no COMMIT to be lost after
	}
	if err := c.insertRow(ctx, tx, j); err != nil {
		err = fmt.Errorf("%w: %w", ErrOutboxWrite, err)
		c.report.Failed(ctx, "a write could not be noted in the outbox; it is not committed", c.options.Outbox.Table, err)
		return err
	}
	return nil
}

func (c *Committer) insertRow(ctx context.Context, tx *txn.Tx, j *Journal) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if len(j.changes) == 0 || j.outboxed == j.version {
		return nil
	}
	db := tx.DB()
	if db == nil {
		return sql.ErrTxDone
	}
	namespaces, changes, err := encodeRow(j.owedLocked())
	if err != nil {
		return err
	}
	row := rowHandle{c.outboxOf(db, j.dialect), rand.Text()}
	if _, err := tx.ExecContext(ctx, row.outbox.table.insert, row.id, c.options.Prefix, namespaces, rowFormat, changes); err != nil {
		return fmt.Errorf("insert into %s: %w", c.options.Outbox.Table, err)
	}
	j.rows, j.outboxed = append(j.rows, row), j.version
	return nil
}

// outboxDoneLocked has the rows deleted of what Redis has been told of. Those of
// a COMMIT whose end isn't known are left: it may take effect yet.
func (j *Journal) outboxDoneLocked() {
	if !j.committed {
		return
	}
	for _, r := range j.rows {
		r.outbox.deleteSoon(r.id)
	}
	j.rows = nil
}

// deleteSoon has a row deleted.
func (o *outbox) deleteSoon(id string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.done) < maxDone {
		o.done = append(o.done, id)
	}
}

func (o *outbox) run(ctx context.Context) {
	poll := time.NewTicker(o.options.Poll)
	defer poll.Stop()
	// Often enough that nobody takes the rows for a dead process's.
	deletion := time.NewTicker(max(o.options.After/4, time.Millisecond))
	defer deletion.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-deletion.C:
			o.deleteDone(ctx)
		case <-poll.C:
			o.drain(ctx)
		}
	}
}

// deleteDone deletes the rows of what Redis has been told of; what is left is
// harmless.
func (o *outbox) deleteDone(ctx context.Context) {
	o.mu.Lock()
	ids := o.done
	o.done = nil
	o.mu.Unlock()
	if err := o.remove(ctx, ids); err != nil && ctx.Err() == nil {
		o.failed(ctx, "rows of the outbox could not be deleted; what they say is invalidated once more", err)
	}
}

// remove deletes rows, in an order that is the same for everybody, for the sake
// of their locks.
func (o *outbox) remove(ctx context.Context, ids []string) error {
	slices.Sort(ids)
	for part := range slices.Chunk(ids, rowsAtOnce) {
		args := make([]any, len(part))
		for i, id := range part {
			args[i] = id
		}
		if _, err := txn.Own(o.db).ExecContext(ctx, o.table.remove(len(part)), args...); err != nil {
			return err
		}
	}
	return nil
}

func (o *outbox) failed(ctx context.Context, what string, err error) {
	o.committer.report.Failed(ctx, what, o.options.Table, err)
}
