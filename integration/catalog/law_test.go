package catalog

import (
	"context"
	"database/sql"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/cacheplugin/cacheplugin/conj"
	"github.com/cacheplugin/cacheplugin/integration/testdb"
	"github.com/cacheplugin/cacheplugin/internal/catalog"
	"github.com/cacheplugin/cacheplugin/internal/testenv"
)

// target is a database with the ways to reach it: what arrives in a row, and
// what is made of a parameter, depends on the protocol.
type target struct {
	name    string
	dialect conj.Dialect
	ways    []*sql.DB // the first is GORM's default, the last the least strict
}

// onTargets runs a test on each database, in parallel.
func onTargets(t *testing.T, test func(t *testing.T, to target)) {
	t.Helper()
	for _, database := range testdb.Databases(t) {
		if database.Name == testenv.SQLiteFile {
			continue // the same engine
		}
		t.Run(database.Name, func(t *testing.T) {
			t.Parallel()
			test(t, newTarget(t, database))
		})
	}
}

func newTarget(t *testing.T, database testenv.Database) target {
	t.Helper()
	dialect, ok := conj.DialectOf(database.Dialect)
	require.True(t, ok)
	gdb := database.Open(t, nil)
	db, err := gdb.DB()
	require.NoError(t, err)
	to := target{database.Name, dialect, []*sql.DB{db}}
	dsn := database.DSN(t, gdb)
	switch dialect {
	case conj.PostgreSQL:
		to.ways = append(to.ways, open(t, "pgx", dsn, "default_query_exec_mode=simple_protocol"))
	case conj.MySQL:
		to.ways = append(to.ways, open(t, "mysql", dsn, "interpolateParams=true"))
	}
	return to
}

func open(t *testing.T, driver, dsn, option string) *sql.DB {
	t.Helper()
	separator := "?"
	if strings.Contains(dsn, "?") {
		separator = "&"
	}
	db, err := sql.Open(driver, dsn+separator+option)
	require.NoError(t, err)
	t.Cleanup(func() { _ = db.Close() })
	return db
}

// placeholder is the dialect's first parameter.
func (to target) placeholder() string {
	if to.dialect == conj.PostgreSQL {
		return "$1"
	}
	return "?"
}

// create makes the table law of an id and columns c0, c1, .. of the given
// types, and returns what the catalog says of these.
func (to target) create(t *testing.T, declared []string) []conj.Column {
	t.Helper()
	ctx := context.Background()
	ddl := "CREATE TABLE law (id integer PRIMARY KEY"
	for i, d := range declared {
		ddl += fmt.Sprintf(", c%d %s", i, d)
	}
	_, err := to.ways[0].ExecContext(ctx, ddl+")")
	require.NoError(t, err)
	table, err := catalog.New(to.dialect).Table(ctx, to.ways[0], conj.TableName{Name: "law"}, true)
	require.NoError(t, err)
	require.NotNil(t, table)
	return table.Columns()[1:]
}

// insert stores a value in a column of a new row; false if the database
// refuses it.
func (to target) insert(id, column int, value any) bool {
	_, err := to.ways[len(to.ways)-1].ExecContext(context.Background(),
		fmt.Sprintf("INSERT INTO law (id, c%d) VALUES (%d, %s)", column, id, to.placeholder()), value)
	return err == nil
}

// rows returns a column's values by id, in every form in which a driver gives
// them: MySQL's has a protocol for statements without parameters.
func (to target) rows(t *testing.T, column int) map[int64][]any {
	t.Helper()
	all := make(map[int64][]any)
	read := func(db *sql.DB, query string, args ...any) {
		rows, err := db.QueryContext(context.Background(), query, args...)
		require.NoError(t, err)
		defer func() { require.NoError(t, rows.Close()) }()
		for rows.Next() {
			var (
				id    int64
				value any
			)
			require.NoError(t, rows.Scan(&id, &value))
			all[id] = append(all[id], value)
		}
		require.NoError(t, rows.Err())
	}
	query := fmt.Sprintf("SELECT id, c%d FROM law WHERE c%[1]d IS NOT NULL", column)
	for _, db := range to.ways {
		read(db, query)
		read(db, query+" AND id <> "+to.placeholder(), -1)
	}
	return all
}

// finder returns a function that finds the ids of the rows whose column equals
// a parameter, each way; nothing where the database or the driver refuses it.
func (to target) finder(t *testing.T, column int) func(param any) []int64 {
	t.Helper()
	ctx := context.Background()
	query := fmt.Sprintf("SELECT id FROM law WHERE c%d = %s", column, to.placeholder())
	prepared, err := to.ways[0].PrepareContext(ctx, query)
	require.NoError(t, err)
	t.Cleanup(func() { _ = prepared.Close() })
	return func(param any) []int64 {
		ids, _ := collect(prepared.QueryContext(ctx, param))
		for _, db := range to.ways[1:] {
			more, _ := collect(db.QueryContext(ctx, query, param))
			ids = append(ids, more...)
		}
		return ids
	}
}

func collect(rows *sql.Rows, err error) (ids []int64, ok bool) {
	if err != nil {
		return nil, false
	}
	defer func() { ok = rows.Close() == nil && ok }()
	for rows.Next() {
		var id int64
		if rows.Scan(&id) != nil {
			return nil, false
		}
		ids = append(ids, id)
	}
	return ids, rows.Err() == nil
}

// law is the law that invalidation stands on: what the database deems equal
// has one canonical form, if it has any. It reports whether it has.
func law(column conj.Column, d conj.Dialect, row, param any) (known bool, err error) {
	arg, err := conj.NormalizeArg(param)
	if err != nil {
		return false, err
	}
	r, p := column.FromRow(d, row), column.FromParam(d, arg)
	if r == "" || p == "" {
		return false, nil
	}
	if r != p {
		return true, fmt.Errorf("row %T %#v is %q, parameter %T %#v is %q, yet they are equal", row, row, r, param, param, p)
	}
	return true, nil
}

// types are the column types that the law is tried on.
func types(d conj.Dialect) []string {
	switch d {
	case conj.PostgreSQL:
		return []string{
			"smallint", "integer", "bigint", "boolean", "numeric", "numeric(12,3)", "real", "double precision",
			"text", "varchar(20)", "char(8)", `text COLLATE "C"`, "name", "uuid", "bytea", "date", "timestamp(3)",
			"timestamptz", "time", "interval", "jsonb", "inet", "bit(4)", "money", "text[]", "integer[]",
		}
	case conj.MySQL:
		return []string{
			"tinyint(1)", "tinyint unsigned", "int", "bigint", "bigint unsigned", "int(6) zerofill", "decimal(12,3)",
			"decimal(40,20)", "float", "double", "bit(4)", "year",
			"varchar(40) COLLATE utf8mb4_general_ci", "varchar(40) COLLATE utf8mb4_unicode_ci", "varchar(40) COLLATE utf8mb4_unicode_520_ci",
			"varchar(40) COLLATE utf8mb4_unicode_nopad_ci", "varchar(40) COLLATE utf8mb4_bin", "varchar(40) COLLATE utf8mb4_nopad_bin",
			"varchar(40) CHARACTER SET utf8mb3 COLLATE utf8mb3_bin", "varchar(40) CHARACTER SET utf8mb3 COLLATE utf8mb3_general_ci",
			"varchar(40) CHARACTER SET latin1 COLLATE latin1_swedish_ci", "varchar(40) CHARACTER SET latin1 COLLATE latin1_german2_ci",
			"varchar(40) CHARACTER SET latin1 COLLATE latin1_bin", "varchar(40) CHARACTER SET utf16 COLLATE utf16_bin",
			"varchar(40) COLLATE utf8mb4_spanish_ci", "varchar(40) COLLATE utf8mb4_turkish_ci",
			"varchar(40) COLLATE utf8mb4_uca1400_ai_ci", "varchar(40) COLLATE utf8mb4_uca1400_as_cs",
			"char(8) COLLATE utf8mb4_general_ci", "char(8) COLLATE utf8mb4_bin", "longtext", "text COLLATE utf8mb4_bin",
			"binary(4)", "binary(16)", "varbinary(40)", "blob", "uuid", "inet6", "json", "enum('a','b','1')", "set('a','b')",
			"date", "datetime(3)", "timestamp NULL", "time",
		}
	}
	return []string{
		"integer", "int", "bigint", "boolean", "bool", "numeric", "decimal(10,2)", "real", "double", "text", "varchar(20)",
		"char(8)", "text COLLATE NOCASE", "text COLLATE RTRIM", "text COLLATE BINARY", "integer COLLATE NOCASE", "blob", "",
		"uuid", "json", "datetime", "date", "timestamp", "time", "any",
	}
}

// adversarial are values whose spelling and equality part somewhere.
func adversarial() []any {
	zone := time.FixedZone("", 5400)
	values := []any{
		nil, int64(0), int64(1), int64(-1), int64(2), int64(5), int64(42), int64(math.MaxInt64), int64(math.MinInt64),
		int64(1<<53 - 1), int64(1 << 53), int64(1<<53 + 1), int64(-(1 << 53) - 1), uint64(math.MaxUint64), uint64(math.MaxInt64),
		0.0, math.Copysign(0, -1), 1.0, 5.0, 1.5, 0.1, -1.5, float64(1 << 53), float64(1<<53 + 2), 1e300, math.Inf(1), math.NaN(), 5e-324,
		true, false,
		[]byte{}, []byte("a"), []byte("A"), []byte("a\x00"), []byte("a\x00\x00\x00"), []byte("5"), []byte("abcd"), []byte{0xff}, []byte("\\x61"),
		[]byte("0123456789abcdef"), []byte("a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"),
		time.Date(2024, 2, 29, 12, 30, 15, 123600000, time.UTC), time.Date(2024, 2, 29, 14, 0, 15, 123600000, zone),
		time.Date(2024, 2, 29, 0, 0, 0, 0, time.UTC),
	}
	for _, s := range []string{
		"", " ", "  ", "0", "-0", "+5", "5", " 5", "5 ", "05", "005", "5.0", "5.", ".5", "5.00", "5e0", "0x5", "5abc", "1", "2", "-1", "1.5", "1.50", "01.5", "1.500", "1.5000000000000000001",
		"9007199254740991", "9007199254740992", "9007199254740993", "9223372036854775807", "9223372036854775808", "18446744073709551615",
		"0.1", "0.10", "123456789.123", "0.30000000000000000001", "0.3", "NaN", "Infinity", "inf", "-Infinity", "1_000", "1,5", "$1.50",
		"a", "A", "a ", "a  ", " a", "á", "Á", "ä", "ae", "æ", "ß", "ss", "SS", "ẞ", "i", "I", "İ", "ı", "abc", "ABC", "aBc", "a\tb", "a\x01b", "ab", "a-b", "a b", "a_b", "a.b", "a'b", "a\"b", `a\b`, "a%",
		"a\u00adb", "a\u200bb", "e\u0301", "é", "ñ", "n\u0303", "ch", "ll", "ﬁ", "fi", "K", "K", "Å", "Å", "日本", "😀", "😁", "𝐀", "?", "a?", "\ufffd", "a\ufffd", "\xff", "a\x00b", "a\x00",
		"t", "f", "true", "false", "TRUE", "yes", "on", "off", "y", "b", "a,b", "b,a",
		"a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11", "A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11", "{a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11}",
		"a0eebc999c0b4ef8bb6d6bb9bd380a11", "a0ee-bc99-9c0b-4ef8-bb6d-6bb9-bd38-0a11", "12345678-1234-1234-1234-123456789012", "00000000-0000-0000-0000-000000000000",
		`\x61`, `\\x61`, "2024-02-29", "2024-02-29 12:30:15", "2024-02-29 12:30:15.1236", "2024-02-29T12:30:15Z", "12:30:15", "2024", "24",
		"{}", `{"a": 1}`, `{"a":1}`, "[1]", "null", "::1", "0:0:0:0:0:0:0:1", "127.0.0.1", "101", "1 day", "24:00:00", "{a}", "{1}",
		strings.Repeat("x", 18), strings.Repeat("x", 39), "e5", "E", "-", ".", "1-1", "1e400", "c3a9",
	} {
		values = append(values, s)
	}
	return values
}

// TestEqualInTheDatabaseMeansEqualCanonically stores every adversarial value
// in every type of column and looks for it by every other.
func TestEqualInTheDatabaseMeansEqualCanonically(t *testing.T) {
	values := adversarial()
	onTargets(t, func(t *testing.T, to target) {
		declared := types(to.dialect)
		for c, column := range to.create(t, declared) {
			for i, v := range values {
				to.insert(c*len(values)+i, c, v)
			}
			rows := to.rows(t, c)
			find := to.finder(t, c)
			narrowed := 0
			for _, param := range values {
				for _, id := range find(param) {
					for _, row := range rows[id] {
						known, err := law(column, to.dialect, row, param)
						require.NoError(t, err, declared[c])
						if known {
							narrowed++
						}
					}
				}
			}
			require.Equal(t, column.Kind == conj.Opaque, narrowed == 0, "%s: %d rows", declared[c], len(rows))
		}
	})
}

// TestEqualInTheDatabaseMeansEqualCanonicallyForAnyValue lets rapid make up
// texts and numbers near each other.
func TestEqualInTheDatabaseMeansEqualCanonicallyForAnyValue(t *testing.T) {
	onTargets(t, func(t *testing.T, to target) {
		columns := to.create(t, types(to.dialect))
		var exact []int
		find := make(map[int]func(any) []int64)
		for c, column := range columns {
			if column.Kind != conj.Opaque {
				exact = append(exact, c)
				find[c] = to.finder(t, c)
			}
		}
		id := 0
		rapid.Check(t, func(r *rapid.T) {
			c := rapid.SampledFrom(exact).Draw(r, "column")
			value := anyValue().Draw(r, "value")
			param := rapid.OneOf(respelled(value), anyValue()).Draw(r, "param")
			id++
			to.insert(id, c, value)
			rows := to.rows(t, c)
			for _, id := range find[c](param) {
				for _, row := range rows[id] {
					_, err := law(columns[c], to.dialect, row, param)
					require.NoError(r, err)
				}
			}
		})
	})
}

// anyValue draws from few letters and digits, so that two draws often meet.
func anyValue() *rapid.Generator[any] {
	text := rapid.StringOfN(rapid.RuneFrom([]rune("aAbBßáÁ 015.-+e😀\t")), 0, 6, -1)
	return rapid.OneOf(
		rapid.Map(text, func(s string) any { return s }),
		rapid.Map(text, func(s string) any { return []byte(s) }),
		rapid.Map(rapid.Int64(), func(n int64) any { return n }),
		rapid.Map(rapid.Int64Range(-6, 6), func(n int64) any { return n }),
		rapid.Map(rapid.Uint64(), func(n uint64) any { return n }),
		rapid.Map(rapid.Float64(), func(f float64) any { return f }),
		rapid.Map(rapid.Bool(), func(b bool) any { return b }),
		rapid.Map(rapid.SliceOfN(rapid.Byte(), 16, 16), func(b []byte) any { return b }),
		rapid.Map(rapid.SliceOfN(rapid.Byte(), 16, 16), func(b []byte) any {
			return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
		}),
	)
}

// respelled draws another way to write a value.
func respelled(v any) *rapid.Generator[any] {
	text := fmt.Sprint(v)
	if b, ok := v.([]byte); ok {
		text = string(b)
	}
	ways := []any{
		v, text, []byte(text), strings.ToUpper(text), strings.ToLower(text), text + " ", " " + text, "0" + text, text + "0", text + ".0",
		strings.TrimRight(text, " "), strings.ReplaceAll(text, "-", ""), "{" + text + "}", text + "\x00", "+" + text,
	}
	switch v := v.(type) {
	case int64:
		ways = append(ways, float64(v), uint64(v), v != 0, v+1)
	case uint64:
		ways = append(ways, float64(v), int64(v))
	case float64:
		ways = append(ways, int64(v), math.Nextafter(v, 0))
	}
	return rapid.SampledFrom(ways)
}
