package conj

import (
	"bufio"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

var update = flag.Bool("update", false, "write the golden files of the corpus anew")

// corpus reads the distinct texts that a large GORM program sends.
func corpus(t testing.TB, name string) []string {
	f, err := os.Open(filepath.Join("testdata", name))
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

// anyTable is a look-up that knows every name: columns are made up as texts
// name them, ids and ages integers, the rest texts.
func anyTable(texts []string) Lookup {
	seen := make(map[string]bool)
	var columns []Column
	for _, text := range texts {
		toks, err := tokenize(SQLite, strings.ReplaceAll(text, "$", "?"))
		if err != nil {
			continue
		}
		for _, t := range toks {
			low := strings.ToLower(t.text)
			if !t.identifier() || seen[low] || reserved[t.word] {
				continue
			}
			seen[low] = true
			kind := Text
			if strings.HasSuffix(low, "id") || low == "age" || low == "active" || low == "counter" {
				kind = Integer
			}
			columns = append(columns, Column{Name: low, Kind: kind})
		}
	}
	tables := make(map[string]*Table)
	return func(n TableName) (*Table, error) {
		id := strings.ToLower("main." + n.Name)
		if tables[id] == nil {
			tables[id] = NewTable(id, n.Name, columns)
		}
		return tables[id], nil
	}
}

func arguments(n int) []any {
	args := make([]any, n)
	for i := range args {
		args[i] = int64(i + 1)
	}
	return args
}

func TestCorpusPlans(t *testing.T) {
	for _, name := range []string{"select_postgres", "select_sqlite", "write_postgres", "write_sqlite"} {
		t.Run(name, func(t *testing.T) {
			d, _ := DialectOf(name[strings.LastIndexByte(name, '_')+1:])
			texts := corpus(t, name+".txt")
			lookup := anyTable(texts)
			var golden strings.Builder
			selects, narrowed := 0, 0
			for _, text := range texts {
				plan, err := Compile(d, text, lookup, Limits{})
				require.NoError(t, err, text)
				if plan.Statement == Select && plan.Skip == "" {
					deps, err := plan.Bind(arguments(400))
					require.NoError(t, err, text)
					require.Len(t, deps, len(plan.Tables), text)
					selects++
					if slices.ContainsFunc(deps, func(d Dependency) bool {
						return len(d.Conjunctions) != 1 || d.Conjunctions[0].Scheme != ""
					}) {
						narrowed++
					}
				}
				fmt.Fprintf(&golden, "%s\n\t%s\n", strconv.Quote(text), summary(plan))
			}
			t.Logf("%d of %d SELECTs narrow", narrowed, selects)
			file := filepath.Join("testdata", name+".golden")
			if *update {
				require.NoError(t, os.WriteFile(file, []byte(golden.String()), 0o644))
			}
			want, err := os.ReadFile(file)
			require.NoError(t, err)
			require.Equal(t, string(want), golden.String())
		})
	}
}

// summary is a plan in one line.
func summary(p *Plan) string {
	var b strings.Builder
	b.WriteString(p.Statement.String())
	if p.Statement == Select {
		b.WriteString(" " + p.Shape.String())
	}
	if p.Single {
		b.WriteString(" single")
	}
	if p.LimitParam >= 0 {
		fmt.Fprintf(&b, " limit=%d", p.LimitParam)
	}
	for _, n := range p.Names {
		fmt.Fprintf(&b, " reads %s", n)
	}
	for _, w := range p.Writes {
		fmt.Fprintf(&b, " writes %s", w.Name)
		if w.Wide != "" {
			fmt.Fprintf(&b, " (%s)", w.Wide)
		}
	}
	if p.Skip != "" {
		fmt.Fprintf(&b, " skip: %s", p.Skip)
	}
	if p.Volatile != "" {
		fmt.Fprintf(&b, " volatile: %s", p.Volatile)
	}
	return b.String()
}
