package conj

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestMaskLeavesOutValues(t *testing.T) {
	for _, c := range []struct {
		name        string
		d           Dialect
		sql         string
		masked      string
		fingerprint string // the same unless given
	}{
		{"nothing", PostgreSQL, ``, ``, ``},
		{"string", PostgreSQL, `SELECT * FROM users WHERE name = 'it''s me'`, `SELECT * FROM users WHERE name = ?`, ``},
		{"numbers", PostgreSQL, `SELECT a1, -1.5e3, 0x1F FROM users LIMIT 10`, `SELECT a1, -?, ? FROM users LIMIT ?`, `SELECT a1, -? FROM users LIMIT ?`},
		{"names", PostgreSQL, `SELECT "a 1" FROM "x"."y"`, `SELECT "a 1" FROM "x"."y"`, ``},
		{"escaped string", PostgreSQL, `SELECT E'a\'b', U&'x', b'01', X'ff'`, `SELECT ?, U&?, ?, ?`, `SELECT ?, U&?`},
		{"dollar quotes", PostgreSQL, `DO $x$ secret $x$`, `DO ?`, ``},
		{"comments", PostgreSQL, "SELECT 1 /* token=secret */ + 2 -- secret", `SELECT ? + ?`, ``},
		{"white space", PostgreSQL, "  SELECT\n\t1\n", `SELECT ?`, ``},
		{"parameters", PostgreSQL, `SELECT * FROM users WHERE id IN ($1,$2, $3) AND age = $4`, `SELECT * FROM users WHERE id IN ($1,$2, $3) AND age = $4`,
			`SELECT * FROM users WHERE id IN (?) AND age = ?`},
		{"list", SQLite, `SELECT * FROM users WHERE id IN (1, ?, 'x')`, `SELECT * FROM users WHERE id IN (?, ?, ?)`, `SELECT * FROM users WHERE id IN (?)`},
		{"list of columns", SQLite, `SELECT 1, a, 2, b`, `SELECT ?, a, ?, b`, ``},
		{"rows", SQLite, `INSERT INTO t VALUES (1,2),(3,4)`, `INSERT INTO t VALUES (?,?),(?,?)`, `INSERT INTO t VALUES (?),(?)`},
		{"trailing comma", SQLite, `SELECT 1,`, `SELECT ?,`, ``},
		{"double quotes", SQLite, "SELECT `a` FROM t WHERE b = \"secret\"", "SELECT `a` FROM t WHERE b = ?", ``},
		{"double quotes of MySQL", MySQL, "SELECT `a` FROM t WHERE b = \"secret\"", "SELECT `a` FROM t WHERE b = ?", ``},
		{"password", MySQL, `CREATE USER x IDENTIFIED BY 'secret'`, `CREATE USER x IDENTIFIED BY ?`, ``},
		{"backslash", MySQL, `SELECT a FROM t WHERE b = 'x\'; secret'`, `SELECT a FROM t WHERE b = ...`, ``},
		{"not closed", PostgreSQL, `SELECT 'secret`, `SELECT ...`, ``},
		{"executable comment", MySQL, `SELECT /*! secret */ 1`, `SELECT ...`, ``},
	} {
		t.Run(c.name, func(t *testing.T) {
			if c.fingerprint == "" {
				c.fingerprint = c.masked
			}
			require.Equal(t, c.masked, Mask(c.d, c.sql))
			require.Equal(t, c.fingerprint, Fingerprint(c.d, c.sql))
		})
	}
}

// FuzzMask checks that a value doesn't get through, and that what is masked
// stays as it is.
func FuzzMask(f *testing.F) {
	for _, text := range seedTexts {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		for _, d := range []Dialect{PostgreSQL, MySQL, SQLite} {
			masked := Mask(d, "SELECT 'hush1', 4711, x'beef' FROM t WHERE "+text)
			require.True(t, strings.HasPrefix(masked, "SELECT ?, ?, ? FROM t WHERE"), masked)
			if strings.HasSuffix(masked, "...") {
				continue
			}
			toks, err := tokenize(d, masked)
			if err != nil || d == SQLite || d == MySQL && strings.Contains(masked, "?") {
				continue // ? is a parameter then
			}
			for i := range toks {
				require.NotContains(t, []tokenKind{tokString, tokRaw, tokDouble, tokNumber}, toks[i].kind, masked)
			}
		}
	})
}

func TestCallsOneOf(t *testing.T) {
	functions := map[string]bool{"log_it": true, "harmless": false}
	for sql, want := range map[string]string{
		`SELECT Log_It(1)`:               "log_it",
		`SELECT public."log_it" (1)`:     "log_it",
		`SELECT harmless(1)`:             "",
		`SELECT 'log_it(1)' -- log_it()`: "",
		`SELECT log_it FROM t`:           "",
		`SELECT 'a\', LOG_IT(1), 'b`:     "log_it", // by guess
		`SELECT 'a\', 'harmless(1) b`:    "",
	} {
		require.Equal(t, want, CallsOneOf(PostgreSQL, sql, functions), sql)
	}
	require.Empty(t, CallsOneOf(PostgreSQL, `SELECT f()`, nil))
}

func TestIsSelect(t *testing.T) {
	for sql, want := range map[string]bool{
		`SELECT 1`:                      true,
		"\n -- note\n/* x */ select 1":  true,
		`SELECT`:                        true,
		`SELECTED`:                      false,
		`SELECT 1; DELETE FROM users`:   false,
		`SELECT 1;`:                     false,
		`(SELECT 1)`:                    false,
		`WITH a AS (SELECT 1) SELECT 1`: false,
		`UPDATE users SET age = 1`:      false,
		`/* not closed`:                 false,
		``:                              false,
	} {
		require.Equal(t, want, IsSelect(PostgreSQL, sql), sql)
	}
}
