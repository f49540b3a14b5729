package reads

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"gorm.io/gorm"

	"github.com/cacheplugin/cacheplugin"
	"github.com/cacheplugin/cacheplugin/cache"
	"github.com/cacheplugin/cacheplugin/decorators"
	"github.com/cacheplugin/cacheplugin/integration/internal/fixture"
	"github.com/cacheplugin/cacheplugin/internal/testenv"
)

var firmModels = []any{&fixture.Owner{}, &fixture.Firm{}, &fixture.Worker{}, &fixture.Badge{}}

func seedFirm(t *testing.T, f *fixture.Fixture) {
	t.Helper()
	one := uint(1)
	require.NoError(t, f.Plain.Create(&fixture.Owner{ID: one}).Error)
	require.NoError(t, f.Plain.Create(&fixture.Firm{ID: one, OwnerID: &one}).Error)
	require.NoError(t, f.Plain.Create(&fixture.Worker{ID: one, FirmID: &one}).Error)
}

// TestInfoTellsHowACallWasAnswered: whatever method of GORM's it is.
func TestInfoTellsHowACallWasAnswered(t *testing.T) {
	fixture.OnEveryDatabase(t, fixture.Options{Models: firmModels}, func(t *testing.T, f *fixture.Fixture) {
		seedFirm(t, f)
		for _, call := range []struct {
			name string
			op   cache.Op
			rows int
			make func(db *gorm.DB) error
		}{
			{"Find", cache.Fetch, 1, func(db *gorm.DB) error { return db.Find(&[]fixture.Worker{}).Error }},
			{"First", cache.Get, 1, func(db *gorm.DB) error { return db.First(&fixture.Worker{}, 1).Error }},
			{"Count", cache.Count, 1, func(db *gorm.DB) error { return db.Model(&fixture.Worker{}).Count(new(int64)).Error }},
			{"Pluck", cache.Fetch, 1, func(db *gorm.DB) error { return db.Model(&fixture.Worker{}).Pluck("id", &[]uint{}).Error }},
			{"Scan", cache.Aggregate, 1, func(db *gorm.DB) error {
				return db.Model(&fixture.Worker{}).Select("max(id)").Scan(new(int64)).Error
			}},
			{"Raw", cache.Fetch, 1, func(db *gorm.DB) error {
				return db.Raw("SELECT * FROM workers WHERE id < ?", 5).Find(&[]fixture.Worker{}).Error
			}},
		} {
			t.Run(call.name, func(t *testing.T) {
				tell := func() (info cache.Info) {
					require.NoError(t, call.make(f.DB.Scopes(cache.WithInfo(&info))))
					return info
				}
				miss, hit := tell(), tell()
				require.Equal(t, cache.Miss, miss.Outcome)
				require.Empty(t, miss.Reason)
				require.Zero(t, miss.Age)
				require.False(t, miss.AllHits())

				require.Equal(t, cache.Hit, hit.Outcome, hit.Reason)
				require.True(t, hit.AllHits())
				require.Equal(t, call.op, hit.Op)
				require.Equal(t, "workers", hit.Table)
				require.Len(t, hit.Tables, 1)
				require.Contains(t, hit.Tables[0], ".workers")
				require.Equal(t, miss.Key, hit.Key)
				require.Equal(t, call.rows, hit.Rows)
				require.Positive(t, hit.Bytes)
				require.Equal(t, time.Hour, hit.Age+hit.Remaining)
				require.Empty(t, hit.Further)
			})
		}
		t.Run("generics", func(t *testing.T) {
			tell := func() (info cache.Info) {
				_, err := gorm.G[fixture.Worker](f.DB).Where("id = ?", 1).Find(cache.ContextWithInfo(t.Context(), &info))
				require.NoError(t, err)
				return info
			}
			require.Equal(t, cache.Miss, tell().Outcome)
			require.Equal(t, cache.Hit, tell().Outcome)
		})
		t.Run("preloads", func(t *testing.T) {
			tell := func() (info cache.Info) {
				require.NoError(t, f.DB.Scopes(cache.WithInfo(&info)).Preload("Firm.Owner").Find(&[]fixture.Worker{}, "id = 1").Error)
				return info
			}
			tell()
			hit := tell()
			require.True(t, hit.AllHits())
			require.Equal(t, "workers", hit.Table)
			require.Len(t, hit.Further, 2)
			require.Equal(t, "firms", hit.Further[0].Table)
			require.Equal(t, "owners", hit.Further[1].Table)

			require.NoError(t, f.DB.Model(&fixture.Owner{ID: 1}).Update("name", "Ann").Error)
			dropped := tell()
			require.False(t, dropped.AllHits())
			require.Equal(t, []cache.Outcome{cache.Hit, cache.Hit, cache.Miss},
				[]cache.Outcome{dropped.Outcome, dropped.Further[0].Outcome, dropped.Further[1].Outcome})
		})
	})
}

// TestInfoTellsWhyTheCacheWasBypassed: also where no event tells of it, since
// nobody has asked for the query to be cached.
func TestInfoTellsWhyTheCacheWasBypassed(t *testing.T) {
	o := fixture.Options{Models: firmModels}
	o.Config.MaxRows = 1
	o.Config.Profiles = cacheplugin.Profiles{"workers": {Ops: cache.All, Timeout: time.Hour}, "firms": {Timeout: time.Hour}, "owners": nil}
	f := fixture.New(t, testenv.NeedSQLite(t), o)
	seedFirm(t, f)
	require.NoError(t, f.Plain.Create(&fixture.Worker{ID: 2}).Error)
	workers := func(db *gorm.DB) error { return db.Find(&[]fixture.Worker{}).Error }
	for _, test := range []struct {
		name, reason string
		outcome      cache.Outcome
		read         func(db *gorm.DB) error
	}{
		{"NoCache", "NoCache", cache.Bypassed, func(db *gorm.DB) error { return workers(db.Scopes(cache.NoCache())) }},
		{"WithoutCache", "WithoutCache", cache.Bypassed, func(db *gorm.DB) error {
			return workers(db.WithContext(cache.WithoutCache(db.Statement.Context)))
		}},
		{"no operation", "the profile of firms lists no operations", cache.Bypassed, func(db *gorm.DB) error { return db.Find(&[]fixture.Firm{}).Error }},
		{"no profile", "no profile matches badges", cache.Bypassed, func(db *gorm.DB) error { return db.Find(&[]fixture.Badge{}).Error }},
		{"forbidden", "forbidden: the profile of owners is nil", cache.Bypassed, func(db *gorm.DB) error { return db.Find(&[]fixture.Owner{}).Error }},
		{"Rows", "Row and Rows are cached opt-in only, other than Scan", cache.Bypassed, func(db *gorm.DB) error {
			rows, err := db.Model(&fixture.Worker{}).Rows()
			if err != nil {
				return err
			}
			return rows.Close()
		}},
		{"a transaction that has written", "the transaction has written", cache.Bypassed, func(db *gorm.DB) error {
			return db.Transaction(func(tx *gorm.DB) error {
				if err := tx.Create(&fixture.Badge{}).Error; err != nil {
					return err
				}
				return workers(tx)
			})
		}},
		{"too large", "too many rows", cache.Miss, workers},
	} {
		t.Run(test.name, func(t *testing.T) {
			var info cache.Info
			require.NoError(t, test.read(f.DB.WithContext(cache.ContextWithInfo(t.Context(), &info))))
			require.Equal(t, test.outcome, info.Outcome)
			require.Equal(t, test.reason, info.Reason)
		})
	}
	t.Run("nothing was asked", func(t *testing.T) {
		var info cache.Info
		require.NoError(t, workers(f.Plain.Scopes(cache.WithInfo(&info))))
		require.Equal(t, cache.Info{}, info)
		require.Equal(t, "unasked", info.Outcome.String())
	})
}

func TestInfoTellsOfTheNearCache(t *testing.T) {
	f := fixture.New(t, testenv.NeedSQLite(t), nearOptions())
	require.NoError(t, f.Plain.Create(&fixture.Brand{ID: 1, Kind: 1}).Error)
	find := func(db *gorm.DB) error { return db.Find(&[]fixture.Brand{}, "kind = 1").Error }
	require.NoError(t, find(f.DB))
	require.NoError(t, find(f.DB))
	var info cache.Info
	require.NoError(t, find(f.DB.Scopes(cache.WithInfo(&info))))
	require.Equal(t, cache.Hit, info.Outcome)
	require.True(t, info.Near)
	require.Positive(t, info.Remaining)
}

// TestInfoTellsOfComputedValues: their queries come after them.
func TestInfoTellsOfComputedValues(t *testing.T) {
	f := fixture.New(t, testenv.NeedSQLite(t), fixture.Options{Models: firmModels})
	seedFirm(t, f)
	count, err := decorators.CachedAs(f.DB, "count workers", func(ctx context.Context, _ int) (n int64, err error) {
		err = f.DB.WithContext(ctx).Model(&fixture.Worker{}).Count(&n).Error
		return n, err
	}, decorators.Samples(&fixture.Worker{}))
	require.NoError(t, err)
	tell := func() (info cache.Info) {
		_, err := count.Call(cache.ContextWithInfo(t.Context(), &info), 1)
		require.NoError(t, err)
		return info
	}
	miss, hit := tell(), tell()
	require.Equal(t, cache.Miss, miss.Outcome)
	require.Equal(t, "func/count workers", miss.Table)
	require.Len(t, miss.Further, 1)
	require.True(t, hit.AllHits())
	require.Zero(t, hit.Rows)
	require.Empty(t, hit.Further)
}
