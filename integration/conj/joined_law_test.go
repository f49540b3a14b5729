package conj

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/cacheplugin/cacheplugin/conj"

	"github.com/stretchr/testify/require"

	"github.com/cacheplugin/cacheplugin/internal/testenv"
)

// The law once more, for queries that join tables whose rows the result tells:
// a row whose change changes a result shares a key with the query or with the
// rows that the result shows.

var joinedLawNames = []string{"j1", "j2", "j3", "j4"}

func joinedLawTables(d conj.Dialect) map[string]*conj.Table {
	text := conj.Text
	if d == conj.MySQL {
		text = conj.FoldedText
	}
	tables := make(map[string]*conj.Table)
	for _, name := range joinedLawNames {
		tables[name] = conj.NewTable("main."+name, name, []conj.Column{
			{Name: "id", Kind: conj.Integer}, {Name: "a", Kind: conj.Integer}, {Name: "b", Kind: conj.Integer}, {Name: "s", Kind: text}, {Name: "o", Kind: conj.Opaque}, {Name: name + "d", Kind: conj.Integer},
		})
		tables[name].Unique = [][]int{{0}}
	}
	return tables
}

// joinQuery makes a query of tables joined one after the other. Most of them show
// their keys.
func (m *queryMaker) joinQuery() string {
	var from strings.Builder
	var scope []string
	tables := slices.Clone(joinedLawNames)
	m.Shuffle(len(tables), func(i, j int) { tables[i], tables[j] = tables[j], tables[i] })
	n, unique := 2+m.IntN(3), m.chance(60)
	for i := range n {
		table := tables[i]
		if m.chance(4) { // twice
			table = tables[0]
		}
		alias := "x" + strconv.Itoa(i+1)
		if i == 0 {
			fmt.Fprintf(&from, "%s AS %s", table, alias)
		} else {
			key := "id"
			if !unique {
				key = m.pick("id", "a")
			}
			sides := []string{alias + "." + key, m.pick(scope...) + "." + m.pick("a", "b", "id")}
			if m.chance(50) {
				slices.Reverse(sides)
			}
			on := sides[0] + " = " + sides[1]
			if m.chance(20) {
				on += " AND " + m.pick(scope...) + ".b = " + alias + ".b"
			}
			if m.chance(40) {
				on += " AND " + m.condition([]string{alias, alias, m.pick(scope...)}, m.IntN(2))
			}
			fmt.Fprintf(&from, "%s%s AS %s ON %s", m.pick(" LEFT JOIN ", " LEFT JOIN ", " LEFT JOIN ", " LEFT JOIN ", " JOIN ", " RIGHT JOIN "), table, alias, on)
		}
		scope = append(scope, alias)
	}
	var list []string
	for _, alias := range scope {
		switch m.IntN(4) {
		case 0:
			list = append(list, alias+".*")
		case 1:
			list = append(list, alias+".b", alias+".id AS "+alias+"_id", alias+".a "+alias+"_a")
		default:
			list = append(list, alias+".a", alias+".id", alias+".b", alias+".s")
		}
	}
	if m.chance(10) {
		list = []string{"*"}
	}
	if m.chance(10) {
		list = append(list, m.pick("coalesce(x1.a, 0)", "1", "'x' AS y", "x1.a + x2.a", "(SELECT max(id) FROM j1)"))
	}
	if m.chance(15) { // something is not shown
		i := m.IntN(len(list))
		list = slices.Delete(list, i, i+1)
		if len(list) == 0 {
			list = []string{"x2.a"}
		}
	}
	where := ""
	if m.chance(60) {
		scope := scope
		if m.chance(80) {
			scope = []string{"x1", "x1", m.pick(scope...)}
			if m.chance(70) {
				scope = scope[:2]
			}
		}
		where = " WHERE " + m.condition(scope, 1+m.IntN(2))
	}
	tail := m.pick("", "", " ORDER BY x2.id", " ORDER BY x1.a DESC")
	if m.chance(40) {
		// Whatever comes first must be determined by the order.
		order := " ORDER BY " + strings.Join(scope, ".id, ") + ".id, " + strings.Join(scope, ".a, ") + ".a"
		if unique && m.chance(85) && !strings.Contains(from.String(), "RIGHT") { // which leaves x1 out
			order = " ORDER BY " + m.pick("x1.id", "x1.id", "x1.b, x1.id", "x1.s, x1.id")
		}
		tail = order + m.pick(" LIMIT 1", " LIMIT 2", " LIMIT 2 OFFSET 1", " LIMIT 1 OFFSET 1")
	}
	return "SELECT " + m.pick("", "", "", "", "", "", "", "", "", "DISTINCT ") + strings.Join(list, ", ") + " FROM " + from.String() + where + tail
}

// result is lawDatabase.rows with the values as the driver gives them.
func (l lawDatabase) result(text string, args []any) (lines string, names []string, raw [][]any, ok bool) {
	l.exec("SAVEPOINT asked")
	defer l.exec("ROLLBACK TO SAVEPOINT asked")
	rows, err := l.conn.QueryContext(context.Background(), text, args...)
	if err != nil {
		if os.Getenv("CACHEPLUGIN_LAW_ERRORS") != "" {
			l.t.Log(err, text)
		}
		return "", nil, nil, false
	}
	defer rows.Close()
	names, err = rows.Columns()
	require.NoError(l.t, err)
	var all []string
	for rows.Next() {
		values, into := make([]any, len(names)), make([]any, len(names))
		for i := range into {
			into[i] = &values[i]
		}
		require.NoError(l.t, rows.Scan(into...))
		raw = append(raw, values)
		all = append(all, fmt.Sprint(values...))
	}
	slices.Sort(all)
	return strings.Join(all, "\n"), names, raw, rows.Err() == nil
}

func TestChangedResultSharesAKeyWithTheJoinedRows(t *testing.T) {
	onLawDatabases(t, map[string]int{testenv.SQLite: 2000, testenv.Postgres: 400, testenv.MariaDB: 300}, checkJoinedLaw)
}

func checkJoinedLaw(l lawDatabase, queries int, seed uint64) {
	t := l.t
	for _, name := range joinedLawNames {
		l.exec("CREATE TABLE " + name + " (id INTEGER PRIMARY KEY, a INTEGER, b INTEGER, s VARCHAR(9), o VARCHAR(9), " + name + "d INTEGER)")
	}
	tables := joinedLawTables(l.d)
	lookup := func(n conj.TableName) (*conj.Table, error) { return tables[strings.ToLower(n.Name)], nil }
	insert := func(table string, row []any) { l.exec("INSERT INTO "+table+" VALUES (?,?,?,?,?,?)", row...) }
	valid, followed, limited, changes, spared := 0, 0, 0, 0, 0
	for i := range queries {
		m := &queryMaker{Rand: rand.New(rand.NewPCG(seed, uint64(i))), d: l.d, plain: i%3 != 0}
		row := func(id int) []any {
			r := m.row()
			r[0] = int64(id)
			return r
		}
		text := l.text(m.joinQuery())
		plan, err := conj.Compile(l.d, text, lookup, conj.Limits{MaxConjunctions: 4 + 250*m.IntN(2)})
		require.NoError(t, err, text)
		l.exec("BEGIN")
		state := make(map[string]map[int][]any)
		for _, name := range joinedLawNames {
			state[name] = make(map[int][]any)
			for id := range 5 {
				if m.chance(50) {
					state[name][id] = row(id)
					insert(name, state[name][id])
				}
			}
		}
		before, names, raw, ok := l.result(text, m.args)
		if !ok || plan.Statement != conj.Select || strings.Contains(plan.Skip, "not understood") {
			l.exec("ROLLBACK")
			continue
		}
		valid++
		deps, err := plan.Bind(m.args)
		require.NoError(t, err, text)
		// What the query would depend on in the whole, and by its rows.
		coarse, of, schemes := make(map[string][]conj.Conjunction), make(map[string][]conj.Key), make(map[string][]conj.Scheme)
		for _, d := range deps {
			coarse[d.Table.Name] = d.Conjunctions
			for _, c := range d.Conjunctions {
				of[d.Table.Name] = append(of[d.Table.Name], c.Key)
				schemes[d.Table.Name] = append(schemes[d.Table.Name], c.Scheme)
			}
		}
		joined := plan.Joined(deps)
		for _, j := range joined {
			require.True(t, j.ToldBy(names), "%s\n%v", text, names)
			rows := j.Rows()
			for _, r := range raw {
				rows.Add(r)
			}
			of[j.Table.Name], schemes[j.Table.Name] = rows.Keys(), []conj.Scheme{"", j.Scheme}
		}
		if len(joined) > 0 {
			followed++
			if strings.Contains(text, "LIMIT") {
				limited++
			}
		}
		shares := func(name string, old, fresh []any) bool {
			if old == nil && fresh == nil {
				return false
			}
			keys, ok := tables[name].Keys(changed(l.d, tables[name], old, fresh), schemes[name])
			return !ok || slices.ContainsFunc(keys, func(k conj.Key) bool { return slices.Contains(of[name], k) })
		}
		for range 12 {
			name, id := m.pick(joinedLawNames...), m.IntN(5)
			old := state[name][id]
			var fresh []any
			l.exec("SAVEPOINT changed")
			switch {
			case old == nil:
				fresh = row(id)
				insert(name, fresh)
			case m.chance(40):
				l.exec("DELETE FROM "+name+" WHERE id = ?", id)
			default:
				fresh = slices.Clone(old)
				for range 1 + m.IntN(2) {
					c := m.IntN(len(fresh))
					fresh[c] = row(id)[c]
				}
				if free := m.IntN(5); m.chance(25) && state[name][free] == nil { // another key
					fresh[0] = int64(free)
				}
				l.update(tables[name], fresh, "id", id)
			}
			after, _, _, ok := l.result(text, m.args)
			touched := shares(name, old, fresh)
			switch {
			case ok && after != before:
				changes++
				if !touched {
					t.Fatalf("query %d: %s\nargs %v\nstate %v\n%s: %v -> %v\nbefore\n%s\nafter\n%s\ndependencies %v\njoined %v",
						i, text, m.args, state, name, old, fresh, before, after, explained(deps), of)
				}
			case ok && !touched && slices.ContainsFunc(joined, func(j *conj.Joined) bool { return j.Table.Name == name }) &&
				touches(tables[name], changed(l.d, tables[name], old, fresh), coarse[name]):
				spared++
			}
			l.exec("ROLLBACK TO SAVEPOINT changed")
		}
		l.exec("ROLLBACK")
	}
	t.Logf("%d of %d queries ran, the rows of %d told by their results (%d with a limit), %d changes of a result, %d rows spared", valid, queries, followed, limited, changes, spared)
	require.Greater(t, followed, queries/6)
	require.Greater(t, limited, queries/30)
	require.Greater(t, changes, queries/8)
	require.Greater(t, spared, queries/8)
}
