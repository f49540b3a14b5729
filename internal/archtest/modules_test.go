package archtest

import (
	"encoding/json"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// checkout is the folder of the repository.
var checkout = filepath.Join("..", "..")

// required are the modules that this one may require: each is carried by all who
// import the plugin.
var required = []string{
	"gorm.io/gorm", "github.com/redis/go-redis/v9", "github.com/maypok86/otter/v2",
	// of the tests
	"github.com/stretchr/testify", "go.uber.org/goleak", "pgregory.net/rapid",
	"gorm.io/driver/sqlite", "github.com/mattn/go-sqlite3", "github.com/alicebob/miniredis/v2",
}

// edited is what go mod edit -json and go work edit -json print.
type edited struct {
	Module  struct{ Path string }
	Require []struct {
		Path, Version string
		Indirect      bool
	}
	Replace []struct {
		Old struct{ Path, Version string }
		New struct{ Path string }
	}
	Use []struct{ DiskPath string }
}

func edit(t *testing.T, kind, path string) (e edited) {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "go", kind, "edit", "-json", path).Output()
	require.NoError(t, err, path)
	require.NoError(t, json.Unmarshal(out, &e))
	return e
}

// modules are the folders with a go.mod, as go.work writes them.
func modules(t *testing.T) (dirs []string) {
	t.Helper()
	require.NoError(t, filepath.WalkDir(checkout, func(path string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir() && path != checkout && (strings.HasPrefix(entry.Name(), ".") || entry.Name() == "testdata"):
			return filepath.SkipDir
		case entry.Name() == "go.mod":
			dir, err := filepath.Rel(checkout, filepath.Dir(path))
			if dir != "." {
				dir = "./" + filepath.ToSlash(dir)
			}
			dirs = append(dirs, dir)
			return err
		}
		return nil
	}))
	return dirs
}

func TestTheModuleRequiresNoDriverAndLittleElse(t *testing.T) {
	for _, r := range edit(t, "mod", filepath.Join(checkout, "go.mod")).Require {
		if !r.Indirect {
			require.Contains(t, required, r.Path, "every user of the plugin would carry it")
		}
		for _, driver := range []string{"github.com/jackc/pgx", "github.com/go-sql-driver", "gorm.io/driver/postgres", "gorm.io/driver/mysql", "gorm.io/plugin/dbresolver"} {
			require.False(t, within(r.Path, driver), "%s could raise the version that a user has chosen", r.Path)
		}
	}
}

func TestTheWorkspaceListsEveryModule(t *testing.T) {
	work := edit(t, "work", filepath.Join(checkout, "go.work"))
	var used []string
	for _, use := range work.Use {
		used = append(used, use.DiskPath)
	}
	require.ElementsMatch(t, modules(t), used, "go work use <folder>")
}

// TestModulesRequireEachOtherByVersion: a replacement would hold in a checkout
// only, and leave who installs a module with nothing.
func TestModulesRequireEachOtherByVersion(t *testing.T) {
	versions := make(map[string]bool)
	work := edit(t, "work", filepath.Join(checkout, "go.work"))
	here := make(map[string]bool)
	for _, r := range work.Replace {
		here[r.Old.Path+"@"+r.Old.Version] = true
	}
	for _, dir := range modules(t) {
		mod := edit(t, "mod", filepath.Join(checkout, dir, "go.mod"))
		require.Empty(t, mod.Replace, dir)
		require.Equal(t, strings.TrimSuffix(module+strings.TrimPrefix(dir, "."), "/"), mod.Module.Path)
		for _, r := range mod.Require {
			if within(r.Path, module) {
				versions[r.Version] = true
				require.True(t, here[r.Path+"@"+r.Version], "go.work has to replace %s %s, which no proxy has before the release", r.Path, r.Version)
			}
		}
	}
	require.Len(t, versions, 1, "scripts/release sets them all")
}

func TestNoSumsOfOurOwnModulesAreKept(t *testing.T) {
	for _, dir := range modules(t) {
		sums, err := os.ReadFile(filepath.Join(checkout, dir, "go.sum"))
		require.NoError(t, err)
		require.NotContains(t, "\n"+string(sums), "\n"+module, "%s: they change with every commit (scripts/tidy)", dir)
	}
}
