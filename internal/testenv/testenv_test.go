package testenv

import (
	"context"
	"testing"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"
	"gorm.io/gorm"
)

func TestMain(m *testing.M) { Main(m) }

type item struct {
	ID   uint
	Name string
}

func TestOpenGivesFreshDatabases(t *testing.T) {
	for _, database := range Databases(t) {
		t.Run(database.Name, func(t *testing.T) {
			t.Parallel()
			for range 2 {
				db := database.Open(t, nil)
				require.False(t, db.Migrator().HasTable(&item{}))
				require.NoError(t, db.AutoMigrate(&item{}))
			}
		})
	}
}

func TestReopenSeesTheSameDatabase(t *testing.T) {
	for _, database := range Databases(t) {
		t.Run(database.Name, func(t *testing.T) {
			t.Parallel()
			db := database.Open(t, &gorm.Config{})
			require.NoError(t, db.AutoMigrate(&item{}))
			require.NoError(t, db.Create(&item{Name: "Grüße 🙂"}).Error)
			other := database.Reopen(t, db, nil)
			var found item
			require.NoError(t, other.First(&found).Error)
			require.Equal(t, "Grüße 🙂", found.Name)
		})
	}
}

func TestReadsDuringWrite(t *testing.T) {
	for _, database := range Databases(t) {
		if !database.ReadsDuringWrite {
			continue
		}
		t.Run(database.Name, func(t *testing.T) {
			t.Parallel()
			db := database.Open(t, nil)
			require.NoError(t, db.AutoMigrate(&item{}))
			tx := db.Begin()
			require.NoError(t, tx.Create(&item{Name: "a"}).Error)
			var count int64
			require.NoError(t, db.Model(&item{}).Count(&count).Error)
			require.Zero(t, count)
			require.NoError(t, tx.Commit().Error)
		})
	}
}

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
	database, ok := Find(t, SQLite)
	if !ok {
		return // left out by the environment
	}
	db := database.Open(t, &gorm.Config{PrepareStmt: true})
	var n int
	require.NoError(t, db.Raw("SELECT 1").Scan(&n).Error)
	require.Equal(t, 1, n)
}
