package crosscheck

import (
	"bufio"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cacheplugin/cacheplugin/conj"
)

// corpus reads the texts that GORM's own test-suite sends.
func corpus(t testing.TB, name string) []string {
	t.Helper()
	f, err := os.Open(filepath.Join("..", "conj", "testdata", name+".txt"))
	require.NoError(t, err)
	defer f.Close()
	var texts []string
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		s, err := strconv.Unquote(lines.Text())
		require.NoError(t, err)
		texts = append(texts, s)
	}
	require.NoError(t, lines.Err())
	return texts
}

var words = regexp.MustCompile(`[A-Za-z_][A-Za-z0-9_]*`)

// columnsOf are all words of some texts: any may be a column.
func columnsOf(texts []string) []string {
	seen := map[string]bool{}
	for _, text := range texts {
		for _, w := range words.FindAllString(text, -1) {
			seen[strings.ToLower(w)] = true
		}
	}
	for _, w := range []string{"select", "from", "where", "and", "or", "not", "null", "true", "false"} {
		delete(seen, w)
	}
	names := make([]string, 0, len(seen))
	for w := range seen {
		names = append(names, w)
	}
	slices.Sort(names)
	return names
}

func TestCorpusMeansTheSameToOtherParsers(t *testing.T) {
	for _, x := range dialects {
		for _, name := range []string{"select_", "write_"} {
			// GORM quotes for SQLite as for MySQL, and numbers no parameters.
			source := map[conj.Dialect]string{conj.PostgreSQL: name + "postgres", conj.MySQL: name + "sqlite"}[x.d]
			t.Run(x.name+"/"+source, func(t *testing.T) {
				texts := corpus(t, source)
				s := newSchema(columnsOf(texts))
				var count tally
				rng := rand.New(rand.NewPCG(1, 2))
				for _, text := range texts {
					if wrong := x.compare(s, text, rng, &count); wrong != "" {
						t.Errorf("%s\n\t%s", text, wrong)
					}
				}
				t.Log(count)
				require.Less(t, count.refused, count.texts/2)
			})
		}
	}
}
