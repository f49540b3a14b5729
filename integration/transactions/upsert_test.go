package transactions

import (
	"strings"
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

type shelf struct {
	ID    int
	Books []volume `gorm:"foreignKey:ShelfID;constraint:-"`
}

// volume has a key that the database numbers and another one that it doesn't.
type volume struct {
	ID      int
	ShelfID int
	Code    string `gorm:"size:20;uniqueIndex"`
	Copies  int
}

// upserting is a fixture with volumes on three shelves; on says what became of
// a look-up of those on a shelf.
type upserting struct {
	*fixture.Fixture
	t *testing.T
}

func newUpserting(t *testing.T, f *fixture.Fixture) *upserting {
	t.Helper()
	require.NoError(t, f.Plain.Create(&[]shelf{{ID: 1}, {ID: 2}, {ID: 3}}).Error)
	require.NoError(t, f.Plain.Create(&[]volume{
		{ID: 11, ShelfID: 1, Code: "a"}, {ID: 12, ShelfID: 2, Code: "b"}, {ID: 13, ShelfID: 3, Code: "c"},
	}).Error)
	if f.Env.Dialect == "postgres" {
		require.NoError(t, f.Plain.Exec("SELECT setval('volumes_id_seq', 100)").Error)
	}
	u := &upserting{f, t}
	for n := 1; n <= 3; n++ {
		u.on(n)
		require.Equal(t, "hit", u.on(n))
	}
	f.Cached(t, func() { require.NoError(t, f.DB.First(&volume{}, 11).Error) }) // so that images need the key
	return u
}

// on reads a shelf through the plugin, which must see what is there.
func (u *upserting) on(shelf int) string {
	u.t.Helper()
	var got, want []volume
	outcome := u.Outcome(func() { require.NoError(u.t, u.DB.Where("shelf_id = ?", shelf).Order("id").Find(&got).Error) })
	require.NoError(u.t, u.Plain.Where("shelf_id = ?", shelf).Order("id").Find(&want).Error)
	require.Equal(u.t, want, got, "shelf %d is stale (%s)", shelf, outcome)
	return outcome
}

// after runs an upsert and requires that what was on some shelves is dropped,
// and nothing else, where the database lets us tell.
func (u *upserting) after(granular bool, do func(db *gorm.DB) error, dropped ...int) {
	u.t.Helper()
	require.NoError(u.t, do(u.DB))
	for n := 1; n <= 3; n++ {
		want := "hit"
		if !granular {
			u.on(n)
			continue
		}
		for _, d := range dropped {
			if d == n {
				want = "miss"
			}
		}
		require.Equal(u.t, want, u.on(n), "shelf %d", n)
	}
}

func TestUpsertsDropOnlyWhatTheyTouch(t *testing.T) {
	fixture.OnEveryDatabase(t, fixture.Options{Models: []any{&shelf{}, &volume{}}}, func(t *testing.T, f *fixture.Fixture) {
		u := newUpserting(t, f)
		// On MySQL a row is known that the new one meets by the number it was given.
		const all = true
		byCode := f.Env.Dialect != "mysql"
		update := clause.OnConflict{Columns: []clause.Column{{Name: "code"}}, DoUpdates: clause.AssignmentColumns([]string{"shelf_id", "copies"})}
		u.after(all, func(db *gorm.DB) error {
			return db.Model(&shelf{ID: 1}).Association("Books").Append(&volume{Code: "new"}, &volume{Code: "newer"})
		}, 1)
		u.after(all, func(db *gorm.DB) error {
			return db.Model(&shelf{ID: 2}).Association("Books").Append(&volume{ID: 11})
		}, 1, 2)
		u.after(all, func(db *gorm.DB) error {
			return db.Model(&shelf{ID: 3}).Association("Books").Replace(&volume{ID: 12}, &volume{Code: "newest"})
		}, 2, 3)
		u.after(all, func(db *gorm.DB) error { // one that is, and one that is not
			return db.Save(&[]volume{{ID: 12, ShelfID: 2, Code: "b"}, {ShelfID: 2, Code: "e"}}).Error
		}, 2, 3)
		u.after(byCode, func(db *gorm.DB) error {
			return db.Clauses(update).Create(&[]volume{{ShelfID: 3, Code: "e"}, {ShelfID: 3, Code: "f"}}).Error
		}, 2, 3)
		u.after(byCode, func(db *gorm.DB) error { // by what is not the primary key
			return db.Clauses(update).Create(&volume{ShelfID: 1, Code: "f"}).Error
		}, 1, 3)
		u.after(all, func(db *gorm.DB) error { // by an expression
			on := clause.OnConflict{Columns: []clause.Column{{Name: "id"}}, DoUpdates: clause.Assignments(map[string]any{"shelf_id": gorm.Expr("volumes.shelf_id + 1")})}
			return db.Clauses(on).Create(&volume{ID: 11, ShelfID: 3, Code: "z"}).Error
		}, 2, 3)
		u.after(all, func(db *gorm.DB) error { // in a transaction that has inserted the row
			return db.Transaction(func(tx *gorm.DB) error {
				v := volume{ShelfID: 1, Code: "own"}
				if err := tx.Create(&v).Error; err != nil {
					return err
				}
				v.ShelfID = 3
				return tx.Clauses(clause.OnConflict{UpdateAll: true}).Create(&v).Error
			})
		}, 1, 3)
		u.after(all, func(db *gorm.DB) error { // a row that is not there
			return db.Clauses(clause.OnConflict{UpdateAll: true}).Create(&volume{ID: 50, ShelfID: 1, Code: "d"}).Error
		}, 1)
		u.after(byCode, func(db *gorm.DB) error { // which MySQL isn't asked for any more
			return db.Clauses(clause.OnConflict{UpdateAll: true}).Create(&volume{ID: 50, ShelfID: 2, Code: "d"}).Error
		}, 1, 2)
		u.after(all, func(db *gorm.DB) error {
			return db.Clauses(clause.OnConflict{UpdateAll: true}).Create(&[]volume{{ID: 51, ShelfID: 2, Code: "g"}, {ShelfID: 2, Code: "h"}}).Error
		}, 2)
		u.after(false, func(db *gorm.DB) error { // not in a transaction
			return db.Session(&gorm.Session{SkipDefaultTransaction: true}).Clauses(update).Create(&volume{ShelfID: 2, Code: "f"}).Error
		})
		u.after(all, func(db *gorm.DB) error { // a transaction that is rolled back
			tx := db.Begin()
			if err := tx.Save(&volume{ID: 11, ShelfID: 1, Code: "a"}).Error; err != nil {
				return err
			}
			return tx.Rollback().Error
		})
	})
}

// TestRawUpserts: texts made by hand. MySQL's count tells a new row from one
// that was updated.
func TestRawUpserts(t *testing.T) {
	fixture.OnEveryDatabase(t, fixture.Options{Models: []any{&shelf{}, &volume{}}}, func(t *testing.T, f *fixture.Fixture) {
		u := newUpserting(t, f)
		on := "ON CONFLICT (code) DO UPDATE SET shelf_id = excluded.shelf_id"
		if f.Env.Dialect == "mysql" {
			on = "ON DUPLICATE KEY UPDATE shelf_id = VALUES(shelf_id)"
		}
		upsert := func(id, shelf int, code string) func(db *gorm.DB) error {
			return func(db *gorm.DB) error {
				return db.Transaction(func(tx *gorm.DB) error {
					return tx.Exec("INSERT INTO volumes (id, shelf_id, code) VALUES (?, ?, ?) "+on, id, shelf, code).Error
				})
			}
		}
		u.after(true, upsert(21, 3, "raw"), 3)
		u.after(f.Env.Dialect != "mysql", upsert(22, 1, "raw"), 1, 3)
		u.after(true, upsert(23, 2, "rawer"), 2)
	})
}

func TestUpsertOfARowThatCameInBetween(t *testing.T) {
	env := testdb.Need(t, testenv.Postgres)
	f := fixture.New(t, env, fixture.Options{Models: []any{&shelf{}, &volume{}}})
	u := newUpserting(t, f)
	other := f.Plain.Begin()
	require.NoError(t, other.Create(&volume{ID: 70, ShelfID: 2, Code: "x"}).Error)

	tx := f.DB.Begin()
	require.NoError(t, tx.Error)
	done := make(chan error)
	go func() {
		done <- tx.Clauses(clause.OnConflict{UpdateAll: true}).Create(&volume{ID: 70, ShelfID: 1, Code: "x"}).Error
	}()
	require.Eventually(t, func() bool { // until the upsert waits for the other row
		var waiting int
		err := f.Plain.Raw("SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()").Scan(&waiting).Error
		return err == nil && waiting > 0
	}, time.Minute, time.Millisecond)
	require.NoError(t, other.Commit().Error)
	require.NoError(t, <-done)
	// The other writer has told of its row, which is seen now, and cached.
	require.NoError(t, cacheplugin.InvalidateModel(f.DB, &volume{}))
	require.Equal(t, "miss", u.on(2))
	require.Equal(t, "hit", u.on(2))
	require.NoError(t, tx.Commit().Error)
	u.on(1)
	u.on(2)
}

func TestUpsertByAnIndexThatFoldsLetters(t *testing.T) {
	f := fixture.New(t, testenv.NeedSQLite(t), fixture.Options{Models: []any{&shelf{}, &volume{}}})
	require.NoError(t, f.Plain.Exec("DROP INDEX idx_volumes_code").Error)
	require.NoError(t, f.Plain.Exec("CREATE UNIQUE INDEX idx_volumes_code ON volumes (code COLLATE NOCASE)").Error)
	u := newUpserting(t, f)
	u.after(false, func(db *gorm.DB) error {
		return db.Clauses(clause.OnConflict{
			Columns: []clause.Column{{Name: "code"}}, DoUpdates: clause.AssignmentColumns([]string{"shelf_id", "code"}),
		}).Create(&volume{ShelfID: 1, Code: "B"}).Error
	})
	var n int64
	require.NoError(t, f.Plain.Model(&volume{}).Where("code = ?", "B").Count(&n).Error)
	require.EqualValues(t, 1, n, "b has become B and gone from shelf 2 to shelf 1")
}

// level has a String method, which is no reason to send anything else.
type level int

func (l level) String() string { return strings.Repeat("i", int(l)) }

func TestRowsAreLookedUpByTheArgumentsAsGiven(t *testing.T) {
	fixture.OnEveryDatabase(t, fixture.Options{Models: []any{&shelf{}, &volume{}}}, func(t *testing.T, f *fixture.Fixture) {
		u := newUpserting(t, f)
		u.after(true, func(db *gorm.DB) error { return db.Where("shelf_id = ?", level(2)).Delete(&volume{}).Error }, 2)
	})
}
