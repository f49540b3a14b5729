package reads

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"gorm.io/gorm"

	"github.com/cacheplugin/cacheplugin"
	"github.com/cacheplugin/cacheplugin/integration/internal/fixture"
	"github.com/cacheplugin/cacheplugin/integration/testdb"
)

// TestHintsAreToldOnceOnEveryDatabase: what a transaction reads, what is written
// outside of one, and patterns that match no table, each with its remedy.
func TestHintsAreToldOnceOnEveryDatabase(t *testing.T) {
	for _, env := range testdb.Databases(t) {
		t.Run(env.Name, func(t *testing.T) {
			var log bytes.Buffer
			profiles := fixture.CacheAll()
			profiles["bramds"] = profiles["*"]
			f := fixture.New(t, env, fixture.Options{
				Models: []any{&fixture.Brand{}},
				Gorm:   gorm.Config{SkipDefaultTransaction: true},
				Config: cacheplugin.Config{Profiles: profiles, Logger: slog.New(slog.NewTextHandler(&log, nil))},
			})
			told := func(words string) {
				t.Helper()
				require.Equal(t, 1, strings.Count(log.String(), words), log.String())
			}
			require.NoError(t, f.Plain.Create(&fixture.Brand{Name: "x", Kind: 1}).Error)
			read := func(db *gorm.DB) error { return db.Where("kind = ?", 1).Find(&[]fixture.Brand{}).Error }
			require.NoError(t, read(f.DB))
			told(`did you mean \"brands\"?`)

			const transaction = "read outside of transactions what is to be cached"
			require.NotContains(t, log.String(), transaction)
			require.NoError(t, cacheplugin.InvalidateAll(f.DB))
			for range 2 {
				require.NoError(t, f.DB.Transaction(read))
			}
			told(transaction)

			const outside = "leave SkipDefaultTransaction off, or write in db.Transaction"
			raise := func(db *gorm.DB) error {
				return db.Model(&fixture.Brand{}).Where("kind < ?", 5).Update("kind", gorm.Expr("kind + 1")).Error
			}
			require.NoError(t, f.DB.Transaction(raise))
			require.NotContains(t, log.String(), outside)
			for range 2 {
				require.NoError(t, raise(f.DB))
			}
			told(outside)
		})
	}
}

// TestReportNamesTheWriterOfADrop: by its statement, narrow or whole.
func TestReportNamesTheWriterOfADrop(t *testing.T) {
	fixture.OnEveryDatabase(t, fixture.Options{Models: []any{&fixture.Brand{}}}, func(t *testing.T, f *fixture.Fixture) {
		require.NoError(t, f.DB.Create(&fixture.Brand{Name: "x", Kind: 1}).Error)
		read := f.Brands(t, f.DB, 1)
		f.Cached(t, read)
		require.NoError(t, f.DB.Model(&fixture.Brand{}).Where("name = ?", "x").Update("name", "y").Error)
		f.Misses(t, read)
		require.NoError(t, f.DB.Model(&fixture.Brand{}).Where("name = ?", "y").Update("name", "z").Error)
		require.NoError(t, f.DB.Model(&fixture.Brand{}).Where("name = ?", "z").Update("name", "y").Error)
		f.Misses(t, read)

		r, err := f.Plugin.Report(t.Context())
		require.NoError(t, err)
		require.Len(t, r.Shapes, 1)
		shape := r.Shapes[0]
		require.EqualValues(t, []int64{1, 3, 2, 1}, []int64{shape.Hits, shape.Misses, shape.Dropped, shape.DroppedInVain})
		require.Len(t, shape.Causes, 1)
		require.True(t, strings.HasPrefix(shape.Causes[0].Writer, "UPDATE "), shape.Causes[0].Writer)
		require.Contains(t, shape.Causes[0].Table, "brands")
		require.False(t, shape.Causes[0].Whole)
		require.Len(t, r.Tables, 1)
		require.EqualValues(t, []int64{4, 0}, []int64{r.Tables[0].Narrow, r.Tables[0].Whole})
	})
}
