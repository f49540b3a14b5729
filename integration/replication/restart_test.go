package replication

import (
	"testing"

	"github.com/stretchr/testify/require"
	"gorm.io/gorm"

	"github.com/cacheplugin/cacheplugin"
	"github.com/cacheplugin/cacheplugin/integration/internal/fixture"
	"github.com/cacheplugin/cacheplugin/integration/testdb"
	"github.com/cacheplugin/cacheplugin/internal/testenv"
	"github.com/cacheplugin/cacheplugin/replication/mysql"
	"github.com/cacheplugin/cacheplugin/replication/postgres"
)

// onOwn is a fixture on a server of the test's own, whose log can be followed.
func onOwn(t *testing.T, own *testdb.Own) (*fixture.Fixture, follower) {
	t.Helper()
	f, p, _ := onOwnGated(t, own, cacheplugin.Config{})
	return f, p
}

// onOwnGated is onOwn, with a gate before what the follower tells.
func onOwnGated(t *testing.T, own *testdb.Own, c cacheplugin.Config) (*fixture.Fixture, follower, *gate) {
	t.Helper()
	f := fixture.New(t, own.Database, fixture.Options{Models: []any{&article{}}, Config: c})
	g := &gate{}
	dsn := own.DSN(t, f.Plain)
	if own.Name == testenv.MariaDB {
		return f, newMariaDB(t, sibling(t, f, g), mysql.Config{DSN: dsn}), g
	}
	execute(t, f, "CREATE PUBLICATION cacheplugin FOR ALL TABLES")
	require.NoError(t, postgres.SetReplicaIdentity(f.Plain, &article{}))
	return f, newPostgres(t, sibling(t, f, g), postgres.Config{URL: dsn}), g
}

// dropIdle closes connections that a pool keeps, and that lead nowhere any more.
func dropIdle(t *testing.T, db *gorm.DB) {
	t.Helper()
	pool, err := db.DB()
	require.NoError(t, err)
	pool.SetMaxIdleConns(0)
}

// A follower goes on where it was when its database has been shut down, or has crashed,
// and is back: what others have written meanwhile is told, and nothing is lost.
func TestA_follower_goes_on_after_its_database_has_restarted(t *testing.T) {
	for _, name := range []string{testenv.Postgres, testenv.MariaDB} {
		for how, end := range map[string]func(*testdb.Own){"stopped": (*testdb.Own).Stop, "killed": (*testdb.Own).Kill} {
			t.Run(name+"/"+how, func(t *testing.T) {
				own := testdb.NewOwn(t, name)
				f, p := onOwn(t, own)
				told := toldPostgres
				if name == testenv.MariaDB {
					told = toldMariaDB
				}
				execute(t, f, "INSERT INTO articles VALUES (1, 1, 'Hydrogen', ''), (2, 2, 'Helium', '')")
				run(t, p)
				execute(t, f, "UPDATE articles SET text = 'x' WHERE id = 1")
				told(t, f, p)
				one, two := titles(t, f, 1), titles(t, f, 2)
				outcomes(f, one, two)
				require.Equal(t, "hit hit", outcomes(f, one, two))

				end(own)
				eventually(t, func() bool { return !p.Status().Active }, "it notices")
				own.Start()
				dropIdle(t, f.DB)
				dropIdle(t, f.Plain)
				eventually(t, func() bool { return f.Plain.Exec("UPDATE articles SET title = 'theirs' WHERE id = 1").Error == nil })
				told(t, f, p)
				f.Misses(t, one)
				if name == testenv.Postgres {
					f.Hits(t, two)
				} // MariaDB's tells columns by their places: what comes first drops the table
				require.EqualValues(t, 1, p.Status().Lost, "when it began for the first time")
			})
		}
	}
}
