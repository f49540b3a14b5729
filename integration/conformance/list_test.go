package conformance

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

var (
	behaviour = regexp.MustCompile(`\b(?:BAS|OPS|DNF|INV|M2M|REL|AGG|TX|LCK|DEC|VIEW|TPL|SMP|FIL|SHD|OBS|MIS|INS|RPR|CMD|CB|CM)-\d\d\b`)
	entry     = regexp.MustCompile(`(?m)^\| ([A-Z0-9]+-\d\d) \| .+ \| (.+) \|$`)
	declared  = regexp.MustCompile(`(?m)^func (Test\w+)\(`)
)

// TestEveryBehaviourHasATest holds README.md against the tests of all modules.
func TestEveryBehaviourHasATest(t *testing.T) {
	list, err := os.ReadFile("README.md")
	require.NoError(t, err)
	cited, tests := make(map[string]bool), make(map[string]bool)
	require.NoError(t, filepath.WalkDir("../..", func(path string, f fs.DirEntry, err error) error {
		if err != nil || f.IsDir() || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		text, err := os.ReadFile(path)
		for _, code := range behaviour.FindAllString(string(text), -1) {
			cited[code] = true
		}
		for _, test := range declared.FindAllStringSubmatch(string(text), -1) {
			tests[test[1]] = true
		}
		return err
	}))
	listed := make(map[string]bool)
	for _, e := range entry.FindAllStringSubmatch(string(list), -1) {
		code := e[1]
		require.False(t, listed[code], "%s is listed twice", code)
		listed[code] = true
		require.True(t, cited[code], "no test names %s", code)
		for test := range strings.SplitSeq(e[2], ", ") {
			require.True(t, tests[strings.Trim(test, "`")], "%s: there is no %s", code, test)
		}
	}
	for code := range cited {
		require.True(t, listed[code], "%s is not in README.md", code)
	}
	for _, code := range behaviour.FindAllString(string(list), -1) {
		require.True(t, listed[code], "%s is written otherwise than the other entries", code)
	}
}
