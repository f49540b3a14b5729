package conj

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/cacheplugin/cacheplugin/conj"

	"github.com/stretchr/testify/require"

	"github.com/cacheplugin/cacheplugin/internal/testenv"
)

// The law for columns: an update that changes a result, or the order of its rows,
// changes a column that the query is known to use.

// usingQuery makes a query of one or two tables that uses their columns in every way
// that texts have for it. Its order is determined.
func (m *queryMaker) usingQuery() string {
	scope, from := []string{"x1"}, m.pick("u1", "u2")+" AS x1"
	switch m.IntN(8) {
	case 0:
		scope, from = []string{"u1"}, "u1"
	case 1:
		scope, from = []string{"x1", "x2"}, from+m.pick(" JOIN ", " LEFT JOIN ")+m.pick("u1", "u2")+" AS x2 ON x2.id = x1."+m.pick("a", "b", "id")
	case 2:
		scope, from = []string{"x1", "x2"}, "u1 AS x1 JOIN u2 AS x2 USING ("+m.pick("id", "id, a")+")"
	case 3:
		from = "(SELECT " + m.pick("*", "id, a, b, s, o", "u1.*", "id, max(a) AS a, b, s, o", "id, a + b AS a, b, upper(s) AS s, o") + " FROM u1" + m.pick("", " WHERE o = 'x'", " GROUP BY id, a, b, s, o", " GROUP BY id, b, s, o") + ") AS x1"
	case 4:
		from = "v1 AS x1"
	case 5:
		scope, from = []string{"x1", "x2"}, "u1 AS x1 NATURAL JOIN (SELECT id, "+m.pick("a", "b AS c", "s AS t")+" FROM u2) AS x2"
	}
	column := func() string {
		name := m.pick("id", "a", "b", "s", "o")
		if len(scope) == 1 && m.chance(40) {
			return name
		}
		return m.pick(scope...) + "." + name
	}
	number := func() string {
		if len(scope) == 1 && m.chance(40) {
			return m.pick("id", "a", "b")
		}
		return m.pick(scope...) + "." + m.pick("id", "a", "b")
	}
	item := func() string {
		c, n := column(), number()
		return m.pick(c, c, n, n+" AS k", n+" AS b", c+" "+m.pick("k", "o", "s"), "coalesce("+c+", "+c+")", n+" + "+number(), "upper("+m.pick(scope...)+".s)",
			"CASE WHEN "+column()+" IS NULL THEN "+n+" ELSE 0 END", "(SELECT max(y."+m.pick("a", "b")+") FROM u2 AS y WHERE y.id = "+n+")",
			"(SELECT count(*) FROM u1 AS y WHERE y.a = "+n+")", "1", "'a'",
			"row_number() OVER (ORDER BY "+column()+", "+strings.Join(scope, ".id, ")+".id)", "sum("+n+") OVER (PARTITION BY "+number()+")", "count(*) OVER ()",
			m.by("x1", n, n), m.by("row_to_json(x1)", n, n), m.by("(x1).a", n, n), m.by("x1::text", n, n), m.by("md5("+m.pick(scope...)+".*::text)", n, n), m.by("("+m.pick(scope...)+".* IS NOT NULL)", n, n), m.by("U&\"\\0061\"", n, n), m.by("xmin::text", n, n))
	}
	var list []string
	for range 1 + m.IntN(3) {
		list = append(list, item())
	}
	if m.chance(12) {
		list = []string{m.pick("*", scope[0]+".*")}
	}
	where := ""
	if m.chance(60) {
		c, n := column(), number()
		switch m.IntN(6) {
		case 0:
			where = c + " = " + m.value(c)
		case 1:
			where = n + " = " + m.value(n)
		case 2:
			where = m.condition(scope, 1)
		default:
			where = m.pick(n+" < 2", c+" IS NOT NULL", n+" IN (SELECT y."+m.pick("a", "b", "id")+" FROM u2 AS y)",
				"EXISTS (SELECT 1 FROM u2 AS y WHERE y."+m.pick("a", "b")+" = "+n+m.pick("", " AND y.s = 'x'")+")")
		}
		where = " WHERE " + where
	}
	order := ""
	for _, alias := range scope {
		order += ", " + alias + ".id"
	}
	order = " ORDER BY " + m.pick("", "", "", "a, ", "k, ", "b DESC, ", "1, ", number()+", ", number()+" + 1 DESC, ") + order[2:]
	switch m.IntN(7) {
	case 0:
		g := column()
		list = []string{m.pick(g, "count(*)"), m.pick("count(*)", "count(*) AS k", "sum("+number()+")", "max("+column()+")", "count(DISTINCT "+column()+")", "count("+column()+")")}
		where += " GROUP BY " + m.pick(g, g, "1") + m.pick("", " HAVING count(*) > 1", " HAVING max("+number()+") > 0")
		order = " ORDER BY 1, 2"
	case 1:
		list = []string{m.pick("count(*)", "sum("+number()+")", "min("+column()+")", "avg("+number()+"), count(*)", "count(*) * 2")}
		order = ""
	case 2:
		list = []string{column()}
		order = " ORDER BY 1"
		return "SELECT DISTINCT " + list[0] + " FROM " + from + where + order
	case 3:
		return "SELECT " + column() + " FROM " + from + where + m.pick(" UNION ", " UNION ALL ", " EXCEPT ", " INTERSECT ") + "SELECT " + m.pick("a", "b", "s", "id") + " FROM u2 ORDER BY 1"
	}
	text := "SELECT " + strings.Join(list, ", ") + " FROM " + from + where + order
	if order != "" && m.chance(35) {
		text += m.pick(" LIMIT 1", " LIMIT 2", " LIMIT 2 OFFSET 1")
	}
	if m.chance(8) {
		return "WITH w AS (" + text + ") SELECT " + m.pick("*", "count(*)") + " FROM w"
	}
	return text
}

func TestUpdatedResultUsesAnUpdatedColumn(t *testing.T) {
	onLawDatabases(t, map[string]int{testenv.SQLite: 2000, testenv.Postgres: 1000, testenv.MariaDB: 700}, checkUseLaw)
}

func checkUseLaw(l lawDatabase, queries int, seed uint64) {
	t := l.t
	text := conj.Text
	if l.d == conj.MySQL {
		text = conj.FoldedText
	}
	tables := make(map[string]*conj.Table)
	for _, name := range []string{"u1", "u2"} {
		l.exec("CREATE TABLE " + name + " (id INTEGER PRIMARY KEY, a INTEGER, b INTEGER, s VARCHAR(9), o VARCHAR(9))")
		tables[name] = conj.NewTable("main."+name, name, []conj.Column{
			{Name: "id", Kind: conj.Integer}, {Name: "a", Kind: conj.Integer}, {Name: "b", Kind: conj.Integer}, {Name: "s", Kind: text}, {Name: "o", Kind: conj.Opaque},
		})
		tables[name].Unique = [][]int{{0}}
	}
	const view = "SELECT id, a, b, s, o FROM u1 WHERE b IS NOT NULL"
	l.exec("CREATE VIEW v1 AS " + view)
	lookup := func(n conj.TableName) (*conj.Table, error) { return tables[strings.ToLower(n.Name)], nil }
	tables["v1"] = conj.NewTable("main.v1", "v1", tables["u1"].Columns())
	tables["v1"].View = &conj.View{Query: view}

	valid, changes, spared := 0, 0, 0
	for i := range queries {
		m := &queryMaker{Rand: rand.New(rand.NewPCG(seed, uint64(i))), d: l.d, plain: true}
		text := l.text(m.usingQuery())
		plan, err := conj.Compile(l.d, text, lookup, conj.Limits{})
		require.NoError(t, err, text)
		l.exec("BEGIN")
		state := make(map[string][][]any)
		for _, name := range []string{"u1", "u2"} {
			for id := range 4 {
				row := m.row()[:5]
				row[0] = int64(id)
				state[name] = append(state[name], row)
				l.exec("INSERT INTO "+name+" VALUES (?,?,?,?,?)", row...)
			}
		}
		before, ok := l.ordered(text, m.args)
		if !ok || plan.Statement != conj.Select || plan.Skip != "" {
			l.exec("ROLLBACK")
			continue
		}
		valid++
		deps, err := plan.Bind(m.args)
		require.NoError(t, err, text)
		of := make(map[string][]conj.Conjunction)
		for _, d := range deps {
			of[d.Table.Name] = d.Conjunctions
		}
		for range 12 {
			name, id := m.pick("u1", "u2"), m.IntN(4)
			old := state[name][id]
			fresh := slices.Clone(old)
			for range 1 + m.IntN(2) {
				c := 1 + m.IntN(4)
				fresh[c] = m.row()[c]
			}
			l.exec("SAVEPOINT changed")
			l.update(tables[name], fresh, "id", id)
			after, ok := l.ordered(text, m.args)
			touched := touches(tables[name], changed(l.d, tables[name], old, fresh), of[name])
			switch {
			case ok && after != before:
				changes++
				require.True(t, touched, "query %d: %s\nargs %v\nstate %v\n%s: %v -> %v\nbefore\n%s\nafter\n%s\ndependencies %s", i, text, m.args, state, name, old, fresh, before, after, explained(deps))
			case !touched && slices.ContainsFunc(of[name], func(c conj.Conjunction) bool {
				return touches(tables[name], conj.Change{New: image(l.d, tables[name], old)}, []conj.Conjunction{c})
			}):
				spared++
			}
			l.exec("ROLLBACK TO SAVEPOINT changed")
		}
		l.exec("ROLLBACK")
	}
	t.Logf("%d of %d queries ran, %d changes of a result, %d rows of a result spared by columns", valid, queries, changes, spared)
	require.Greater(t, valid, queries/4)
	require.Greater(t, changes, queries/4)
	require.Greater(t, spared, queries/2)
}

// ordered is lawDatabase.rows with the rows in the query's order.
func (l lawDatabase) ordered(text string, args []any) (string, bool) {
	_, _, raw, ok := l.result(text, args)
	return fmt.Sprintf("%q", raw), ok
}
