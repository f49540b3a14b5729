package rows_test

import (
	"database/sql"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cacheplugin/cacheplugin/internal/rows"
)

const (
	reserveBooks = `UPDATE "books" SET "id" = "id" WHERE 0`
	lockBooks    = `SELECT "id", "shelf", "copies" FROM books WHERE `
)

// counted sets the number of rows that the database counts.
func counted(n int64) func(*testing.T, *session, *rows.Outcome) {
	return func(t *testing.T, _ *session, o *rows.Outcome) {
		require.NoError(t, o.Err)
		o.Affected = n
	}
}

// refused makes the queries for images fail.
func refused(_ *testing.T, s *session, _ *rows.Options) {
	s.refuse = func(string) error { return errBroken }
}

func TestUpdate(t *testing.T) {
	byShelf, byCode, byID := `SELECT * FROM books WHERE shelf = 1`, `SELECT * FROM books WHERE code = 'a'`, `SELECT * FROM books WHERE id = 1`
	readBack := `SELECT "id", "shelf", "copies" FROM "books" WHERE "id" IN (?)`
	runAll(t, map[string]write{
		"takes_the_images_from_the_condition_if_it_fixes_what_is_needed": {
			tables: books, cached: []string{byShelf},
			text: `UPDATE books SET shelf = 5 WHERE shelf = ?`, args: []any{1},
			want: []string{"rows books (? 1 ? ?) (? 5 ? ?)"}, queries: noQueries,
		},
		"takes_each_conjunction_of_the_condition": {
			tables: books, cached: []string{byShelf},
			text: `UPDATE books SET copies = 5 WHERE shelf IN (1, 2)`,
			want: []string{"rows books (? 1 ? ?) (? 1 ? 5) (? 2 ? ?) (? 2 ? 5)"}, queries: noQueries,
		},
		"needs_no_rows_if_no_query_narrows": {
			tables: books, cached: []string{`SELECT * FROM books`},
			text: `UPDATE books SET shelf = 5 WHERE copies > 0`,
			want: []string{"rows books (? ? ? ?) (? 5 ? ?)"}, queries: noQueries,
		},
		"locks_the_rows_for_other_columns": {
			tables: books, cached: []string{byShelf},
			text: `UPDATE books SET shelf = ? WHERE id = ?`, args: []any{5, 1},
			want:    []string{"rows books (1 1 ? 1) (1 5 ? 1)"},
			queries: []string{reserveBooks, lockBooks + `id = ? LIMIT 101`},
		},
		"reads_longer_columns_if_a_query_needs_them": {
			tables: books, cached: []string{byCode},
			text: `UPDATE books SET shelf = 5 WHERE id = 1`,
			want: []string{"rows books (1 1 a 1) (1 5 a 1)"},
		},
		"reads_all_columns_if_the_schemes_are_not_known": {
			tables: books, arrange: func(_ *testing.T, s *session, _ *rows.Options) { s.schemes = nil },
			text: `UPDATE books SET shelf = 5 WHERE id = 1`,
			want: []string{"rows books (1 1 a 1) (1 5 a 1)"},
		},
		"reads_expressions_back": {
			tables: books, cached: []string{byShelf},
			text:    `UPDATE books SET shelf = shelf + 1 WHERE id = 1`,
			want:    []string{"rows books (1 1 ? 1) (1 2 ? 1)"},
			queries: []string{reserveBooks, lockBooks + `id = 1 LIMIT 101`, readBack},
		},
		"does_not_read_back_an_expression_that_no_query_needs": {
			tables: books, cached: []string{byShelf},
			text:    `UPDATE books SET copies = copies + 1 WHERE id = 1`,
			want:    []string{"rows books (1 1 ? 1) (1 1 ? ?)"},
			queries: []string{reserveBooks, lockBooks + `id = 1 LIMIT 101`},
		},
		"reads_generated_columns_back": {
			tables: []string{
				`CREATE TABLE areas (id integer PRIMARY KEY, a integer, twice integer AS (a * 2))`,
				`INSERT INTO areas (id, a) VALUES (1, 1)`,
			},
			cached: []string{`SELECT * FROM areas WHERE twice = 2`},
			text:   `UPDATE areas SET a = 4 WHERE id = 1`,
			want:   []string{"rows areas (1 1 2) (1 4 8)"},
		},
		"knows_a_key_that_is_assigned_a_value": {
			tables: books, cached: []string{byID},
			text: `UPDATE books SET id = 9 WHERE shelf = 2`,
			want: []string{"rows books (3 2 ? 1) (9 2 ? 1)"},
		},
		"widens_if_the_key_is_assigned_an_expression": {
			tables: books, cached: []string{byID},
			text: `UPDATE books SET id = id + 10 WHERE shelf = 2`,
			want: []string{"table books"}, queries: noQueries,
		},
		"widens_beyond_the_limit": {
			tables: books, cached: []string{byID}, arrange: maxImages(1),
			text: `UPDATE books SET copies = 2 WHERE shelf = 1`,
			want: []string{"table books"}, queries: []string{reserveBooks, lockBooks + `shelf = 1 LIMIT 2`},
		},
		"takes_as_many_rows_as_the_limit": {
			tables: books, cached: []string{byID}, arrange: maxImages(2),
			text: `UPDATE books SET copies = 2 WHERE shelf = 1`,
			want: []string{"rows books (1 1 ? 1) (1 1 ? 2) (2 1 ? 1) (2 1 ? 2)"},
		},
		"widens_if_more_rows_were_affected_than_locked": {
			tables: books, cached: []string{byID}, outcome: counted(3),
			text: `UPDATE books SET copies = 2 WHERE shelf = 1`,
			want: []string{"table books"},
		},
		"widens_if_fewer_rows_were_affected_than_locked": {
			tables: books, cached: []string{byID}, outcome: counted(1),
			text: `UPDATE books SET copies = 2 WHERE shelf = 1`,
			want: []string{"table books"},
		},
		"widens_if_the_count_is_not_known": {
			tables: books, cached: []string{byID}, outcome: counted(-1),
			text: `UPDATE books SET copies = 2 WHERE shelf = 1`,
			want: []string{"table books"},
		},
		"notes_nothing_if_nothing_was_affected": {
			tables: books, cached: []string{byID},
			text: `UPDATE books SET copies = 2 WHERE shelf = 7`,
			want: nothing,
		},
		"widens_if_the_rows_are_not_found_again": {
			tables: books, cached: []string{byShelf},
			text:    `UPDATE books SET shelf = shelf + 1 WHERE id = 1`,
			outcome: func(t *testing.T, s *session, _ *rows.Outcome) { s.exec(t, `DELETE FROM books WHERE id = 1`) },
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
			text: `UPDATE books SET shelf = 3 WHERE id = 1`,
			want: []string{"table books"}, failures: []string{"main.books: old rows could not be read"},
		},
		"widens_if_the_new_rows_can_not_be_read": {
			tables: books, cached: []string{byShelf},
			text:    `UPDATE books SET shelf = shelf + 1 WHERE id = 1`,
			between: func(_ *testing.T, s *session) { s.refuse = func(string) error { return errBroken } },
			want:    []string{"table books"}, failures: []string{"main.books: new rows could not be read"},
		},
		"widens_if_the_write_lock_is_not_granted": {
			tables: books, cached: []string{byShelf}, arrange: refused,
			text: `UPDATE books SET shelf = 3 WHERE id = 1`,
			want: []string{"table books"}, queries: []string{reserveBooks},
		},
		"widens_outside_of_a_transaction_if_more_is_needed": {
			tables: books, cached: []string{byShelf}, arrange: autocommit,
			text: `UPDATE books SET shelf = 3 WHERE copies > 0`,
			want: []string{"table books"}, queries: noQueries,
		},
		"takes_the_condition_for_what_it_is_outside_of_a_transaction": {
			tables: books, cached: []string{byShelf}, arrange: autocommit,
			text: `UPDATE books SET shelf = 3 WHERE id = 1`,
			want: []string{"rows books (1 ? ? ?) (1 3 ? ?)"}, queries: noQueries,
		},
		"widens_without_a_key": {
			tables: []string{`CREATE TABLE notes (n integer, at integer)`, `INSERT INTO notes VALUES (1, 1)`},
			cached: []string{`SELECT * FROM notes WHERE at = 1`},
			text:   `UPDATE notes SET at = 2 WHERE n > 0`,
			want:   []string{"table notes"}, queries: noQueries,
		},
		"widens_for_a_join": {
			tables: books, cached: []string{byShelf},
			text: `UPDATE books SET shelf = 2 WHERE id IN (SELECT max(id) FROM books)`,
			want: []string{"table books"},
		},
		"finds_rows_again_by_a_key_of_two_columns": {
			tables: []string{
				`CREATE TABLE seats (row integer, place integer, guest integer, PRIMARY KEY (place, row))`,
				`INSERT INTO seats VALUES (1, 2, 3), (4, 5, 6), (4, 2, 6)`,
			},
			cached: []string{`SELECT * FROM seats WHERE guest = 1`},
			text:   `UPDATE seats SET guest = guest + 1 WHERE row = 4`,
			want:   []string{"rows seats (4 5 6) (4 5 7) (4 2 6) (4 2 7)"},
		},
		"knows_nothing_of_a_value_that_may_be_stored_in_another_way": {
			tables: books, cached: []string{byShelf},
			text: `UPDATE books SET shelf = ? WHERE id = 1`, args: []any{"5"},
			want: []string{"rows books (1 1 ? 1) (1 5 ? 1)"}, // read back
		},
	})
}

func TestDelete(t *testing.T) {
	byShelf, byID := `SELECT * FROM books WHERE shelf = 1`, `SELECT * FROM books WHERE id = 1`
	runAll(t, map[string]write{
		"takes_the_images_from_the_condition_if_it_fixes_what_is_needed": {
			tables: books, cached: []string{byShelf},
			text: `DELETE FROM books WHERE shelf = 1 AND copies > 0`,
			want: []string{"rows books (? 1 ? ?)"}, queries: noQueries,
		},
		"locks_the_rows_for_other_columns": {
			tables: books, cached: []string{byShelf},
			text: `DELETE FROM books WHERE id IN (?, ?)`, args: []any{1, 3},
			want:    []string{"rows books (1 1 ? 1) (3 2 ? 1)"},
			queries: []string{reserveBooks, lockBooks + `id IN (?, ?) LIMIT 101`},
		},
		"reads_all_rows_without_a_condition": {
			tables: books, cached: []string{byShelf, byID},
			text: `DELETE FROM books`,
			want: []string{"rows books (1 1 ? 1) (2 1 ? 1) (3 2 ? 1)"},
		},
		"widens_beyond_the_limit": {
			tables: books, cached: []string{byShelf}, arrange: maxImages(2),
			text: `DELETE FROM books`,
			want: []string{"table books"},
		},
		"widens_if_other_rows_were_affected": {
			tables: books, cached: []string{byShelf}, outcome: counted(2),
			text: `DELETE FROM books WHERE id = 1`,
			want: []string{"table books"},
		},
		"widens_outside_of_a_transaction": {
			tables: books, cached: []string{byShelf}, arrange: autocommit,
			text: `DELETE FROM books`,
			want: []string{"table books"},
		},
		"notes_nothing_if_nothing_was_affected": {
			tables: books, cached: []string{byID},
			text: `DELETE FROM books WHERE id = 77`,
			want: nothing,
		},
	})
}

func TestReserve(t *testing.T) {
	s, _ := openSQLite(t, books...)
	rows.Reserve(t.Context(), s, tableName("main", "books"))
	rows.Reserve(t.Context(), s, tableName("", "no such table"))
	require.Equal(t, []string{`DELETE FROM "main"."books" WHERE 0`, `DELETE FROM "no such table" WHERE 0`}, s.queries)
	var n int
	require.NoError(t, s.conn.(*sql.Tx).QueryRowContext(t.Context(), `SELECT count(*) FROM books`).Scan(&n))
	require.Equal(t, 3, n)
}
