package catalog

import (
	"context"
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cacheplugin/cacheplugin/conj"
)

// hazard is a pair of spellings that the database deems equal.
type hazard struct {
	name          string
	dialect       conj.Dialect
	declared      string
	stored, param any
	// narrows: both spellings have a canonical form, which then must be one.
	// Otherwise the parameter or the row must have none.
	narrows bool
}

var hazards = []hazard{
	{"an integer's text", conj.PostgreSQL, "bigint", 5, "5", true},
	{"an integer's text with zeros", conj.PostgreSQL, "bigint", 5, "005", false},
	{"an integer's text with blanks", conj.PostgreSQL, "bigint", 5, " 5 ", false},
	{"an integer as a whole float", conj.PostgreSQL, "bigint", 5, 5.0, false},
	{"an integer above 2^53 by its text", conj.PostgreSQL, "bigint", int64(1<<53 + 1), "9007199254740993", true},
	{"a boolean's word", conj.PostgreSQL, "boolean", true, "yes", false},
	{"a boolean", conj.PostgreSQL, "boolean", true, true, true},
	{"a decimal's trailing zeros", conj.PostgreSQL, "numeric", "1.5", "1.500", true},
	{"a decimal's leading zeros", conj.PostgreSQL, "numeric", "1.5", "01.5", true},
	{"a decimal by an integer", conj.PostgreSQL, "numeric(10,2)", "5.00", 5, true},
	{"a decimal's exponent", conj.PostgreSQL, "numeric", "15", "1.5e1", false},
	{"a decimal by a float", conj.PostgreSQL, "numeric", "1.5", 1.5, false},
	{"not a number", conj.PostgreSQL, "numeric", "NaN", "nan", false},
	{"a float", conj.PostgreSQL, "double precision", 1.5, "1.50", false},
	{"text", conj.PostgreSQL, "text", "A ", "A ", true},
	{"varchar", conj.PostgreSQL, "varchar(5)", "á", "á", true},
	{"padded char", conj.PostgreSQL, "char(5)", "xy", "xy  ", false},
	{"a nondeterministic collation", conj.PostgreSQL, "text COLLATE ignoring_case", "ABC", "abc", false},
	{"citext by a domain", conj.PostgreSQL, "folded", "ABC", "abc", false},
	{"a domain of integers", conj.PostgreSQL, "positive", 5, "5", true},
	{"an enum's label", conj.PostgreSQL, "mood", "sad", "sad", true},
	{"uuid in braces and capitals", conj.PostgreSQL, "uuid", "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11", "{A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11}", true},
	{"uuid without dashes", conj.PostgreSQL, "uuid", "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11", "a0eebc999c0b4ef8bb6d6bb9bd380a11", true},
	{"uuid by bytes", conj.PostgreSQL, "uuid", "30313233-3435-3637-3839-616263646566", []byte("0123456789abcdef"), true},
	{"uuid by too many bytes", conj.PostgreSQL, "uuid", "30313233-3435-3637-3839-616263646566", []byte("0123456789abcdef and more"), false},
	{"bytes", conj.PostgreSQL, "bytea", []byte("a\x00"), []byte("a\x00"), true},
	{"bytes by hexadecimal text", conj.PostgreSQL, "bytea", []byte("a"), `\x61`, false},
	{"a time's precision", conj.PostgreSQL, "timestamp(3)", "2024-02-29 12:30:15.1236", "2024-02-29 12:30:15.124", false},
	{"a time's zone", conj.PostgreSQL, "timestamptz", "2024-02-29 12:30:15+00", "2024-02-29 13:30:15+01", false},
	{"a time", conj.PostgreSQL, "timestamptz", time.Unix(1e9, 0), time.Unix(1e9, 0).UTC(), false},
	{"jsonb", conj.PostgreSQL, "jsonb", `{"a":1}`, `{ "a": 1 }`, false},
	{"an address", conj.PostgreSQL, "inet", "::1", "0:0:0:0:0:0:0:1", false},

	{"an integer's text", conj.MySQL, "bigint", 5, "5", true},
	{"an integer's text and more", conj.MySQL, "bigint", 5, "5abc", false},
	{"an integer as a whole float", conj.MySQL, "bigint", 5, 5.0, false},
	{"an integer's fraction", conj.MySQL, "bigint", 5, "5.0", false},
	{"zero by any text", conj.MySQL, "bigint", 0, "abc", false},
	{"unsigned above int64", conj.MySQL, "bigint unsigned", uint64(math.MaxUint64), uint64(math.MaxUint64), true},
	{"unsigned above int64 by its text", conj.MySQL, "bigint unsigned", uint64(math.MaxUint64), "18446744073709551615", false},
	{"ZEROFILL", conj.MySQL, "int(6) zerofill", 5, 5, true},
	{"a boolean that is two", conj.MySQL, "tinyint(1)", 2, 2, true},
	{"a boolean", conj.MySQL, "tinyint(1)", 1, true, true},
	{"a decimal's trailing zeros", conj.MySQL, "decimal(10,3)", "1.5", "1.50", true},
	{"a decimal of more digits than a float's", conj.MySQL, "decimal(30,20)", "0.30000000000000000001", "0.30000000000000000001", false},
	{"a bit", conj.MySQL, "bit(4)", 5, 5, false},
	{"a year", conj.MySQL, "year", 2024, 24, false},
	{"text without regard to case", conj.MySQL, "varchar(40) COLLATE utf8mb4_general_ci", "ABC", "aBc", true},
	{"text without regard to accents", conj.MySQL, "varchar(40) COLLATE utf8mb4_general_ci", "abc", "Ábc", false},
	{"text with an accent", conj.MySQL, "varchar(40) COLLATE utf8mb4_general_ci", "Ábc", "abc", false},
	{"text with trailing blanks", conj.MySQL, "varchar(40) COLLATE utf8mb4_general_ci", "Abc", "Abc   ", true},
	{"text with an ignored character", conj.MySQL, "varchar(40) COLLATE utf8mb4_unicode_ci", "ab", "a\x01b", false},
	{"an expansion", conj.MySQL, "varchar(40) COLLATE utf8mb4_unicode_ci", "ss", "ß", false},
	{"a language's letters", conj.MySQL, "varchar(40) COLLATE utf8mb4_turkish_ci", "ı", "I", false},
	{"any text by zero", conj.MySQL, "varchar(40) COLLATE utf8mb4_general_ci", "abc", 0, false},
	{"text by a number", conj.MySQL, "varchar(40) COLLATE utf8mb4_bin", "5abc", 5, false},
	{"binary collation with trailing blanks", conj.MySQL, "varchar(40) COLLATE utf8mb4_bin", "Ábc", "Ábc  ", true},
	{"char", conj.MySQL, "char(8) COLLATE utf8mb4_bin", "xy", "xy ", true},
	{"an enum's index", conj.MySQL, "enum('a','b')", "b", 2, false},
	{"an enum's label", conj.MySQL, "enum('a','b')", "b", "B", false},
	{"a set's number", conj.MySQL, "set('a','b')", "a,b", 3, false},
	{"bytes", conj.MySQL, "varbinary(40)", []byte("a\x00"), []byte("a\x00"), true},
	{"bytes by text", conj.MySQL, "varbinary(40)", []byte("a"), "a", false},
	{"fixed bytes", conj.MySQL, "binary(4)", []byte("a"), []byte("a\x00\x00\x00"), true},
	{"uuid in capitals", conj.MySQL, "uuid", "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11", "A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11", true},
	{"uuid by bytes", conj.MySQL, "uuid", "00000000-0000-0100-8000-000000000000", []byte("\x00\x00\x00\x00\x00\x00\x80\x00\x01\x00\x00\x00\x00\x00\x00\x00"), false},
	{"a time's fraction", conj.MySQL, "datetime(3)", "2024-02-29 12:30:15.124", "2024-02-29 12:30:15.1240", false},

	{"an integer's text", conj.SQLite, "integer", 5, "5", true},
	{"an integer's text with zeros", conj.SQLite, "integer", 5, "05", false},
	{"an integer as a whole float", conj.SQLite, "integer", 5, 5.0, true},
	{"an integer above 2^53 as a float", conj.SQLite, "integer", int64(1 << 53), float64(1 << 53), false},
	{"a fraction in an integer column", conj.SQLite, "integer", 1.5, 1.5, true},
	{"text in an integer column", conj.SQLite, "integer", "abc", "abc", true},
	{"bytes in an integer column", conj.SQLite, "integer", []byte("5"), []byte("5"), false},
	{"GORM's boolean", conj.SQLite, "numeric", true, 1, true},
	{"GORM's boolean by true", conj.SQLite, "numeric", 1, true, true},
	{"a boolean", conj.SQLite, "boolean", 1, true, true},
	{"a boolean that is two", conj.SQLite, "boolean", 2, 2, false},
	{"a boolean by text", conj.SQLite, "boolean", true, "1", false},
	{"a decimal by text", conj.SQLite, "decimal(10,2)", 1.5, "1.50", false},
	{"a decimal by a float", conj.SQLite, "decimal(10,2)", "1.50", 1.5, true},
	{"a uuid in a column of that name", conj.SQLite, "uuid", "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11", "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11", true},
	{"a real", conj.SQLite, "real", 1.0, 1, false},
	{"text", conj.SQLite, "text", "Á ", "Á ", true},
	{"text by a number", conj.SQLite, "text", "5", 5, false},
	{"text without regard to case", conj.SQLite, "text COLLATE NOCASE", "ABC", "abc", false},
	{"text without trailing blanks", conj.SQLite, "text COLLATE RTRIM", "a", "a  ", false},
	{"bytes in a text column", conj.SQLite, "text", []byte("a"), []byte("a"), false},
	{"bytes", conj.SQLite, "blob", []byte("a"), []byte("a"), true},
	{"text in a bytes column", conj.SQLite, "blob", "a", "a", false},
	{"a time by its text", conj.SQLite, "datetime", "2024-02-29 12:30:15+00:00", time.Date(2024, 2, 29, 12, 30, 15, 0, time.UTC), false},
	{"a time by seconds", conj.SQLite, "datetime", 5, 5, false},
}

// TestHazards shows each hazard on the database, and that it is none here.
func TestHazards(t *testing.T) {
	onTargets(t, func(t *testing.T, to target) {
		if to.dialect == conj.PostgreSQL {
			for _, ddl := range []string{
				`CREATE COLLATION ignoring_case (provider = icu, locale = 'und-u-ks-level2', deterministic = false)`,
				`CREATE DOMAIN folded AS text COLLATE ignoring_case`,
				`CREATE DOMAIN positive AS integer CHECK (VALUE > 0)`,
				`CREATE TYPE mood AS ENUM ('sad', 'happy')`,
			} {
				_, err := to.ways[0].ExecContext(context.Background(), ddl)
				require.NoError(t, err)
			}
		}
		var own []hazard
		var declared []string
		for _, h := range hazards {
			if h.dialect == to.dialect {
				own = append(own, h)
				declared = append(declared, h.declared)
			}
		}
		columns := to.create(t, declared)
		for c, h := range own {
			t.Run(h.name, func(t *testing.T) {
				require.True(t, to.insert(c, c, h.stored))
				require.Contains(t, to.finder(t, c)(h.param), int64(c), "the database does not deem them equal")
				for _, row := range to.rows(t, c)[int64(c)] {
					known, err := law(columns[c], to.dialect, row, h.param)
					require.NoError(t, err)
					require.Equal(t, h.narrows, known, "row %T %#v", row, row)
				}
			})
		}
	})
}

// TestNullIsExactInEveryColumn: IS NULL narrows by any type.
func TestNullIsExactInEveryColumn(t *testing.T) {
	onTargets(t, func(t *testing.T, to target) {
		for _, column := range to.create(t, types(to.dialect)) {
			require.Equal(t, conj.Null, column.FromRow(to.dialect, nil))
			require.NotEqual(t, conj.Null, column.FromRow(to.dialect, ""))
		}
	})
}
