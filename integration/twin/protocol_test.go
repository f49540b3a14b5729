package twin

import (
	"context"
	"crypto/rand"
	"log/slog"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"gorm.io/gorm"

	"github.com/cacheplugin/cacheplugin"
	"github.com/cacheplugin/cacheplugin/cache"
	"github.com/cacheplugin/cacheplugin/integration/testdb"
	"github.com/cacheplugin/cacheplugin/internal/testenv"
)

// TestPreparedSessionsHaveEntriesOfTheirOwn: by its simple protocol pgx gives
// times of other locations than where it prepares.
func TestPreparedSessionsHaveEntriesOfTheirOwn(t *testing.T) {
	env := testdb.Need(t, testenv.Postgres)
	dsn := twinDSN(env.Create(t), twinFlavours["postgres"][1])
	truth, db := env.Connect(t, dsn, nil), env.Connect(t, dsn, nil)
	require.NoError(t, truth.AutoMigrate(&twinAuthor{}, &twinBook{}))
	require.NoError(t, truth.Create(&twinAuthor{ID: 1, Price: "1", Born: twinEpoch}).Error)
	events := &recorder{}
	plugin := cacheplugin.New(cacheplugin.Config{
		Redis: testenv.Redis(t), Prefix: "test-" + rand.Text(), Profiles: cacheplugin.Profiles{"*": {Ops: cache.All, Timeout: time.Hour}},
		Observer: events, Logger: slog.New(slog.DiscardHandler), RedisTimeout: 10 * time.Second,
	})
	require.NoError(t, db.Use(plugin))
	t.Cleanup(func() { require.NoError(t, plugin.Close(context.Background())) })
	for _, prepare := range []bool{false, true} {
		session := &gorm.Session{PrepareStmt: prepare}
		var want, got, again []twinAuthor
		require.NoError(t, truth.Session(session).Find(&want).Error)
		events.take()
		require.NoError(t, db.Session(session).Find(&got).Error)
		require.Equal(t, twinOutcome{misses: 1}, events.outcome())
		require.NoError(t, db.Session(session).Find(&again).Error)
		require.Equal(t, twinOutcome{hits: 1}, events.outcome())
		require.Equal(t, want, got)
		require.Equal(t, want, again)
	}
}
