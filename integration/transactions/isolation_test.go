package transactions

import (
	"context"
	"database/sql"
	"testing"

	"github.com/stretchr/testify/require"
	"gorm.io/gorm"

	"github.com/cacheplugin/cacheplugin"
	"github.com/cacheplugin/cacheplugin/integration/internal/fixture"
	"github.com/cacheplugin/cacheplugin/integration/testdb"
)

const (
	above  = "skip: the transaction's isolation is above READ COMMITTED"
	opaque = "skip: the transaction has failed, or changed session settings"
)

// A transaction reads from the cache only where it is known to see what
// others have committed meanwhile, as the cache does.
func TestIsolationDecidesWhetherATransactionReadsFromTheCache(t *testing.T) {
	at := func(level sql.IsolationLevel) []*sql.TxOptions { return []*sql.TxOptions{{Isolation: level}} }
	for _, env := range testdb.Databases(t) {
		for _, c := range []struct {
			name, dialect string
			dsn           string // what the DSN adds
			begin         []*sql.TxOptions
			first, inside string // statements
			want          string
		}{
			{name: "default", dialect: "postgres", want: "hit"},
			{name: "read committed", dialect: "postgres", begin: at(sql.LevelReadCommitted), want: "hit"},
			{name: "repeatable read", dialect: "postgres", begin: at(sql.LevelRepeatableRead), want: above},
			{name: "serializable", dialect: "postgres", begin: at(sql.LevelSerializable), want: above},
			{name: "DSN", dialect: "postgres", dsn: "&default_transaction_isolation=repeatable%20read", want: above},
			{name: "DSN, overridden", dialect: "postgres", dsn: "&default_transaction_isolation=serializable", begin: at(sql.LevelReadCommitted), want: "hit"},
			{name: "inside", dialect: "postgres", inside: "SET TRANSACTION ISOLATION LEVEL SERIALIZABLE", want: opaque},
			{name: "session", dialect: "postgres", first: "SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL SERIALIZABLE", want: "skip: a statement has changed a pooled session's settings"},
			{name: "session's default", dialect: "postgres", first: "SET default_transaction_isolation = 'repeatable read'", want: "skip: a statement has changed a pooled session's settings"},

			{name: "default", dialect: "mysql", want: above},
			{name: "read committed", dialect: "mysql", begin: at(sql.LevelReadCommitted), want: "hit"},
			{name: "repeatable read", dialect: "mysql", begin: at(sql.LevelRepeatableRead), want: above},
			{name: "read uncommitted", dialect: "mysql", begin: at(sql.LevelReadUncommitted), want: above},
			{name: "session", dialect: "mysql", begin: at(sql.LevelReadCommitted), first: "SET SESSION TRANSACTION ISOLATION LEVEL READ UNCOMMITTED", want: "skip: a statement has changed a pooled session's settings"},

			{name: "default", dialect: "sqlite", want: above},
		} {
			if c.dialect != env.Dialect {
				continue
			}
			t.Run(env.Name+"/"+c.name, func(t *testing.T) {
				f := fixture.New(t, env, fixture.Options{Models: []any{&fixture.Brand{}}})
				db, plugin := f.DB, f.Plugin
				if c.dsn != "" {
					db = env.Connect(t, env.DSN(t, f.Plain)+c.dsn, &gorm.Config{})
					plugin = cacheplugin.New(f.Config)
					require.NoError(t, db.Use(plugin))
					t.Cleanup(func() { require.NoError(t, plugin.Close(context.Background())) })
				}
				require.NoError(t, f.Plain.Create(&fixture.Brand{Name: "a", Kind: 1}).Error)
				f.Cached(t, f.Brands(t, db, 1))
				if c.first != "" {
					require.NoError(t, db.Exec(c.first).Error)
				}
				tx := db.Begin(c.begin...)
				require.NoError(t, tx.Error)
				defer tx.Rollback()
				if c.inside != "" {
					require.NoError(t, tx.Exec(c.inside).Error)
				}
				require.Equal(t, c.want, f.Outcome(f.Brands(t, tx, 1)))
			})
		}
	}
}
