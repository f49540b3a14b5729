package pools

import (
	"context"
	"database/sql"
	"fmt"
	"testing"

	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riverdatabasesql"
	"github.com/riverqueue/river/rivermigrate"
	"github.com/stretchr/testify/require"
	"gorm.io/gorm"
	"gorm.io/gorm/logger"
	"gorm.io/plugin/opentelemetry/tracing"
	"gorm.io/sharding"

	"github.com/cacheplugin/cacheplugin"
	"github.com/cacheplugin/cacheplugin/integration/internal/fixture"
	"github.com/cacheplugin/cacheplugin/integration/testdb"
	"github.com/cacheplugin/cacheplugin/internal/testenv"
)

// renameArgs are a job's.
type renameArgs struct {
	Brand uint `json:"brand"`
}

func (renameArgs) Kind() string { return "rename" }

// River's documentation inserts jobs in the transaction of GORM that they belong to.
func TestRiverInsertsInATransactionOfGORM(t *testing.T) {
	env := testdb.Need(t, testenv.Postgres)
	for _, prepare := range []bool{false, true} {
		t.Run(fmt.Sprintf("prepared_%v", prepare), func(t *testing.T) {
			o := options()
			o.Gorm.PrepareStmt = prepare
			f := fixture.New(t, env, o)
			driver := riverdatabasesql.New(sqlDB(t, f.DB))
			migrator, err := rivermigrate.New(driver, nil)
			require.NoError(t, err)
			_, err = migrator.Migrate(t.Context(), rivermigrate.DirectionUp, nil)
			require.NoError(t, err)
			client, err := river.NewClient(driver, &river.Config{})
			require.NoError(t, err)

			require.NoError(t, f.DB.Create(&fixture.Brand{ID: 1, Name: "old"}).Error)
			var name string
			one := first(t, f.DB, 1, &name)
			one()
			f.Hits(t, one)
			jobs := func() (n int64) {
				require.NoError(t, f.Plain.Table("river_job").Count(&n).Error)
				return n
			}
			write := func(commit bool) error {
				return f.DB.Transaction(func(tx *gorm.DB) error {
					require.NoError(t, tx.Model(&fixture.Brand{ID: 1}).Update("name", "new").Error)
					_, err := client.InsertTx(t.Context(), bareTx(t, tx), renameArgs{Brand: 1}, nil)
					require.NoError(t, err)
					return end(commit)
				})
			}
			require.ErrorIs(t, write(false), errBack)
			require.Zero(t, jobs())
			f.Hits(t, one)
			require.NoError(t, write(true))
			require.EqualValues(t, 1, jobs())
			one()
			require.Equal(t, "new", name)
		})
	}
}

// bothOrders runs a test with another plugin registered before ours, and after it.
func bothOrders(t *testing.T, env testenv.Database, other func() gorm.Plugin, test func(t *testing.T, f *fixture.Fixture)) {
	t.Helper()
	t.Run(env.Name+"/before", func(t *testing.T) {
		o := options()
		o.Gorm.Plugins = map[string]gorm.Plugin{"other": other()} // registered by gorm.Open
		test(t, fixture.New(t, env, o))
	})
	t.Run(env.Name+"/after", func(t *testing.T) {
		f := fixture.New(t, env, options())
		require.NoError(t, f.DB.Use(other()))
		test(t, f)
	})
}

func TestOpenTelemetryInEitherOrder(t *testing.T) {
	for _, env := range testdb.Databases(t) {
		bothOrders(t, env, func() gorm.Plugin { return tracing.NewPlugin(tracing.WithoutMetrics()) }, func(t *testing.T, f *fixture.Fixture) {
			require.NoError(t, f.DB.Create(&fixture.Brand{ID: 1, Name: "old", Kind: 7}).Error)
			read := f.Brands(t, f.DB, 7)
			f.Cached(t, read)
			require.NoError(t, f.DB.Transaction(func(tx *gorm.DB) error {
				return tx.Model(&fixture.Brand{ID: 1}).Update("name", "new").Error
			}))
			f.Misses(t, read)
		})
	}
}

// order is a row of a table that is sharded by its owner.
type order struct {
	ID     int64 `gorm:"primaryKey"`
	UserID int64
	Total  int64
}

// The pool that sharding puts in a statement's place rewrites it: all happens as
// without the plugin, writes are seen as the database gets them, and reads of the
// shards by their names are cached and dropped.
func TestShardingInEitherOrder(t *testing.T) {
	shards := func() gorm.Plugin {
		id := int64(0)
		return sharding.Register(sharding.Config{
			ShardingKey: "user_id", NumberOfShards: 2, PrimaryKeyGenerator: sharding.PKCustom,
			PrimaryKeyGeneratorFn: func(int64) int64 { id++; return id },
		}, "orders")
	}
	for _, name := range []string{testenv.Postgres, testenv.MariaDB} {
		env := testdb.Need(t, name)
		bothOrders(t, env, shards, func(t *testing.T, f *fixture.Fixture) {
			for _, table := range []string{"orders_0", "orders_1"} {
				require.NoError(t, f.Plain.Table(table).AutoMigrate(&order{}))
			}
			for user := int64(1); user <= 4; user++ {
				require.NoError(t, f.DB.Create(&order{UserID: user, Total: 10 * user}).Error)
			}
			of := func(db *gorm.DB, table string) (list []order) {
				require.NoError(t, db.Table(table).Order("user_id").Find(&list).Error)
				return list
			}
			totals := func(table string) (list []int64) {
				for _, o := range of(f.Plain, table) {
					list = append(list, o.Total)
				}
				return list
			}
			require.Equal(t, []int64{20, 40}, totals("orders_0"))
			require.Equal(t, []int64{10, 30}, totals("orders_1"))

			// Another handle on the same cache, without sharding, reads a shard.
			beside := f.Env.Reopen(t, f.Plain, &gorm.Config{Logger: logger.Discard})
			c := f.Config
			c.Observer = nil
			plugin := cacheplugin.New(c)
			require.NoError(t, beside.Use(plugin))
			t.Cleanup(func() { require.NoError(t, plugin.Close(context.Background())) })
			require.Len(t, of(beside, "orders_1"), 2)

			sharded := func(user int64) (o order) {
				require.NoError(t, f.DB.Where("user_id = ?", user).First(&o).Error)
				return o
			}
			require.EqualValues(t, 30, sharded(3).Total)
			require.NoError(t, f.DB.Model(&order{}).Where("user_id = ?", 3).Update("total", 31).Error)
			require.EqualValues(t, 31, sharded(3).Total)
			require.EqualValues(t, 31, of(beside, "orders_1")[1].Total, "what was cached of the shard is dropped")

			// What is rolled back stays undone, as without the plugin.
			requireSame := func(run func(db *gorm.DB) error) {
				require.NoError(t, run(f.DB))
			}
			requireSame(func(db *gorm.DB) error {
				tx := db.Begin(&sql.TxOptions{})
				require.NoError(t, tx.Create(&order{UserID: 5, Total: 50}).Error)
				return tx.Rollback().Error
			})
			require.Equal(t, []int64{10, 31}, totals("orders_1"))
		})
	}
}
