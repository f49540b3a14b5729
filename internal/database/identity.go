package database

import (
	"context"
	"errors"
	"fmt"

	"gorm.io/gorm"

	"github.com/cacheplugin/cacheplugin/conj"
)

// ErrNoAutocommit and ErrDirtyReads say why nothing of a database may be
// cached: its reads may be of an old snapshot, or of what is never committed.
var (
	ErrNoAutocommit = errors.New("autocommit is off: each query would see the snapshot of a transaction that never ends; switch it on in the DSN")
	ErrDirtyReads   = errors.New("the default isolation is READ UNCOMMITTED: queries see what may be rolled back; set READ COMMITTED or REPEATABLE READ in the DSN")
)

// Identity tells the database behind a pool, and the settings of its sessions
// that change what a query returns, from all others.
func (d *Database) Identity(ctx context.Context, pool gorm.ConnPool) (string, error) {
	bare, prepared := unprepared(pool)
	id := d.identity.Load()
	if id == nil {
		read, err := d.readIdentity(ctx, bare)
		if err != nil {
			return "", err
		}
		id = &read
		d.identity.Store(id)
	}
	// MySQL's driver gives values of other types where it prepares, and pgx in
	// its simple protocol times of other locations where it doesn't.
	if prepared && d.Dialect != conj.SQLite {
		return *id + "\x00prepared", nil
	}
	return *id, nil
}

func (d *Database) readIdentity(ctx context.Context, q gorm.ConnPool) (string, error) {
	server, err := d.Catalog.Server(ctx, q)
	if err != nil {
		return "", err
	}
	id := server.Database + "\x00" + server.Instance
	if server.Database == "" {
		id = d.instance
	}
	if d.Dialect == conj.MySQL && server.DefaultIsolation == "read uncommitted" {
		return "", ErrDirtyReads
	}
	settings, err := sessionSettings(ctx, d.Dialect, q)
	if err != nil {
		return "", fmt.Errorf("read the session's settings: %w", err)
	}
	settings += d.options
	d.settings.Store(&settings)
	return id + "\x00" + settings, nil
}

// SameSettings reports whether the sessions of two databases, whose Identity
// was asked for, give the same values for the same rows.
func SameSettings(a, b *Database) bool {
	ours, theirs := a.settings.Load(), b.settings.Load()
	return ours != nil && theirs != nil && *ours == *theirs
}

// unprepared looks under GORM's layers of prepared statements.
func unprepared(pool gorm.ConnPool) (bare gorm.ConnPool, prepared bool) {
	for {
		switch p := pool.(type) {
		case *gorm.PreparedStmtDB:
			pool, prepared = p.ConnPool, true
		case *gorm.PreparedStmtTX:
			pool, prepared = p.Tx, true
		default:
			return pool, prepared
		}
	}
}
