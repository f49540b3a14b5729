package rows_test

import (
	"fmt"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cacheplugin/cacheplugin/internal/rows"
)

// household is a tree of foreign keys of every action, with a key of two
// columns, and a table that refers to itself.
var household = []string{
	`CREATE TABLE owners (id integer PRIMARY KEY, code integer UNIQUE, city integer, area integer, UNIQUE (city, area))`,
	`CREATE TABLE pets (id integer PRIMARY KEY, owner_id integer, kind integer, FOREIGN KEY (owner_id) REFERENCES owners (id) ON DELETE CASCADE)`,
	`CREATE TABLE toys (id integer PRIMARY KEY, pet_id integer, shelf integer, FOREIGN KEY (pet_id) REFERENCES pets (id) ON DELETE CASCADE)`,
	`CREATE TABLE stains (id integer PRIMARY KEY, toy_id integer, place integer, FOREIGN KEY (toy_id) REFERENCES toys (id) ON DELETE SET NULL)`,
	`CREATE TABLE cards (id integer PRIMARY KEY, code integer, slot integer, FOREIGN KEY (code) REFERENCES owners (code) ON UPDATE CASCADE ON DELETE SET NULL)`,
	`CREATE TABLE homes (id integer PRIMARY KEY, city integer, area integer, rooms integer, FOREIGN KEY (city, area) REFERENCES owners (city, area) ON UPDATE CASCADE ON DELETE CASCADE)`,
	`CREATE TABLE nodes (id integer PRIMARY KEY, parent_id integer, tag integer, FOREIGN KEY (parent_id) REFERENCES nodes (id) ON DELETE CASCADE)`,
	`INSERT INTO owners VALUES (1, 10, 1, 1), (2, 20, 1, 2), (3, 30, 2, 1)`,
	`INSERT INTO pets VALUES (1, 1, 7), (2, 1, 8), (3, 2, 7), (4, NULL, 9)`,
	`INSERT INTO toys VALUES (1, 1, 1), (2, 2, 1), (3, 3, 2), (4, 4, 3)`,
	`INSERT INTO stains VALUES (1, 1, 5), (2, 3, 5), (3, 4, 6)`,
	`INSERT INTO cards VALUES (1, 10, 1), (2, 20, 2), (3, NULL, 3)`,
	`INSERT INTO homes VALUES (1, 1, 1, 3), (2, 1, 2, 4), (3, 2, 1, 5)`,
	`INSERT INTO nodes VALUES (1, NULL, 1), (2, 1, 1), (3, 2, 2), (4, 3, 3), (5, NULL, 4), (6, 5, 4)`,
}

// allOfHousehold are queries that narrow by a column of each table.
var allOfHousehold = []string{
	`SELECT * FROM owners WHERE id = 1`, `SELECT * FROM pets WHERE kind = 1`, `SELECT * FROM toys WHERE shelf = 1`,
	`SELECT * FROM stains WHERE toy_id = 1`, `SELECT * FROM cards WHERE slot = 1`, `SELECT * FROM homes WHERE rooms = 1`,
	`SELECT * FROM nodes WHERE tag = 1`,
}

func forbid(ids ...string) func(*testing.T, *session, *rows.Options) {
	return func(_ *testing.T, s *session, _ *rows.Options) { s.forbidden = ids }
}

func TestCascade(t *testing.T) {
	byOwner, byPlace, byNode := `SELECT * FROM owners WHERE id = 1`, `SELECT * FROM pets WHERE kind = 1`, `SELECT * FROM nodes WHERE tag = 1`
	belowOwners := []string{"table cards", "table homes", "table pets", "table stains", "table toys"}
	runAll(t, map[string]write{
		"follows_a_delete_to_its_end": {
			tables: household, cached: allOfHousehold,
			text: `DELETE FROM owners WHERE id = 2`,
			want: []string{
				"rows pets (3 2 7)", "rows cards (2 20 2) (2 null 2)", "rows homes (2 1 2 4)", "rows toys (3 3 2)",
				"rows stains (2 3 5) (2 null 5)", "rows owners (2 20 1 2)",
			},
		},
		"follows_an_update_of_a_key": {
			tables: household, cached: allOfHousehold,
			text: `UPDATE owners SET code = 21 WHERE id = 2`,
			want: []string{"rows cards (2 20 2) (2 21 2)", "rows owners (2 20 1 2) (2 21 1 2)"},
		},
		"reads_back_what_an_update_by_an_expression_leads_to": {
			tables: household, cached: append([]string{`SELECT * FROM homes WHERE city = 1`}, allOfHousehold...),
			text: `UPDATE owners SET city = city + 8 WHERE id = 2`,
			want: []string{"rows homes (2 1 2 4) (2 9 2 4)", "rows owners (2 20 1 2) (2 20 ? 2)"},
		},
		"follows_no_key_that_an_update_leaves_alone": {
			tables: household, cached: allOfHousehold,
			text: `UPDATE nodes SET tag = 5 WHERE id = 2`,
			want: []string{"rows nodes (2 1 1) (2 1 5)"},
		},
		"follows_a_table_that_refers_to_itself": {
			tables: household, cached: allOfHousehold,
			text: `DELETE FROM nodes WHERE id = 1`,
			want: []string{"rows nodes (2 1 1)", "rows nodes (3 2 2)", "rows nodes (4 3 3)", "rows nodes (1 null 1)"},
		},
		"ends_in_a_circle": {
			tables: slices.Concat(household, []string{`UPDATE nodes SET parent_id = 6 WHERE id = 5`}), cached: allOfHousehold,
			text: `DELETE FROM nodes WHERE id = 5`,
			want: []string{"rows nodes (6 5 4)", "rows nodes (5 6 4)", "rows nodes (5 6 4)"},
		},
		"drops_a_chain_that_is_too_long_from_there_on": {
			tables: slices.Concat(household, chain(101, 114)), cached: []string{byNode},
			text: `DELETE FROM nodes WHERE id = 101`,
			want: []string{
				"table nodes",
				"rows nodes (102 101 102)", "rows nodes (103 102 103)", "rows nodes (104 103 104)", "rows nodes (105 104 105)",
				"rows nodes (106 105 106)", "rows nodes (107 106 107)", "rows nodes (108 107 108)", "rows nodes (109 108 109)",
				"rows nodes (101 null 101)",
			},
		},
		"drops_the_children_if_no_query_depends_on_single_rows": {
			tables: household, cached: []string{byOwner},
			text: `DELETE FROM owners WHERE id = 2`,
			want: slices.Concat(belowOwners, []string{"rows owners (2 ? ? ?)"}), queries: noQueries,
		},
		"drops_only_those_of_which_no_query_depends_on_single_rows": {
			tables: household, cached: []string{byOwner, byPlace},
			text: `DELETE FROM owners WHERE id = 2`,
			want: []string{"table cards", "table homes", "table stains", "rows pets (3 2 7)", "rows toys (3 3 2)", "rows owners (2 20 1 2)"},
		},
		"drops_the_children_outside_of_a_transaction": {
			tables: household, cached: allOfHousehold, arrange: autocommit,
			text: `DELETE FROM owners WHERE id = 2`,
			want: slices.Concat(belowOwners, []string{"rows owners (2 ? ? ?)"}), queries: noQueries,
		},
		"drops_the_children_of_rows_that_are_not_known": {
			tables: household, cached: allOfHousehold, outcome: counted(2),
			text: `DELETE FROM owners WHERE id = 2`,
			want: slices.Concat(belowOwners, []string{"table owners"}),
		},
		"drops_children_of_which_there_are_too_many": {
			tables: household, cached: allOfHousehold, arrange: maxImages(1),
			text: `DELETE FROM owners WHERE id = 1`,
			want: []string{"table pets", "table stains", "table toys", "rows cards (1 10 1) (1 null 1)", "rows homes (1 1 1 3)", "rows owners (1 10 1 1)"},
		},
		"leaves_out_children_that_are_never_cached": {
			tables: household, cached: allOfHousehold, arrange: forbid("main.cards", "main.homes", "main.toys"),
			text: `DELETE FROM owners WHERE id = 2`,
			want: []string{"table stains", "rows pets (3 2 7)", "rows owners (2 20 1 2)"},
		},
		"drops_the_children_of_a_table_that_is_never_cached": {
			tables: household, cached: allOfHousehold, arrange: forbid("main.owners"),
			text: `DELETE FROM owners WHERE id = 2`,
			want: belowOwners, queries: noQueries,
		},
		"notes_nothing_if_nothing_was_deleted": {
			tables: household, cached: allOfHousehold,
			text: `DELETE FROM owners WHERE id = 9`,
			want: nothing,
		},
		"drops_children_that_can_not_be_read": {
			tables: household, cached: []string{byPlace},
			arrange: func(_ *testing.T, s *session, _ *rows.Options) {
				s.refuse = func(query string) error {
					if query == `SELECT "id", "owner_id", "kind" FROM "main"."pets" WHERE "owner_id" IN (?) LIMIT 101` {
						return errBroken
					}
					return nil
				}
			},
			text:     `DELETE FROM owners WHERE id = 2`,
			want:     []string{"table pets", "table stains", "table toys", "table cards", "table homes", "rows owners (2 20 1 2)"},
			failures: []string{"main.pets: rows that foreign keys lead to could not be read"},
		},
		"drops_everything_if_a_child_is_not_known": {
			tables: household, cached: allOfHousehold,
			arrange: func(_ *testing.T, s *session, _ *rows.Options) { s.unknown = []string{"cards"} },
			text:    `DELETE FROM owners WHERE id = 2`,
			want:    []string{"everything: a table that foreign keys of owners lead to is unknown: main.cards"},
		},
		"reads_defaults_back": {
			tables: []string{
				`CREATE TABLE owners (id integer PRIMARY KEY)`, `INSERT INTO owners VALUES (0), (1), (2)`,
				`CREATE TABLE pets (id integer PRIMARY KEY, owner_id integer DEFAULT 0, twice integer AS (owner_id * 2),
				 FOREIGN KEY (owner_id) REFERENCES owners (id) ON DELETE SET DEFAULT)`,
				`INSERT INTO pets (id, owner_id) VALUES (1, 1), (2, 2)`,
			},
			cached: []string{`SELECT * FROM pets WHERE twice = 1`},
			text:   `DELETE FROM owners WHERE id = 1`,
			want:   []string{"rows pets (1 1 2) (1 0 0)", "rows owners (1)"},
		},
		"drops_children_whose_defaults_can_not_be_read": {
			tables: []string{
				`CREATE TABLE owners (id integer PRIMARY KEY)`, `INSERT INTO owners VALUES (0), (1)`,
				`CREATE TABLE pets (id integer PRIMARY KEY, owner_id integer DEFAULT 0, FOREIGN KEY (owner_id) REFERENCES owners ON DELETE SET DEFAULT)`,
				`INSERT INTO pets (id, owner_id) VALUES (1, 1)`,
			},
			cached:   []string{`SELECT * FROM pets WHERE owner_id = 1`},
			text:     `DELETE FROM owners WHERE id = 1`,
			between:  func(_ *testing.T, s *session) { s.refuse = func(string) error { return errBroken } },
			want:     []string{"table pets", "rows owners (1)"},
			failures: []string{"main.pets: new rows could not be read"},
		},
		"reads_each_value_of_a_parent_once": {
			tables: []string{
				`CREATE TABLE users (id integer PRIMARY KEY, boss integer REFERENCES users (id) ON DELETE CASCADE)`,
				`INSERT INTO users VALUES (1, NULL), (2, NULL)`,
				`CREATE TABLE notes (n integer, author integer REFERENCES users (id) ON DELETE CASCADE)`, // without a key
				`INSERT INTO notes VALUES (5, 1), (6, 1), (7, NULL)`,
			},
			cached: []string{`SELECT * FROM notes WHERE n = 1`},
			text:   `DELETE FROM users WHERE id > 0`,
			want:   []string{"rows notes (5 1) (6 1)", "rows users (1 null) (2 null)"},
		},
		"drops_children_of_which_several_keys_change_a_row": {
			tables: []string{
				`CREATE TABLE users (id integer PRIMARY KEY)`, `INSERT INTO users VALUES (1), (2), (3)`,
				`CREATE TABLE letters (id integer PRIMARY KEY, sender integer, receiver integer,
				 FOREIGN KEY (sender) REFERENCES users (id) ON DELETE SET NULL, FOREIGN KEY (receiver) REFERENCES users (id) ON DELETE SET NULL)`,
				`INSERT INTO letters VALUES (1, 1, 2), (2, 2, 3), (3, 3, 3)`,
			},
			cached: []string{`SELECT * FROM letters WHERE sender = 1 AND receiver = 1`},
			text:   `DELETE FROM users WHERE id IN (1, 2)`,
			want:   []string{"rows letters (1 1 2) (1 1 null)", "table letters", "rows users (1) (2)"},
		},
		"widens_an_update_whose_rows_a_key_changes_as_well": {
			tables: []string{
				`CREATE TABLE staff (id integer PRIMARY KEY, code integer UNIQUE, boss integer, FOREIGN KEY (boss) REFERENCES staff (code) ON UPDATE CASCADE)`,
				`INSERT INTO staff VALUES (1, 10, NULL), (2, 20, 10)`,
			},
			cached: []string{`SELECT * FROM staff WHERE code = 1 AND boss = 1`},
			text:   `UPDATE staff SET code = 11 WHERE id = 1`,
			want:   []string{"table staff", "table staff"},
		},
		"does_not_follow_a_key_of_another_kind": {
			tables: []string{
				`CREATE TABLE days (day date PRIMARY KEY, n integer)`, `INSERT INTO days VALUES ('2020-01-01', 1), ('2020-01-02', 2)`,
				`CREATE TABLE events (id integer PRIMARY KEY, day date, room integer, FOREIGN KEY (day) REFERENCES days (day) ON DELETE CASCADE)`,
				`INSERT INTO events VALUES (1, '2020-01-01', 1), (2, '2020-01-02', 2)`,
			},
			cached: []string{`SELECT * FROM events WHERE room = 1`},
			text:   `DELETE FROM days WHERE n = 1`,
			want:   []string{"table events", "rows days (? 1)"},
		},
	})
}

// chain is rows of nodes, each the child of the one before.
func chain(first, last int) []string {
	statements := []string{fmt.Sprintf(`INSERT INTO nodes VALUES (%d, NULL, %[1]d)`, first)}
	for id := first + 1; id <= last; id++ {
		statements = append(statements, fmt.Sprintf(`INSERT INTO nodes VALUES (%d, %d, %[1]d)`, id, id-1))
	}
	return statements
}

func TestCascadeQueries(t *testing.T) {
	w := write{
		tables: household, cached: []string{`SELECT * FROM homes WHERE rooms = 1`}, arrange: forbid("main.pets", "main.cards"),
		text: `DELETE FROM owners WHERE code > 10`,
		want: []string{"table stains", "table toys", "rows homes (2 1 2 4) (3 2 1 5)", "rows owners (2 20 1 2) (3 30 2 1)"},
	}
	s := w.run(t)
	require.Equal(t, []string{
		`UPDATE "owners" SET "id" = "id" WHERE 0`,
		`SELECT "id", "code", "city", "area" FROM owners WHERE code > 10 LIMIT 101`,
		`SELECT "id", "city", "area", "rooms" FROM "main"."homes" WHERE "city" = ? AND "area" = ? OR "city" = ? AND "area" = ? LIMIT 101`,
	}, s.queries)
}
