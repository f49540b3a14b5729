package replication

import (
	"bytes"
	"log/slog"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cacheplugin/cacheplugin"
	"github.com/cacheplugin/cacheplugin/integration/internal/fixture"
	"github.com/cacheplugin/cacheplugin/integration/testdb"
	"github.com/cacheplugin/cacheplugin/internal/testenv"
)

// said is what has been logged.
type said struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (s *said) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.Write(p)
}

func (s *said) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.String()
}

// logTo has what is logged said to somebody.
func logTo(s *said) cacheplugin.Config {
	return cacheplugin.Config{Logger: slog.New(slog.NewTextHandler(s, nil))}
}

// A slot that is lost while a follower reads it drops everything, and says so.
func TestPostgres_a_slot_that_is_lost_while_it_is_followed_drops_everything(t *testing.T) {
	own := testdb.NewOwn(t, testenv.Postgres, "max_slot_wal_keep_size=1MB", "max_wal_size=32MB")
	for _, lose := range []struct {
		name, says string
		lose       func(f *fixture.Fixture) bool
	}{
		{"max_slot_wal_keep_size", "max_slot_wal_keep_size", func(f *fixture.Fixture) bool {
			for _, query := range []string{"CREATE TABLE IF NOT EXISTS filler (id INT)", "INSERT INTO filler VALUES (1)", "SELECT pg_switch_wal()", "CHECKPOINT"} {
				execute(t, f, query)
			}
			var status string
			require.NoError(t, f.Plain.Raw("SELECT wal_status FROM pg_replication_slots").Scan(&status).Error)
			return status == "lost"
		}},
		{"dropped", "there was no replication slot cacheplugin", func(f *fixture.Fixture) bool {
			execute(t, f, "SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots")
			return f.Plain.Exec("SELECT pg_drop_replication_slot('cacheplugin')").Error == nil
		}},
	} {
		t.Run(lose.name, func(t *testing.T) {
			log := &said{}
			f, p, g := onOwnGated(t, own, logTo(log))
			execute(t, f, "INSERT INTO articles VALUES (1, 1, 'Hydrogen', ''), (2, 2, 'Helium', '')")
			stop := run(t, p)
			toldPostgres(t, f, p)
			one, two := titles(t, f, 1), titles(t, f, 2)
			outcomes(f, one, two)
			require.Equal(t, "hit hit", outcomes(f, one, two))

			// It can't tell, so that it confirms nothing.
			g.closed.Store(true)
			execute(t, f, "UPDATE articles SET title = 'not told' WHERE id = 1")
			eventually(t, func() bool { return g.reached.Load() > 0 })
			eventually(t, func() bool { return lose.lose(f) })
			g.closed.Store(false)
			eventually(t, func() bool { return p.Status().Lost == 2 && p.Status().Active })
			require.Equal(t, "miss miss", outcomes(f, one, two))
			require.Contains(t, log.String(), lose.says)

			execute(t, f, "UPDATE articles SET title = 'theirs' WHERE id = 1")
			toldPostgres(t, f, p)
			require.Equal(t, "miss hit", outcomes(f, one, two))
			stop()
			eventually(t, func() bool { return f.Plain.Exec("SELECT pg_drop_replication_slot('cacheplugin')").Error == nil })
		})
	}
}

// Whatever becomes of the files of MariaDB's log, nothing is passed over.
func TestMariaDB_a_log_that_is_gone_drops_everything(t *testing.T) {
	own := testdb.NewOwn(t, testenv.MariaDB)
	reset := func(f *fixture.Fixture) { execute(t, f, "RESET MASTER") }
	for _, lose := range []struct {
		name   string
		before string // what is done
		lose   func(f *fixture.Fixture)
		says   string
	}{
		{"numbered anew", "FLUSH BINARY LOGS", reset, "RESET MASTER"},
		// The server doesn't notice: the file is called as before.
		{"numbered anew in its first file", "RESET MASTER", reset, "RESET MASTER"},
		{"called otherwise after a restart", "FLUSH BINARY LOGS", func(f *fixture.Fixture) {
			own.Stop()
			own.Start("log-bin=other")
			dropIdle(t, f.DB)
			dropIdle(t, f.Plain)
		}, "other.000001"},
	} {
		t.Run(lose.name, func(t *testing.T) {
			log := &said{}
			f, p, g := onOwnGated(t, own, logTo(log))
			execute(t, f, "INSERT INTO articles VALUES (1, 1, 'Hydrogen', ''), (2, 2, 'Helium', '')")
			execute(t, f, lose.before)
			stop := run(t, p)
			execute(t, f, "UPDATE articles SET text = 'x' WHERE id = 1")
			toldMariaDB(t, f, p)
			one, two := titles(t, f, 1), titles(t, f, 2)
			outcomes(f, one, two)
			require.Equal(t, "hit hit", outcomes(f, one, two))

			g.closed.Store(true)
			before := g.reached.Load()
			execute(t, f, "UPDATE articles SET title = 'not told' WHERE id = 1")
			eventually(t, func() bool { return g.reached.Load() > before })
			lose.lose(f)
			execute(t, f, "UPDATE articles SET title = 'in the new log' WHERE id = 2")
			g.closed.Store(false)
			eventually(t, func() bool { return p.Status().Lost == 2 && p.Status().Active })
			require.Equal(t, "miss miss", outcomes(f, one, two))
			require.Contains(t, log.String(), lose.says)

			execute(t, f, "UPDATE articles SET title = 'theirs' WHERE id = 1")
			toldMariaDB(t, f, p)
			require.Equal(t, "miss", f.Outcome(one))
			stop()
		})
	}
}
