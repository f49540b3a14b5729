package pools

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cacheplugin/cacheplugin/cache"
	"github.com/cacheplugin/cacheplugin/integration/internal/fixture"
)

const (
	waitFor = time.Minute
	tick    = time.Millisecond
)

// A query whose pool had no transaction by text when it was looked up may come to a
// connection that has one when it is sent: what it sees may be taken back.
func TestAQueryThatStraysIntoATransactionIsNotStored(t *testing.T) {
	fixture.OnEveryDatabase(t, options(), func(t *testing.T, f *fixture.Fixture) {
		require.NoError(t, f.DB.Save(&fixture.Brand{ID: 1, Name: "old"}).Error)
		pool := sqlDB(t, f.DB)
		pool.SetMaxOpenConns(1)
		// The one connection is taken, the reader waits for it with its lease, and gets it
		// with a transaction in it.
		conn, err := pool.Conn(t.Context())
		require.NoError(t, err)
		done := make(chan string)
		waits := pool.Stats().WaitCount
		go func() {
			var b fixture.Brand
			err := f.DB.WithContext(context.Background()).Scopes(cache.Cache()).Find(&b, 1).Error
			if err != nil {
				done <- err.Error()
				return
			}
			done <- b.Name
		}()
		require.Eventually(t, func() bool { return pool.Stats().WaitCount > waits }, waitFor, tick)
		_, err = conn.ExecContext(t.Context(), "BEGIN")
		require.NoError(t, err)
		_, err = conn.ExecContext(t.Context(), "UPDATE brands SET name = 'taken back' WHERE id = 1")
		require.NoError(t, err)
		require.NoError(t, conn.Close())
		seen := "taken back"
		if f.Env.Dialect == "postgres" {
			seen = "old" // its driver gives up a connection that comes back in a transaction
		}
		require.Equal(t, seen, <-done, "as without the plugin")
		_, err = pool.ExecContext(t.Context(), "ROLLBACK")
		require.NoError(t, err)

		var name string
		one := first(t, f.DB, 1, &name)
		one()
		require.Equal(t, "old", name)
		var b fixture.Brand
		require.NoError(t, f.DB.Scopes(cache.Cache()).Find(&b, 1).Error)
		require.Equal(t, "old", b.Name)
	})
}
