package work

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"

	"gorm.io/gorm"
	"gorm.io/gorm/logger"

	"github.com/cacheplugin/cacheplugin/integration/testdb"
)

// writing is a writer's open transaction: what its statements are sent through, and
// how it ends.
type writing struct {
	tx               *gorm.DB
	commit, rollback func() error
}

// begin begins a transaction, in half of the cases by the handle with the plugin and
// else as another library on the same pool would: the plugin's handlers see nothing
// of it.
func (w *writer) begin(ctx context.Context) (writing, error) {
	switch w.random.IntN(6) {
	case 0:
		return begun(w.beside.WithContext(ctx).Begin())
	case 1:
		return begun(w.beside.WithContext(ctx).Session(&gorm.Session{PrepareStmt: true}).Begin())
	case 2:
		return w.beginByText(ctx)
	}
	return begun(w.db.WithContext(ctx).Begin())
}

func begun(tx *gorm.DB) (writing, error) {
	return writing{
		tx:       tx,
		commit:   func() error { return tx.Commit().Error },
		rollback: func() error { return tx.Rollback().Error },
	}, tx.Error
}

// beginByText begins a transaction by text on a connection.
func (w *writer) beginByText(ctx context.Context) (writing, error) {
	pool, err := w.db.DB()
	if err != nil {
		return writing{}, err
	}
	conn, err := pool.Conn(ctx)
	if err != nil {
		return writing{}, err
	}
	begin := "BEGIN"
	if w.job.Dialect == "sqlite" {
		begin = "BEGIN IMMEDIATE" // as the driver does, see open
	}
	if _, err := conn.ExecContext(ctx, begin); err != nil {
		return writing{}, errors.Join(err, conn.Close())
	}
	// The statements are not to be run in transactions of their own.
	tx := w.beside.Session(&gorm.Session{NewDB: true, Context: ctx, SkipDefaultTransaction: true})
	tx.Statement.ConnPool = conn
	send := func(text string) error {
		_, err := conn.ExecContext(ctx, text)
		return err
	}
	back := func() error {
		err := send("ROLLBACK")
		if err != nil {
			// Nobody may get a connection that is still in it.
			err = errors.Join(err, conn.Raw(func(any) error { return driver.ErrBadConn }))
		}
		return errors.Join(err, conn.Close())
	}
	return writing{tx: tx, rollback: back, commit: func() error {
		if err := send("COMMIT"); err != nil {
			_ = back() // what came of COMMIT counts
			return err
		}
		return conn.Close()
	}}, nil
}

// besideOf returns a handle without the plugin on the pool of one with it.
func besideOf(db *gorm.DB, dialect, dsn string) (*gorm.DB, error) {
	pool, err := db.DB()
	if err != nil {
		return nil, err
	}
	beside, err := gorm.Open(testdb.OfDialect(dialect).Dialector(dsn), &gorm.Config{Logger: logger.Discard})
	if err != nil {
		return nil, fmt.Errorf("work: open the database beside the plugin: %w", err)
	}
	if own, ok := beside.ConnPool.(*sql.DB); ok {
		if err := own.Close(); err != nil {
			return nil, err
		}
	}
	beside.ConnPool, beside.Statement.ConnPool = pool, pool
	return beside, nil
}
