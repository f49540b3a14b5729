package fidelity

import (
	"context"
	"fmt"
	"reflect"
	"testing"

	"github.com/stretchr/testify/require"
	"gorm.io/gorm"
	"gorm.io/gorm/clause"
	"gorm.io/gorm/schema"

	"github.com/cacheplugin/cacheplugin/cache"
	"github.com/cacheplugin/cacheplugin/integration/internal/fixture"
	"github.com/cacheplugin/cacheplugin/internal/testmodel"
)

// mine is a label whose code panics where its context says so. (A panic in a
// sql.Scanner can't be survived: database/sql of Go 1.26 keeps the lock that
// closing the rows needs, with and without a plugin.)
type mine struct {
	ID   uint
	Text fuse
}

func (mine) TableName() string { return "labels" }

type armed struct{}

// arm makes one place panic: "scan", or a hook.
func arm(db *gorm.DB, place string) *gorm.DB {
	return db.WithContext(context.WithValue(context.Background(), armed{}, place))
}

func explode(ctx context.Context, place string) {
	if ctx.Value(armed{}) == place {
		panic(place)
	}
}

func (m *mine) AfterFind(tx *gorm.DB) error { explode(tx.Statement.Context, "after find"); return nil }

func (m *mine) AfterCreate(tx *gorm.DB) error {
	explode(tx.Statement.Context, "after create")
	return nil
}

func (m *mine) AfterUpdate(tx *gorm.DB) error {
	explode(tx.Statement.Context, "after update")
	return nil
}

func (m *mine) AfterDelete(tx *gorm.DB) error {
	explode(tx.Statement.Context, "after delete")
	return nil
}

// fuse is its own serializer, so that it panics in GORM's scanning.
type fuse string

func (f *fuse) Scan(ctx context.Context, _ *schema.Field, _ reflect.Value, value any) error {
	explode(ctx, "scan")
	switch v := value.(type) {
	case []byte:
		*f = fuse(v)
	default:
		*f = fuse(fmt.Sprint(v))
	}
	return nil
}

func (f fuse) Value(ctx context.Context, _ *schema.Field, _ reflect.Value, value any) (any, error) {
	explode(ctx, "value")
	return string(value.(fuse)), nil
}

func TestAPanicInAReadLeavesNoLeaseAndNoWrongResult(t *testing.T) {
	for _, place := range []string{"scan", "after find"} {
		t.Run(place, func(t *testing.T) {
			fixture.OnEveryDatabase(t, fixture.Options{Models: []any{&testmodel.Label{}}}, func(t *testing.T, f *fixture.Fixture) {
				require.NoError(t, f.Plain.Create(&[]testmodel.Label{{Text: "a"}, {Text: "b"}, {Text: "c"}}).Error)
				all := func(db *gorm.DB) (texts []string) {
					var rows []mine
					// Who waits for a lease that nobody holds would wait long.
					require.NoError(t, db.Scopes(cache.Cache(cache.Lock())).Order("id").Find(&rows).Error)
					for _, m := range rows {
						texts = append(texts, string(m.Text))
					}
					return texts
				}
				for range 2 { // on a miss, on a hit
					require.Panics(t, func() { all(arm(f.DB, place)) })
				}
				require.NotContains(t, f.Outcome(func() { require.Equal(t, []string{"a", "b", "c"}, all(f.DB)) }), "skip")
				f.Hits(t, func() { require.Equal(t, []string{"a", "b", "c"}, all(f.DB)) })

				require.NoError(t, f.DB.Create(&testmodel.Label{Text: "d"}).Error)
				require.Equal(t, []string{"a", "b", "c", "d"}, all(f.DB))
				require.Zero(t, f.Plugin.Stats().Errors)
			})
		})
	}
}

// The program may recover inside of the transaction and commit what the
// statement did before the panic.
func TestWritesBeforeAPanicAreInvalidatedByTheCommit(t *testing.T) {
	for place, write := range map[string]func(tx *gorm.DB){
		"after create": func(tx *gorm.DB) { tx.Create(&mine{Text: "new"}) },
		"after update": func(tx *gorm.DB) { tx.Model(&mine{ID: 1}).Update("text", "new") },
		"after delete": func(tx *gorm.DB) { tx.Delete(&mine{ID: 1}) },
		"scan": func(tx *gorm.DB) {
			tx.Clauses(clause.Returning{}).Create(&mine{Text: "new"})
			tx.Clauses(clause.Returning{}).Model(&mine{}).Where("id = 1").Delete(&[]mine{})
		},
	} {
		t.Run(place, func(t *testing.T) {
			fixture.OnEveryDatabase(t, fixture.Options{Models: []any{&testmodel.Label{}}}, func(t *testing.T, f *fixture.Fixture) {
				require.NoError(t, f.Plain.Create(&[]testmodel.Label{{Text: "a"}, {Text: "b"}}).Error)
				all := func(db *gorm.DB) (rows []testmodel.Label) {
					require.NoError(t, db.Order("id").Find(&rows).Error)
					return rows
				}
				one := func(db *gorm.DB) (rows []testmodel.Label) {
					require.NoError(t, db.Where("id = ?", 1).Find(&rows).Error)
					return rows
				}
				f.Cached(t, func() { all(f.DB) })
				f.Cached(t, func() { one(f.DB) })
				require.NoError(t, f.DB.Transaction(func(tx *gorm.DB) error {
					require.Panics(t, func() { write(arm(tx, place)) })
					return nil
				}))
				require.Equal(t, all(f.Plain), all(f.DB))
				require.Equal(t, one(f.Plain), one(f.DB))
				require.NotEqual(t, []testmodel.Label{{ID: 1, Text: "a"}, {ID: 2, Text: "b"}}, all(f.DB), "something was written")
			})
		})
	}
}
