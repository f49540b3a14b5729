package cacheplugin_test

import (
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
	"gorm.io/gorm"

	"github.com/cacheplugin/cacheplugin"
	"github.com/cacheplugin/cacheplugin/internal/testenv"
)

func TestClaim(t *testing.T) {
	type key string
	type other string
	env := testenv.Databases(t)[0]
	open := func(t *testing.T, plugin *cacheplugin.Plugin) *gorm.DB {
		db := env.Open(t, nil)
		require.NoError(t, db.Use(plugin))
		return db
	}
	disabled := cacheplugin.New(cacheplugin.Config{Disabled: true})
	claim := func(t *testing.T, db *gorm.DB, k any, want bool) {
		t.Helper()
		free, err := cacheplugin.Claim(db, k)
		require.NoError(t, err)
		require.Equal(t, want, free)
	}

	t.Run("a key is given once", func(t *testing.T) {
		db := open(t, cacheplugin.New(cacheplugin.Config{Disabled: true}))
		claim(t, db, key("a"), true)
		claim(t, db, key("a"), false)
		claim(t, db.Session(&gorm.Session{}), key("a"), false)
		claim(t, db, key("b"), true)
		claim(t, db, other("a"), true)
	})
	t.Run("handles share their plugin's keys", func(t *testing.T) {
		one, two := open(t, disabled), open(t, disabled)
		claim(t, one, key("a"), true)
		claim(t, two, key("a"), false)
		claim(t, open(t, cacheplugin.New(cacheplugin.Config{Disabled: true})), key("a"), true)
	})
	t.Run("one of many at a time gets it", func(t *testing.T) {
		db := open(t, cacheplugin.New(cacheplugin.Config{Disabled: true}))
		var won atomic.Int32
		var wait sync.WaitGroup
		for range 8 {
			wait.Go(func() {
				if free, err := cacheplugin.Claim(db, key("a")); err == nil && free {
					won.Add(1)
				}
			})
		}
		wait.Wait()
		require.EqualValues(t, 1, won.Load())
	})
	t.Run("a handle without the plugin", func(t *testing.T) {
		_, err := cacheplugin.Claim(env.Open(t, nil), key("a"))
		require.ErrorIs(t, err, cacheplugin.ErrNotInstalled)
	})
}
