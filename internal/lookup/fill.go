package lookup

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"time"

	"github.com/cacheplugin/cacheplugin/conj"
	"github.com/cacheplugin/cacheplugin/internal/report"
	"github.com/cacheplugin/cacheplugin/internal/rowset"
	"github.com/cacheplugin/cacheplugin/internal/store"
	"github.com/cacheplugin/cacheplugin/txn"
)

// The reasons of skips that are counted apart.
const (
	ReasonRefused   = "invalidated while it was read"
	ReasonQueueFull = "the store queue is full"
)

// saving is a result on its way to Redis.
type saving struct {
	read    *Read
	ctx     context.Context // the reader's values without its end; observers and loggers go by them
	lease   store.Lease
	payload []byte
	rows    int
	joined  [][]conj.Key
	dropped bool // there is no result: the lease is given up
}

// fill sends the query to the database and stores what comes back, once it is
// read to its end.
func (r *Read) fill(ctx context.Context, lease store.Lease) (driver.Rows, error) {
	// A lease outlives a cancelled query no longer than its own time, but
	// others wait for it under Lock: give it back, whatever became of ctx.
	after := context.WithoutCancel(ctx)
	reading, strayed := txn.Reading(ctx)
	asked := time.Now()
	rows, err := r.filler.QueryContext(reading, r.query, r.args...)
	if err != nil {
		r.release(after, lease)
		return nil, err
	}
	outdated := r.outdated(rows)
	joined := r.joinedRows(rows)
	kept, err := rowset.Tee(rows, rowset.TeeOptions{
		Limits: r.limits(),
		Drain:  r.drain,
		Peek:   r.scans,
		Stops:  r.database.Dialect == conj.SQLite,
		Row:    joined.add(),
		Done: func(rec rowset.Recording) {
			r.shape.Asked(time.Since(asked))
			reason := rec.Reason
			if strayed() {
				reason = inTextTransaction
			}
			if outdated {
				reason = "the connection has not met a change of the table's definition yet"
			}
			if reason != "" {
				r.release(after, lease)
				r.report(after, report.Event{Kind: report.Skip, Reason: reason, Unstored: true, Rows: rec.Rows})
				r.informUnstored(reason)
				return
			}
			r.save(saving{read: r, ctx: after, lease: lease, payload: rec.Payload, rows: rec.Rows, joined: joined.keys()})
		},
	})
	if err != nil {
		r.release(after, lease)
		return nil, err
	}
	return kept, nil
}

func (r *Read) limits() rowset.Limits {
	return rowset.Limits{Rows: r.cache.MaxRows, Bytes: r.cache.MaxBytes}
}

// outdated reports whether rows of SELECT * lack columns that the table has. A
// connection of SQLite's driver gives the first such result after another one
// has altered the table; kept, it would go on being given.
func (r *Read) outdated(rows *sql.Rows) bool {
	if r.columns == 0 {
		return false
	}
	names, err := rows.Columns()
	return err == nil && len(names) != r.columns
}

// release gives a lease back.
func (r *Read) release(ctx context.Context, lease store.Lease) {
	defer r.cache.flights.end(lease)
	if r.enqueue(saving{read: r, ctx: ctx, lease: lease, dropped: true}) == queued {
		return
	}
	if err := r.space.Store.Release(ctx, lease); err != nil {
		r.cache.Report.Failed(ctx, "a lease could not be released", r.table, err)
	}
}

// save stores a result, now or in the background, and gives it at once to those
// of this process who wait for it.
func (r *Read) save(s saving) {
	if !r.storable(s.ctx) {
		r.release(s.ctx, s.lease)
		return
	}
	r.cache.flights.land(s.lease, s.payload) // also if it is refused: those who wait began before
	switch r.enqueue(s) {
	case queued:
	case overflow:
		r.cache.flights.end(s.lease)
		r.cache.Report.CountOverflowed()
		r.report(s.ctx, report.Event{Kind: report.Skip, Reason: ReasonQueueFull, Unstored: true, Rows: s.rows})
	default:
		start := time.Now()
		stored, err := r.space.Store.Save(s.ctx, s.lease, s.payload, r.timeout, s.joined...)
		r.cache.flights.end(s.lease)
		r.reportSaved(s, start, stored, err)
	}
}

func (r *Read) enqueue(s saving) queueing {
	if r.atOnce {
		return notQueued
	}
	return r.cache.queue.add(s)
}

// storable reports whether a result may be stored still, with an event if not.
func (r *Read) storable(ctx context.Context) bool {
	// The tables may have other identities now than those that were
	// registered: a partition was attached, a view replaced.
	if r.database.Catalog.Version() != r.version {
		r.report(ctx, report.Event{Kind: report.Skip, Reason: "definitions have changed meanwhile", Unstored: true})
		return false
	}
	// An invalidation that came to be queued after our look-up will drop what
	// we store, but only later: store nothing that this process would bypass.
	return !r.space.Guard.Bypass(r.tables...)
}

// reportSaved tells what became of a result.
func (r *Read) reportSaved(s saving, start time.Time, stored bool, err error) {
	switch {
	case err != nil:
		r.cache.Report.Failed(s.ctx, "a result could not be stored", r.table, err)
	case !stored:
		r.cache.Report.CountRefused()
		r.shape.Refused()
		r.report(s.ctx, report.Event{Kind: report.Skip, Reason: ReasonRefused, Unstored: true})
	default:
		// Known to be valid since the look-up that took the lease, and no longer: a
		// result that something has outdated meanwhile may be stored, and is no hit.
		r.putNear(s.payload, s.lease.Version(), r.near.asked)
		r.cache.Shapes.Store(r.shape, r.entry(), s.payload, s.rows, r.timeout, time.Now())
		r.report(s.ctx, report.Event{
			Kind: report.Store, Rows: s.rows, Bytes: len(s.payload), Duration: time.Since(start),
		})
	}
}
