package reads

import (
	"context"
	"database/sql"
	"errors"
	"testing"

	"github.com/stretchr/testify/require"
	"gorm.io/gorm"

	"github.com/cacheplugin/cacheplugin"
	"github.com/cacheplugin/cacheplugin/cache"
	"github.com/cacheplugin/cacheplugin/integration/internal/fixture"
	"github.com/cacheplugin/cacheplugin/internal/testenv"
)

// Page and Note are what the trials write.
type Page struct {
	ID    uint
	Tag   int
	Views int
	Notes []Note
}

type Note struct {
	ID     uint
	PageID uint
	Text   string
}

// ofTag is a query that a change of a page's tag drops, and none of its views.
func ofTag(db *gorm.DB, tag int) *gorm.DB {
	return db.Model(&Page{}).Select("id").Where("tag = ?", tag)
}

func onPages(t *testing.T, o fixture.Options, test func(t *testing.T, f *fixture.Fixture)) {
	o.Models = []any{&Page{}, &Note{}}
	fixture.OnEveryDatabase(t, o, func(t *testing.T, f *fixture.Fixture) {
		require.NoError(t, f.Plain.Create(&[]Page{{Tag: 1}, {Tag: 2}, {Tag: 3, Notes: []Note{{Text: "x"}}}}).Error)
		test(t, f)
	})
}

// readTags caches the queries of both tags, and returns their keys.
func readTags(t *testing.T, f *fixture.Fixture) (keys [2]string) {
	t.Helper()
	for i := range keys {
		var ids []uint
		f.Cached(t, func() { require.NoError(t, ofTag(f.DB, i+1).Find(&ids).Error) })
		x, err := cacheplugin.Explain(ofTag(f.DB, i+1))
		require.NoError(t, err)
		keys[i] = x.Key
	}
	return keys
}

func explain(t *testing.T, db *gorm.DB, fn func(tx *gorm.DB) error) []cacheplugin.Explanation {
	t.Helper()
	list, err := cacheplugin.ExplainFunc(db, fn)
	require.NoError(t, err)
	return list
}

func TestExplainFuncTellsWhatAWriteWouldDrop(t *testing.T) {
	onPages(t, fixture.Options{}, func(t *testing.T, f *fixture.Fixture) {
		keys := readTags(t, f)
		for _, write := range []struct {
			name string
			run  func(tx *gorm.DB) error
			keys []string
		}{
			{"an update of a column that is used", func(tx *gorm.DB) error { return tx.Model(&Page{ID: 1}).Update("tag", 7).Error }, keys[:1]},
			{"to a value that is asked for", func(tx *gorm.DB) error { return tx.Model(&Page{ID: 1}).Update("tag", 2).Error }, keys[:]},
			{"an update of no column that is used", func(tx *gorm.DB) error { return tx.Model(&Page{ID: 1}).Update("views", 7).Error }, nil},
			{"a creation", func(tx *gorm.DB) error { return tx.Create(&Page{Tag: 2}).Error }, keys[1:]},
			{"a deletion", func(tx *gorm.DB) error { return tx.Delete(&Page{}, "id = ?", 1).Error }, keys[:1]},
			{"raw SQL", func(tx *gorm.DB) error { return tx.Exec("DELETE FROM pages WHERE id = ?", 2).Error }, keys[1:]},
		} {
			t.Run(write.name, func(t *testing.T) {
				list := explain(t, f.DB, write.run)
				require.Len(t, list, 1)
				x := list[0]
				require.True(t, x.Writes)
				require.False(t, x.Cached)
				require.Len(t, x.Drops, 1)
				require.ElementsMatch(t, write.keys, x.Drops[0].Keys)
				require.Equal(t, len(write.keys) > 0, x.Drops[0].Cached)
				require.False(t, x.Drops[0].Whole)
				require.Contains(t, x.Drops[0].Table, "pages")
				require.Positive(t, x.Drops[0].Rows)
				if len(write.keys) > 0 {
					require.Contains(t, x.String(), "drops results of "+x.Drops[0].Table)
				} else {
					require.Contains(t, x.String(), "drops nothing of "+x.Drops[0].Table)
				}
			})
		}
		// All of it was undone, and dropped nothing.
		for i := range keys {
			var ids []uint
			f.Hits(t, func() { require.NoError(t, ofTag(f.DB, i+1).Find(&ids).Error) })
			require.Equal(t, []uint{uint(i + 1)}, ids)
		}
		var count int64
		require.NoError(t, f.Plain.Model(&Page{}).Count(&count).Error)
		require.EqualValues(t, 3, count)
	})
}

func TestExplainFuncExplainsEachStatementAlone(t *testing.T) {
	onPages(t, fixture.Options{}, func(t *testing.T, f *fixture.Fixture) {
		keys := readTags(t, f)
		f.Events.Take()
		list := explain(t, f.DB, func(tx *gorm.DB) error {
			var pages []Page
			var ids []uint
			var count int64
			return errors.Join(
				tx.Preload("Notes").Find(&pages).Error,
				tx.Model(&Page{}).Where("id = ?", 1).Update("tag", 2).Error,
				ofTag(tx, 2).Order("id").Find(&ids).Error,
				tx.Model(&Note{}).Count(&count).Error,
				tx.Scopes(cache.NoCache()).Find(&pages).Error,
				tx.Transaction(func(tx *gorm.DB) error { return tx.Create(&Note{PageID: 1}).Error }),
				func() error {
					if len(ids) != 2 || count != 1 {
						return errors.New("what the function has written is not there")
					}
					return nil
				}(),
			)
		})
		require.Len(t, list, 7)
		for _, at := range []int{0, 1, 3, 4} {
			require.True(t, list[at].Cached, list[at].Reason)
			require.NotEmpty(t, list[at].Key)
			require.NotEmpty(t, list[at].Dependencies)
		}
		require.Equal(t, cache.Count, list[4].Op)
		require.True(t, list[2].Writes)
		require.ElementsMatch(t, keys[:], list[2].Drops[0].Keys)
		require.Equal(t, "NoCache", list[5].Reason)
		require.True(t, list[6].Writes)
		require.Contains(t, list[6].Drops[0].Table, "notes")
		require.False(t, list[6].Drops[0].Cached)
		require.Empty(t, f.Events.Take(), "nothing is counted of it")

		x, err := cacheplugin.Explain(ofTag(f.DB, 2).Order("id"))
		require.NoError(t, err)
		require.Equal(t, x.Key, list[3].Key, "the same as outside")
	})
}

func TestExplainFuncSaysWhyAllOfATableWouldGo(t *testing.T) {
	onPages(t, fixture.Options{Config: cacheplugin.Config{MaxImages: 1}}, func(t *testing.T, f *fixture.Fixture) {
		all := func(tx *gorm.DB) error { return tx.Model(&Page{}).Where("id > ?", 0).Update("tag", 5).Error }
		require.False(t, explain(t, f.DB, all)[0].Drops[0].Cached, "nothing is")
		readTags(t, f)
		d := explain(t, f.DB, all)[0].Drops[0]
		require.True(t, d.Whole)
		require.NotEmpty(t, d.Why)
		require.True(t, d.Cached)
		ignored := explain(t, f.DB.WithContext(cache.WithoutInvalidation(context.Background())), all)[0]
		require.True(t, ignored.Writes)
		require.Empty(t, ignored.Drops)
		require.Contains(t, ignored.String(), "drops nothing")
	})
}

func TestExplainFuncInATransaction(t *testing.T) {
	onPages(t, fixture.Options{}, func(t *testing.T, f *fixture.Fixture) {
		keys := readTags(t, f)
		require.NoError(t, f.DB.Transaction(func(tx *gorm.DB) error {
			list := explain(t, tx, func(tx *gorm.DB) error {
				var ids []uint
				return errors.Join(tx.Delete(&Page{}, 1).Error, ofTag(tx, 2).Find(&ids).Error)
			})
			require.Equal(t, keys[:1], list[0].Drops[0].Keys)
			require.Equal(t, "the transaction has written", list[1].Reason, "as a part of it")
			return tx.Create(&Page{Tag: 3}).Error
		}))
		var ids []uint
		require.NoError(t, f.DB.Model(&Page{}).Order("id").Pluck("id", &ids).Error)
		require.Len(t, ids, 4, "the trial is undone, and what came after it is not")
	})
}

func TestExplainFuncRefusesWhatCantBeUndone(t *testing.T) {
	onPages(t, fixture.Options{}, func(t *testing.T, f *fixture.Fixture) {
		exec := func(text string) error {
			_, err := cacheplugin.ExplainFunc(f.DB, func(tx *gorm.DB) error { return tx.Exec(text).Error })
			return err
		}
		require.ErrorContains(t, exec("COMMIT"), "could not be undone: leave it out")
		require.ErrorContains(t, exec("ROLLBACK"), "could not be undone: leave it out")
		err := exec("ALTER TABLE pages ADD COLUMN more INTEGER")
		if f.Env.Name == testenv.MariaDB {
			require.ErrorContains(t, err, "could not be undone: leave it out")
		} else {
			require.NoError(t, err)
		}
		require.False(t, f.Plain.Migrator().HasColumn(&Page{}, "more"))

		failure := errors.New("failed")
		list, err := cacheplugin.ExplainFunc(f.DB, func(tx *gorm.DB) error {
			return errors.Join(tx.Delete(&Page{}, 1).Error, failure)
		})
		require.ErrorIs(t, err, failure)
		require.Len(t, list, 1)
		_, err = cacheplugin.ExplainFunc(f.DB, func(tx *gorm.DB) error { return tx.Commit().Error })
		require.ErrorIs(t, err, sql.ErrTxDone)
		require.ErrorContains(t, err, "leave out Commit and Rollback")
		inside := f.DB.Session(&gorm.Session{DisableNestedTransaction: true}).Begin()
		_, err = cacheplugin.ExplainFunc(inside, nil)
		require.ErrorContains(t, err, "DisableNestedTransaction")
		require.NoError(t, inside.Rollback().Error)
		require.Panics(t, func() {
			_, _ = cacheplugin.ExplainFunc(f.DB, func(tx *gorm.DB) error { panic(tx.Delete(&Page{}, 1).Error) })
		})
		require.NoError(t, f.Plain.First(&Page{}, 1).Error, "undone all the same")

		_, err = cacheplugin.Explain(f.DB.Model(&Page{ID: 1}).Update("views", 1))
		require.ErrorContains(t, err, "let ExplainFunc make it")
		_, err = cacheplugin.Explain(f.DB.Create(&Page{}))
		require.ErrorContains(t, err, "let ExplainFunc make it")
		x, err := cacheplugin.Explain(f.DB.Raw("DELETE FROM pages"))
		require.NoError(t, err)
		require.Contains(t, x.String(), "let ExplainFunc run it")
	})
}

func TestExplainFuncInModeInsideOut(t *testing.T) {
	onPages(t, fixture.Options{Config: cacheplugin.Config{Mode: cacheplugin.InsideOut}}, func(t *testing.T, f *fixture.Fixture) {
		readTags(t, f)
		drops := func(column string) bool {
			return explain(t, f.DB, func(tx *gorm.DB) error { return tx.Model(&Page{ID: 1}).Update(column, 7).Error })[0].Drops[0].Cached
		}
		require.True(t, drops("tag"))
		require.False(t, drops("views"))
	})
}
