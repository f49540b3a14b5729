package rows_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cacheplugin/cacheplugin/internal/rows"
)

func TestAFailedStatement(t *testing.T) {
	runAll(t, map[string]write{
		"may_have_changed_any_row": {
			tables: books, cached: []string{`SELECT * FROM books WHERE shelf = 1`},
			text:    `UPDATE books SET code = 'c' WHERE shelf = 1`,
			outcome: func(t *testing.T, _ *session, o *rows.Outcome) { require.Error(t, o.Err) },
			want:    []string{"table books"},
		},
		"reads_nothing_more": {
			tables: books, cached: []string{`SELECT * FROM books WHERE copies = 1`},
			text:    `UPDATE books SET code = 'c', copies = copies + 1 WHERE id = 1`,
			outcome: func(t *testing.T, _ *session, o *rows.Outcome) { require.Error(t, o.Err) },
			want:    []string{"table books"}, queries: []string{reserveBooks, `SELECT "id", "shelf", "copies" FROM books WHERE id = 1 LIMIT 101`},
		},
	})
}

func TestATableThatIsNeverCached(t *testing.T) {
	runAll(t, map[string]write{
		"is_not_noted": {
			tables: books, arrange: forbid("main.books"),
			text: `UPDATE books SET shelf = 3 WHERE id = 1`,
			want: nothing, queries: noQueries,
		},
	})
}

// begin begins an update of the shelf of book 1, for which all rows are read.
func begin(t *testing.T, change func(*rows.Args)) *rows.Statement {
	t.Helper()
	s, options := openSQLite(t, books...)
	s.cache(t, `SELECT * FROM books WHERE shelf = 1`)
	const text = `UPDATE books SET shelf = shelf + ? WHERE id = 1`
	plan, err := s.compile(t.Context(), text)
	require.NoError(t, err)
	args := normalized(t, []any{1})
	change(&args)
	statement := rows.Begin(t.Context(), s, options, plan, args)
	s.exec(t, text, 1)
	return statement
}

func TestStatement(t *testing.T) {
	asItIs := func(*rows.Args) {}
	one := rows.Outcome{Affected: 1, LastInsertID: -1}
	t.Run("notes_what_was_certain_before", func(t *testing.T) {
		s := begin(t, asItIs)
		require.Equal(t, []string{"rows books (1 1 ? 1)"}, noted(s))
		s.Complete(t.Context(), one)
		require.Equal(t, []string{"rows books (1 1 ? 1) (1 2 ? 1)"}, noted(s))
	})
	t.Run("can_be_widened_before", func(t *testing.T) {
		s := begin(t, asItIs)
		s.Widen("read by the caller")
		require.Equal(t, []string{"table books"}, noted(s))
		s.Complete(t.Context(), one)
		require.Equal(t, []string{"table books"}, noted(s))
	})
	t.Run("can_be_widened_after", func(t *testing.T) {
		s := begin(t, asItIs)
		s.Complete(t.Context(), one)
		s.Widen("panic")
		require.Equal(t, []string{"table books"}, noted(s))
	})
	t.Run("is_wide_if_arguments_are_not_known", func(t *testing.T) {
		s := begin(t, func(a *rows.Args) { *a = rows.Args{Unknown: true} })
		s.Complete(t.Context(), one)
		require.Equal(t, []string{"table books"}, noted(s))
	})
}
