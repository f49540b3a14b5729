package reads

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"gorm.io/gorm"

	"github.com/cacheplugin/cacheplugin"
	"github.com/cacheplugin/cacheplugin/cache"
	"github.com/cacheplugin/cacheplugin/integration/internal/fixture"
)

// TestOneRowIsStored: whatever takes a single row, which GORM reads without
// asking whether there is another.
func TestOneRowIsStored(t *testing.T) {
	type part struct {
		Name string
		Kind int
	}
	brands := func(db *gorm.DB) *gorm.DB { return db.Model(&fixture.Brand{}) }
	forms := map[string]func(db *gorm.DB) (any, error){
		"Scan into a struct": func(db *gorm.DB) (any, error) {
			var one part
			err := brands(db).Where("name = ?", "a").Scan(&one).Error
			return one, err
		},
		"Scan into a model": func(db *gorm.DB) (any, error) {
			var one fixture.Brand
			err := db.Table("brands").Where("name = ?", "a").Scan(&one).Error
			return one, err
		},
		"Scan into a map": func(db *gorm.DB) (any, error) {
			one := map[string]any{}
			err := brands(db).Select("name", "kind").Where("name = ?", "a").Scan(&one).Error
			return one, err
		},
		"Scan into a variable": func(db *gorm.DB) (any, error) {
			var one string
			err := brands(db).Select("name").Where("kind = ?", 1).Scan(&one).Error
			return one, err
		},
		"Scan of a limit": func(db *gorm.DB) (any, error) {
			var one part
			err := brands(db).Order("id").Limit(1).Scan(&one).Error
			return one, err
		},
		"Scan of an aggregate": func(db *gorm.DB) (any, error) {
			var one struct{ Low, High int }
			err := brands(db).Select("min(kind) AS low, max(kind) AS high").Scan(&one).Error
			return one, err
		},
		"Scan of nothing": func(db *gorm.DB) (any, error) {
			var one part
			err := brands(db).Where("name = ?", "none").Scan(&one).Error
			return one, err
		},
		"Scan of a text": func(db *gorm.DB) (any, error) {
			var one part
			err := db.Raw("SELECT name, kind FROM brands WHERE name = ?", "b").Scan(&one).Error
			return one, err
		},
		"Scan into a slice": func(db *gorm.DB) (any, error) {
			var all []part
			err := brands(db).Order("id").Scan(&all).Error
			return all, err
		},
		"Find of a struct": func(db *gorm.DB) (any, error) {
			var one fixture.Brand
			err := db.Where("name = ?", "a").Find(&one).Error
			return one, err
		},
		"Find of the first of several": func(db *gorm.DB) (any, error) {
			var one fixture.Brand
			err := db.Order("id").Find(&one).Error
			return one, err
		},
		"First": func(db *gorm.DB) (any, error) {
			var one fixture.Brand
			err := db.First(&one).Error
			return one, err
		},
		"Take": func(db *gorm.DB) (any, error) {
			var one fixture.Brand
			err := db.Where("name = ?", "a").Take(&one).Error
			return one, err
		},
		"Pluck into a variable": func(db *gorm.DB) (any, error) {
			var one string
			err := brands(db).Where("kind = ?", 1).Pluck("name", &one).Error
			return one, err
		},
		"Row": func(db *gorm.DB) (any, error) {
			var one string
			err := brands(db).Where("name = ?", "a").Select("name").Row().Scan(&one)
			return one, err
		},
	}
	for how, config := range map[string]struct {
		profiles cacheplugin.Profiles
		scope    func(*gorm.DB) *gorm.DB
	}{
		"by profile": {fixture.CacheAll(), func(db *gorm.DB) *gorm.DB { return db }},
		"by hand":    {cacheplugin.Profiles{}, func(db *gorm.DB) *gorm.DB { return db.Scopes(cache.Cache(cache.Timeout(time.Minute))) }},
	} {
		t.Run(how, func(t *testing.T) {
			o := fixture.Options{Models: []any{&fixture.Brand{}}, Config: cacheplugin.Config{Profiles: config.profiles}}
			fixture.OnEveryDatabase(t, o, func(t *testing.T, f *fixture.Fixture) {
				require.NoError(t, f.Plain.Create(&[]fixture.Brand{{Name: "a", Kind: 1}, {Name: "b", Kind: 2}}).Error)
				for name, form := range forms {
					want, err := form(f.Plain)
					require.NoError(t, err, name)
					require.NoError(t, cacheplugin.InvalidateAll(f.DB)) // some forms send the same text
					outcomes := []string{"miss", "hit"}
					if how == "by profile" && name == "Row" { // only where it is asked for
						const skip = "skip: Row and Rows are cached opt-in only, other than Scan"
						outcomes = []string{skip, skip}
					}
					for _, outcome := range outcomes {
						var got any
						require.Equal(t, outcome, f.Outcome(func() { got, err = form(config.scope(f.DB)) }), name)
						require.NoError(t, err, name)
						require.Equal(t, want, got, name)
					}
				}
				require.NoError(t, cacheplugin.InvalidateAll(f.DB))
				// What has more rows is not read to its end, however many there are.
				for range 2 {
					var one part
					require.Equal(t, "miss, skip: closed early", f.Outcome(func() {
						require.NoError(t, config.scope(f.DB).Model(&fixture.Brand{}).Order("id").Scan(&one).Error)
					}))
					require.Equal(t, part{"a", 1}, one)
				}
			})
		})
	}
}
