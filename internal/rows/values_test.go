package rows_test

import (
	"testing"

	"github.com/cacheplugin/cacheplugin/conj"
	"github.com/cacheplugin/cacheplugin/internal/rows"
)

// TestValues are the values of a row's image that follow from what is sent. The
// row has no key, so that nothing is read back.
func TestValues(t *testing.T) {
	table := []string{`CREATE TABLE kinds (i integer, b boolean, s text, d date, filled integer DEFAULT (1 + 1), twice integer AS (i * 2))`}
	insert := `INSERT INTO kinds (i, b, s, d) VALUES (?, ?, ?, ?)`
	for name, test := range map[string]struct {
		args              []any
		sqlite, nonStrict string
	}{
		"that_fit":                {[]any{5, true, "x", "2020-01-01"}, "5 1 x set ? ?", "? ? ? set ? ?"},
		"that_are_null":           {[]any{nil, nil, nil, nil}, "null null null null ? ?", "? ? ? ? ? ?"},
		"of_other_types":          {[]any{"5", "1", 5, 7}, "? ? ? set ? ?", "? ? ? set ? ?"},
		"with_a_space_at_the_end": {[]any{5, true, "x ", "2020-01-01"}, "5 1 ? set ? ?", "? ? ? set ? ?"},
	} {
		cached := []string{`SELECT * FROM kinds WHERE filled = 1`}
		t.Run(name, func(t *testing.T) {
			w := write{tables: table, cached: cached, text: insert, args: test.args, want: []string{"rows kinds (" + test.sqlite + ")"}}
			w.run(t)
			r := remote{
				dialect: conj.MySQL, tables: table, cached: cached, text: insert, args: test.args, outcome: affected(1),
				arrange: func(s *session, _ *rows.Options) { s.server.Strict = false },
				want:    []string{"rows kinds (" + test.nonStrict + ")"},
			}
			r.run(t)
		})
	}
}

func TestValuesThatAreIgnoredIfTheyDoNotFit(t *testing.T) {
	r := remote{
		dialect: conj.MySQL, tables: []string{`CREATE TABLE kinds (i integer, filled integer DEFAULT (1 + 1))`}, cached: []string{`SELECT * FROM kinds WHERE filled = 1`},
		text: `INSERT IGNORE INTO kinds (i) VALUES (5)`, outcome: affected(1),
		want: []string{"rows kinds (? ?)"},
	}
	r.run(t)
}

func TestSeveralTables(t *testing.T) {
	r := remote{
		dialect: conj.PostgreSQL, tables: shop, cached: []string{`SELECT * FROM owners WHERE code = 1`},
		text:    `WITH gone AS (DELETE FROM seats WHERE place = 1 RETURNING guest) UPDATE owners SET code = 5 WHERE code = 1`,
		outcome: affected(1), targets: 2,
		want: []string{"table seats", "table owners"},
	}
	r.run(t)
}
