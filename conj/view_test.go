package conj

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// views adds views to the shop, each a name with its columns and query.
func views(t *testing.T, schema string, definitions map[string]string, columns map[string][]string) Lookup {
	t.Helper()
	base := shop()
	made := map[string]*Table{}
	for name, query := range definitions {
		var list []Column
		for _, c := range columns[name] {
			list = append(list, Column{c, Text}) // of a kind that is not to be trusted
		}
		made[name] = NewTable("public."+name, name, list)
		made[name].View = &View{Query: query, Schema: schema}
	}
	return func(n TableName) (*Table, error) {
		if v, ok := made[n.Name]; ok && n.Schema == schema {
			return v, nil
		}
		if n.Schema != schema {
			return nil, nil
		}
		return base(TableName{Name: n.Name})
	}
}

func TestViewsReadTheirTables(t *testing.T) {
	lookup := views(t, "", map[string]string{
		"adults":  `SELECT users.id, users.name AS called, u.age + 1 AS next FROM users WHERE users.company_id = 3`,
		"grown":   `SELECT a.called AS c FROM adults a`,
		"starred": `SELECT * FROM users WHERE age = 1 OR age = 2`,
		"grouped": `SELECT company_id, count(*) AS n FROM users GROUP BY company_id`,
		"bare":    `SELECT name, max(age) AS m FROM users`,
		"top":     `SELECT id FROM users LIMIT 1`,
		"both":    `SELECT u.id, p.title FROM users u JOIN posts p ON p.user_id = u.id WHERE p.category = 4`,
		"numbers": `SELECT id FROM users UNION SELECT id FROM posts WHERE user_id = 1`,
		"loud":    `SELECT id, now() AS at FROM users`,
		"locked":  `SELECT id FROM users FOR UPDATE`,
		"odd":     `SELECT id FROM users WHERE ??? nonsense`,
		"orphan":  `SELECT id FROM nowhere`,
		"loop":    `SELECT id FROM loop`,
	}, map[string][]string{
		"adults": {"id", "called", "next"}, "grown": {"c"}, "starred": {"i", "n", "a", "co", "ac", "k", "b", "d"}, "grouped": {"company_id", "n"},
		"bare": {"name", "m"}, "top": {"id"}, "both": {"id", "title"}, "numbers": {"id"}, "loud": {"id", "at"}, "locked": {"id"}, "orphan": {"id"}, "loop": {"id"},
	})
	for _, c := range []struct{ sql, want string }{
		{`SELECT * FROM adults`, `adults[] users[company_id=3]`},
		{`SELECT * FROM adults WHERE called = 'x'`, `adults[] users[company_id=3,name=x]`},
		{`SELECT * FROM adults WHERE called = 'x' OR id = 1`, `adults[] users[company_id=3,name=x | company_id=3,id=1]`},
		{`SELECT * FROM adults WHERE called = 'x' OR next = 2`, `adults[] users[company_id=3]`},
		{`SELECT * FROM adults WHERE next = 2`, `adults[] users[company_id=3]`},
		{`SELECT * FROM adults WHERE name = 'x'`, `adults[] users[company_id=3]`},
		{`SELECT * FROM grown g WHERE g.c = 'x'`, `grown[] adults[] users[company_id=3,name=x]`},
		{`SELECT * FROM grown g, adults a WHERE g.c = 'x' AND a.id = 1`, `grown[] adults[] users[company_id=3,name=x | company_id=3,id=1]`},
		{`SELECT * FROM adults a JOIN users u ON u.id = a.id WHERE a.id = 7`, `adults[] users[company_id=3,id=7 | id=7]`},
		{`SELECT * FROM posts p LEFT JOIN adults a ON a.id = p.user_id WHERE p.id = 7`, `posts[id=7] adults[] users[company_id=3]`},
		{`SELECT * FROM posts p LEFT JOIN adults a ON a.id = p.user_id AND a.id = 1`, `posts[*] adults[] users[company_id=3,id=1]`},
		{`SELECT * FROM starred WHERE co = 5`, `starred[] users[age=1,company_id=5 | age=2,company_id=5]`},
		{`SELECT * FROM grouped WHERE company_id = 5`, `grouped[] users[*]`},
		{`SELECT * FROM bare WHERE name = 'x'`, `bare[] users[*]`},
		{`SELECT * FROM top WHERE id = 5`, `top[] users[*]`},
		{`SELECT * FROM both WHERE id = 5`, `both[] users[*] posts[category=4]`},
		{`SELECT * FROM numbers WHERE id = 5`, `numbers[] users[*] posts[user_id=1]`},
		{`SELECT * FROM adults WHERE 1 = 2`, `adults[] users[]`},
	} {
		t.Run(c.sql, func(t *testing.T) {
			plan, err := Compile(PostgreSQL, c.sql, lookup, Limits{})
			require.NoError(t, err)
			require.Empty(t, plan.Skip)
			deps, err := plan.Bind(nil)
			require.NoError(t, err)
			require.Equal(t, c.want, text(deps))
		})
	}
	for view, skip := range map[string]string{
		"locked": "locked is a view: locking read",
		"odd":    "odd is a view whose definition is not understood",
		"orphan": "orphan is a view: unknown table nowhere",
		"loop":   "too deeply",
	} {
		plan, err := Compile(PostgreSQL, `SELECT * FROM `+view, lookup, Limits{})
		require.NoError(t, err)
		why := plan.Skip
		for _, h := range plan.Hidden {
			why += h.Reason
		}
		require.Contains(t, why, skip)
	}
	plan, err := Compile(PostgreSQL, `SELECT * FROM loud`, lookup, Limits{})
	require.NoError(t, err)
	require.Equal(t, "now()", plan.Volatile)
}

// TestNamesInAViewBelongToItsSchema: a temporary table of the same name, which
// shadows it in the statement, is not meant.
func TestNamesInAViewBelongToItsSchema(t *testing.T) {
	lookup := views(t, "main", map[string]string{"v": `WITH c AS (SELECT 1) SELECT id FROM users, c`}, map[string][]string{"v": {"id"}})
	plan, err := Compile(SQLite, `SELECT * FROM main.v`, lookup, Limits{})
	require.NoError(t, err)
	require.Empty(t, plan.Skip)
	require.Equal(t, []TableName{{Schema: "main", Name: "v"}, {Schema: "main", Name: "users"}}, plan.Names)
	require.Equal(t, "v", plan.Sole.Name)
}

// TestTablesOfOneFamilyAreOneDependency: each has its own columns, and a
// condition on one is told by the column's name.
func TestTablesOfOneFamilyAreOneDependency(t *testing.T) {
	parent := NewTable("public.parent", "parent", []Column{{"id", Integer}, {"kind", Text}})
	child := NewTable("public.parent", "parent", []Column{{"kind", Text}, {"extra", Integer}, {"id", Integer}})
	lookup := func(n TableName) (*Table, error) {
		return map[string]*Table{"parent": parent, "child": child}[n.Name], nil
	}
	plan, err := Compile(PostgreSQL, `SELECT * FROM parent p JOIN child c ON true WHERE p.id = 1 AND c.extra = 2 AND c.id = 3`, lookup, Limits{})
	require.NoError(t, err)
	require.Len(t, plan.Tables, 1)
	deps, err := plan.Bind(nil)
	require.NoError(t, err)
	require.Equal(t, `parent[id=1 | extra=2,id=3]`, text(deps))

	// The parent has no such column: another table's is meant.
	plan, err = Compile(PostgreSQL, `SELECT * FROM child c WHERE EXISTS (SELECT 1 FROM parent WHERE extra = 5)`, lookup, Limits{})
	require.NoError(t, err)
	deps, err = plan.Bind(nil)
	require.NoError(t, err)
	require.Equal(t, `parent[* | *]`, text(deps))
}
