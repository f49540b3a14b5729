package faults

import (
	"crypto/rand"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"gorm.io/driver/postgres"
	"gorm.io/gorm"
	"gorm.io/gorm/logger"

	"github.com/cacheplugin/cacheplugin"
	"github.com/cacheplugin/cacheplugin/integration/internal/fixture"
	"github.com/cacheplugin/cacheplugin/integration/testdb"
	"github.com/cacheplugin/cacheplugin/internal/testenv"
)

// TestARestoredDatabaseIsNotGivenResultsOfItsFuture: what was committed after a
// backup and is gone with its restore was cached.
func TestARestoredDatabaseIsNotGivenResultsOfItsFuture(t *testing.T) {
	cluster := testdb.NewCluster(t)
	client, prefix := testenv.Redis(t), "test-"+rand.Text()
	// program opens the database as a program does that starts, reads, and ends.
	program := func(do func(db *gorm.DB)) (name string, stats cacheplugin.Stats) {
		db, err := gorm.Open(postgres.Open(cluster.DSN()), &gorm.Config{Logger: logger.Discard})
		require.NoError(t, err)
		plugin := cacheplugin.New(cacheplugin.Config{
			Redis: client, Prefix: prefix, Profiles: fixture.CacheAll(), RedisTimeout: 10 * time.Second,
		})
		require.NoError(t, db.Use(plugin))
		if do != nil {
			do(db)
		}
		var brand fixture.Brand
		require.NoError(t, db.First(&brand).Error)
		stats = plugin.Stats()
		require.NoError(t, plugin.Close(t.Context()))
		pool, err := db.DB()
		require.NoError(t, err)
		require.NoError(t, pool.Close())
		return brand.Name, stats
	}
	restart := func(between func()) {
		cluster.Stop()
		between()
		cluster.Start()
	}

	name, _ := program(func(db *gorm.DB) {
		require.NoError(t, db.AutoMigrate(&fixture.Brand{}))
		require.NoError(t, db.Create(&fixture.Brand{Name: "old", Kind: 1}).Error)
	})
	require.Equal(t, "old", name)
	restart(cluster.Backup)
	name, stats := program(nil)
	require.Equal(t, "old", name)
	require.EqualValues(t, 1, stats.Hits, "a restart is no other database")

	name, _ = program(func(db *gorm.DB) {
		require.NoError(t, db.Model(&fixture.Brand{}).Where("id = 1").Update("name", "future").Error)
	})
	require.Equal(t, "future", name)
	restart(cluster.Restore)
	name, stats = program(nil)
	require.Equal(t, "old", name)
	require.Zero(t, stats.Hits)
	_, stats = program(nil)
	require.EqualValues(t, 1, stats.Hits)
}
