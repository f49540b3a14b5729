package install

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cacheplugin/cacheplugin/integration/internal/modproxy"
)

const (
	plugin   = "github.com/cacheplugin/cacheplugin"
	checkout = "../.."
)

// uses says what each module is for.
var uses = map[string]use{
	plugin:                            imported,
	plugin + "/metrics/prometheus":    imported,
	plugin + "/metrics/opentelemetry": imported,
	plugin + "/replication/mysql":     imported,
	plugin + "/replication/postgres":  imported,
	plugin + "/cachetest":             imported,
	plugin + "/routers/echoviews":     imported,
	plugin + "/routers/fiberviews":    imported,
	plugin + "/routers/ginviews":      imported,
	plugin + "/cmd/cacheplugin":       installed,
	plugin + "/bench":                 development,
	plugin + "/checker":               development,
	plugin + "/crosscheck":            development,
	plugin + "/examples":              development,
	plugin + "/examples/routers":      development,
	plugin + "/integration":           development,
}

type use int

const (
	development use = iota // in a checkout only
	imported               // go get
	installed              // go install
)

// user is somebody with a Go toolchain, this repository's modules on a proxy, and
// a module cache of their own.
type user struct {
	version string
	env     []string
}

// newUser makes the proxy. The test is skipped where no proxy has the modules of
// others, but fails where the environment requires everything.
func newUser(t *testing.T) *user {
	t.Helper()
	u := &user{version: required(t)}
	proxy := t.TempDir()
	require.NoError(t, modproxy.Write(proxy, checkout, u.version))
	known := goEnv(t, "GOMODCACHE") + "/cache/download" // what has been downloaded needs no network
	u.env = append(os.Environ(),
		"GOPROXY=file://"+filepath.ToSlash(proxy)+",file://"+filepath.ToSlash(known)+","+goEnv(t, "GOPROXY"),
		"GOMODCACHE="+t.TempDir(), "GOWORK=off", "GOSUMDB=off",
		// Without the folders' names in what is built, the build cache serves the
		// next run, whose folders are others.
		"GOFLAGS=-mod=mod -modcacherw -trimpath",
		// SQLite in C takes a minute, is not cached across folders, and is compiled by
		// the other tests.
		"CGO_ENABLED=0",
	)
	if out, err := u.try(t.TempDir(), "mod", "download", "github.com/jackc/pgx/v5@v5.7.2"); err != nil {
		if os.Getenv("CACHEPLUGIN_TEST_REQUIRE") != "" {
			t.Fatalf("no module proxy can be reached: %s", out)
		}
		t.Skipf("no module proxy can be reached: %s", out)
	}
	return u
}

// required is the version by which the modules require each other.
func required(t *testing.T) string {
	t.Helper()
	modules, err := modproxy.Modules(checkout)
	require.NoError(t, err)
	for _, m := range modules {
		for _, r := range m.Mod.Require {
			if r.Mod.Path == plugin {
				return r.Mod.Version
			}
		}
	}
	t.Fatal("no module requires the plugin")
	return ""
}

func goEnv(t *testing.T, name string) string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "go", "env", name).Output()
	require.NoError(t, err)
	return strings.TrimSpace(string(out))
}

// run runs the go command in a folder and returns what it prints.
func (u *user) run(t *testing.T, dir string, args ...string) string {
	t.Helper()
	out, err := u.try(dir, args...)
	require.NoError(t, err, "go %s: %s", strings.Join(args, " "), out)
	return strings.TrimSpace(out)
}

func (u *user) try(dir string, args ...string) (string, error) {
	cmd := exec.CommandContext(context.Background(), "go", args...)
	cmd.Dir, cmd.Env = dir, u.env
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// module makes a module of one's own with a package that imports paths.
func module(t *testing.T, requirements string, paths ...string) string {
	t.Helper()
	dir := t.TempDir()
	text := "package program\n\nimport (\n"
	for _, path := range paths {
		text += "\t_ \"" + path + "\"\n"
	}
	text += ")\n"
	for name, text := range map[string]string{
		"go.mod":     "module example.com/program\n\ngo 1.26.0\n\n" + requirements,
		"program.go": text,
	} {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644))
	}
	return dir
}

func TestEveryModuleHasAUse(t *testing.T) {
	modules, err := modproxy.Modules(checkout)
	require.NoError(t, err)
	var paths []string
	for _, m := range modules {
		paths = append(paths, m.Path)
		require.Contains(t, uses, m.Path)
	}
	require.Len(t, uses, len(paths))
}

func TestInstallation(t *testing.T) {
	u := newUser(t)
	for path, use := range uses {
		switch use {
		case imported:
			t.Run("imports "+path, func(t *testing.T) { imports(t, u, path) })
		case installed:
			t.Run("installs "+path, func(t *testing.T) { installs(t, u, path) })
		}
	}
	t.Run("raises no driver", func(t *testing.T) { raisesNoDriver(t, u) })
}

// imports: a module can be had alone.
func imports(t *testing.T, u *user, path string) {
	dir := module(t, "", path)
	u.run(t, dir, "get", path+"@"+u.version)
	u.run(t, dir, "build", "./...")
	require.Equal(t, u.version, u.run(t, dir, "list", "-m", "-f", "{{.Version}}", path))
}

// installs: a command can be had without a checkout, and knows its version.
func installs(t *testing.T, u *user, path string) {
	bin := t.TempDir()
	own := &user{u.version, append(u.env, "GOBIN="+bin)}
	own.run(t, t.TempDir(), "install", path+"@"+u.version)
	out, err := exec.CommandContext(t.Context(), filepath.Join(bin, filepath.Base(path)), "--version").CombinedOutput()
	require.NoError(t, err, string(out))
	require.Contains(t, string(out), u.version)
}

// raisesNoDriver: a program keeps the versions of the drivers that it has chosen.
func raisesNoDriver(t *testing.T, u *user) {
	chosen := map[string]string{"github.com/jackc/pgx/v5": "v5.7.2", "gorm.io/driver/postgres": "v1.5.11"}
	requirements := ""
	for path, version := range chosen {
		requirements += "require " + path + " " + version + "\n"
	}
	dir := module(t, requirements, plugin, "gorm.io/driver/postgres", "github.com/jackc/pgx/v5/stdlib")
	u.run(t, dir, "get", plugin+"@"+u.version)
	u.run(t, dir, "mod", "tidy")
	u.run(t, dir, "build", "./...")
	for path, version := range chosen {
		require.Equal(t, version, u.run(t, dir, "list", "-m", "-f", "{{.Version}}", path), path)
	}
}
