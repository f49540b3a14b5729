package rowset

import (
	"database/sql"
	"database/sql/driver"
	"encoding/json"
	"fmt"
	"math"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"
	"gorm.io/gorm"

	"github.com/cacheplugin/cacheplugin/integration/testdb"
	"github.com/cacheplugin/cacheplugin/internal/rowset"
	"github.com/cacheplugin/cacheplugin/internal/testenv"
)

// table is a table with a column of every type that a database has.
type table struct {
	create  []string
	insert  []string
	queries []query
	options []string // of the connection, each of which changes what the driver returns
}

type query struct {
	text  string
	args  []any
	fails bool // on the way, in the server or in the driver; not with every option
}

var tables = map[string]table{
	"sqlite": {
		create: []string{`CREATE TABLE types (
			id INTEGER PRIMARY KEY, i INT, big BIGINT, u UNSIGNED BIG INT, tiny TINYINT(1), b BOOLEAN, r REAL, d DOUBLE, f FLOAT,
			n NUMERIC, dec DECIMAL(10,2), t TEXT, vc VARCHAR(20), c CLOB, bl BLOB, dt DATETIME, da DATE, ts TIMESTAMP,
			j JSON, untyped, uu UUID)`},
		insert: []string{
			`INSERT INTO types VALUES (1, -5, 9223372036854775807, 7, 1, 1, 1.5, 2.25, 3.125, 12.50, '10.20', 'text', 'vc', 'clob',
				x'00ff', '2024-02-29 12:30:00.123456789+02:00', '2024-02-29', '2024-02-29 12:30:00', '{"a":1}', 'any', 'u-1')`,
			`INSERT INTO types (id) VALUES (2)`,
			`INSERT INTO types VALUES (3, 'not a number', -9223372036854775808, 0, 0, 0, 1e308, -0.0, 9e999, 'NaN', 5, '', '', '',
				x'', 1709209800, 1709209800123, '0001-01-01 00:00:00', '[]', x'0102', NULL)`,
			`INSERT INTO types VALUES (4, 1.5, 'x', x'00', 2, 'true', 'r', NULL, 1, 'n', 1.0, 42, 4.5, x'636c6f62', 'text in blob',
				'not a time', '9999-12-31', '2024-02-29T12:30:00Z', 'null', 1.25, 3)`,
		},
		queries: []query{
			{text: "SELECT * FROM types ORDER BY id"},
			{text: "SELECT * FROM types WHERE id > ? ORDER BY id", args: []any{0}},
			{text: "SELECT count(*), max(dt), min(r), dt || '', i + 1, NULL, count(*) > 0 AS yes, sum(b) FROM types"},
			{text: "SELECT * FROM types WHERE id < 0"},
		},
		options: []string{"_loc=America/New_York", "_loc=auto"},
	},
	"postgres": {
		create: []string{
			`CREATE TYPE mood AS ENUM ('sad', 'happy')`, `CREATE TYPE pair AS (a int, b text)`,
			`CREATE DOMAIN positive AS int CHECK (VALUE > 0)`,
			`CREATE TABLE types (
			id bigserial PRIMARY KEY, i2 smallint, i4 int, i8 bigint, f4 real, f8 double precision, n numeric, n2 numeric(10,2), mo money,
			b boolean, c char(5), vc varchar(20), vcu varchar, t text, nm name, ch "char", by bytea, d date, tm time, tmtz timetz,
			ts timestamp, tstz timestamptz, tsp timestamp(3), iv interval, u uuid, j json, jb jsonb, x xml, ine inet, cid cidr,
			mac macaddr, bi bit(3), vb bit varying(8), po point, ia int[], ta text[], by2 bytea[], r int4range, tr tstzrange, m mood,
			p pair, dm positive, o oid, rc regclass, tv tsvector, tq tsquery, ls pg_lsn, hs int4multirange)`},
		insert: []string{
			`INSERT INTO types VALUES (1, -2, 4, 9223372036854775807, 1.5, 2.25, 12.50, 10.2, 12.34, true, 'abc', 'vc', 'vcu', 'text', 'nm', 'c',
				'\x00ff', '2024-02-29', '12:30:00.123456', '12:30:00+02', '2024-02-29 12:30:00.123456', '2024-02-29 12:30:00.123456+02',
				'2024-02-29 12:30:00.123', '1 year 2 days 3 hours', 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', '{"a": 1}', '{"b": [1, null]}',
				'<a>b</a>', '10.0.0.1', '10.0.0.0/8', '08:00:2b:01:02:03', B'101', B'1011', '(1,2)', '{1,2,NULL}', '{a,"b c",NULL}', '{"\\x01"}',
				'[1,5)', '[2024-01-01,2024-02-01)', 'happy', ROW(1, 'x'), 3, 16384, 'pg_class', 'a b', 'a & b', '16/B374D848', '{[1,3)}')`,
			`INSERT INTO types (id) VALUES (2)`,
			`INSERT INTO types (id, i2, f4, f8, n, vc, t, by, d, ts, tstz, ia, j) VALUES
				(3, -32768, 'Infinity', 'NaN', 'NaN', '', '', '', 'infinity', '-infinity', 'infinity', '{}', 'null')`,
			`INSERT INTO types (id, f4, f8, d, ts, tstz, t) VALUES
				(5, '-0', '-0', '0044-03-15 BC', '0044-03-15 12:00:00 BC', '0001-01-01 00:00:00+00', E'line\nbreak \u00e9')`,
			`INSERT INTO types (id, d, ts, tstz) VALUES (6, '20000-01-01', '20000-01-01 00:00:00', '1890-06-01 12:00:00+00')`,
		},
		queries: []query{
			{text: "SELECT * FROM types WHERE id < 6 ORDER BY id"},
			{text: "SELECT * FROM types WHERE id < $1 ORDER BY id", args: []any{6}},
			{text: "SELECT * FROM types WHERE id < 6 ORDER BY id", args: []any{pgx.QueryExecModeSimpleProtocol}},
			{text: "SELECT * FROM types WHERE id < $1 ORDER BY id", args: []any{pgx.QueryExecModeExec, 6}},
			{text: "SELECT count(*), max(tstz), avg(i4), sum(i8), array_agg(id), NULL, 'literal', now() - now() FROM types"},
			{text: "SELECT FROM types"},
			{text: "SELECT * FROM types ORDER BY id", fails: true}, // pgx can't read a year of five digits as text
			{text: "SELECT 1 / (4 - id) FROM types ORDER BY id", fails: true},
			{text: "SELECT * FROM types WHERE id < 0"},
		},
		options: []string{"TimeZone=Asia/Tokyo", "default_query_exec_mode=simple_protocol"},
	},
	"mysql": {
		create: []string{`CREATE TABLE types (
			id bigint unsigned AUTO_INCREMENT PRIMARY KEY, i1 tinyint, i1n tinyint NOT NULL DEFAULT 0, b bool, i2 smallint, i2u smallint unsigned NOT NULL DEFAULT 7,
			i3 mediumint, i4 int, i4n int NOT NULL DEFAULT 1, i4u int unsigned, i8 bigint, i8u bigint unsigned, f float, fn float NOT NULL DEFAULT 1.5,
			d double, dn double NOT NULL DEFAULT 2.5, de decimal(10,2), den decimal(20,0) NOT NULL DEFAULT 3, bi bit(10), c char(5),
			vc varchar(20), vcn varchar(20) NOT NULL DEFAULT 'x', tt tinytext, t text, mt mediumtext, lt longtext, bin binary(4), vb varbinary(8),
			tb tinyblob, bl blob, mb mediumblob, lb longblob, e enum('a','b'), s set('x','y'), j json, da date, dt datetime, dt6 datetime(6),
			ts timestamp NULL, ts6 timestamp(6) NULL, tm time, tm3 time(3), y year, po point)`},
		insert: []string{
			`INSERT INTO types VALUES (1, -1, 1, true, -2, 2, 3, 4, 5, 4294967295, 9223372036854775807, 18446744073709551615, 1.5, 2.5, 3.25, 4.25,
				'10.20', '12345678901234567890', b'1010101010', 'abc', 'vc', 'vcn', 'tt', 'text', 'mt', 'lt', 'bin', 'vb', 'tb', 'bl', 'mb', 'lb', 'a', 'x,y',
				'{"a": 1}', '2024-02-29', '2024-02-29 12:30:00', '2024-02-29 12:30:00.123456', '2024-02-29 12:30:00', '2024-02-29 12:30:00.123456',
				'12:30:00', '-100:30:00.123', 2024, ST_GeomFromText('POINT(1 2)'))`,
			`INSERT INTO types (id) VALUES (2)`,
			`INSERT INTO types (id, f, d, vc, t, bl, da, dt, s, y) VALUES (3, -0.0, 1e308, '', '', '', '0001-01-01', '9999-12-31 23:59:59', '', 0)`,
			`SET sql_mode=''`,
			`INSERT INTO types (id, da, dt, ts, e) VALUES (4, '0000-00-00', '0000-00-00 00:00:00', '0000-00-00 00:00:00', 'z')`,
		},
		queries: []query{
			{text: "SELECT * FROM types ORDER BY id"},                              // the text protocol
			{text: "SELECT * FROM types WHERE id > ? ORDER BY id", args: []any{0}}, // the binary protocol
			{text: "SELECT count(*), max(dt), avg(i4), sum(i8u), NULL, 'literal', now() IS NULL, group_concat(id) FROM types"},
			{text: "SELECT * FROM types WHERE id < 0"},
		},
		options: []string{"loc=America%2FNew_York", "parseTime=false", "interpolateParams=true"},
	},
}

// each runs test on every database, with each of the options.
func each(t *testing.T, test func(t *testing.T, db *gorm.DB, types table)) {
	for _, database := range testdb.Databases(t) {
		if database.Name == testenv.SQLiteFile {
			continue // the same driver
		}
		t.Run(database.Name, func(t *testing.T) {
			types := tables[database.Dialect]
			dsn := database.Create(t)
			fill(t, database.Connect(t, dsn, nil), types)
			for _, option := range append([]string{""}, types.options...) {
				t.Run("option "+option, func(t *testing.T) {
					test(t, database.Connect(t, withOption(dsn, option), nil), types)
				})
			}
		})
	}
}

func fill(t *testing.T, db *gorm.DB, types table) {
	pool, err := db.DB()
	require.NoError(t, err)
	conn, err := pool.Conn(t.Context()) // SET is of a session
	require.NoError(t, err)
	defer conn.Close()
	for _, statement := range append(types.create, types.insert...) {
		_, err := conn.ExecContext(t.Context(), statement)
		require.NoError(t, err, statement)
	}
}

// withOption adds an option to a DSN, in place of the one of that name.
func withOption(dsn, option string) string {
	if option == "" {
		return dsn
	}
	name, _, _ := strings.Cut(option, "=")
	base, all, _ := strings.Cut(dsn, "?")
	options := strings.FieldsFunc(all, func(r rune) bool { return r == '&' })
	options = slices.DeleteFunc(options, func(o string) bool { return strings.HasPrefix(o, name+"=") })
	return base + "?" + strings.Join(append(options, option), "&")
}

// ways are how a result reaches its reader. capture is run first: it gives the payload that replay needs.
type ways struct {
	t       *testing.T
	pool    *sql.DB
	query   query
	payload []byte
	reason  string
}

func (w *ways) live() *sql.Rows {
	rows, err := w.pool.QueryContext(w.t.Context(), w.query.text, w.query.args...)
	require.NoError(w.t, err)
	return rows
}

func (w *ways) teed() *sql.Rows { return tee(w.t, w.live(), nil) }

func (w *ways) replayed() *sql.Rows { return replay(w.t, w.payload) }

// capture reports whether the result can be replayed, which it must unless the query fails.
func (w *ways) capture() bool {
	rows := tee(w.t, w.live(), func(r rowset.Recording) { w.payload, w.reason = r.Payload, r.Reason })
	for rows.Next() {
		require.Nil(w.t, w.payload)
	}
	if w.query.fails && rows.Err() != nil {
		require.Equal(w.t, rowset.ReasonError, w.reason)
		return false
	}
	require.NoError(w.t, rows.Err())
	require.NotNil(w.t, w.payload, w.reason)
	return true
}

func tee(t *testing.T, live *sql.Rows, done func(rowset.Recording)) *sql.Rows {
	src, err := rowset.Tee(live, rowset.TeeOptions{Done: done})
	require.NoError(t, err)
	rows, err := rowset.Rows(src)
	require.NoError(t, err)
	return rows
}

func replay(t *testing.T, payload []byte) *sql.Rows {
	src, err := rowset.Decode(payload)
	require.NoError(t, err)
	rows, err := rowset.Rows(src)
	require.NoError(t, err)
	return rows
}

// TestTeedAndReplayedRowsAreAsLiveOnes reads every column of every type into every kind of destination.
func TestTeedAndReplayedRowsAreAsLiveOnes(t *testing.T) {
	each(t, func(t *testing.T, db *gorm.DB, types table) {
		pool, err := db.DB()
		require.NoError(t, err)
		for i, q := range types.queries {
			t.Run(fmt.Sprintf("query %d", i), func(t *testing.T) {
				w := &ways{t: t, pool: pool, query: q}
				captured := w.capture()
				require.Equal(t, columnsOf(t, w.live()), columnsOf(t, w.teed()))
				if captured {
					require.Equal(t, columnsOf(t, w.live()), columnsOf(t, w.replayed()))
				}
				for name, destination := range destinations {
					want := scanned(t, w.live(), destination)
					require.Equal(t, want, scanned(t, w.teed(), destination), "%s, teed", name)
					if captured {
						require.Equal(t, want, scanned(t, w.replayed(), destination), "%s, replayed", name)
					}
				}
			})
		}
	})
}

func columnsOf(t *testing.T, rows *sql.Rows) []*sql.ColumnType {
	defer rows.Close()
	types, err := rows.ColumnTypes()
	require.NoError(t, err)
	names, err := rows.Columns()
	require.NoError(t, err)
	for i := range types {
		require.Equal(t, types[i].Name(), names[i])
	}
	return types
}

// keeper is a Scanner that tells what it was given.
type keeper struct{ got string }

func (k *keeper) Scan(src any) error {
	k.got = exactly(src)
	return nil
}

var destinations = map[string]func() any{
	"any":          func() any { return new(any) },
	"string":       func() any { return new(string) },
	"bytes":        func() any { return new([]byte) },
	"RawBytes":     func() any { return new(sql.RawBytes) },
	"RawMessage":   func() any { return new(json.RawMessage) },
	"int64":        func() any { return new(int64) },
	"uint8":        func() any { return new(uint8) },
	"uint64":       func() any { return new(uint64) },
	"float32":      func() any { return new(float32) },
	"float64":      func() any { return new(float64) },
	"bool":         func() any { return new(bool) },
	"time":         func() any { return new(time.Time) },
	"pointer":      func() any { return new(*string) },
	"time pointer": func() any { return new(*time.Time) },
	"NullString":   func() any { return new(sql.NullString) },
	"NullInt64":    func() any { return new(sql.NullInt64) },
	"NullFloat64":  func() any { return new(sql.NullFloat64) },
	"NullBool":     func() any { return new(sql.NullBool) },
	"NullTime":     func() any { return new(sql.NullTime) },
	"Null[bytes]":  func() any { return new(sql.Null[[]byte]) },
	"Scanner":      func() any { return new(keeper) },
	"DeletedAt":    func() any { return new(gorm.DeletedAt) },
}

// scanned reads rows once, each column into a destination of its own, and tells what arrived. database/sql stops a
// Scan at the first column that fails, so columns are scanned one at a time.
func scanned(t *testing.T, rows *sql.Rows, destination func() any) []string {
	defer rows.Close()
	names, err := rows.Columns()
	require.NoError(t, err)
	var got []string
	for rows.Next() {
		for i, name := range names {
			dest := make([]any, len(names))
			for j := range dest {
				dest[j] = ignore{}
			}
			dest[i] = destination()
			if err := rows.Scan(dest...); err != nil {
				got = append(got, name+": "+err.Error())
				continue
			}
			got = append(got, name+": "+exactly(reflect.ValueOf(dest[i]).Elem().Interface()))
			if _, raw := dest[i].(*sql.RawBytes); raw {
				break // database/sql lets a row be scanned but once then
			}
		}
	}
	if err := rows.Err(); err != nil {
		got = append(got, err.Error())
	}
	return got
}

type ignore struct{}

func (ignore) Scan(any) error { return nil }

// exactly tells everything of a value that a program could see.
func exactly(v any) string {
	switch v := v.(type) {
	case float64:
		return fmt.Sprintf("float64 %x", math.Float64bits(v))
	case float32:
		return fmt.Sprintf("float32 %x", math.Float32bits(v))
	case time.Time:
		return fmt.Sprintf("time %v %v %d UTC=%t Local=%t %#v", v, v.Location(), v.UnixMicro(),
			v.Location() == time.UTC, v.Location() == time.Local, v)
	case driver.Valuer:
		if r := reflect.ValueOf(v); r.Kind() == reflect.Struct {
			var fields []string
			for i := range r.NumField() {
				fields = append(fields, exactly(r.Field(i).Interface()))
			}
			return fmt.Sprintf("%T{%s}", v, strings.Join(fields, ", "))
		}
	case *string:
		if v != nil {
			return "pointer to " + exactly(*v)
		}
	case *time.Time:
		if v != nil {
			return "pointer to " + exactly(*v)
		}
	case []byte, sql.RawBytes, json.RawMessage:
		return fmt.Sprintf("%T %q nil=%t", v, v, reflect.ValueOf(v).IsNil())
	}
	return fmt.Sprintf("%T %#v", v, v)
}

// TestDriversHideNothingFromATee fails when a driver's rows get a method that database/sql might use and that a tee
// does not pass on: a driver that scans into destinations itself, say.
func TestDriversHideNothingFromATee(t *testing.T) {
	passedOn := []string{
		"Close", "ColumnTypeDatabaseTypeName", "ColumnTypeLength", "ColumnTypeNullable", "ColumnTypePrecisionScale",
		"ColumnTypeScanType", "Columns", "HasNextResultSet", "Next", "NextResultSet",
	}
	own := map[string][]string{"sqlite": {"DeclTypes"}} // of no interface
	each(t, func(t *testing.T, db *gorm.DB, _ table) {
		pool, err := db.DB()
		require.NoError(t, err)
		conn, err := pool.Conn(t.Context())
		require.NoError(t, err)
		defer conn.Close()
		require.NoError(t, conn.Raw(func(c any) error {
			rows, err := c.(driver.QueryerContext).QueryContext(t.Context(), "SELECT 1", nil)
			require.NoError(t, err)
			defer rows.Close()
			for i := range reflect.TypeOf(rows).NumMethod() {
				require.Contains(t, append(passedOn, own[db.Name()]...), reflect.TypeOf(rows).Method(i).Name)
			}
			return nil
		}))
	})
}
