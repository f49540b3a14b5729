package conj

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// shop is a small schema for the tests of rules.
func shop() Lookup {
	table := func(name string, columns ...Column) *Table { return NewTable("public."+name, name, columns) }
	id := Column{"id", Integer}
	deleted := Column{"deleted_at", Opaque}
	view := table("active_users", id)
	view.Uncacheable = "is elsewhere"
	tables := map[string]*Table{
		"users": table("users", id, Column{"name", Text}, Column{"age", Integer}, Column{"company_id", Integer},
			Column{"active", Boolean}, Column{"key", UUID}, Column{"bio", Opaque}, deleted),
		"posts": table("posts", id, Column{"user_id", Integer}, Column{"category", Integer}, Column{"title", Text},
			Column{"slug", FoldedText}, deleted),
		"companies":    table("companies", id, Column{"name", Text}, Column{"short_id", Text}),
		"labels":       table("labels", Column{"post_id", Integer}, Column{"brand_id", Integer}),
		"active_users": view,
	}
	return func(n TableName) (*Table, error) { return tables[strings.ToLower(n.Name)], nil }
}

// text shows dependencies briefly: users[age=1,name=x] companies[*] posts[].
func text(deps []Dependency) string {
	var out []string
	for _, d := range deps {
		var conjunctions []string
		for _, c := range d.Conjunctions {
			var terms []string
			for _, t := range c.Terms {
				switch {
				case t.Value == Null:
					terms = append(terms, t.Column+" null")
				case len(t.Value) == 17: // 16 bytes
					terms = append(terms, fmt.Sprintf("%s=%x", t.Column, string(t.Value[1:])))
				default:
					terms = append(terms, t.Column+string(t.Value))
				}
			}
			if len(terms) == 0 {
				terms = []string{"*"}
			}
			conjunctions = append(conjunctions, strings.Join(terms, ","))
		}
		out = append(out, d.Table.Name+"["+strings.Join(conjunctions, " | ")+"]")
	}
	return strings.Join(out, " ")
}

type rule struct {
	name string
	d    Dialect // PostgreSQL unless given
	sql  string
	args []any
	want string
}

func checkRules(t *testing.T, lim Limits, rules []rule) {
	t.Helper()
	for _, r := range rules {
		t.Run(r.name, func(t *testing.T) {
			if r.d == 0 {
				r.d = PostgreSQL
			}
			plan, err := Compile(r.d, r.sql, shop(), lim)
			require.NoError(t, err)
			require.Empty(t, plan.Skip)
			deps, err := plan.Bind(r.args)
			require.NoError(t, err)
			require.Equal(t, r.want, text(deps))
		})
	}
}

func TestConditionsNarrow(t *testing.T) {
	long := func(n int) string { return strings.TrimSuffix(strings.Repeat("7,", n-1)+"8", ",") }
	distinct := make([]string, 100)
	for i := range distinct {
		distinct[i] = fmt.Sprint(i)
	}
	checkRules(t, Limits{}, []rule{
		{"DNF-01 equality", 0, `SELECT * FROM users WHERE age = $1`, []any{int64(3)}, `users[age=3]`},
		{"DNF-01 equality with a literal", 0, `SELECT * FROM users WHERE age = 3 AND name = 'x'`, nil, `users[age=3,name=x]`},
		{"DNF-01 negative literal", 0, `SELECT * FROM users WHERE age = -3`, nil, `users[age=-3]`},
		{"DNF-01 either side", 0, `SELECT * FROM users WHERE $1 = age`, []any{int64(3)}, `users[age=3]`},
		{"DNF-01 IN", 0, `SELECT * FROM users WHERE age IN ($1,$2)`, []any{int64(3), int64(4)}, `users[age=3 | age=4]`},
		{"DNF-01 IS NULL of any kind", 0, `SELECT * FROM users WHERE deleted_at IS NULL`, nil, `users[deleted_at null]`},
		{"DNF-01 boolean column", 0, `SELECT * FROM users WHERE active = true`, nil, `users[active=1]`},
		{"DNF-01 bare boolean column", 0, `SELECT * FROM users WHERE active AND age = 1`, nil, `users[active=1,age=1]`},
		{"DNF-01 bare column elsewhere", SQLite, `SELECT * FROM users WHERE active AND age = 1`, nil, `users[age=1]`},
		{"DNF-01 uuid", 0, `SELECT * FROM users WHERE key = $1`, []any{"{00000000-0000-0000-0000-0000000000FF}"}, `users[key=000000000000000000000000000000ff]`},
		{"DNF-02 product", 0, `SELECT * FROM users WHERE (age = 1 OR age = 2) AND (name = 'x' OR name = 'y')`, nil, `users[age=1,name=x | age=1,name=y | age=2,name=x | age=2,name=y]`},
		{"DNF-02 AND binds tighter", 0, `SELECT * FROM users WHERE age = 1 AND name = 'x' OR age = 2`, nil, `users[age=1,name=x | age=2]`},
		{"DNF-02 nested", 0, `SELECT * FROM users WHERE ((age = 1 AND ((name = 'x') OR company_id = 5)))`, nil, `users[age=1,name=x | age=1,company_id=5]`},
		{"DNF-03 negated equality", 0, `SELECT * FROM users WHERE NOT age = 1 AND name = 'x'`, nil, `users[name=x]`},
		{"DNF-03 negated disjunction", 0, `SELECT * FROM users WHERE NOT (age = 1 OR name = 'x')`, nil, `users[*]`},
		{"DNF-03 unequal", 0, `SELECT * FROM users WHERE age <> 1 AND age != 2`, nil, `users[*]`},
		{"DNF-03 NOT IN", 0, `SELECT * FROM users WHERE age NOT IN (1,2) AND name = 'x'`, nil, `users[name=x]`},
		{"DNF-03 IS NOT NULL", 0, `SELECT * FROM users WHERE age IS NOT NULL`, nil, `users[*]`},
		{"DNF-04 opaque term vanishes", 0, `SELECT * FROM users WHERE age > 1 AND name = 'x' AND bio LIKE 'a%'`, nil, `users[name=x]`},
		{"DNF-04 empty conjunction absorbs", 0, `SELECT * FROM users WHERE name = 'x' OR age > 1`, nil, `users[*]`},
		{"DNF-05 contradiction", 0, `SELECT * FROM users WHERE age = 1 AND age = 2 OR name = 'x'`, nil, `users[name=x]`},
		{"DNF-05 contradiction of parameters", 0, `SELECT * FROM users WHERE age = $1 AND age = $2`, []any{int64(1), int64(2)}, `users[]`},
		{"DNF-05 same value twice", 0, `SELECT * FROM users WHERE age = $1 AND age = 1`, []any{int64(1)}, `users[age=1]`},
		{"DNF-05 lists intersect", 0, `SELECT * FROM users WHERE age IN (1,2,3) AND age IN (2,3,4)`, nil, `users[age=2 | age=3]`},
		{"DNF-05 null and a value", 0, `SELECT * FROM users WHERE age = 1 AND age IS NULL`, nil, `users[]`},
		{"DNF-05 folded text keeps the first", MySQL, `SELECT * FROM posts WHERE slug = ? AND slug = ?`, []any{"A", "b"}, `posts[slug=a]`},
		{"DNF-06 long IN", 0, `SELECT * FROM users WHERE age IN (` + long(129) + `) AND name = 'x'`, nil, `users[name=x]`},
		{"DNF-06 IN of a hundred", 0, `SELECT * FROM users WHERE age IN (` + strings.Join(distinct, ",") + `)`, nil,
			`users[age=` + strings.Join(distinct, " | age=") + `]`},
		{"DNF-06 product of lists drops the longest", 0, `SELECT * FROM users WHERE company_id IN (1,2,3) AND age IN (` + strings.Join(distinct, ",") + `)`, nil,
			`users[company_id=1 | company_id=2 | company_id=3]`},
		{"DNF-07 duplicates", 0, `SELECT * FROM users WHERE age IN (1,1,$1) OR age = 1`, []any{int64(1)}, `users[age=1]`},
		{"DNF-08 opaque column", 0, `SELECT * FROM users WHERE bio = 'x' AND age = 1`, nil, `users[age=1]`},
		{"DNF-12 false", 0, `SELECT * FROM users WHERE 1 <> 1`, nil, `users[]`},
		{"DNF-12 FALSE", 0, `SELECT * FROM users WHERE age = 1 AND FALSE`, nil, `users[]`},
		{"DNF-12 empty slice", 0, `SELECT * FROM users WHERE age IN (NULL)`, nil, `users[]`},
		{"DNF-12 empty list", SQLite, `SELECT * FROM users WHERE age IN ()`, nil, `users[]`},
		{"DNF-12 negated empty list", SQLite, `SELECT * FROM users WHERE NOT age IN () AND name = 'x'`, nil, `users[name=x]`},
		{"DNF-12 true", 0, `SELECT * FROM users WHERE 1 = 1 AND age = 1 AND TRUE`, nil, `users[age=1]`},
		{"DNF-12 negated false", 0, `SELECT * FROM users WHERE NOT (1 = 0) AND age = 1`, nil, `users[age=1]`},
		{"DNF-12 negated null", 0, `SELECT * FROM users WHERE NOT NULL`, nil, `users[]`},
		{"DNF-13 order and limit", 0, `SELECT * FROM users WHERE age = 1 ORDER BY name, (CASE WHEN age = 2 THEN 1 END) LIMIT $1 OFFSET 3`, []any{int64(2)}, `users[age=1]`},
		{"BAS-10 IN with NULL", 0, `SELECT * FROM users WHERE age IN (1, NULL) AND name = 'é'`, nil, `users[age=1,name=é]`},
		{"nil is never equal", 0, `SELECT * FROM users WHERE age = $1 OR name = $2`, []any{nil, "x"}, `users[name=x]`},
		{"nil in a list", 0, `SELECT * FROM users WHERE age IN ($1, $2)`, []any{nil, int64(1)}, `users[age=1]`},
		{"IS NOT DISTINCT FROM nil", 0, `SELECT * FROM users WHERE age IS NOT DISTINCT FROM $1`, []any{nil}, `users[age null]`},
		{"IS NOT DISTINCT FROM a value", 0, `SELECT * FROM users WHERE age IS NOT DISTINCT FROM $1`, []any{int64(1)}, `users[age=1]`},
		{"IS DISTINCT FROM", 0, `SELECT * FROM users WHERE age IS DISTINCT FROM $1`, []any{int64(1)}, `users[*]`},
		{"<=>", MySQL, `SELECT * FROM users WHERE age <=> ?`, []any{nil}, `users[age null]`},
		{"<=> of an opaque column", MySQL, `SELECT * FROM users WHERE bio <=> ?`, []any{nil}, `users[bio null]`},
		{"SQLite IS", SQLite, `SELECT * FROM users WHERE age IS 5 AND name IS ?`, []any{"x"}, `users[age=5,name=x]`},
		{"SQLite IS NOT", SQLite, `SELECT * FROM users WHERE age IS NOT 5`, nil, `users[*]`},
		{"SQLite ==", SQLite, `SELECT * FROM users WHERE age == 5`, nil, `users[age=5]`},
		{"SQLite ISNULL", SQLite, `SELECT * FROM users WHERE age ISNULL`, nil, `users[age null]`},
		{"ANY of a slice", 0, `SELECT * FROM users WHERE age = ANY($1)`, []any{[]int64{1, 2, 1}}, `users[age=1 | age=2]`},
		{"ANY of an empty slice", 0, `SELECT * FROM users WHERE age = ANY($1)`, []any{[]int64{}}, `users[]`},
		{"ANY of nil", 0, `SELECT * FROM users WHERE age = ANY($1)`, []any{nil}, `users[]`},
		{"ANY of a slice with nil", 0, `SELECT * FROM users WHERE age = ANY($1)`, []any{[]any{nil, int64(1)}}, `users[age=1]`},
		{"ANY of an array text", 0, `SELECT * FROM users WHERE age = ANY($1)`, []any{"{1,-2}"}, `users[age=1 | age=-2]`},
		{"ANY of an array text with quotes", 0, `SELECT * FROM users WHERE age = ANY($1)`, []any{`{"1",2}`}, `users[*]`},
		{"ANY of a text array", 0, `SELECT * FROM users WHERE name = ANY($1)`, []any{"{a,b}"}, `users[*]`},
		{"ANY of ARRAY", 0, `SELECT * FROM users WHERE age = ANY(ARRAY[1,$1])`, []any{int64(2)}, `users[age=1 | age=2]`},
		{"ANY of a cast", 0, `SELECT * FROM users WHERE age = ANY($1::bigint[])`, []any{[]int64{1}}, `users[age=1]`},
		{"ANY of a CAST", 0, `SELECT * FROM users WHERE age = ANY(CAST($1 AS int[]))`, []any{"{1,2}"}, `users[age=1 | age=2]`},
		{"ANY of a cast literal", 0, `SELECT * FROM users WHERE age = ANY('{1,2}'::int[])`, nil, `users[age=1 | age=2]`},
		{"ANY of a cast to another type", 0, `SELECT * FROM users WHERE age = ANY($1::text[])`, []any{[]int64{1}}, `users[*]`},
		{"ANY of what is more than a cast", 0, `SELECT * FROM users WHERE age = ANY($1::bigint[] || 5)`, []any{[]int64{1}}, `users[*]`},
		{"cast to the column's type", 0, `SELECT * FROM users WHERE age = $1::bigint AND name = 'x'::text`, []any{int64(1)}, `users[age=1,name=x]`},
		{"CAST to the column's type", 0, `SELECT * FROM users WHERE age IN (CAST($1 AS integer), CAST('2' AS int))`, []any{int64(1)}, `users[age=1 | age=2]`},
		{"cast in a null-safe comparison", 0, `SELECT * FROM users WHERE age IS NOT DISTINCT FROM $1::int`, []any{int64(1)}, `users[age=1]`},
		{"ALL", 0, `SELECT * FROM users WHERE age = ALL($1)`, []any{[]int64{1}}, `users[*]`},
		{"row value", 0, `SELECT * FROM users WHERE (age, name) = ($1, 'x')`, []any{int64(1)}, `users[age=1,name=x]`},
		{"row values in a list", 0, `SELECT * FROM users WHERE (age, name) IN ((1,'x'),($1,$2))`, []any{int64(2), "y"}, `users[age=1,name=x | age=2,name=y]`},
		{"row values, one with NULL", 0, `SELECT * FROM users WHERE (age, name) IN ((1,NULL),(2,'y'))`, nil, `users[age=2,name=y]`},
		{"column of another spelling", MySQL, "SELECT * FROM `Users` WHERE `USERS`.`Age` = 1", nil, `users[age=1]`},
		{"PostgreSQL folds", 0, `SELECT * FROM Users WHERE USERS.Age = 1`, nil, `users[age=1]`},
		{"PostgreSQL does not fold what is quoted", 0, `SELECT * FROM users WHERE "Age" = 1`, nil, `users[*]`},
		{"schema in front", 0, `SELECT * FROM "public"."users" WHERE "public"."users"."age" = 1 AND users.name = 'x'`, nil, `users[age=1,name=x]`},
		{"another schema in front", 0, `SELECT * FROM public.users WHERE other.users.age = 1`, nil, `users[*]`},
	})
}

func TestBooleanColumnsNarrow(t *testing.T) {
	flags := NewTable("public.flags", "flags", []Column{{"id", Integer}, {"active", Boolean}, {"odd", Opaque}})
	lookup := func(TableName) (*Table, error) { return flags, nil }
	for where, want := range map[string]string{
		`active`: `flags[active=1]`, `NOT active`: `flags[active=0]`, `NOT (flags.active)`: `flags[active=0]`,
		`active IS TRUE`: `flags[active=1]`, `active IS FALSE`: `flags[active=0]`, `active IS UNKNOWN`: `flags[active null]`,
		`active IS NOT TRUE`: `flags[active=0 | active null]`, `active IS NOT FALSE`: `flags[active=1 | active null]`,
		`active IS NOT UNKNOWN`: `flags[*]`, `NOT NOT active`: `flags[active=1]`, `NOT odd`: `flags[*]`, `NOT (active AND id = 1)`: `flags[*]`,
		`(active = true) IS TRUE`: `flags[*]`,
	} {
		plan, err := Compile(PostgreSQL, `SELECT * FROM flags WHERE `+where, lookup, Limits{})
		require.NoError(t, err)
		deps, err := plan.Bind(nil)
		require.NoError(t, err)
		require.Equal(t, want, text(deps), where)
	}
	for _, d := range []Dialect{MySQL, SQLite} { // where 2 is true, too
		for _, where := range []string{`active`, `NOT active`, `active IS TRUE`, `active IS NOT FALSE`} {
			plan, err := Compile(d, `SELECT * FROM flags WHERE `+where, lookup, Limits{})
			require.NoError(t, err)
			deps, err := plan.Bind(nil)
			require.NoError(t, err)
			require.Equal(t, `flags[*]`, text(deps), where)
		}
	}
}

func TestWrappedTermsAreOpaque(t *testing.T) {
	for _, where := range []string{
		`LOWER(name) = 'x'`, `name = LOWER($1)`, `age = $1 + 1`, `age + 0 = 1`, `age::text = '1'`, `age = $1::numeric`,
		`age = CAST($1 AS text)`, `age = $1::int[]`, `age = $1::text::int`, `name = $1::varchar(3)`, `name = $1::public.text`, `name COLLATE "C" = 'x'`, `name = 'x' COLLATE "C"`, `age = 1 = true`, `(age = 1) IS TRUE`,
		`age IS TRUE`, `age = 1.5`, `age = 01`, `name = E'a\'b'`, `name = B'1'`, `name = 'a' 'b'`, `- age = 1`,
		`age = (SELECT 1)`, `age = users.company_id`, `age BETWEEN 1 AND 1`, `age = ANY(SELECT 1)`, `age >= 1`,
		`CASE WHEN age = 1 THEN true END`, `age = name`, `age OPERATOR(pg_catalog.=) 1`, `age[1] = 1`,
		`(age, name) = (SELECT 1, 2)`, `name || 'x' = 'y'`, `name ~ 'x'`, `bio @> '{}'`, `bio -> 'a' = '1'`, `bio ? 'a'`,
		`name SIMILAR TO 'x'`, `name ILIKE 'x' ESCAPE '!'`, `age = date '2020-01-01'`, `age = interval '1' day`,
		`EXISTS (SELECT 1)`, `unknown = 1`, `other.age = 1`, `age = users.*`, `NOT age = 1 OR age = 2`,
		`age IS NOT DISTINCT FROM company_id`, `age = $1 AT TIME ZONE 'UTC'`, `age = 1 <> false`,
	} {
		plan, err := Compile(PostgreSQL, `SELECT * FROM users WHERE `+where, shop(), Limits{})
		require.NoError(t, err)
		require.NotContains(t, plan.Skip, "not understood", where)
		deps, err := plan.Bind([]any{int64(1)})
		require.NoError(t, err)
		require.Equal(t, `users[*]`, text(deps), where)
	}
}

func TestWhatAServersModeDecidesIsOpaque(t *testing.T) {
	checkRules(t, Limits{}, []rule{
		{"|| may be OR", MySQL, `SELECT * FROM users WHERE age = 1 || company_id = 2`, nil, `users[*]`},
		{"|| beside OR", MySQL, `SELECT * FROM users WHERE (age = 1 || company_id = 2 OR id = 3 XOR id = 4) AND name = 'x'`, nil, `users[name=x]`},
		{"|| in brackets", MySQL, `SELECT * FROM users WHERE (age = 1 || company_id = 2) AND name = 'x'`, nil, `users[name=x]`},
		{"XOR", MySQL, `SELECT * FROM users WHERE age = 1 AND name = 'x' XOR age = 2`, nil, `users[*]`},
		{"&& is AND", MySQL, `SELECT * FROM users WHERE age = 1 && name = 'x'`, nil, `users[age=1,name=x]`},
		{"double quotes may be a string", MySQL, `SELECT * FROM users WHERE name = "age" AND age = 1`, nil, `users[age=1]`},
		{"double quotes may be a name", MySQL, `SELECT * FROM "users" WHERE "age" = 1`, nil, `users[*]`},
		{"a name that is no column is a string", SQLite, `SELECT * FROM users WHERE name = "bob" AND age = 1`, nil, `users[age=1]`},
		{"a quoted table", SQLite, `SELECT * FROM 'users' WHERE age = 1`, nil, `users[age=1]`},
		{"BINARY", MySQL, `SELECT * FROM users WHERE name = BINARY ? AND age = 1`, []any{"x"}, `users[age=1]`},
		{"named parameter", SQLite, `SELECT * FROM users WHERE name = @name AND age = 1`, nil, `users[age=1]`},
	})
	for _, sql := range []string{`SELECT * FROM users WHERE name = 'a\'b'`, `SELECT /*!40001 SQL_NO_CACHE */ * FROM users`, `SELECT /*M!100 a */ 1`} {
		plan, err := Compile(MySQL, sql, shop(), Limits{})
		require.NoError(t, err)
		require.Equal(t, Unknown, plan.Statement)
	}
}

func TestJoinsNarrow(t *testing.T) {
	checkRules(t, Limits{}, []rule{
		{"DNF-09 self join", 0, `SELECT * FROM users a, users b WHERE a.age = 1 AND b.age = 2`, nil, `users[age=1 | age=2]`},
		{"DNF-09 self join with one side open", 0, `SELECT * FROM users a JOIN users b ON a.id = b.company_id WHERE a.age = 1`, nil, `users[*]`},
		{"DNF-09 condition on a joined table", 0, `SELECT * FROM users JOIN posts ON posts.user_id = users.id WHERE posts.category = 1 AND users.age = 2`, nil, `users[age=2] posts[category=1]`},
		{"DNF-09 constant carried to the right", 0, `SELECT * FROM users u JOIN posts p ON p.user_id = u.id WHERE u.id = $1`, []any{int64(5)}, `users[id=5] posts[user_id=5]`},
		{"DNF-09 constant carried to the left", 0, `SELECT * FROM users u, posts p WHERE p.user_id = u.id AND p.user_id IN (5,6)`, nil, `users[id=5 | id=6] posts[user_id=5 | user_id=6]`},
		{"DNF-09 constant carried over two joins", 0, `SELECT * FROM users u JOIN posts p ON p.user_id = u.id JOIN labels l ON l.post_id = p.user_id WHERE l.post_id = 1`, nil, `users[id=1] posts[user_id=1] labels[post_id=1]`},
		{"DNF-09 constant in ON", 0, `SELECT * FROM users JOIN posts ON posts.user_id = users.id AND posts.category = 1`, nil, `users[*] posts[category=1]`},
		{"constant not carried between kinds", 0, `SELECT * FROM users u JOIN companies c ON c.short_id = u.age WHERE u.age = 1`, nil, `users[age=1] companies[*]`},
		{"text not carried in MySQL", MySQL, `SELECT * FROM users u JOIN companies c ON c.name = u.name WHERE u.name = 'x'`, nil, `users[name=x] companies[*]`},
		{"text carried in PostgreSQL", 0, `SELECT * FROM users u JOIN companies c ON c.name = u.name WHERE u.name = 'x'`, nil, `users[name=x] companies[name=x]`},
		{"IS NULL is not carried", 0, `SELECT * FROM users u JOIN posts p ON p.user_id = u.id WHERE u.id IS NULL`, nil, `users[id null] posts[*]`},
		{"DNF-10 one alias", 0, `SELECT * FROM users u JOIN posts p ON p.user_id = u.id WHERE p.category = 1 AND p.title = 'x'`, nil, `users[*] posts[category=1,title=x]`},
		{"DNF-10 two aliases", 0, `SELECT * FROM users u JOIN posts p ON p.user_id = u.id JOIN posts q ON q.user_id = u.id WHERE p.category = 1 AND q.title = 'x'`, nil, `users[*] posts[category=1 | title=x]`},
		{"OR across tables", 0, `SELECT * FROM users u JOIN posts p ON p.user_id = u.id WHERE u.age = 1 OR p.category = 2`, nil, `users[*] posts[*]`},
		{"OR across tables with a common part", 0, `SELECT * FROM users u JOIN posts p ON p.user_id = u.id WHERE u.age = 1 AND p.category = 1 OR u.age = 2 AND p.category = 2`, nil, `users[age=1 | age=2] posts[category=1 | category=2]`},
		{"LEFT JOIN: ON narrows the right only", 0, `SELECT * FROM users u LEFT JOIN posts p ON p.user_id = u.id AND u.age = 1 AND p.category = 2`, nil, `users[*] posts[category=2]`},
		{"LEFT JOIN: WHERE on the left carries to the right", 0, `SELECT * FROM users u LEFT JOIN posts p ON p.user_id = u.id WHERE u.id = 5`, nil, `users[id=5] posts[user_id=5]`},
		{"LEFT JOIN: ON carries nothing to the left", 0, `SELECT * FROM users u LEFT JOIN posts p ON p.user_id = u.id AND p.user_id = 5`, nil, `users[*] posts[user_id=5]`},
		{"LEFT JOIN: equality in WHERE narrows the right", 0, `SELECT * FROM users u LEFT JOIN posts p ON p.user_id = u.id WHERE p.category = 1`, nil, `users[*] posts[category=1]`},
		{"INV-12 anti-join", 0, `SELECT * FROM users u LEFT JOIN posts p ON p.user_id = u.id WHERE p.id IS NULL AND u.age = 1`, nil, `users[age=1] posts[*]`},
		{"anti-join with a narrow ON", 0, `SELECT * FROM users u LEFT JOIN posts p ON p.user_id = u.id AND p.category = 1 WHERE p.id IS NULL`, nil, `users[*] posts[category=1]`},
		{"LEFT JOIN: IS NULL beside an equality", 0, `SELECT * FROM users u LEFT JOIN posts p ON p.user_id = u.id WHERE p.deleted_at IS NULL AND p.category = 1`, nil, `users[*] posts[category=1,deleted_at null]`},
		{"LEFT JOIN: IS NULL in ON", 0, `SELECT * FROM users u LEFT JOIN posts p ON p.user_id = u.id AND p.deleted_at IS NULL`, nil, `users[*] posts[deleted_at null]`},
		{"LEFT JOIN: nil may be NULL", 0, `SELECT * FROM users u LEFT JOIN posts p ON p.user_id = u.id WHERE p.category IS NOT DISTINCT FROM $1`, []any{nil}, `users[*] posts[*]`},
		{"RIGHT JOIN mirrors", 0, `SELECT * FROM posts p RIGHT JOIN users u ON p.user_id = u.id AND p.category = 2 AND u.age = 1`, nil, `posts[category=2] users[*]`},
		{"FULL JOIN: ON narrows nothing", 0, `SELECT * FROM users u FULL JOIN posts p ON p.user_id = u.id AND p.category = 1 AND u.age = 1`, nil, `users[*] posts[*]`},
		{"FULL JOIN: equality in WHERE narrows its table", 0, `SELECT * FROM users u FULL JOIN posts p ON p.user_id = u.id WHERE u.age = 1 AND p.deleted_at IS NULL`, nil, `users[age=1] posts[*]`},
		{"comma binds looser", 0, `SELECT * FROM users u, posts p RIGHT JOIN labels l ON l.post_id = p.id WHERE u.age IS NULL`, nil, `users[age null] posts[*] labels[*]`},
		{"comma in SQLite is a join", SQLite, `SELECT * FROM users u, posts p RIGHT JOIN labels l ON l.post_id = p.id WHERE u.age IS NULL`, nil, `users[*] posts[*] labels[*]`},
		{"CROSS JOIN binds to the left", 0, `SELECT * FROM users u CROSS JOIN posts p RIGHT JOIN labels l ON l.post_id = p.id WHERE u.age IS NULL`, nil, `users[*] posts[*] labels[*]`},
		{"JOIN without ON", MySQL, `SELECT * FROM users u JOIN posts p LEFT JOIN labels l ON l.post_id = p.id WHERE u.age = 1`, nil, `users[age=1] posts[*] labels[*]`},
		{"NATURAL JOIN", 0, `SELECT * FROM users NATURAL JOIN companies WHERE name = 'x' AND users.age = 1`, nil, `users[age=1] companies[*]`},
		{"USING carries constants", 0, `SELECT * FROM users JOIN posts USING (id) WHERE id = 1 AND posts.category = 1`, nil, `users[id=1] posts[category=1,id=1]`},
		{"USING of a LEFT JOIN", 0, `SELECT * FROM users LEFT JOIN posts USING (id) WHERE id = 1 AND posts.category IS NULL`, nil, `users[id=1] posts[id=1]`},
		{"USING of a LEFT JOIN, right side", 0, `SELECT * FROM users LEFT JOIN posts USING (id) WHERE posts.id = 1`, nil, `users[*] posts[id=1]`},
		{"USING of a RIGHT JOIN", 0, `SELECT * FROM users RIGHT JOIN posts USING (id) WHERE id = 1`, nil, `users[*] posts[*]`},
		{"USING of a FULL JOIN", 0, `SELECT * FROM users FULL JOIN posts USING (id) WHERE users.id = 1 OR id = 2`, nil, `users[*] posts[*]`},
		{"USING twice", 0, `SELECT * FROM users JOIN posts USING (id) JOIN companies USING (id) WHERE id IN (1, 2)`, nil, `users[id=1 | id=2] posts[id=1 | id=2] companies[id=1 | id=2]`},
		{"USING with a derived table", 0, `SELECT * FROM (SELECT 1 AS id) d LEFT JOIN posts USING (id) WHERE id = 1 AND posts.category IS NULL`, nil, `posts[*]`},
		{"USING of text in MySQL", MySQL, `SELECT * FROM users JOIN companies USING (name) WHERE name = 'x'`, nil, `users[name=x] companies[*]`},
		{"nested ON", 0, `SELECT * FROM users u JOIN posts p JOIN labels l ON l.post_id = p.id ON p.user_id = u.id WHERE l.brand_id = 1`, nil, `users[*] posts[*] labels[brand_id=1]`},
		{"parentheses", 0, `SELECT * FROM (users u JOIN posts p ON p.user_id = u.id) LEFT JOIN labels l ON l.post_id = p.id WHERE p.id = 1`, nil, `users[*] posts[id=1] labels[post_id=1]`},
		{"parentheses with an alias hide", 0, `SELECT * FROM (users u JOIN posts p ON p.user_id = u.id AND p.category = 1) AS j WHERE u.age = 1 AND title = 'x'`, nil, `users[*] posts[category=1]`},
		{"column aliases hide", 0, `SELECT * FROM users AS u(age, name) WHERE u.age = 1`, nil, `users[*]`},
		{"ambiguous name", 0, `SELECT * FROM users, companies WHERE name = 'x'`, nil, `users[*] companies[*]`},
		{"unqualified name of one table", 0, `SELECT * FROM users u JOIN posts p ON p.user_id = u.id WHERE age = 1 AND category = 2`, nil, `users[age=1] posts[category=2]`},
		{"ON sees its own tables only", 0, `SELECT * FROM users u WHERE EXISTS (SELECT 1 FROM posts p JOIN labels l ON age = 1 AND c.name = 'x', companies c WHERE short_id = 'y')`, nil, `users[*] posts[*] labels[*] companies[short_id=y]`},
		{"index hints", MySQL, "SELECT * FROM users u USE INDEX (a) IGNORE INDEX FOR JOIN (b) STRAIGHT_JOIN posts p FORCE KEY (c) ON p.user_id = u.id WHERE u.id = 1", nil, `users[id=1] posts[user_id=1]`},
		{"AGG-03 many to many", 0, `SELECT count(*) FROM users JOIN labels ON labels.post_id = users.id AND labels.brand_id = $1 WHERE users.deleted_at IS NULL`, []any{int64(1)}, `users[deleted_at null] labels[brand_id=1]`},
	})
}

func TestSubqueriesNarrowTheirOwnTables(t *testing.T) {
	checkRules(t, Limits{}, []rule{
		{"DNF-11 in the select list", 0, `SELECT (SELECT count(*) FROM posts p WHERE p.user_id = u.id AND p.category = 1) FROM users u WHERE u.age = 2`, nil, `users[age=2] posts[category=1]`},
		{"IN", 0, `SELECT * FROM users WHERE id IN (SELECT user_id FROM posts WHERE category = $1) AND age = 1`, []any{int64(3)}, `users[age=1] posts[category=3]`},
		{"NOT EXISTS, correlated", 0, `SELECT * FROM users u WHERE NOT EXISTS (SELECT 1 FROM posts WHERE user_id = u.id AND title = 'x' AND u.age = 1)`, nil, `users[*] posts[title=x]`},
		{"inner alias shadows", 0, `SELECT * FROM users u WHERE EXISTS (SELECT 1 FROM posts u WHERE u.category = 1)`, nil, `users[*] posts[category=1]`},
		{"outer name unqualified", 0, `SELECT * FROM users WHERE EXISTS (SELECT 1 FROM posts WHERE age = 1 AND category = 2)`, nil, `users[*] posts[category=2]`},
		{"scalar in HAVING", 0, `SELECT avg(age) FROM users WHERE name = 'x' GROUP BY name HAVING avg(age) > (SELECT avg(age) FROM users WHERE name = 'y')`, nil, `users[name=x | name=y]`},
		{"in ORDER BY", 0, `SELECT * FROM users WHERE age = 1 ORDER BY (SELECT max(id) FROM posts WHERE category = 1)`, nil, `users[age=1] posts[category=1]`},
		{"derived table", 0, `SELECT * FROM (SELECT * FROM posts WHERE user_id = 1) t WHERE category = 2`, nil, `posts[user_id=1]`},
		{"derived table in a join", 0, `SELECT * FROM users u LEFT JOIN (SELECT user_id FROM posts WHERE category = 1 GROUP BY user_id) AS p ON p.user_id = u.id WHERE u.age = 1`, nil, `users[age=1] posts[category=1]`},
		{"LATERAL", 0, `SELECT * FROM users u, LATERAL (SELECT * FROM posts p WHERE p.user_id = u.id AND p.category = 1 LIMIT 3) x WHERE u.age = 1`, nil, `users[age=1] posts[category=1]`},
		{"UNION", 0, `SELECT id FROM users WHERE age = 1 UNION ALL SELECT id FROM users WHERE age = 2 EXCEPT (SELECT id FROM posts WHERE category = 1)`, nil, `users[age=1 | age=2] posts[category=1]`},
		{"BAS-08 union of two tables", 0, `(SELECT id FROM users WHERE age = 1) UNION (SELECT id FROM posts WHERE category = 2) ORDER BY 1 LIMIT 5`, nil, `users[age=1] posts[category=2]`},
		{"CTE", 0, `WITH p AS (SELECT * FROM posts WHERE category = 1) SELECT * FROM users u JOIN p ON p.user_id = u.id WHERE u.age = 1 AND p.title = 'x'`, nil, `posts[category=1] users[age=1]`},
		{"CTE shadows a table", 0, `WITH users AS (SELECT * FROM posts WHERE category = 1) SELECT * FROM users WHERE title = 'x'`, nil, `posts[category=1]`},
		{"CTE of a table's own name", 0, `WITH users AS (SELECT * FROM users WHERE age = 1) SELECT * FROM users WHERE name = 'x'`, nil, `users[age=1]`},
		{"a schema sees through a CTE", 0, `WITH users AS (SELECT 1) SELECT * FROM public.users WHERE age = 1`, nil, `users[age=1]`},
		{"CTE names end with their query", 0, `SELECT * FROM (WITH users AS (SELECT 1) SELECT * FROM users) x, users WHERE users.age = 1`, nil, `users[age=1]`},
		{"CTE before its definition means the table", 0, `WITH a AS (SELECT * FROM posts WHERE category = 1), posts AS (SELECT 1) SELECT * FROM a, posts`, nil, `posts[category=1]`},
		{"recursive CTE is not narrowed", 0, `WITH RECURSIVE r AS (SELECT id FROM users WHERE id = 1 UNION SELECT u.id FROM users u JOIN r ON u.company_id = r.id) SELECT * FROM r`, nil, `users[*]`},
		{"not every CTE after RECURSIVE is", 0, `WITH RECURSIVE r AS (SELECT id FROM users WHERE id = 1) SELECT * FROM r`, nil, `users[id=1]`},
		{"materialized", 0, `WITH r(a) AS NOT MATERIALIZED (SELECT id FROM users WHERE id = 1) SELECT * FROM r`, nil, `users[id=1]`},
		{"TABLE", 0, `TABLE users`, nil, `users[*]`},
		{"parenthesised union as a table", 0, `SELECT * FROM ((SELECT id FROM users WHERE age = 1) UNION (SELECT count(*) FROM posts)) AS x`, nil, `users[age=1] posts[*]`},
		{"parenthesised join of derived tables", 0, `SELECT * FROM ((SELECT id FROM users WHERE age = 1) AS a CROSS JOIN posts b) WHERE b.category = 1`, nil, `posts[category=1] users[age=1]`},
		{"function in FROM", 0, `SELECT * FROM users u, jsonb_array_elements(u.bio) WITH ORDINALITY AS e(v, n) WHERE u.age = 1`, nil, `users[age=1]`},
		{"IN a table", SQLite, `SELECT * FROM users WHERE id IN labels AND age = 1`, nil, `users[age=1] labels[*]`},
		{"IS DISTINCT FROM in the list", 0, `SELECT a IS DISTINCT FROM b FROM users WHERE age = 1`, nil, `users[age=1]`},
		{"EXTRACT in the list", 0, `SELECT extract(year FROM deleted_at) AS "from", count(*) AS order FROM users WHERE age = 1`, nil, `users[age=1]`},
	})
}

func TestLimitsBoundConjunctions(t *testing.T) {
	var likes, wide, common strings.Builder
	for i := range 13 {
		fmt.Fprintf(&likes, " AND (name LIKE '%d' OR bio LIKE 'x')", i)
		fmt.Fprintf(&wide, " AND (age = %d OR company_id = %d OR id = %d)", i, i, i)
	}
	for i := range 400 {
		fmt.Fprintf(&common, " OR (name = 'x' AND age = %d)", i)
	}
	checkRules(t, Limits{}, []rule{
		{"BAS-11 product of opaque disjunctions", 0, `SELECT * FROM users WHERE age = 1` + likes.String(), nil, `users[age=1]`},
		{"common part", 0, `SELECT * FROM users WHERE (name = 'x' AND age = -1)` + common.String(), nil, `users[name=x]`},
	})
	plan, err := Compile(PostgreSQL, `SELECT * FROM users WHERE name = 'x'`+wide.String(), shop(), Limits{})
	require.NoError(t, err)
	deps, err := plan.Bind(nil)
	require.NoError(t, err)
	require.LessOrEqual(t, len(deps[0].Conjunctions), 256)
	for _, c := range deps[0].Conjunctions {
		require.Equal(t, "name", c.Terms[len(c.Terms)-1].Column)
	}
	require.Equal(t, Limits{MaxInValues: 300, MaxConjunctions: 600}, Limits{MaxInValues: 300}.withDefaults(),
		"a longer list than the default number of conjunctions still narrows")
	require.Equal(t, Limits{MaxInValues: 128, MaxConjunctions: 256}, Limits{}.withDefaults())
	checkRules(t, Limits{MaxInValues: 3, MaxConjunctions: 4}, []rule{
		{"MaxInValues", 0, `SELECT * FROM users WHERE age IN (1,2,3,4) AND name = 'x'`, nil, `users[name=x]`},
		{"MaxInValues of ANY", 0, `SELECT * FROM users WHERE age = ANY($1) AND name = 'x'`, []any{[]int64{1, 2, 3, 4}}, `users[name=x]`},
		{"MaxConjunctions of bound lists", 0, `SELECT * FROM users WHERE name = 'x' AND age IN (1,2,3) OR name = 'x' AND company_id IN (1,2)`, nil, `users[name=x]`},
	})
}

func TestBindFailsForMissingArguments(t *testing.T) {
	plan, err := Compile(PostgreSQL, `SELECT * FROM users WHERE age = $2`, shop(), Limits{})
	require.NoError(t, err)
	_, err = plan.Bind([]any{int64(1)})
	require.ErrorIs(t, err, ErrArgument)
}

func TestArgumentsOfOtherTypesAreOpaque(t *testing.T) {
	plan, err := Compile(PostgreSQL, `SELECT * FROM users WHERE age = $1 AND name = $2`, shop(), Limits{})
	require.NoError(t, err)
	deps, err := plan.Bind([]any{1.5, "x"})
	require.NoError(t, err)
	require.Equal(t, `users[name=x]`, text(deps))
	require.Len(t, deps[0].Conjunctions[0].Terms, 1)
	deps, err = plan.Bind([]any{1.5, int64(2)})
	require.NoError(t, err)
	require.Equal(t, `users[*]`, text(deps))
	require.Empty(t, deps[0].Conjunctions[0].Terms)
}
