package conj

import "testing"

func TestNegatedBooleansNarrow(t *testing.T) {
	checkRules(t, Limits{}, []rule{
		{"NOT column", 0, `SELECT * FROM users WHERE NOT active`, nil, `users[active=0]`},
		{"NOT NOT column", 0, `SELECT * FROM users WHERE NOT NOT active`, nil, `users[active=1]`},
		{"unequal", 0, `SELECT * FROM users WHERE active <> true`, nil, `users[active=0]`},
		{"unequal, the other way", 0, `SELECT * FROM users WHERE false != active`, nil, `users[active=1]`},
		{"unequal to a parameter", 0, `SELECT * FROM users WHERE active <> $1`, []any{true}, `users[active=0]`},
		{"as GORM's Not", 0, `SELECT * FROM users WHERE NOT active = $1 AND age = 1`, []any{true}, `users[active=0,age=1]`},
		{"in parentheses", 0, `SELECT * FROM users WHERE NOT (active = $1)`, []any{false}, `users[active=1]`},
		{"twice", 0, `SELECT * FROM users WHERE NOT (active <> $1)`, []any{false}, `users[active=0]`},
		{"of any column", 0, `SELECT * FROM users WHERE NOT (age <> $1)`, []any{int64(1)}, `users[age=1]`},
		{"of NULL", 0, `SELECT * FROM users WHERE active <> $1`, []any{nil}, `users[]`},
		{"of a text", 0, `SELECT * FROM users WHERE active <> $1`, []any{"true"}, `users[*]`},
		{"both", 0, `SELECT * FROM users WHERE active <> true AND active = true`, nil, `users[]`},
		{"NOT IS TRUE holds for NULL", 0, `SELECT * FROM users WHERE NOT (active IS TRUE)`, nil, `users[*]`},
		{"IS DISTINCT FROM holds for NULL", 0, `SELECT * FROM users WHERE NOT (active IS NOT DISTINCT FROM true)`, nil, `users[*]`},
		{"of an integer", 0, `SELECT * FROM users WHERE age <> 1`, nil, `users[*]`},
		{"over a join", 0, `SELECT * FROM users u JOIN users v ON u.active = v.active WHERE u.active <> true`, nil, `users[active=0]`},
		{"MySQL has other values", MySQL, `SELECT * FROM users WHERE active <> true`, nil, `users[*]`},
		{"SQLite has other values", SQLite, `SELECT * FROM users WHERE NOT active = true`, nil, `users[*]`},
	})
}
