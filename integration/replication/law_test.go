package replication

import (
	"context"
	"database/sql"
	"fmt"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cacheplugin/cacheplugin/conj"
	"github.com/cacheplugin/cacheplugin/integration/internal/fixture"
	"github.com/cacheplugin/cacheplugin/internal/catalog"
)

// law makes a table of columns with values, and requires that a change of each value,
// which is read in the log, drops the results that the value as a parameter, or as the
// driver gives it, narrows by, and no others.
type law struct {
	kind   string   // of the column, in SQL
	values []string // in SQL
}

var postgresLaws = []law{
	{"smallint", []string{"0", "-1", "32767", "-32768", "NULL"}},
	{"integer", []string{"0", "7", "-2147483648", "NULL"}},
	{"bigint", []string{"9223372036854775807", "-9223372036854775808", "0", "NULL"}},
	{"boolean", []string{"true", "false", "NULL"}},
	{"numeric", []string{"0", "1.50", "-0.00", "12345678901234567890.123", "'NaN'", "NULL"}},
	{"numeric(8,3)", []string{"1.5", "-7", "0", "NULL"}},
	{"text", []string{"''", "' a '", "'Grüße 🙂'", `E'a\nb\\c'`, "repeat('x', 100)", "NULL"}},
	{"varchar(20)", []string{"''", "'a'", "'A'", "NULL"}},
	{"char(5)", []string{"'ab'", "NULL"}},
	{"uuid", []string{"'00000000-0000-0000-0000-000000000000'", "'A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11'", "NULL"}},
	{"bytea", []string{`'\x'`, `'\x00ff10'`, "repeat('y', 80)::bytea", "NULL"}},
	{"mood", []string{"'glad'", "'sad'", "NULL"}},
	{"timestamptz", []string{"'2026-01-02 03:04:05+00'", "NULL"}},
	{"jsonb", []string{`'{"a": 1}'`, "NULL"}},
	{"double precision", []string{"1.5", "NULL"}},
	{"integer[]", []string{"'{1,2}'", "NULL"}},
}

var mariadbLaws = []law{
	{"tinyint", []string{"0", "-128", "127", "NULL"}},
	{"tinyint unsigned", []string{"0", "255", "NULL"}},
	{"smallint unsigned", []string{"65535", "1", "NULL"}},
	{"mediumint", []string{"-8388608", "8388607", "NULL"}},
	{"mediumint unsigned", []string{"16777215", "8388608", "NULL"}},
	{"int", []string{"-2147483648", "5", "NULL"}},
	{"int unsigned", []string{"4294967295", "0", "NULL"}},
	{"int(6) zerofill", []string{"42", "0", "NULL"}},
	{"bigint", []string{"-9223372036854775808", "9223372036854775807", "NULL"}},
	{"bigint unsigned", []string{"18446744073709551615", "0", "NULL"}},
	{"decimal(10,3)", []string{"0", "1.500", "-7.25", "9999999.999", "NULL"}},
	{"decimal(30,10)", []string{"1.5", "12345678901234567890.5", "NULL"}},
	{"char(6) character set utf8mb4 collate utf8mb4_bin", []string{"''", "'ab'", "'AB '", "'ü'", "NULL"}},
	{"varchar(200) character set utf8mb4 collate utf8mb4_bin", []string{"''", "'a '", "'Grüße 🙂'", "repeat('x', 150)", "NULL"}},
	{"varchar(200) character set utf8mb4 collate utf8mb4_general_ci", []string{"''", "'Ab '", "'ü'", "NULL"}},
	{"varchar(20) character set latin1", []string{"'a'", "'ü'", "NULL"}},
	{"varchar(20) character set utf8mb3 collate utf8mb3_general_ci", []string{"'a'", "'B'", "NULL"}},
	{"text character set utf8mb4 collate utf8mb4_bin", []string{"'a'", "''", "NULL"}},
	{"binary(4)", []string{"'ab'", "x'00000000'", "x'01000200'", "NULL"}},
	{"varbinary(10)", []string{"''", "x'0100'", "NULL"}},
	{"blob", []string{"''", "x'00ff00'", "repeat('y', 90)", "NULL"}},
	{"uuid", []string{"'123e4567-e89b-12d3-a456-426655440000'", "NULL"}},
	{"enum('glad','sad')", []string{"'glad'", "NULL"}},
	{"bit(9)", []string{"b'100000001'", "NULL"}},
	{"datetime(6)", []string{"'2026-01-02 03:04:05.123456'", "NULL"}},
	{"year", []string{"2026", "NULL"}},
	{"double", []string{"1.5", "NULL"}},
	{"json", []string{`'{"a":1}'`, "NULL"}},
}

// obey writes each value as another one would, and compares what the images of the log
// drop with what the values as the driver gives them are kept under.
func obey(t *testing.T, f *fixture.Fixture, d conj.Dialect, laws []law, p follower, told func(testing.TB, *fixture.Fixture, follower)) {
	t.Helper()
	var names []string
	for i, l := range laws {
		names = append(names, fmt.Sprintf("c%d %s", i, l.kind))
	}
	execute(t, f, "CREATE TABLE laws (id INT PRIMARY KEY, "+strings.Join(names, ", ")+")")
	if d == conj.PostgreSQL {
		execute(t, f, "ALTER TABLE laws REPLICA IDENTITY FULL")
	}
	execute(t, f, "INSERT INTO laws (id) VALUES (0)") // so that the follower has met the table
	told(t, f, p)
	pool, err := f.Plain.DB()
	require.NoError(t, err)
	table, err := catalog.New(d).Table(t.Context(), pool, conj.TableName{Name: "laws"}, false)
	require.NoError(t, err)
	id := 0
	for i, l := range laws {
		column := table.Columns()[i+1]
		for _, value := range l.values {
			id++
			t.Run(l.kind+" "+value, func(t *testing.T) {
				execute(t, f, fmt.Sprintf("INSERT INTO laws (id, c%d) VALUES (%d, %s)", i, id, value))
				// What the plugin's own readers find, and with which values.
				var raw any
				require.NoError(t, scan(t.Context(), pool, fmt.Sprintf("SELECT c%d FROM laws WHERE id = %d", i, id), &raw))
				want := column.FromRow(d, raw)
				told(t, f, p)
				f.Events.Take()
				read := func() {
					var ids []int64
					require.NoError(t, f.DB.Table("laws").Where(condition(i, raw), arguments(t, column.Kind, raw)...).Pluck("id", &ids).Error)
				}
				read()
				require.Equal(t, "hit", f.Outcome(read), "of kind %s, %q", column.Kind, want)
				execute(t, f, fmt.Sprintf("UPDATE laws SET id = id + 1000 WHERE id = %d", id))
				told(t, f, p)
				require.Equal(t, "miss", f.Outcome(read), "an old and a new row of kind %s, %q", column.Kind, want)

				// Another row, of which the value is not this one, drops nothing where
				// the column narrows.
				require.Equal(t, "hit", f.Outcome(read))
				f.Events.Take()
				if want == "" || want == conj.NotNull || want == conj.Null {
					return
				}
				execute(t, f, "UPDATE laws SET id = id + 5000 WHERE id = 0")
				told(t, f, p)
				outcome := f.Outcome(read)
				execute(t, f, "UPDATE laws SET id = 0 WHERE id = 5000")
				told(t, f, p)
				require.Equal(t, "hit", outcome, "a row without a value, of kind %s", column.Kind)
			})
		}
	}
}

func condition(i int, raw any) string {
	if raw == nil {
		return fmt.Sprintf("c%d IS NULL", i)
	}
	return fmt.Sprintf("c%d = ?", i)
}

// arguments gives a value that was read as a program would ask for it.
func arguments(t *testing.T, kind conj.Kind, raw any) []any {
	text, ok := raw.([]byte)
	switch {
	case raw == nil:
		return nil
	case !ok || kind == conj.Bytes:
		return []any{raw}
	case kind != conj.Integer:
		return []any{string(text)}
	}
	if n, err := strconv.ParseInt(string(text), 10, 64); err == nil {
		return []any{n}
	}
	n, err := strconv.ParseUint(string(text), 10, 64)
	require.NoError(t, err)
	return []any{n}
}

func scan(ctx context.Context, db *sql.DB, query string, into ...any) error {
	return db.QueryRowContext(ctx, query).Scan(into...)
}

func TestPostgres_values_of_the_log_are_those_of_rows(t *testing.T) {
	f, c := onPostgres(t, true, fixture.Options{})
	execute(t, f, "CREATE TYPE mood AS ENUM ('glad', 'sad')")
	p := newPostgres(t, f, c)
	run(t, p)
	obey(t, f, conj.PostgreSQL, postgresLaws, p, toldPostgres)
}

func TestMariaDB_values_of_the_log_are_those_of_rows(t *testing.T) {
	f, c := onMariaDB(t, fixture.Options{})
	p := newMariaDB(t, f, c)
	run(t, p)
	obey(t, f, conj.MySQL, mariadbLaws, p, toldMariaDB)
}
