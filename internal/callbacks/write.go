package callbacks

import (
	"context"
	"database/sql"
	"errors"

	"gorm.io/gorm"

	"github.com/cacheplugin/cacheplugin/internal/rowset"
	"github.com/cacheplugin/cacheplugin/txn"
)

// onWrite wraps the handlers of writes. Like onQuery it puts a pool in the
// statement's place, which sees the final SQL and takes the images of the rows
// that the statement changes.
func (h *Handlers) onWrite(next func(*gorm.DB)) func(*gorm.DB) {
	return func(db *gorm.DB) {
		if db.Error != nil || db.DryRun {
			next(db)
			return
		}
		if h.wraps(db.Statement) {
			h.wrap(db, func() { h.runWrite(db, next, false) })
			return
		}
		h.runWrite(db, next, false)
	}
}

// runWrite runs a handler whose statement may write.
func (h *Handlers) runWrite(db *gorm.DB, next func(*gorm.DB), row bool) {
	stmt := db.Statement
	pool := stmt.ConnPool
	place := h.Databases.Place(pool)
	if place.Where.AtConnection() {
		next(db) // the connection has it watched
		return
	}
	w := &writePool{ConnPool: pool, place: place, handlers: h, db: db, row: row}
	stmt.ConnPool = w
	finished := false
	defer func() {
		stmt.ConnPool = pool
		if !finished {
			// A panic on its way through: a Scanner's or a Valuer's, say. The
			// program may recover and commit.
			w.finish(stmt.Context, false)
		}
	}()
	next(db)
	stmt.ConnPool = pool
	finished = true
	w.finish(stmt.Context, true)
}

// writePool sends one handler's statements and finds out what they change.
type writePool struct {
	gorm.ConnPool
	place      txn.Place
	handlers   *Handlers
	db         *gorm.DB
	row        bool // from the row processor: the caller reads the rows later
	statements []*statement
}

// Unwrap implements txn.Wrapper.
func (w *writePool) Unwrap() gorm.ConnPool { return w.ConnPool }

// Behind implements lookup.StandIn.
func (w *writePool) Behind() gorm.ConnPool { return w.ConnPool }

// ExecContext implements gorm.ConnPool.
func (w *writePool) ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error) {
	s := w.begin(ctx, query, args)
	if err := s.announce(ctx); err != nil {
		return nil, err
	}
	result, err := w.ConnPool.ExecContext(txn.Known(ctx, s.where), query, args...)
	s.sent(err)
	if err == nil {
		if n, err := result.RowsAffected(); err == nil {
			s.counted(n)
		}
		if id, err := result.LastInsertId(); err == nil {
			s.lastID = id
		}
	}
	return result, err
}

// QueryContext implements gorm.ConnPool. It counts the rows that RETURNING
// gives: GORM stops reading them when its destination is full.
func (w *writePool) QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error) {
	s := w.begin(ctx, query, args)
	if err := s.announce(ctx); err != nil {
		return nil, err
	}
	rows, err := w.ConnPool.QueryContext(txn.Known(ctx, s.where), query, args...)
	s.sent(err)
	if err != nil || s.passive {
		return rows, err
	}
	src, err := s.count(ctx, rows)
	if err != nil {
		return nil, err
	}
	replayed, err := rowset.Rows(src)
	if err != nil {
		return nil, errors.Join(err, src.Close())
	}
	return replayed, nil
}

// QueryRowContext implements gorm.ConnPool.
func (w *writePool) QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row {
	s := w.begin(ctx, query, args)
	if err := s.announce(ctx); err != nil {
		return rowset.RowError(err)
	}
	if s.passive {
		return w.ConnPool.QueryRowContext(txn.Known(ctx, s.where), query, args...)
	}
	rows, err := w.ConnPool.QueryContext(txn.Known(ctx, s.where), query, args...)
	s.sent(err)
	if err != nil {
		return rowset.RowError(err)
	}
	src, err := s.count(ctx, rows)
	if err != nil {
		return rowset.RowError(err)
	}
	return rowset.Row(src)
}

// finish concludes the statements. whole is false after a panic, when nothing
// more is known than the tables.
func (w *writePool) finish(ctx context.Context, whole bool) {
	for _, s := range w.statements {
		if !whole {
			s.widen("panic")
			s.interrupted = true
		}
		if !s.concluded && !s.reading {
			s.conclude(ctx)
		}
	}
}
