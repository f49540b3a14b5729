package cacheplugin

import (
	"context"
	"database/sql"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/cacheplugin/cacheplugin/conj"
	"github.com/cacheplugin/cacheplugin/internal/store"
)

// outbox is the outbox of one database. Its goroutine deletes the rows of what
// Redis has been told of, and carries out what others have left.
type outbox struct {
	plugin  *Plugin
	db      *sql.DB
	dialect conj.Dialect
	table   outboxTable

	mu    sync.Mutex
	spent []string // ids of rows to be deleted

	stop  context.CancelFunc
	ended chan struct{} // closed when the goroutine has ended; nil if none runs
}

// maxSpent bounds the ids that wait for their deletion. Rows beyond it are
// found when they are old, and invalidated once more.
const maxSpent = 10_000

// outboxRow is a row as it is read.
type outboxRow struct {
	id                  string
	namespaces, changes []byte
	format              string
}

func newOutbox(p *Plugin, db *sql.DB, dialect conj.Dialect) *outbox {
	return &outbox{plugin: p, db: db, dialect: dialect, table: newOutboxTable(dialect, p.config.Outbox.Table)}
}

// start begins to drain, until close.
func (o *outbox) start() {
	var life context.Context
	life, o.stop = context.WithCancel(context.Background())
	o.ended = make(chan struct{})
	go o.work(life)
}

// done has a row deleted soon.
func (o *outbox) done(id string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.spent) < maxSpent {
		o.spent = append(o.spent, id)
	}
}

func (o *outbox) work(ctx context.Context) {
	defer close(o.ended)
	config := o.plugin.config.Outbox
	poll := time.NewTicker(config.Poll)
	defer poll.Stop()
	// Often enough that nobody takes the rows for a dead process's.
	sweep := time.NewTicker(max(config.After/4, time.Millisecond))
	defer sweep.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-sweep.C:
			o.sweep(ctx)
		case <-poll.C:
			o.drain(ctx)
		}
	}
}

// close ends the goroutine and deletes what is spent, as long as the context
// allows; what is left is harmless.
func (o *outbox) close(ctx context.Context) {
	if o.ended == nil {
		return
	}
	o.stop()
	select {
	case <-o.ended:
		o.sweep(ctx)
	case <-ctx.Done():
	}
}

// sweep deletes the rows that are spent.
func (o *outbox) sweep(ctx context.Context) {
	o.mu.Lock()
	ids := o.spent
	o.spent = nil
	o.mu.Unlock()
	if err := o.remove(ctx, ids); err != nil && ctx.Err() == nil {
		o.plugin.failed(ctx, "rows of the outbox could not be deleted; what they say is invalidated once more", o.plugin.config.Outbox.Table, err)
	}
}

// remove deletes rows, in an order that is the same for everybody, for the sake
// of their locks.
func (o *outbox) remove(ctx context.Context, ids []string) error {
	slices.Sort(ids)
	for part := range slices.Chunk(ids, drainBatch) {
		args := make([]any, len(part))
		for i, id := range part {
			args[i] = id
		}
		if _, err := o.db.ExecContext(ctx, o.table.remove(len(part)), args...); err != nil {
			return err
		}
	}
	return nil
}

// drain carries out what processes have left that died, or that can't reach
// Redis. Several may do it at once: dropping twice is harmless.
func (o *outbox) drain(ctx context.Context) {
	for {
		rows, err := o.left(ctx)
		if err == nil && len(rows) > 0 {
			err = o.plugin.repair(ctx, rows)
		}
		if err == nil {
			ids := make([]string, len(rows))
			for i, r := range rows {
				ids[i] = r.id
			}
			err = o.remove(ctx, ids)
		}
		if err != nil {
			if ctx.Err() == nil {
				o.plugin.failed(ctx, "the outbox could not be drained; it is tried again", o.plugin.config.Outbox.Table, err)
			}
			return
		}
		if len(rows) < drainBatch {
			return
		}
	}
}

// left reads rows that are older than After. All that can be seen is committed,
// so that it may be invalidated and deleted at any time.
func (o *outbox) left(ctx context.Context) (found []outboxRow, err error) {
	query := o.db.QueryContext
	if o.dialect == conj.MySQL {
		// Sessions may have been set to see what isn't committed.
		tx, err := o.db.BeginTx(ctx, &sql.TxOptions{Isolation: sql.LevelReadCommitted, ReadOnly: true})
		if err != nil {
			return nil, err
		}
		defer func() { _ = tx.Rollback() }() // it has read only
		query = tx.QueryContext
	}
	config := o.plugin.config
	rows, err := query(ctx, o.table.read, config.Prefix, config.Outbox.After.Milliseconds())
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

// repair invalidates what rows say. After an error some of it may have been
// done.
func (p *Plugin) repair(ctx context.Context, rows []outboxRow) error {
	everything := map[string]bool{}
	changes := map[string][]store.Change{}
	for _, row := range rows {
		namespaces, all, bySpace, err := decodePosted(row)
		for _, id := range namespaces {
			// A name that no namespace can have must not hold up all others.
			if _, openErr := p.spaceOf(id); openErr != nil {
				namespaces, bySpace, err = nil, nil, openErr
				break
			}
		}
		if err != nil {
			p.failed(ctx, "a row of the outbox is not understood; everything in its namespaces is dropped", p.config.Outbox.Table, err)
			if all = namespaces; all == nil {
				for _, s := range p.allSpaces() {
					all = append(all, s.id)
				}
			}
		}
		for _, id := range all {
			everything[id] = true
		}
		for id, list := range bySpace {
			changes[id] = append(changes[id], list...)
		}
	}
	for id := range everything {
		s, err := p.spaceOf(id)
		if err != nil {
			return err
		}
		delete(changes, id)
		start := time.Now()
		if err := s.store.InvalidateAll(ctx); err != nil {
			return err
		}
		s.near.Clear()
		p.observe(ctx, Event{Kind: EventRepair, Table: "*", Whole: true, Duration: time.Since(start)})
	}
	for id, list := range changes {
		s, err := p.spaceOf(id)
		if err != nil {
			return err
		}
		start := time.Now()
		reports, err := s.store.Invalidate(ctx, list)
		took := time.Since(start)
		s.near.Drop(list...)
		for _, r := range reports {
			p.observe(ctx, Event{Kind: EventRepair, Table: r.Table, Whole: r.Whole, Keys: r.Keys, Dropped: r.Dropped, Duration: took})
		}
		if err != nil {
			return err
		}
	}
	return nil
}
