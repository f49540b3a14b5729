package conj

import (
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/cacheplugin/cacheplugin/conj"

	"github.com/stretchr/testify/require"
)

// TestPinsLeaveNothingOutThatTheyName compares a pinned plan with the whole one
// over generated queries: of every conjunction that names a pinned column, the
// pinned plan has what it says of pinned columns, or something wider.
func TestPinsLeaveNothingOutThatTheyName(t *testing.T) {
	compared := 0
	for _, d := range []conj.Dialect{conj.PostgreSQL, conj.MySQL, conj.SQLite} {
		tables := lawTables(d)
		lookup := func(n conj.TableName) (*conj.Table, error) { return tables[strings.ToLower(n.Name)], nil }
		for i := range 4000 {
			m := &queryMaker{Rand: rand.New(rand.NewPCG(7, uint64(i))), d: d, plain: i%3 != 0}
			text := lawDatabase{t: t, d: d}.text(m.query())
			whole, err := conj.Compile(d, text, lookup, conj.Limits{})
			require.NoError(t, err)
			if whole.Skip != "" {
				continue
			}
			pins := []string{m.pick("t1", "t2", "t3") + "." + m.pick("id", "a", "b"), m.pick("t1", "t2", "t3") + "." + m.pick("a", "s", "o")}
			pinned, err := conj.CompileOn(d, text, lookup, conj.Limits{}, pins[:1+m.IntN(2)])
			if err != nil {
				var pin *conj.PinError
				require.ErrorAs(t, err, &pin, text)
				continue
			}
			all, err := whole.Bind(m.args)
			require.NoError(t, err)
			some, err := pinned.Bind(m.args)
			require.NoError(t, err)
			for n, dep := range all {
				if len(dep.Conjunctions) > 64 {
					continue // beside the limits, which widen at other places
				}
				for _, c := range dep.Conjunctions {
					terms := slices.DeleteFunc(slices.Clone(c.Terms), func(b conj.BoundTerm) bool {
						return !slices.Contains(pinned.On, dep.Table.ID+"."+b.Column)
					})
					if len(terms) == 0 {
						continue
					}
					compared++
					require.True(t, slices.ContainsFunc(some[n].Conjunctions, func(p conj.Conjunction) bool {
						return !slices.ContainsFunc(p.Terms, func(b conj.BoundTerm) bool { return !slices.Contains(terms, b) })
					}), "%s\non %v: %v has nothing for %v", text, pinned.On, explained(some), c.Terms)
				}
			}
		}
	}
	t.Logf("%d conjunctions compared", compared)
	require.Greater(t, compared, 500)
}
