package conformance

import (
	"testing"

	"github.com/stretchr/testify/require"
	"gorm.io/gorm"

	"github.com/cacheplugin/cacheplugin"
	"github.com/cacheplugin/cacheplugin/cache"
	"github.com/cacheplugin/cacheplugin/integration/internal/fixture"
	"github.com/cacheplugin/cacheplugin/internal/testmodel"
)

// kinds lists the kinds of events and the tables that they are about.
func eventNames(events []cacheplugin.Event) []string {
	names := make([]string, len(events))
	for i, e := range events {
		names[i] = e.Kind.String() + " " + e.Table
	}
	return names
}

func TestConformanceObserver(t *testing.T) {
	type post = testmodel.Post
	conform(t, fixture.Options{}, func(t *testing.T, c *seeded) {
		list := find[post](where("category_id = ?", 1))
		read := func() []cacheplugin.Event {
			c.Events.Take()
			_, err := list(c.DB)
			require.NoError(t, err)
			return c.Events.Take()
		}
		write := func(do change) cacheplugin.Event {
			t.Helper()
			c.Events.Take()
			require.NoError(t, do(c.DB))
			events := c.Events.Take()
			require.Len(t, events, 1, "%v", eventNames(events))
			return events[0]
		}
		t.Run("OBS-01 a look-up tells table, operation and key", func(t *testing.T) {
			before := c.Plugin.Stats()
			miss := read()
			require.Equal(t, []string{"miss posts", "store posts"}, eventNames(miss))
			require.Equal(t, cache.Fetch, miss[0].Op)
			require.NotEmpty(t, miss[0].Key)
			require.Equal(t, 3, miss[1].Rows)
			require.Positive(t, miss[1].Bytes)
			hit := read()
			require.Equal(t, []string{"hit posts"}, eventNames(hit))
			require.Equal(t, miss[0].Key, hit[0].Key)
			require.Equal(t, 3, hit[0].Rows)
			require.Equal(t, miss[1].Bytes, hit[0].Bytes)
			x, err := cacheplugin.Explain(c.DB.Model(&post{}).Where("category_id = ?", 1))
			require.NoError(t, err)
			require.True(t, x.Cached)
			require.Equal(t, hit[0].Key, x.Key)
			after := c.Plugin.Stats()
			require.Equal(t, before.Hits+1, after.Hits)
			require.Equal(t, before.Misses+1, after.Misses)
			require.Equal(t, before.Stores+1, after.Stores)
		})
		t.Run("OBS-01 none for what nobody has asked to be cached", func(t *testing.T) {
			c.Events.Take()
			require.NoError(t, c.DB.Raw("SELECT 1").Row().Scan(new(int)))
			require.Empty(t, c.Events.Take())
		})
		t.Run("OBS-02 an invalidation tells the table and how much was dropped", func(t *testing.T) {
			before := c.Plugin.Stats()
			read()
			e := write(add(post{CategoryID: 1}))
			require.Equal(t, cacheplugin.EventInvalidate, e.Kind)
			require.Contains(t, e.Table, "posts")
			require.False(t, e.Whole)
			require.Equal(t, 1, e.Images)
			require.Equal(t, 1, e.Dropped)
			after := c.Plugin.Stats()
			require.Equal(t, before.Invalidations+1, after.Invalidations)
			require.Equal(t, before.Dropped+1, after.Dropped)
		})
		t.Run("OBS-02 the old and the new state of an update", func(t *testing.T) {
			read()
			e := write(set[post](1, "category_id", 2))
			require.Equal(t, 2, e.Images)
			require.Equal(t, 1, e.Dropped)
		})
		t.Run("OBS-02 the table", func(t *testing.T) {
			read()
			e := write(func(db *gorm.DB) error { return cacheplugin.InvalidateModel(db, &post{}) })
			require.True(t, e.Whole)
			require.Contains(t, e.Table, "posts")
		})
		t.Run("OBS-02 an object", func(t *testing.T) {
			read()
			e := write(func(db *gorm.DB) error { return cacheplugin.InvalidateObj(db, &post{ID: 1, CategoryID: 1}) })
			require.False(t, e.Whole)
			require.Equal(t, 1, e.Images)
		})
		t.Run("OBS-02 everything", func(t *testing.T) {
			e := write(cacheplugin.InvalidateAll)
			require.True(t, e.Whole)
			require.Equal(t, "*", e.Table)
		})
		t.Run("OBS-02 a transaction's tables are told once, with its commit", func(t *testing.T) {
			tx := c.begin(t)
			require.NoError(t, tx.Create(&post{CategoryID: 1}).Error)
			require.NoError(t, tx.Create(&post{CategoryID: 2}).Error)
			require.NoError(t, tx.Create(&testmodel.Review{PostID: 1}).Error)
			c.Events.Take()
			require.NoError(t, tx.Commit().Error)
			require.Len(t, c.Events.Take(), 2)
			tx = c.begin(t)
			require.NoError(t, tx.Create(&post{CategoryID: 1}).Error)
			c.Events.Take()
			require.NoError(t, tx.Rollback().Error)
			require.Empty(t, c.Events.Take())
		})
	})
}
