package cachetest_test

import (
	"errors"
	"fmt"
	"log/slog"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"gorm.io/driver/sqlite"
	"gorm.io/gorm"
	"gorm.io/gorm/logger"

	"github.com/cacheplugin/cacheplugin"
	"github.com/cacheplugin/cacheplugin/cache"
	"github.com/cacheplugin/cacheplugin/cachetest"
)

// Author and Article are the models of the tests.
type Author struct {
	ID   uint
	Name string
}

type Article struct {
	ID       uint
	TagID    int
	Title    string
	AuthorID uint
	Author   *Author
}

// open opens a database of a test's own, with an article of tag 1 and one of tag 2.
func open(tb testing.TB) *gorm.DB {
	tb.Helper()
	db, err := gorm.Open(sqlite.Open(fmt.Sprintf("file:/%s?vfs=memdb", tb.Name())), &gorm.Config{Logger: logger.Discard})
	require.NoError(tb, err)
	tb.Cleanup(func() {
		pool, err := db.DB()
		require.NoError(tb, err)
		require.NoError(tb, pool.Close())
	})
	require.NoError(tb, db.AutoMigrate(&Author{}, &Article{}))
	author := &Author{ID: 1, Name: "Ann"}
	require.NoError(tb, db.Create(&[]Article{{TagID: 1, Title: "Hydrogen", Author: author}, {TagID: 2, Title: "Helium", Author: author}}).Error)
	return db
}

// discard takes what the plugin logs.
var discard = slog.New(slog.DiscardHandler)

func profiles() cacheplugin.Profiles {
	return cacheplugin.Profiles{"*": {Ops: cache.All, Timeout: time.Hour}}
}

func tagged(tag int) cachetest.Call {
	return func(db *gorm.DB) error { return db.Preload("Author").Find(&[]Article{}, "tag_id = ?", tag).Error }
}

func rename(id uint) cachetest.Call {
	return func(db *gorm.DB) error { return db.Model(&Article{ID: id}).Update("title", "Deuterium").Error }
}

func renameAuthor(db *gorm.DB) error { return db.Model(&Author{ID: 1}).Update("name", "Bea").Error }

func TestAssertionsHold(t *testing.T) {
	db := open(t)
	cachetest.Use(t, db, cacheplugin.Config{Profiles: profiles()})
	require.True(t, cachetest.AssertMiss(t, db, tagged(1)))
	require.True(t, cachetest.AssertHit(t, db, tagged(1)))
	require.True(t, cachetest.AssertDropped(t, db, rename(1), tagged(1)))
	require.True(t, cachetest.AssertKept(t, db, rename(2), tagged(1)))
	require.True(t, cachetest.AssertDropped(t, db, renameAuthor, tagged(1)), "the preload's")
}

// failing is a test that keeps what it is told.
type failing struct {
	testing.TB
	messages []string
}

func (f *failing) Helper() {}

func (f *failing) Errorf(format string, args ...any) {
	f.messages = append(f.messages, fmt.Sprintf(format, args...))
}

func (f *failing) Fatalf(format string, args ...any) {
	f.Errorf(format, args...)
	panic("the test ends here")
}

func TestAssertionsFailWithWhatHappened(t *testing.T) {
	away := errors.New("away")
	for name, test := range map[string]struct {
		assert func(tb testing.TB, db *gorm.DB) bool
		says   string
	}{
		"a miss is no hit": {func(tb testing.TB, db *gorm.DB) bool { return cachetest.AssertHit(tb, db, tagged(1)) },
			"not answered from the cache:\n  articles: miss\n  authors: miss"},
		"a bypass is no hit": {func(tb testing.TB, db *gorm.DB) bool {
			return cachetest.AssertHit(tb, db, func(db *gorm.DB) error { return db.Scopes(cache.NoCache()).Find(&[]Article{}).Error })
		}, "articles: bypassed: NoCache"},
		"a bypass is no miss": {func(tb testing.TB, db *gorm.DB) bool {
			return cachetest.AssertMiss(tb, db, func(db *gorm.DB) error { return db.Scopes(cache.NoCache()).Find(&[]Article{}).Error })
		}, "articles: bypassed: NoCache"},
		"a hit is no miss": {func(tb testing.TB, db *gorm.DB) bool {
			require.NoError(t, tagged(1)(db))
			return cachetest.AssertMiss(tb, db, tagged(1))
		}, "no query missed the cache:\n  articles: hit\n  authors: hit"},
		"another row drops nothing": {func(tb testing.TB, db *gorm.DB) bool {
			return cachetest.AssertDropped(tb, db, rename(2), tagged(1))
		}, "the write has dropped nothing"},
		"the row drops": {func(tb testing.TB, db *gorm.DB) bool {
			return cachetest.AssertKept(tb, db, rename(1), tagged(1))
		}, "the write has dropped what was cached:\n  articles: miss\n  authors: hit"},
		"what is not cached can't be dropped": {func(tb testing.TB, db *gorm.DB) bool {
			return cachetest.AssertDropped(tb, db, rename(1), func(db *gorm.DB) error { return db.Scopes(cache.NoCache()).Find(&[]Article{}).Error })
		}, "the query is not cached, before the write:\n  articles: bypassed: NoCache"},
		"an error of the query": {func(tb testing.TB, db *gorm.DB) bool {
			return cachetest.AssertKept(tb, db, rename(1), func(*gorm.DB) error { return away })
		}, "the query: away"},
		"an error of the write": {func(tb testing.TB, db *gorm.DB) bool {
			return cachetest.AssertKept(tb, db, func(*gorm.DB) error { return away }, tagged(1))
		}, "the write: away"},
		"another handle": {func(tb testing.TB, db *gorm.DB) bool {
			return cachetest.AssertHit(tb, db, func(*gorm.DB) error { return tagged(1)(db) })
		}, "no query came to the plugin"},
	} {
		t.Run(name, func(t *testing.T) {
			db := open(t)
			cachetest.Use(t, db, cacheplugin.Config{Profiles: profiles()})
			f := &failing{TB: t}
			require.False(t, test.assert(f, db))
			require.Len(t, f.messages, 1)
			require.Contains(t, f.messages[0], test.says)
		})
	}
}

func TestHandlesThatAssertionsCanNotUse(t *testing.T) {
	db := open(t)
	f := &failing{TB: t}
	require.False(t, cachetest.AssertHit(f, db, tagged(1)))
	require.Contains(t, f.messages[0], cacheplugin.ErrNotInstalled.Error())

	cachetest.Use(t, db, cacheplugin.Config{Profiles: profiles(), StoreQueue: 10})
	require.True(t, cachetest.AssertMiss(t, db, tagged(1)), "Use has results stored at once")

	config, err := cacheplugin.ConfigOf(db)
	require.NoError(t, err)
	queued := open(t)
	config.StoreQueue = 10
	require.NoError(t, queued.Use(cacheplugin.New(config)))
	f = &failing{TB: t}
	require.False(t, cachetest.AssertHit(f, queued, tagged(1)))
	require.Contains(t, f.messages[0], "Config.StoreQueue is 10")
}

func TestUseReportsErrorsOfTheConfiguration(t *testing.T) {
	f := &failing{TB: t}
	require.Panics(t, func() {
		cachetest.Use(f, open(t), cacheplugin.Config{Profiles: cacheplugin.Profiles{"*": {Timeout: 10}}})
	})
	require.Contains(t, f.messages[0], "Timeout")
}
