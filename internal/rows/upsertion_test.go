package rows_test

import (
	"testing"

	"github.com/cacheplugin/cacheplugin/internal/rows"
)

func TestUpsert(t *testing.T) {
	byShelf, byCode := `SELECT * FROM books WHERE shelf = 1`, `SELECT * FROM books WHERE code = 'a'`
	const onCode = ` ON CONFLICT (code) DO UPDATE SET shelf = excluded.shelf`
	byCodes := `SELECT "id", "shelf", "copies" FROM "books" WHERE "code" IN (?, ?)`
	folded := append(books[:2:2], `CREATE UNIQUE INDEX folded ON books (code COLLATE NOCASE)`)
	runAll(t, map[string]write{
		"reads_the_rows_before_and_after": {
			tables: books, cached: []string{byShelf},
			text: `INSERT INTO books (shelf, code) VALUES (?, ?), (?, ?)` + onCode, args: []any{5, "a", 6, "new"},
			want:    []string{"rows books (1 1 ? 1) (1 5 ? 1) (4 6 ? 3)"},
			queries: []string{reserveBooks, byCodes, byCodes},
		},
		"takes_the_images_from_the_text_if_the_target_is_all_that_is_needed": {
			tables: books, cached: []string{byCode},
			text: `INSERT INTO books (shelf, code) VALUES (?, ?), (?, ?)` + onCode, args: []any{5, "a", 6, "new"},
			want: []string{"rows books (? ? a ?) (? ? new ?)"}, queries: noQueries,
		},
		"keeps_these_images_whatever_the_statement_did": {
			tables: books, cached: []string{byCode}, outcome: counted(-1),
			text: `INSERT INTO books (shelf, code) VALUES (5, 'a')` + onCode,
			want: []string{"rows books (? ? a ?)"},
		},
		"takes_the_images_from_the_text_outside_of_a_transaction": {
			tables: books, cached: []string{byShelf}, arrange: autocommit,
			text: `INSERT INTO books (shelf, code) VALUES (5, 'a')` + onCode,
			want: []string{"rows books (? ? a ?)"}, queries: noQueries,
		},
		"widens_outside_of_a_transaction_if_the_target_is_assigned": {
			tables: books, cached: []string{byShelf}, arrange: autocommit,
			text: `INSERT INTO books (shelf, code) VALUES (5, 'a') ON CONFLICT (code) DO UPDATE SET code = 'z'`,
			want: []string{"table books"},
		},
		"reads_the_rows_if_the_target_is_assigned": {
			tables: books, cached: []string{byCode},
			text: `INSERT INTO books (id, shelf, code) VALUES (1, 5, 'x') ON CONFLICT (id) DO UPDATE SET code = 'z'`,
			want: []string{"rows books (1 1 a 1) (1 1 z 1)"},
		},
		"widens_if_the_target_is_assigned_and_the_row_is_gone_from_its_values": {
			tables: books, cached: []string{byShelf},
			text: `INSERT INTO books (shelf, code) VALUES (5, 'a') ON CONFLICT (code) DO UPDATE SET code = 'z'`,
			want: []string{"table books"},
		},
		"knows_rows_that_the_database_numbers_by_the_driver": {
			tables: books, cached: []string{byShelf},
			text: `INSERT INTO books (shelf) VALUES (5) ON CONFLICT (id) DO UPDATE SET shelf = excluded.shelf`,
			want: []string{"rows books (4 5 ? 3)"},
		},
		"knows_rows_that_the_database_numbers_by_the_model": {
			tables: books, cached: []string{byShelf},
			text:    `INSERT INTO books (shelf) VALUES (5), (6) ON CONFLICT (id) DO UPDATE SET shelf = excluded.shelf`,
			outcome: model([]any{int64(4)}, []any{int64(5)}),
			want:    []string{"rows books (4 5 ? 3) (5 6 ? 3)"},
		},
		"widens_if_the_keys_are_not_known": {
			tables: books, cached: []string{byShelf},
			text: `INSERT INTO books (shelf) VALUES (5), (6) ON CONFLICT (id) DO UPDATE SET shelf = excluded.shelf`,
			want: []string{"table books"},
		},
		"widens_for_values_that_only_the_database_knows": {
			tables: books, cached: []string{byShelf},
			text: `INSERT INTO books (shelf, code) VALUES (5, upper('x'))` + onCode,
			want: []string{"table books"}, queries: noQueries,
		},
		"widens_for_an_index_that_folds_letters": {
			tables: folded, cached: []string{byShelf},
			text: `INSERT INTO books (shelf, code) VALUES (5, 'A')` + onCode,
			want: []string{"table books"}, queries: noQueries,
		},
		"widens_without_a_key": {
			tables: []string{`CREATE TABLE notes (n integer UNIQUE, at integer)`},
			cached: []string{`SELECT * FROM notes WHERE at = 1`},
			text:   `INSERT INTO notes VALUES (1, 2) ON CONFLICT (n) DO UPDATE SET at = excluded.at`,
			want:   []string{"table notes"}, queries: noQueries,
		},
		"widens_beyond_the_limit": {
			tables: books, cached: []string{byShelf}, arrange: maxImages(1),
			text: `INSERT INTO books (shelf, code) VALUES (5, 'a'), (6, 'b')` + onCode,
			want: []string{"table books"}, queries: noQueries,
		},
		"widens_if_a_new_row_is_not_found": {
			tables: books, cached: []string{byShelf},
			text:    `INSERT INTO books (shelf, code) VALUES (5, 'a'), (6, 'b')` + onCode,
			outcome: func(t *testing.T, s *session, _ *rows.Outcome) { s.exec(t, `DELETE FROM books WHERE code = 'b'`) },
			want:    []string{"table books"},
		},
		"widens_if_the_old_rows_can_not_be_read": {
			tables: books, cached: []string{byShelf},
			arrange: func(_ *testing.T, s *session, _ *rows.Options) {
				s.refuse = func(query string) error {
					if query == reserveBooks {
						return nil
					}
					return errBroken
				}
			},
			text: `INSERT INTO books (shelf, code) VALUES (5, 'a')` + onCode,
			want: []string{"table books"}, failures: []string{"main.books: old rows could not be read"},
		},
		"widens_if_the_new_rows_can_not_be_read": {
			tables: books, cached: []string{byShelf},
			text:    `INSERT INTO books (shelf, code) VALUES (5, 'a')` + onCode,
			between: func(_ *testing.T, s *session) { s.refuse = func(string) error { return errBroken } },
			want:    []string{"table books"}, failures: []string{"main.books: new rows could not be read"},
		},
		"widens_if_the_write_lock_is_not_granted": {
			tables: books, cached: []string{byShelf}, arrange: refused,
			text: `INSERT INTO books (shelf, code) VALUES (5, 'a')` + onCode,
			want: []string{"table books"}, queries: []string{reserveBooks},
		},
		"notes_nothing_if_nothing_was_affected": {
			tables: books, cached: []string{byShelf},
			text: `INSERT INTO books (shelf, code) VALUES (5, 'a') ON CONFLICT (code) DO UPDATE SET shelf = 9 WHERE 0`,
			want: nothing,
		},
		"reads_rows_by_a_target_of_two_columns": {
			tables: []string{
				`CREATE TABLE seats (id integer PRIMARY KEY, row integer, place integer, guest integer, UNIQUE (row, place))`,
				`INSERT INTO seats VALUES (1, 2, 3, 4), (2, 3, 2, 5)`,
			},
			cached: []string{`SELECT * FROM seats WHERE guest = 1`, `SELECT * FROM seats WHERE row = 1`},
			text:   `INSERT INTO seats (row, place, guest) VALUES (2, 3, 8), (7, 7, 9) ON CONFLICT (row, place) DO UPDATE SET guest = excluded.guest`,
			want:   []string{"rows seats (1 2 3 4) (1 2 3 8) (3 7 7 9)"},
		},
	})
}
