package replication

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cacheplugin/cacheplugin/integration/internal/fixture"
	"github.com/cacheplugin/cacheplugin/integration/testdb"
	"github.com/cacheplugin/cacheplugin/internal/testenv"
	"github.com/cacheplugin/cacheplugin/replication/postgres"
)

// article is what the tests cache.
type article struct {
	ID    int64
	TagID int64
	Title string
	Text  string
}

// onPostgres is a fixture whose log can be followed.
func onPostgres(t *testing.T, full bool, o fixture.Options) (f *fixture.Fixture, c postgres.Config) {
	t.Helper()
	o.Models = append(o.Models, &article{})
	f = fixture.New(t, testdb.Need(t, testenv.Postgres), o)
	execute(t, f, "CREATE PUBLICATION cacheplugin FOR ALL TABLES")
	if full {
		require.NoError(t, postgres.SetReplicaIdentity(f.Plain, &article{}))
	}
	dsn, ok := f.Env.Driver.DSN(f.Plain.Dialector)
	require.True(t, ok)
	// Slots are the server's, and not the database's alone.
	slot := "test_" + strings.ToLower(testenv.UniqueName(t))
	slot = slot[:min(len(slot), 63)]
	t.Cleanup(func() {
		eventually(t, func() bool {
			var active bool
			require.NoError(t, f.Plain.Raw("SELECT EXISTS (SELECT 1 FROM pg_replication_slots WHERE slot_name = ? AND active)", slot).Scan(&active).Error)
			return !active
		}, "the slot is still read")
		execute(t, f, "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE slot_name = ?", slot)
	})
	return f, postgres.Config{URL: dsn, Slot: slot}
}

// exec writes without the plugin.
func execute(t testing.TB, f *fixture.Fixture, query string, args ...any) {
	t.Helper()
	require.NoError(t, f.Plain.Exec(query, args...).Error)
}

// follower is one that runs.
type follower interface {
	Run(ctx context.Context) error
	Status() postgres.Status
}

// run runs a follower until the test ends, and waits until it follows.
func run(t testing.TB, f follower) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- f.Run(ctx) }()
	stopped := false
	stop = func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		require.NoError(t, <-ended)
	}
	t.Cleanup(stop)
	eventually(t, func() bool { return f.Status().Active || len(ended) > 0 })
	if len(ended) > 0 {
		stopped = true
		require.NoError(t, <-ended)
	}
	return stop
}

func eventually(t testing.TB, condition func() bool, message ...any) {
	t.Helper()
	require.Eventually(t, condition, 3*time.Minute, 2*time.Millisecond, message...)
}

func newPostgres(t testing.TB, f *fixture.Fixture, c postgres.Config) *postgres.Follower {
	t.Helper()
	follower, err := postgres.New(f.DB, c)
	require.NoError(t, err)
	return follower
}

// titles reads what is cached by tag.
func titles(t testing.TB, f *fixture.Fixture, tag int64) func() {
	return func() {
		var found []article
		require.NoError(t, f.DB.Where("tag_id = ?", tag).Order("id").Find(&found).Error)
	}
}

// told waits until a follower has told of everything that is in the log by now.
func toldPostgres(t testing.TB, f *fixture.Fixture, p follower) {
	t.Helper()
	end, err := testdb.LogEnd(f.Plain)
	require.NoError(t, err)
	// The test server's commits don't wait for the log to be written. This one does.
	execute(t, f, "SELECT set_config('synchronous_commit', 'on', false), pg_logical_emit_message(true, 'test', 'x')")
	eventually(t, func() bool { return testdb.LogPlace(p.Status().Position) >= end }, "the follower does not reach the end of the log")
}

func TestPostgres_drops_what_others_write_row_by_row(t *testing.T) {
	f, c := onPostgres(t, true, fixture.Options{})
	execute(t, f, "INSERT INTO articles VALUES (1, 1, 'Hydrogen', ''), (2, 2, 'Helium', ''), (3, 3, 'Lithium', '')")
	p := newPostgres(t, f, c)
	run(t, p)
	one, two, three := titles(t, f, 1), titles(t, f, 2), titles(t, f, 3)
	read := func(list string) string {
		return fmt.Sprint(f.Outcome(one), " ", f.Outcome(two), " ", f.Outcome(three), list)
	}
	for _, write := range []struct{ query, outcome string }{
		{"INSERT INTO articles VALUES (4, 1, 'Beryllium', '')", "miss hit hit"},
		{"UPDATE articles SET title = 'Helium-4' WHERE id = 2", "hit miss hit"},
		{"UPDATE articles SET tag_id = 3 WHERE id = 2", "hit miss miss"},
		{"DELETE FROM articles WHERE id = 4", "miss hit hit"},
		{"UPDATE articles SET id = 20 WHERE id = 3", "hit hit miss"},
		{"TRUNCATE articles", "miss miss miss"},
	} {
		toldPostgres(t, f, p)
		read("")
		require.Equal(t, "hit hit hit", read(""))
		execute(t, f, write.query)
		toldPostgres(t, f, p)
		require.Equal(t, write.outcome, read(""), write.query)
	}
	require.Positive(t, f.Plugin.Stats().Followed)
	s := p.Status()
	require.Positive(t, s.Transactions)
	require.EqualValues(t, 1, s.Lost, "the slot was made")
}
