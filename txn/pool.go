package txn

import (
	"context"
	"database/sql"
	"sync/atomic"
	"time"

	"gorm.io/gorm"
)

// Pool stands before a connection pool and begins its transactions as Tx.
//
// It implements gorm.ConnPoolBeginner and deliberately neither Commit nor
// Rollback: GORM takes a pool that has them for a transaction.
type Pool struct {
	inner   gorm.ConnPool
	options *Options

	// A transaction begun by text ("BEGIN") on a pool is seen by nobody but
	// here: open counts those that have not been ended, and unknown stays set
	// once it cannot be told any longer. Of calls the pool Foreign meanwhile.
	open    atomic.Int32
	unknown atomic.Bool
}

var (
	_ gorm.ConnPoolBeginner = (*Pool)(nil)
	_ gorm.GetDBConnector   = (*Pool)(nil)
)

func newPool(inner gorm.ConnPool, o *Options) *Pool {
	p := &Pool{inner: inner, options: o}
	if _, ok := inner.(*sql.Conn); ok {
		// One connection, to which its owner has another handle: whether it
		// is in a transaction cannot be known.
		p.unknown.Store(true)
	}
	return p
}

// BeginTx begins a transaction. On error it returns a nil *Tx as the pool, and
// gorm.ErrInvalidTransaction where the pool below has no transactions, both as
// GORM does and expects.
func (p *Pool) BeginTx(ctx context.Context, opts *sql.TxOptions) (gorm.ConnPool, error) {
	switch beginner := p.inner.(type) {
	case gorm.TxBeginner:
		tx, err := beginner.BeginTx(ctx, opts)
		if err != nil {
			return (*Tx)(nil), err
		}
		return newTx(ctx, tx, tx, p, p.options, opts), nil

	case gorm.ConnPoolBeginner:
		conn, err := beginner.BeginTx(ctx, opts)
		if err != nil {
			return (*Tx)(nil), err
		}
		switch tx := conn.(type) {
		case gorm.Tx:
			return newTx(ctx, tx, tx, p, p.options, opts), nil
		case gorm.TxCommitter:
			t := newTx(ctx, conn, tx, p, p.options, opts)
			return &unpreparable{ConnPool: t, TxCommitter: t, tx: t}, nil
		}
		return conn, nil
	}
	return (*Tx)(nil), gorm.ErrInvalidTransaction
}

// GetDBConn returns the *sql.DB at the bottom, for gorm.DB.DB.
func (p *Pool) GetDBConn() (*sql.DB, error) { return dbOf(p.inner) }

// Ping verifies a connection, where the pool below can.
func (p *Pool) Ping() error {
	if pinger, ok := p.inner.(interface{ Ping() error }); ok {
		return pinger.Ping()
	}
	return nil
}

// PrepareContext implements gorm.ConnPool.
func (p *Pool) PrepareContext(ctx context.Context, query string) (*sql.Stmt, error) {
	if t := scan(query, p.options.Dialect); t.begins > 0 || t.detaches || p.begunBySavepoint(t) {
		// How often a prepared BEGIN is going to run is not seen here.
		p.unknown.Store(true)
	}
	return p.inner.PrepareContext(ctx, query)
}

// ExecContext implements gorm.ConnPool.
func (p *Pool) ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error) {
	result, err := p.inner.ExecContext(ctx, query, args...)
	p.observe(query, err)
	return result, err
}

// QueryContext implements gorm.ConnPool.
func (p *Pool) QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error) {
	rows, err := p.inner.QueryContext(ctx, query, args...)
	p.observe(query, err)
	return rows, err
}

// QueryRowContext implements gorm.ConnPool.
func (p *Pool) QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row {
	row := p.inner.QueryRowContext(ctx, query, args...)
	p.observe(query, row.Err())
	return row
}

// observe follows transactions that are begun and ended by text.
func (p *Pool) observe(query string, err error) {
	t := scan(query, p.options.Dialect)
	if t.detaches || p.begunBySavepoint(t) {
		p.unknown.Store(true)
	}
	// In doubt the transaction is open: a BEGIN that returned an error may
	// have been followed by others in the same text.
	delta := int32(t.begins)
	if err == nil {
		delta -= int32(t.ends)
	}
	for delta != 0 {
		open := p.open.Load()
		if p.open.CompareAndSwap(open, max(open+delta, 0)) {
			return
		}
	}
}

// begunBySavepoint: outside of a transaction SQLite begins one at a savepoint,
// and RELEASE commits it.
func (p *Pool) begunBySavepoint(t traits) bool {
	return t.savepoint && t.begins == 0 && p.options.Dialect == sqlite && p.open.Load() == 0
}

// autocommit reports whether a statement on the pool is a transaction of its
// own, as far as is known.
func (p *Pool) autocommit() bool { return p.open.Load() == 0 && !p.unknown.Load() }

// SetConnMaxIdleTime passes on to the *sql.DB at the bottom. dbresolver looks
// for this method and the following ones on its pools.
func (p *Pool) SetConnMaxIdleTime(d time.Duration) {
	if db, err := p.GetDBConn(); err == nil {
		db.SetConnMaxIdleTime(d)
	}
}

// SetConnMaxLifetime passes on to the *sql.DB at the bottom.
func (p *Pool) SetConnMaxLifetime(d time.Duration) {
	if db, err := p.GetDBConn(); err == nil {
		db.SetConnMaxLifetime(d)
	}
}

// SetMaxIdleConns passes on to the *sql.DB at the bottom.
func (p *Pool) SetMaxIdleConns(n int) {
	if db, err := p.GetDBConn(); err == nil {
		db.SetMaxIdleConns(n)
	}
}

// SetMaxOpenConns passes on to the *sql.DB at the bottom.
func (p *Pool) SetMaxOpenConns(n int) {
	if db, err := p.GetDBConn(); err == nil {
		db.SetMaxOpenConns(n)
	}
}

// Stats returns the statistics of the *sql.DB at the bottom, for resolver
// policies that balance by them.
func (p *Pool) Stats() sql.DBStats {
	db, err := p.GetDBConn()
	if err != nil {
		return sql.DBStats{}
	}
	return db.Stats()
}

// dbOf finds the *sql.DB as gorm.DB.DB does, which knows *sql.Tx too.
func dbOf(pool gorm.ConnPool) (*sql.DB, error) {
	return (&gorm.DB{Config: &gorm.Config{}, Statement: &gorm.Statement{ConnPool: pool}}).DB()
}
