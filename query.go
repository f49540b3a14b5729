package cacheplugin

import (
	"context"
	"database/sql"
	"errors"
	"strings"

	"gorm.io/gorm"

	"github.com/cacheplugin/cacheplugin/cache"
	"github.com/cacheplugin/cacheplugin/conj"
	"github.com/cacheplugin/cacheplugin/internal/rowset"
	"github.com/cacheplugin/cacheplugin/txn"
)

// onQuery wraps the handlers of queries. The handler runs with a pool in the
// statement's place that looks its one query up: nothing of GORM's building
// and scanning is repeated here, so a result from the cache reaches every kind
// of destination and every hook as one from the database does.
func (e *engine) onQuery(next func(*gorm.DB), row bool) func(*gorm.DB) {
	return func(db *gorm.DB) {
		stmt := db.Statement
		if db.Error != nil || db.DryRun {
			next(db)
			return
		}
		if stmt.SQL.Len() > 0 && !e.readsOnly(stmt) {
			if !row && e.wraps(stmt) {
				e.wrap(db, func() { e.runWrite(db, next, false) })
				return
			}
			e.runWrite(db, next, row)
			return
		}
		pool := stmt.ConnPool
		from := pool
		if leased(stmt.Context) {
			if _, tx := txn.Of(pool); tx == nil {
				from = e.source(db, pool)
			}
		}
		r := &readPool{ConnPool: from, engine: e, db: db, row: row}
		stmt.ConnPool = r
		finished := false
		defer func() {
			stmt.ConnPool = pool
			if r.write != nil {
				r.write.finish(finished)
			}
		}()
		next(db)
		finished = true
		if db.Error != nil && !errors.Is(db.Error, gorm.ErrRecordNotFound) {
			failedIn(pool)
		}
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
func failedIn(pool gorm.ConnPool) {
	if _, tx := txn.Of(pool); tx != nil {
		tx.MarkOpaque()
	}
}

// readsOnly tells whether a text made by hand is sure to write nothing.
func (e *engine) readsOnly(stmt *gorm.Statement) bool {
	text := stmt.SQL.String()
	if startsWithSelect(text) && !strings.Contains(text, ";") { // one statement
		return true
	}
	_, tx := txn.Of(stmt.ConnPool)
	plan, err := e.database(stmt.ConnPool).plan(stmt.Context, stmt.ConnPool, text, keep(tx))
	return err == nil && plan.Statement == conj.Select && len(plan.Writes) == 0 && !plan.HasSideEffects
}

// readPool answers one statement's query from the cache where it may.
type readPool struct {
	gorm.ConnPool
	engine *engine
	db     *gorm.DB
	row    bool // from the row processor: Scan, Row, Rows

	write *writePool // in its place if the query calls a function that may write
}

// writes tells whether a query that is not looked up may write, and then has a
// writePool for it.
func (r *readPool) writes(ctx context.Context, query string) bool {
	r.engine.watchConfig(ctx, r.ConnPool, query)
	if r.engine.writer(ctx, r.ConnPool, query) == "" {
		return false
	}
	if r.write == nil {
		r.write = &writePool{ConnPool: r.ConnPool, engine: r.engine, db: r.db, row: r.row}
	}
	return true
}

// Unwrap returns the pool underneath.
func (r *readPool) Unwrap() gorm.ConnPool { return r.ConnPool }

// QueryContext implements gorm.ConnPool.
func (r *readPool) QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error) {
	rd, err := r.engine.prepare(ctx, r.db, r.ConnPool, query, args, r.row)
	if err != nil {
		return nil, err
	}
	if rd == nil {
		if r.writes(ctx, query) {
			return r.write.QueryContext(ctx, query, args...)
		}
		return r.ConnPool.QueryContext(ctx, query, args...)
	}
	kept, err := rd.open(ctx)
	if err != nil {
		return nil, err
	}
	if kept == nil {
		return rd.pool.QueryContext(ctx, query, args...) // a source: a replica may be behind the cache
	}
	rows, err := rowset.Rows(kept)
	if err != nil {
		r.engine.failed(ctx, "a result could not be replayed; the database answers", rd.table, errors.Join(err, kept.Close()))
		return rd.pool.QueryContext(ctx, query, args...)
	}
	return rows, nil
}

// QueryRowContext implements gorm.ConnPool.
func (r *readPool) QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row {
	rd, err := r.engine.prepare(ctx, r.db, r.ConnPool, query, args, r.row)
	if err != nil {
		return rowset.RowError(err)
	}
	if rd == nil {
		if r.writes(ctx, query) {
			return r.write.QueryRowContext(ctx, query, args...)
		}
		return askRow(ctx, r.ConnPool, query, args)
	}
	rd.drain = true // a row's reader stops after the first
	kept, err := rd.open(ctx)
	if err != nil {
		return rowset.RowError(err)
	}
	if kept == nil {
		return askRow(ctx, rd.pool, query, args)
	}
	return rowset.Row(kept)
}

func askRow(ctx context.Context, pool gorm.ConnPool, query string, args []any) *sql.Row {
	found := pool.QueryRowContext(ctx, query, args...)
	if found.Err() != nil {
		failedIn(pool)
	}
	return found
}
