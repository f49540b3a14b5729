package schema

import (
	"testing"

	"github.com/stretchr/testify/require"
	"gorm.io/gorm"

	"github.com/cacheplugin/cacheplugin"
	"github.com/cacheplugin/cacheplugin/integration/internal/fixture"
)

var definitions = []string{
	`CREATE TABLE roots (id integer PRIMARY KEY, n integer)`,
	`CREATE TABLE leaves (id integer PRIMARY KEY, root_id integer, n integer, FOREIGN KEY (root_id) REFERENCES roots (id) ON DELETE CASCADE)`,
	`CREATE TABLE apart (id integer PRIMARY KEY, n integer)`,
	`INSERT INTO roots VALUES (1, 1), (2, 2)`, `INSERT INTO leaves VALUES (1, 1, 1), (2, 2, 2)`, `INSERT INTO apart VALUES (1, 1)`,
	`CREATE VIEW shown AS SELECT id, n FROM roots`,
}

func TestTheMigratorsChangesDropTheTableAndItsViews(t *testing.T) {
	onTexts(t, nil, cacheplugin.Config{}, definitions, func(t *testing.T, f *texts) {
		type apart struct {
			ID, N int
			Extra *int `gorm:"default:7"`
		}
		table, other := `SELECT id, n FROM apart`, `SELECT * FROM roots WHERE n = 1`
		m := f.DB.Table("apart").Migrator()
		f.fill(t, table, other)
		require.NoError(t, m.AddColumn(&apart{}, "Extra"))
		f.dropped(t, table)
		f.kept(t, other)
		require.NoError(t, m.DropColumn(&apart{}, "Extra"))
		f.reads(t, table)
		require.NoError(t, f.DB.Migrator().RenameTable("apart", "moved"))
		require.NoError(t, f.DB.Exec(`CREATE TABLE apart (id integer PRIMARY KEY, n integer)`).Error)
		f.reads(t, table)
		f.changes(t, table, `INSERT INTO apart VALUES (5, 5)`)
		f.dropped(t, table)

		view := `SELECT * FROM chosen ORDER BY id`
		require.NoError(t, f.DB.Migrator().CreateView("chosen", gorm.ViewOption{Query: f.DB.Table("roots").Where("n = 1")}))
		f.fill(t, view)
		require.NoError(t, f.DB.Migrator().DropView("chosen"))
		require.NoError(t, f.DB.Migrator().CreateView("chosen", gorm.ViewOption{Query: f.DB.Table("roots").Where("n = 2")}))
		f.dropped(t, view)
		f.changes(t, view, `UPDATE roots SET n = 2 WHERE id = 1`)
		f.dropped(t, view)
	})
}

// TestDroppingATableOfSQLiteDeletesItsRowsFirst: and foreign keys act, as when
// GORM's migrator makes a table anew.
func TestDroppingATableOfSQLiteDeletesItsRowsFirst(t *testing.T) {
	onTexts(t, []string{"sqlite"}, cacheplugin.Config{}, definitions[:6], func(t *testing.T, f *texts) {
		leaves, apart := `SELECT * FROM leaves WHERE n = 1`, `SELECT * FROM apart`
		f.fill(t, leaves, apart)
		f.changes(t, leaves, `DROP TABLE roots`)
		f.reads(t, leaves)
		f.kept(t, apart)
	})
}

func TestTruncateCascadeEmptiesTheTablesThatReference(t *testing.T) {
	onTexts(t, onPostgres, cacheplugin.Config{}, definitions, func(t *testing.T, f *texts) {
		leaves, view, apart := `SELECT * FROM leaves WHERE n = 1`, `SELECT * FROM shown`, `SELECT * FROM apart`
		f.fill(t, leaves, view, apart)
		f.changes(t, leaves, `TRUNCATE roots RESTART IDENTITY CASCADE`)
		f.dropped(t, leaves, view)
		f.kept(t, apart)
	})
}

func TestRulesAndTriggersThatAreAddedCountFromThenOn(t *testing.T) {
	onTexts(t, onPostgres, cacheplugin.Config{}, definitions, func(t *testing.T, f *texts) {
		apart := `SELECT * FROM apart ORDER BY id`
		f.fill(t, apart)
		f.runs(t, `INSERT INTO roots VALUES (3, 3)`)
		f.kept(t, apart)
		f.runs(t, `CREATE RULE also AS ON INSERT TO roots DO ALSO INSERT INTO apart VALUES (NEW.id + 10, 0)`)
		f.fill(t, apart)
		f.changes(t, apart, `INSERT INTO roots VALUES (4, 4)`)
		f.dropped(t, apart)
		f.runs(t, `DROP RULE also ON roots`)
		f.fill(t, apart)
		f.runs(t, `INSERT INTO roots VALUES (5, 5)`)
		f.kept(t, apart)
		f.runs(t, `DO $$ BEGIN CREATE RULE again AS ON INSERT TO roots DO ALSO INSERT INTO apart VALUES (NEW.id + 10, 0); END $$`)
		f.fill(t, apart)
		f.changes(t, apart, `INSERT INTO roots VALUES (6, 6)`)
		f.dropped(t, apart)
	})
}

func TestSchemasThatMoveOrGo(t *testing.T) {
	onTexts(t, onPostgres, cacheplugin.Config{}, definitions, func(t *testing.T, f *texts) {
		roots, leaves := `SELECT * FROM roots ORDER BY id`, `SELECT * FROM leaves WHERE root_id = 1`
		f.fill(t, roots, leaves)
		for _, s := range []string{`CREATE SCHEMA other`, `ALTER TABLE roots SET SCHEMA other`, `CREATE TABLE roots (id integer PRIMARY KEY, n integer)`} {
			require.NoError(t, f.DB.Exec(s).Error)
		}
		f.dropped(t, roots)
		f.changes(t, `SELECT * FROM shown ORDER BY id`, `UPDATE other.roots SET n = 9`)
		moved := `SELECT * FROM shown ORDER BY id`
		f.fill(t, moved)
		f.changes(t, moved, `DELETE FROM other.roots WHERE id = 1`)
		f.dropped(t, moved, leaves)
		f.fill(t, leaves)
		require.NoError(t, f.DB.Exec(`ALTER TABLE leaves DROP CONSTRAINT leaves_root_id_fkey`).Error)
		require.NoError(t, f.DB.Exec(`DROP SCHEMA other CASCADE`).Error)
		require.Error(t, f.DB.Raw(moved).Find(&[]map[string]any{}).Error, "the view is gone, and so is its result")
	})
}

// TestATemporaryTableHidesTheTableOfItsName: on the one connection that has it,
// and nobody knows which that is.
func TestATemporaryTableHidesTheTableOfItsName(t *testing.T) {
	onTexts(t, nil, cacheplugin.Config{}, definitions, func(t *testing.T, f *texts) {
		apart, roots := `SELECT id FROM apart`, `SELECT * FROM roots WHERE n = 1`
		f.fill(t, apart, roots)
		pool, err := f.DB.DB()
		require.NoError(t, err)
		pool.SetMaxOpenConns(1)
		require.NoError(t, f.DB.Exec(`CREATE TEMPORARY TABLE apart (id integer)`).Error)
		require.NoError(t, f.DB.Exec(`INSERT INTO apart VALUES (77)`).Error)
		var got []map[string]any
		outcome := f.Outcome(func() { got = rowsOf(t, f.DB, apart) })
		require.Len(t, got, 1)
		require.EqualValues(t, 77, got[0]["id"], outcome)
		require.NotContains(t, outcome, "hit")
		require.NotEqual(t, "miss", outcome, "it would be stored for those who mean the other table")
		f.reads(t, roots)
		f.kept(t, roots)
	})
}

// TestWritesOfTemporaryTablesInATransactionDropNothing: no result depends on one.
func TestWritesOfTemporaryTablesInATransactionDropNothing(t *testing.T) {
	onTexts(t, []string{"postgres", "sqlite"}, cacheplugin.Config{}, definitions, func(t *testing.T, f *texts) {
		roots := `SELECT * FROM roots WHERE n = 1`
		f.fill(t, roots)
		require.NoError(t, f.DB.Transaction(func(tx *gorm.DB) error {
			for _, s := range []string{`CREATE TEMPORARY TABLE briefly (id integer)`, `INSERT INTO briefly VALUES (1)`, `UPDATE briefly SET id = 2`, `DELETE FROM briefly`} {
				if err := tx.Exec(s).Error; err != nil {
					return err
				}
			}
			return nil
		}))
		f.kept(t, roots)
	})
}

// TestTablesWhoseRowsAreElsewhereAreNotCached: virtual ones, attached ones, and
// those of foreign servers.
func TestTablesWhoseRowsAreElsewhereAreNotCached(t *testing.T) {
	onTexts(t, []string{"sqlite"}, cacheplugin.Config{}, definitions, func(t *testing.T, f *texts) {
		pool, err := f.DB.DB()
		require.NoError(t, err)
		pool.SetMaxOpenConns(1)
		for _, s := range []string{`ATTACH ':memory:' AS away`, `CREATE TABLE away.far (id integer)`, `CREATE VIRTUAL TABLE boxes USING rtree (id, low, high)`} {
			require.NoError(t, f.DB.Exec(s).Error)
		}
		require.Contains(t, f.Outcome(func() { rowsOf(t, f.DB, `SELECT * FROM away.far`) }), "is in an attached database")
		require.Contains(t, f.Outcome(func() { rowsOf(t, f.DB, `SELECT * FROM far`) }), "is in an attached database")
		require.Contains(t, f.Outcome(func() { rowsOf(t, f.DB, `SELECT * FROM boxes`) }), "is a virtual table")
		require.NoError(t, f.DB.Exec(`CREATE VIEW boxed AS SELECT id FROM boxes`).Error)
		require.Contains(t, f.Outcome(func() { rowsOf(t, f.DB, `SELECT * FROM boxed`) }), "boxed is a view: boxes is a virtual table")
	})
	onTexts(t, onPostgres, cacheplugin.Config{}, definitions, func(t *testing.T, f *texts) {
		var have int
		require.NoError(t, f.Plain.Raw(`SELECT count(*) FROM pg_available_extensions WHERE name = 'file_fdw'`).Scan(&have).Error)
		if have == 0 {
			return // a part of the server that need not be installed
		}
		for _, s := range []string{
			`CREATE EXTENSION file_fdw`, `CREATE SERVER files FOREIGN DATA WRAPPER file_fdw`,
			`CREATE FOREIGN TABLE far (id integer) SERVER files OPTIONS (program 'echo 7')`, `CREATE VIEW near AS SELECT id FROM far`,
			`CREATE TABLE parted (id integer) PARTITION BY LIST (id)`,
			`CREATE FOREIGN TABLE part PARTITION OF parted FOR VALUES IN (7) SERVER files OPTIONS (program 'echo 7')`,
		} {
			require.NoError(t, f.Plain.Exec(s).Error, s)
		}
		for query, reason := range map[string]string{
			`SELECT * FROM far`: "far is a foreign table", `SELECT * FROM near`: "near is a view: far is a foreign table",
			`SELECT * FROM parted`: "has a foreign table in its family: part",
		} {
			require.Contains(t, f.Outcome(func() { require.Len(t, rowsOf(t, f.DB, query), 1) }), reason)
		}
	})
}

// TestAViewThatCannotBeResolvedIsCachedByWhatIsDeclared.
func TestAViewThatCannotBeResolvedIsCachedByWhatIsDeclared(t *testing.T) {
	config := cacheplugin.Config{Profiles: fixture.CacheAll()}
	p := *config.Profiles["*"]
	p.DependsOn = []string{"roots"}
	config.Profiles["odd"] = &p
	onTexts(t, []string{"mysql"}, config, definitions, func(t *testing.T, f *texts) {
		for _, name := range []string{"odd", "undeclared"} {
			require.NoError(t, f.Plain.Exec(`CREATE VIEW `+name+` AS SELECT id, n FROM roots WHERE 'a\\b' <> 'c'`).Error)
		}
		require.Contains(t, f.Outcome(func() { rowsOf(t, f.DB, `SELECT * FROM undeclared`) }), "backslash")
		declared := `SELECT * FROM odd ORDER BY id`
		f.fill(t, declared)
		f.changes(t, declared, `UPDATE roots SET n = 9 WHERE id = 1`)
		f.dropped(t, declared)
	})
}
