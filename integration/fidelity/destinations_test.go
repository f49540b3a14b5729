package fidelity

import (
	"context"
	"database/sql"
	"errors"

	"gorm.io/gorm"

	"github.com/cacheplugin/cacheplugin/cache"
	"github.com/cacheplugin/cacheplugin/internal/testmodel"
)

type (
	word     string
	count    int
	yes      bool
	ownWords struct { // columns of users, in types with names of their own
		Name   word
		Age    count
		Active yes
	}
	plainCompany struct { // a column that may be NULL in a field that has none
		Name      string
		CompanyID int
	}
	Named     struct{ Name string }
	wrongName struct{ Name int }
	tooSmall  struct {
		ID  uint
		Big int8
	}
	pointing struct {
		*Named
		Age *int16
	}
)

// upset is a user whose hook fails.
type upset struct {
	ID   uint
	Name string
}

func (upset) TableName() string { return "users" }

func (u *upset) AfterFind(tx *gorm.DB) error {
	if u.ID == 2 {
		return errors.New("not this one")
	}
	return nil
}

// failing reads what fails: of a destination that an error has left half done GORM
// itself makes now this, now that.
func failing[T any](name string, finish func(db *gorm.DB, dest *T) *gorm.DB) reading {
	return reading{name, func(db *gorm.DB) (any, int64, error) {
		result := finish(db, new(T))
		return nil, result.RowsAffected, result.Error
	}}
}

// usedReadings read into destinations that have been in use, or that don't fit.
func usedReadings() []reading {
	users := func(db *gorm.DB) *gorm.DB { return db.Model(&user{}).Order("id") }
	number, text := int64(77), "before"
	return []reading{
		{"Find into a filled slice", func(db *gorm.DB) (any, int64, error) {
			room := make([]user, 9)
			for i := range room {
				room[i] = user{ID: 99, Name: text}
			}
			used := room[:3]
			result := users(db).Limit(2).Find(&used)
			return [][]user{used, room}, result.RowsAffected, result.Error
		}},
		{"Find into a slice that is too short", func(db *gorm.DB) (any, int64, error) {
			room := []user{{ID: 99, Name: text}}
			used := room
			result := users(db).Find(&used)
			return [][]user{used, room}, result.RowsAffected, result.Error
		}},
		{"Find into filled pointers", func(db *gorm.DB) (any, int64, error) {
			old := &user{ID: 99, Name: text}
			used := []*user{old, old, old}
			result := users(db).Limit(2).Find(&used)
			return []any{used, *old}, result.RowsAffected, result.Error
		}},
		{"Find nothing into a filled slice", func(db *gorm.DB) (any, int64, error) {
			used := []user{{ID: 99, Name: text}}
			result := users(db).Where("age > 999").Find(&used)
			return used, result.RowsAffected, result.Error
		}},
		{"Find twice into one slice", func(db *gorm.DB) (any, int64, error) {
			var used []user
			err := users(db).Find(&used).Error
			first := append([]user(nil), used...)
			result := users(db).Where("age > ?", 30).Find(&used)
			return [][]user{first, used}, result.RowsAffected, errors.Join(err, result.Error)
		}},
		into("a filled struct keeps what is NULL", func(db *gorm.DB, d *kinds) *gorm.DB {
			*d = kinds{
				Word: text, Blob: []byte(text), Tags: []string{text}, Color: testmodel.Color{}, BigPointer: &number, WordPointer: &text,
				NullWord: sql.NullString{String: text, Valid: true}, NullBig: sql.NullInt64{Int64: 7, Valid: true},
			}
			return db.Model(&kinds{}).Order("id DESC").Limit(1).Find(d)
		}),
		into("a filled struct keeps what is not selected", func(db *gorm.DB, d *user) *gorm.DB {
			*d = user{Name: text, Age: 99}
			return users(db).Select("id", "name").Limit(1).Find(d)
		}),
		into("types with names of their own", func(db *gorm.DB, d *[]ownWords) *gorm.DB { return users(db).Find(d) }),
		into("pluck a type with a name of its own", func(db *gorm.DB, d *[]word) *gorm.DB { return users(db).Pluck("name", d) }),
		into("an embedded pointer", func(db *gorm.DB, d *[]pointing) *gorm.DB { return users(db).Find(d) }),
		into("a table without a model", func(db *gorm.DB, d *[]smalls) *gorm.DB { return db.Table("users").Order("id").Find(d) }),
		into("an alias", func(db *gorm.DB, d *[]smalls) *gorm.DB {
			return users(db).Select("id AS age", "name").Find(d)
		}),
		into("an alias that is no field", func(db *gorm.DB, d *[]smalls) *gorm.DB {
			return users(db).Select("name", "age AS years").Find(d)
		}),
		into("a column twice", func(db *gorm.DB, d *[]user) *gorm.DB { return users(db).Select("id, name, id").Find(d) }),
		into("NULL into plain fields", func(db *gorm.DB, d *[]plainCompany) *gorm.DB { return users(db).Find(d) }),
		failing("NULL into a plain slice", func(db *gorm.DB, d *[]int) *gorm.DB { return users(db).Pluck("company_id", d) }),
		failing("text into numbers", func(db *gorm.DB, d *[]wrongName) *gorm.DB { return users(db).Find(d) }),
		failing("text into a number", func(db *gorm.DB, d *wrongName) *gorm.DB { return users(db).Limit(1).Find(d) }),
		failing("overflow of fields", func(db *gorm.DB, d *[]tooSmall) *gorm.DB { return db.Model(&kinds{}).Order("id").Find(d) }),
		failing("overflow of plucked numbers", func(db *gorm.DB, d *[]int8) *gorm.DB { return db.Model(&kinds{}).Order("id").Pluck("big", d) }),
		failing("a hook that fails", func(db *gorm.DB, d *[]upset) *gorm.DB { return db.Order("id").Find(d) }),
		failing("a hook that fails for one", func(db *gorm.DB, d *upset) *gorm.DB { return db.First(d, 2) }),
		into("no hooks", func(db *gorm.DB, d *[]upset) *gorm.DB {
			return db.Session(&gorm.Session{SkipHooks: true}).Order("id").Find(d)
		}),
		{"generic Find with result", func(db *gorm.DB) (any, int64, error) {
			result := gorm.WithResult()
			found, err := gorm.G[user](db, cache.With(), result).Order("id").Find(context.Background())
			return found, result.RowsAffected, err
		}},
	}
}
