package replication

import (
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	driver "github.com/go-sql-driver/mysql"
	"github.com/stretchr/testify/require"

	"github.com/cacheplugin/cacheplugin/integration/internal/fixture"
	"github.com/cacheplugin/cacheplugin/internal/testenv"
)

// The command follows until it is interrupted, and its doctor finds nothing wrong.
func TestThe_command_follows(t *testing.T) {
	binary := filepath.Join(t.TempDir(), "cacheplugin")
	build := exec.Command("go", "build", "-buildvcs=false", "-o", binary, ".")
	build.Dir = filepath.Join("..", "..", "cmd", "cacheplugin")
	out, err := build.CombinedOutput()
	require.NoError(t, err, string(out))

	onEach(t, fixture.Options{}, func(t *testing.T, s subject) {
		execute(t, s.Fixture, "INSERT INTO articles VALUES (1, 1, 'Hydrogen', ''), (2, 2, 'Helium', '')")
		at := s.child.DSN
		if s.Env.Name == testenv.MariaDB {
			parsed, err := driver.ParseDSN(at)
			require.NoError(t, err)
			at = (&url.URL{Scheme: "mysql", User: url.UserPassword(parsed.User, parsed.Passwd), Host: parsed.Addr, Path: "/" + parsed.DBName}).String()
		}
		args := []string{"--redis", "redis://" + testenv.RedisOptions(t).Addr, "--prefix", s.Config.Prefix, "--timeout", "30s"}
		flags := append([]string{"--database", at}, args...)
		if s.child.Slot != "" {
			flags = append(flags, "--slot", s.child.Slot)
		}
		var log strings.Builder
		follow := exec.Command(binary, append([]string{"follow"}, flags...)...)
		follow.Stderr = &log
		require.NoError(t, follow.Start())
		ended := make(chan error, 1)
		go func() { ended <- follow.Wait() }()
		defer func() { _ = follow.Process.Kill() }()

		c := cacheStore(t, s.Fixture)
		eventually(t, func() bool {
			seats, err := c.Seats(t.Context())
			require.NoError(t, err)
			return len(ended) > 0 || len(seats) == 1 && seats[0].Held && seats[0].Position != ""
		})
		one, two := titles(t, s.Fixture, 1), titles(t, s.Fixture, 2)
		execute(t, s.Fixture, "UPDATE articles SET text = 'x' WHERE id = 1")
		eventually(t, func() bool { outcomes(s.Fixture, one, two); return outcomes(s.Fixture, one, two) == "hit hit" })
		execute(t, s.Fixture, "UPDATE articles SET title = 'theirs' WHERE id = 1")
		eventually(t, func() bool { return s.Outcome(one) == "miss" })

		doctor := exec.Command(binary, append([]string{"doctor"}, flags...)...)
		found, err := doctor.CombinedOutput()
		require.NoError(t, err, string(found))
		require.Contains(t, string(found), "is followed, up to")
		require.NotContains(t, string(found), "problem ")

		require.NoError(t, follow.Process.Signal(os.Interrupt))
		require.NoError(t, <-ended)
		seats, err := c.Seats(t.Context())
		require.NoError(t, err)
		require.False(t, seats[0].Held, "the next one needn't wait")
	})
}
