package fidelity

import (
	"context"
	"crypto/rand"
	"database/sql"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
	"gorm.io/gorm"
	"gorm.io/gorm/logger"

	"github.com/cacheplugin/cacheplugin"
	"github.com/cacheplugin/cacheplugin/cache"
	"github.com/cacheplugin/cacheplugin/integration/internal/fixture"
	"github.com/cacheplugin/cacheplugin/integration/testdb"
	"github.com/cacheplugin/cacheplugin/internal/testenv"
	"github.com/cacheplugin/cacheplugin/internal/testmodel"
)

func TestCreatedUpdatedAndDeletedRowsDropWhatTheyAreIn(t *testing.T) {
	fixture.OnEveryDatabase(t, fixture.Options{Models: []any{&testmodel.Category{}, &testmodel.Post{}}}, func(t *testing.T, f *fixture.Fixture) {
		require.NoError(t, f.DB.Create(&[]testmodel.Category{{Title: "a"}, {Title: "b"}, {Title: "c"}}).Error)
		list := func(category uint, want ...string) func() {
			return func() {
				titles := []string{}
				require.NoError(t, f.DB.Model(&testmodel.Post{}).Where("category_id = ?", category).Order("id").Pluck("title", &titles).Error)
				require.Equal(t, append([]string{}, want...), titles)
			}
		}
		one, two, three := list(1), list(2), list(3)
		f.Cached(t, one)
		f.Cached(t, two)
		f.Cached(t, three)

		post := testmodel.Post{CategoryID: 1, Title: "x"}
		require.NoError(t, f.DB.Create(&post).Error)
		f.Misses(t, list(1, "x"))
		f.Hits(t, two)
		f.Hits(t, three)

		require.NoError(t, f.DB.Model(&post).Update("category_id", 2).Error)
		f.Misses(t, one)
		f.Misses(t, list(2, "x"))
		f.Hits(t, three)

		require.NoError(t, f.DB.Where("title = ?", "x").Delete(&testmodel.Post{}).Error)
		f.Hits(t, one)
		f.Misses(t, two)
		f.Hits(t, three)
	})
}

func TestMySQLSessionsThatSeeMoreOrLessThanIsCommittedAreNotCached(t *testing.T) {
	env := testdb.Need(t, testenv.MariaDB)
	for setting, reason := range map[string]string{
		"autocommit=0": "autocommit is off",
		"transaction_isolation=%27READ-UNCOMMITTED%27": "READ UNCOMMITTED",
		"tx_isolation=%27READ-UNCOMMITTED%27":          "READ UNCOMMITTED",
	} {
		f := fixture.New(t, env, fixture.Options{Models: []any{&testmodel.Category{}}})
		dsn := env.DSN(t, f.Plain) + "&" + setting
		sqlDB, err := sql.Open("mysql", dsn)
		require.NoError(t, err)
		if sqlDB.Ping() != nil {
			require.NoError(t, sqlDB.Close()) // a variable of the other family's
			continue
		}
		require.NoError(t, sqlDB.Close())
		db := env.Connect(t, dsn, &gorm.Config{Logger: logger.Discard})
		plugin := cacheplugin.New(cacheplugin.Config{Redis: testenv.Redis(t), Prefix: "test-" + rand.Text(), Profiles: fixture.CacheAll(), Observer: f.Events})
		require.NoError(t, db.Use(plugin))
		t.Cleanup(func() { require.NoError(t, plugin.Close(context.Background())) })
		require.Contains(t, f.Outcome(func() { require.NoError(t, db.Find(&[]testmodel.Category{}).Error) }), reason)
	}
}

func TestHandMadeReadsAreCachedHoweverTheyBegin(t *testing.T) {
	fixture.OnEveryDatabase(t, fixture.Options{Models: []any{&testmodel.Category{}}}, func(t *testing.T, f *fixture.Fixture) {
		require.NoError(t, f.DB.Create(&testmodel.Category{Title: "a"}).Error)
		for i, text := range []string{
			"/* a comment */ SELECT title FROM categories WHERE id = ?",
			"WITH c AS (SELECT * FROM categories) SELECT title FROM c WHERE id = ?",
		} {
			read := func() {
				var title string
				require.NoError(t, f.DB.Scopes(cache.Cache()).Raw(text, 1).Scan(&title).Error)
				require.NotEmpty(t, title)
			}
			f.Cached(t, read, text)
			require.NoError(t, f.DB.Exec("UPDATE categories SET title = ? WHERE id = 1", fmt.Sprint("b", i)).Error)
			f.Misses(t, read, text)
		}
	})
}
