package database

import (
	"bytes"
	"database/sql"
	"log/slog"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	"gorm.io/driver/sqlite"
	"gorm.io/gorm"

	"github.com/cacheplugin/cacheplugin/conj"
	"github.com/cacheplugin/cacheplugin/internal/report"
)

func open(t *testing.T, log *bytes.Buffer) (*gorm.DB, *Set) {
	t.Helper()
	db, err := gorm.Open(sqlite.Open(filepath.Join(t.TempDir(), "db")))
	require.NoError(t, err)
	pool, err := db.DB()
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, pool.Close()) })
	require.NoError(t, db.Exec("CREATE TABLE users (id integer PRIMARY KEY, team_id integer)").Error)
	set := NewSet(db, conj.SQLite, conj.Limits{}, report.New(slog.New(slog.NewTextHandler(log, nil)), nil), &Registry{})
	set.Bind(db)
	return db, set
}

func TestADatabaseIsFoundByItsPool(t *testing.T) {
	db, set := open(t, &bytes.Buffer{})
	require.Same(t, set.Of(db.ConnPool), set.Of(db.Session(&gorm.Session{PrepareStmt: true}).Statement.ConnPool), "also under prepared statements")
	require.NoError(t, db.Transaction(func(tx *gorm.DB) error {
		require.Same(t, set.Of(db.ConnPool), set.Of(tx.Statement.ConnPool), "a transaction that tells no pool is the handle's")
		return nil
	}))
	other, err := sql.Open("sqlite3", ":memory:")
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, other.Close()) })
	require.NotSame(t, set.Of(db.ConnPool), set.Of(other))
	require.Same(t, set.Of(other), set.Of(other))
}

func TestPlansAreRememberedUntilDefinitionsChange(t *testing.T) {
	db, set := open(t, &bytes.Buffer{})
	d := set.Of(db.ConnPool)
	const text = "SELECT * FROM users WHERE team_id = ?"
	plan := func(remember bool) *conj.Plan {
		p, err := d.Plan(t.Context(), db.ConnPool, text, remember)
		require.NoError(t, err)
		return p
	}
	require.False(t, d.Planned(text))
	first := plan(true)
	require.True(t, d.Planned(text))
	require.Same(t, first, plan(true))
	require.NotSame(t, first, plan(false), "a transaction that has changed tables sees its own")
	d.Redefined()
	require.False(t, d.Planned(text))

	_, err := d.Plan(t.Context(), db.ConnPool, "SELECT * FROM later", true)
	require.NoError(t, err)
	require.False(t, d.Planned("SELECT * FROM later"), "another process may make the table")
}

func TestAQueryLimitedToColumnsHasAPlanOfItsOwn(t *testing.T) {
	db, set := open(t, &bytes.Buffer{})
	d := set.Of(db.ConnPool)
	const text = "SELECT * FROM users WHERE team_id = 1 AND id = 2"
	all, err := d.Plan(t.Context(), db.ConnPool, text, true)
	require.NoError(t, err)
	limited, err := d.PlanOn(t.Context(), db.ConnPool, text, true, []string{"team_id"})
	require.NoError(t, err)
	require.NotSame(t, all, limited)
	require.Equal(t, []string{"main.users.team_id"}, limited.On)
}

func TestTemporaryTablesMakeNamesDoubtful(t *testing.T) {
	db, set := open(t, &bytes.Buffer{})
	d := set.Of(db.ConnPool)
	d.NoteTemporary("Users")
	require.Equal(t, "users", d.Temporary([]conj.TableName{{Name: "teams"}, {Name: "users"}}))
	require.Empty(t, d.Temporary([]conj.TableName{{Name: "teams"}}))
}

func TestTableFindsByTheNameThatGORMKnows(t *testing.T) {
	db, set := open(t, &bytes.Buffer{})
	d := set.Of(db.ConnPool)
	for _, name := range []string{"users", "main.users"} {
		table, err := d.Table(t.Context(), db.ConnPool, name)
		require.NoError(t, err)
		require.Equal(t, "main.users", table.ID)
	}
	_, err := d.Table(t.Context(), db.ConnPool, "nobody")
	require.ErrorIs(t, err, ErrUnknownTable)
}

func TestDatabasesInMemoryAreToldApartByTheirHandles(t *testing.T) {
	identity := func(dsn string) string {
		db, err := gorm.Open(sqlite.Open(dsn))
		require.NoError(t, err)
		pool, err := db.DB()
		require.NoError(t, err)
		t.Cleanup(func() { require.NoError(t, pool.Close()) })
		d := NewSet(db, conj.SQLite, conj.Limits{}, report.New(slog.Default(), nil), &Registry{}).Of(pool)
		id, err := d.Identity(t.Context(), db.ConnPool)
		require.NoError(t, err)
		return id
	}
	require.NotEqual(t, identity(":memory:"), identity(":memory:"))
	file := filepath.Join(t.TempDir(), "db")
	require.Equal(t, identity(file), identity(file))
}
