package testmodel

import (
	"testing"

	"github.com/cacheplugin/cacheplugin/internal/testmodel"

	"github.com/stretchr/testify/require"
	"gorm.io/gorm"

	"github.com/cacheplugin/cacheplugin/integration/testdb"
)

func TestMain(m *testing.M) { testdb.Main(m) }

// each runs test on every database, migrated and seeded.
func each(t *testing.T, test func(t *testing.T, db *gorm.DB, data *testmodel.Data)) {
	t.Helper()
	for _, database := range testdb.Databases(t) {
		t.Run(database.Name, func(t *testing.T) {
			t.Parallel()
			db := database.Open(t, nil)
			require.NoError(t, testmodel.AutoMigrate(db))
			data, err := testmodel.Seed(db)
			require.NoError(t, err)
			test(t, db, data)
		})
	}
}

func TestSeedGivesTheSameKeysEverywhere(t *testing.T) {
	each(t, func(t *testing.T, db *gorm.DB, data *testmodel.Data) {
		for i, user := range data.Users {
			require.EqualValues(t, i+1, user.ID)
		}
		var posts []testmodel.Post
		require.NoError(t, db.Order("id").Find(&posts).Error)
		require.Equal(t, data.Posts, posts)
		next := testmodel.Post{CategoryID: 1}
		require.NoError(t, db.Create(&next).Error, "explicit keys would leave the sequence behind")
		require.EqualValues(t, len(posts)+1, next.ID)
	})
}

func TestRelationsLoad(t *testing.T) {
	each(t, func(t *testing.T, db *gorm.DB, data *testmodel.Data) {
		var ann testmodel.User
		require.NoError(t, db.Preload("Pets").Preload("Languages").Preload("Groups").Preload("Account").Preload("Toys").Preload("Team").Joins("Company").First(&ann, 1).Error)
		require.Len(t, ann.Pets, 2)
		require.Len(t, ann.Languages, 2)
		require.Len(t, ann.Groups, 1)
		require.Len(t, ann.Team, 2)
		require.Equal(t, data.Toys[:1], ann.Toys)
		require.Equal(t, "A-1", ann.Account.Number)
		require.Equal(t, "Acme", ann.Company.Name)
		require.EqualValues(t, 2, db.Model(&testmodel.Brand{ID: 2}).Association("Labels").Count())
	})
}

func TestKindsComeBackAsTheyWere(t *testing.T) {
	each(t, func(t *testing.T, db *gorm.DB, data *testmodel.Data) {
		var kinds []testmodel.Kinds
		require.NoError(t, db.Order("id").Find(&kinds).Error)
		require.Len(t, kinds, len(data.Kinds))
		full, want := kinds[0], data.Kinds[0]
		require.True(t, want.At.Equal(full.At))
		require.True(t, want.AtPointer.Equal(*full.AtPointer))
		require.Equal(t, want.Day.Format("2006-01-02"), full.Day.Format("2006-01-02"))
		require.Equal(t, want.Big, full.Big)
		require.Equal(t, want.NullBig, full.NullBig)
		require.Equal(t, want.Blob, full.Blob)
		require.Equal(t, want.Home, full.Home)
		require.Equal(t, want.Extra, full.Extra)
		require.Equal(t, want.Color, full.Color)
		require.Equal(t, want.UUID, full.UUID)
		require.Nil(t, kinds[1].WordPointer)
		require.False(t, kinds[1].Color.Valid)
		require.Equal(t, new(""), kinds[2].WordPointer)
		require.Equal(t, data.Kinds[2].Story, kinds[2].Story)
	})
}

func TestDatabaseCascades(t *testing.T) {
	each(t, func(t *testing.T, db *gorm.DB, _ *testmodel.Data) {
		require.NoError(t, db.Delete(&testmodel.Category{ID: 1}).Error)
		require.EqualValues(t, 2, count(t, db, "posts"))
		require.NoError(t, db.Delete(&testmodel.Company{ID: 1}).Error)
		require.EqualValues(t, 1, count(t, db.Where("company_id IS NOT NULL"), "users"))
		require.NoError(t, db.Delete(&testmodel.Language{Code: "en"}).Error)
		require.EqualValues(t, 1, count(t, db, "user_languages"))
		require.NoError(t, db.Unscoped().Delete(&testmodel.User{ID: 5}).Error)
		require.EqualValues(t, 2, count(t, db, "memberships"))
	})
}

func count(t *testing.T, db *gorm.DB, table string) int64 {
	t.Helper()
	var n int64
	require.NoError(t, db.Table(table).Count(&n).Error)
	return n
}
