package cacheplugin_test

import (
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cacheplugin/cacheplugin"
)

// pageWords is how long a page may be: what one reads in a few minutes.
const pageWords = 1500

// TestDocuments holds the pages to what they promise their readers.
func TestDocuments(t *testing.T) {
	t.Run("name all that can be set or counted", documentsNameFields)
	t.Run("link to what is there", documentsLink)
	t.Run("are listed in the index", documentsAreListed)
	t.Run("are short", documentsAreShort)
	t.Run("list every reason not to cache", documentsListReasons)
}

// documentsNameFields: a field that a page leaves out is one that nobody finds.
func documentsNameFields(t *testing.T) {
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
	word    = regexp.MustCompile(`[\p{L}\p{N}]`)
)

// pages are the documents that people write and read from top to bottom.
func pages(t *testing.T) []string {
	all := []string{"README.md", "CONTRIBUTING.md", "CHANGELOG.md"}
	for _, pattern := range []string{"docs/*.md", "docs/*/*.md"} {
		found, err := filepath.Glob(pattern)
		require.NoError(t, err)
		all = append(all, found...)
	}
	require.Greater(t, len(all), 20, "the pages have moved")
	return slices.DeleteFunc(all, func(page string) bool {
		return filepath.Dir(page) == "docs/benchmarks" // what a run of the module bench has written
	})
}

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

// targets are the files that a page links to, as paths from the root.
func targets(t *testing.T, page string) []string {
	var files []string
	for _, l := range link.FindAllStringSubmatch(document(t, page), -1) {
		if l[1] != "" {
			files = append(files, filepath.Join(filepath.Dir(page), l[1]))
		}
	}
	return files
}

func documentsLink(t *testing.T) {
	for _, page := range pages(t) {
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

func documentsAreListed(t *testing.T) {
	const index = "docs/README.md"
	readme, listed := targets(t, "README.md"), targets(t, index)
	require.Contains(t, readme, index)
	for _, page := range pages(t) {
		switch {
		case page == "README.md", page == index:
		case strings.HasPrefix(page, "docs/"):
			require.Contains(t, listed, page, "the index links to every page")
		default:
			require.Contains(t, readme, page, "the README links to what lies beside it")
		}
	}
}

func documentsAreShort(t *testing.T) {
	for _, page := range pages(t) {
		if page == "CHANGELOG.md" {
			continue // nobody reads it from top to bottom
		}
		words := 0
		for field := range strings.FieldsSeq(document(t, page)) {
			if word.MatchString(field) {
				words++
			}
		}
		require.LessOrEqual(t, words, pageWords, "%s: split it by what a reader looks for", page)
	}
}
