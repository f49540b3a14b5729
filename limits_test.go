package cacheplugin_test

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
	"gorm.io/gorm"

	"github.com/cacheplugin/cacheplugin"
)

// grid is a model with two columns to be asked for by lists.
type grid struct {
	ID   uint
	A, B int
	C    int
}

func upTo(n int) []int {
	list := make([]int, n)
	for i := range list {
		list[i] = i
	}
	return list
}

// TestQueriesNarrowUpToTheLimitsAndStayRightBeyond looks at both sides of each
// limit: how many conjunctions a query has, which rows drop it, and that it is
// never older than the database.
func TestQueriesNarrowUpToTheLimitsAndStayRightBeyond(t *testing.T) {
	inside, outside := grid{A: 1, B: 1, C: 1}, grid{A: -1, B: -1, C: 1}
	for _, c := range []struct {
		name         string
		where        func(db *gorm.DB) *gorm.DB
		conjunctions int
		spared       []grid // rows that it can tell from its own
		dropping     []grid // rows that it can't, or that are its own
	}{
		{
			"a list of 128", func(db *gorm.DB) *gorm.DB { return db.Where("a IN ?", upTo(128)) },
			128, []grid{outside, {A: 128, B: 1, C: 1}}, []grid{inside, {A: 127}},
		},
		{
			"a list of 129", func(db *gorm.DB) *gorm.DB { return db.Where("a IN ?", upTo(129)) },
			1, nil, []grid{outside, inside, {A: 128}},
		},
		{
			"a list of 129 beside another condition", func(db *gorm.DB) *gorm.DB { return db.Where("a IN ? AND c = ?", upTo(129), 1) },
			1, []grid{{A: 1, C: 2}}, []grid{outside, inside},
		},
		{
			"16 times 16", func(db *gorm.DB) *gorm.DB { return db.Where("a IN ? AND b IN ?", upTo(16), upTo(16)) },
			256, []grid{outside, {A: 1, B: 16}, {A: 16, B: 1}}, []grid{inside, {A: 15, B: 15}},
		},
		{
			"16 times 17", func(db *gorm.DB) *gorm.DB { return db.Where("a IN ? AND b IN ?", upTo(16), upTo(17)) },
			16, []grid{outside, {A: 16, B: 1}}, []grid{inside, {A: 1, B: 17}, {A: 15, B: 16}},
		},
		{
			"100 times 3, three times over", func(db *gorm.DB) *gorm.DB {
				return db.Where("a IN ? AND b IN ? AND c IN ?", upTo(100), upTo(3), upTo(3))
			},
			9, []grid{outside, {A: 1, B: 3, C: 1}, {A: 1, B: 1, C: 3}}, []grid{inside, {A: 100, B: 1, C: 1}},
		},
		{
			"128 or 128", func(db *gorm.DB) *gorm.DB {
				return db.Where("c = ? AND (a IN ? OR b IN ?)", 1, upTo(128), upTo(128))
			},
			256, []grid{outside, {A: 1, B: 1, C: 2}}, []grid{inside, {A: -1, B: 127, C: 1}},
		},
		{
			"128 or 128 or one", func(db *gorm.DB) *gorm.DB {
				return db.Where("c = ? AND (a IN ? OR b IN ? OR b = ?)", 1, upTo(128), upTo(128), 200)
			},
			1, []grid{{A: 1, B: 1, C: 2}}, []grid{outside, inside, {A: -1, B: 200, C: 1}},
		},
		{
			"128 or 128 or one, with nothing in common", func(db *gorm.DB) *gorm.DB {
				return db.Where("a IN ? OR b IN ? OR c = ?", upTo(128), upTo(128), 1)
			},
			1, nil, []grid{{A: -1, B: -1, C: 2}, inside, outside},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			onEveryDatabase(t, options{models: []any{&grid{}}}, func(t *testing.T, f *fixture) {
				list := func() {
					t.Helper()
					var got, want []grid
					require.NoError(t, c.where(f.db).Order("id").Find(&got).Error)
					require.NoError(t, c.where(f.plain).Order("id").Find(&want).Error)
					require.Equal(t, want, got)
				}
				x, err := cacheplugin.Explain(c.where(f.db.Model(&grid{})))
				require.NoError(t, err)
				require.Len(t, x.Dependencies[0].Conjunctions, c.conjunctions)
				f.cached(t, list)
				for _, row := range c.spared {
					require.NoError(t, f.db.Create(&row).Error)
					f.hits(t, list, fmt.Sprint(row))
				}
				for _, row := range c.dropping {
					require.NoError(t, f.db.Create(&row).Error)
					f.cached(t, list, fmt.Sprint(row))
					require.NoError(t, f.db.Delete(&row).Error)
					f.cached(t, list, fmt.Sprint(row))
				}
			})
		})
	}
}

func TestMaxInValuesCanBeRaised(t *testing.T) {
	o := options{models: []any{&grid{}}, config: cacheplugin.Config{MaxInValues: 300}}
	onEveryDatabase(t, o, func(t *testing.T, f *fixture) {
		for n, conjunctions := range map[int]int{300: 300, 301: 1} {
			x, err := cacheplugin.Explain(f.db.Model(&grid{}).Where("a IN ?", upTo(n)))
			require.NoError(t, err)
			require.Len(t, x.Dependencies[0].Conjunctions, conjunctions)
		}
		list := func() { require.NoError(t, f.db.Where("a IN ?", upTo(300)).Find(&[]grid{}).Error) }
		f.cached(t, list)
		require.NoError(t, f.db.Create(&grid{A: 300}).Error)
		f.hits(t, list)
		require.NoError(t, f.db.Create(&grid{A: 299}).Error)
		f.misses(t, list)
	})
}
