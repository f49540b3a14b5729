package conj

import (
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// on compiles a text for a query that is limited to columns.
func on(t *testing.T, d Dialect, lim Limits, sql string, columns ...string) *Plan {
	t.Helper()
	plan, err := CompileOn(d, sql, shop(), lim, columns)
	require.NoError(t, err, sql)
	require.Empty(t, plan.Skip, sql)
	return plan
}

func TestPinnedQueriesDependOnTheNamedColumnsOnly(t *testing.T) {
	ids := func(n int) string {
		list := make([]string, n)
		for i := range list {
			list[i] = strconv.Itoa(i)
		}
		return strings.Join(list, ",")
	}
	each := func(n int) string {
		list := make([]string, n)
		for i := range list {
			list[i] = "age=" + strconv.Itoa(i)
		}
		return strings.Join(list, " | ")
	}
	for _, c := range []struct {
		name, sql string
		on        []string
		args      []any
		want      string
	}{
		{"a conjunction keeps the term", `SELECT * FROM users WHERE age = 3 AND name = 'x'`, []string{"age"}, nil, `users[age=3]`},
		{"several columns count together", `SELECT * FROM users WHERE age = 3 AND name = 'x' AND company_id = 1`, []string{"name", "age"}, nil, `users[age=3,name=x]`},
		{"several columns count each where they must", `SELECT * FROM users WHERE age = 3 OR name = 'x'`, []string{"name", "age"}, nil, `users[age=3 | name=x]`},
		{"a branch that narrows by another column is left out", `SELECT * FROM users WHERE age = 3 OR name = 'x'`, []string{"age"}, nil, `users[age=3]`},
		{"and so is one that doesn't narrow", `SELECT * FROM users WHERE age = 3 OR name > 'x'`, []string{"age"}, nil, `users[age=3]`},
		{"a product of both", `SELECT * FROM users WHERE (age = 3 OR name > 'x') AND (company_id = 1 OR active)`, []string{"age", "company_id"}, nil,
			`users[age=3,company_id=1 | age=3 | company_id=1]`},
		{"other tables are left out", `SELECT * FROM users JOIN posts ON posts.user_id = users.id WHERE users.age = 3 AND posts.title LIKE 'a%'`, []string{"users.age"}, nil, `users[age=3] posts[]`},
		{"a constant that reaches the column over a join", `SELECT * FROM users JOIN posts ON posts.user_id = users.id WHERE users.id = $1 AND users.name = 'x'`, []string{"posts.user_id"}, []any{int64(7)}, `users[] posts[user_id=7]`},
		{"columns of two tables", `SELECT * FROM users JOIN posts ON posts.user_id = users.id WHERE users.age = 3 AND posts.category = 4`, []string{"users.age", "posts.category"}, nil, `users[age=3] posts[category=4]`},
		{"a subquery's table", `SELECT * FROM users WHERE id IN (SELECT user_id FROM posts WHERE category = 4 AND title = 'x')`, []string{"category"}, nil, `users[] posts[category=4]`},
		{"another alias of the table is left out", `SELECT * FROM users u JOIN users v ON v.company_id > u.id WHERE u.age = 3`, []string{"users.age"}, nil, `users[age=3]`},
		{"another side of a union is left out", `SELECT * FROM users WHERE age = 3 UNION SELECT * FROM users WHERE name LIKE 'x%'`, []string{"age"}, nil, `users[age=3]`},
		{"IS NULL of any kind", `SELECT * FROM users WHERE age = 3 AND deleted_at IS NULL`, []string{"deleted_at"}, nil, `users[deleted_at null]`},
		{"the schema, too", `SELECT * FROM users WHERE age = 3`, []string{"public.users.age"}, nil, `users[age=3]`},
		{"named twice", `SELECT * FROM users WHERE age = 3`, []string{"users.age", "age"}, nil, `users[age=3]`},
		{"other lists don't count for the limits", `SELECT * FROM users WHERE age IN (` + ids(100) + `) AND company_id IN (1,2,3)`, []string{"age"}, nil, `users[` + each(100) + `]`},

		{"a list that is too long: any row", `SELECT * FROM users WHERE age IN (` + ids(1001) + `)`, []string{"age"}, nil, `users[*]`},
		{"also beside a branch that narrows", `SELECT * FROM users WHERE age IN (` + ids(1001) + `) OR age = -1`, []string{"age"}, nil, `users[*]`},
		{"a parameter of another type: any row", `SELECT * FROM users WHERE age = $1`, []string{"age"}, []any{"x"}, `users[*]`},
		{"also beside a branch that narrows", `SELECT * FROM users WHERE age = $1 OR age = 3`, []string{"age"}, []any{"x"}, `users[*]`},
		{"the missing side of an outer join: any row", `SELECT * FROM users LEFT JOIN posts ON true WHERE posts.category = 4 OR posts.category IS NULL`, []string{"posts.category"}, nil, `users[] posts[*]`},
		{"nothing can match", `SELECT * FROM users WHERE age IN (NULL)`, []string{"age"}, nil, `users[]`},
		{"nothing can match, by another column", `SELECT * FROM users WHERE age > 3 AND name IN (NULL)`, []string{"age"}, nil, `users[]`},
		{"a branch can't match", `SELECT * FROM users WHERE age IN (NULL) OR name = 'x'`, []string{"age"}, nil, `users[]`},
		{"a nil argument", `SELECT * FROM users WHERE age = $1 OR name = 'x'`, []string{"age"}, []any{nil}, `users[]`},
	} {
		t.Run(c.name, func(t *testing.T) {
			plan := on(t, PostgreSQL, Limits{}, c.sql, c.on...)
			deps, err := plan.Bind(c.args)
			require.NoError(t, err)
			require.Equal(t, c.want, text(deps))
			require.NotEmpty(t, plan.On)
		})
	}
	require.Equal(t, []string{"public.users.age", "public.users.name"}, on(t, PostgreSQL, Limits{}, `SELECT * FROM users WHERE age = 1 AND name = 'x'`, "users.name", "age").On)
	require.Equal(t, []string{"public.users.age"}, on(t, MySQL, Limits{}, "SELECT * FROM users WHERE Age = 1", "Users.AGE").On)
}

func TestPinsOnWhatTheQueryDoesNotNarrowByAreErrors(t *testing.T) {
	const joined = `SELECT * FROM users JOIN posts ON posts.user_id = users.id WHERE users.age = 3`
	for _, c := range []struct{ sql, on, problem, remedy string }{
		{`SELECT * FROM users WHERE age > 3`, "age", "no condition that narrows by the column", "age = ? and age IN ?"},
		{`SELECT * FROM users WHERE NOT age = 3`, "users.age", "no condition that narrows by the column", "age = ?"},
		{`SELECT * FROM users`, "age", "no condition that narrows", "age = ?"},
		{`SELECT * FROM users WHERE bio = 'x'`, "bio", "can't be told apart by equality", "another type"},
		{joined, "posts.user_id", "no condition that narrows", "user_id = ?"},
		{joined, "id", "both public.users and public.posts have the column", `"users.id"`},
		{joined, "orders.age", "doesn't read the table orders", "users, posts"},
		{joined, "users.aeg", "has no column aeg", "correct"},
		{joined, "aeg", "no table of the query has the column aeg", "users, posts"},
		{joined, "", "no table of the query has the column", "users, posts"},
	} {
		_, err := CompileOn(PostgreSQL, c.sql, shop(), Limits{}, []string{c.on})
		var pin *PinError
		require.ErrorAs(t, err, &pin, c.sql)
		require.Equal(t, c.on, pin.Column)
		require.Contains(t, pin.Problem, c.problem)
		require.Contains(t, pin.Remedy, c.remedy)
	}
	plan, err := CompileOn(PostgreSQL, `SELECT * FROM nowhere FOR UPDATE`, shop(), Limits{}, []string{"age"})
	require.NoError(t, err, "what is not cached is not limited either")
	require.NotEmpty(t, plan.Skip)
}

func TestPinsGiveUpBeyondTheLimits(t *testing.T) {
	for _, where := range []string{
		`(age = 1 OR name = 'a' OR company_id = 3) AND (age = 2 OR name = 'b' OR company_id = 4)`,
		`age = 1 OR name = 'a' OR name = 'b' OR name = 'c' OR name = 'd'`,
	} {
		deps, err := on(t, PostgreSQL, Limits{MaxConjunctions: 4}, `SELECT * FROM users WHERE `+where, "age").Bind(nil)
		require.NoError(t, err)
		require.Equal(t, `users[*]`, text(deps), where)
	}
}

func TestWhatTheTextHidesIsNamed(t *testing.T) {
	tables := shop()
	lookup := func(n TableName) (*Table, error) {
		table, err := tables(n)
		if table != nil && table.Uncacheable != "" {
			table.Declarable = true
		}
		return table, err
	}
	plan, err := Compile(PostgreSQL, `SELECT f(id), now() FROM active_users, sales.totals(1) WHERE id = 3 AND public.lower(name) = g()`, lookup, Limits{})
	require.NoError(t, err)
	require.Empty(t, plan.Skip)
	require.Equal(t, "now()", plan.Volatile)
	require.Equal(t, []Hidden{
		{HiddenFunction, "f", "function f() is not known to be stable", ""},
		{HiddenTableFunction, "totals", "table-valued function sales.totals", ""},
		{HiddenFunction, "lower", "function public.lower() is not known to be stable", ""},
		{HiddenFunction, "g", "function g() is not known to be stable", ""},
		{HiddenTable, "active_users", "active_users is elsewhere", ""},
	}, plan.Hidden)
	require.True(t, plan.CallsUnknown())
	deps, err := plan.Bind(nil)
	require.NoError(t, err)
	require.Equal(t, `active_users[id=3]`, text(deps))

	plan, err = Compile(PostgreSQL, `SELECT * FROM active_users`, lookup, Limits{})
	require.NoError(t, err)
	require.False(t, plan.CallsUnknown(), "a view calls nothing")
	plan, err = Compile(PostgreSQL, `SELECT * FROM my_function(1)`, lookup, Limits{})
	require.NoError(t, err)
	require.Empty(t, plan.Skip, "it may read tables that don't show")
}
