package decorators_test

import (
	"context"
	"crypto/rand"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cacheplugin/cacheplugin"
	"github.com/cacheplugin/cacheplugin/decorators"
)

// SMP-01, FIL-01.
func TestSimpleCaches(t *testing.T) {
	f := onSQLite(t)
	inRedis, err := decorators.NewRedisCache(f.db)
	require.NoError(t, err)
	inFiles, err := decorators.NewFileCache(filepath.Join(t.TempDir(), "a", "b"))
	require.NoError(t, err)
	for name, c := range map[string]decorators.Cache{"redis": inRedis, "files": inFiles} {
		t.Run(name, func(t *testing.T) {
			ctx := t.Context()
			_, err := c.Get(ctx, "key")
			require.ErrorIs(t, err, decorators.ErrMiss)
			require.NoError(t, c.Delete(ctx, "key"))
			for _, value := range [][]byte{[]byte("one"), {}, []byte(strings.Repeat("x", 1<<16))} {
				require.NoError(t, c.Set(ctx, "key", value, time.Minute))
				got, err := c.Get(ctx, "key")
				require.NoError(t, err)
				require.Equal(t, value, got)
			}
			require.NoError(t, c.Set(ctx, "../../other {key}\x00", []byte("two"), 0))
			require.NoError(t, c.Delete(ctx, "key"))
			_, err = c.Get(ctx, "key")
			require.ErrorIs(t, err, decorators.ErrMiss)
			got, err := c.Get(ctx, "../../other {key}\x00")
			require.NoError(t, err)
			require.Equal(t, "two", string(got))
			require.Error(t, c.Set(ctx, "key", nil, -1))

			require.NoError(t, c.Set(ctx, "key", []byte("short"), time.Nanosecond))
			require.Eventually(t, func() bool {
				_, err := c.Get(ctx, "key")
				return err != nil
			}, time.Minute, time.Millisecond)

			type point struct{ X, Y int }
			require.NoError(t, decorators.SetAs(ctx, c, "typed", point{1, 2}, time.Minute))
			p, err := decorators.GetAs[point](ctx, c, "typed")
			require.NoError(t, err)
			require.Equal(t, point{1, 2}, p)
			_, err = decorators.GetAs[int](ctx, c, "typed")
			require.ErrorIs(t, err, decorators.ErrMiss, "another type")
			_, err = decorators.GetAs[point](ctx, c, "typed", decorators.WithCodec(decorators.JSON{}))
			require.ErrorIs(t, err, decorators.ErrMiss, "another codec")
			require.ErrorIs(t, decorators.SetAs(ctx, c, "typed", make(chan int), 0), decorators.ErrOption)

			var runs counter
			fn, err := decorators.Cached(nil, "on", func(context.Context, int) (int, error) { return runs.add(), nil },
				decorators.On(c), decorators.Timeout(time.Minute))
			require.NoError(t, err)
			for range 2 {
				v, err := fn.Call(ctx, 7)
				require.NoError(t, err)
				require.Equal(t, 1, v)
			}
			v, err := fn.Call(decorators.In(ctx, f.db), 7)
			require.NoError(t, err)
			require.Equal(t, 2, v, "what a transaction has written is unknown here")
			require.NoError(t, fn.Set(ctx, 7, 5))
			v, err = fn.Call(ctx, 7)
			require.NoError(t, err)
			require.Equal(t, 5, v)
			require.NoError(t, fn.Invalidate(ctx, 7))
			v, err = fn.Call(ctx, 7)
			require.NoError(t, err)
			require.Equal(t, 3, v)
		})
	}
}

// SMP-02.
func TestSimpleCacheIsUnderThePrefixAndOutlivesInvalidateAll(t *testing.T) {
	f, other := onSQLite(t), onSQLite(t)
	one, err := decorators.NewRedisCache(f.db)
	require.NoError(t, err)
	two, err := decorators.NewRedisCache(other.db)
	require.NoError(t, err)
	ctx := t.Context()
	require.NoError(t, one.Set(ctx, "key", []byte("one"), time.Minute))
	_, err = two.Get(ctx, "key")
	require.ErrorIs(t, err, decorators.ErrMiss)
	require.NoError(t, cacheplugin.InvalidateAll(f.db))
	got, err := one.Get(ctx, "key")
	require.NoError(t, err)
	require.Equal(t, "one", string(got))
	n, err := f.config.Redis.Exists(ctx, f.config.Prefix+":simple:key").Result()
	require.NoError(t, err)
	require.EqualValues(t, 1, n)
}

func TestDamagedValuesInRedisAreMisses(t *testing.T) {
	f := onSQLite(t)
	c, err := decorators.NewRedisCache(f.db)
	require.NoError(t, err)
	ctx := t.Context()
	at := func(key string) string { return f.config.Prefix + ":simple:" + key }
	put := func(key string, content []byte) {
		t.Helper()
		require.NoError(t, f.config.Redis.Set(ctx, at(key), content, 0).Err())
	}
	missed := func(key, what string, n int) {
		t.Helper()
		_, err := c.Get(ctx, key)
		require.ErrorIs(t, err, decorators.ErrMiss, "%s %d", what, n)
	}
	require.NoError(t, c.Set(ctx, "key", []byte("value"), time.Minute))
	require.NoError(t, c.Set(ctx, "other", []byte("another"), time.Minute))
	whole, err := f.config.Redis.Get(ctx, at("key")).Bytes()
	require.NoError(t, err)
	foreign, err := f.config.Redis.Get(ctx, at("other")).Bytes()
	require.NoError(t, err)
	for n := range whole {
		for bit := range 8 {
			flipped := append([]byte(nil), whole...)
			flipped[n] ^= 1 << bit
			put("key", flipped)
			missed("key", "flipped", n)
		}
		put("key", whole[:n])
		missed("key", "cut", n)
	}
	put("key", foreign)
	missed("key", "swapped", 0)
	put("key", []byte("value"))
	missed("key", "stored before values were sealed", 0)
	put("key", whole)
	got, err := c.Get(ctx, "key")
	require.NoError(t, err)
	require.Equal(t, "value", string(got))

	var runs counter
	fn, err := decorators.Cached(nil, "damaged", func(context.Context, int) (int, error) { return runs.add(), nil },
		decorators.On(c), decorators.Timeout(time.Minute))
	require.NoError(t, err)
	v, err := fn.Call(ctx, 7)
	require.NoError(t, err)
	require.Equal(t, 1, v)
	keys, err := f.config.Redis.Keys(ctx, at("computed:*")).Result()
	require.NoError(t, err)
	require.Len(t, keys, 1)
	stored, err := f.config.Redis.Get(ctx, keys[0]).Bytes()
	require.NoError(t, err)
	stored[len(stored)-1] ^= 2 // the number itself
	require.NoError(t, f.config.Redis.Set(ctx, keys[0], stored, 0).Err())
	v, err = fn.Call(ctx, 7)
	require.NoError(t, err)
	require.Equal(t, 2, v)
}

// Two prefixes may continue each other by what looks like a key.
func TestSimpleCachesOfTwoPrefixesDoNotAnswerForEachOther(t *testing.T) {
	prefix := "test-" + rand.Text()
	one := onSQLite(t, func(c *cacheplugin.Config) { c.Prefix = prefix })
	two := onSQLite(t, func(c *cacheplugin.Config) { c.Prefix = prefix + ":simple:x" })
	first, err := decorators.NewRedisCache(one.db)
	require.NoError(t, err)
	second, err := decorators.NewRedisCache(two.db)
	require.NoError(t, err)
	require.NoError(t, first.Set(t.Context(), "x:simple:key", []byte("one"), time.Minute))
	_, err = second.Get(t.Context(), "key")
	require.ErrorIs(t, err, decorators.ErrMiss)
}

func TestSimpleCacheOfADisabledPluginMisses(t *testing.T) {
	f := onSQLite(t, func(c *cacheplugin.Config) { c.Disabled = true })
	c, err := decorators.NewRedisCache(f.db)
	require.NoError(t, err)
	require.NoError(t, c.Set(t.Context(), "key", []byte("x"), 0))
	_, err = c.Get(t.Context(), "key")
	require.ErrorIs(t, err, decorators.ErrMiss)
	require.NoError(t, c.Delete(t.Context(), "key"))
}

// files lists the regular files under a directory.
func files(t *testing.T, dir string) []string {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(dir, "*", "*"))
	require.NoError(t, err)
	hidden, err := filepath.Glob(filepath.Join(dir, "*", ".*"))
	require.NoError(t, err)
	for _, h := range hidden {
		if base := filepath.Base(h); base != "." && base != ".." && !contains(found, h) {
			found = append(found, h)
		}
	}
	return found
}

func contains(all []string, one string) bool {
	for _, s := range all {
		if s == one {
			return true
		}
	}
	return false
}

// FIL-01.
func TestDamagedFilesAreMisses(t *testing.T) {
	dir := cacheDir(t)
	c, err := decorators.NewFileCache(dir)
	require.NoError(t, err)
	ctx := t.Context()
	require.NoError(t, c.Set(ctx, "key", []byte("value"), time.Minute))
	all := files(t, dir)
	require.Len(t, all, 1)
	whole, err := os.ReadFile(all[0])
	require.NoError(t, err)
	for n := range whole {
		require.NoError(t, os.WriteFile(all[0], whole[:n], 0o600))
		_, err = c.Get(ctx, "key")
		require.ErrorIs(t, err, decorators.ErrMiss, "cut at %d", n)
		flipped := append([]byte(nil), whole...)
		flipped[n] ^= 0x10
		require.NoError(t, os.WriteFile(all[0], flipped, 0o600))
		_, err = c.Get(ctx, "key")
		require.ErrorIs(t, err, decorators.ErrMiss, "flipped at %d", n)
	}
	// A file of another key is none of this one's.
	require.NoError(t, os.WriteFile(all[0], whole, 0o600))
	require.NoError(t, c.Set(ctx, "other", []byte("x"), time.Minute))
	for _, path := range files(t, dir) {
		require.NoError(t, os.WriteFile(path, whole, 0o600))
	}
	_, err = c.Get(ctx, "other")
	require.ErrorIs(t, err, decorators.ErrMiss)
}

// FIL-01.
func TestConcurrentWritersLeaveOneWholeValue(t *testing.T) {
	dir := cacheDir(t)
	c, err := decorators.NewFileCache(dir)
	require.NoError(t, err)
	var wait sync.WaitGroup
	for n := range 8 {
		wait.Go(func() {
			value := []byte(strings.Repeat(string(rune('a'+n)), 1000+n))
			for range 20 {
				if err := c.Set(context.Background(), "key", value, time.Minute); err != nil {
					t.Error(err)
				}
				got, err := c.Get(context.Background(), "key")
				if err != nil || len(got) != 1000+int(got[0]-'a') || strings.Trim(string(got), string(got[0])) != "" {
					t.Errorf("a torn value: %v", err)
				}
				if _, err := c.Clean(context.Background(), 0); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wait.Wait()
	require.Len(t, files(t, dir), 1)
}

// FIL-01.
func TestCleanRemovesWhatIsOfNoUse(t *testing.T) {
	dir := cacheDir(t)
	c, err := decorators.NewFileCache(dir)
	require.NoError(t, err)
	ctx := t.Context()
	done, err := c.Clean(ctx, 0)
	require.NoError(t, err)
	require.Zero(t, done)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "README"), nil, 0o600))
	for _, key := range []string{"a", "b", "c"} {
		require.NoError(t, c.Set(ctx, key, []byte("expired"), time.Nanosecond))
	}
	shard := filepath.Dir(files(t, dir)[0])
	require.NoError(t, c.Set(ctx, "kept", []byte("kept"), time.Hour))
	require.NoError(t, c.Set(ctx, "for ever", []byte("kept"), 0))
	left, fresh, damaged := filepath.Join(shard, ".new-1"), filepath.Join(shard, ".new-2"), filepath.Join(shard, strings.Repeat("0", 62))
	foreign := filepath.Join(shard, "main.go")
	require.NoError(t, os.WriteFile(foreign, []byte("package main"), 0o600))
	for _, path := range []string{left, fresh, damaged} {
		require.NoError(t, os.WriteFile(path, []byte("x"), 0o600))
	}
	past := time.Now().Add(-2 * time.Hour)
	require.NoError(t, os.Chtimes(left, past, past))

	seen, removed := 0, 0
	for removed < 5 {
		done, err := c.Clean(ctx, 2)
		require.NoError(t, err)
		require.LessOrEqual(t, done.Seen, 2)
		seen += done.Seen
		removed += done.Removed
	}
	done, err = c.Clean(ctx, 0)
	require.NoError(t, err)
	require.Equal(t, 3, done.Seen)
	require.Zero(t, done.Removed)
	require.FileExists(t, fresh)
	require.FileExists(t, foreign)
	require.FileExists(t, filepath.Join(dir, "README"))
	got, err := c.Get(ctx, "kept")
	require.NoError(t, err)
	require.Equal(t, "kept", string(got))

	stopped, cancel := context.WithCancel(ctx)
	cancel()
	_, err = c.Clean(stopped, 0)
	require.ErrorIs(t, err, context.Canceled)
}

func TestFileNamesHoldNothingOfTheKey(t *testing.T) {
	dir := cacheDir(t)
	c, err := decorators.NewFileCache(dir)
	require.NoError(t, err)
	require.NoError(t, c.Set(t.Context(), "../secret", []byte("x"), 0))
	for _, path := range files(t, dir) {
		require.Regexp(t, `/[0-9a-f]{2}/[0-9a-f]{62}$`, path)
	}
	_, err = decorators.NewFileCache("")
	require.Error(t, err)
}
