package conformance

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"gorm.io/gorm"

	"github.com/cacheplugin/cacheplugin"
	"github.com/cacheplugin/cacheplugin/cache"
	"github.com/cacheplugin/cacheplugin/integration/testdb"
	"github.com/cacheplugin/cacheplugin/internal/testmodel"
)

func TestADisabledPluginDoesNothing(t *testing.T) {
	for _, env := range testdb.Databases(t) {
		t.Run("OPS-07 CB-04 "+env.Name, func(t *testing.T) {
			db := env.Open(t, nil)
			plugin := cacheplugin.New(cacheplugin.Config{Disabled: true}) // no Redis, no profile
			require.NoError(t, db.Use(plugin))
			require.NoError(t, db.AutoMigrate(&testmodel.Stock{}))
			row := testmodel.Stock{Article: "a", Amount: 1}
			require.NoError(t, db.Create(&row).Error)
			for range 2 {
				var found []testmodel.Stock
				require.NoError(t, db.Scopes(cache.Cache(cache.Timeout(time.Minute))).Find(&found).Error)
				require.Equal(t, []testmodel.Stock{row}, found)
			}
			require.NoError(t, db.Transaction(func(tx *gorm.DB) error { return tx.Delete(&row).Error }))
			require.NoError(t, cacheplugin.InvalidateObj(db, row))
			require.NoError(t, cacheplugin.InvalidateModel(db, row))
			require.NoError(t, cacheplugin.InvalidateAll(db))
			x, err := cacheplugin.Explain(db.Model(&row))
			require.NoError(t, err)
			require.False(t, x.Cached)
			require.Equal(t, "the plugin is disabled", x.Reason)
			require.Zero(t, plugin.Stats())
			require.NoError(t, plugin.Close(t.Context()))
		})
	}
}
