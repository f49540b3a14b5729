package conj

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestWhatDependsOnTheOrderOfRowsIsNamed(t *testing.T) {
	const anywhere = PostgreSQL
	for _, c := range []struct {
		d    Dialect
		sql  string
		want string
	}{
		{anywhere, `SELECT * FROM users WHERE age = 1 ORDER BY id LIMIT 3`, ""},
		{anywhere, `SELECT count(*), max(name), concat(name, 'x') FROM users`, ""},
		{anywhere, `SELECT company_id, count(*) FROM users GROUP BY company_id`, ""},
		{anywhere, `SELECT sum(age), sum(DISTINCT users.age) FROM users`, ""},
		{anywhere, `SELECT DISTINCT name FROM users UNION SELECT title FROM posts`, ""},
		{anywhere, `SELECT 'DISTINCT ON', name AS limit FROM users`, ""},
		{anywhere, `SELECT string_agg(name, ',') FROM users`, "string_agg()"},
		{anywhere, `SELECT Array_Agg(name) FROM users`, "array_agg()"},
		{anywhere, `SELECT json_agg(name) FROM users`, "json_agg()"},
		{anywhere, `SELECT any_value(name) FROM users`, "any_value()"},
		{anywhere, `SELECT ARRAY(SELECT id FROM posts) FROM users`, "array()"},
		{anywhere, `SELECT row_number() OVER (ORDER BY age) FROM users`, "a window function"},
		{anywhere, `SELECT first_value(id) OVER w FROM users WINDOW w AS (ORDER BY age)`, "a window function"},
		{anywhere, `SELECT DISTINCT ON (age) * FROM users`, "DISTINCT ON"},
		{anywhere, `SELECT sum(bio) FROM users`, "sum() of what may be a floating point number"},
		{anywhere, `SELECT avg(age * 1.5) FROM users`, "avg() of what may be a floating point number"},
		{anywhere, `SELECT * FROM users WHERE id IN (SELECT user_id FROM posts LIMIT 3)`, "LIMIT in a subquery"},
		{anywhere, `WITH a AS (SELECT * FROM users FETCH FIRST ROW ONLY) SELECT * FROM a`, "FETCH in a subquery"},
		{SQLite, `SELECT company_id, count(*) FROM users GROUP BY company_id`, "columns beside aggregates"},
		{SQLite, `SELECT name FROM users GROUP BY company_id`, "GROUP BY"},
		{MySQL, `SELECT DISTINCT name FROM users`, "DISTINCT"},
		{MySQL, `SELECT name FROM users UNION SELECT title FROM posts`, "UNION"},
		{MySQL, `SELECT name FROM users UNION ALL SELECT title FROM posts`, ""},
		{MySQL, `SELECT count(DISTINCT name), max(age) FROM users`, ""},
		{MySQL, `SELECT max(slug) FROM posts`, "max() of what may be equal and not the same"},
		{MySQL, `SELECT group_concat(name) FROM users`, "group_concat()"},
		{SQLite, `SELECT name, max(age) FROM users`, "columns beside aggregates"},
		{SQLite, `SELECT count(*), max(age) AS oldest FROM users`, ""},
		{SQLite, `SELECT *, (SELECT title FROM posts WHERE user_id = users.id) FROM users`, "a subquery of which SQLite takes the first row"},
		{SQLite, `SELECT * FROM users WHERE id IN (SELECT user_id FROM posts) AND EXISTS (SELECT 1 FROM posts)`, ""},
	} {
		t.Run(c.d.String()+"/"+c.sql, func(t *testing.T) {
			require.Equal(t, c.want, compile(t, c.d, c.sql).OrderDependent)
		})
	}
}

func TestOrderInAViewIsNamed(t *testing.T) {
	for query, want := range map[string]string{
		`SELECT id FROM users`:                     "",
		`SELECT id FROM users ORDER BY id LIMIT 3`: "LIMIT in the view newest",
		`SELECT array_agg(id) AS id FROM users`:    "array_agg() in the view newest",
	} {
		tables := shop()
		view := NewTable("public.newest", "newest", []Column{{"id", Integer}})
		view.View = &View{Query: query}
		plan, err := Compile(PostgreSQL, `SELECT * FROM newest`, func(n TableName) (*Table, error) {
			if n.Name == "newest" {
				return view, nil
			}
			return tables(n)
		}, Limits{})
		require.NoError(t, err)
		require.Equal(t, want, plan.OrderDependent, query)
	}
}

func TestOrderAndCuts(t *testing.T) {
	for _, c := range []struct {
		d    Dialect
		sql  string
		want string // columns
		cuts bool
	}{
		{PostgreSQL, `SELECT * FROM users`, "", false},
		{PostgreSQL, `SELECT * FROM users ORDER BY Name DESC NULLS LAST, users.id ASC, lower(bio), 1 LIMIT 3`, "name id", true},
		{PostgreSQL, `SELECT * FROM users AS u ORDER BY u.id OFFSET 2`, "id", true},
		{PostgreSQL, `SELECT * FROM users ORDER BY id + 1 FETCH FIRST 2 ROWS ONLY`, "", true},
		{PostgreSQL, `SELECT -id AS id FROM users ORDER BY id LIMIT 3`, "", true},
		{PostgreSQL, `SELECT -id AS id FROM users ORDER BY users.id LIMIT 3`, "id", true},
		{PostgreSQL, `SELECT name AS id FROM users ORDER BY id LIMIT 3`, "", true},
		{SQLite, `SELECT -id id FROM users ORDER BY id LIMIT 3`, "", true},
		{SQLite, "SELECT id, `name` FROM `users` ORDER BY `users`.`ID` LIMIT 3", "id", true},
		{MySQL, `SELECT * FROM users ORDER BY slug COLLATE utf8mb4_bin, id LIMIT 1, 2`, "id", true},
		{PostgreSQL, `SELECT DISTINCT id FROM users ORDER BY id LIMIT 3`, "", true},
		{PostgreSQL, `SELECT id FROM users GROUP BY id ORDER BY id LIMIT 3`, "", true},
		{PostgreSQL, `SELECT users.id FROM users JOIN posts ON user_id = users.id ORDER BY users.id LIMIT 3`, "", true},
		{PostgreSQL, `SELECT id FROM users UNION SELECT id FROM posts ORDER BY id LIMIT 3`, "", true},
		{PostgreSQL, `SELECT id FROM users WHERE id IN (SELECT user_id FROM posts) ORDER BY id LIMIT 3`, "", true},
	} {
		t.Run(c.d.String()+"/"+c.sql, func(t *testing.T) {
			plan := compile(t, c.d, c.sql)
			require.Equal(t, c.want, strings.Join(plan.Order, " "))
			require.Equal(t, c.cuts, plan.Cuts)
		})
	}
}

func TestAllColumns(t *testing.T) {
	for sql, want := range map[string]bool{
		"SELECT * FROM `users` WHERE age = 1":                         true,
		"select users.* from users":                                   true,
		"SELECT u.* FROM users u":                                     true,
		"SELECT DISTINCT * FROM users":                                true,
		"SELECT *, 1 FROM users":                                      false,
		"SELECT id FROM users":                                        false,
		"SELECT * FROM users, posts":                                  false,
		"SELECT count(*) FROM users":                                  false,
		"SELECT * FROM users UNION SELECT * FROM users":               false,
		"SELECT * FROM (SELECT id FROM users) AS u":                   false,
		"SELECT * FROM users WHERE id IN (SELECT user_id FROM posts)": true,
	} {
		require.Equal(t, want, compile(t, SQLite, sql).AllColumns, sql)
	}
}
