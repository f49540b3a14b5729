package replication

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"testing"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"
	"gorm.io/gorm"
	"gorm.io/gorm/logger"

	"github.com/cacheplugin/cacheplugin"
	"github.com/cacheplugin/cacheplugin/integration/internal/fixture"
	"github.com/cacheplugin/cacheplugin/integration/testdb"
	"github.com/cacheplugin/cacheplugin/internal/store"
	"github.com/cacheplugin/cacheplugin/internal/testenv"
	"github.com/cacheplugin/cacheplugin/replication/mysql"
	"github.com/cacheplugin/cacheplugin/replication/postgres"
)

// childVariable tells a process of this test that it is to follow, and what.
const childVariable = "CACHEPLUGIN_TEST_FOLLOW"

// child is what such a process follows.
type child struct {
	Database, DSN, Slot string
	Redis, Prefix       string
}

func TestMain(m *testing.M) {
	if text := os.Getenv(childVariable); text != "" {
		if err := followAsChild(text); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	// MariaDB's log is of all databases of a server, and definitions in any of them may
	// drop more than a test expects: these have a server that no other test uses.
	_ = os.Unsetenv("CACHEPLUGIN_TEST_MYSQL")
	testdb.Main(m)
}

func followAsChild(text string) error {
	var c child
	if err := json.Unmarshal([]byte(text), &c); err != nil {
		return err
	}
	options, err := redis.ParseURL(c.Redis)
	if err != nil {
		return err
	}
	db, err := gorm.Open(testdb.ByName(c.Database).Dialector(c.DSN), &gorm.Config{Logger: logger.Discard})
	if err != nil {
		return err
	}
	if err := db.Use(cacheplugin.New(cacheplugin.Config{Redis: redis.NewClient(options), Prefix: c.Prefix, Profiles: fixture.CacheAll()})); err != nil {
		return err
	}
	var f follower
	if c.Database == testenv.Postgres {
		f, err = postgres.New(db, postgres.Config{URL: c.DSN, Slot: c.Slot})
	} else {
		f, err = mysql.New(db, mysql.Config{DSN: c.DSN})
	}
	if err != nil {
		return err
	}
	return f.Run(context.Background())
}

// startChild has another process follow, until it is killed.
func startChild(t *testing.T, f *fixture.Fixture, c child) *exec.Cmd {
	t.Helper()
	o := testenv.RedisOptions(t)
	c.Database, c.Prefix, c.Redis = f.Env.Name, f.Config.Prefix, "redis://"+o.Addr
	text, err := json.Marshal(c)
	require.NoError(t, err)
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childVariable+"="+string(text))
	cmd.Stdout, cmd.Stderr = os.Stderr, os.Stderr
	require.NoError(t, cmd.Start())
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	return cmd
}

// cacheStore opens the cache of a fixture as operators do.
func cacheStore(t testing.TB, f *fixture.Fixture) *store.Store {
	t.Helper()
	s, err := store.New(store.Options{Client: f.Config.Redis, Namespace: f.Config.Prefix})
	require.NoError(t, err)
	t.Cleanup(func() { s.Close(context.Background()) })
	return s
}
