package schema

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cacheplugin/cacheplugin"
	"github.com/cacheplugin/cacheplugin/integration/internal/fixture"
)

// shelves are tables and views that every database takes.
var shelves = []string{
	`CREATE TABLE tags (id integer PRIMARY KEY, name varchar(20))`,
	`CREATE TABLE articles (id integer PRIMARY KEY, tag_id integer, state integer, title varchar(20))`,
	`INSERT INTO tags VALUES (1, 'go'), (2, 'sql')`,
	`INSERT INTO articles VALUES (1, 1, 1, 'a'), (2, 1, 0, 'b'), (3, 2, 1, 'c')`,
	`CREATE VIEW published AS SELECT id, tag_id AS tag, title FROM articles WHERE state = 1`,
	`CREATE VIEW headlines AS SELECT p.title, p.tag AS about FROM published p`,
	`CREATE VIEW tagged AS SELECT a.id, a.title, t.name AS tag FROM articles a JOIN tags t ON t.id = a.tag_id`,
	`CREATE VIEW counts AS SELECT tag_id, count(*) AS n FROM articles GROUP BY tag_id`,
	`CREATE VIEW names AS SELECT name AS n FROM tags UNION ALL SELECT title FROM published`,
	`CREATE VIEW busiest AS WITH c AS (SELECT tag_id, n FROM counts) SELECT upper(t.name) AS name, c.n FROM c JOIN tags t ON t.id = c.tag_id`,
	`CREATE VIEW latest AS SELECT id, tag_id FROM articles ORDER BY id DESC LIMIT 1`,
}

func TestAQueryOnAViewDependsOnTheTablesThatTheViewReads(t *testing.T) {
	onTexts(t, nil, cacheplugin.Config{}, shelves, func(t *testing.T, f *texts) {
		all := []string{
			`SELECT * FROM published ORDER BY id`, `SELECT * FROM headlines ORDER BY title`, `SELECT * FROM tagged ORDER BY id`,
			`SELECT * FROM counts ORDER BY tag_id`, `SELECT * FROM names ORDER BY n`, `SELECT * FROM busiest ORDER BY name`,
			`SELECT * FROM latest`, `SELECT count(*) AS n FROM tags WHERE id IN (SELECT tag FROM published)`,
		}
		byTag := []string{`SELECT * FROM tagged ORDER BY id`, `SELECT * FROM names ORDER BY n`, `SELECT * FROM busiest ORDER BY name`}
		f.fill(t, all...)
		f.changes(t, all[0], `INSERT INTO articles VALUES (4, 2, 1, 'd')`)
		f.dropped(t, all...)
		f.changes(t, all[2], `UPDATE tags SET name = 'x' WHERE id = 1`)
		f.dropped(t, byTag...)
		f.kept(t, all[0], all[1], all[3], all[6])
		f.changes(t, all[1], `UPDATE articles SET title = 'z' WHERE id = 3`)
		f.dropped(t, all[0], all[1], all[2], all[4], all[7])
		f.kept(t, all[3], all[5], all[6])
		f.changes(t, all[0], `UPDATE articles SET state = 0 WHERE id = 3`)
		f.dropped(t, all[0], all[1], all[4], all[7])
		f.kept(t, all[2], all[3], all[5], all[6])
		f.changes(t, all[3], `UPDATE articles SET tag_id = 2, title = 'y' WHERE id = 2`)
		f.dropped(t, all[2], all[3], all[5])
	})
}

func TestConditionsOnAPlainViewNarrowItsTable(t *testing.T) {
	onTexts(t, nil, cacheplugin.Config{}, shelves, func(t *testing.T, f *texts) {
		one, two := `SELECT * FROM published WHERE tag = 1 ORDER BY id`, `SELECT * FROM published WHERE tag = 2 ORDER BY id`
		about := `SELECT * FROM headlines WHERE about = 2 ORDER BY title`
		f.fill(t, one, two, about)
		f.changes(t, one, `INSERT INTO articles VALUES (4, 1, 1, 'd')`)
		f.dropped(t, one)
		f.kept(t, two, about)
		f.runs(t, `INSERT INTO articles VALUES (5, 2, 0, 'draft')`)
		f.kept(t, one, two, about)
		f.changes(t, two, `UPDATE articles SET state = 1 WHERE id = 5`)
		f.dropped(t, two, about)
		f.kept(t, one)
		f.changes(t, about, `UPDATE articles SET tag_id = 1 WHERE id = 5`)
		f.dropped(t, one, two, about)
	})
}

// TestConditionsOnOtherViewsDoNotNarrow: the last article of all is not the
// last of a tag's, and a group's row is not a table's.
func TestConditionsOnOtherViewsDoNotNarrow(t *testing.T) {
	onTexts(t, nil, cacheplugin.Config{}, shelves, func(t *testing.T, f *texts) {
		latest, counts := `SELECT * FROM latest WHERE tag_id = 2`, `SELECT * FROM counts WHERE n = 2`
		f.fill(t, latest, counts)
		f.changes(t, latest, `INSERT INTO articles VALUES (4, 1, 0, 'd')`)
		f.dropped(t, latest, counts)
		f.changes(t, counts, `INSERT INTO articles VALUES (5, 2, 0, 'e')`)
		f.dropped(t, latest, counts)
	})
}

func TestWritesThroughViewsDropTheTablesBelow(t *testing.T) {
	onTexts(t, []string{"postgres", "mysql"}, cacheplugin.Config{}, shelves, func(t *testing.T, f *texts) {
		table, view, tags := `SELECT * FROM articles WHERE tag_id = 1 ORDER BY id`, `SELECT * FROM headlines ORDER BY title`, `SELECT * FROM tags ORDER BY id`
		f.fill(t, table, view, tags)
		for _, statement := range []string{
			`UPDATE headlines SET title = 'q' WHERE title = 'a'`,
			`INSERT INTO published (id, tag, title) VALUES (9, 1, 'n')`,
			`UPDATE published SET tag = 2 WHERE id = 1`,
			`DELETE FROM published WHERE id = 3`,
		} {
			if strings.HasPrefix(statement, "INSERT") {
				f.runs(t, statement)
			} else {
				f.changes(t, view+" ", statement)
			}
			f.dropped(t, table, view)
			f.kept(t, tags)
		}
		require.NoError(t, f.DB.Exec(`UPDATE published SET title = 'outside' WHERE id = 1`).Error)
		f.dropped(t, table, view)
	})
}

func TestInsteadOfTriggersNeedTouches(t *testing.T) {
	schema := append([]string(nil), shelves...)
	schema = append(schema, `CREATE TABLE elsewhere (id integer PRIMARY KEY)`, `CREATE TABLE apart (id integer PRIMARY KEY)`)
	for _, declared := range []bool{false, true} {
		config := cacheplugin.Config{Profiles: fixture.CacheAll()}
		if declared {
			p := *config.Profiles["*"]
			p.Touches = []string{"elsewhere"}
			config.Profiles["tagged"] = &p
		}
		t.Run(map[bool]string{false: "undeclared", true: "declared"}[declared], func(t *testing.T) {
			onTexts(t, []string{"postgres", "sqlite"}, config, schema, func(t *testing.T, f *texts) { redirects(t, f, declared) })
		})
	}
}

func redirects(t *testing.T, f *texts, declared bool) {
	if f.Env.Dialect == "sqlite" {
		require.NoError(t, f.Plain.Exec(`CREATE TRIGGER redirect INSTEAD OF INSERT ON tagged BEGIN INSERT INTO elsewhere VALUES (NEW.id); END`).Error)
	} else {
		require.NoError(t, f.Plain.Exec(`CREATE FUNCTION redirect() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN INSERT INTO elsewhere VALUES (NEW.id); RETURN NEW; END'`).Error)
		require.NoError(t, f.Plain.Exec(`CREATE TRIGGER redirect INSTEAD OF INSERT ON tagged FOR EACH ROW EXECUTE FUNCTION redirect()`).Error)
	}
	target, apart := `SELECT * FROM elsewhere ORDER BY id`, `SELECT * FROM apart`
	f.fill(t, target, apart)
	f.changes(t, target, `INSERT INTO tagged (id, title, tag) VALUES (7, 'x', 'y')`)
	if declared {
		f.kept(t, apart)
	} else {
		f.dropped(t, apart)
	}
	f.dropped(t, target)
}

func TestWhatAViewCallsCountsAsInTheText(t *testing.T) {
	volatile := map[string]string{
		"postgres": `CREATE VIEW dated AS SELECT id, now() AS at FROM articles`,
		"mysql":    `CREATE VIEW dated AS SELECT id, now() AS at FROM articles`,
		"sqlite":   `CREATE VIEW dated AS SELECT id, random() AS at FROM articles`,
	}
	onTexts(t, nil, cacheplugin.Config{}, shelves, func(t *testing.T, f *texts) {
		require.NoError(t, f.Plain.Exec(volatile[f.Env.Dialect]).Error)
		require.NoError(t, f.Plain.Exec(`CREATE VIEW above AS SELECT id FROM dated`).Error)
		outcome := f.Outcome(func() { rowsOf(t, f.DB, `SELECT id FROM above`) })
		require.Contains(t, outcome, "skip: volatile: ")
	})
}

func TestRedefiningAViewDropsWhatDependsOnIt(t *testing.T) {
	onTexts(t, nil, cacheplugin.Config{}, shelves, func(t *testing.T, f *texts) {
		direct, above, other := `SELECT * FROM published ORDER BY id`, `SELECT * FROM headlines ORDER BY title`, `SELECT * FROM tags ORDER BY id`
		f.fill(t, direct, above, other)
		replace := []string{`CREATE OR REPLACE VIEW published AS SELECT id, tag_id AS tag, title FROM articles WHERE state = 0`}
		if f.Env.Dialect == "sqlite" {
			replace = []string{`DROP VIEW published`, `CREATE VIEW published AS SELECT id, tag_id AS tag, title FROM articles WHERE state = 0`}
		}
		for _, s := range replace {
			require.NoError(t, f.DB.Exec(s).Error)
		}
		f.dropped(t, direct, above)
		f.kept(t, other)
		f.changes(t, direct, `UPDATE articles SET state = 0 WHERE id = 1`)
		f.dropped(t, direct, above)
	})
}

func TestAMaterializedViewChangesByRefreshOnly(t *testing.T) {
	schema := append(append([]string(nil), shelves...),
		`CREATE MATERIALIZED VIEW kept AS SELECT id, tag_id FROM articles`, `CREATE UNIQUE INDEX ON kept (id)`, `CREATE VIEW over AS SELECT count(*) AS n FROM kept`)
	onTexts(t, []string{"postgres"}, cacheplugin.Config{}, schema, func(t *testing.T, f *texts) {
		kept, above := `SELECT * FROM kept ORDER BY id`, `SELECT * FROM over`
		f.fill(t, kept, above)
		f.runs(t, `INSERT INTO articles VALUES (4, 2, 1, 'd')`)
		f.kept(t, kept, above)
		f.changes(t, kept, `REFRESH MATERIALIZED VIEW kept`)
		f.dropped(t, kept, above)
		f.runs(t, `DELETE FROM articles WHERE id = 1`)
		f.kept(t, kept, above)
		require.NoError(t, f.DB.Exec(`REFRESH MATERIALIZED VIEW CONCURRENTLY kept`).Error)
		f.dropped(t, kept, above)
	})
}
