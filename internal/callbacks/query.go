package callbacks

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"reflect"

	"gorm.io/gorm"
	"gorm.io/gorm/callbacks"

	"github.com/cacheplugin/cacheplugin/cache"
	"github.com/cacheplugin/cacheplugin/conj"
	"github.com/cacheplugin/cacheplugin/internal/database"
	"github.com/cacheplugin/cacheplugin/internal/lookup"
	"github.com/cacheplugin/cacheplugin/internal/rowset"
	"github.com/cacheplugin/cacheplugin/txn"
)

// onQuery wraps the handlers of queries. The handler runs with a pool in the
// statement's place that looks its one query up.
func (h *Handlers) onQuery(next func(*gorm.DB), row bool) func(*gorm.DB) {
	// What others have put in the place of GORM's own handler is run as it is.
	own := reflect.ValueOf(next).Pointer() == reflect.ValueOf(callbacks.Query).Pointer()
	return func(db *gorm.DB) {
		stmt := db.Statement
		if db.Error != nil || db.DryRun {
			next(db)
			return
		}
		if stmt.SQL.Len() > 0 && !h.readsOnly(stmt) {
			cache.RecorderOf(stmt.Context).Answered(cache.Answer{Outcome: cache.Bypassed, Table: stmt.Table, Reason: "side effects"})
			if !row && h.wraps(stmt) {
				h.wrap(db, func() { h.runWrite(db, next, false) })
				return
			}
			h.runWrite(db, next, row)
			return
		}
		pool := stmt.ConnPool
		from, place := pool, h.Databases.Place(pool)
		if place.Tx == nil && lookup.Leased(stmt.Context) {
			from = h.Reads.Source(db, pool)
			place = h.Databases.Place(from)
		}
		r := &readPool{ConnPool: from, place: place, handlers: h, db: db, row: row}
		stmt.ConnPool = r
		finished := false
		defer func() {
			stmt.ConnPool = pool
			if r.write != nil {
				r.write.finish(db.Statement.Context, finished)
			}
		}()
		if own {
			h.query(db, r)
		} else {
			next(db)
		}
		finished = true
		if db.Error != nil && !errors.Is(db.Error, gorm.ErrRecordNotFound) {
			h.failedIn(pool)
		}
	}
}

// query does what GORM's own handler does, callbacks.Query, but puts the rows of a
// hit straight into the destination where that can be done.
func (h *Handlers) query(db *gorm.DB, r *readPool) {
	callbacks.BuildQuerySQL(db)
	if db.DryRun || db.Error != nil {
		return
	}
	stmt := db.Statement
	kept, rows, err := r.open(stmt.Context, stmt.SQL.String(), stmt.Vars)
	if err != nil {
		_ = db.AddError(err)
		return
	}
	if kept == nil || !h.plans.Into(db, kept) {
		if kept != nil {
			if rows, err = r.replay(stmt.Context, kept, stmt.SQL.String(), stmt.Vars); err != nil {
				_ = db.AddError(err)
				return
			}
		}
		defer func() { _ = db.AddError(rows.Close()) }()
		gorm.Scan(rows, db, 0)
	}
	if stmt.Result != nil {
		stmt.Result.RowsAffected = db.RowsAffected
	}
}

// onPreload keeps the columns that cache.On names from the queries of preloads,
// which inherit the other settings of theirs.
func onPreload(next func(*gorm.DB)) func(*gorm.DB) {
	return func(db *gorm.DB) {
		own := cache.Of(db.Statement)
		if own == nil || own.On == nil {
			next(db)
			return
		}
		set := func(s cache.Settings) {
			clause := cache.With(func(o *cache.Settings) { *o = s })
			clause.(gorm.StatementModifier).ModifyStatement(db.Statement)
		}
		inherited := *own
		inherited.On = nil
		set(inherited)
		defer set(*own)
		next(db)
	}
}

// failedIn notes that a query has failed: PostgreSQL refuses every later one
// of its transaction, so that the cache must not answer there either.
func (h *Handlers) failedIn(pool gorm.ConnPool) {
	if tx := h.Databases.Place(pool).Tx; tx != nil {
		tx.MarkOpaque()
	}
}

// readsOnly reports whether a text made by hand is sure to write nothing.
func (h *Handlers) readsOnly(stmt *gorm.Statement) bool {
	text := stmt.SQL.String()
	if conj.IsSelect(h.Dialect, text) {
		return true
	}
	place := h.Databases.Place(stmt.ConnPool)
	plan, err := h.Databases.At(place).Plan(stmt.Context, stmt.ConnPool, text, database.Lasting(place.Tx))
	return err == nil && plan.Statement == conj.Select && len(plan.Writes) == 0 && !plan.HasSideEffects
}

// readPool answers one statement's query from the cache where it may.
type readPool struct {
	gorm.ConnPool
	place    txn.Place
	handlers *Handlers
	db       *gorm.DB
	row      bool // from the row processor: Scan, Row, Rows

	read  *lookup.Read // of what open has returned
	write *writePool   // in its place if the query calls a function that may write
}

// writes reports whether a query that is not looked up may write, and then has a
// writePool for it.
func (r *readPool) writes(ctx context.Context, query string) bool {
	if r.place.Where.AtConnection() {
		return false // the connection has it watched
	}
	d := r.handlers.Databases.At(r.place)
	d.NoteQuerySettings(ctx, r.ConnPool, query)
	if d.WritingFunction(ctx, r.ConnPool, r.place.Tx, query) == "" {
		return false
	}
	if r.write == nil {
		r.write = &writePool{ConnPool: r.ConnPool, place: r.place, handlers: r.handlers, db: r.db, row: r.row}
	}
	return true
}

// known is the context of a query that has been looked at.
func (r *readPool) known(ctx context.Context) context.Context {
	if r.place.Where.AtConnection() {
		return ctx
	}
	return txn.Known(ctx, r.place.Where)
}

// Unwrap implements txn.Wrapper.
func (r *readPool) Unwrap() gorm.ConnPool { return r.ConnPool }

// Behind implements lookup.StandIn.
func (r *readPool) Behind() gorm.ConnPool { return r.ConnPool }

// prepare decides whether the query is looked up; nil if not.
func (r *readPool) prepare(ctx context.Context, query string, args []any) (*lookup.Read, error) {
	if t := trialOf(ctx); t != nil {
		return nil, r.try(ctx, t, query, args)
	}
	return r.handlers.Reads.Prepare(ctx, lookup.NewQuery(r.db, r.ConnPool, r.place, query, args, r.row))
}

// QueryContext implements gorm.ConnPool.
func (r *readPool) QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error) {
	kept, rows, err := r.open(ctx, query, args)
	if kept != nil {
		return r.replay(ctx, kept, query, args)
	}
	return rows, err
}

// open answers a query: with the rows of the cache, which the caller has to replay, or
// with the database's.
func (r *readPool) open(ctx context.Context, query string, args []any) (driver.Rows, *sql.Rows, error) {
	rd, err := r.prepare(ctx, query, args)
	if err != nil {
		return nil, nil, err
	}
	if rd == nil {
		if r.writes(ctx, query) {
			rows, err := r.write.QueryContext(ctx, query, args...)
			return nil, rows, err
		}
		rows, err := r.ConnPool.QueryContext(r.known(ctx), query, args...)
		return nil, rows, err
	}
	kept, err := rd.Open(ctx)
	if err != nil {
		return nil, nil, err
	}
	if kept == nil {
		rows, err := rd.Pool().QueryContext(r.known(ctx), query, args...) // a source: a replica may be behind the cache
		return nil, rows, err
	}
	r.read = rd
	return kept, nil, nil
}

// replay gives kept rows the type of the database's.
func (r *readPool) replay(ctx context.Context, kept driver.Rows, query string, args []any) (*sql.Rows, error) {
	rows, err := rowset.Rows(kept)
	if err != nil {
		r.handlers.Report.Failed(ctx, "a result could not be replayed; the database answers", r.read.Table(), errors.Join(err, kept.Close()))
		return r.read.Pool().QueryContext(r.known(ctx), query, args...)
	}
	return rows, nil
}

// QueryRowContext implements gorm.ConnPool.
func (r *readPool) QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row {
	rd, err := r.prepare(ctx, query, args)
	if err != nil {
		return rowset.RowError(err)
	}
	if rd == nil {
		if r.writes(ctx, query) {
			return r.write.QueryRowContext(ctx, query, args...)
		}
		return r.askRow(ctx, r.ConnPool, query, args)
	}
	rd.Drain() // a row's reader stops after the first
	kept, err := rd.Open(ctx)
	if err != nil {
		return rowset.RowError(err)
	}
	if kept == nil {
		return r.askRow(ctx, rd.Pool(), query, args)
	}
	return rowset.Row(kept)
}

func (r *readPool) askRow(ctx context.Context, pool gorm.ConnPool, query string, args []any) *sql.Row {
	found := pool.QueryRowContext(r.known(ctx), query, args...)
	if found.Err() != nil {
		r.handlers.failedIn(pool)
	}
	return found
}
