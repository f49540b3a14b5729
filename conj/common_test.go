package conj

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestCommonTerms(t *testing.T) {
	is := func(col int, n int64) term {
		return term{kind: exprEqual, col: col, values: []Operand{{Kind: LiteralOperand, Literal: n}}}
	}
	null := func(col int) term { return term{kind: exprIsNull, col: col} }
	for _, c := range []struct {
		name string
		all  [][]term
		want []term
	}{
		{"one conjunction", [][]term{{is(0, 1), is(1, 2)}}, []term{is(0, 1), is(1, 2)}},
		{"a term of all", [][]term{{is(0, 1), is(1, 1)}, {is(1, 2), is(0, 1)}, {is(0, 1)}}, []term{is(0, 1)}},
		{"another value", [][]term{{is(0, 1)}, {is(0, 2)}}, []term{}},
		{"another kind", [][]term{{is(0, 1), null(1)}, {null(0), null(1)}}, []term{null(1)}},
		{"not of all", [][]term{{is(0, 1), is(1, 1)}, {is(0, 1), is(1, 1)}, {is(1, 1)}}, []term{is(1, 1)}},
		{"an empty conjunction", [][]term{{is(0, 1)}, {}}, []term{}},
	} {
		t.Run(c.name, func(t *testing.T) {
			first := append([]term(nil), c.all[0]...)
			require.Equal(t, c.want, commonTerms(c.all))
			require.Equal(t, first, c.all[0], "its argument is left alone")
		})
	}
}

// TestTooManyConjunctionsLeaveCommonTerms: where a view's conditions and those on
// it make too many conjunctions, what all of them share stands for them.
func TestTooManyConjunctionsLeaveCommonTerms(t *testing.T) {
	tables := shop()
	view := NewTable("public.known", "known", []Column{{"id", Integer}, {"age", Integer}, {"name", Text}})
	view.View = &View{Query: `SELECT id, age, name FROM users WHERE company_id = 1 OR company_id = 2`}
	for _, c := range []struct {
		name, sql, want string
	}{
		{"few", `SELECT * FROM known WHERE age = 1`, `users[age=1,company_id=1 | age=1,company_id=2]`},
		{"the view's are left out", `SELECT * FROM known WHERE age = 1 OR age = 2`, `users[age=1 | age=2]`},
		{"two occurrences share a term", `SELECT * FROM known k, users u WHERE k.age = 7 AND (u.age = 7 AND u.name = 'x' OR u.age = 7 AND u.id = 1)`, `users[age=7]`},
		{"two occurrences share none", `SELECT * FROM known k, users u WHERE k.age = 7 AND (u.name = 'x' OR u.id = 1)`, `users[*]`},
	} {
		t.Run(c.name, func(t *testing.T) {
			plan, err := Compile(PostgreSQL, c.sql, func(n TableName) (*Table, error) {
				if n.Name == "known" {
					return view, nil
				}
				return tables(n)
			}, Limits{MaxConjunctions: 3})
			require.NoError(t, err)
			require.Empty(t, plan.Skip)
			deps, err := plan.Bind(nil)
			require.NoError(t, err)
			require.Equal(t, c.want, text(deps[1:]))
		})
	}
}

// TestSearchAndCycleAreListsOfTheirOwn: a comma inside SEARCH or CYCLE is none
// before another CTE.
func TestSearchAndCycleAreListsOfTheirOwn(t *testing.T) {
	const tree = `WITH RECURSIVE tree(id, parent) AS (SELECT id, company_id FROM users UNION ALL SELECT u.id, u.company_id FROM users u JOIN tree t ON t.id = u.company_id)`
	for _, c := range []struct {
		name, sql string
		names     []TableName
	}{
		{"search by one column", tree + ` SEARCH DEPTH FIRST BY id SET pos SELECT * FROM tree`, []TableName{{Name: "users"}}},
		{"search by two columns", tree + ` SEARCH BREADTH FIRST BY id, parent SET pos SELECT * FROM tree`, []TableName{{Name: "users"}}},
		{"cycle of three columns", tree + ` CYCLE id, parent, id SET looped USING path SELECT * FROM tree`, []TableName{{Name: "users"}}},
		{"both", tree + ` SEARCH DEPTH FIRST BY id, parent SET pos CYCLE id, parent SET looped USING path SELECT * FROM tree`, []TableName{{Name: "users"}}},
		{"another CTE", tree + ` SEARCH DEPTH FIRST BY id, parent SET pos, more AS (SELECT * FROM posts) SELECT * FROM tree, more`, []TableName{{Name: "users"}, {Name: "posts"}}},
		{"another CTE with columns", tree + ` CYCLE id, parent SET looped USING path, more(a) AS (SELECT id FROM posts) SELECT * FROM tree, more`, []TableName{{Name: "users"}, {Name: "posts"}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			plan := compile(t, PostgreSQL, c.sql)
			require.Empty(t, plan.Skip)
			require.Equal(t, c.names, plan.Names)
			deps, err := plan.Bind(nil)
			require.NoError(t, err)
			for _, d := range deps {
				require.Len(t, d.Conjunctions, 1)
				require.Empty(t, d.Conjunctions[0].Terms, "all rows matter")
			}
		})
	}
}
