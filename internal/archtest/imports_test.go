package archtest

import (
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const module = "github.com/cacheplugin/cacheplugin"

// The third parties that a rule may name.
const (
	gorm   = "gorm.io/gorm"
	redis  = "github.com/redis/go-redis"
	sqlStd = "database/sql"
)

// rule says what a package may import directly.
type rule struct {
	// ours are the packages of this module that it may import, relative to it.
	ours []string
	// never are import paths (and what lies below them) that it must not reach,
	// not even through another package.
	never []string
	// standardOnly: besides ours, the standard library and nothing else.
	standardOnly bool
}

// rules holds for the packages that architecture is about. Every other package
// may import what it likes, but the root.
var rules = map[string]rule{
	// What anybody may import, and may be tested without a database or Redis.
	"conj":  {ours: []string{"internal/sqltoken"}, standardOnly: true, never: []string{"net", "os/exec"}},
	"lua":   {never: []string{gorm, sqlStd}},
	"cache": {never: []string{redis}},
	"txn":   {ours: []string{"conj", "internal/background", "internal/dialect", "internal/rowset", "internal/sqltoken"}, never: []string{redis}},

	// What stands alone.
	"internal/sqltoken":   {standardOnly: true, never: []string{"net", "os/exec"}},
	"internal/background": {standardOnly: true},
	"internal/change":     {standardOnly: true},
	"internal/misconfig":  {standardOnly: true},
	"internal/dialect":    {ours: []string{"conj"}, standardOnly: true},
	"internal/rowset":     {never: []string{gorm, redis}},
	"internal/catalog":    {ours: []string{"conj", "internal/sqltoken", "lua"}, never: []string{redis}},
	"internal/policy":     {ours: []string{"cache", "conj"}, never: []string{redis}},
	"internal/shapes":     {ours: []string{"cache", "conj"}, never: []string{redis}},
	"internal/report":     {ours: []string{"cache"}, never: []string{redis}},

	// The protocol in Redis.
	"internal/store": {ours: []string{"conj", "internal/background", "internal/change", "lua"}, never: []string{gorm}},
	"internal/near":  {ours: []string{"conj", "internal/change", "internal/store", "lua"}, never: []string{gorm}},

	// What is known of a database, and where its results are kept.
	"internal/database":  {ours: []string{"conj", "internal/catalog", "internal/dialect", "internal/report", "txn"}, never: []string{redis}},
	"internal/namespace": {ours: []string{"internal/database", "internal/near", "internal/store"}},

	// The way of a write: the images of its rows, and what its transaction owes.
	"internal/rows": {ours: []string{"conj", "internal/catalog", "internal/change", "internal/dialect"}, standardOnly: true, never: []string{gorm, redis}},
	"internal/commit": {ours: []string{
		"conj", "internal/background", "internal/change", "internal/dialect", "internal/namespace", "internal/report", "internal/shapes", "internal/store", "txn",
	}},

	// What others commit, as a database's log tells of it.
	"internal/follow": {ours: []string{
		"conj", "internal/background", "internal/catalog", "internal/commit", "internal/database", "internal/namespace", "internal/policy", "internal/report", "internal/store",
	}},

	// The way of a read.
	"internal/lookup": {ours: []string{
		"cache", "conj", "internal/background", "internal/catalog", "internal/change", "internal/commit", "internal/database", "internal/dialect",
		"internal/misconfig", "internal/namespace", "internal/near", "internal/policy", "internal/report", "internal/rowset", "internal/shapes", "internal/store", "txn",
	}},

	"lists": {ours: []string{
		"cache", "conj", "internal/catalog", "internal/lookup", "internal/misconfig", "internal/rowset", "internal/store",
	}},

	"internal/scan": {ours: []string{"internal/rowset"}, never: []string{redis}},

	// Where GORM meets both, and the product.
	"internal/callbacks": {ours: []string{
		"cache", "conj", "internal/catalog", "internal/commit", "internal/database", "internal/dialect", "internal/lookup",
		"internal/namespace", "internal/policy", "internal/report", "internal/rows", "internal/rowset", "internal/scan", "txn",
	}},
	"": {ours: []string{
		"cache", "conj", "internal/background", "internal/callbacks", "internal/catalog", "internal/commit", "internal/database", "internal/follow", "internal/lookup", "internal/misconfig",
		"internal/namespace", "internal/near", "internal/policy", "internal/report", "internal/shapes", "internal/store", "txn",
	}},
}

// onRoot are the folders whose packages may import the root package.
var onRoot = []string{"decorators", "internal/testmodel", "internal/testviews", "lists"}

// testOnly are folders whose packages are no production code.
var testOnly = []string{"internal/archtest", "internal/testenv", "internal/testmodel", "internal/testviews"}

// forbidden must not be in a program only because it imports us.
var forbidden = []string{
	module + "/internal/testenv", module + "/internal/testmodel", module + "/internal/testviews",
	"github.com/stretchr/testify", "github.com/alicebob/miniredis", "go.uber.org/goleak", "pgregory.net/rapid",
	"gorm.io/driver", "github.com/jackc/pgx", "github.com/go-sql-driver", "github.com/mattn/go-sqlite3", "gorm.io/plugin",
	"testing",
}

// listedPackage is what go list tells of a package, its tests left out.
type listedPackage struct {
	ImportPath string
	Imports    []string // direct
	Deps       []string // all
	Standard   bool
}

// name is the package's path relative to the module.
func (p listedPackage) name() string {
	return strings.TrimPrefix(strings.TrimPrefix(p.ImportPath, module), "/")
}

func list(t *testing.T) (ours []listedPackage, standard map[string]bool) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", "list", "-deps", "-e", "-json=ImportPath,Imports,Deps,Standard", module+"/...")
	cmd.Env = append(os.Environ(), "GOWORK=off") // this module alone, as a user gets it
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	require.NoError(t, err, stderr.String())

	standard = make(map[string]bool)
	decoder := json.NewDecoder(strings.NewReader(string(out)))
	for {
		var p listedPackage
		err := decoder.Decode(&p)
		if errors.Is(err, io.EOF) {
			return ours, standard
		}
		require.NoError(t, err)
		if p.Standard {
			standard[p.ImportPath] = true
		}
		if within(p.ImportPath, module) {
			ours = append(ours, p)
		}
	}
}

// within reports whether path is root or lies below it.
func within(path, root string) bool {
	return path == root || strings.HasPrefix(path, root+"/") ||
		// Major versions are a part of the path: go-redis/v9 is go-redis.
		strings.HasPrefix(path, root+".v")
}

func anyWithin(path string, roots []string) bool {
	return slices.ContainsFunc(roots, func(root string) bool { return within(path, root) })
}

func TestEveryRuleIsAboutAPackage(t *testing.T) {
	ours, _ := list(t)
	var names []string
	for _, p := range ours {
		names = append(names, p.name())
	}
	for name := range rules {
		require.Contains(t, names, name, "a rule about a package that is not there tests nothing")
	}
}

func TestImportsPointDownwards(t *testing.T) {
	ours, standard := list(t)
	for _, p := range ours {
		rule, ruled := rules[p.name()]
		for _, path := range p.Imports {
			if path == module {
				require.True(t, anyWithin(p.name(), onRoot), "%s imports the root package", p.ImportPath)
			}
			if !ruled {
				continue
			}
			if name, own := strings.CutPrefix(path, module+"/"); own {
				require.Contains(t, rule.ours, name, "%s imports %s", p.ImportPath, path)
				continue
			}
			if rule.standardOnly {
				require.True(t, standard[path], "%s imports %s and may import the standard library only", p.ImportPath, path)
			}
		}
		for _, path := range p.Deps {
			require.False(t, anyWithin(path, rule.never), "%s depends on %s", p.ImportPath, path)
		}
	}
}

func TestProductionCodeHasNoTestDependencies(t *testing.T) {
	ours, _ := list(t)
	for _, p := range ours {
		if anyWithin(p.name(), testOnly) {
			continue
		}
		for _, path := range p.Deps {
			require.False(t, anyWithin(path, forbidden), "%s depends on %s", p.ImportPath, path)
		}
	}
}
