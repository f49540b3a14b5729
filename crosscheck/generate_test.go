package crosscheck

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/cacheplugin/cacheplugin/conj"
)

// generator makes statements that one parser or the other may well refuse:
// what they refuse means nothing to conj either.
type generator struct {
	*rapid.T
	d       conj.Dialect
	params  int
	aliases int
	ctes    []string
}

var generatedColumns = []string{"id", "user_id", "age", "name", "title", "from_id", "Note", "note", "order"}

func (g *generator) n(limit int) int { return rapid.IntRange(0, limit-1).Draw(g.T, "n") }

func (g *generator) pick(choices ...string) string { return choices[g.n(len(choices))] }

func (g *generator) chance(percent int) bool { return g.n(100) < percent }

// by is what a dialect calls something.
func (g *generator) by(postgres, mysql string) string {
	if g.d == conj.PostgreSQL {
		return postgres
	}
	return mysql
}

// space separates two words.
func (g *generator) space() string {
	switch g.n(40) {
	case 0:
		return " /* AND id = 1 */ "
	case 1:
		return " -- OR 1 = 1 ' \" \n"
	case 2:
		return "\n\t "
	case 3:
		return g.by(" /* a /* nested */ FROM posts */ ", " # FROM posts '\n")
	case 4:
		return g.by(" ", " /*+ MAX_EXECUTION_TIME(1) */ ")
	}
	return " "
}

func (g *generator) quote(name string) string {
	if g.chance(40) || name == "order" || name == "Note" {
		return g.by(`"`, "`") + name + g.by(`"`, "`")
	}
	if g.chance(10) {
		return strings.ToUpper(name)
	}
	return name
}

func (g *generator) tableName() string {
	name := g.quote(g.pick("users", "posts", "labels"))
	if g.chance(8) {
		name = g.quote(g.pick("sales", "public")) + "." + name
	}
	return name
}

func (g *generator) column(scope []string) string {
	name := g.pick(generatedColumns...)
	if g.d == conj.MySQL {
		name = strings.ToLower(name)
	}
	name = g.quote(name)
	if len(scope) > 0 && (len(scope) > 1 || g.chance(50)) && g.chance(95) {
		return scope[g.n(len(scope))] + "." + name
	}
	return name
}

func (g *generator) param() string {
	if g.d == conj.PostgreSQL && g.params > 0 && g.chance(20) {
		return fmt.Sprintf("$%d", 1+g.n(g.params))
	}
	g.params++
	return g.by(fmt.Sprintf("$%d", g.params), "?")
}

func (g *generator) value() string {
	switch g.n(20) {
	case 0, 1, 2, 3, 4, 5:
		return g.param()
	case 6, 7, 8, 9:
		return g.pick("0", "1", "2", "3")
	case 10, 11, 12:
		return g.pick("'v0'", "'v1'", "'v2'")
	case 13:
		return g.pick("'it''s'", "'--'", "'/*'", "') OR (1 = 1'", "'a\"b'", "'$1 ?'", "''")
	case 14:
		return g.by(g.pick("$$v1$$", "$x$ ' $x$", `E'a\'b'`, "U&'v1'", "B'1'", "'v1'::text", "1::bigint", "'v0' 'v1'", "N'v1'"),
			g.pick(`'a\'b'`, `"v1"`, `"a""b"`, "'v0' 'v1'", "_utf8mb4'v1'", "N'v1'", "0x31", "b'1'"))
	case 15:
		return g.pick("NULL", "TRUE", "FALSE", "-1", "1.0", "01", "1e0", "+1", "- 1")
	case 16:
		return "(" + g.value() + ")"
	case 17:
		return g.pick("CAST(", "cast (") + g.value() + " AS " + g.by(g.pick("bigint", "text", "varchar(10)", "numeric(4,2)"), g.pick("SIGNED", "CHAR", "CHAR(10)", "DECIMAL(4,2)")) + ")"
	case 18:
		return g.value() + g.pick(" + ", " - ", " * ", " || ") + g.value()
	}
	return g.pick("lower(", "coalesce(", "upper (") + g.value() + ")"
}

func (g *generator) list(item func() string) string {
	items := make([]string, 1+g.n(3))
	for i := range items {
		items[i] = item()
	}
	return strings.Join(items, g.pick(",", ", "))
}

func (g *generator) condition(scope []string, depth int) string {
	if depth > 0 && g.chance(70) {
		l, r := g.condition(scope, depth-1), g.condition(scope, depth-1)
		switch g.n(12) {
		case 0, 1, 2, 3:
			return l + g.space() + g.pick("AND", "and") + g.space() + r
		case 4, 5:
			return l + g.space() + "OR" + g.space() + r
		case 6, 7:
			return "(" + l + g.space() + "OR" + g.space() + r + ")"
		case 8:
			return "NOT (" + l + ")"
		case 9:
			return "NOT " + l
		case 10:
			return "(" + l + ")" + g.pick(" IS TRUE", " IS NOT TRUE", " = TRUE", " IS NULL", " IS UNKNOWN")
		default:
			return g.by(l+" AND "+r, l+g.pick(" && ", " || ", " XOR ", " AND ")+r)
		}
	}
	c := g.column(scope)
	switch g.n(26) {
	case 0, 1, 2, 3, 4, 5:
		return c + g.pick(" = ", "=", " =\n") + g.value()
	case 6:
		return g.value() + " = " + c
	case 7, 8:
		return c + " IN (" + g.list(g.value) + ")"
	case 9:
		return c + " NOT IN (" + g.list(g.value) + ")"
	case 10, 11:
		return c + " = " + g.column(scope)
	case 12, 13:
		return c + g.pick(" IS NULL", " IS NOT NULL", g.by(" ISNULL", " IS NULL"))
	case 14:
		return c + g.by(g.pick(" IS NOT DISTINCT FROM ", " IS DISTINCT FROM "), " <=> ") + g.value()
	case 15:
		return c + g.pick(" > ", " <> ", " != ", " <= ", " LIKE ", " NOT LIKE ") + g.value()
	case 16:
		return c + g.pick(" BETWEEN ", " NOT BETWEEN ") + g.value() + " AND " + g.value()
	case 17:
		return "(" + c + ", " + g.column(scope) + ")" + g.pick(" = ("+g.value()+", "+g.value()+")",
			" IN ("+g.list(func() string { return "(" + g.value() + ", " + g.value() + ")" })+")", " NOT IN (("+g.value()+","+g.value()+"))")
	case 18:
		return g.pick("EXISTS ", "NOT EXISTS ", "exists") + g.subquery(scope)
	case 19:
		return c + g.pick(" IN ", " NOT IN ", " = ", " = ANY ", " > ALL ") + g.subquery(scope)
	case 20:
		return "CASE WHEN " + g.condition(scope, 0) + " THEN " + c + " ELSE " + g.value() + " END = " + g.value()
	case 21:
		return g.pick("TRUE", "FALSE", "1 = 1", "1 <> 1", "1 = 0", "NULL", "'a' = 'b'")
	case 22:
		return g.by(g.pick("lower", "upper")+"("+c+") = "+g.value(), c+" COLLATE utf8mb4_bin = "+g.value())
	case 23:
		return g.by(c+g.pick(" = ANY($1)", "::text = 'v1'", " = ANY(ARRAY['v0','v1'])", ` COLLATE "C" = 'v1'`, " = ANY('{1,2}')", "->>'a' = 'v1'", " @> '{}'"),
			c+g.pick(" = BINARY 'v1'", " REGEXP 'v'", " DIV 2 = 1", " MOD 2 = 1", " SOUNDS LIKE 'v1'", " = 'v1' COLLATE utf8mb4_bin", " + 0 = 1"))
	case 24:
		return c + " = " + g.pick("now()", "random()", "my_function(1)", g.by("nextval('s')", "last_insert_id()"), g.by("gen_random_uuid()", "uuid()"), g.by("my_schema.my_function()", "get_lock('a', 1)"))
	}
	return c + " = " + g.value() + g.pick(" = TRUE", " + 1", " IS NULL", " = 1", " IN (1)", " AND "+g.column(scope)+" = "+g.value())
}

func (g *generator) subquery(scope []string) string {
	if g.aliases > 10 {
		return "(SELECT 1)"
	}
	from, own := g.from(1)
	where := ""
	if g.chance(80) {
		where = " WHERE " + g.condition(append(append([]string{}, own...), scope...), 1)
	}
	return "(" + g.space() + "SELECT " + g.pick("1", g.column(own), "max("+g.column(own)+")") + " FROM " + from + where + g.pick("", "", " LIMIT 1") + ")"
}

func (g *generator) from(depth int) (string, []string) {
	text, scope := g.table(depth)
	for g.chance(40) && g.aliases < 8 {
		right, more := g.table(depth)
		both := append(append([]string{}, scope...), more...)
		switch g.n(8) {
		case 0:
			text += g.pick(", ", ",", " CROSS JOIN ") + right
		case 1:
			text += g.pick(" JOIN ", " LEFT JOIN ") + right + " USING (" + g.pick("id", "user_id") + ")"
		case 2:
			text += " NATURAL " + g.pick("", "LEFT ") + "JOIN " + right
		default:
			text += g.space() + g.pick("JOIN", "INNER JOIN", "LEFT JOIN", "LEFT OUTER JOIN", "RIGHT JOIN", g.by("FULL JOIN", "STRAIGHT_JOIN")) + g.space() + right +
				" ON " + g.condition(both, 1)
		}
		scope = both
	}
	return text, scope
}

func (g *generator) table(depth int) (string, []string) {
	g.aliases++
	alias := fmt.Sprintf("%s%d", g.pick("a", "B", "t_"), g.aliases)
	quoted := g.by(`"`+alias+`"`, "`"+alias+"`")
	if alias[0] != 'B' && g.chance(60) {
		quoted = alias
	}
	as := g.pick(" AS ", " ", g.space())
	switch {
	case depth > 0 && g.chance(10):
		from, scope := g.from(0)
		return g.by("", "") + "(SELECT " + g.pick("*", scope[0]+".*") + " FROM " + from + " WHERE " + g.condition(scope, 1) + ")" + as + quoted, []string{quoted}
	case depth > 0 && g.chance(8):
		from, scope := g.from(0)
		if len(scope) > 1 {
			return "(" + from + ")", scope
		}
		return from, scope
	case len(g.ctes) > 0 && g.chance(40):
		return g.ctes[g.n(len(g.ctes))] + as + quoted, []string{quoted}
	case g.d == conj.PostgreSQL && g.chance(4):
		return g.pick("generate_series(1, 3)", "LATERAL (SELECT 1)", "unnest($1)", "my_function(1)") + as + quoted, []string{quoted}
	case g.chance(25):
		name := g.pick("users", "posts", "labels")
		return name, []string{name}
	case g.d == conj.PostgreSQL && g.chance(5):
		return g.tableName() + as + quoted + "(id, user_id)", []string{quoted}
	}
	return g.by(g.pick("", "", "", "ONLY "), "") + g.tableName() + as + quoted, []string{quoted}
}

func (g *generator) core(columns int) string {
	from, scope := g.from(1)
	list := make([]string, columns)
	for i := range list {
		list[i] = g.pick(g.column(scope), g.column(scope)+" AS "+g.pick("x", g.by(`"from"`, "`from`"), "where_"), "count(*)", "sum("+g.column(scope)+")", g.subquery(scope),
			"row_number() OVER (PARTITION BY "+g.column(scope)+" ORDER BY 1)", "CASE "+g.column(scope)+" WHEN 1 THEN 2 END")
	}
	where, group := "", ""
	if g.chance(90) {
		where = g.space() + g.pick("WHERE", "where") + g.space() + g.condition(scope, 1+g.n(3))
	}
	if g.chance(10) {
		group = " GROUP BY " + g.column(scope)
		if g.chance(50) {
			group += " HAVING " + g.condition(scope, 0)
		}
	}
	return g.pick("SELECT", "select", "SELECT DISTINCT") + g.space() + strings.Join(list, ", ") + g.space() + "FROM" + g.space() + from + where + group
}

func (g *generator) with() string {
	if !g.chance(15) {
		return ""
	}
	name := g.pick("c1", "posts", "recent")
	from, scope := g.from(0)
	body := "SELECT * FROM " + from + " WHERE " + g.condition(scope, 1)
	if g.d == conj.PostgreSQL && g.chance(15) {
		body = g.pick("DELETE FROM users WHERE id = 1 RETURNING *", "UPDATE posts SET title = 'x' RETURNING id", "INSERT INTO labels VALUES (1) RETURNING *")
	}
	recursive := g.pick("", "", "RECURSIVE ")
	if recursive != "" && g.chance(60) {
		body = "SELECT * FROM users WHERE " + g.condition([]string{"users"}, 1) + " UNION ALL SELECT users.* FROM users JOIN " + name + " ON users.id = " + name + ".user_id"
	}
	g.ctes = append(g.ctes, name)
	return "WITH " + recursive + name + g.pick("", " ", g.by("", "")) + " AS " + g.by(g.pick("", "MATERIALIZED ", "NOT MATERIALIZED "), "") + "(" + body + ") "
}

func (g *generator) query() string {
	with := g.with()
	columns := 1 + g.n(2)
	text := g.core(columns)
	if g.chance(10) {
		text = "(" + text + ")"
	}
	for g.chance(12) {
		text += g.pick(" UNION ", " UNION ALL ", " INTERSECT ", " EXCEPT ") + g.pick(g.core(columns), "("+g.core(columns)+")")
	}
	text += g.pick("", "", "", " ORDER BY 1", " ORDER BY 1 DESC LIMIT 3", " LIMIT 1", " LIMIT "+g.by("3 OFFSET 1", "1, 3"))
	text += g.pick("", "", "", "", "", "", "", "", " FOR UPDATE", g.by(" FOR NO KEY UPDATE", " LOCK IN SHARE MODE"), " FOR SHARE", g.by(" FOR UPDATE SKIP LOCKED", " FOR UPDATE NOWAIT"))
	return with + text + g.pick("", "", "", ";", " ", "\n-- the end")
}

func (g *generator) write() string {
	name := g.tableName()
	scope := []string{name}
	where := ""
	if g.chance(85) {
		where = " WHERE " + g.condition(scope, 2)
	}
	set := g.list(func() string { return g.quote("age") + " = " + g.value() })
	returning := g.by(g.pick("", "", " RETURNING *"), "")
	switch g.n(12) {
	case 0, 1, 2:
		return g.pick("UPDATE ", "update ", g.by("UPDATE ONLY ", "UPDATE IGNORE ")) + name + g.space() + "SET " + set + where + returning
	case 3:
		return "UPDATE " + name + " AS u SET " + set + strings.ReplaceAll(where, name+".", "u.") + returning
	case 4, 5:
		return g.pick("DELETE FROM ", "delete"+g.space()+"from ") + name + where + returning
	case 6:
		return g.pick("INSERT INTO ", g.by("INSERT INTO ", "INSERT IGNORE INTO "), g.by("INSERT INTO ", "REPLACE INTO ")) + name + " (age, name) VALUES (" + g.value() + ", " + g.value() + ")" +
			g.by(g.pick("", " ON CONFLICT DO NOTHING", " ON CONFLICT (id) DO UPDATE SET age = excluded.age"), g.pick("", " ON DUPLICATE KEY UPDATE age = VALUES(age)")) + returning
	case 7:
		return "INSERT INTO " + name + " " + g.query()
	case 8:
		from, more := g.from(0)
		return g.by("UPDATE "+name+" SET "+set+" FROM "+from+" WHERE "+g.condition(more, 1), "UPDATE "+name+" SET "+set+" WHERE id IN (SELECT id FROM ("+"SELECT id FROM "+from+") x)")
	case 9:
		from, more := g.from(0)
		return g.by("DELETE FROM "+name+" USING "+from+" WHERE "+g.condition(more, 1), "DELETE FROM "+name+where+" ORDER BY id LIMIT 1")
	case 10:
		return g.by("WITH d AS (DELETE FROM "+name+where+" RETURNING *) SELECT * FROM d", "TRUNCATE TABLE "+name)
	}
	return g.pick("TRUNCATE TABLE "+name, "DROP TABLE IF EXISTS "+name, "ALTER TABLE "+name+" ADD COLUMN z int", "CREATE TABLE z AS SELECT * FROM "+name)
}

func TestGeneratedTextsMeanTheSameToOtherParsers(t *testing.T) {
	for _, x := range dialects {
		t.Run(x.name, func(t *testing.T) {
			var count tally
			rapid.Check(t, func(t *rapid.T) {
				s := newSchema(generatedColumns)
				if x.d == conj.MySQL { // whose names differ by more than case
					s = newSchema(generatedColumns[:6])
				}
				rng := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "rows"), 0))
				for range 5 {
					g := &generator{T: t, d: x.d}
					text := g.query()
					if g.chance(25) {
						g = &generator{T: t, d: x.d}
						text = g.write()
					}
					if wrong := x.compare(s, text, rng, &count); wrong != "" {
						t.Fatalf("%s\n\t%s", text, wrong)
					}
				}
			})
			t.Log(count)
			require.Less(t, count.refused, count.texts/2)
			require.Less(t, count.notUnderstood, count.texts/10)
			require.Greater(t, count.matched, count.texts)
		})
	}
}

// TestTheComparisonFindsMistakes has the parser read another text than conj: as
// if conj had misread it.
func TestTheComparisonFindsMistakes(t *testing.T) {
	for _, c := range []struct{ conj, parser, wrong string }{
		{"SELECT * FROM users WHERE id = 1 AND age = 2", "SELECT * FROM users WHERE id = 1 OR age = 2", "passes the conditions"},
		{"SELECT * FROM users WHERE id = 1", "SELECT * FROM users WHERE NOT id = 1", "passes the conditions"},
		{"SELECT * FROM users WHERE id = 1", "SELECT * FROM users WHERE id + 0 = 1", "passes the conditions"},
		{"SELECT * FROM users WHERE id = 1", "SELECT * FROM users WHERE id = 2", "passes the conditions"},
		{"SELECT * FROM users u JOIN posts p ON u.id = 1", "SELECT * FROM users u LEFT JOIN posts p ON u.id = 1", "passes the conditions"},
		{"SELECT * FROM users u JOIN posts p ON u.id = p.user_id WHERE u.id = 1", "SELECT * FROM users u JOIN posts p ON u.id = p.id WHERE u.id = 1", "passes the conditions"},
		{"SELECT * FROM users", "SELECT * FROM users, posts", "reads: posts is missing"},
		{"SELECT * FROM users, posts", "SELECT * FROM users", "posts is no table"},
		{"SELECT * FROM users", "SELECT * FROM users FOR UPDATE", "locking read"},
		{"SELECT * FROM users", "SELECT my_function(1) FROM users", "the call of my_function is not noted"},
		{"SELECT * FROM users", "DELETE FROM users", "kind: select, the parser: delete"},
		{"DELETE FROM users", "DELETE FROM posts", "writes: posts is missing"},
		{"DELETE FROM users WHERE id = 1", "DELETE FROM users WHERE id = 1 OR age = 1", "the rows written"},
		{"DELETE FROM users WHERE age > 1", "DELETE FROM users WHERE age IS NULL", "the query for the images"},
	} {
		for _, x := range dialects {
			parse := x.parse
			asked := false
			x.parse = func(text string) *tree { // the first time; then for the query of the images
				if asked {
					return parse(text)
				}
				asked = true
				return parse(c.parser)
			}
			var count tally
			require.Contains(t, x.compare(newSchema(generatedColumns[:6]), c.conj, rand.New(rand.NewPCG(1, 1)), &count), c.wrong, x.name)
		}
	}
}
