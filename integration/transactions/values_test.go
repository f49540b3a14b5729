package transactions

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"gorm.io/gorm"

	"github.com/cacheplugin/cacheplugin"
	"github.com/cacheplugin/cacheplugin/cache"
	"github.com/cacheplugin/cacheplugin/integration/internal/fixture"
	"github.com/cacheplugin/cacheplugin/integration/testdb"
	"github.com/cacheplugin/cacheplugin/internal/testenv"
)

// visit has values whose form is the session's.
type visit struct {
	ID int64
	At time.Time
	By []byte
}

// sessionSettings are statements that change the form of values, per database, and
// queries whose result they change.
var sessionSettings = map[string]struct {
	query    string
	settings []string
	harmless []string
}{
	"postgres": {
		query: `SELECT at::text || by::text AS form FROM visits`,
		settings: []string{
			`SET TIME ZONE 'Asia/Tokyo'`, `SET timezone TO 'Asia/Tokyo'`, `SELECT set_config('timezone', 'Asia/Tokyo', false)`,
			`SET DateStyle = 'German'`, `SET IntervalStyle = 'iso_8601'`, `SET bytea_output = 'escape'`, `RESET ALL`,
		},
		harmless: []string{`SET statement_timeout = 10000`, `SET application_name = 'other'`, `SET LOCAL TIME ZONE 'Asia/Tokyo'`},
	},
	"mysql": {
		query: "SELECT concat(UNIX_TIMESTAMP(at), DATE_FORMAT(at, '%W'), id / 3) AS form FROM visits",
		settings: []string{
			`SET time_zone = '+09:00'`, `SET SESSION time_zone = '+09:00'`, `SET @@session.time_zone = '+09:00'`,
			`SET NAMES utf8mb4 COLLATE utf8mb4_bin`, `SET collation_connection = utf8mb4_bin`, `SET lc_time_names = 'de_DE'`,
			`SET div_precision_increment = 9`, `SET sql_mode = ''`,
		},
		harmless: []string{`SET lock_wait_timeout = 10`},
	},
	"sqlite": {
		query:    `SELECT id || (by LIKE 'A') AS form FROM visits`,
		settings: []string{`PRAGMA case_sensitive_like = 1`, `PRAGMA reverse_unordered_selects = 1`},
		harmless: []string{`PRAGMA cache_size = 1000`},
	},
}

// TestASessionThatShowsValuesInAnotherFormSharesNone: neither does another process
// get what this session makes of the rows, nor this session what others have stored;
// also if the statement was part of a transaction that is committed.
func TestASessionThatShowsValuesInAnotherFormSharesNone(t *testing.T) {
	for _, env := range testdb.Databases(t) {
		c := sessionSettings[env.Dialect]
		run := func(t *testing.T, statement string, change func(db *gorm.DB) error, taints bool) {
			t.Run(statement, func(t *testing.T) {
				f := fixture.New(t, env, fixture.Options{Models: []any{&visit{}}})
				require.NoError(t, f.Plain.Create(&visit{At: time.Date(2026, 3, 1, 22, 0, 0, 0, time.UTC), By: []byte("a\\")}).Error)
				// One connection, so that it is the changed one that answers.
				for _, db := range []*gorm.DB{f.DB, f.Plain} {
					pool, err := db.DB()
					require.NoError(t, err)
					pool.SetMaxOpenConns(1)
				}
				other := fixture.NewOn(t, f)
				read := func(db *gorm.DB) string {
					var forms []string
					require.NoError(t, db.Scopes(cache.Cache()).Raw(c.query).Scan(&forms).Error)
					return forms[0]
				}
				before := read(f.DB)
				f.Hits(t, func() { require.Equal(t, before, read(f.DB)) })
				require.NoError(t, change(f.DB))
				outcome := f.Outcome(func() { read(f.DB) })
				if taints {
					require.Equal(t, "skip: a statement has changed a pooled session's settings", outcome)
				} else {
					require.NotContains(t, outcome, "session")
				}
				require.NoError(t, cacheplugin.InvalidateAll(other.DB))
				read(f.DB)
				require.Equal(t, before, read(other.DB), "another process sees the rows in its own form")
				require.Equal(t, before, read(other.DB))
			})
		}
		t.Run(env.Name, func(t *testing.T) {
			for _, s := range c.settings {
				run(t, s, func(db *gorm.DB) error { return db.Exec(s).Error }, true)
			}
			for _, s := range c.harmless {
				run(t, s, func(db *gorm.DB) error { return db.Exec(s).Error }, false)
			}
			first := c.settings[0]
			run(t, "in a transaction: "+first, func(db *gorm.DB) error {
				return db.Transaction(func(tx *gorm.DB) error { return tx.Exec(first).Error })
			}, true)
		})
	}
}

// TestHandlesWithOtherDSNsShareNoResults: what the driver does to a result is part
// of its key.
func TestHandlesWithOtherDSNsShareNoResults(t *testing.T) {
	env := testdb.Need(t, testenv.SQLiteFile)
	f := fixture.New(t, env, fixture.Options{Models: []any{&visit{}}})
	require.NoError(t, f.Plain.Create(&visit{At: time.Date(2026, 3, 1, 22, 0, 0, 0, time.UTC)}).Error)
	hour := func(db *gorm.DB) int {
		var v visit
		require.NoError(t, db.First(&v).Error)
		return v.At.Hour()
	}
	f.Cached(t, func() { require.Equal(t, 22, hour(f.DB)) })
	config := f.Config
	plain := env.Connect(t, env.DSN(t, f.DB)+"&_loc=Asia/Tokyo", nil)
	with := env.Connect(t, env.DSN(t, f.DB)+"&_loc=Asia/Tokyo", nil)
	plugin := cacheplugin.New(config)
	require.NoError(t, with.Use(plugin))
	t.Cleanup(func() { require.NoError(t, plugin.Close(t.Context())) })
	require.Equal(t, hour(plain), hour(with))
	require.NotEqual(t, 22, hour(with))
}
