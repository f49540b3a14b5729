package release

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// repository is a checkout with two modules besides the root's and the script.
type repository struct{ dir string }

func newRepository(t *testing.T) *repository {
	t.Helper()
	if _, err := exec.LookPath("git"); err != nil {
		t.Skipf("needs git: %v", err)
	}
	r := &repository{dir: t.TempDir()}
	script, err := os.ReadFile("../../scripts/release")
	require.NoError(t, err)
	for path, text := range map[string]string{
		"scripts/release":        string(script),
		"CHANGELOG.md":           "# Changelog\n\n## Unreleased\n\n## 0.2.0 - 2026-12-01\n\n## [0.3.0]\n",
		"go.mod":                 "module github.com/cacheplugin/cacheplugin\n\ngo 1.26.0\n\nrequire gorm.io/gorm v1.31.2\n",
		"integration/go.mod":     "module github.com/cacheplugin/cacheplugin/integration\n\ngo 1.26.0\n\nrequire github.com/cacheplugin/cacheplugin v0.1.0\n",
		"cmd/cacheplugin/go.mod": "module github.com/cacheplugin/cacheplugin/cmd/cacheplugin\n\ngo 1.26.0\n\nrequire (\n\tgithub.com/cacheplugin/cacheplugin v0.1.0\n\tgithub.com/cacheplugin/cacheplugin/integration v0.1.0\n\tgorm.io/gorm v1.31.2\n)\n",
		"go.work":                "go 1.26.0\n\nuse (\n\t.\n\t./cmd/cacheplugin\n)\n\nreplace (\n\tgithub.com/cacheplugin/cacheplugin v0.1.0 => .\n\tgithub.com/cacheplugin/cacheplugin/integration v0.1.0 => ./integration\n)\n",
	} {
		r.write(t, path, text)
	}
	require.NoError(t, os.Chmod(filepath.Join(r.dir, "scripts/release"), 0o755))
	r.git(t, "init", "-q")
	r.git(t, "add", "-A")
	r.git(t, "commit", "-qm", "The first one")
	return r
}

func (r *repository) write(t *testing.T, path, text string) {
	t.Helper()
	path = filepath.Join(r.dir, path)
	require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
	require.NoError(t, os.WriteFile(path, []byte(text), 0o644))
}

func (r *repository) read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(r.dir, path))
	require.NoError(t, err)
	return string(text)
}

func (r *repository) try(name string, args ...string) (string, error) {
	cmd := exec.Command(name, args...)
	cmd.Dir = r.dir
	cmd.Env = append(os.Environ(), // nobody's own configuration
		"GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_SYSTEM=/dev/null",
		"GIT_AUTHOR_NAME=a", "GIT_AUTHOR_EMAIL=a@example.com", "GIT_COMMITTER_NAME=a", "GIT_COMMITTER_EMAIL=a@example.com")
	out, err := cmd.CombinedOutput()
	return string(out), err
}

func (r *repository) git(t *testing.T, args ...string) string {
	t.Helper()
	out, err := r.try("git", args...)
	require.NoError(t, err, out)
	return out
}

func (r *repository) release(version string) (string, error) {
	return r.try("scripts/release", version)
}

func TestReleaseTagsEveryModule(t *testing.T) {
	r := newRepository(t)
	out, err := r.release("v0.2.0")
	require.NoError(t, err, out)
	require.Equal(t, []string{"cmd/cacheplugin/v0.2.0", "integration/v0.2.0", "v0.2.0"}, strings.Fields(r.git(t, "tag")))
	require.Empty(t, r.git(t, "status", "--porcelain"))
	for _, tag := range strings.Fields(r.git(t, "tag")) {
		require.Equal(t, r.git(t, "rev-parse", "HEAD"), r.git(t, "rev-parse", tag+"^{commit}"), tag)
	}
	require.Contains(t, r.read(t, "integration/go.mod"), "require github.com/cacheplugin/cacheplugin v0.2.0\n")
	command := r.read(t, "cmd/cacheplugin/go.mod")
	require.Contains(t, command, "\tgithub.com/cacheplugin/cacheplugin v0.2.0\n")
	require.Contains(t, command, "\tgithub.com/cacheplugin/cacheplugin/integration v0.2.0\n")
	require.Contains(t, command, "\tgorm.io/gorm v1.31.2\n", "others' versions are none of ours")
	work := r.read(t, "go.work")
	require.Contains(t, work, "\tgithub.com/cacheplugin/cacheplugin v0.2.0 => .\n")
	require.Contains(t, work, "\tgithub.com/cacheplugin/cacheplugin/integration v0.2.0 => ./integration\n")

	out, err = r.release("v0.3.0")
	require.NoError(t, err, out)
	require.NotContains(t, r.read(t, "cmd/cacheplugin/go.mod")+r.read(t, "go.work"), "v0.2.0")
}

func TestReleaseRefuses(t *testing.T) {
	for _, test := range []struct {
		name, version string
		before        func(t *testing.T, r *repository)
		says          string
	}{
		{"no version", "", nil, "usage"},
		{"what is no version", "0.2.0", nil, "usage"},
		{"a version that the changelog doesn't have", "v0.2.1", nil, "CHANGELOG.md"},
		{"a tree with changes", "v0.2.0", func(t *testing.T, r *repository) { r.write(t, "new.go", "package cacheplugin\n") }, "not committed"},
		{"a version that is there", "v0.2.0", func(t *testing.T, r *repository) { r.git(t, "tag", "cmd/cacheplugin/v0.2.0") }, "there already"},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := newRepository(t)
			if test.before != nil {
				test.before(t, r)
			}
			head, tags := r.git(t, "rev-parse", "HEAD"), r.git(t, "tag")
			out, err := r.release(test.version)
			require.Error(t, err)
			require.Contains(t, out, test.says)
			require.Equal(t, head, r.git(t, "rev-parse", "HEAD"))
			require.Equal(t, tags, r.git(t, "tag"))
		})
	}
}
