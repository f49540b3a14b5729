package testenv

import (
	"context"
	"testing"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"
	"gorm.io/gorm"
)

func TestMain(m *testing.M) { Main(m) }

func TestSharedRedisAnswers(t *testing.T) {
	client := Redis(t)
	require.NoError(t, client.Set(context.Background(), "testenv:"+t.Name(), 1, 0).Err())
	require.NoError(t, client.Del(context.Background(), "testenv:"+t.Name()).Err())
}

func TestRedisServerKeepsItsAddressAcrossRestarts(t *testing.T) {
	ctx := context.Background()
	server := StartRedis(t)
	// Without retries, which would only prolong the errors that are wanted.
	client := redis.NewClient(&redis.Options{Addr: server.Addr, MaxRetries: -1, DialerRetries: 1})
	defer client.Close()
	require.NoError(t, client.Set(ctx, "k", "v", 0).Err())

	server.Stop(t)
	require.Error(t, client.Ping(ctx).Err())
	server.Start(t)
	require.Zero(t, client.Exists(ctx, "k").Val())

	server.Kill(t)
	require.Error(t, client.Ping(ctx).Err())
	server.Start(t)
	require.NoError(t, client.Ping(ctx).Err())
}

func TestRedisServerKeepsItsDirectoryAcrossRestarts(t *testing.T) {
	ctx := context.Background()
	server := StartRedis(t, "--save", "3600 1")
	client := server.Client(t)
	require.NoError(t, client.Set(ctx, "k", "v", 0).Err())
	server.Stop(t)
	server.Start(t)
	require.Equal(t, "v", client.Get(ctx, "k").Val())
}

func TestPausedRedisServerAnswersAfterResume(t *testing.T) {
	ctx := context.Background()
	server := StartRedis(t)
	client := server.Client(t)
	require.NoError(t, client.Ping(ctx).Err())
	server.Pause(t)
	answer := make(chan error, 1)
	go func() { answer <- client.Ping(ctx).Err() }()
	server.Resume(t)
	require.NoError(t, <-answer)
	server.Pause(t) // left paused: the clean-up must cope
}

func TestPreparedStatementsAreNoLeak(t *testing.T) {
	// Main fails after the tests if GORM's goroutine for this is taken for one.
	db := NeedSQLite(t).Open(t, &gorm.Config{PrepareStmt: true})
	var n int
	require.NoError(t, db.Raw("SELECT 1").Scan(&n).Error)
	require.Equal(t, 1, n)
}
