package rows_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cacheplugin/cacheplugin/internal/catalog"
	"github.com/cacheplugin/cacheplugin/internal/rows"
)

var books = []string{
	`CREATE TABLE books (id integer PRIMARY KEY, shelf integer, code text UNIQUE, copies integer DEFAULT 3)`,
	`INSERT INTO books VALUES (1, 1, 'a', 1), (2, 1, 'b', 1), (3, 2, 'c', 1)`,
}

// model says that the rows of a statement's model have some keys.
func model(keys ...[]any) func(*testing.T, *session, *rows.Outcome) {
	return func(t *testing.T, _ *session, o *rows.Outcome) {
		require.NoError(t, o.Err)
		o.LastInsertID = -1
		o.WrittenKeys = func(table *catalog.Table, columns []int) [][]any {
			require.Equal(t, "books", table.Name)
			require.Equal(t, table.PrimaryKey, columns)
			return keys
		}
	}
}

func TestInsert(t *testing.T) {
	byShelf, byCopies, byID := `SELECT * FROM books WHERE shelf = 1`, `SELECT * FROM books WHERE copies = 1`, `SELECT * FROM books WHERE id = 1`
	many := maxImages(1)
	runAll(t, map[string]write{
		"takes_the_values_that_are_sent": {
			tables: books, cached: []string{byShelf, byCopies, byID},
			text: `INSERT INTO books (id, shelf, copies) VALUES (?, ?, 5)`, args: []any{7, 2},
			want: []string{"rows books (7 2 null 5)"}, queries: noQueries,
		},
		"leaves_out_what_no_query_asks_for": {
			tables: books, cached: []string{byShelf},
			text: `INSERT INTO books (shelf) VALUES (2)`,
			want: []string{"rows books (4 2 null ?)"},
		},
		"takes_the_generated_key_from_the_driver": {
			tables: books, cached: []string{byShelf, byID},
			text: `INSERT INTO books (shelf) VALUES (2)`,
			want: []string{"rows books (4 2 null ?)"}, queries: noQueries,
		},
		"reads_a_default_back": {
			tables: books, cached: []string{byCopies},
			text:    `INSERT INTO books (shelf) VALUES (2)`,
			want:    []string{"rows books (4 2 ? 3)"},
			queries: []string{`SELECT "id", "shelf", "copies" FROM "books" WHERE "id" IN (?)`},
		},
		"reads_all_columns_back_if_the_schemes_are_not_known": {
			tables: books, arrange: func(_ *testing.T, s *session, _ *rows.Options) { s.schemes = nil },
			text: `INSERT INTO books (shelf, code) VALUES (2, 'd')`,
			want: []string{"rows books (4 2 d 3)"},
		},
		"reads_an_expression_back": {
			tables: books, cached: []string{byShelf},
			text: `INSERT INTO books (id, shelf) VALUES (8, 1 + 1)`,
			want: []string{"rows books (8 2 ? 3)"},
		},
		"takes_the_keys_of_several_rows_from_the_model": {
			tables: books, cached: []string{byID},
			text: `INSERT INTO books (shelf) VALUES (1), (2)`, outcome: model([]any{int64(4)}, []any{int64(5)}),
			want: []string{"rows books (4 1 ? 3) (5 2 ? 3)"},
		},
		"leaves_out_a_row_that_was_there": {
			tables: books, cached: []string{byCopies},
			text: `INSERT INTO books (shelf, code) VALUES (1, 'a'), (2, 'd') ON CONFLICT DO NOTHING`, outcome: model(nil, []any{int64(4)}),
			want: []string{"rows books (4 2 ? 3)"},
		},
		"knows_no_keys_if_the_model_lacks_one": {
			tables: books, cached: []string{byCopies},
			text: `INSERT INTO books (shelf) VALUES (1), (2)`, outcome: model(nil, []any{int64(5)}),
			want: []string{"rows books (? 1 null ?) (? 2 null ?)"}, queries: noQueries,
		},
		"knows_no_keys_if_the_model_has_other_rows": {
			tables: books, cached: []string{byCopies},
			text: `INSERT INTO books (shelf) VALUES (1), (2)`, outcome: model([]any{int64(4)}),
			want: []string{"rows books (? 1 null ?) (? 2 null ?)"},
		},
		"knows_no_keys_without_a_model": {
			tables: books, cached: []string{byCopies},
			text: `INSERT INTO books (shelf) VALUES (1), (2)`,
			want: []string{"rows books (? 1 null ?) (? 2 null ?)"},
		},
		"widens_if_a_new_row_is_not_found": {
			tables: books, cached: []string{byCopies},
			text: `INSERT INTO books (shelf) VALUES (1), (2)`, outcome: model([]any{int64(4)}, []any{int64(44)}),
			want: []string{"table books"},
		},
		"widens_if_the_count_is_not_known": {
			tables: books, cached: []string{byCopies},
			text:    `INSERT INTO books (shelf) VALUES (1)`,
			outcome: func(_ *testing.T, _ *session, o *rows.Outcome) { o.Affected = -1 },
			want:    []string{"table books"},
		},
		"widens_if_new_rows_can_not_be_read": {
			tables: books, cached: []string{byCopies},
			text:     `INSERT INTO books (shelf) VALUES (1)`,
			outcome:  func(_ *testing.T, s *session, _ *rows.Outcome) { s.refuse = func(string) error { return errBroken } },
			want:     []string{"table books"},
			failures: []string{"main.books: new rows could not be read"},
		},
		"widens_if_a_query_can_not_name_all_keys": {
			tables: books, cached: []string{byCopies}, arrange: maxImages(100_000),
			text: `INSERT INTO books (id, shelf) VALUES ` + strings.Repeat(`(NULL, 1), `, 32_000) + `(NULL, 1)`,
			outcome: func(t *testing.T, s *session, o *rows.Outcome) {
				keys := make([][]any, 32_001)
				for i := range keys {
					keys[i] = []any{int64(i + 4)}
				}
				model(keys...)(t, s, o)
			},
			want: []string{"table books"}, queries: noQueries, failures: []string{"main.books: new rows could not be read"},
		},
		"widens_beyond_the_limit": {
			tables: books, cached: []string{byShelf}, arrange: many,
			text: `INSERT INTO books (shelf) VALUES (1), (2)`,
			want: []string{"table books"},
		},
		"widens_for_rows_of_a_query": {
			tables: books, cached: []string{byShelf},
			text: `INSERT INTO books (shelf) SELECT shelf FROM books`,
			want: []string{"table books"},
		},
		"notes_nothing_if_nothing_was_inserted": {
			tables: books, cached: []string{byShelf},
			text: `INSERT INTO books (id, shelf) VALUES (1, 9) ON CONFLICT DO NOTHING`,
			want: nothing,
		},
		"knows_a_key_of_two_columns": {
			tables: []string{`CREATE TABLE seats (row integer, place integer, guest integer DEFAULT (1 + 1), PRIMARY KEY (row, place))`},
			cached: []string{`SELECT * FROM seats WHERE guest = 1`},
			text:   `INSERT INTO seats (place, row) VALUES (?, ?), (?, ?)`, args: []any{1, 2, 3, 4},
			want:    []string{"rows seats (2 1 2) (4 3 2)"},
			queries: []string{`SELECT "row", "place", "guest" FROM "seats" WHERE "row" = ? AND "place" = ? OR "row" = ? AND "place" = ?`},
		},
		"knows_no_more_than_the_text_without_a_key": {
			tables: []string{`CREATE TABLE notes (n integer, at integer DEFAULT (1 + 1))`},
			cached: []string{`SELECT * FROM notes WHERE at = 1`},
			text:   `INSERT INTO notes (n) VALUES (1)`,
			want:   []string{"rows notes (1 ?)"}, queries: noQueries,
		},
	})
}
