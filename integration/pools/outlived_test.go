package pools

import (
	"context"
	"database/sql"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"gorm.io/gorm"

	"github.com/cacheplugin/cacheplugin/integration/internal/fixture"
	"github.com/cacheplugin/cacheplugin/integration/testdb"
	"github.com/cacheplugin/cacheplugin/internal/testenv"
)

// A text may begin a transaction and write in it. What others read before its COMMIT
// is not left behind.
func TestATextThatBeginsAndWrites(t *testing.T) {
	for _, env := range testdb.Databases(t) {
		if env.Dialect == "mysql" {
			continue // its driver takes one statement at a time, unless it is told otherwise
		}
		t.Run(env.Name, func(t *testing.T) {
			f := fixture.New(t, env, options())
			for _, text := range []string{
				"BEGIN; UPDATE brands SET name = 'new' WHERE id = 1",
				"COMMIT; BEGIN; UPDATE brands SET name = 'new' WHERE id = 1",
			} {
				require.NoError(t, f.DB.Save(&fixture.Brand{ID: 1, Name: "old"}).Error)
				var name string
				one := first(t, f.DB, 1, &name)
				one()
				conn, err := sqlDB(t, f.DB).Conn(t.Context())
				require.NoError(t, err)
				if strings.HasPrefix(text, "COMMIT") {
					_, err := conn.ExecContext(t.Context(), "BEGIN")
					require.NoError(t, err)
				}
				_, err = conn.ExecContext(t.Context(), text)
				require.NoError(t, err)
				if env.ReadsDuringWrite {
					beside := beside(t, f) // this pool bypasses the cache meanwhile
					one := first(t, beside, 1, &name)
					one()
					require.Equal(t, "old", name)
					one()
				}
				_, err = conn.ExecContext(t.Context(), "COMMIT")
				require.NoError(t, err)
				require.NoError(t, conn.Close())
				one()
				require.Equal(t, "new", name)
			}
		})
	}
}

// beside is another process's handle on the same cache.
func beside(t *testing.T, f *fixture.Fixture) *gorm.DB {
	t.Helper()
	return fixture.NewSibling(t, f, gorm.Config{}).DB
}

// MySQL ends a transaction at a deadlock, and carries out what the program sends
// next by itself. A rollback doesn't take that back.
func TestWritesAfterADeadlock(t *testing.T) {
	f := fixture.New(t, testdb.Need(t, testenv.MariaDB), options())
	require.NoError(t, f.DB.Save(&[]fixture.Brand{{ID: 1, Name: "a"}, {ID: 2, Name: "b"}, {ID: 3, Name: "old"}}).Error)
	var name string
	three := first(t, f.DB, 3, &name)
	three()
	f.Hits(t, three)

	other, err := sqlDB(t, f.Plain).BeginTx(t.Context(), nil)
	require.NoError(t, err)
	// The victim of a deadlock is the transaction that has changed less.
	_, err = other.ExecContext(t.Context(), "UPDATE brands SET kind = kind + 1 WHERE id = 2")
	require.NoError(t, err)
	_, err = other.ExecContext(t.Context(), "INSERT INTO brands (id, name) VALUES (10, 'x'), (11, 'x'), (12, 'x')")
	require.NoError(t, err)

	tx, err := sqlDB(t, f.DB).BeginTx(t.Context(), nil)
	require.NoError(t, err)
	_, err = tx.ExecContext(t.Context(), "UPDATE brands SET kind = 9 WHERE id = 1")
	require.NoError(t, err)
	waits := make(chan error)
	go func() {
		_, err := other.ExecContext(context.Background(), "UPDATE brands SET kind = 9 WHERE id = 1")
		waits <- err
	}()
	_, err = tx.ExecContext(t.Context(), "UPDATE brands SET kind = 8 WHERE id = 2")
	require.ErrorContains(t, err, "1213")
	require.NoError(t, <-waits)
	require.NoError(t, other.Rollback())

	_, err = tx.ExecContext(t.Context(), "UPDATE brands SET name = 'alone' WHERE id = 3")
	require.NoError(t, err)
	three()
	require.Equal(t, "alone", name, "it has committed by itself")
	require.NoError(t, tx.Rollback())
	three()
	require.Equal(t, "alone", name)
}

// SQLite ends a transaction where a statement says so.
func TestWritesAfterORROLLBACK(t *testing.T) {
	f := fixture.New(t, testdb.Need(t, testenv.SQLiteFile), options())
	require.NoError(t, f.DB.Save(&[]fixture.Brand{{ID: 1, Name: "a"}, {ID: 3, Name: "old"}}).Error)
	var name string
	three := first(t, f.DB, 3, &name)
	three()
	f.Hits(t, three)
	tx, err := sqlDB(t, f.DB).BeginTx(t.Context(), nil)
	require.NoError(t, err)
	_, err = tx.ExecContext(t.Context(), "INSERT OR ROLLBACK INTO brands (id, name) VALUES (1, 'again')")
	require.Error(t, err)
	_, err = tx.ExecContext(t.Context(), "UPDATE brands SET name = 'alone' WHERE id = 3")
	require.NoError(t, err)
	three()
	require.Equal(t, "alone", name)
	require.Error(t, tx.Rollback(), "there is none")
	three()
	require.Equal(t, "alone", name)
}

// After COMMIT by text, and on MySQL after a definition, a transaction of
// database/sql goes on without one of the database's.
func TestWritesAfterTheDatabasesOwnEnd(t *testing.T) {
	fixture.OnEveryDatabase(t, options(), func(t *testing.T, f *fixture.Fixture) {
		ends := []string{"COMMIT"}
		if f.Env.Dialect == "mysql" {
			ends = append(ends, "CREATE TABLE IF NOT EXISTS others (id integer)")
		}
		for _, text := range ends {
			require.NoError(t, f.DB.Save(&fixture.Brand{ID: 1, Name: "old"}).Error)
			var name string
			one := first(t, f.DB, 1, &name)
			one()
			tx, err := sqlDB(t, f.DB).BeginTx(t.Context(), &sql.TxOptions{})
			require.NoError(t, err)
			_, err = tx.ExecContext(t.Context(), text)
			require.NoError(t, err)
			one()
			_, err = tx.ExecContext(t.Context(), "UPDATE brands SET name = 'alone' WHERE id = 1")
			require.NoError(t, err)
			one()
			require.Equal(t, "alone", name)
			_ = tx.Rollback() // an error where there is none
			one()
			require.Equal(t, "alone", name)
		}
	})
}
