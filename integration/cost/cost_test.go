package cost

import (
	"crypto/rand"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"gorm.io/gorm"
	"gorm.io/gorm/clause"

	"github.com/cacheplugin/cacheplugin"
	"github.com/cacheplugin/cacheplugin/integration/internal/fixture"
	"github.com/cacheplugin/cacheplugin/integration/testdb"
	"github.com/cacheplugin/cacheplugin/internal/testenv"
)

type (
	ware struct {
		ID    uint
		Code  string `gorm:"size:50;uniqueIndex"`
		Shelf int
		Price int
		Text  string
	}
	// stocked has a column that the database fills.
	stocked struct {
		ID    uint
		Shelf int
		State string `gorm:"size:20;default:new"`
	}
	retired struct {
		ID        uint
		Shelf     int
		DeletedAt gorm.DeletedAt
	}
	crate struct {
		ID   uint
		Lots []lot `gorm:"constraint:-"`
	}
	lot struct {
		ID      uint
		CrateID *uint
		Shelf   int
	}
)

// cost is a form of write, and the statements that the plugin adds to it.
type cost struct {
	name  string
	notOn string                          // a database that doesn't have it
	write func(db *gorm.DB, n uint) error // n is a row that was not written yet
	// Extra statements with queries by id alone cached, and with queries by
	// shelf as well, on SQLite, PostgreSQL and MariaDB. On SQLite one of them
	// takes the write lock before rows are read.
	byID, byShelf [3]int
}

var costs = []cost{
	{name: "create a row", write: func(db *gorm.DB, n uint) error {
		return db.Create(&ware{Code: fmt.Sprint("new ", n), Shelf: 1}).Error
	}},
	{name: "create a row with its key", write: func(db *gorm.DB, n uint) error {
		return db.Create(&ware{ID: 1000 + n, Code: fmt.Sprint("key ", n), Shelf: 1}).Error
	}},
	{name: "create a batch", write: func(db *gorm.DB, n uint) error {
		return db.Create(&[]ware{{Code: fmt.Sprint("a ", n), Shelf: 1}, {Code: fmt.Sprint("b ", n), Shelf: 2}}).Error
	}, byID: [3]int{1, 0, 0}, byShelf: [3]int{1, 0, 0}},
	{name: "create with a default", write: func(db *gorm.DB, n uint) error { return db.Create(&stocked{Shelf: 1}).Error }},
	{name: "save a loaded model", write: func(db *gorm.DB, n uint) error {
		return db.Save(&ware{ID: n, Code: fmt.Sprint("code ", n), Shelf: 2}).Error
	}, byShelf: [3]int{2, 1, 1}},
	{name: "update another column by key", write: func(db *gorm.DB, n uint) error {
		return db.Model(&ware{ID: n}).Updates(map[string]any{"text": "x", "price": 7}).Error
	}, byShelf: [3]int{2, 1, 1}},
	{name: "update a column of a loaded model", write: func(db *gorm.DB, n uint) error {
		return db.Model(&ware{ID: n, Shelf: 3}).UpdateColumn("shelf", 4).Error
	}, byShelf: [3]int{2, 1, 1}},
	{name: "update by an expression", write: func(db *gorm.DB, n uint) error {
		return db.Model(&ware{ID: n}).Update("price", gorm.Expr("price + 1")).Error
	}, byShelf: [3]int{2, 1, 1}},
	{name: "update a narrowing column by an expression", write: func(db *gorm.DB, n uint) error {
		return db.Model(&ware{ID: n}).Update("shelf", gorm.Expr("shelf + 1")).Error
	}, byShelf: [3]int{3, 2, 2}},
	{name: "update by a condition", write: func(db *gorm.DB, n uint) error {
		return db.Model(&ware{}).Where("code = ?", fmt.Sprint("code ", n)).Update("price", 7).Error
	}, byID: [3]int{2, 1, 1}, byShelf: [3]int{2, 1, 1}},
	{name: "update a shelf", write: func(db *gorm.DB, n uint) error {
		return db.Model(&ware{}).Where("id = ? AND shelf = ?", n, 3).Update("price", 7).Error
	}},
	{name: "update returning", notOn: testenv.MariaDB, write: func(db *gorm.DB, n uint) error {
		return db.Model(&ware{ID: n}).Clauses(clause.Returning{}).Update("price", 7).Error
	}, byShelf: [3]int{2, 1, 0}},
	{name: "delete by key", write: func(db *gorm.DB, n uint) error { return db.Delete(&ware{ID: n}).Error }, byShelf: [3]int{2, 1, 1}},
	{name: "delete by a condition", write: func(db *gorm.DB, n uint) error {
		return db.Where("code = ?", fmt.Sprint("code ", n)).Delete(&ware{}).Error
	}, byID: [3]int{2, 1, 1}, byShelf: [3]int{2, 1, 1}},
	{name: "delete returning", write: func(db *gorm.DB, n uint) error {
		return db.Clauses(clause.Returning{}).Delete(&ware{ID: n}).Error
	}, byShelf: [3]int{2, 1, 1}},
	{name: "delete softly", write: func(db *gorm.DB, n uint) error { return db.Delete(&retired{ID: n}).Error }, byShelf: [3]int{2, 1, 1}},
	{name: "raw update by key", write: func(db *gorm.DB, n uint) error {
		return db.Exec("UPDATE wares SET price = 7 WHERE id = ?", n).Error
	}},
	{name: "upsert by key", write: func(db *gorm.DB, n uint) error {
		return db.Clauses(clause.OnConflict{UpdateAll: true}).Create(&ware{ID: n, Code: fmt.Sprint("code ", n), Shelf: 3}).Error
	}, byID: [3]int{0, 0, 3}, byShelf: [3]int{3, 2, 3}},
	{name: "insert or do nothing", write: func(db *gorm.DB, n uint) error {
		return db.Clauses(clause.OnConflict{DoNothing: true}).Create(&ware{ID: 1000 + n, Code: fmt.Sprint("nothing ", n), Shelf: 3}).Error
	}},
	{name: "append to an association", write: func(db *gorm.DB, n uint) error {
		return db.Model(&crate{ID: n}).Association("Lots").Append(&lot{Shelf: 1})
	}, byID: [3]int{1, 1, 2}, byShelf: [3]int{1, 1, 2}},
	{name: "replace an association", write: func(db *gorm.DB, n uint) error {
		return db.Model(&crate{ID: n}).Association("Lots").Replace(&lot{Shelf: 1})
	}, byID: [3]int{3, 2, 3}, byShelf: [3]int{3, 2, 3}},
}

var checksum = regexp.MustCompile("CRC32\\(`\\w+`\\)")

func TestWhatWritesCostTheDatabase(t *testing.T) {
	for i, name := range []string{testenv.SQLite, testenv.Postgres, testenv.MariaDB} {
		env := testdb.ByName(name)
		for _, shelves := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s/by shelf %v", name, shelves), func(t *testing.T) {
				o, sent := watched(t, fixture.Options{Models: []any{&ware{}, &stocked{}, &retired{}, &crate{}, &lot{}}})
				f := fixture.New(t, env, o)
				o, bare := watched(t, fixture.Options{})
				plain := env.Reopen(t, f.Plain, &o.Gorm)
				fillWares(t, f.Plain, uint(5*len(costs)+5))
				read := func() {
					for _, table := range []string{"wares", "stockeds", "retireds", "crates", "lots"} {
						var rows []map[string]any
						require.NoError(t, f.DB.Table(table).Where("id = ?", 1).Find(&rows).Error)
						if shelves && table != "crates" {
							require.NoError(t, f.DB.Table(table).Where("shelf = ?", 3).Find(&rows).Error)
						}
					}
				}
				read()
				for n, c := range costs {
					if c.notOn == name {
						continue
					}
					row := uint(5*n + 5)
					require.NoError(t, c.write(f.DB, row), c.name) // learns the schemes
					read()
					sent.take()
					require.NoError(t, c.write(f.DB, row+1), c.name)
					with := sent.take()
					bare.take()
					require.NoError(t, c.write(plain, row+2), c.name)
					without := bare.take()
					want := c.byID
					if shelves {
						want = c.byShelf
					}
					assert.Equal(t, want[i], len(with)-len(without), "%s:\n%s", c.name, strings.Join(with, "\n"))
					for _, text := range with {
						// No image has a text that no query narrows by, nor all columns.
						if !slices.Contains(without, text) && strings.HasPrefix(text, "SELECT") {
							list, _, _ := strings.Cut(text, " FROM ")
							list = checksum.ReplaceAllString(list, "") // a number
							assert.NotRegexp(t, `\*|["\x60](text|code|state)`, list, c.name)
						}
					}
				}
			})
		}
	}
}

// fillWares makes n rows in each table, by the keys from 1 on.
func fillWares(t testing.TB, db *gorm.DB, n uint) {
	t.Helper()
	var wares []ware
	var stock []stocked
	var old []retired
	var crates []crate
	var lots []lot
	for i := uint(1); i <= n; i++ {
		wares = append(wares, ware{Code: fmt.Sprint("code ", i), Shelf: 3})
		stock = append(stock, stocked{Shelf: 3})
		old = append(old, retired{Shelf: 3})
		crates = append(crates, crate{})
		lots = append(lots, lot{CrateID: new(i), Shelf: 3})
	}
	for _, rows := range []any{&wares, &stock, &old, &crates, &lots} {
		require.NoError(t, db.Create(rows).Error)
	}
}

// wares requires what the database says of a query for wares, and returns a read
// for hits and misses.
func wares(t testing.TB, f *fixture.Fixture, column string, value any) func() {
	return func() {
		t.Helper()
		var got, want []ware
		require.NoError(t, f.DB.Where(map[string]any{column: value}).Order("id").Find(&got).Error)
		require.NoError(t, f.Plain.Where(map[string]any{column: value}).Order("id").Find(&want).Error)
		require.Equal(t, want, got)
	}
}

func TestNewRowsDropWhatTheirKeysAndValuesSatisfyAndNoMore(t *testing.T) {
	fixture.OnEveryDatabase(t, fixture.Options{Models: []any{&ware{}}}, func(t *testing.T, f *fixture.Fixture) {
		require.NoError(t, f.Plain.Create(&ware{Code: "a", Shelf: 1}).Error)
		read := func(ids ...uint) (touched, others []func()) {
			for _, id := range ids {
				touched = append(touched, wares(t, f, "id", id))
			}
			return append(touched, wares(t, f, "shelf", 5), wares(t, f, "shelf", 6)), []func(){wares(t, f, "id", 1), wares(t, f, "shelf", 1)}
		}
		_, others := read()
		for _, r := range others {
			f.Misses(t, r)
		}
		next := uint(2)
		for name, write := range map[string]func() error{
			"one": func() error {
				if err := f.DB.Create(&ware{Code: fmt.Sprint("one", next), Shelf: 5}).Error; err != nil {
					return err
				}
				return f.DB.Create(&ware{Code: fmt.Sprint("two", next), Shelf: 6}).Error
			},
			"batch": func() error {
				return f.DB.Create(&[]ware{{Code: fmt.Sprint("one", next), Shelf: 5}, {Code: fmt.Sprint("two", next), Shelf: 6}}).Error
			},
			"map": func() error {
				if err := f.DB.Model(&ware{}).Create(map[string]any{"code": fmt.Sprint("one", next), "shelf": 5}).Error; err != nil {
					return err
				}
				return f.DB.Model(&ware{}).Create(map[string]any{"code": fmt.Sprint("two", next), "shelf": 6}).Error
			},
			"text": func() error {
				return f.DB.Exec("INSERT INTO wares (code, shelf, price, text) VALUES (?, 5, 0, ''), (?, 6, 0, '')", fmt.Sprint("one", next), fmt.Sprint("two", next)).Error
			},
		} {
			for range 2 {
				touched, others := read(next, next+1)
				for _, r := range touched {
					f.Misses(t, r, name)
					f.Hits(t, r, name)
				}
				require.NoError(t, write())
				next += 2
				whole := name == "map" || name == "text" // of these nobody says which keys they got
				for _, r := range touched {
					require.Equal(t, "miss", f.Outcome(r), name)
				}
				for _, r := range others {
					if outcome := f.Outcome(r); !whole {
						require.Equal(t, "hit", outcome, name)
					}
				}
				require.NoError(t, cacheplugin.InvalidateModel(f.DB, &ware{}))
				for _, r := range others {
					f.Misses(t, r)
				}
			}
		}
	})
}

// A table that nobody caches queries of is not asked for images, once a write has
// been told so.
func TestWritesOfWhatNobodyCachesCostTheDatabaseNothing(t *testing.T) {
	for _, name := range []string{testenv.SQLite, testenv.Postgres, testenv.MariaDB} {
		env := testdb.ByName(name)
		t.Run(name, func(t *testing.T) {
			o, sent := watched(t, fixture.Options{Models: []any{&ware{}, &stocked{}, &retired{}, &crate{}, &lot{}}})
			f := fixture.New(t, env, o)
			o, bare := watched(t, fixture.Options{})
			plain := env.Reopen(t, f.Plain, &o.Gorm)
			fillWares(t, f.Plain, uint(5*len(costs)+5))
			for n, c := range costs {
				if c.notOn == name {
					continue
				}
				row := uint(5*n + 5)
				require.NoError(t, c.write(f.DB, row), c.name)
				sent.take()
				require.NoError(t, c.write(f.DB, row+1), c.name)
				with := sent.take()
				bare.take()
				require.NoError(t, c.write(plain, row+2), c.name)
				assert.Len(t, with, len(bare.take()), "%s:\n%s", c.name, strings.Join(with, "\n"))
			}
		})
	}
}

// What a write was told of the schemes is a hint: another process may have cached
// the first query since.
func TestAWriteThatKnowsOfNoQueriesDropsThoseOfOthers(t *testing.T) {
	for _, env := range testdb.Databases(t) {
		if env.Name == testenv.SQLite {
			continue // one process alone caches it
		}
		t.Run(env.Name, func(t *testing.T) {
			f := fixture.New(t, env, fixture.Options{Models: []any{&ware{}, &stocked{}, &retired{}, &crate{}, &lot{}}})
			fillWares(t, f.Plain, uint(5*len(costs)+5))
			for n, c := range costs {
				if c.notOn == env.Name {
					continue
				}
				f.Config.Prefix = "test-" + rand.Text() // where nobody has cached anything
				writer, other := fixture.NewSibling(t, f, gorm.Config{}), fixture.NewSibling(t, f, gorm.Config{})
				row := uint(5*n + 5)
				require.NoError(t, c.write(writer.DB, row), c.name) // learns that there are no queries
				all := func(db *gorm.DB) (rows []map[string]any) {
					for _, table := range []string{"wares", "stockeds", "retireds", "lots"} {
						for _, where := range []string{"id = ?", "shelf = ?", "shelf <> ?"} {
							for _, value := range []any{3, 4, row, row + 1} {
								var some []map[string]any
								require.NoError(t, db.Table(table).Where(where, value).Order("id").Find(&some).Error)
								rows = append(rows, some...)
							}
						}
					}
					return rows
				}
				all(other.DB)
				require.NoError(t, c.write(writer.DB, row+1), c.name)
				require.Equal(t, all(f.Plain), all(other.DB), c.name)
			}
		})
	}
}

func TestAnUpsertDropsWhatASchemeThatItDoesNotKnowAsksFor(t *testing.T) {
	for _, env := range testdb.Databases(t) {
		if env.Name == testenv.SQLite {
			continue // one process alone caches it
		}
		t.Run(env.Name, func(t *testing.T) {
			f := fixture.New(t, env, fixture.Options{Models: []any{&ware{}}})
			other := fixture.NewSibling(t, f, gorm.Config{})
			require.NoError(t, f.Plain.Create(&[]ware{{Code: "a", Shelf: 1}, {Code: "b", Shelf: 1}}).Error)
			f.Cached(t, wares(t, f, "id", 1))
			upsert := func(text string, shelf int) {
				require.NoError(t, f.DB.Clauses(clause.OnConflict{UpdateAll: true}).Create(&ware{ID: 1, Code: "a", Shelf: shelf, Text: text}).Error)
			}
			upsert("x", 1) // learns of the key alone
			f.Cached(t, wares(t, f, "id", 1))
			f.Cached(t, wares(t, f, "id", 2))
			other.Cached(t, wares(t, other, "shelf", 1))
			other.Cached(t, wares(t, other, "shelf", 2))
			upsert("y", 2)
			f.Misses(t, wares(t, f, "id", 1))
			other.Misses(t, wares(t, other, "shelf", 1))
			other.Misses(t, wares(t, other, "shelf", 2))
		})
	}
}

func TestAnUpsertByItsTargetLeavesOtherRowsInTheCache(t *testing.T) {
	for _, env := range testdb.Databases(t) {
		if env.Dialect == "mysql" {
			continue // where the conflict may be with any row
		}
		for _, begun := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s/transaction %v", env.Name, begun), func(t *testing.T) {
				f := fixture.New(t, env, fixture.Options{Models: []any{&ware{}}, Gorm: gorm.Config{SkipDefaultTransaction: !begun}})
				require.NoError(t, f.Plain.Create(&[]ware{{Code: "a", Shelf: 1}, {Code: "b", Shelf: 1}}).Error)
				f.Cached(t, wares(t, f, "id", 1))
				require.NoError(t, f.DB.Delete(&ware{ID: 99}).Error) // learns of the key
				for _, id := range []uint{1, 2, 77} {
					f.Outcome(wares(t, f, "id", id))
					f.Hits(t, wares(t, f, "id", id))
				}
				for _, id := range []uint{1, 77} {
					require.NoError(t, f.DB.Clauses(clause.OnConflict{UpdateAll: true}).Create(&ware{ID: id, Code: fmt.Sprint("new ", id), Shelf: 2}).Error)
					f.Misses(t, wares(t, f, "id", id))
					f.Hits(t, wares(t, f, "id", 2))
				}
			})
		}
	}
}

func TestWritesOutsideOfATransactionDropWhatTheirTextTells(t *testing.T) {
	o := fixture.Options{Models: []any{&ware{}}, Gorm: gorm.Config{SkipDefaultTransaction: true}}
	fixture.OnEveryDatabase(t, o, func(t *testing.T, f *fixture.Fixture) {
		require.NoError(t, f.Plain.Create(&[]ware{{Code: "a", Shelf: 3}, {Code: "b", Shelf: 3}, {Code: "c", Shelf: 3}}).Error)
		one, two := wares(t, f, "id", 1), wares(t, f, "id", 2)
		f.Cached(t, one)
		f.Cached(t, two)
		require.NoError(t, f.DB.Model(&ware{}).Where("id = ?", 1).Update("price", 5).Error)
		f.Misses(t, one)
		f.Hits(t, one)
		f.Hits(t, two)
		require.NoError(t, f.DB.Where("id = ?", 1).Delete(&ware{}).Error)
		f.Misses(t, one)
		f.Hits(t, two)

		for _, shelf := range []int{3, 4} {
			f.Cached(t, wares(t, f, "shelf", shelf))
		}
		require.NoError(t, f.DB.Model(&ware{}).Where("id = ?", 2).Update("shelf", 4).Error)
		f.Misses(t, wares(t, f, "shelf", 3), "what the row was isn't told")
		f.Misses(t, wares(t, f, "shelf", 4))
		require.NoError(t, f.DB.Model(&ware{}).Where("id IN ?", []int{2, 3}).Update("shelf", gorm.Expr("shelf + 1")).Error)
		f.Misses(t, two)
		f.Misses(t, wares(t, f, "shelf", 4))
	})
}
