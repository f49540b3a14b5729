package transactions

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"gorm.io/gorm"
	"gorm.io/gorm/clause"

	"github.com/cacheplugin/cacheplugin"
	"github.com/cacheplugin/cacheplugin/cache"
	"github.com/cacheplugin/cacheplugin/integration/internal/fixture"
)

// article has columns of the kinds that pages show, count and order by.
type article struct {
	ID     int64
	Status string `gorm:"size:20"`
	Title  string `gorm:"size:50"`
	Author int64
	Total  int64
	Views  int64
}

func articles() []article {
	return []article{
		{ID: 1, Status: "published", Title: "a", Author: 7, Total: 10, Views: 3},
		{ID: 2, Status: "published", Title: "b", Author: 8, Total: 20, Views: 2},
		{ID: 3, Status: "draft", Title: "c", Author: 7, Total: 30, Views: 1},
	}
}

// articleWrites change the first article.
var articleWrites = map[string]func(db *gorm.DB) error{
	"views": func(db *gorm.DB) error {
		return db.Model(&article{ID: 1}).UpdateColumn("views", gorm.Expr("views + 1")).Error
	},
	"views of all": func(db *gorm.DB) error { return db.Exec("UPDATE articles SET views = views + 1").Error },
	"views, saved as a whole": func(db *gorm.DB) error {
		var a article
		if err := db.Scopes(cache.NoCache()).First(&a, 1).Error; err != nil {
			return err
		}
		a.Views++
		return db.Save(&a).Error
	},
	"views, in a transaction": func(db *gorm.DB) error {
		return db.Transaction(func(tx *gorm.DB) error {
			return tx.Model(&article{}).Where("author = ?", 7).Updates(map[string]any{"views": 100}).Error
		})
	},
	"views, by an upsert": func(db *gorm.DB) error {
		return db.Clauses(clause.OnConflict{Columns: []clause.Column{{Name: "id"}}, DoUpdates: clause.AssignmentColumns([]string{"views"})}).
			Create(&article{ID: 1, Views: 50}).Error
	},
	"nothing": func(db *gorm.DB) error {
		return db.Model(&article{ID: 1}).Updates(map[string]any{"author": 7, "total": 10}).Error
	},
	"total": func(db *gorm.DB) error {
		return db.Model(&article{ID: 1}).Update("total", gorm.Expr("total + 1")).Error
	},
	"title": func(db *gorm.DB) error {
		return db.Model(&article{ID: 1}).Update("title", gorm.Expr("upper(title)")).Error
	},
	"author":   func(db *gorm.DB) error { return db.Model(&article{ID: 1}).Update("author", 9).Error },
	"status":   func(db *gorm.DB) error { return db.Model(&article{ID: 1}).Update("status", "hidden").Error },
	"deletion": func(db *gorm.DB) error { return db.Delete(&article{ID: 1}).Error },
	"creation": func(db *gorm.DB) error { return db.Create(&article{ID: 4, Status: "published", Author: 7}).Error },
}

// TestUpdatesLeaveResultsThatUseOtherColumns: an update drops the results that use
// a column which it changes, and no others.
func TestUpdatesLeaveResultsThatUseOtherColumns(t *testing.T) {
	type pair struct {
		Status string
		N      int64
	}
	views := []string{"views", "views of all", "views, saved as a whole", "views, in a transaction"}
	for _, q := range []struct {
		name string
		read func(db *gorm.DB) error
		kept []string // any other write drops it
	}{
		{"a count by status", func(db *gorm.DB) error {
			return db.Model(&article{}).Where("status = ?", "published").Count(new(int64)).Error
		}, append([]string{"nothing", "total", "title", "author", "views, by an upsert"}, views...)},
		{"a list of titles", func(db *gorm.DB) error {
			return db.Select("id", "title").Where("author = ?", 7).Order("id").Find(&[]article{}).Error
		}, append([]string{"nothing", "total", "status", "views, by an upsert"}, views...)},
		{"groups by status", func(db *gorm.DB) error {
			return db.Model(&article{}).Select("status, count(*) AS n").Group("status").Order("status").Find(&[]pair{}).Error
		}, append([]string{"nothing", "total", "title", "author"}, views...)}, // an upsert may have made a row
		{"sums by status", func(db *gorm.DB) error {
			return db.Model(&article{}).Select("status, sum(total) AS n").Group("status").Order("status").Find(&[]pair{}).Error
		}, append([]string{"title", "author"}, views...)},
		{"titles in an order", func(db *gorm.DB) error {
			return db.Model(&article{}).Order("total DESC, id").Limit(2).Pluck("title", &[]string{}).Error
		}, append([]string{"author", "status"}, views...)},
		{"all columns", func(db *gorm.DB) error { return db.Where("author = ?", 7).Find(&[]article{}).Error }, []string{"nothing"}},
		{"all but some columns", func(db *gorm.DB) error {
			return db.Omit("views", "total").Where("author = ?", 7).Find(&[]article{}).Error
		},
			append([]string{"nothing", "total", "views, by an upsert"}, views...)},
		{"whether there is one", func(db *gorm.DB) error {
			return db.Model(&article{}).Select("1").Where("author = ? AND status = ?", 7, "published").Limit(1).Find(new(int)).Error
		}, append([]string{"nothing", "total", "title", "views, by an upsert"}, views...)},
	} {
		t.Run(q.name, func(t *testing.T) {
			for _, mode := range []cacheplugin.Mode{cacheplugin.ConjunctionSets, cacheplugin.InsideOut} {
				o := fixture.Options{Models: []any{&article{}}}
				o.Config.Mode = mode
				fixture.OnEveryDatabase(t, o, func(t *testing.T, f *fixture.Fixture) {
					read := func() { require.NoError(t, q.read(f.DB)) }
					for name, write := range articleWrites {
						require.NoError(t, f.DB.Where("1 = 1").Delete(&article{}).Error)
						require.NoError(t, f.DB.Create(articles()).Error)
						f.Cached(t, read)
						require.NoError(t, write(f.DB), name)
						switch {
						case slices.Contains(q.kept, name):
							f.Hits(t, read, name)
						case name == "nothing": // known where the row is read for another reason
						default:
							f.Misses(t, read, name)
						}
					}
				})
			}
		})
	}
}

// TestAnUpdateOfColumnsThatNobodyUsesReadsNothing: no row is read or locked before
// it, in or outside of a transaction, and no result is dropped.
func TestAnUpdateOfColumnsThatNobodyUsesReadsNothing(t *testing.T) {
	for _, skip := range []bool{false, true} {
		o := fixture.Options{Models: []any{&article{}}}
		o.Gorm.SkipDefaultTransaction = skip
		fixture.OnEveryDatabase(t, o, func(t *testing.T, f *fixture.Fixture) {
			require.NoError(t, f.DB.Create(articles()).Error)
			read := func() {
				require.NoError(t, f.DB.Select("id", "title").Where("author = ?", 7).Find(&[]article{}).Error)
			}
			f.Cached(t, read)
			require.NoError(t, f.DB.Model(&article{}).Where("total > ?", 5).UpdateColumn("views", gorm.Expr("views + 1")).Error)
			f.Hits(t, read)
		})
	}
}
