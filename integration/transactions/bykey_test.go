package transactions

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"gorm.io/gorm"

	"github.com/cacheplugin/cacheplugin"
	"github.com/cacheplugin/cacheplugin/integration/internal/fixture"
)

// patron is deleted softly: every query of GORM's asks for the rows that are not.
type patron struct {
	ID        int64
	Name      string
	DeletedAt gorm.DeletedAt
}

func patrons() fixture.Options {
	return fixture.Options{Models: []any{&patron{}}}
}

// TestAnUnknownTimeOfDeletionKeepsAWriteNarrow: of a column that can only be
// asked for NULL nothing need be known.
func TestAnUnknownTimeOfDeletionKeepsAWriteNarrow(t *testing.T) {
	for _, write := range []struct {
		name string
		run  func(f *fixture.Fixture) error
	}{
		{"invalidation by values", func(f *fixture.Fixture) error {
			return cacheplugin.InvalidateValues(f.DB, &patron{}, map[string]any{"id": 3})
		}},
		{"a raw update outside of a transaction", func(f *fixture.Fixture) error {
			return f.DB.Exec("UPDATE patrons SET name = 'new' WHERE id = ?", 3).Error
		}},
		{"a raw delete outside of a transaction", func(f *fixture.Fixture) error {
			return f.DB.Exec("DELETE FROM patrons WHERE id = ?", 3).Error
		}},
		{"a raw soft delete outside of a transaction", func(f *fixture.Fixture) error {
			return f.DB.Exec("UPDATE patrons SET deleted_at = ? WHERE id = ?", time.Now(), 3).Error
		}},
	} {
		t.Run(write.name, func(t *testing.T) {
			fixture.OnEveryDatabase(t, patrons(), func(t *testing.T, f *fixture.Fixture) {
				require.NoError(t, f.Plain.Create(&[]patron{{ID: 3, Name: "a"}, {ID: 4, Name: "b"}}).Error)
				byKey := func(id int64) func() {
					return func() { require.NoError(t, f.DB.Limit(1).Find(&[]patron{}, id).Error) }
				}
				f.Cached(t, byKey(3))
				f.Cached(t, byKey(4))
				require.NoError(t, write.run(f))
				f.Hits(t, byKey(4), "the other row's result stays")
				f.Misses(t, byKey(3))
			})
		})
	}
}

// TestACreateDropsNoQueryByAnotherKey: whatever this process knows of what others
// have cached.
func TestACreateDropsNoQueryByAnotherKey(t *testing.T) {
	fixture.OnEveryDatabase(t, patrons(), func(t *testing.T, f *fixture.Fixture) {
		require.NoError(t, f.DB.Create(&patron{Name: "the first, of a table that nobody has cached"}).Error)
		other := fixture.NewOn(t, f)
		first := func() { require.NoError(t, other.DB.First(&patron{}, 1).Error) }
		other.Cached(t, first)
		require.NoError(t, f.DB.Create(&patron{Name: "the second"}).Error)
		other.Hits(t, first, "the new row is another one")
		missing := func() { require.NoError(t, other.DB.Limit(1).Find(&[]patron{}, 3).Error) }
		other.Cached(t, missing)
		require.NoError(t, f.DB.Create(&patron{Name: "the third"}).Error)
		other.Misses(t, missing, "which was asked for")
	})
}
