package conj

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"gorm.io/gorm"

	"github.com/cacheplugin/cacheplugin/conj"
	"github.com/cacheplugin/cacheplugin/integration/testdb"
	"github.com/cacheplugin/cacheplugin/internal/testenv"
)

// TestNegatedBooleans: the law of law_test.go for conditions on a boolean column,
// which conj.PostgreSQL alone has: the others' hold other values, too.
func TestNegatedBooleans(t *testing.T) {
	conditions := []string{
		"f", "NOT f", "NOT NOT f", "f = true", "f <> true", "true <> f", "f != false", "NOT f = true", "NOT (f = true)",
		"NOT (f <> true)", "NOT NOT f = false", "f = ?", "f <> ?", "? <> f", "NOT f = ?", "NOT (f <> ?)", "NOT (NOT (f = ?))",
		"f <> NULL", "NOT f = NULL", "f IS TRUE", "NOT f IS TRUE", "NOT (f IS TRUE)", "NOT (f IS NOT FALSE)", "NOT (f IN (true))",
		"NOT f IN (?)", "f NOT IN (true)", "NOT (f IS NULL)", "NOT (f = g)", "f <> g", "NOT (f AND g)", "NOT (f OR g)",
		"NOT f AND g <> true", "NOT f OR NOT g = ?", "NOT (f = true AND g)", "(f, g) <> (true, true)", "NOT ((f, g) = (true, ?))",
		"(f = true) <> true", "(f <> true) <> true", "NOT CASE WHEN f THEN g END", "f <> (NOT g)", "NOT coalesce(f, g) = true",
		"NOT (f IS NOT DISTINCT FROM true)", "f IS DISTINCT FROM true", "NOT (f <=> true)", "f = true AND f <> true", "NOT f = f",
	}
	for _, name := range []string{testenv.Postgres, testenv.MariaDB, testenv.SQLite} {
		t.Run(name, func(t *testing.T) {
			database := testdb.Need(t, name)
			db, err := database.Open(t, &gorm.Config{}).DB()
			require.NoError(t, err)
			conn, err := db.Conn(t.Context())
			require.NoError(t, err)
			defer conn.Close()
			d, _ := conj.DialectOf(database.Dialect)
			l := lawDatabase{t, d, conn}
			l.exec("CREATE TABLE flags (f BOOLEAN, g BOOLEAN)")
			l.exec("BEGIN")
			kind, values := conj.Boolean, []any{nil, true, false}
			if d != conj.PostgreSQL {
				kind, values = conj.Integer, []any{nil, int64(0), int64(1), int64(2)}
			}
			table := conj.NewTable("main.flags", "flags", []conj.Column{{Name: "f", Kind: kind}, {Name: "g", Kind: kind}})
			for _, condition := range conditions {
				t.Run(condition, func(t *testing.T) { checkFlags(t, l, table, "SELECT f, g FROM flags WHERE "+condition, values) })
			}
		})
	}
}

// checkFlags asks a condition of each row and with each argument. A row that
// is in the result must be one that the query depends on.
func checkFlags(t *testing.T, l lawDatabase, table *conj.Table, text string, values []any) {
	l.t = t
	plan, err := conj.Compile(l.d, l.text(text), func(conj.TableName) (*conj.Table, error) { return table, nil }, conj.Limits{})
	require.NoError(t, err)
	for _, arg := range values {
		args := make([]any, strings.Count(text, "?"))
		for i := range args {
			args[i] = arg
		}
		deps, err := plan.Bind(args)
		require.NoError(t, err)
		for _, f := range values {
			for _, g := range values {
				l.exec("DELETE FROM flags")
				l.exec("INSERT INTO flags VALUES (?, ?)", f, g)
				result, ok := l.rows(l.text(text), args)
				if !ok {
					continue // the dialect doesn't know the condition
				}
				require.Empty(t, plan.Skip)
				if result != "" {
					require.True(t, touches(table, changed(l.d, table, nil, []any{f, g}), deps[0].Conjunctions), "row (%v, %v), argument %v", f, g, arg)
				}
			}
		}
	}
}
