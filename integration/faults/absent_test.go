package faults

import (
	"bytes"
	"context"
	"log/slog"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cacheplugin/cacheplugin"
	"github.com/cacheplugin/cacheplugin/integration/internal/fixture"
	"github.com/cacheplugin/cacheplugin/integration/testdb"
	"github.com/cacheplugin/cacheplugin/internal/testmodel"
)

func TestAPluginWithoutRedisWorksAndWarns(t *testing.T) {
	for _, env := range testdb.Databases(t) {
		t.Run(env.Name, func(t *testing.T) {
			var log bytes.Buffer
			plugin := cacheplugin.New(cacheplugin.Config{
				Redis: fixture.Gone(t), Profiles: fixture.CacheAll(), RetryFor: time.Millisecond,
				Logger: slog.New(slog.NewTextHandler(&log, nil)),
			})
			db := env.Open(t, nil)
			require.NoError(t, db.Use(plugin))
			require.Contains(t, log.String(), "Redis does not answer")
			require.NoError(t, db.AutoMigrate(&testmodel.Stock{}))
			require.NoError(t, db.Create(&testmodel.Stock{Article: "a"}).Error)
			for range 2 {
				var found []testmodel.Stock
				require.NoError(t, db.Find(&found).Error)
				require.Len(t, found, 1)
			}
			require.Zero(t, plugin.Stats().Hits)
			require.Error(t, plugin.Close(soonOver(t)), "what is queued is lost")
		})
	}
}

// soonOver is a context that ends before a Redis that is gone comes back.
func soonOver(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
	t.Cleanup(cancel)
	return ctx
}
