package main

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cacheplugin/cacheplugin/decorators"
)

// CMD-02.
func TestCleanFilesRemovesWhatHasExpired(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "cache")
	cache, err := decorators.NewFileCache(dir)
	require.NoError(t, err)
	require.NoError(t, cache.Set(t.Context(), "short", []byte("x"), time.Nanosecond))
	require.NoError(t, cache.Set(t.Context(), "long", []byte("x"), time.Hour))
	got := decode[cleaned](t, "", exitOK, "cleanfiles", dir)
	require.Equal(t, 2, got.Seen)
	require.Equal(t, 1, got.Removed)
	_, err = cache.Get(t.Context(), "long")
	require.NoError(t, err)

	r := call(t, "", "cleanfiles", dir)
	require.Equal(t, exitOK, r.code)
	require.Regexp(t, `^removed 0 of 1 files, \d+ B left\n$`, r.out)
}

func TestCleanFilesLeavesOtherDirectoriesAlone(t *testing.T) {
	for _, path := range []string{"notes.txt", "go/main.go", "ab/main.go", "AB/x", "ab/cd/x"} {
		t.Run(path, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "cache")
			file := filepath.Join(dir, path)
			require.NoError(t, os.MkdirAll(filepath.Dir(file), 0o700))
			require.NoError(t, os.WriteFile(file, []byte("precious"), 0o600))
			r := call(t, "", "cleanfiles", dir)
			require.Equal(t, exitProblem, r.code)
			require.Contains(t, r.err, "nothing was removed")
			require.FileExists(t, file)
		})
	}
	dir := filepath.Join(t.TempDir(), "none")
	require.Equal(t, exitProblem, call(t, "", "cleanfiles", dir).code)
	require.NoDirExists(t, dir)
	require.Equal(t, exitUsage, call(t, "", "cleanfiles").code)
}
