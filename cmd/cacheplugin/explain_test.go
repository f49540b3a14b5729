package main

import (
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	"gorm.io/driver/sqlite"
	"gorm.io/gorm"
)

func TestExplainWithoutADatabase(t *testing.T) {
	for name, test := range map[string]struct {
		args []string
		want explanation
	}{
		"a literal": {[]string{"--dialect", "postgres", "SELECT * FROM users WHERE id = 34 LIMIT 1"}, explanation{
			Operation: "get", Cacheable: true, Assumed: []string{"users.id integer"},
			Depends: []explanationDependency{{Table: "public.users", Rows: []string{"id = 34"}}},
		}},
		"a text and a flag": {[]string{"--dialect", "sqlite", "SELECT count(*) FROM users WHERE name = 'O''Neil' AND active = true"}, explanation{
			Operation: "count", Cacheable: true, Assumed: []string{"users.name text", "users.active boolean"},
			Depends: []explanationDependency{{Table: "main.users", Rows: []string{"active = 1 and name = O'Neil"}, Columns: []string{"name", "active"}}},
		}},
		"arguments": {[]string{"--dialect", "postgres", "SELECT * FROM users WHERE name = $2 AND age IN ($1, 19)", "18", "Ann"}, explanation{
			Operation: "fetch", Cacheable: true, Assumed: []string{"users.name text", "users.age integer"},
			Depends: []explanationDependency{{Table: "public.users", Rows: []string{"age = 18 and name = Ann", "age = 19 and name = Ann"}}},
		}},
		"described columns": {[]string{"--dialect", "mysql", "--column", "users.name:folded-text", "SELECT * FROM users WHERE name = ? AND age = 3", "ANN"}, explanation{
			Operation: "fetch", Cacheable: true,
			Depends: []explanationDependency{{Table: "users", Rows: []string{"name = ann"}}},
		}},
		"joined rows": {[]string{"--dialect", "postgres", "--column", "users.company_id:integer", "--column", "companies.id:integer", "--column", "companies.name:text",
			"SELECT users.company_id, c.name FROM users LEFT JOIN companies c ON c.id = users.company_id"}, explanation{
			Operation: "fetch", Cacheable: true,
			Depends: []explanationDependency{{Table: "public.users", Rows: []string{"any value"}, Columns: []string{"company_id"}}, {Table: "public.companies", Rows: []string{"keys of joined rows: id"}, Columns: []string{"id", "name"}}},
		}},
		"null": {[]string{"--dialect", "sqlite", "SELECT * FROM users WHERE deleted_at IS NULL"}, explanation{
			Operation: "fetch", Cacheable: true, Assumed: []string{"users.deleted_at opaque"},
			Depends: []explanationDependency{{Table: "main.users", Rows: []string{"deleted_at is null"}}},
		}},
		"volatile": {[]string{"--dialect", "postgres", "SELECT now() FROM users"}, explanation{
			Operation: "fetch", Reason: "volatile: now(); only opt-in, with a timeout",
			Depends: []explanationDependency{{Table: "public.users", Rows: []string{"any value"}}},
		}},
		"a missing argument": {[]string{"--dialect", "postgres", "SELECT * FROM users WHERE id = $1"}, explanation{
			Operation: "fetch", Cacheable: true, Assumed: []string{"users.id integer"},
		}},
		"a write": {[]string{"--dialect", "postgres", "UPDATE users SET name = 'x' WHERE id = 3"}, explanation{
			Operation: "update", Reason: "not a SELECT",
			Writes: []explanationWrite{{"public.users", "update", ""}},
		}},
		"not understood": {[]string{"--dialect", "postgres", "SELEC"}, explanation{Operation: "unknown", Reason: "not a SELECT"}},
	} {
		t.Run(name, func(t *testing.T) {
			got := decode[explanation](t, "redis://127.0.0.1:1", exitOK, append([]string{"explain"}, test.args...)...)
			if test.want.Writes != nil || test.want.Operation == "unknown" {
				got.Assumed, got.Operation, test.want.Operation = nil, "", ""
				for i := range got.Writes {
					got.Writes[i].Statement = test.want.Writes[i].Statement
				}
			}
			if name == "a missing argument" {
				require.Contains(t, got.Notes[0], "arguments after it")
			}
			got.SQL, got.Dialect, got.Notes = "", "", nil
			require.Equal(t, test.want, got)
		})
	}
	r := call(t, "", "explain", "--dialect", "postgres", "SELECT * FROM users WHERE id = 34")
	require.Equal(t, `SELECT * FROM users WHERE id = 34
  operation: fetch
  can be cached, if the profile of its table lists the operation
  dropped by rows of public.users with id = 34
  assumed: users.id integer (give --column or --database if that is wrong)
`, r.out)
}

func TestExplainReadsTheDatabase(t *testing.T) {
	path := filepath.Join(t.TempDir(), "shop 1.db")
	db, err := gorm.Open(sqlite.Open(path), &gorm.Config{})
	require.NoError(t, err)
	require.NoError(t, db.AutoMigrate(&Article{}))
	sqlDB, err := db.DB()
	require.NoError(t, err)
	require.NoError(t, sqlDB.Close())

	got := decode[explanation](t, "", exitOK, "explain", "--database", "sqlite:"+path, "SELECT * FROM articles a JOIN nothing n ON n.id = a.id WHERE tag_id = 2")
	require.Equal(t, []string{"the database has no table nothing"}, got.Notes)
	got = decode[explanation](t, "", exitOK, "explain", "--database", "sqlite:"+path, "SELECT * FROM articles WHERE tag_id = 2")
	require.Equal(t, []explanationDependency{{Table: "main.articles", Rows: []string{"tag_id = 2"}}}, got.Depends)
	require.Empty(t, got.Assumed)
	r := call(t, "", "explain", "--database", "sqlite:"+path, "SELECT count(*) FROM articles WHERE tag_id = 2 AND id > 5")
	require.Contains(t, r.out, "dropped by rows of main.articles with tag_id = 2\n  by updates of main.articles only if they change one of id, tag_id\n")

	r = call(t, "", "explain", "--database", "sqlite:"+filepath.Join(t.TempDir(), "none.db"), "SELECT 1")
	require.Equal(t, exitConnection, r.code)
	require.Contains(t, r.err, "--database")
}
