package cacheplugin_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cacheplugin/cacheplugin/internal/testmodel"
)

func TestCreatedUpdatedAndDeletedRowsDropWhatTheyAreIn(t *testing.T) {
	onEveryDatabase(t, options{models: []any{&testmodel.Category{}, &testmodel.Post{}}}, func(t *testing.T, f *fixture) {
		require.NoError(t, f.db.Create(&[]testmodel.Category{{Title: "a"}, {Title: "b"}, {Title: "c"}}).Error)
		list := func(category uint, want ...string) func() {
			return func() {
				titles := []string{}
				require.NoError(t, f.db.Model(&testmodel.Post{}).Where("category_id = ?", category).Order("id").Pluck("title", &titles).Error)
				require.Equal(t, append([]string{}, want...), titles)
			}
		}
		one, two, three := list(1), list(2), list(3)
		f.cached(t, one)
		f.cached(t, two)
		f.cached(t, three)

		post := testmodel.Post{CategoryID: 1, Title: "x"}
		require.NoError(t, f.db.Create(&post).Error)
		f.misses(t, list(1, "x"))
		f.hits(t, two)
		f.hits(t, three)

		require.NoError(t, f.db.Model(&post).Update("category_id", 2).Error)
		f.misses(t, one)
		f.misses(t, list(2, "x"))
		f.hits(t, three)

		require.NoError(t, f.db.Where("title = ?", "x").Delete(&testmodel.Post{}).Error)
		f.hits(t, one)
		f.misses(t, two)
		f.hits(t, three)
	})
}
