package rows_test

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"io"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cacheplugin/cacheplugin/conj"
	"github.com/cacheplugin/cacheplugin/internal/catalog"
	"github.com/cacheplugin/cacheplugin/internal/rows"
)

// server stands for a PostgreSQL or MySQL server: it writes down the queries and
// their arguments, and answers them in turn.
type server struct {
	answers []answer
	asked   []string
	args    [][]any
}

// answer is the rows that a query returns, or its error.
type answer struct {
	rows [][]driver.Value
	err  error
}

func (s *server) Connect(context.Context) (driver.Conn, error) { return s, nil }
func (s *server) Driver() driver.Driver                        { return nil }
func (s *server) Prepare(string) (driver.Stmt, error)          { return nil, errBroken }
func (s *server) Close() error                                 { return nil }
func (s *server) Begin() (driver.Tx, error)                    { return nil, errBroken }

func (s *server) QueryContext(_ context.Context, query string, args []driver.NamedValue) (driver.Rows, error) {
	values := []any{}
	for _, arg := range args {
		values = append(values, arg.Value)
	}
	s.asked, s.args = append(s.asked, query), append(s.args, values)
	if len(s.answers) == 0 {
		return nil, errBroken
	}
	next := s.answers[0]
	s.answers = s.answers[1:]
	if next.err != nil {
		return nil, next.err
	}
	return &result{next.rows}, nil
}

type result struct{ left [][]driver.Value }

func (r *result) Columns() []string {
	if len(r.left) == 0 {
		return nil
	}
	return make([]string, len(r.left[0]))
}

func (r *result) Close() error { return nil }

func (r *result) Next(dest []driver.Value) error {
	if len(r.left) == 0 {
		return io.EOF
	}
	copy(dest, r.left[0])
	r.left = r.left[1:]
	return nil
}

// remote is a write on a server that is not here. The tables are an SQLite
// database's, which the catalog reads.
type remote struct {
	dialect conj.Dialect
	tables  []string
	cached  []string
	text    string
	args    []any
	arrange func(s *session, o *rows.Options)
	answers []answer
	outcome rows.Outcome

	want  []string // what is noted
	asked []string // the queries for images
	sent  [][]any  // their arguments, if not nil
	lost  error

	warning string // what the one warning begins with
	targets int    // the tables that the text writes, if not one
}

func (r *remote) run(t *testing.T) {
	t.Helper()
	s, options := openSQLite(t, r.tables...)
	s.cache(t, r.cached...)
	backend := &server{answers: r.answers}
	db := sql.OpenDB(backend)
	defer func() { require.NoError(t, db.Close()) }()
	s.conn, s.dialect, options.Dialect = db, r.dialect, r.dialect
	s.server = catalog.Server{Strict: true, DefaultIsolation: "repeatable read"}
	if r.arrange != nil {
		r.arrange(s, &options)
	}
	plan, err := s.compile(t.Context(), r.text)
	require.NoError(t, err)
	require.Len(t, plan.Writes, max(r.targets, 1))

	statement := rows.Begin(t.Context(), s, options, plan, normalized(t, r.args))
	statement.Complete(t.Context(), r.outcome)
	require.Equal(t, r.want, noted(statement))
	require.Equal(t, r.asked, backend.asked)
	if r.sent != nil {
		require.Equal(t, r.sent, backend.args)
	}
	require.ErrorIs(t, statement.Lost(), r.lost)
	if r.warning == "" {
		require.Empty(t, s.warnings)
	} else {
		require.Len(t, s.warnings, 1)
		require.Contains(t, s.warnings[0], r.warning)
	}
}

func affected(n int64) rows.Outcome { return rows.Outcome{Affected: n, LastInsertID: -1} }

func answers(lists ...[][]driver.Value) []answer {
	all := make([]answer, len(lists))
	for i, list := range lists {
		all[i].rows = list
	}
	return all
}

// row is a row of integers.
func row(values ...int64) []driver.Value {
	list := make([]driver.Value, len(values))
	for i, v := range values {
		list[i] = v
	}
	return list
}

// state is an error of PostgreSQL's.
type state string

func (s state) Error() string    { return "SQLSTATE " + string(s) }
func (s state) SQLState() string { return string(s) }

// shop is tables whose names must be quoted, with a column of which only
// whether it is null is read.
var shop = []string{
	`CREATE TABLE owners (id integer PRIMARY KEY, code integer UNIQUE, "the""city" integer, since date)`,
	`CREATE TABLE pets (id integer PRIMARY KEY, owner_id integer, kind integer, FOREIGN KEY (owner_id) REFERENCES owners (id) ON DELETE CASCADE)`,
	"CREATE TABLE seats (\"ro`w\" integer, place integer, guest integer, PRIMARY KEY (\"ro`w\", place))",
}

func TestPostgreSQL(t *testing.T) {
	byCode, byKind := `SELECT * FROM owners WHERE code = 1`, `SELECT * FROM pets WHERE kind = 1`
	const list = `SELECT "id", "code", "the""city", ("since" IS NULL) FROM `
	one := [][]driver.Value{{int64(1), int64(10), int64(5), true}}
	set := [][]driver.Value{{int64(1), int64(11), int64(5), false}}
	for name, test := range map[string]remote{
		"an_update": {
			tables: shop, cached: []string{byCode}, text: `UPDATE owners SET since = $1 WHERE id = $2 OR "the""city" = $3 AND id = $2`, args: []any{"2020-01-01", 1, 9},
			answers: answers(one), outcome: affected(1),
			asked: []string{list + `owners WHERE id = $1 OR "the""city" = $2 AND id = $1 LIMIT 101 FOR NO KEY UPDATE`},
			sent:  [][]any{{int64(1), int64(9)}},
			want:  []string{"rows owners (1 10 5 null) (1 10 5 set)"},
		},
		"an_update_by_an_expression": {
			tables: shop, cached: []string{byCode}, text: `UPDATE owners SET code = code + 1 WHERE id = 1`,
			answers: answers(one, set), outcome: affected(1),
			asked: []string{list + `owners WHERE id = 1 LIMIT 101 FOR NO KEY UPDATE`, list + `"owners" WHERE "id" IN ($1)`},
			want:  []string{"rows owners (1 10 5 null) (1 11 5 set)"},
		},
		"an_update_of_the_key": {
			tables: shop, cached: []string{byCode}, text: `UPDATE owners SET id = 7 WHERE id = 1`,
			answers: answers(one), outcome: affected(1),
			asked: []string{list + `owners WHERE id = 1 LIMIT 101 FOR UPDATE`},
			want:  []string{"rows owners (1 10 5 null) (7 10 5 null)"},
		},
		"an_update_without_rows": {
			tables: shop, cached: []string{byCode}, text: `UPDATE owners SET code = code + 1 WHERE id = 1`,
			answers: answers(nil), outcome: affected(1),
			asked: []string{list + `owners WHERE id = 1 LIMIT 101 FOR NO KEY UPDATE`},
			want:  []string{"table owners"},
		},
		"a_delete_with_its_cascade": {
			tables: shop, cached: []string{byCode, byKind}, text: `DELETE FROM owners WHERE id = $1`, args: []any{1},
			answers: answers(one, [][]driver.Value{row(3, 1, 7)}), outcome: affected(1),
			asked: []string{
				list + `owners WHERE id = $1 LIMIT 101 FOR UPDATE`,
				`SELECT "id", "owner_id", "kind" FROM "main"."pets" WHERE "owner_id" IN ($1) LIMIT 101 FOR UPDATE`,
			},
			want: []string{"rows pets (3 1 7)", "rows owners (1 10 5 null)"},
		},
		"an_upsert": {
			tables: shop, cached: []string{`SELECT * FROM owners WHERE "the""city" = 1`},
			text: `INSERT INTO owners (code, "the""city") VALUES ($1, $2), ($3, $4) ON CONFLICT (code) DO UPDATE SET "the""city" = excluded."the""city"`, args: []any{10, 6, 20, 7},
			answers: answers(one, [][]driver.Value{{int64(1), int64(10), int64(6), true, false}, {int64(2), int64(20), int64(7), true, true}}), outcome: affected(2),
			asked: []string{
				list + `"owners" WHERE "code" IN ($1, $2) FOR NO KEY UPDATE`,
				`SELECT "id", "code", "the""city", ("since" IS NULL), xmax::text = '0' FROM "owners" WHERE "code" IN ($1, $2)`,
			},
			want: []string{"rows owners (1 10 5 null) (1 10 6 null) (2 20 7 null)"},
		},
		"an_upsert_of_a_row_that_came_in_between": {
			tables: shop, cached: []string{`SELECT * FROM owners WHERE "the""city" = 1`},
			text:    `INSERT INTO owners (code, "the""city") VALUES (10, 6) ON CONFLICT (code) DO UPDATE SET "the""city" = 6`,
			answers: answers(nil, [][]driver.Value{{int64(1), int64(10), int64(6), true, false}}), outcome: affected(1),
			asked: []string{
				list + `"owners" WHERE "code" IN ($1) FOR NO KEY UPDATE`,
				`SELECT "id", "code", "the""city", ("since" IS NULL), xmax::text = '0' FROM "owners" WHERE "code" IN ($1)`,
			},
			want: []string{"table owners"},
		},
		"an_upsert_that_sets_the_key": {
			tables: shop, cached: []string{`SELECT * FROM owners WHERE "the""city" = 1`},
			text:    `INSERT INTO owners (code) VALUES (10) ON CONFLICT (code) DO UPDATE SET id = 6`,
			answers: answers(one), outcome: affected(0),
			asked: []string{list + `"owners" WHERE "code" IN ($1) FOR UPDATE`},
			want:  nothing,
		},
		"an_upsert_by_a_key_of_two_columns": {
			tables: shop, cached: []string{`SELECT * FROM seats WHERE guest = 1`},
			text:    "INSERT INTO seats VALUES (1, 2, 3), (4, 5, 6) ON CONFLICT (\"ro`w\", place) DO UPDATE SET guest = excluded.guest",
			answers: answers(nil, [][]driver.Value{{int64(1), int64(2), int64(3), true}, {int64(4), int64(5), int64(6), true}}), outcome: affected(2),
			asked: []string{
				"SELECT \"ro`w\", \"place\", \"guest\" FROM \"seats\" WHERE \"ro`w\" = $1 AND \"place\" = $2 OR \"ro`w\" = $3 AND \"place\" = $4 FOR NO KEY UPDATE",
				"SELECT \"ro`w\", \"place\", \"guest\", xmax::text = '0' FROM \"seats\" WHERE \"ro`w\" = $1 AND \"place\" = $2 OR \"ro`w\" = $3 AND \"place\" = $4",
			},
			want: []string{"rows seats (1 2 3) (4 5 6)"},
		},
		"an_error_that_ends_the_transaction": {
			tables: shop, cached: []string{byCode}, text: `UPDATE owners SET code = 1 WHERE id = 1`,
			answers: []answer{{err: state("40001")}}, outcome: rows.Outcome{Affected: -1, LastInsertID: -1, Err: errBroken},
			asked: []string{list + `owners WHERE id = 1 LIMIT 101 FOR NO KEY UPDATE`},
			want:  []string{"table owners"}, lost: state("40001"),
		},
		"a_delete_whose_children_may_not_be_read": {
			tables: shop, cached: []string{byCode, byKind}, text: `DELETE FROM owners WHERE id = 1`,
			arrange: func(s *session, _ *rows.Options) {
				s.edit = func(table *catalog.Table) {
					for i, key := range table.ForeignKeys {
						unreadable := *key
						unreadable.Readable = false
						table.ForeignKeys[i] = &unreadable
					}
				}
			},
			answers: answers(one), outcome: affected(1),
			asked: []string{list + `owners WHERE id = 1 LIMIT 101 FOR UPDATE`},
			want:  []string{"table pets", "rows owners (1 10 5 null)"},
		},
		"a_truncate": {
			tables: shop, cached: []string{byCode}, text: `TRUNCATE seats`, outcome: affected(-1),
			want: []string{"table seats"},
		},
		"a_truncate_that_cascades": {
			tables: shop, cached: []string{byCode}, text: `TRUNCATE seats CASCADE`,
			arrange: func(s *session, _ *rows.Options) {
				s.edit = func(table *catalog.Table) {
					if table.Name == "seats" {
						table.Referencing = []catalog.Ref{{ID: "main.pets", Name: tableName("", "pets")}}
					}
				}
			},
			outcome: affected(-1),
			want:    []string{"table pets", "table seats"},
		},
		"an_error_of_the_connection": {
			tables: shop, cached: []string{byCode}, text: `UPDATE owners SET code = 1 WHERE id = 1`,
			answers: []answer{{err: io.ErrUnexpectedEOF}}, outcome: rows.Outcome{Affected: -1, LastInsertID: -1, Err: errBroken},
			asked: []string{list + `owners WHERE id = 1 LIMIT 101 FOR NO KEY UPDATE`},
			want:  []string{"table owners"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			test.dialect = conj.PostgreSQL
			test.run(t)
		})
	}
}

func TestMySQL(t *testing.T) {
	byCode, byKind := `SELECT * FROM owners WHERE code = 1`, `SELECT * FROM pets WHERE kind = 1`
	const list = "SELECT `id`, `code`, `the\"city`, (`since` IS NULL) FROM "
	lock := list + "owners WHERE id = ? LIMIT 101 FOR UPDATE"
	one := [][]driver.Value{{int64(1), int64(10), int64(5), int64(1)}}
	text := [][]driver.Value{{[]byte("1"), []byte("11"), []byte("5"), []byte("0")}}
	update := `UPDATE owners SET code = ? WHERE id = ?`
	level := func(isolation sql.IsolationLevel, unknown bool, byDefault string) func(*session, *rows.Options) {
		return func(s *session, o *rows.Options) {
			o.Isolation, o.IsolationUnknown, s.server.DefaultIsolation = isolation, unknown, byDefault
		}
	}
	const onDuplicate = " ON DUPLICATE KEY UPDATE code = VALUES(code)"
	for name, test := range map[string]remote{
		"an_update": {
			tables: shop, cached: []string{byCode}, text: update, args: []any{11, 1},
			answers: answers(one), outcome: affected(1),
			asked: []string{lock}, sent: [][]any{{int64(1)}},
			want: []string{"rows owners (1 10 5 null) (1 11 5 null)"},
		},
		"an_update_of_which_a_row_was_as_it_is_before": {
			tables: shop, cached: []string{byCode}, text: update, args: []any{11, 1},
			answers: answers([][]driver.Value{one[0], {int64(2), int64(11), int64(5), int64(1)}}), outcome: affected(1),
			asked: []string{lock},
			want:  []string{"rows owners (1 10 5 null) (1 11 5 null) (2 11 5 null) (2 11 5 null)"},
		},
		"an_update_of_more_rows_than_were_locked": {
			tables: shop, cached: []string{byCode}, text: update, args: []any{11, 1},
			answers: answers(one), outcome: affected(2),
			asked: []string{lock},
			want:  []string{"table owners"},
		},
		"an_update_by_an_expression_in_the_text_protocol": {
			tables: shop, cached: []string{byCode}, text: `UPDATE owners SET code = code + 1 WHERE id = ?`, args: []any{1},
			answers: answers(one, text), outcome: affected(1),
			asked: []string{lock, list + "`owners` WHERE `id` IN (?) LOCK IN SHARE MODE"},
			want:  []string{"rows owners (1 10 5 null) (1 11 5 set)"},
		},
		"an_update_if_values_that_do_not_fit_are_changed": {
			tables: shop, cached: []string{byCode}, text: update, args: []any{11, 1},
			arrange: func(s *session, _ *rows.Options) { s.server.Strict = false },
			answers: answers(one, text), outcome: affected(1),
			asked: []string{lock, list + "`owners` WHERE `id` IN (?) LOCK IN SHARE MODE"},
			want:  []string{"rows owners (1 10 5 null) (1 11 5 set)"},
		},
		"an_update_at_read_committed": {
			tables: shop, cached: []string{byCode}, text: update, args: []any{11, 1},
			arrange: level(sql.LevelReadCommitted, false, "repeatable read"), outcome: affected(1),
			want: []string{"rows owners (1 ? ? ?) (1 11 ? ?)"},
		},
		"an_update_at_read_committed_by_default": {
			tables: shop, cached: []string{byCode}, text: update, args: []any{11, 1},
			arrange: level(sql.LevelDefault, false, "read committed"), outcome: affected(1),
			want: []string{"rows owners (1 ? ? ?) (1 11 ? ?)"},
		},
		"an_update_at_an_unknown_level": {
			tables: shop, cached: []string{byCode}, text: `UPDATE owners SET code = ? WHERE id > ?`, args: []any{11, 1},
			arrange: level(sql.LevelSerializable, true, "repeatable read"), outcome: affected(1),
			want: []string{"table owners"},
		},
		"an_update_at_serializable": {
			tables: shop, cached: []string{byCode}, text: update, args: []any{11, 1},
			arrange: level(sql.LevelSerializable, false, "read committed"), answers: answers(one), outcome: affected(1),
			asked: []string{lock},
			want:  []string{"rows owners (1 10 5 null) (1 11 5 null)"},
		},
		"a_delete_with_its_cascade": {
			tables: shop, cached: []string{byCode, byKind}, text: `DELETE FROM owners WHERE id = ?`, args: []any{1},
			answers: answers(one, [][]driver.Value{row(3, 1, 7)}), outcome: affected(1),
			asked: []string{lock, "SELECT `id`, `owner_id`, `kind` FROM `main`.`pets` WHERE `owner_id` IN (?) LIMIT 101 FOR UPDATE"},
			want:  []string{"rows pets (3 1 7)", "rows owners (1 10 5 null)"},
		},
		"a_delete_whose_cascade_compares_texts": {
			tables: []string{
				`CREATE TABLE langs (code text PRIMARY KEY)`,
				`CREATE TABLE words (id integer PRIMARY KEY, lang text, n integer, FOREIGN KEY (lang) REFERENCES langs (code) ON DELETE CASCADE)`,
			},
			cached: []string{`SELECT * FROM words WHERE n = 1`}, text: `DELETE FROM langs WHERE code = 'en'`,
			answers: answers([][]driver.Value{{[]byte("en")}}, [][]driver.Value{row(3, 7)}), outcome: affected(1),
			asked: []string{
				"SELECT `code` FROM langs WHERE code = 'en' LIMIT 101 FOR UPDATE",
				"SELECT `id`, `n` FROM `main`.`words` WHERE `lang` IN (?) LIMIT 101 FOR UPDATE",
			},
			sent: [][]any{{}, {"en"}},
			want: []string{"rows words (3 ? 7)", "rows langs (en)"},
		},
		"a_delete_whose_cascade_fires_no_triggers": {
			tables: going(), cached: []string{`SELECT * FROM orders WHERE product = 1`}, text: `DELETE FROM products WHERE id = 1`,
			arrange: func(s *session, _ *rows.Options) { s.touches = map[string][]string{"main.products": {}} }, outcome: affected(1),
			want: []string{"table labels", "table products"},
		},
		"a_write_of_a_table_whose_triggers_are_hidden": {
			tables: shop, cached: []string{byCode}, text: `DELETE FROM seats`,
			arrange: func(s *session, _ *rows.Options) {
				s.edit = func(table *catalog.Table) { table.TriggersHidden = true }
			},
			outcome: affected(1),
			want:    []string{"everything: triggers of seats"},
			warning: "triggers main.seats: MySQL hides the table's triggers from this user",
		},
		"an_insert_of_a_row_that_is_numbered": {
			tables: shop, cached: []string{byCode, `SELECT * FROM owners WHERE id = 1`}, text: `INSERT INTO owners (code) VALUES (?)`, args: []any{11},
			outcome: rows.Outcome{Affected: 1, LastInsertID: 8},
			want:    []string{"rows owners (8 11 null null)"},
		},
		"an_insert_of_rows_that_the_model_counts_up": {
			tables: shop, cached: []string{byCode, `SELECT * FROM owners WHERE id = 1`}, text: `INSERT INTO owners (code) VALUES (?), (?)`, args: []any{11, 12},
			outcome: rows.Outcome{Affected: 2, LastInsertID: 8, WrittenKeys: func(*catalog.Table, []int) [][]any { panic("asked") }},
			want:    []string{"rows owners (? 11 null null) (? 12 null null)"},
		},
		"an_insert_of_rows_that_are_returned": {
			tables: shop, cached: []string{byCode, `SELECT * FROM owners WHERE id = 1`}, text: `INSERT INTO owners (code) VALUES (?), (?) RETURNING id`, args: []any{11, 12},
			outcome: rows.Outcome{Affected: 2, LastInsertID: 8, WrittenKeys: func(*catalog.Table, []int) [][]any { return [][]any{{int64(8)}, {int64(9)}} }},
			want:    []string{"rows owners (8 11 null null) (9 12 null null)"},
		},
		"an_error_that_rolls_the_transaction_back": {
			tables: shop, cached: []string{byCode}, text: update, args: []any{11, 1},
			answers: []answer{{err: errDeadlock}}, outcome: rows.Outcome{Affected: -1, LastInsertID: -1, Err: errBroken},
			asked: []string{lock},
			want:  []string{"table owners"}, lost: errDeadlock,
		},
	} {
		t.Run(name, func(t *testing.T) {
			test.dialect = conj.MySQL
			test.run(t)
		})
	}
}

var errDeadlock = errors.New("Error 1213 (40001): Deadlock found")
