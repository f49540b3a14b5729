package cacheplugin_test

import (
	"context"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"gorm.io/gorm"

	"github.com/cacheplugin/cacheplugin"
	"github.com/cacheplugin/cacheplugin/internal/testenv"
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

	r, err := plugin.Report(t.Context())
	require.NoError(t, err)
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
	require.Len(t, r.Processes, 1)
	require.Equal(t, os.Getpid(), r.Processes[0].PID)
	require.Equal(t, r.Stats, r.Processes[0].Stats)
	unused, err := cacheplugin.New(cacheplugin.Config{}).Report(t.Context())
	require.NoError(t, err)
	require.Empty(t, unused.Shapes)
}

// TestReportIsOfAllProcessesOfAPrefix: each publishes its numbers, and is forgotten
// some time after it has ended.
func TestReportIsOfAllProcessesOfAPrefix(t *testing.T) {
	server := testenv.StartRedis(t)
	process := func(prefix string, every time.Duration) (*gorm.DB, *cacheplugin.Plugin) {
		db, _ := logged(t, nil, func(c *cacheplugin.Config) {
			c.Redis, c.Prefix, c.ReportEvery = server.Client(t), prefix, every
		})
		return db, db.Plugins[cacheplugin.Name].(*cacheplugin.Plugin)
	}
	read := func(db *gorm.DB, times int) {
		for range times {
			require.NoError(t, db.Where("qty = ?", 1).Find(&[]testmodel.Stock{}).Error)
		}
	}
	one, plugin := process("shop", -1)
	read(one, 3)
	two, published := process("shop", 5*time.Millisecond)
	read(two, 5)
	stranger, _ := process("shop2", 5*time.Millisecond)
	read(stranger, 1)

	var r cacheplugin.Report
	require.Eventually(t, func() bool {
		var err error
		r, err = plugin.Report(t.Context())
		require.NoError(t, err)
		return len(r.Processes) == 2 && r.Processes[1].Stats == published.Stats()
	}, time.Minute, time.Millisecond)
	require.Len(t, r.Shapes, 1, "of the same shape")
	require.EqualValues(t, 8, r.Shapes[0].Calls)
	require.EqualValues(t, 8, r.Stats.Hits+r.Stats.Misses)
	require.NotEqual(t, r.Processes[0].ID, r.Processes[1].ID)
	require.Equal(t, r.Processes[0].Since, r.Since)
	r, err := published.Report(t.Context())
	require.NoError(t, err)
	require.Len(t, r.Processes, 1, "not itself twice, and not who publishes nothing")
	for _, key := range server.Client(t).Keys(t.Context(), "{shop}p*").Val() {
		require.Positive(t, server.Client(t).PTTL(t.Context(), key).Val(), "%s expires", key)
	}

	over, cancel := context.WithCancel(t.Context())
	cancel()
	require.NoError(t, published.Close(over), "there is nothing to wait for")
	require.NoError(t, server.Client(t).Set(t.Context(), "{shop}p:"+r.Processes[0].ID, "not ours", 0).Err())
	r, err = plugin.Report(t.Context())
	require.ErrorContains(t, err, "can't be read")
	require.Len(t, r.Processes, 1, "its own numbers")
	server.Kill(t)
	r, err = plugin.Report(t.Context())
	require.ErrorContains(t, err, "the numbers of other processes are not known")
	require.EqualValues(t, 3, r.Shapes[0].Calls)
}

// TestQueriesCachedToNoEffectAreToldOnce: by the log and the report.
func TestQueriesCachedToNoEffectAreToldOnce(t *testing.T) {
	db, log := logged(t, nil, nil)
	for i := range 120 {
		require.NoError(t, db.Where("qty < ?", time.Now().Add(time.Duration(i)).UnixNano()).Find(&[]testmodel.Stock{}).Error)
	}
	const told = "a query is cached to no effect: it never hits: a parameter changes with every call"
	require.Equal(t, 1, strings.Count(log.String(), told), log.String())
	r, err := db.Plugins[cacheplugin.Name].(*cacheplugin.Plugin).Report(t.Context())
	require.NoError(t, err)
	require.Contains(t, r.Shapes[0].Advice, "it never hits")

	db, log = logged(t, nil, nil)
	require.NoError(t, db.Create(&testmodel.Stock{Article: "a"}).Error)
	for i := range 120 {
		require.NoError(t, db.Find(&[]testmodel.Stock{}).Error)
		require.NoError(t, db.Model(&testmodel.Stock{}).Where("art_no = ?", "a").Update("qty", i).Error)
	}
	require.Equal(t, 1, strings.Count(log.String(), "a query is cached to no effect: its results are dropped before they are read again: narrow it"), log.String())
}
