package cacheplugin_test

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cacheplugin/cacheplugin"
	"github.com/cacheplugin/cacheplugin/internal/testmodel"
)

// TestReportTellsByShapeWhatBecameOfQueries: what was hit, what was dropped by
// which statement, and what was dropped in vain.
func TestReportTellsByShapeWhatBecameOfQueries(t *testing.T) {
	db, _ := logged(t, nil, nil)
	plugin := db.Plugins[cacheplugin.Name].(*cacheplugin.Plugin)
	read := func(amount int) {
		require.NoError(t, db.Where("qty = ?", amount).Find(&[]testmodel.Stock{}).Error)
	}
	read(1)
	read(1)
	read(2)
	require.NoError(t, db.Create(&testmodel.Stock{Article: "a", Amount: 1}).Error)
	read(1)
	require.NoError(t, cacheplugin.InvalidateModel(db, &testmodel.Stock{}))
	read(1)
	tx := db.Begin()
	require.NoError(t, tx.Where("qty = ?", 1).Find(&[]testmodel.Stock{}).Error)
	require.NoError(t, tx.Commit().Error)

	r := plugin.Report()
	require.Len(t, r.Shapes, 2)
	shape := r.Shapes[0]
	require.Equal(t, "SELECT * FROM `tbl_stock` WHERE qty = ?", shape.Text)
	require.Equal(t, []string{"fetch", "tbl_stock"}, []string{shape.Op, shape.Table})
	require.EqualValues(t, []int64{5, 1, 4, 4}, []int64{shape.Calls, shape.Hits, shape.Misses, shape.Stores})
	require.EqualValues(t, []int64{2, 1, 1}, []int64{shape.Dropped, shape.DroppedInVain, shape.DroppedWhole})
	require.Len(t, shape.Causes, 2)
	writers := shape.Causes[0].Writer + shape.Causes[1].Writer
	require.True(t, strings.HasPrefix(writers, "INSERT INTO `tbl_stock`"), writers)
	require.Positive(t, shape.DatabaseTime)
	require.Positive(t, shape.HitTime)
	require.Positive(t, shape.Bytes)
	require.Equal(t, map[string]int64{"the transaction's isolation is above READ COMMITTED": 1}, r.Shapes[1].Skips)

	require.Len(t, r.Tables, 1)
	table := r.Tables[0]
	require.Equal(t, "main.tbl_stock", table.Table)
	require.EqualValues(t, []int64{1, 1}, []int64{table.Narrow, table.Whole})
	require.Equal(t, map[string]int64{"by hand": 1}, table.Reasons)
	require.EqualValues(t, 1, r.Stats.Hits)
	require.False(t, r.Since.After(r.At))
	require.Empty(t, cacheplugin.New(cacheplugin.Config{}).Report().Shapes, "never used")
}

// TestQueriesCachedToNoEffectAreToldOnce: by the log and the report.
func TestQueriesCachedToNoEffectAreToldOnce(t *testing.T) {
	db, log := logged(t, nil, nil)
	for i := range 120 {
		require.NoError(t, db.Where("qty < ?", time.Now().Add(time.Duration(i)).UnixNano()).Find(&[]testmodel.Stock{}).Error)
	}
	const told = "a query is cached to no effect: it never hits: a parameter changes with every call"
	require.Equal(t, 1, strings.Count(log.String(), told), log.String())
	require.Contains(t, db.Plugins[cacheplugin.Name].(*cacheplugin.Plugin).Report().Shapes[0].Advice, "it never hits")
}
