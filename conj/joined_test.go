package conj

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// joinTables are users of companies of owners, with accounts of which a user may
// have several.
func joinTables() map[string]*Table {
	tables := map[string]*Table{}
	for name, columns := range map[string][]Column{
		"users":     {{"id", Integer}, {"company_id", Integer}, {"name", Text}, {"code", Text}, {"born", Opaque}},
		"companies": {{"id", Integer}, {"name", Text}, {"owner_id", Integer}, {"region", Text}, {"deleted_at", Opaque}},
		"owners":    {{"id", Integer}, {"title", Text}},
		"accounts":  {{"id", Integer}, {"user_id", Integer}, {"code", Text}, {"born", Opaque}},
		"pairs":     {{"x", Integer}, {"y", Integer}, {"z", Integer}},
		"keyless":   {{"id", Integer}, {"v", Integer}},
	} {
		t := NewTable("public."+name, name, columns)
		switch name {
		case "pairs":
			t.Unique = [][]int{{0, 1}}
		case "keyless":
		default:
			t.Unique = [][]int{{0}}
		}
		tables[name] = t
	}
	return tables
}

// joinsOf compiles a query and tells the joined tables with their columns.
func joinsOf(t *testing.T, d Dialect, sql string, args ...any) string {
	t.Helper()
	tables := joinTables()
	plan, err := Compile(d, sql, func(n TableName) (*Table, error) { return tables[strings.ToLower(n.Name)], nil }, Limits{})
	require.NoError(t, err)
	require.NotContains(t, plan.Skip, "not understood", sql)
	deps, err := plan.Bind(args)
	require.NoError(t, err)
	var found []string
	for _, j := range plan.Joined(deps) {
		found = append(found, j.Table.Name+" by "+strings.Join(j.Columns(), ", "))
	}
	return strings.Join(found, "; ")
}

const gormJoin = `SELECT "users"."id","users"."company_id","users"."name","Company"."id" AS "Company__id","Company"."name" AS "Company__name","Company"."owner_id" AS "Company__owner_id" ` +
	`FROM "users" LEFT JOIN "companies" "Company" ON "users"."company_id" = "Company"."id"`

func TestTheRowsOfALeftJoinAreToldByTheResult(t *testing.T) {
	nested := strings.Replace(gormJoin, ` FROM "users"`, `,"Company__Owner"."title" AS "Company__Owner__title" FROM "users"`, 1) +
		` LEFT JOIN "owners" "Company__Owner" ON "Company"."owner_id" = "Company__Owner"."id"`
	byOwner := strings.Replace(nested, `"Company"."owner_id" AS "Company__owner_id",`, "", 1)
	for sql, want := range map[string]string{
		gormJoin: "companies by id",
		gormJoin + ` AND "Company"."deleted_at" IS NULL WHERE users.name = 'x'`: "companies by id",
		gormJoin + ` AND "Company"."region" <> 'x' ORDER BY "Company"."name"`:   "companies by id",
		gormJoin + ` ORDER BY users.name LIMIT 10 OFFSET 5`:                     "companies by id",
		gormJoin + ` ORDER BY "users"."id" DESC NULLS LAST LIMIT 1`:             "companies by id",
		gormJoin + ` JOIN accounts ON accounts.user_id = users.id`:              "companies by id",
		gormJoin + ` WHERE users.id IN (SELECT user_id FROM accounts)`:          "companies by id",
		nested:                                "companies by id; owners by id",
		nested + ` ORDER BY users.id LIMIT 3`: "companies by id; owners by id",
		`SELECT * FROM users LEFT JOIN companies ON companies.id = users.company_id`:                                                     "companies by id",
		`SELECT u.*, c.name FROM users AS u LEFT OUTER JOIN companies AS c ON u.company_id = c.id`:                                       "companies by id",
		`SELECT c.name, company_id AS x FROM users LEFT JOIN companies c ON company_id = c.id`:                                           "companies by id",
		`SELECT coalesce(c.name, '-') AS n, u.company_id FROM users u LEFT JOIN companies c ON u.company_id = c.id`:                      "companies by id",
		`SELECT users.*, accounts.* FROM users LEFT JOIN accounts ON accounts.user_id = users.id AND accounts.code = users.code`:         "accounts by user_id, code",
		`SELECT users.id, accounts.* FROM users LEFT JOIN accounts ON accounts.user_id = users.id AND accounts.code = users.code`:        "accounts by user_id",
		`SELECT p.*, users.* FROM users LEFT JOIN pairs p ON p.x = users.id AND p.y = users.company_id ORDER BY users.id LIMIT 1`:        "pairs by x, y",
		`WITH c AS (SELECT id FROM owners) SELECT u.company_id FROM users u LEFT JOIN companies b ON b.id = u.company_id WHERE u.id = 1`: "companies by id",
	} {
		require.Equal(t, want, joinsOf(t, PostgreSQL, sql), sql)
	}
	// owner_id is not shown.
	require.Equal(t, "companies by id", joinsOf(t, PostgreSQL, byOwner))
	// A combination that is not shown may get another number of rows by accounts.
	limited := gormJoin + ` LEFT JOIN accounts ON accounts.id = "Company"."owner_id" ORDER BY users.id LIMIT 3`
	require.Equal(t, "companies by id; accounts by id", joinsOf(t, PostgreSQL, limited))
	require.Empty(t, joinsOf(t, PostgreSQL, strings.Replace(limited, "accounts.id =", "accounts.user_id =", 1)))
	require.Equal(t, "companies by id; accounts by user_id",
		joinsOf(t, PostgreSQL, strings.Replace(strings.Replace(limited, "accounts.id =", "accounts.user_id =", 1), " LIMIT 3", "", 1)))
	for _, d := range []Dialect{MySQL, SQLite} {
		require.Equal(t, "companies by id", joinsOf(t, d, strings.ReplaceAll(gormJoin, `"`, "`")))
	}
}

func TestRowsThatTheResultDoesNotTellAreNotFollowed(t *testing.T) {
	const list, join = `SELECT users.company_id, c.name FROM users `, `LEFT JOIN companies c ON c.id = users.company_id`
	for _, sql := range []string{
		list + `JOIN companies c ON c.id = users.company_id`,
		list + `RIGHT JOIN companies c ON c.id = users.company_id`,
		list + `FULL JOIN companies c ON c.id = users.company_id`,
		list + `LEFT JOIN companies c ON c.id > users.company_id`,
		list + `LEFT JOIN companies c ON c.id = users.company_id OR c.id = 1`,
		list + `LEFT JOIN companies c ON NOT (c.id = users.company_id)`,
		list + `LEFT JOIN companies c ON c.id IS NOT DISTINCT FROM users.company_id`,
		list + `LEFT JOIN companies c ON c.id = users.company_id + 1`,
		list + `LEFT JOIN companies c ON c.name = users.company_id`,
		list + `LEFT JOIN companies c ON c.id = c.owner_id`,
		list + `LEFT JOIN (companies c JOIN owners ON true) ON c.id = users.company_id`,
		list + `NATURAL LEFT JOIN companies c`,
		list + `LEFT JOIN companies c USING (id)`,
		list + `LEFT JOIN (SELECT * FROM companies) c ON c.id = users.company_id`,
		list + `LEFT JOIN companies c (id) ON c.id = users.company_id`,
		`SELECT users.id, c.name FROM users ` + join,
		`SELECT users.company_id + 1, c.name FROM users ` + join,
		`SELECT count(*) FROM users ` + join,
		`SELECT users.company_id, count(c.id) OVER () FROM users ` + join,
		`SELECT users.company_id, unnest(c.name) FROM users ` + join,
		`SELECT users.company_id, generate_series(1, c.id) FROM users ` + join,
		`SELECT users.company_id, c.some_function FROM users ` + join,
		`SELECT users.company_id, (SELECT 1) FROM users ` + join,
		`SELECT DISTINCT users.company_id, c.name FROM users ` + join,
		`SELECT DISTINCT ON (c.name) users.company_id, c.name FROM users ` + join,
		list + join + ` WHERE c.name = 'x'`,
		list + join + ` WHERE c.id IS NULL`,
		list + join + ` WHERE region = 'x'`,
		list + join + ` WHERE c IS NULL`,
		list + join + ` WHERE companies.name = 'x'`,
		list + join + ` WHERE EXISTS (SELECT 1 FROM accounts WHERE accounts.code = c.region)`,
		list + join + ` WHERE users.id IN (SELECT owner_id FROM companies)`,
		list + join + ` WHERE users.id = unknown_function(1)`,
		list + join + ` WHERE users.born < now()`,
		list + join + ` GROUP BY users.company_id, c.name`,
		list + join + ` HAVING true`,
		list + join + ` ORDER BY unnest(c.name)`,
		list + join + ` ORDER BY c.name LIMIT 1`,
		list + join + ` ORDER BY region LIMIT 1`,
		list + join + ` ORDER BY 2 LIMIT 1`,
		list + join + ` ORDER BY name OFFSET 1`,
		`SELECT users.company_id, c.region AS born FROM users ` + join + ` ORDER BY born FETCH FIRST 2 ROWS ONLY`,
		list + join + ` UNION SELECT 1, 'x'`,
		`(` + list + join + `) UNION ALL SELECT 1, 'x'`,
		`SELECT * FROM (` + list + join + `) x`,
		list + join + ` JOIN owners o ON o.id = c.owner_id`,
		list + join + ` JOIN owners o ON o.title = region`,
		// By way of a further table.
		list + join + ` LEFT JOIN keyless k ON k.id = c.owner_id WHERE k.v = 1`,
		list + join + ` LEFT JOIN keyless k ON k.id = c.owner_id JOIN owners o ON o.id = k.v`,
		list + join + ` LEFT JOIN owners o ON o.id = c.owner_id LEFT JOIN keyless k ON k.id = o.id WHERE k.v = 1`,
		list + join + ` LEFT JOIN owners o ON o.id = c.owner_id ORDER BY o.title LIMIT 1`,
		list + join + ` LEFT JOIN companies d ON d.id = users.id`,
		list + join + `, LATERAL (SELECT c.id) x`,
		`(` + list + join + ` ORDER BY c.name) LIMIT 1`,
		`SELECT users.id, keyless.v FROM users LEFT JOIN keyless ON keyless.id = users.id LIMIT 1`,
		`SELECT users.*, p.z FROM users LEFT JOIN pairs p ON p.x = users.id LIMIT 1`,
		`SELECT users.*, a.code FROM users LEFT JOIN accounts a ON a.born = users.born`,
		`SELECT users.company_id, m.company_id, m.name FROM users LEFT JOIN users m ON m.id = users.company_id`,
		// A constant narrows as well.
		list + join + ` WHERE users.company_id = 7`,
		`DELETE FROM users RETURNING (` + list + join + `)`,
	} {
		require.Empty(t, joinsOf(t, PostgreSQL, sql), sql)
	}
	// Texts of MySQL may compare by either column's collation.
	require.Empty(t, joinsOf(t, MySQL, `SELECT users.code, a.code FROM users LEFT JOIN accounts a ON a.code = users.code`))
}

func TestOnlyTheNamesOfTheResultsColumnsAnswerForTheirPlaces(t *testing.T) {
	tables := joinTables()
	lookup := func(n TableName) (*Table, error) { return tables[n.Name], nil }
	plan, err := Compile(PostgreSQL, `SELECT o.*, coalesce(u.name, ''), u.company_id AS c FROM users u LEFT JOIN companies ON companies.id = u.company_id LEFT JOIN owners o ON o.id = u.id`, lookup, Limits{})
	require.NoError(t, err)
	deps, err := plan.Bind(nil)
	require.NoError(t, err)
	joined := plan.Joined(deps)
	require.Len(t, joined, 1)
	require.True(t, joined[0].ToldBy([]string{"id", "title", "anything", "c"}))
	require.False(t, joined[0].ToldBy([]string{"id", "title", "new", "anything", "c"}))
	require.False(t, joined[0].ToldBy([]string{"title", "id", "anything", "c"}))
	require.False(t, joined[0].ToldBy([]string{"id", "title", "anything", "company_id"}))
}

func TestJoinedRowsAreThoseOfTheValuesShown(t *testing.T) {
	tables := joinTables()
	lookup := func(n TableName) (*Table, error) { return tables[n.Name], nil }
	plan, err := Compile(PostgreSQL, `SELECT p.z, users.id, users.company_id FROM users LEFT JOIN pairs p ON p.y = users.company_id AND p.x = users.id`, lookup, Limits{MaxConjunctions: 3})
	require.NoError(t, err)
	deps, err := plan.Bind(nil)
	require.NoError(t, err)
	joined := plan.Joined(deps)
	require.Len(t, joined, 1)
	pairs := tables["pairs"]
	keysOf := func(x, y int64) Key {
		keys, ok := pairs.Keys(Change{New: Image{pairs.columns[0].FromRow(PostgreSQL, x), pairs.columns[1].FromRow(PostgreSQL, y), Null}}, []Scheme{joined[0].Scheme})
		require.True(t, ok)
		return keys[0]
	}
	rows := joined[0].Rows()
	require.Empty(t, rows.Keys())
	for _, row := range [][]any{{nil, int64(1), int64(2)}, {int64(9), int64(1), int64(2)}, {nil, nil, int64(2)}, {nil, int64(3), []byte("4")}} {
		rows.Add(row)
	}
	require.Equal(t, []Key{keysOf(1, 2), keysOf(3, 4)}, rows.Keys())
	rows.Add([]any{nil, int64(5), int64(5)})
	require.Len(t, rows.Keys(), 3)
	rows.Add([]any{nil, int64(6), int64(6)})
	whole := []Key{MakeKey("public.pairs", "", nil)}
	require.Equal(t, whole, rows.Keys(), "too many")
	rows = joined[0].Rows()
	rows.Add([]any{nil, int64(1), "not a number"})
	require.Equal(t, whole, rows.Keys(), "unknown")
	rows = joined[0].Rows()
	rows.Add([]any{nil, int64(1)})
	require.Equal(t, whole, rows.Keys(), "too short")
}
