package concurrency

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cacheplugin/cacheplugin"
	"github.com/cacheplugin/cacheplugin/cache"
	"github.com/cacheplugin/cacheplugin/integration/internal/fixture"
	"github.com/cacheplugin/cacheplugin/internal/testmodel"
)

// asked is what one process has counted.
type asked struct{ Misses, Hits int64 }

// lock asks for the same missing results, with many goroutines at once.
func (j job) lock(t *testing.T) asked {
	const goroutines = 16
	db, plugin, client := j.open(t)
	for round := range j.Rounds {
		j.meet(t, client, fmt.Sprint("round ", round))
		var all sync.WaitGroup
		for range goroutines {
			all.Go(func() {
				var rows []counter
				noError(t, db.Scopes(cache.Cache(cache.Lock())).Where("grp <> ?", round).Find(&rows).Error)
				if len(rows) == 0 {
					t.Error("no rows")
				}
			})
		}
		all.Wait()
	}
	stats := plugin.Stats()
	return asked{stats.Misses, stats.Hits}
}

func TestLCK01TheDatabaseIsAskedOnceForAMissingResult(t *testing.T) {
	onServers(t, func(t *testing.T, j job) {
		j.Work, j.Rounds = "lock", 15
		var theirs asked
		wait := j.second(t, &theirs)
		mine := j.lock(t)
		wait()
		t.Logf("misses: %d here, %d there; hits: %d here, %d there", mine.Misses, theirs.Misses, mine.Hits, theirs.Hits)
		require.EqualValues(t, j.Rounds, mine.Misses+theirs.Misses)
		require.EqualValues(t, 2*16*j.Rounds-j.Rounds, mine.Hits+theirs.Hits)
	})
}

func TestLCK02AWaiterGoesOnWhenTheHolderFails(t *testing.T) {
	config := cacheplugin.Config{LockWait: time.Minute}
	fixture.OnEveryDatabase(t, fixture.Options{Config: config, Models: []any{&testmodel.Label{}}}, func(t *testing.T, f *fixture.Fixture) {
		require.NoError(t, f.Plain.Create(&[]testmodel.Label{{Text: "a"}, {Text: "b"}}).Error)
		held, err := f.DB.Scopes(cache.Cache(cache.Lock())).Model(&testmodel.Label{}).Rows()
		require.NoError(t, err)
		waiting, done := make(chan struct{}), make(chan error)
		go func() {
			close(waiting)
			done <- f.DB.Scopes(cache.Cache(cache.Lock())).Model(&testmodel.Label{}).Find(&[]testmodel.Label{}).Error
		}()
		<-waiting
		require.True(t, held.Next())
		require.NoError(t, held.Close()) // before its end: a failure
		require.NoError(t, <-done)
		f.Hits(t, func() {
			require.NoError(t, f.DB.Model(&testmodel.Label{}).Find(&[]testmodel.Label{}).Error)
		}, "the waiter has stored it")
	})
}

func TestLCK02AWaiterGoesOnWhenTheHolderDies(t *testing.T) {
	config := cacheplugin.Config{LockWait: time.Hour, LeaseTTL: time.Second}
	fixture.OnEveryDatabase(t, fixture.Options{Config: config, Models: []any{&testmodel.Label{}}}, func(t *testing.T, f *fixture.Fixture) {
		require.NoError(t, f.Plain.Create(&testmodel.Label{Text: "a"}).Error)
		held, err := f.DB.Scopes(cache.Cache(cache.Lock())).Model(&testmodel.Label{}).Rows()
		require.NoError(t, err)
		read := func() {
			require.NoError(t, f.DB.Scopes(cache.Cache(cache.Lock())).Model(&testmodel.Label{}).Find(&[]testmodel.Label{}).Error)
		}
		f.Misses(t, read)
		require.NoError(t, held.Close())
		f.Hits(t, read)
	})
}

func TestLCK03AHitNeedsNoLock(t *testing.T) {
	fixture.OnEveryDatabase(t, fixture.Options{Models: []any{&testmodel.Label{}}}, func(t *testing.T, f *fixture.Fixture) {
		require.NoError(t, f.Plain.Create(&testmodel.Label{Text: "a"}).Error)
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		read := func() {
			require.NoError(t, f.DB.WithContext(ctx).Scopes(cache.Cache(cache.Lock())).Find(&[]testmodel.Label{}).Error)
		}
		f.Cached(t, read)
		f.Hits(t, read)
	})
}
