package cacheplugin_test

import (
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cacheplugin/cacheplugin"
)

// TestTheDocumentationNamesWhatCanBeSet: a field that a page leaves out is one
// that nobody finds.
func TestTheDocumentationNamesWhatCanBeSet(t *testing.T) {
	for page, types := range map[string][]any{
		"docs/configuration.md": {cacheplugin.Config{}, cacheplugin.Profile{}, cacheplugin.Outbox{}, cacheplugin.NearCache{}},
		"docs/metrics.md":       {cacheplugin.Stats{}},
	} {
		text, err := os.ReadFile(page)
		require.NoError(t, err)
		for _, v := range types {
			for _, field := range reflect.VisibleFields(reflect.TypeOf(v)) {
				require.Contains(t, string(text), "`"+field.Name+"`", "%s does not name %T.%s", page, v, field.Name)
			}
		}
	}
}

var (
	link    = regexp.MustCompile(`\]\(([^)#:\s]*)(?:#([^)\s]*))?\)`)
	heading = regexp.MustCompile(`(?m)^#+ (.*)$`)
	fenced  = regexp.MustCompile("(?s)```.*?```")
	unnamed = regexp.MustCompile(`[^\p{L}\p{N}_ -]`)
)

// document reads a page, without its examples.
func document(t *testing.T, path string) string {
	text, err := os.ReadFile(path)
	require.NoError(t, err)
	return fenced.ReplaceAllString(string(text), "")
}

// anchors are the names by which a page's headings can be linked to.
func anchors(text string) []string {
	var names []string
	for _, h := range heading.FindAllStringSubmatch(text, -1) {
		names = append(names, strings.ReplaceAll(unnamed.ReplaceAllString(strings.ToLower(h[1]), ""), " ", "-"))
	}
	return names
}

func TestTheDocumentsLinkToWhatIsThere(t *testing.T) {
	pages, err := filepath.Glob("docs/*.md")
	require.NoError(t, err)
	pages = append(pages, "docs/model/README.md", "CONTRIBUTING.md", "CHANGELOG.md")
	readme := document(t, "README.md")
	for _, page := range pages {
		require.Contains(t, readme, "("+page, "the README links to every page")
	}
	for _, page := range append(pages, "README.md") {
		for _, l := range link.FindAllStringSubmatch(document(t, page), -1) {
			target := page
			if l[1] != "" {
				target = filepath.Join(filepath.Dir(page), l[1])
			}
			_, err := os.Stat(target)
			require.NoError(t, err, page)
			if l[2] != "" {
				require.Contains(t, anchors(document(t, target)), l[2], "%s links to %s", page, target)
			}
		}
	}
}
