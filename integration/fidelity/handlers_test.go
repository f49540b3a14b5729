package fidelity

import (
	"testing"

	"github.com/stretchr/testify/require"
	"gorm.io/gorm"
	"gorm.io/gorm/callbacks"
	"gorm.io/gorm/logger"

	"github.com/cacheplugin/cacheplugin/integration/internal/fixture"
	"github.com/cacheplugin/cacheplugin/internal/testmodel"
)

// A handler of queries that somebody has put in the place of GORM's is run on hits,
// too, and scans them itself.
func TestAHandlerOfOthersIsRunAsItIs(t *testing.T) {
	fixture.OnEveryDatabase(t, fixture.Options{Models: []any{&testmodel.Label{}}}, func(t *testing.T, f *fixture.Fixture) {
		require.NoError(t, f.Plain.Create(&testmodel.Label{Text: "text"}).Error)
		db := f.Env.Reopen(t, f.Plain, &gorm.Config{Logger: logger.Discard})
		runs := 0
		require.NoError(t, db.Callback().Query().Replace("gorm:query", func(tx *gorm.DB) {
			runs++
			callbacks.Query(tx)
			if label, ok := tx.Statement.Dest.(*testmodel.Label); ok {
				label.Text += " of the handler"
			}
		}))
		plugin := fixture.NewPlugin(t, nil)
		require.NoError(t, db.Use(plugin))
		for i := range 3 {
			var label testmodel.Label
			require.NoError(t, db.First(&label).Error)
			require.Equal(t, "text of the handler", label.Text)
			require.Equal(t, i+1, runs)
		}
		require.EqualValues(t, 2, plugin.Stats().Hits)
	})
}
