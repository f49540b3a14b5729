package decorators_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"
	"gorm.io/gorm"

	"github.com/cacheplugin/cacheplugin"
	"github.com/cacheplugin/cacheplugin/cache"
	"github.com/cacheplugin/cacheplugin/decorators"
	"github.com/cacheplugin/cacheplugin/internal/testenv"
	"github.com/cacheplugin/cacheplugin/internal/testmodel"
)

// DEC-01, DEC-02.
func TestFunctionsAreDroppedByWhatTheirSamplesName(t *testing.T) {
	onDatabases(t, func(t *testing.T, f *fixture) {
		ofCategory := func(category int) *gorm.DB {
			return f.db.Model(&testmodel.Post{}).Where("category_id = ?", category)
		}
		for name, c := range map[string]struct {
			samples []decorators.Option
			kept    bool // by a change of the other category's post
		}{
			"a model":         {samples: []decorators.Option{decorators.Samples(&testmodel.Post{})}},
			"a table":         {samples: []decorators.Option{decorators.Samples("posts")}},
			"a query":         {samples: []decorators.Option{decorators.Samples(ofCategory(1))}, kept: true},
			"an object":       {samples: []decorators.Option{decorators.Samples(testmodel.Post{ID: 1})}, kept: true},
			"objects":         {samples: []decorators.Option{decorators.Samples([]testmodel.Post{{ID: 1}})}, kept: true},
			"several":         {samples: []decorators.Option{decorators.Samples(&testmodel.Category{}, ofCategory(1))}, kept: true},
			"of the argument": {samples: []decorators.Option{decorators.SamplesOf(func(c int) []any { return []any{ofCategory(c)} })}, kept: true},
		} {
			t.Run(name, func(t *testing.T) {
				var runs counter
				fn, err := decorators.CachedAs(f.db, name, func(ctx context.Context, category int) (string, error) {
					runs.add()
					return titles(f.db.WithContext(ctx), category)
				}, c.samples...)
				require.NoError(t, err)
				call := func(want string, ran int) {
					t.Helper()
					got, err := fn.Call(t.Context(), 1)
					require.NoError(t, err)
					require.Equal(t, want, got)
					require.Equal(t, ran, runs.ran())
				}
				f.retitle(t, 1, "x")
				call("x", 1)
				call("x", 0)
				other, err := fn.Call(t.Context(), 2)
				require.NoError(t, err)
				require.NotEqual(t, "x", other, "another argument")
				runs.ran()

				f.retitle(t, 2, "elsewhere "+name)
				if c.kept {
					call("x", 0)
				} else {
					call("x", 1)
				}
				f.retitle(t, 1, "changed")
				call("changed", 1)
				call("changed", 0)
			})
		}
	})
}

// DEC-03.
func TestResultsInvalidatedWhileTheyAreComputedAreNotStored(t *testing.T) {
	f := onSQLite(t)
	var runs counter
	fn, err := decorators.CachedAs(f.db, "racing", func(ctx context.Context, _ struct{}) (string, error) {
		before, err := titles(f.db.WithContext(ctx), 1)
		if runs.add() == 1 {
			f.retitle(t, 1, "after")
		}
		return before, err
	}, decorators.Samples(&testmodel.Post{}))
	require.NoError(t, err)
	for _, want := range []string{"x", "after", "after"} {
		got, err := fn.Call(t.Context(), struct{}{})
		require.NoError(t, err)
		require.Equal(t, want, got)
	}
	require.Equal(t, 2, runs.ran())
}

// DEC-02, DEC-04, DEC-05.
func TestFunctionsByTimeHaveKeys(t *testing.T) {
	f := onSQLite(t)
	type language struct{}
	type argument struct {
		id   int
		tags []string
	}
	var runs counter
	fn, err := decorators.Cached(f.db, "keys", func(context.Context, argument) (int, error) { return runs.add(), nil },
		decorators.Timeout(time.Minute), decorators.Extra("v1"),
		decorators.ExtraOf(func(ctx context.Context, a argument) any { return ctx.Value(language{}) }))
	require.NoError(t, err)
	ctx := t.Context()
	call := func(ctx context.Context, a argument) int {
		t.Helper()
		n, err := fn.Call(ctx, a)
		require.NoError(t, err)
		return n
	}
	one, two := argument{1, []string{"a"}}, argument{1, []string{"b"}}
	require.Equal(t, 1, call(ctx, one))
	require.Equal(t, 1, call(ctx, one))
	require.Equal(t, 2, call(ctx, two))
	require.Equal(t, 3, call(context.WithValue(ctx, language{}, "en"), one), "extra")
	require.Equal(t, 4, call(cache.Vary(ctx, "tenant"), one))
	f.retitle(t, 1, "changed")
	require.Equal(t, 1, call(ctx, one), "by time only")

	require.NoError(t, fn.Invalidate(ctx, one))
	require.Equal(t, 5, call(ctx, one))
	require.Equal(t, 2, call(ctx, two))
	require.NoError(t, fn.Key(two).Delete(ctx))
	require.Equal(t, 6, call(ctx, two))
	require.NoError(t, fn.Key(one).Set(ctx, 100))
	require.Equal(t, 100, call(ctx, one))
	require.NoError(t, fn.Set(ctx, one, 101))
	require.Equal(t, 101, call(ctx, one))
	require.Equal(t, 7, call(cache.WithoutCache(ctx), one))
	require.NoError(t, cacheplugin.InvalidateAll(f.db))
	require.Equal(t, 8, call(ctx, one))
}

func TestSetAsIsDroppedBySamples(t *testing.T) {
	f := onSQLite(t)
	fn, err := decorators.CachedAs(f.db, "set", func(ctx context.Context, category int) (string, error) {
		return titles(f.db.WithContext(ctx), category)
	}, decorators.SamplesOf(func(c int) []any { return []any{f.db.Model(&testmodel.Post{}).Where("category_id = ?", c)} }))
	require.NoError(t, err)
	require.NoError(t, fn.Set(t.Context(), 1, "given"))
	got, err := fn.Call(t.Context(), 1)
	require.NoError(t, err)
	require.Equal(t, "given", got)
	f.retitle(t, 1, "changed")
	got, err = fn.Call(t.Context(), 1)
	require.NoError(t, err)
	require.Equal(t, "changed", got)
}

// DEC-06.
func TestTimeoutDefaultsToTheSmallestOfTheSamplesProfiles(t *testing.T) {
	f := onSQLite(t)
	for name, c := range map[string]struct {
		options []decorators.Option
		want    time.Duration
	}{
		"one profile": {[]decorators.Option{decorators.Samples(&testmodel.Post{})}, 2 * time.Hour},
		"two":         {[]decorators.Option{decorators.Samples(&testmodel.Post{}, &testmodel.Category{})}, time.Hour},
		"given":       {[]decorators.Option{decorators.Samples(&testmodel.Post{}), decorators.Timeout(10 * time.Hour)}, 10 * time.Hour},
		"by time":     {nil, 30 * time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			wrap := decorators.CachedAs[int, int]
			if c.options == nil {
				wrap = decorators.Cached[int, int]
			}
			fn, err := wrap(f.db, "timeout "+name, func(context.Context, int) (int, error) { return 1, nil }, c.options...)
			require.NoError(t, err)
			f.events.take(0)
			_, err = fn.Call(t.Context(), 1)
			require.NoError(t, err)
			stored := f.events.take(cacheplugin.EventStore)
			require.Len(t, stored, 1)
			left, err := f.config.Redis.PTTL(t.Context(), "{"+f.config.Prefix+"}e:"+stored[0].Key).Result()
			require.NoError(t, err)
			require.LessOrEqual(t, left, c.want)
			require.Greater(t, left, c.want-25*time.Minute)
		})
	}
}

// DEC-07.
func TestTransactionsThatHaveWrittenComputeTheirOwn(t *testing.T) {
	onDatabases(t, func(t *testing.T, f *fixture) {
		fn, err := decorators.CachedAs(f.db, "transactions", func(ctx context.Context, category int) (string, error) {
			return titles(decorators.Handle(ctx, f.db), category)
		}, decorators.Samples(&testmodel.Post{}))
		require.NoError(t, err)
		call := func(ctx context.Context) string {
			t.Helper()
			got, err := fn.Call(ctx, 1)
			require.NoError(t, err)
			return got
		}
		require.Equal(t, "x", call(t.Context()))
		rollback := errors.New("roll back")
		err = f.db.Transaction(func(tx *gorm.DB) error {
			ctx := decorators.In(t.Context(), tx)
			require.Equal(t, "x", call(ctx))
			require.NoError(t, tx.Model(&testmodel.Post{}).Where("category_id = 1").Update("title", "inside").Error)
			require.Equal(t, "inside", call(ctx))
			return rollback
		})
		require.ErrorIs(t, err, rollback)
		require.Equal(t, "x", call(t.Context()))
	})
}

// DEC-08, and everything else that is found out before the first call.
func TestWrongOptionsAreErrorsWhenWrapping(t *testing.T) {
	f := onSQLite(t)
	number := func(context.Context, int) (int, error) { return 0, nil }
	wrap := func(fn func(context.Context, int) (int, error), opts ...decorators.Option) error {
		_, err := decorators.CachedAs(f.db, "wrong", fn, opts...)
		return err
	}
	samples := decorators.Samples(&testmodel.Post{})
	require.ErrorIs(t, wrap(number), decorators.ErrNoSamples)
	files, err := decorators.NewFileCache(cacheDir(t))
	require.NoError(t, err)
	for want, opts := range map[string][]decorators.Option{
		"sample 1 is nil":               {decorators.Samples(nil)},
		"its argument must be a int":    {decorators.SamplesOf(func(string) []any { return nil })},
		"ExtraOf is func":               {samples, decorators.ExtraOf(func(context.Context, string) any { return nil })},
		"no key can be made of Extra":   {samples, decorators.Extra(func() {})},
		"use a positive duration":       {samples, decorators.Timeout(-1)},
		"WithCodec is nil":              {samples, decorators.WithCodec(nil)},
		"On goes by time":               {samples, decorators.On(files), decorators.Timeout(1)},
		"Lock needs the plugin's cache": {samples, decorators.On(files), decorators.Lock()},
		"MaxBody means nothing here":    {samples, decorators.MaxBody(1)},
		"error 1 of CacheErrors is nil": {samples, decorators.CacheErrors(nil)},
	} {
		err := wrap(number, opts...)
		require.ErrorIs(t, err, decorators.ErrOption, want)
		require.ErrorContains(t, err, want)
	}
	require.ErrorIs(t, wrap(nil, samples), decorators.ErrOption)
	_, err = decorators.CachedAs(f.db, "", number, samples)
	require.ErrorIs(t, err, decorators.ErrOption)
	_, err = decorators.Cached(f.db, "samples by time", number, samples)
	require.ErrorContains(t, err, "goes by time")
	_, err = decorators.Cached(nil, "no handle", number, decorators.Timeout(1))
	require.ErrorIs(t, err, decorators.ErrOption)
	_, err = decorators.Cached(f.db, "argument", func(context.Context, func()) (int, error) { return 0, nil })
	require.ErrorContains(t, err, "no key can be made of its argument")
	_, err = decorators.Cached(f.db, "value", func(context.Context, int) (chan int, error) { return nil, nil })
	require.ErrorContains(t, err, "chan") // and leaves the name free
	_, err = decorators.Cached(f.db, "value", func(context.Context, int) (error, error) { return nil, nil }, decorators.WithCodec(decorators.Gob{}))
	require.NoError(t, err)

	_, err = decorators.Cached(testenv.Databases(t)[0].Open(t, nil), "plain", number)
	require.ErrorIs(t, err, cacheplugin.ErrNotInstalled)
	bare := onSQLite(t, func(c *cacheplugin.Config) { c.Defaults = cacheplugin.Profile{} })
	_, err = decorators.Cached(bare.db, "no timeout", number)
	require.ErrorContains(t, err, "no Timeout")
}

func TestErrorsAreNotStoredUnlessAsked(t *testing.T) {
	f := onSQLite(t)
	var runs counter
	temporary := errors.New("temporary")
	var result error
	fn, err := decorators.Cached(f.db, "errors", func(context.Context, int) (int, error) {
		runs.add()
		return 7, result
	}, decorators.CacheErrors(gorm.ErrRecordNotFound))
	require.NoError(t, err)
	result = temporary
	for range 2 {
		v, err := fn.Call(t.Context(), 1)
		require.Equal(t, temporary, err)
		require.Equal(t, 7, v)
	}
	require.Equal(t, 2, runs.ran())
	result = errors.Join(temporary, gorm.ErrRecordNotFound)
	_, err = fn.Call(t.Context(), 1)
	require.Equal(t, result, err)
	_, err = fn.Call(t.Context(), 1)
	require.Equal(t, gorm.ErrRecordNotFound, err)
	require.Equal(t, 1, runs.ran())
}

func TestPanicsGoThroughAndLeaveNoLease(t *testing.T) {
	f := onSQLite(t)
	boom := true
	fn, err := decorators.Cached(f.db, "panics", func(context.Context, int) (int, error) {
		if boom {
			panic("boom")
		}
		return 1, nil
	}, decorators.Lock())
	require.NoError(t, err)
	require.PanicsWithValue(t, "boom", func() { _, _ = fn.Call(t.Context(), 1) })
	boom = false
	f.events.take(0)
	_, err = fn.Call(t.Context(), 1)
	require.NoError(t, err)
	require.Len(t, f.events.take(cacheplugin.EventStore), 1, "the lease was free at once")
}

func TestCallsGetValuesOfTheirOwn(t *testing.T) {
	f := onSQLite(t)
	fn, err := decorators.CachedAs(f.db, "own", func(ctx context.Context, _ int) ([]*testmodel.Post, error) {
		var posts []*testmodel.Post
		err := f.db.WithContext(ctx).Order("id").Find(&posts).Error
		return posts, err
	}, decorators.Samples(&testmodel.Post{}))
	require.NoError(t, err)
	for range 3 {
		posts, err := fn.Call(t.Context(), 1)
		require.NoError(t, err)
		require.Equal(t, "x", posts[0].Title)
		posts[0].Title = "mutated"
		posts[1] = nil
	}
}

func TestPayloadsOfOtherVersionsAreComputedAnew(t *testing.T) {
	f := onSQLite(t)
	type older struct{ A, B int }
	type newer struct {
		A int
		C string
	}
	old, err := decorators.Cached(f.process(t).db, "versions", func(context.Context, int) (older, error) { return older{1, 2}, nil })
	require.NoError(t, err)
	var runs counter
	fn, err := decorators.Cached(f.db, "versions", func(context.Context, int) (newer, error) { return newer{A: runs.add()}, nil })
	require.NoError(t, err)
	_, err = old.Call(t.Context(), 1)
	require.NoError(t, err)
	for range 2 {
		v, err := fn.Call(t.Context(), 1)
		require.NoError(t, err)
		require.Equal(t, newer{A: 1}, v)
	}
	asJSON, err := decorators.Cached(f.process(t).db, "versions", func(context.Context, int) (newer, error) { return newer{C: "json"}, nil }, decorators.WithCodec(decorators.JSON{}))
	require.NoError(t, err)
	for range 2 {
		v, err := asJSON.Call(t.Context(), 1)
		require.NoError(t, err)
		require.Equal(t, newer{C: "json"}, v)
	}
}

func TestValuesThatCantBeEncodedAreReturned(t *testing.T) {
	f := onSQLite(t)
	type strange struct{ A any }
	fn, err := decorators.Cached(f.db, "strange", func(context.Context, int) (strange, error) { return strange{A: make(chan int)}, nil })
	require.NoError(t, err)
	f.events.take(0)
	v, err := fn.Call(t.Context(), 1)
	require.NoError(t, err)
	require.NotNil(t, v.A)
	skipped := f.events.take(cacheplugin.EventSkip)
	require.Len(t, skipped, 1)
	require.Contains(t, skipped[0].Reason, "can't be encoded")
}

func TestLockedFunctionsRunOnce(t *testing.T) {
	f := onSQLite(t)
	var runs counter
	var wait sync.WaitGroup
	fn, err := decorators.Cached(f.db, "locked", func(context.Context, int) (int, error) { return runs.add(), nil }, decorators.Lock())
	require.NoError(t, err)
	for range 8 {
		wait.Go(func() {
			v, err := fn.Call(context.Background(), 1)
			if err != nil || v != 1 {
				t.Errorf("got %d, %v", v, err)
			}
		})
	}
	wait.Wait()
	require.Equal(t, 1, runs.ran())
}

func TestDisabledPluginCallsThrough(t *testing.T) {
	f := onSQLite(t, func(c *cacheplugin.Config) { c.Disabled = true })
	var runs counter
	fn, err := decorators.CachedAs(f.db, "disabled", func(context.Context, int) (int, error) { return runs.add(), nil }, decorators.Samples("posts"))
	require.NoError(t, err)
	for n := range 3 {
		v, err := fn.Call(t.Context(), 1)
		require.NoError(t, err)
		require.Equal(t, n+1, v)
	}
	require.NoError(t, fn.Set(t.Context(), 1, 9))
	require.NoError(t, fn.Invalidate(t.Context(), 1))
}

// SMP-03.
func TestFunctionsRunEachTimeWithoutRedis(t *testing.T) {
	server := testenv.StartRedis(t)
	f := onSQLite(t, func(c *cacheplugin.Config) {
		// One attempt each time, and a pool that is larger than their number:
		// go-redis otherwise goes on dialling in the background.
		client := redis.NewClient(&redis.Options{Addr: server.Addr, MaxRetries: -1, DialerRetries: 1, PoolSize: 1000})
		t.Cleanup(func() { require.NoError(t, client.Close()) })
		c.Redis = client
		c.RedisTimeout, c.RetryFor = 200*time.Millisecond, 50*time.Millisecond
	})
	var runs counter
	fn, err := decorators.CachedAs(f.db, "degraded", func(context.Context, int) (int, error) { return runs.add(), nil }, decorators.Samples("posts"))
	require.NoError(t, err)
	simple, err := decorators.NewRedisCache(f.db)
	require.NoError(t, err)
	on, err := decorators.Cached(f.db, "degraded", func(context.Context, int) (int, error) { return runs.add(), nil },
		decorators.On(simple), decorators.Timeout(time.Minute))
	require.NoError(t, err)
	server.Stop(t)
	for n := range 2 {
		v, err := fn.Call(t.Context(), 1)
		require.NoError(t, err)
		require.Equal(t, 2*n+1, v)
		v, err = on.Call(t.Context(), 1)
		require.NoError(t, err)
		require.Equal(t, 2*n+2, v)
	}
	_, err = simple.Get(t.Context(), "x")
	require.Error(t, err)
	require.NotErrorIs(t, err, decorators.ErrMiss)
}

func TestSampleQueriesAreSharedByConcurrentCalls(t *testing.T) {
	f := onSQLite(t)
	var wait sync.WaitGroup
	fn, err := decorators.CachedAs(f.db, "shared", func(_ context.Context, n int) (int, error) { return n, nil },
		decorators.Samples(f.db.Model(&testmodel.Post{}).Where("category_id IN ?", []int{1, 2}).Scopes(func(db *gorm.DB) *gorm.DB { return db.Where("visible") })))
	require.NoError(t, err)
	for n := range 8 {
		wait.Go(func() {
			if v, err := fn.Call(context.Background(), n%3); err != nil || v != n%3 {
				t.Errorf("got %d, %v", v, err)
			}
		})
	}
	wait.Wait()
}
