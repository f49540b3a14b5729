//go:build unix

package decorators_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cacheplugin/cacheplugin/decorators"
)

func TestFileCacheRefusesDirectoriesOfOthers(t *testing.T) {
	for name, c := range map[string]struct {
		make func(t *testing.T, dir string)
		want string
	}{
		"writable by all": {func(t *testing.T, dir string) {
			require.NoError(t, os.Mkdir(dir, 0o700))
			require.NoError(t, os.Chmod(dir, 0o777))
		}, "chmod go-w"},
		"writable by all, with the sticky bit": {func(t *testing.T, dir string) {
			require.NoError(t, os.Mkdir(dir, 0o700))
			require.NoError(t, os.Chmod(dir, 0o777|fs.ModeSticky))
		}, "chmod go-w"},
		"writable by the group": {func(t *testing.T, dir string) {
			require.NoError(t, os.Mkdir(dir, 0o700))
			require.NoError(t, os.Chmod(dir, 0o770))
		}, "chmod go-w"},
		"a link": {func(t *testing.T, dir string) {
			require.NoError(t, os.Mkdir(dir+"-real", 0o700))
			require.NoError(t, os.Symlink(dir+"-real", dir))
		}, "it is a link"},
		"of another user": {func(t *testing.T, dir string) {
			if os.Geteuid() != 0 {
				t.Skip("only root can give a directory away")
			}
			require.NoError(t, os.Mkdir(dir, 0o700))
			require.NoError(t, os.Chown(dir, 12345, -1))
		}, "belongs to user 12345"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "cache")
			c.make(t, dir)
			_, err := decorators.NewFileCache(dir)
			require.ErrorIs(t, err, decorators.ErrUnsafeDirectory)
			require.ErrorContains(t, err, dir)
			require.ErrorContains(t, err, c.want)
			// With a slash at its end, or made of parts, it is the same one.
			_, err = decorators.NewFileCache(dir + "/./")
			require.ErrorIs(t, err, decorators.ErrUnsafeDirectory)

			below := filepath.Join(dir, "below")
			if name != "of another user" {
				_, err = decorators.NewFileCache(below)
				require.NoError(t, err, "what it makes itself is safe")
			}
		})
	}
	t.Run("a file", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "file")
		require.NoError(t, os.WriteFile(path, nil, 0o600))
		_, err := decorators.NewFileCache(path)
		require.Error(t, err)
	})
	t.Run("readable by all is safe", func(t *testing.T) {
		dir := filepath.Join(t.TempDir(), "cache")
		require.NoError(t, os.Mkdir(dir, 0o700))
		require.NoError(t, os.Chmod(dir, 0o755))
		_, err := decorators.NewFileCache(dir)
		require.NoError(t, err)
	})
}

func TestFileCacheMakesItsFilesForOneUser(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a", "b")
	c, err := decorators.NewFileCache(dir)
	require.NoError(t, err)
	require.NoError(t, c.Set(t.Context(), "key", []byte("value"), 0))
	path := files(t, dir)[0]
	for p, want := range map[string]fs.FileMode{
		dir: fs.ModeDir | 0o700, filepath.Dir(dir): fs.ModeDir | 0o700, filepath.Dir(path): fs.ModeDir | 0o700, path: 0o600,
	} {
		info, err := os.Lstat(p)
		require.NoError(t, err)
		require.Equal(t, want, info.Mode()&(fs.ModeType|fs.ModePerm), p)
	}
}

func TestFileCacheReadsNothingOfOthers(t *testing.T) {
	for name, spoil := range map[string]func(t *testing.T, path string){
		"a link to the file": func(t *testing.T, path string) {
			require.NoError(t, os.Rename(path, path+"-moved"))
			require.NoError(t, os.Symlink(filepath.Base(path)+"-moved", path))
		},
		"a link out of the directory": func(t *testing.T, path string) {
			moved := filepath.Join(t.TempDir(), "file")
			require.NoError(t, os.Rename(path, moved))
			require.NoError(t, os.Symlink(moved, path))
		},
		"a link to nothing": func(t *testing.T, path string) {
			require.NoError(t, os.Remove(path))
			require.NoError(t, os.Symlink("nothing", path))
		},
		"a pipe": func(t *testing.T, path string) {
			require.NoError(t, os.Remove(path))
			require.NoError(t, syscall.Mkfifo(path, 0o600))
		},
		"writable by all":       func(t *testing.T, path string) { require.NoError(t, os.Chmod(path, 0o666)) },
		"writable by the group": func(t *testing.T, path string) { require.NoError(t, os.Chmod(path, 0o660)) },
		"of another user": func(t *testing.T, path string) {
			if os.Geteuid() != 0 {
				t.Skip("only root can give a file away")
			}
			require.NoError(t, os.Chown(path, 12345, -1))
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "cache")
			c, err := decorators.NewFileCache(dir)
			require.NoError(t, err)
			require.NoError(t, c.Set(t.Context(), "key", []byte("value"), time.Hour))
			spoil(t, files(t, dir)[0])
			_, err = c.Get(t.Context(), "key")
			require.ErrorIs(t, err, decorators.ErrMiss)
			_, err = c.Clean(t.Context(), 0)
			require.NoError(t, err)
			require.NoError(t, c.Set(t.Context(), "key", []byte("new"), time.Hour))
			got, err := c.Get(t.Context(), "key")
			require.NoError(t, err)
			require.Equal(t, "new", string(got), "the next value takes its place")
			require.NoError(t, c.Delete(t.Context(), "key"))
		})
	}
}

func TestFileCacheRefusesPartsOfOthers(t *testing.T) {
	ctx := t.Context()
	for name, spoil := range map[string]func(t *testing.T, part string){
		"writable by all": func(t *testing.T, part string) { require.NoError(t, os.Chmod(part, 0o777)) },
		"a link": func(t *testing.T, part string) {
			require.NoError(t, os.Rename(part, part+"-moved"))
			require.NoError(t, os.Symlink(filepath.Base(part)+"-moved", part))
		},
		"a link out of the directory": func(t *testing.T, part string) {
			moved := filepath.Join(t.TempDir(), "part")
			require.NoError(t, os.Rename(part, moved))
			require.NoError(t, os.Symlink(moved, part))
		},
	} {
		t.Run("the folder of a file, "+name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "cache")
			c, err := decorators.NewFileCache(dir)
			require.NoError(t, err)
			require.NoError(t, c.Set(ctx, "key", []byte("value"), 0))
			spoil(t, filepath.Dir(files(t, dir)[0]))
			_, err = c.Get(ctx, "key")
			require.Error(t, err)
			require.Error(t, c.Set(ctx, "key", []byte("value"), 0))
		})
		t.Run("the directory, "+name+" since", func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "cache")
			c, err := decorators.NewFileCache(dir)
			require.NoError(t, err)
			require.NoError(t, c.Set(ctx, "key", []byte("value"), 0))
			spoil(t, dir)
			_, err = c.Get(ctx, "key")
			require.ErrorIs(t, err, decorators.ErrUnsafeDirectory)
			require.ErrorIs(t, c.Set(ctx, "key", nil, 0), decorators.ErrUnsafeDirectory)
			require.ErrorIs(t, c.Delete(ctx, "key"), decorators.ErrUnsafeDirectory)
			_, err = c.Clean(ctx, 0)
			require.ErrorIs(t, err, decorators.ErrUnsafeDirectory)
		})
	}
}

func TestFileCacheOutlivesItsDirectory(t *testing.T) {
	ctx := t.Context()
	dir := filepath.Join(t.TempDir(), "cache")
	c, err := decorators.NewFileCache(dir)
	require.NoError(t, err)
	require.NoError(t, c.Set(ctx, "key", []byte("value"), 0))
	require.NoError(t, os.RemoveAll(dir))
	_, err = c.Get(ctx, "key")
	require.ErrorIs(t, err, decorators.ErrMiss)
	require.NoError(t, c.Delete(ctx, "key"))
	done, err := c.Clean(ctx, 0)
	require.NoError(t, err)
	require.Zero(t, done)
	require.NoError(t, c.Set(ctx, "key", []byte("new"), 0))
	got, err := c.Get(ctx, "key")
	require.NoError(t, err)
	require.Equal(t, "new", string(got))
}
