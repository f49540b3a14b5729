package cacheplugin_test

import (
	"testing"

	"github.com/stretchr/testify/require"
	"gorm.io/gorm"

	"github.com/cacheplugin/cacheplugin"
	"github.com/cacheplugin/cacheplugin/cache"
	"github.com/cacheplugin/cacheplugin/internal/testmodel"
)

// TestExplainOfAFinishedCount: it is the count that is explained, with the key of
// its entry.
func TestExplainOfAFinishedCount(t *testing.T) {
	db, _ := logged(t, nil, nil)
	for name, count := range map[string]func(db *gorm.DB, n *int64) *gorm.DB{
		"model":    func(db *gorm.DB, n *int64) *gorm.DB { return db.Model(&testmodel.Stock{}).Where("qty > ?", 1).Count(n) },
		"table":    func(db *gorm.DB, n *int64) *gorm.DB { return db.Table("tbl_stock").Where("qty > ?", 2).Count(n) },
		"distinct": func(db *gorm.DB, n *int64) *gorm.DB { return db.Model(&testmodel.Stock{}).Distinct("qty").Count(n) },
		"ordered":  func(db *gorm.DB, n *int64) *gorm.DB { return db.Model(&testmodel.Stock{}).Order("qty").Count(n) },
	} {
		t.Run(name, func(t *testing.T) {
			var n int64
			var info cache.Info
			done := count(db.Scopes(cache.WithInfo(&info)), &n)
			require.NoError(t, done.Error)
			x, err := cacheplugin.Explain(done)
			require.NoError(t, err)
			require.Equal(t, cache.Count, x.Op, x.SQL)
			require.True(t, x.Cached, x.Reason)
			require.Equal(t, info.Key, x.Key)
		})
	}
	t.Run("a sum is none", func(t *testing.T) {
		var sum int64
		done := db.Model(&testmodel.Stock{}).Select("coalesce(sum(qty), 0)").Scan(&sum)
		require.NoError(t, done.Error)
		x, err := cacheplugin.Explain(done)
		require.NoError(t, err)
		require.Equal(t, cache.Aggregate, x.Op, x.SQL)
	})
}
