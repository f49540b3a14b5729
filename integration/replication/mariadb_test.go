package replication

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cacheplugin/cacheplugin/integration/internal/fixture"
	"github.com/cacheplugin/cacheplugin/integration/testdb"
	"github.com/cacheplugin/cacheplugin/internal/testenv"
	"github.com/cacheplugin/cacheplugin/replication/mysql"
)

// onMariaDB is a fixture whose log can be followed.
func onMariaDB(t *testing.T, o fixture.Options) (f *fixture.Fixture, c mysql.Config) {
	t.Helper()
	o.Models = append(o.Models, &article{})
	f = fixture.New(t, testdb.Need(t, testenv.MariaDB), o)
	dsn, ok := f.Env.Driver.DSN(f.Plain.Dialector)
	require.True(t, ok)
	return f, mysql.Config{DSN: dsn}
}

func newMariaDB(t testing.TB, f *fixture.Fixture, c mysql.Config) *mysql.Follower {
	t.Helper()
	follower, err := mysql.New(f.DB, c)
	require.NoError(t, err)
	return follower
}

// toldMariaDB waits until a follower has told of everything that is in the log by now.
func toldMariaDB(t testing.TB, f *fixture.Fixture, p follower) {
	t.Helper()
	end, err := testdb.LogEnd(f.Plain)
	require.NoError(t, err)
	eventually(t, func() bool { return testdb.LogPlace(p.Status().Position) >= end }, "the follower does not reach the end of the log")
}

func TestMariaDB_drops_what_others_write_row_by_row(t *testing.T) {
	f, c := onMariaDB(t, fixture.Options{})
	execute(t, f, "INSERT INTO articles VALUES (1, 1, 'Hydrogen', ''), (2, 2, 'Helium', ''), (3, 3, 'Lithium', '')")
	p := newMariaDB(t, f, c)
	run(t, p)
	one, two, three := titles(t, f, 1), titles(t, f, 2), titles(t, f, 3)
	read := func() string { return fmt.Sprint(f.Outcome(one), " ", f.Outcome(two), " ", f.Outcome(three)) }
	// What the log had before the table's columns were known counts for the whole table.
	execute(t, f, "UPDATE articles SET text = 'x' WHERE id = 1")
	for _, write := range []struct{ query, outcome string }{
		{"INSERT INTO articles VALUES (4, 1, 'Beryllium', '')", "miss hit hit"},
		{"UPDATE articles SET title = 'Helium-4' WHERE id = 2", "hit miss hit"},
		{"UPDATE articles SET tag_id = 3 WHERE id = 2", "hit miss miss"},
		{"DELETE FROM articles WHERE id = 4", "miss hit hit"},
		{"UPDATE articles SET id = 20 WHERE id = 3", "hit hit miss"},
		{"TRUNCATE articles", "miss miss miss"},
		{"ALTER TABLE articles ADD COLUMN more BIGINT DEFAULT 5", "miss miss miss"},
	} {
		toldMariaDB(t, f, p)
		read()
		require.Equal(t, "hit hit hit", read())
		execute(t, f, write.query)
		toldMariaDB(t, f, p)
		require.Equal(t, write.outcome, read(), write.query)
	}
	require.Positive(t, f.Plugin.Stats().Followed)
	require.EqualValues(t, 1, p.Status().Lost, "no position was known")
}
