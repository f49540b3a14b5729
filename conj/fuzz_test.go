package conj

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
)

// seedTexts are statements with the constructs that the corpus lacks.
var seedTexts = []string{
	`WITH RECURSIVE c(a) AS (SELECT 1 UNION ALL SELECT a+1 FROM c) SELECT * FROM c JOIN t1 ON c.a = t1.id`,
	`SELECT a, count(*) FILTER (WHERE b > 1) OVER (PARTITION BY c ORDER BY d) FROM t1 LEFT JOIN t2 USING (id) WHERE (a,b) IN ((1,2),($1,?)) GROUP BY 1 HAVING count(*) > 1`,
	`SELECT * FROM ((SELECT 1) UNION (SELECT 2)) x, LATERAL (SELECT * FROM t2 WHERE t2.id = x.id) y`,
	`SELECT CASE WHEN a THEN 1 ELSE (SELECT 2 FROM t2) END::numeric(10,2)[] FROM "t1" WHERE a = ANY($1) AND b::text = 'x' FOR UPDATE`,
	`INSERT INTO t1 (id, a) VALUES (1, DEFAULT), ($1, (SELECT 1)) ON CONFLICT (id) DO UPDATE SET a = excluded.a WHERE t1.b = 1 RETURNING *`,
	`INSERT IGNORE INTO t1 SET a = 1, b = ? ON DUPLICATE KEY UPDATE a = VALUES(a)`,
	`UPDATE t1 JOIN t2 ON t1.id = t2.id SET t1.a = 1 WHERE t2.b = ? ORDER BY 1 LIMIT 2`,
	`DELETE t1, t2 FROM t1, t2 WHERE t1.id = t2.id`, `DELETE FROM t1 USING t2 WHERE t1.id = t2.id`,
	`MERGE INTO t1 USING t2 ON t1.id = t2.id WHEN MATCHED THEN DELETE WHEN NOT MATCHED THEN INSERT VALUES (1)`,
	`SELECT $tag$ ' $tag$, E'\'', 'it''s', U&'x', x'00' /* a /* b */ c */ -- end`,
	"SELECT `a`, [b], \"c\" FROM t1 # comment\nWHERE a <=> ? AND b || c AND @x := 1",
	`WITH d AS (DELETE FROM t1 WHERE id = $1 RETURNING *) SELECT * FROM d`,
	`SELECT * FROM t1 WHERE a ISNULL AND b IS NOT DISTINCT FROM ? AND c NOT BETWEEN 1 AND 2 AND NOT EXISTS (SELECT 1 FROM t2)`,
	`SET LOCAL search_path = x; SELECT set_config($1, 'x', true)`, `SET @@session.sql_mode = (1, 2), NAMES x`, `PRAGMA a.b(1)`, `XA COMMIT 'x'`,
	`SELECT t1.* FROM t1 ORDER BY t1.id DESC NULLS LAST, b LIMIT 3`, `SELECT strftime('%s'), string_agg(a, 'today 12:00') FROM t1 WHERE NOT a <> true`,
	`EXPLAIN ANALYZE DELETE FROM t1`, `SELECT 1; DELETE FROM t1`, `((((((`, `SELECT (((((`, `CREATE TABLE x AS SELECT 1`,
}

// fuzzTables are three tables of the same columns: id, a, b and d are integers,
// s a text, o a column on which no equality narrows.
func fuzzTables() map[string]*Table {
	tables := make(map[string]*Table)
	for _, name := range []string{"t1", "t2", "t3"} {
		tables[name] = NewTable("main."+name, name, []Column{
			{"id", Integer}, {"a", Integer}, {"b", Integer}, {"s", Text}, {"o", Opaque}, {name + "d", Integer},
		})
	}
	return tables
}

// FuzzCompile checks that no text makes the compiler or the binder panic, and
// what holds of every plan.
func FuzzCompile(f *testing.F) {
	for _, name := range []string{"select_postgres.txt", "select_sqlite.txt", "write_postgres.txt"} {
		for i, text := range corpus(f, name) {
			if i%20 == 0 {
				f.Add(text, int64(i))
			}
		}
	}
	for i, text := range seedTexts {
		f.Add(text, int64(i))
	}
	tables := fuzzTables()
	f.Fuzz(func(t *testing.T, text string, n int64) {
		if len(text) > 4<<10 {
			t.Skip()
		}
		values := []any{n, "x", nil, []any{n, nil, "y"}, []int64{1, n}, "{1,2}", []byte("z"), true, 1.5}
		args := make([]any, 9)
		for i := range args {
			args[i] = values[(uint64(n)+uint64(i))%uint64(len(values))]
		}
		for _, d := range []Dialect{PostgreSQL, MySQL, SQLite} {
			for _, lim := range []Limits{{}, {MaxInValues: 2, MaxConjunctions: 3}} {
				plan, err := Compile(d, text, func(n TableName) (*Table, error) {
					return tables[strings.ToLower(n.Name)], nil
				}, lim)
				require.NoError(t, err)
				checkPlan(t, plan, lim.withDefaults(), args)
				require.Equal(t, plan.Settings, SettingsOf(d, text))
				pinned, err := CompileOn(d, text, func(n TableName) (*Table, error) {
					return tables[strings.ToLower(n.Name)], nil
				}, lim, []string{"a", "t1.id"}[n&1:])
				var pin *PinError
				if !errors.As(err, &pin) {
					require.NoError(t, err)
					checkPlan(t, pinned, lim.withDefaults(), args)
				}
			}
		}
	})
}

func checkPlan(t *testing.T, plan *Plan, lim Limits, args []any) {
	if plan.Statement == Unknown {
		require.NotEmpty(t, plan.Skip)
	}
	if len(plan.Writes) > 0 && plan.Statement == Select {
		require.NotEmpty(t, plan.Skip)
	}
	for _, column := range plan.Order {
		require.GreaterOrEqual(t, plan.Sole.Index(plan.d, column), 0)
	}
	if plan.AllColumns {
		require.NotNil(t, plan.Sole)
	}
	plan.VolatileArg(args)
	for _, few := range [][]any{args, nil} {
		deps, err := plan.Bind(few)
		if err != nil {
			require.ErrorIs(t, err, ErrArgument)
			continue
		}
		require.Len(t, deps, len(plan.Tables))
		for i, d := range deps {
			require.Same(t, plan.Tables[i], d.Table)
			require.LessOrEqual(t, len(d.Conjunctions), lim.MaxConjunctions)
			for _, c := range d.Conjunctions {
				checkConjunction(t, d.Table, c)
			}
		}
	}
	for i := range plan.Writes {
		w := &plan.Writes[i]
		if text, selArgs, ok := w.ImageQuery("*", "FOR UPDATE", args); ok {
			require.Empty(t, w.Wide)
			require.True(t, strings.HasPrefix(text, "SELECT * FROM "))
			require.LessOrEqual(t, len(selArgs), strings.Count(text, "$")+strings.Count(text, "?"))
		}
		if images, ok := w.Where(args); ok {
			for _, img := range images {
				require.Len(t, img, len(w.Table.Columns()))
			}
		}
		for _, row := range w.Rows {
			require.Len(t, row, len(w.Columns))
			for _, o := range row {
				o.Resolve(args)
			}
		}
	}
}

func checkConjunction(t *testing.T, table *Table, c Conjunction) {
	var names []string
	var values []Value
	for _, term := range c.Terms {
		names = append(names, term.Column)
		values = append(values, term.Value)
		require.NotEmpty(t, term.Value)
	}
	require.True(t, slices.IsSorted(names))
	columns, ok := table.SchemeColumns(c.Scheme)
	require.True(t, ok)
	require.Len(t, columns, len(names))
	for i, column := range columns {
		require.Equal(t, names[i], table.Columns()[column].Name)
	}
	require.Equal(t, MakeKey(table.ID, c.Scheme, values), c.Key)
}

// FuzzTokenize checks that tokens cover the text in order.
func FuzzTokenize(f *testing.F) {
	for _, text := range seedTexts {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		for _, d := range []Dialect{PostgreSQL, MySQL, SQLite} {
			toks, err := tokenize(d, text)
			if err != nil {
				continue
			}
			at := 0
			for _, tok := range toks {
				require.GreaterOrEqual(t, tok.start, at)
				require.GreaterOrEqual(t, tok.end, tok.start)
				at = tok.end
				if utf8.ValidString(text) && tok.kind == tokWord && d != PostgreSQL {
					require.Equal(t, text[tok.start:tok.end], tok.text)
				}
			}
			require.Equal(t, len(text), at)
		}
	})
}

func TestDeepNestingIsNotUnderstood(t *testing.T) {
	for _, unit := range []string{"(", "(SELECT ", "NOT ", "CASE WHEN ", "- ", "a IN (", "f(", "SELECT (", "WITH x AS ("} {
		text := "SELECT * FROM t1 WHERE " + strings.Repeat(unit, 5000)
		plan, err := Compile(SQLite, text, func(TableName) (*Table, error) { return nil, errors.New("not to be asked") }, Limits{})
		require.NoError(t, err)
		require.Contains(t, plan.Skip, "not understood", unit)
	}
}
