package rows_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cacheplugin/cacheplugin/internal/rows"
)

// triggered are tables with triggers: orders write products, and these audits.
// Labels hang on products.
var triggered = []string{
	`CREATE TABLE orders (id integer PRIMARY KEY, product integer)`, `CREATE TABLE products (id integer PRIMARY KEY, sold integer)`,
	`CREATE TABLE audits (id integer PRIMARY KEY, n integer)`,
	`CREATE TABLE labels (id integer PRIMARY KEY, sold integer, FOREIGN KEY (id) REFERENCES products (id) ON DELETE CASCADE)`,
	`INSERT INTO products VALUES (1, 0), (2, 0)`, `INSERT INTO audits VALUES (1, 0)`, `INSERT INTO labels VALUES (1, 0), (2, 0)`,
	`CREATE TRIGGER selling AFTER INSERT ON orders FOR EACH ROW BEGIN DELETE FROM products WHERE id = NEW.product; END`,
	`CREATE TRIGGER auditing AFTER UPDATE ON products FOR EACH ROW BEGIN UPDATE audits SET n = n + 1; END`,
}

// going are these tables with a trigger on labels.
func going() []string {
	return append(triggered[:len(triggered):len(triggered)], `CREATE TRIGGER going AFTER DELETE ON labels FOR EACH ROW BEGIN UPDATE audits SET n = n + 1; END`)
}

func touching(touches map[string][]string) func(*testing.T, *session, *rows.Options) {
	return func(_ *testing.T, s *session, _ *rows.Options) { s.touches = touches }
}

func TestReachOfTriggers(t *testing.T) {
	byProduct := `SELECT * FROM orders WHERE product = 1`
	runAll(t, map[string]write{
		"is_everything_if_no_profile_says_what_they_write": {
			tables: triggered, cached: []string{byProduct},
			text: `INSERT INTO orders VALUES (1, 1)`,
			want: []string{"everything: triggers of orders"},
		},
		"is_what_the_profiles_say_and_what_follows": {
			tables: triggered, cached: []string{byProduct}, arrange: touching(map[string][]string{"main.orders": {"products"}, "main.products": {"main.audits"}}),
			text: `INSERT INTO orders VALUES (1, 1)`,
			want: []string{"table products", "table labels", "table audits", "table orders"},
		},
		"leaves_out_what_is_never_cached": {
			tables: triggered, cached: []string{byProduct},
			arrange: func(t *testing.T, s *session, o *rows.Options) {
				touching(map[string][]string{"main.orders": {"products"}, "main.products": {"main.audits"}})(t, s, o)
				forbid("main.audits", "main.orders")(t, s, o)
			},
			text: `INSERT INTO orders VALUES (1, 1)`,
			want: []string{"table products", "table labels"},
		},
		"is_everything_if_a_table_has_triggers_that_no_profile_knows": {
			tables: triggered, cached: []string{byProduct}, arrange: touching(map[string][]string{"main.orders": {"products"}}),
			text: `INSERT INTO orders VALUES (1, 1)`,
			want: []string{"everything: triggers of products"},
		},
		"is_the_own_table_if_they_write_no_other": {
			tables: triggered, cached: []string{byProduct}, arrange: touching(map[string][]string{"main.orders": {}}),
			text: `INSERT INTO orders VALUES (1, 1)`,
			want: []string{"table orders"},
		},
		"is_everything_if_a_profile_names_an_unknown_table": {
			tables: triggered, cached: []string{byProduct}, arrange: touching(map[string][]string{"main.orders": {"gone"}}),
			text: `INSERT INTO orders VALUES (1, 1)`,
			want: []string{"everything: a table that a write of orders reaches is unknown: gone"},
		},
		"includes_those_that_a_cascade_fires": {
			tables: going(), cached: []string{`SELECT * FROM labels WHERE sold = 1`},
			arrange: touching(map[string][]string{"main.labels": {"audits"}, "main.products": {}}),
			text:    `DELETE FROM products WHERE id = 1`,
			want:    []string{"table audits", "table labels", "table labels", "table products"},
		},
		"is_everything_if_no_profile_knows_those_that_a_cascade_fires": {
			tables: going(), cached: []string{`SELECT * FROM labels WHERE sold = 1`}, arrange: touching(map[string][]string{"main.products": {}}),
			text: `DELETE FROM products WHERE id = 1`,
			want: []string{"everything: triggers of labels"},
		},
		"includes_what_a_definition_of_replace_takes_away": {
			tables: []string{
				`CREATE TABLE owners (id integer PRIMARY KEY, code integer UNIQUE ON CONFLICT REPLACE)`, `INSERT INTO owners VALUES (1, 10)`,
				`CREATE TABLE pets (id integer PRIMARY KEY, owner_id integer, FOREIGN KEY (owner_id) REFERENCES owners (id) ON DELETE CASCADE)`,
			},
			arrange: touching(map[string][]string{"main.owners": {}}),
			text:    `INSERT INTO owners VALUES (2, 10)`,
			want:    []string{"table pets", "table owners"},
		},
		"includes_none_of_a_definition": {
			tables: triggered,
			text:   `ALTER TABLE orders ADD COLUMN n integer`,
			want:   []string{"table orders"},
		},
	})
}

func TestTriggersAreWarnedOf(t *testing.T) {
	w := write{tables: triggered, text: `INSERT INTO orders VALUES (1, 1)`, want: []string{"everything: triggers of orders"}}
	s := w.run(t)
	require.Len(t, s.warnings, 1)
	require.Contains(t, s.warnings[0], "triggers main.orders: the table has triggers or rules")
	require.Contains(t, s.warnings[0], "list the tables that they write in its profile's Touches")
}

func TestReachOfViews(t *testing.T) {
	views := []string{
		`CREATE TABLE tags (id integer PRIMARY KEY, name text)`, `CREATE TABLE articles (id integer PRIMARY KEY, tag_id integer)`,
		`CREATE TABLE notes (id integer PRIMARY KEY, tag_id integer, FOREIGN KEY (tag_id) REFERENCES tags (id) ON DELETE CASCADE)`,
		`CREATE VIEW tagged AS SELECT a.id, t.name AS tag FROM articles a JOIN tags t ON t.id = a.tag_id`,
		`CREATE VIEW again AS SELECT * FROM tagged`,
		`CREATE TRIGGER tagging INSTEAD OF INSERT ON tagged BEGIN INSERT INTO articles VALUES (NEW.id, 1); END`,
		`CREATE TRIGGER tagging_again INSTEAD OF INSERT ON again BEGIN INSERT INTO articles VALUES (NEW.id, 1); END`,
		`CREATE TABLE orders (id integer PRIMARY KEY)`,
		`CREATE TRIGGER ordering AFTER INSERT ON orders BEGIN INSERT INTO tagged VALUES (NEW.id, 1); END`,
	}
	runAll(t, map[string]write{
		"is_all_that_the_view_reads_and_its_triggers_write": {
			tables: views, arrange: touching(map[string][]string{"main.tagged": {"articles"}}),
			text: `INSERT INTO tagged VALUES (1, 'x')`,
			want: []string{"table articles", "table tags", "table notes", "table tagged"},
		},
		"is_all_that_a_view_of_a_view_reads": {
			tables: views, arrange: touching(map[string][]string{"main.again": {}, "main.tagged": {}}),
			text: `INSERT INTO again VALUES (1, 'x')`,
			want: []string{"table tagged", "table articles", "table tags", "table notes", "table again"},
		},
		"is_all_that_a_view_reads_which_a_trigger_writes": {
			tables: views, arrange: touching(map[string][]string{"main.orders": {"tagged"}, "main.tagged": {}}),
			text: `INSERT INTO orders VALUES (1)`,
			want: []string{"table tagged", "table articles", "table tags", "table notes", "table orders"},
		},
		"is_everything_if_a_table_of_the_view_can_not_be_told": {
			tables: append(views[:len(views):len(views)], `CREATE VIRTUAL TABLE words USING fts3(word)`, `CREATE VIEW worded AS SELECT word FROM words`,
				`CREATE TRIGGER wording INSTEAD OF INSERT ON worded BEGIN INSERT INTO words VALUES (NEW.word); END`),
			arrange: touching(map[string][]string{"main.worded": {}}),
			text:    `INSERT INTO worded VALUES ('x')`,
			want:    []string{"everything: worded is a view whose tables can't be told"},
		},
		"is_everything_if_the_view_can_not_be_read": {
			tables: views,
			arrange: func(t *testing.T, s *session, o *rows.Options) {
				touching(map[string][]string{"main.tagged": {}})(t, s, o)
				s.viewsBroken = true
			},
			text: `INSERT INTO tagged VALUES (1, 'x')`,
			want: []string{"everything: tagged is a view whose tables can't be told"},
		},
	})
}

func TestReachOfForeignKeys(t *testing.T) {
	byCode := `SELECT * FROM owners WHERE code = 1`
	runAll(t, map[string]write{
		"of_an_upsert_that_sets_a_key": {
			tables: household, cached: []string{byCode},
			text: `INSERT INTO owners (id, code) VALUES (1, 11) ON CONFLICT (id) DO UPDATE SET code = excluded.code`,
			want: []string{"table cards", "table homes", "rows owners (1 10 1 1) (1 11 1 1)"},
		},
		"of_an_upsert_that_sets_none": {
			tables: append(household[:len(household):len(household)], `ALTER TABLE owners ADD COLUMN n integer`), cached: []string{byCode},
			text: `INSERT INTO owners (id, n) VALUES (1, 11) ON CONFLICT (id) DO UPDATE SET n = excluded.n`,
			want: []string{"rows owners (1 10 1 1 null) (1 10 1 1 11)"},
		},
		"of_an_insert": {
			tables: household, cached: []string{byCode},
			text: `INSERT INTO owners VALUES (7, 70, 7, 7)`,
			want: []string{"rows owners (7 70 7 7)"},
		},
		"of_an_insert_that_replaces": {
			tables: household, cached: []string{byCode},
			text: `INSERT OR REPLACE INTO owners VALUES (7, 70, 7, 7)`,
			want: []string{"table cards", "table homes", "table pets", "table stains", "table toys", "table owners"},
		},
		"of_an_update_that_replaces": {
			tables: append(household[:len(household):len(household)], `DELETE FROM toys WHERE pet_id = 1`), cached: []string{byCode},
			text: `UPDATE OR REPLACE pets SET id = 2 WHERE id = 1`,
			want: []string{"table stains", "table toys", "table pets"},
		},
		"of_replace": {
			tables: household, cached: []string{byCode},
			text: `REPLACE INTO owners VALUES (7, 70, 7, 7)`,
			want: []string{"table cards", "table homes", "table pets", "table stains", "table toys", "table owners"},
		},
		"of_a_table_that_is_dropped": {
			tables: household, cached: []string{byCode},
			text: `DROP TABLE owners`,
			want: []string{"table cards", "table homes", "table pets", "table stains", "table toys", "table owners"},
		},
	})
}

func TestReachOfOtherTables(t *testing.T) {
	temporary := `CREATE TEMPORARY TABLE scratch (id integer PRIMARY KEY, n integer)`
	runAll(t, map[string]write{
		"a_temporary_table_in_a_transaction": {
			tables: []string{temporary},
			text:   `INSERT INTO scratch VALUES (1, 1)`,
			want:   []string{"table scratch"},
		},
		"a_temporary_table_outside_of_a_transaction": {
			tables: []string{temporary}, arrange: autocommit,
			text: `INSERT INTO scratch VALUES (1, 1)`,
			want: []string{"everything: scratch is temporary"},
		},
		"an_unknown_table_of_a_write_that_succeeds": {
			tables: books, arrange: func(_ *testing.T, s *session, _ *rows.Options) { s.unknown = []string{"books"} },
			text: `DELETE FROM books`,
			want: []string{"everything: unknown table"},
		},
		"an_unknown_table_of_a_write_that_fails": {
			text:    `DELETE FROM nothing`,
			outcome: func(t *testing.T, _ *session, o *rows.Outcome) { require.Error(t, o.Err) },
			want:    nothing,
		},
		"a_table_that_is_made": {
			text: `CREATE TABLE fresh (id integer)`,
			want: nothing,
		},
		"a_catalog_that_can_not_be_read": {
			tables: books, arrange: func(_ *testing.T, s *session, _ *rows.Options) { s.broken = []string{"books"} },
			text:     `DELETE FROM books`,
			want:     []string{"everything: the catalog could not be read"},
			failures: []string{"books: a table could not be looked up in the catalog"},
		},
	})
}

func TestTemporaryTablesAreNoted(t *testing.T) {
	w := write{text: `CREATE TEMPORARY TABLE scratch (id integer)`, want: nothing}
	require.Equal(t, []string{"scratch"}, w.run(t).temporary)
}
