package testdb

import (
	"testing"

	"github.com/stretchr/testify/require"
	"gorm.io/gorm"
)

func TestMain(m *testing.M) { Main(m) }

type item struct {
	ID   uint
	Name string
}

func TestOpenGivesFreshDatabases(t *testing.T) {
	for _, database := range Databases(t) {
		t.Run(database.Name, func(t *testing.T) {
			t.Parallel()
			for range 2 {
				db := database.Open(t, nil)
				require.False(t, db.Migrator().HasTable(&item{}))
				require.NoError(t, db.AutoMigrate(&item{}))
			}
		})
	}
}

func TestReopenSeesTheSameDatabase(t *testing.T) {
	for _, database := range Databases(t) {
		t.Run(database.Name, func(t *testing.T) {
			t.Parallel()
			db := database.Open(t, &gorm.Config{})
			require.NoError(t, db.AutoMigrate(&item{}))
			require.NoError(t, db.Create(&item{Name: "Grüße 🙂"}).Error)
			other := database.Reopen(t, db, nil)
			var found item
			require.NoError(t, other.First(&found).Error)
			require.Equal(t, "Grüße 🙂", found.Name)
		})
	}
}

func TestReadsDuringWrite(t *testing.T) {
	for _, database := range Databases(t) {
		if !database.ReadsDuringWrite {
			continue
		}
		t.Run(database.Name, func(t *testing.T) {
			t.Parallel()
			db := database.Open(t, nil)
			require.NoError(t, db.AutoMigrate(&item{}))
			tx := db.Begin()
			require.NoError(t, tx.Create(&item{Name: "a"}).Error)
			var count int64
			require.NoError(t, db.Model(&item{}).Count(&count).Error)
			require.Zero(t, count)
			require.NoError(t, tx.Commit().Error)
		})
	}
}
