package transactions

import (
	"testing"

	"github.com/stretchr/testify/require"
	"gorm.io/gorm"

	"github.com/cacheplugin/cacheplugin/integration/internal/fixture"
	"github.com/cacheplugin/cacheplugin/integration/testdb"
	"github.com/cacheplugin/cacheplugin/internal/testenv"
)

// TestSettingsOfASession: PostgreSQL's search_path decides which table a name
// means.
func TestSettingsOfASession(t *testing.T) {
	env := testdb.Need(t, testenv.Postgres)
	const change = "UPDATE items SET name = name || '!' WHERE id = 11"
	for name, c := range map[string]struct {
		set     func(db *gorm.DB) error
		session bool // it outlasts the transaction, on a connection that isn't known
		other   bool // it has nothing to do with tables
	}{
		"SET LOCAL":            {set: func(db *gorm.DB) error { return db.Exec("SET LOCAL search_path = tenant").Error }},
		"SET LOCAL, spelt odd": {set: func(db *gorm.DB) error { return db.Exec("/* x */ set\n local Search_Path TO tenant, public").Error }},
		"set_config, local": {set: func(db *gorm.DB) error {
			return db.Exec("SELECT set_config('search_path', ?, true)", "tenant").Error
		}},
		"set_config, local, by Scan": {set: func(db *gorm.DB) error {
			var s string
			return db.Raw("SELECT set_config(?, ?, true)", "search_path", "tenant").Scan(&s).Error
		}},
		"SET": {session: true, set: func(db *gorm.DB) error { return db.Exec("SET search_path = tenant").Error }},
		"set_config": {session: true, set: func(db *gorm.DB) error {
			var s string
			return db.Raw("SELECT set_config('search_path', ?, false)", "tenant").Scan(&s).Error
		}},
		"set_config that may be local": {session: true, set: func(db *gorm.DB) error {
			var s string
			return db.Raw("SELECT set_config('search_path', 'tenant', ?)", true).Scan(&s).Error
		}},
		"another setting": {other: true, set: func(db *gorm.DB) error {
			var s string
			return db.Raw("SELECT set_config('app.tenant', ?, false)", "7").Scan(&s).Error
		}},
	} {
		t.Run(name, func(t *testing.T) {
			f := fixture.New(t, env, fixture.Options{})
			for _, text := range shapesSchema(env.Dialect) {
				require.NoError(t, f.Plain.Exec(text).Error)
			}
			for _, text := range []string{"CREATE SCHEMA tenant", "CREATE TABLE tenant.items AS TABLE items", "ALTER TABLE tenant.items ADD PRIMARY KEY (id)"} {
				require.NoError(t, f.Plain.Exec(text).Error)
			}
			read := func(table string) func() {
				return func() {
					var got, want []string
					require.NoError(t, f.DB.Table(table).Where("maker_id = 1").Order("id").Pluck("name", &got).Error)
					require.NoError(t, f.Plain.Table(table).Where("maker_id = 1").Order("id").Pluck("name", &want).Error)
					require.Equal(t, want, got, table)
				}
			}
			f.Cached(t, read("public.items"))
			f.Cached(t, read("tenant.items"))
			require.NoError(t, f.DB.Exec("UPDATE items SET name = 'far' WHERE id = 91").Error) // the name is known
			f.Outcome(read("public.items"))
			require.NoError(t, f.DB.Transaction(func(tx *gorm.DB) error {
				if err := c.set(tx); err != nil {
					return err
				}
				return tx.Exec(change).Error
			}))
			switch {
			case c.session:
				for _, table := range []string{"public.items", "tenant.items"} {
					require.Equal(t, "skip: a statement has changed a pooled session's settings", f.Outcome(read(table)))
				}
			case c.other:
				f.Misses(t, read("public.items"))
				f.Hits(t, read("tenant.items"))
			default:
				f.Hits(t, read("public.items"))
				f.Misses(t, read("tenant.items"))
			}
			if !c.session {
				require.NoError(t, f.DB.Transaction(func(tx *gorm.DB) error { return tx.Exec(change).Error }))
				f.Misses(t, read("public.items"))
				f.Hits(t, read("tenant.items"))
			}
		})
	}
}
