package schema

import (
	"testing"

	"github.com/stretchr/testify/require"
	"gorm.io/gorm"

	"github.com/cacheplugin/cacheplugin"
	"github.com/cacheplugin/cacheplugin/integration/internal/fixture"
	"github.com/cacheplugin/cacheplugin/integration/testdb"
	"github.com/cacheplugin/cacheplugin/internal/testenv"
)

// texts is a fixture whose tables are made and read by SQL, for what hides
// tables from a statement's text.
type texts struct{ *fixture.Fixture }

// newTexts opens a database and runs statements in it that the plugin does not
// see.
func newTexts(t testing.TB, env testenv.Database, config cacheplugin.Config, schema ...string) *texts {
	t.Helper()
	f := fixture.New(t, env, fixture.Options{Config: config})
	for _, s := range schema {
		require.NoError(t, f.Plain.Exec(s).Error, s)
	}
	return &texts{f}
}

// onTexts runs a test on each database, or on some.
func onTexts(t *testing.T, databases []string, config cacheplugin.Config, schema []string, test func(t *testing.T, f *texts)) {
	t.Helper()
	for _, env := range testdb.Databases(t) {
		if len(databases) > 0 && !contains(databases, env.Dialect) {
			continue
		}
		t.Run(env.Name, func(t *testing.T) {
			t.Parallel()
			test(t, newTexts(t, env, config, schema...))
		})
	}
}

// onTextsInTurn is onTexts for tests that share a log.
func onTextsInTurn(t *testing.T, databases []string, config cacheplugin.Config, schema []string, test func(t *testing.T, f *texts)) {
	t.Helper()
	for _, env := range testdb.Databases(t) {
		if contains(databases, env.Dialect) {
			t.Run(env.Name, func(t *testing.T) { test(t, newTexts(t, env, config, schema...)) })
		}
	}
}

func contains(list []string, s string) bool {
	for _, have := range list {
		if have == s {
			return true
		}
	}
	return false
}

// rows reads what a query gives on a handle.
func rowsOf(t testing.TB, db *gorm.DB, query string, args ...any) []map[string]any {
	t.Helper()
	var rows []map[string]any
	require.NoError(t, db.Raw(query, args...).Find(&rows).Error, query)
	return rows
}

// reads asks a query of the handle with the plugin and says what became of it.
// Whatever that was, the rows must be the database's.
func (f *texts) reads(t testing.TB, query string, args ...any) string {
	t.Helper()
	var got []map[string]any
	outcome := f.Outcome(func() { got = rowsOf(t, f.DB, query, args...) })
	require.Equal(t, rowsOf(t, f.Plain, query, args...), got, "stale (%s): %s", outcome, query)
	return outcome
}

// fill reads queries until they come from the cache.
func (f *texts) fill(t testing.TB, queries ...string) {
	t.Helper()
	for _, q := range queries {
		first := f.reads(t, q)
		require.Equal(t, "hit", f.reads(t, q), "not cached (%s): %s", first, q)
	}
}

// kept requires that queries still come from the cache, dropped that they do
// not and are cached again then.
func (f *texts) kept(t testing.TB, queries ...string) {
	t.Helper()
	for _, q := range queries {
		require.Equal(t, "hit", f.reads(t, q), "dropped: %s", q)
	}
}

func (f *texts) dropped(t testing.TB, queries ...string) {
	t.Helper()
	for _, q := range queries {
		require.Equal(t, "miss", f.reads(t, q), "not dropped: %s", q)
		require.Equal(t, "hit", f.reads(t, q), "not cached any more: %s", q)
	}
}

// changes runs a statement in a transaction of the handle with the plugin, and
// requires that it changes what the query gives: otherwise nothing is shown.
func (f *texts) changes(t testing.TB, query, statement string, args ...any) {
	t.Helper()
	before := rowsOf(t, f.Plain, query)
	f.runs(t, statement, args...)
	require.NotEqual(t, before, rowsOf(t, f.Plain, query), "%s does not change %s", statement, query)
}

// runs runs statements in one transaction of the handle with the plugin.
func (f *texts) runs(t testing.TB, statement string, args ...any) {
	t.Helper()
	require.NoError(t, f.DB.Transaction(func(tx *gorm.DB) error { return tx.Exec(statement, args...).Error }), statement)
}
