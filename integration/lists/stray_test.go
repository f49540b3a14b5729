package lists

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// A list that is read on a connection in which somebody has left a transaction may show
// what is taken back later, and is not kept.
func TestAListThatStraysIntoATransactionIsNotKept(t *testing.T) {
	onEveryDatabase(t, declared(), func(t *testing.T, s *subject) {
		if s.Env.Dialect == "postgres" {
			return // its driver gives up a connection that comes back in a transaction
		}
		require.NoError(t, s.DB.Create(&Follow{ID: 1, FollowerID: 1, FolloweeID: 10, CreatedAt: at(0)}).Error)
		s.kept(t, 1)
		require.NoError(t, s.InvalidateAll())
		pool, err := s.DB.DB()
		require.NoError(t, err)
		pool.SetMaxOpenConns(1)
		conn, err := pool.Conn(t.Context())
		require.NoError(t, err)
		page := func() []Follow {
			rows, err := s.follows.Get(t.Context(), of(1)).Page(0, 10)
			require.NoError(t, err)
			return rows
		}
		done, waits := make(chan []Follow, 1), pool.Stats().WaitCount
		go func() { done <- page() }()
		require.Eventually(t, func() bool { return pool.Stats().WaitCount > waits }, 10*time.Second, time.Millisecond)
		for _, text := range []string{"BEGIN", "UPDATE follows SET followee_id = 99 WHERE id = 1"} {
			_, err = conn.ExecContext(t.Context(), text)
			require.NoError(t, err)
		}
		require.NoError(t, conn.Close())
		require.Len(t, <-done, 1)
		_, err = pool.ExecContext(t.Context(), "ROLLBACK")
		require.NoError(t, err)
		require.EqualValues(t, 10, page()[0].FolloweeID)
	})
}
