package transactions

import (
	"database/sql/driver"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"gorm.io/gorm"

	"github.com/cacheplugin/cacheplugin/cache"
	"github.com/cacheplugin/cacheplugin/integration/internal/fixture"
	"github.com/cacheplugin/cacheplugin/integration/testdb"
	"github.com/cacheplugin/cacheplugin/internal/testenv"
)

// shape is a form of query that programs send. Each is asked by hand through
// the plugin, and again after each of a number of writes, of which at least one
// must change its result: then it must not be answered from the cache.
type shape struct {
	name string
	on   string // the dialects that have it: p, m, s; all if empty
	sql  string
	args []any
	// kept are the tables (m makers, i items, n notes) of which rows that have
	// nothing to do with the query can be written without dropping it.
	kept string
	skip string // why it is not cached
}

// The schema of shapes: makers have items, items have notes. Maker 1 is the one
// that queries ask for; maker 9 is an island.
func shapesSchema(dialect string) []string {
	json, boolean := "json", "boolean"
	switch dialect {
	case "postgres":
		json = "jsonb"
	case "sqlite":
		json = "text"
	}
	texts := []string{
		"CREATE TABLE makers (id bigint PRIMARY KEY, name varchar(40), country bigint, active " + boolean + ")",
		"CREATE TABLE items (id bigint PRIMARY KEY, maker_id bigint, kind bigint, name varchar(40), data " + json + ")",
		"CREATE TABLE notes (id bigint PRIMARY KEY, item_id bigint, maker_id bigint, body varchar(40))",
		"INSERT INTO makers VALUES (1, 'one', 49, true), (2, 'two', NULL, true), (3, 'three', 33, false), (9, 'island', 7, false)",
		`INSERT INTO items VALUES (11, 1, 5, 'red', '{"a":1}'), (12, 1, 6, 'blue', '{"b":2}'), (21, 2, 5, 'green', NULL), (91, 9, 9, 'far', '{"z":9}'), (92, 9, 9, 'farther', NULL)`,
		"INSERT INTO notes VALUES (111, 11, 1, 'x'), (112, 12, 1, 'y'), (211, 21, 2, 'x'), (911, 91, 9, 'far')",
	}
	return texts
}

// Writes come in pairs, of which the second one undoes the first.
var shapeWrites = []string{
	"INSERT INTO items VALUES (13, 1, 5, 'grey', '{\"a\":1}')", "DELETE FROM items WHERE id = 13",
	"UPDATE items SET maker_id = 1 WHERE id = 21", "UPDATE items SET maker_id = 2 WHERE id = 21",
	"UPDATE items SET kind = 5, name = 'red' WHERE id = 12", "UPDATE items SET kind = 6, name = 'blue' WHERE id = 12",
	"UPDATE items SET data = '{\"a\":1}' WHERE id = 12", "UPDATE items SET data = '{\"b\":2}' WHERE id = 12",
	"UPDATE items SET data = '{\"a\":\"1\"}' WHERE id = 12", "UPDATE items SET data = '{\"b\":2}' WHERE id = 12",
	"UPDATE makers SET name = 'uno' WHERE id = 1", "UPDATE makers SET name = 'one' WHERE id = 1",
	"UPDATE makers SET country = 49 WHERE id = 2", "UPDATE makers SET country = NULL WHERE id = 2",
	"UPDATE makers SET active = false WHERE id = 1", "UPDATE makers SET active = true WHERE id = 1",
	"UPDATE makers SET active = NULL WHERE id = 2", "UPDATE makers SET active = true WHERE id = 2",
	"INSERT INTO makers VALUES (4, 'one', 49, true)", "DELETE FROM makers WHERE id = 4",
	"DELETE FROM notes WHERE id = 111", "INSERT INTO notes VALUES (111, 11, 1, 'x')",
	"UPDATE notes SET body = 'x', item_id = 11 WHERE id = 112", "UPDATE notes SET body = 'y', item_id = 12 WHERE id = 112",
	"UPDATE notes SET maker_id = 1 WHERE id = 211", "UPDATE notes SET maker_id = 2 WHERE id = 211",
	"DELETE FROM items WHERE id = 11", "INSERT INTO items VALUES (11, 1, 5, 'red', '{\"a\":1}')",
}

// islandWrites change rows that no query of shapes has to do with.
var islandWrites = map[rune]string{
	'm': "UPDATE makers SET name = 'islet' WHERE id = 9",
	'i': "UPDATE items SET kind = 8, name = 'away', data = '{\"y\":8}', maker_id = 10 WHERE id = 92",
	'n': "UPDATE notes SET body = 'away' WHERE id = 911",
}

func TestShapesOfQueries(t *testing.T) {
	for _, env := range testdb.Databases(t) {
		if env.Name == testenv.SQLiteFile {
			continue // reads as SQLite in memory does
		}
		t.Run(env.Name, func(t *testing.T) {
			t.Parallel()
			f := fixture.New(t, env, fixture.Options{Gorm: gorm.Config{PrepareStmt: env.Name == testenv.MariaDB}})
			for _, text := range shapesSchema(env.Dialect) {
				require.NoError(t, f.Plain.Exec(text).Error, text)
			}
			var all []*shapeRun
			for _, s := range shapes {
				if s.on != "" && !strings.Contains(s.on, env.Dialect[:1]) {
					continue
				}
				r := &shapeRun{shape: s, f: f}
				t.Run(s.name, r.start)
				all = append(all, r)
			}
			write := func(text string) {
				require.NoError(t, f.DB.Transaction(func(tx *gorm.DB) error { return tx.Exec(text).Error }), text)
			}
			for table, text := range islandWrites {
				write(text)
				for _, r := range all {
					t.Run("island "+string(table)+" "+r.name, func(t *testing.T) { r.island(t, table) })
				}
			}
			for _, text := range shapeWrites {
				write(text)
				for _, r := range all {
					r.again(t, text)
				}
			}
			for _, r := range all {
				require.True(t, r.changed || r.skip != "" || r.broken, "no write changes the result of %s: it shows nothing", r.name)
			}
		})
	}
}

// shapeRun is a shape on one database.
type shapeRun struct {
	shape
	f       *fixture.Fixture
	last    []map[string]any
	changed bool
	broken  bool
}

func (r *shapeRun) ask(db *gorm.DB) ([]map[string]any, error) {
	var rows []map[string]any
	err := db.Raw(r.sql, r.args...).Find(&rows).Error
	return rows, err
}

func (r *shapeRun) start(t *testing.T) {
	r.broken = true
	want, err := r.ask(r.f.Plain)
	require.NoError(t, err)
	for i, expected := range []string{"miss", "hit"} {
		var got []map[string]any
		outcome := r.f.Outcome(func() { got, err = r.ask(r.f.DB.Scopes(cache.Cache())) })
		if r.skip != "" {
			require.True(t, strings.HasPrefix(outcome, "skip: "+r.skip), outcome)
		} else {
			require.Equal(t, expected, outcome, "read %d", i)
		}
		require.NoError(t, err)
		require.Equal(t, want, got)
	}
	r.broken, r.last = false, want
}

// island requires that an unrelated write has dropped the result only if it
// must be dropped by any write to that table.
func (r *shapeRun) island(t *testing.T, table rune) {
	if r.skip != "" || r.broken {
		return
	}
	outcome := r.f.Outcome(func() {
		_, err := r.ask(r.f.DB.Scopes(cache.Cache()))
		require.NoError(t, err)
	})
	reads := map[rune]string{'m': "makers", 'i': "items", 'n': "notes"}[table]
	switch {
	case strings.ContainsRune(r.kept, table):
		require.Equal(t, "hit", outcome, "a write to an unrelated row drops it")
	case strings.Contains(strings.ToLower(r.sql), reads):
		require.Equal(t, "miss", outcome, "it narrows better than it is said to")
	default:
		require.Equal(t, "hit", outcome, "it doesn't read the table")
	}
}

func (r *shapeRun) again(t *testing.T, write string) {
	t.Helper()
	if r.broken {
		return
	}
	want, err := r.ask(r.f.Plain)
	require.NoError(t, err, r.name)
	got, err := r.ask(r.f.DB.Scopes(cache.Cache()))
	require.NoError(t, err, r.name)
	require.Equal(t, want, got, "%s is stale after %s", r.name, write)
	r.changed = r.changed || !reflect.DeepEqual(want, r.last)
	r.last = want
}

var shapes = []shape{
	// Joins.
	{name: "inner join", sql: "SELECT i.name FROM makers m INNER JOIN items i ON i.maker_id = m.id WHERE m.id = ? ORDER BY i.id", args: []any{1}, kept: "mi"},
	{name: "left join", sql: "SELECT m.name, i.name AS item FROM makers m LEFT JOIN items i ON i.maker_id = m.id AND i.kind = 5 WHERE m.id = 1 ORDER BY i.id", kept: "mi"},
	{name: "anti-join", sql: "SELECT m.id FROM makers m LEFT JOIN items i ON i.maker_id = m.id AND i.kind = 5 WHERE i.id IS NULL AND m.active ORDER BY m.id", on: "p", kept: "mi"},
	{name: "right join", sql: "SELECT m.id, i.name FROM items i RIGHT JOIN makers m ON i.maker_id = m.id WHERE m.country = 49 ORDER BY m.id, i.id", kept: "m"},
	{name: "full join", on: "ps", sql: "SELECT m.id, i.name FROM items i FULL JOIN makers m ON i.maker_id = m.id AND i.kind = 5 WHERE m.id = 1 ORDER BY m.id, i.id", kept: "m"},
	{name: "using", sql: "SELECT i.name, n.body FROM items i JOIN notes n USING (maker_id) WHERE i.kind = 5 AND i.maker_id = 1 ORDER BY i.id, n.id", kept: "in"},
	{name: "using, merged name", sql: "SELECT i.name, n.body FROM items i JOIN notes n USING (maker_id) WHERE maker_id = ? ORDER BY i.id, n.id", args: []any{1}, kept: "in"},
	{name: "left join using, merged name", sql: "SELECT i.name, n.body FROM items i LEFT JOIN notes n USING (maker_id) WHERE maker_id = 1 ORDER BY i.id, n.id", kept: "in"},
	{name: "right join using, merged name", sql: "SELECT i.name, n.body FROM items i RIGHT JOIN notes n USING (maker_id) WHERE maker_id = 1 ORDER BY i.id, n.id"},
	{name: "natural join", sql: "SELECT maker_id FROM items NATURAL JOIN (SELECT maker_id FROM notes WHERE body = 'x') d WHERE kind = 5 ORDER BY maker_id", kept: "n"},
	{name: "self join", sql: "SELECT a.name, b.name AS other FROM items a JOIN items b ON a.kind = b.kind WHERE a.maker_id = 1 AND b.kind = 5 ORDER BY a.id, b.id", kept: "i"},
	{name: "comma join", sql: "SELECT i.name FROM makers m, items i WHERE i.maker_id = m.id AND m.id = 1 ORDER BY i.id", kept: "mi"},
	{name: "cross join", sql: "SELECT m.name, n.body FROM makers m CROSS JOIN notes n WHERE m.id = 1 AND n.maker_id = 1 ORDER BY n.id", kept: "mn"},
	{name: "straight join", on: "m", sql: "SELECT i.name FROM makers m STRAIGHT_JOIN items i ON i.maker_id = m.id WHERE m.id = 1 ORDER BY i.id", kept: "mi"},
	{name: "three tables", sql: "SELECT n.body FROM makers m JOIN items i ON i.maker_id = m.id JOIN notes n ON n.item_id = i.id AND n.maker_id = m.id WHERE m.id = 1 ORDER BY n.id", kept: "min"},
	{name: "join in brackets", sql: "SELECT m.name, i.name AS item, n.body FROM makers m LEFT JOIN (items i JOIN notes n ON n.item_id = i.id) ON i.maker_id = m.id WHERE m.id = 1 ORDER BY i.id, n.id", kept: "mi"},

	// Derived tables, subqueries, common table expressions, sets.
	{name: "derived table", sql: "SELECT d.name FROM (SELECT * FROM items WHERE maker_id = 1) AS d WHERE d.kind = 5 ORDER BY d.id", kept: "i"},
	{name: "derived table of groups", sql: "SELECT m.name, d.n FROM makers m JOIN (SELECT maker_id, count(*) AS n FROM items WHERE kind IN (5, 6) GROUP BY maker_id) d ON d.maker_id = m.id WHERE m.id IN (1, 2) ORDER BY m.id", kept: "mi"},
	{name: "lateral", on: "p", sql: "SELECT m.name, l.name AS item FROM makers m, LATERAL (SELECT * FROM items i WHERE i.maker_id = m.id AND i.kind = 5 ORDER BY i.id DESC LIMIT 1) l WHERE m.id = 1", kept: "mi"},
	{name: "common table expression", sql: "WITH x AS (SELECT id, name FROM items WHERE maker_id = ?) SELECT x.name, n.body FROM x JOIN notes n ON n.item_id = x.id WHERE n.maker_id = ? ORDER BY n.id", args: []any{1, 1}, kept: "in"},
	{name: "materialized", on: "ps", sql: "WITH x AS MATERIALIZED (SELECT id, name FROM items WHERE maker_id = 1) SELECT name FROM x ORDER BY id", kept: "i"},
	{name: "recursive", sql: "WITH RECURSIVE up AS (SELECT id, maker_id FROM items WHERE id = 11 UNION ALL SELECT i.id, i.maker_id FROM items i JOIN up ON i.maker_id = up.maker_id AND i.id > up.id) SELECT id FROM up ORDER BY id"},
	{name: "union", sql: "SELECT name FROM items WHERE maker_id = 1 UNION SELECT name FROM makers WHERE id = 1 ORDER BY 1", kept: "mi"},
	{name: "intersect", sql: "SELECT maker_id FROM items WHERE kind = 5 INTERSECT SELECT maker_id FROM notes WHERE body = 'x' ORDER BY 1", kept: "in"},
	{name: "except", sql: "SELECT id FROM items WHERE maker_id = 1 EXCEPT SELECT item_id FROM notes WHERE body = 'x' ORDER BY 1", kept: "in"},
	{name: "in a subquery", sql: "SELECT name FROM items WHERE maker_id = 1 AND id IN (SELECT item_id FROM notes WHERE body = 'x') ORDER BY id", kept: "in"},
	{name: "exists", sql: "SELECT name FROM items i WHERE i.maker_id = 1 AND EXISTS (SELECT 1 FROM notes n WHERE n.item_id = i.id AND n.body = 'x') ORDER BY id", kept: "in"},
	{name: "not exists", sql: "SELECT name FROM items i WHERE i.maker_id = 1 AND NOT EXISTS (SELECT 1 FROM notes n WHERE n.item_id = i.id AND n.body = 'x') ORDER BY id", kept: "in"},
	{name: "scalar subquery", sql: "SELECT name, (SELECT count(*) FROM notes n WHERE n.item_id = i.id AND n.maker_id = 1) AS n FROM items i WHERE i.maker_id = 1 ORDER BY id", kept: "in"},
	{name: "subquery in HAVING", sql: "SELECT kind FROM items WHERE maker_id IN (1, 2) GROUP BY kind HAVING count(*) >= (SELECT count(*) FROM notes WHERE maker_id = 1) ORDER BY kind", kept: "in"},
	{name: "values in FROM", on: "p", sql: "SELECT i.name FROM items i JOIN (VALUES (5), (7)) AS v(k) ON v.k = i.kind WHERE i.maker_id = 1 ORDER BY i.id", kept: "i"},

	// Conditions.
	{name: "in a slice", sql: "SELECT name FROM items WHERE maker_id IN ? ORDER BY id", args: []any{[]int{1, 3}}, kept: "i"},
	{name: "in a list", sql: "SELECT name FROM items WHERE id IN (?, ?, 77) ORDER BY id", args: []any{11, 13}, kept: "i"},
	{name: "row values", sql: "SELECT name FROM items WHERE (maker_id, kind) IN ((?, ?), (3, 3)) ORDER BY id", args: []any{1, 5}, on: "pm", kept: "i"},
	{name: "row equality", sql: "SELECT name FROM items WHERE (maker_id, kind) = (1, 5) ORDER BY id", kept: "i"},
	{name: "any of an array", on: "p", sql: "SELECT name FROM items WHERE maker_id = ANY(?) ORDER BY id", args: []any{pgIntegers{1, 3}}, kept: "i"},
	{name: "any of a cast array", on: "p", sql: "SELECT name FROM items WHERE maker_id = ANY(?::bigint[]) ORDER BY id", args: []any{"{1,3}"}, kept: "i"},
	{name: "any of a literal array", on: "p", sql: "SELECT name FROM items WHERE maker_id = ANY('{1,3}'::int8[]) ORDER BY id", kept: "i"},
	{name: "cast of a parameter", on: "p", sql: "SELECT name FROM items WHERE maker_id = ?::bigint AND name <> ?::text ORDER BY id", args: []any{1, "blue"}, kept: "i"},
	{name: "CAST of a parameter", on: "p", sql: "SELECT name FROM items WHERE maker_id = CAST(? AS integer) ORDER BY id", args: []any{1}, kept: "i"},
	{name: "cast that rounds", on: "p", sql: "SELECT name FROM items WHERE name = 'redder'::varchar(3) ORDER BY id"},
	{name: "cast of a column", sql: "SELECT name FROM items WHERE CAST(maker_id AS char(1)) = '1' ORDER BY id"},
	{name: "cast to another type", on: "ms", sql: "SELECT name FROM items WHERE maker_id = CAST('1' AS DECIMAL) ORDER BY id"},
	{name: "is not distinct from", on: "ps", sql: "SELECT id FROM makers WHERE country IS NOT DISTINCT FROM ? ORDER BY id", args: []any{nil}, kept: "m"},
	{name: "null-safe equality", on: "m", sql: "SELECT id FROM makers WHERE country <=> ? ORDER BY id", args: []any{nil}, kept: "m"},
	{name: "is in SQLite", on: "s", sql: "SELECT id FROM makers WHERE country IS ? ORDER BY id", args: []any{49}, kept: "m"},
	{name: "double equals", on: "s", sql: "SELECT id FROM makers WHERE country == 49 ORDER BY id", kept: "m"},
	{name: "glob", on: "s", sql: "SELECT id FROM items WHERE name GLOB 'r*' ORDER BY id"},
	{name: "like", sql: "SELECT id FROM items WHERE maker_id = 1 AND name LIKE 'r%' ORDER BY id", kept: "i"},
	{name: "a boolean column", on: "p", sql: "SELECT id FROM makers WHERE active ORDER BY id", kept: "m"},
	{name: "not a boolean column", on: "p", sql: "SELECT id FROM makers WHERE NOT active AND id IN (1, 2, 3) ORDER BY id", kept: "m"},
	{name: "is true", sql: "SELECT id FROM makers WHERE active IS TRUE ORDER BY id", on: "p", kept: "m"},
	{name: "is not true", sql: "SELECT id FROM makers WHERE active IS NOT TRUE AND id IN (1, 2) ORDER BY id", kept: "m"},
	{name: "is unknown", sql: "SELECT id FROM makers WHERE active IS UNKNOWN ORDER BY id", on: "p", kept: "m"},
	{name: "collate", on: "s", sql: "SELECT id FROM items WHERE name = 'RED' COLLATE NOCASE ORDER BY id"},
	{name: "jsonb contains", on: "p", sql: `SELECT id FROM items WHERE data @> '{"a":1}' ORDER BY id`},
	{name: "jsonb key", on: "p", sql: "SELECT id FROM items WHERE data ? 'a' AND maker_id = 1 ORDER BY id", kept: "i"},
	{name: "jsonb any key", on: "p", sql: "SELECT id FROM items WHERE data ?| array['a', 'c'] AND maker_id = 1 ORDER BY id", kept: "i"},
	{name: "json text", on: "ps", sql: "SELECT id FROM items WHERE data->>'a' = '1' AND maker_id = 1 ORDER BY id", kept: "i"},
	{name: "json extract", on: "ms", sql: "SELECT id FROM items WHERE json_extract(data, '$.a') = 1 AND maker_id = 1 ORDER BY id", kept: "i"},
	{name: "json each", on: "s", sql: "SELECT i.id, e.key FROM items i, json_each(i.data) e WHERE i.maker_id = 1 ORDER BY i.id", kept: "i"},
	{name: "with ordinality", on: "p", sql: "SELECT i.id, o.k, o.n FROM items i, jsonb_object_keys(i.data) WITH ORDINALITY AS o(k, n) WHERE i.maker_id = 1 ORDER BY i.id", kept: "i"},
	{name: "case", sql: "SELECT id, CASE kind WHEN 5 THEN 'five' ELSE 'other' END AS k FROM items WHERE maker_id = 1 ORDER BY id", kept: "i"},
	{name: "or", sql: "SELECT id FROM items WHERE maker_id = 1 AND (kind = 5 OR kind = 7) OR id = 21 ORDER BY id", kept: "i"},
	{name: "never", sql: "SELECT id FROM items WHERE maker_id = 1 AND kind IN (NULL) OR id = 12 AND name = 'red'", kept: "i"},

	// Results.
	{name: "distinct on", on: "p", sql: "SELECT DISTINCT ON (kind) kind, name FROM items WHERE maker_id IN (1, 2) ORDER BY kind, id", kept: "i"},
	{name: "window", sql: "SELECT id, row_number() OVER (PARTITION BY kind ORDER BY id) AS n, sum(kind) OVER w AS s FROM items WHERE maker_id = 1 WINDOW w AS (ORDER BY id) ORDER BY id", kept: "i"},
	{name: "rollup", on: "p", sql: "SELECT kind, count(*) AS n FROM items WHERE maker_id = 1 GROUP BY ROLLUP (kind) ORDER BY 1", kept: "i"},
	{name: "with rollup", on: "m", sql: "SELECT kind, count(*) AS n FROM items WHERE maker_id = 1 GROUP BY kind WITH ROLLUP", kept: "i"},
	{name: "grouping sets", on: "p", sql: "SELECT kind, name, count(*) AS n, grouping(kind) AS g FROM items WHERE maker_id = 1 GROUP BY GROUPING SETS ((kind), (name), ()) ORDER BY 1, 2", kept: "i"},
	{name: "filter", on: "ps", sql: "SELECT count(*) FILTER (WHERE kind = 5) AS n FROM items WHERE maker_id = 1", kept: "i"},
	{name: "within group", on: "p", sql: "SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY kind) AS p FROM items WHERE maker_id = 1", kept: "i"},
	{name: "group_concat", on: "m", sql: "SELECT GROUP_CONCAT(DISTINCT name ORDER BY id SEPARATOR ';') AS l FROM items WHERE maker_id = 1", kept: "i"},
	{name: "string_agg", on: "p", sql: "SELECT string_agg(name, ',' ORDER BY id) AS l, array_agg(kind) AS k FROM items WHERE maker_id = 1", kept: "i"},
	{name: "having", sql: "SELECT kind, count(*) AS n FROM items WHERE maker_id IN (1, 2) GROUP BY kind HAVING count(*) > 1 ORDER BY kind", kept: "i"},
	{name: "limit", sql: "SELECT id FROM items WHERE maker_id = 1 ORDER BY name DESC LIMIT 1 OFFSET 1", kept: "i"},
	{name: "limit with a comma", on: "ms", sql: "SELECT id FROM items WHERE maker_id = 1 ORDER BY name DESC LIMIT 1, 1", kept: "i"},
	{name: "fetch first", on: "p", sql: "SELECT id FROM items WHERE maker_id = 1 ORDER BY name DESC OFFSET 0 ROWS FETCH FIRST 1 ROW ONLY", kept: "i"},
	{name: "with ties", on: "p", sql: "SELECT id FROM items WHERE maker_id = 1 ORDER BY kind FETCH FIRST 1 ROW WITH TIES", kept: "i"},

	// Spelling.
	{name: "comments", sql: "/* a ' */ SELECT /* b */ id -- c ' ?\n FROM items WHERE maker_id = 1 /* AND 1 = 2 */ AND kind = 5 ORDER BY id", kept: "i"},
	{name: "hints", on: "p", sql: "SELECT /*+ SeqScan(items) */ id FROM items WHERE maker_id = 1 ORDER BY id", kept: "i"},
	{name: "index hints", on: "m", sql: "SELECT i.id FROM items i USE INDEX (PRIMARY) IGNORE INDEX FOR ORDER BY (PRIMARY) WHERE i.maker_id = 1 ORDER BY i.id", kept: "i"},
	{name: "not indexed", on: "s", sql: "SELECT id FROM items NOT INDEXED WHERE maker_id = 1 ORDER BY id", kept: "i"},
	{name: "only", on: "p", sql: "SELECT id FROM ONLY items WHERE maker_id = 1 ORDER BY id", kept: "i"},
	{name: "quoted", on: "ps", sql: `SELECT "Größe""x"."id" AS "select" FROM "items" AS "Größe""x" WHERE "Größe""x"."maker_id" = 1 ORDER BY 1`, kept: "i"},
	{name: "quoted by backticks", on: "ms", sql: "SELECT `Größe``x`.`id` AS `select` FROM `items` AS `Größe``x` WHERE `Größe``x`.`maker_id` = 1 ORDER BY 1", kept: "i"},
	{name: "in brackets", on: "s", sql: "SELECT [i].[id] FROM [items] AS [i] WHERE [i].[maker_id] = 1 ORDER BY 1", kept: "i"},
	{name: "odd case", sql: "sElEcT ID fRoM items wHeRe MAKER_ID=1 oRdEr By ID", kept: "i"},
	{name: "schema", on: "p", sql: `SELECT id FROM "public".items WHERE public.items.maker_id = 1 ORDER BY id`, kept: "i"},
	{name: "schema of SQLite", on: "s", sql: `SELECT id FROM main.items WHERE main.items.maker_id = 1 ORDER BY id`, kept: "i"},
	{name: "dollar quotes", on: "p", sql: "SELECT id FROM items WHERE name = $q$red$q$ ORDER BY id", kept: "i"},
	{name: "escape string", on: "p", sql: `SELECT id FROM items WHERE name = E'red' AND maker_id = 1 ORDER BY id`, kept: "i"},
	{name: "operator of a schema", on: "p", sql: `SELECT id FROM items WHERE maker_id OPERATOR(pg_catalog.=) 1 ORDER BY id`},
	{name: "values", on: "p", sql: "VALUES (1), ((SELECT count(*) FROM items WHERE maker_id = 1))", kept: "i"},
	{name: "table", on: "p", sql: "TABLE notes"},

	// Not cached.
	{name: "table sample", on: "p", sql: "SELECT id FROM items TABLESAMPLE SYSTEM (100) WHERE maker_id = 1", skip: "table sample"},
	{name: "locking", on: "pm", sql: "SELECT id FROM items WHERE maker_id = 1 FOR UPDATE", skip: "locking read"},
	{name: "share", on: "m", sql: "SELECT id FROM items WHERE maker_id = 1 LOCK IN SHARE MODE", skip: "locking read"},
	{name: "clock", on: "pm", sql: "SELECT id, now() AS n FROM items WHERE maker_id = 1 AND 1 = 2", skip: "volatile: now()"},
	{name: "clock of SQLite", on: "s", sql: "SELECT id FROM items WHERE name < datetime('now')", skip: "volatile: datetime()"},
	{name: "random", on: "ps", sql: "SELECT id FROM items WHERE random() IS NULL", skip: "volatile: random()"},
	{name: "session variable", on: "m", sql: "SELECT id FROM items WHERE @x = 1", skip: "volatile: @x"},
}

// pgIntegers is an array as PostgreSQL's drivers take it.
type pgIntegers []int64

// Value implements driver.Valuer.
func (a pgIntegers) Value() (driver.Value, error) {
	return strings.ReplaceAll("{"+strings.Trim(fmt.Sprint([]int64(a)), "[]")+"}", " ", ","), nil
}
