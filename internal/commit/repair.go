package commit

import (
	"context"
	"database/sql"
	"errors"

	"github.com/cacheplugin/cacheplugin/conj"
	"github.com/cacheplugin/cacheplugin/internal/change"
	"github.com/cacheplugin/cacheplugin/internal/namespace"
	"github.com/cacheplugin/cacheplugin/internal/report"
	"github.com/cacheplugin/cacheplugin/txn"
)

// drain carries out what processes have left that died, or that can't reach
// Redis. Several may do it at once: dropping twice is harmless.
func (o *outbox) drain(ctx context.Context) {
	for {
		n, err := o.drainSome(ctx)
		if err != nil && ctx.Err() == nil {
			o.failed(ctx, "the outbox could not be drained; it is tried again", err)
		}
		if err != nil || n < rowsAtOnce {
			return
		}
	}
}

// drainSome carries out and deletes as many rows as are read at a time. It
// returns how many these were.
func (o *outbox) drainSome(ctx context.Context) (int, error) {
	rows, err := o.left(ctx)
	if err != nil {
		return 0, err
	}
	if err := o.committer.repair(ctx, rows); err != nil {
		return 0, err
	}
	ids := make([]string, len(rows))
	for i, r := range rows {
		ids[i] = r.id
	}
	return len(rows), o.remove(ctx, ids)
}

// left reads rows that are older than After. All that can be seen is committed,
// so that it may be invalidated and deleted at any time.
func (o *outbox) left(ctx context.Context) (found []outboxRow, err error) {
	query := txn.Own(o.db).QueryContext
	if o.dialect == conj.MySQL {
		// Sessions may have been set to see what isn't committed.
		tx, err := o.db.BeginTx(ctx, &sql.TxOptions{Isolation: sql.LevelReadCommitted, ReadOnly: true})
		if err != nil {
			return nil, err
		}
		defer func() { _ = tx.Rollback() }() // it has read only
		query = txn.Own(tx).QueryContext
	}
	rows, err := query(ctx, o.table.read, o.committer.options.Prefix, o.options.After.Milliseconds())
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		var r outboxRow
		if err := rows.Scan(&r.id, &r.namespaces, &r.format, &r.changes); err != nil {
			return nil, err
		}
		found = append(found, r)
	}
	return found, rows.Err()
}

// repair invalidates what rows say. After an error, for which the rows must
// stay, some of it may have been done.
func (c *Committer) repair(ctx context.Context, rows []outboxRow) error {
	owed := debts{}
	for _, row := range rows {
		c.addRow(ctx, owed, row)
	}
	for ns, list := range owed {
		if err := c.drop(ctx, ns, list, delivery{event: report.Repair}); err != nil {
			return err
		}
	}
	return nil
}

// addRow adds what a row says. Of a row that is not understood everything in its
// namespaces is owed; if these can't be told, in all that this process has met.
func (c *Committer) addRow(ctx context.Context, owed debts, row outboxRow) {
	decoded, err := decodeRow(row)
	var namespaces []*namespace.Namespace
	for _, id := range decoded.namespaces {
		ns, openErr := c.options.Namespaces.Open(id)
		if openErr != nil {
			// A name that no namespace can have must not hold up all others.
			namespaces, err = nil, openErr
			break
		}
		namespaces = append(namespaces, ns)
	}
	if err == nil {
		for _, one := range decoded.changes {
			owed.add(namespaces[one.namespace], one.changes)
		}
		return
	}
	c.report.Failed(ctx, "a row of the outbox is not understood; everything in its namespaces is dropped", c.options.Outbox.Table, err)
	if namespaces == nil {
		namespaces = c.options.Namespaces.All()
	}
	for _, ns := range namespaces {
		owed.add(ns, &changes{extent: change.Everything})
	}
}
