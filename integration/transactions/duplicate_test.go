package transactions

import (
	"context"
	"database/sql"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"gorm.io/gorm"
	"gorm.io/gorm/clause"

	"github.com/cacheplugin/cacheplugin"
	"github.com/cacheplugin/cacheplugin/integration/internal/fixture"
	"github.com/cacheplugin/cacheplugin/integration/testdb"
	"github.com/cacheplugin/cacheplugin/internal/testenv"
)

// These tests are about rows that an INSERT meets in unique indexes. MySQL has
// no target of a conflict: any of its indexes may be met.

// badge has keys that the program chooses.
type badge struct {
	Code    string `gorm:"primaryKey;size:20"`
	Serial  string `gorm:"size:20;uniqueIndex"`
	ShelfID int
	Worn    int
}

func newBadges(t *testing.T, f *fixture.Fixture) (on func(shelf int) string) {
	t.Helper()
	require.NoError(t, f.Plain.Create(&[]badge{{"a", "s1", 1, 0}, {"b", "s2", 2, 0}, {"c", "s3", 3, 0}}).Error)
	on = func(shelf int) string {
		t.Helper()
		var got, want []badge
		outcome := f.Outcome(func() { require.NoError(t, f.DB.Where("shelf_id = ?", shelf).Order("code").Find(&got).Error) })
		require.NoError(t, f.Plain.Where("shelf_id = ?", shelf).Order("code").Find(&want).Error)
		require.Equal(t, want, got, "shelf %d is stale (%s)", shelf, outcome)
		return outcome
	}
	for n := 1; n <= 3; n++ {
		on(n)
	}
	f.Cached(t, func() { require.NoError(t, f.DB.First(&badge{}, "code = ?", "a").Error) })
	require.NoError(t, f.DB.Delete(&badge{}, "code = ?", "none").Error) // learns what is cached
	for n := 1; n <= 3; n++ {
		on(n)
		require.Equal(t, "hit", on(n))
	}
	return on
}

func TestAssociationsDropOnlyWhatTheySave(t *testing.T) {
	fixture.OnEveryDatabase(t, fixture.Options{Models: []any{&shelf{}, &volume{}}}, func(t *testing.T, f *fixture.Fixture) {
		u := newUpserting(t, f)
		full := func(db *gorm.DB) *gorm.DB { return db.Session(&gorm.Session{FullSaveAssociations: true}) }
		u.after(true, func(db *gorm.DB) error { // rows that are there, and one that is not
			return full(db).Save(&shelf{ID: 1, Books: []volume{{ID: 11, Code: "a", Copies: 5}, {Code: "n"}}}).Error
		}, 1)
		u.after(true, func(db *gorm.DB) error { // as they are
			return full(db).Save(&shelf{ID: 1, Books: []volume{{ID: 11, ShelfID: 1, Code: "a", Copies: 5}}}).Error
		}, unchanged(f, 1)...)
		u.after(true, func(db *gorm.DB) error { // from another shelf
			return full(db).Save(&shelf{ID: 3, Books: []volume{{ID: 12, Code: "b"}}}).Error
		}, 2, 3)
		u.after(true, func(db *gorm.DB) error { // saved along, where they are not there yet
			return db.Create(&shelf{ID: 4, Books: []volume{{ID: 13, Code: "c"}, {Code: "m"}}}).Error
		}, 3)
	})
}

// unchanged is the shelves that are dropped by a row that stays as it was: MySQL
// says that it does.
func unchanged(f *fixture.Fixture, shelf int) []int {
	if f.Env.Dialect == "mysql" {
		return nil
	}
	return []int{shelf}
}

func TestDoNothingDropsWhatNewRowsSatisfy(t *testing.T) {
	fixture.OnEveryDatabase(t, fixture.Options{Models: []any{&shelf{}, &volume{}}}, func(t *testing.T, f *fixture.Fixture) {
		u := newUpserting(t, f)
		nothing := clause.OnConflict{DoNothing: true}
		u.after(true, func(db *gorm.DB) error {
			return db.Clauses(nothing).Create(&volume{ID: 11, ShelfID: 3, Code: "a"}).Error
		})
		if f.Env.Dialect == "mysql" { // elsewhere all that were sent count
			u.after(true, func(db *gorm.DB) error {
				return db.Clauses(nothing).Create(&[]volume{{ID: 11, ShelfID: 3, Code: "a"}, {ID: 90, ShelfID: 1, Code: "z"}}).Error
			}, 1)
		}
		u.after(true, func(db *gorm.DB) error {
			return db.Clauses(nothing).Create(&volume{ID: 51, ShelfID: 3, Code: "x"}).Error
		}, 3)
		u.after(true, func(db *gorm.DB) error {
			return db.Clauses(nothing).Create(&volume{ShelfID: 2, Code: "y"}).Error
		}, 2)
		u.after(true, func(db *gorm.DB) error {
			return db.Session(&gorm.Session{SkipDefaultTransaction: true}).Clauses(nothing).Create(&volume{ShelfID: 2, Code: "w"}).Error
		}, 2)
	})
}

func TestUpsertsByKeysThatTheProgramChooses(t *testing.T) {
	fixture.OnEveryDatabase(t, fixture.Options{Models: []any{&badge{}}}, func(t *testing.T, f *fixture.Fixture) {
		on := newBadges(t, f)
		mysql := f.Env.Dialect == "mysql"
		all := clause.OnConflict{Columns: []clause.Column{{Name: "code"}}, UpdateAll: true}
		by := func(column string) clause.OnConflict {
			return clause.OnConflict{Columns: []clause.Column{{Name: column}}, DoUpdates: clause.AssignmentColumns([]string{"shelf_id"})}
		}
		for _, step := range []struct {
			name    string
			level   sql.IsolationLevel
			on      clause.OnConflict
			rows    []badge
			coarse  bool // the table is dropped
			dropped []int
		}{
			{"a new row", 0, all, []badge{{"d", "s4", 1, 0}}, false, []int{1}},
			{"new rows", 0, all, []badge{{"e", "s5", 1, 0}, {"f", "s6", 3, 0}}, false, []int{1, 3}},
			{"a row that is there", 0, all, []badge{{"d", "s4", 2, 0}}, mysql, []int{1, 2}},
			{"one that is there, and one that is not", 0, all, []badge{{"d", "s4", 3, 0}, {"g", "s7", 3, 0}}, mysql, []int{2, 3}},
			{"by another index", 0, by("serial"), []badge{{"none", "s4", 1, 0}}, mysql, []int{1, 3}},
			{"do nothing", 0, clause.OnConflict{DoNothing: true}, []badge{{"d", "s4", 3, 0}}, false, nil},
		} {
			if f.Env.Name == testenv.Postgres || mysql { // SQLite knows no levels
				step.level = sql.LevelRepeatableRead
			}
			save := func() {
				t.Helper()
				require.NoError(t, f.DB.Transaction(func(tx *gorm.DB) error { return tx.Clauses(step.on).Create(&step.rows).Error }, &sql.TxOptions{Isolation: step.level}))
				for n := 1; n <= 3; n++ {
					got := on(n)
					if step.coarse {
						continue
					}
					want := "hit"
					for _, d := range step.dropped {
						if d == n {
							want = "miss"
						}
					}
					require.Equal(t, want, got, "%s, %v: shelf %d", step.name, step.level, n)
				}
			}
			before := f.Plain.Begin()
			var rows []badge
			require.NoError(t, before.Order("code").Find(&rows).Error)
			require.NoError(t, before.Rollback().Error)
			save()
			if !mysql {
				continue
			}
			// Once more at READ COMMITTED, where no gap is locked.
			require.NoError(t, f.Plain.Where("1 = 1").Delete(&badge{}).Error)
			require.NoError(t, f.Plain.Create(&rows).Error)
			require.NoError(t, f.DB.Where("1 = 1").Delete(&badge{}).Error)
			require.NoError(t, f.DB.Create(&rows).Error)
			for n := 1; n <= 3; n++ {
				on(n)
				require.Equal(t, "hit", on(n))
			}
			step.level, step.coarse = sql.LevelReadCommitted, false
			save()
		}
	})
}

// TestUpsertOnMariaDBOfARowThatCameInBetween: the row is not there when the
// plugin looks, and is when the statement is sent.
func TestUpsertOnMariaDBOfARowThatCameInBetween(t *testing.T) {
	env := testdb.Need(t, testenv.MariaDB)
	for _, level := range []sql.IsolationLevel{sql.LevelReadCommitted, sql.LevelRepeatableRead} {
		t.Run(level.String(), func(t *testing.T) {
			f := fixture.New(t, env, fixture.Options{Models: []any{&badge{}}})
			on := newBadges(t, f)
			other := f.Plain.Begin()
			require.NoError(t, other.Create(&badge{"x", "s9", 2, 0}).Error)

			done := make(chan error, 1) // nobody receives if the test has failed
			tx := f.DB.Begin(&sql.TxOptions{Isolation: level})
			require.NoError(t, tx.Error)
			go func() {
				rows := []badge{{"x", "s9", 1, 0}, {"y", "s10", 3, 0}}
				done <- tx.Clauses(clause.OnConflict{UpdateAll: true}).Create(&rows).Error
			}()
			waits(t, f.Plain, "`badges`")
			require.NoError(t, other.Commit().Error)
			require.NoError(t, <-done)
			// The other writer has told of its row, which is cached by now.
			require.NoError(t, cacheplugin.InvalidateModel(f.DB, &badge{}))
			require.Equal(t, "miss", on(2))
			require.Equal(t, "hit", on(2))
			require.NoError(t, tx.Commit().Error)
			for n := 1; n <= 3; n++ {
				on(n)
			}
		})
	}
}

// waits waits until a statement with this text waits for a lock. The server
// answers from a copy that it renews only if nobody has read it for 100 ms.
func waits(t *testing.T, db *gorm.DB, text string) {
	t.Helper()
	require.Eventually(t, func() bool {
		var waiting int
		err := db.Raw("SELECT count(*) FROM information_schema.innodb_trx WHERE trx_state = 'LOCK WAIT' AND trx_query LIKE ?", "%"+text+"%").Scan(&waiting).Error
		return err == nil && waiting == 1
	}, time.Minute, 150*time.Millisecond)
}

// TestUpsertsOfNewRowsDoNotWaitForEachOther: a look that locked the gap in which
// a new row will be would make them wait, and fail as a deadlock.
func TestUpsertsOfNewRowsDoNotWaitForEachOther(t *testing.T) {
	env := testdb.Need(t, testenv.MariaDB)
	for _, level := range []sql.IsolationLevel{sql.LevelReadCommitted, sql.LevelRepeatableRead} {
		t.Run(level.String(), func(t *testing.T) {
			f := fixture.New(t, env, fixture.Options{Models: []any{&badge{}, &shelf{}, &volume{}}})
			newBadges(t, f)
			newUpserting(t, f)
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			defer cancel()
			one := f.DB.WithContext(ctx).Begin(&sql.TxOptions{Isolation: level})
			two := f.DB.WithContext(ctx).Begin(&sql.TxOptions{Isolation: level})
			for i, tx := range []*gorm.DB{one, two, one, two} {
				code := fmt.Sprint("new ", i)
				require.NoError(t, tx.Clauses(clause.OnConflict{UpdateAll: true}).Create(&badge{code, code, 1, 0}).Error)
				require.NoError(t, tx.Clauses(clause.OnConflict{UpdateAll: true}).Create(&volume{Code: code, ShelfID: 1}).Error)
				require.NoError(t, tx.Model(&shelf{ID: i%2 + 1}).Association("Books").Append(&volume{Code: code + "+"}))
			}
			require.NoError(t, one.Commit().Error)
			require.NoError(t, two.Commit().Error)

			// Numbers that the program chooses are looked for until one is not there.
			choose := func(tx *gorm.DB, id int) {
				v := volume{ID: id, Code: fmt.Sprint(id), ShelfID: 1}
				require.NoError(t, tx.Clauses(clause.OnConflict{UpdateAll: true}).Create(&v).Error)
			}
			choose(f.DB.WithContext(ctx), 1000)
			one = f.DB.WithContext(ctx).Begin(&sql.TxOptions{Isolation: level})
			two = f.DB.WithContext(ctx).Begin(&sql.TxOptions{Isolation: level})
			for i, tx := range []*gorm.DB{one, two, one, two} {
				choose(tx, 2000-i)
			}
			require.NoError(t, one.Commit().Error)
			require.NoError(t, two.Commit().Error)
		})
	}
}

// TestLooksAtRowsFixNoSnapshot: a transaction of MySQL's sees what was committed
// when it first reads without a lock, and not when the plugin does.
func TestLooksAtRowsFixNoSnapshot(t *testing.T) {
	env := testdb.Need(t, testenv.MariaDB)
	for name, write := range map[string]func(tx *gorm.DB) error{
		"upsert of rows that are there": func(tx *gorm.DB) error {
			return tx.Clauses(clause.OnConflict{UpdateAll: true}).Create(&[]volume{{ID: 11, ShelfID: 3, Code: "a"}, {ShelfID: 2, Code: "n"}}).Error
		},
		"update by an expression": func(tx *gorm.DB) error {
			return tx.Model(&volume{ID: 11}).Update("shelf_id", gorm.Expr("shelf_id + 1")).Error
		},
		"create with values of the database": func(tx *gorm.DB) error {
			return tx.Exec("INSERT INTO volumes (shelf_id, code) VALUES (1 + 1, 'n')").Error
		},
		"delete by a condition": func(tx *gorm.DB) error { return tx.Where("code = ?", "a").Delete(&volume{}).Error },
	} {
		t.Run(name, func(t *testing.T) {
			f := fixture.New(t, env, fixture.Options{Models: []any{&shelf{}, &volume{}}})
			newUpserting(t, f)
			for _, db := range []*gorm.DB{f.Plain, f.DB} {
				tx := db.Begin(&sql.TxOptions{Isolation: sql.LevelRepeatableRead})
				require.NoError(t, tx.Error)
				defer func() { _ = tx.Rollback() }()
				require.NoError(t, write(tx))
				require.NoError(t, f.Plain.Create(&shelf{ID: 77}).Error)
				var n int64
				require.NoError(t, tx.Model(&shelf{}).Where("id = ?", 77).Count(&n).Error)
				require.EqualValues(t, 1, n, "committed before the transaction has read")
				require.NoError(t, tx.Rollback().Error)
				require.NoError(t, f.Plain.Delete(&shelf{}, 77).Error)
			}
		})
	}
}

// TestZeroIsANumberOfTheDatabases: MySQL numbers a row that is sent with zero.
func TestZeroIsANumberOfTheDatabases(t *testing.T) {
	f := fixture.New(t, testdb.Need(t, testenv.MariaDB), fixture.Options{Models: []any{&shelf{}, &volume{}}})
	newUpserting(t, f)
	find := func() (found []volume) {
		require.NoError(t, f.DB.Where("id = ?", 500).Find(&found).Error)
		return found
	}
	require.Empty(t, find())
	f.Hits(t, func() { find() })
	require.NoError(t, f.Plain.Exec("ALTER TABLE volumes AUTO_INCREMENT = 500").Error)
	require.NoError(t, f.DB.Transaction(func(tx *gorm.DB) error {
		return tx.Exec("INSERT INTO volumes (id, shelf_id, code) VALUES (?, 1, 'zero')", 0).Error
	}))
	require.Len(t, find(), 1)
}
