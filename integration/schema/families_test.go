package schema

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"gorm.io/gorm"

	"github.com/cacheplugin/cacheplugin"
	"github.com/cacheplugin/cacheplugin/cache"
)

var onPostgres = []string{"postgres"}

// partitioned is a table with partitions two levels deep, one of them in
// another schema.
var partitioned = []string{
	`CREATE SCHEMA old`,
	`CREATE TABLE readings (id integer, year integer, place integer, value integer, PRIMARY KEY (id, year, place)) PARTITION BY RANGE (year)`,
	`CREATE TABLE old.readings_past PARTITION OF readings FOR VALUES FROM (0) TO (2000)`,
	`CREATE TABLE readings_now PARTITION OF readings FOR VALUES FROM (2000) TO (3000) PARTITION BY LIST (place)`,
	`CREATE TABLE readings_here PARTITION OF readings_now FOR VALUES IN (1)`,
	`CREATE TABLE readings_there PARTITION OF readings_now DEFAULT`,
	`CREATE TABLE apart (id integer PRIMARY KEY)`,
	`INSERT INTO readings VALUES (1, 1990, 1, 10), (2, 2010, 1, 20), (3, 2010, 2, 30)`,
}

func TestAPartitionedTableAndItsPartitionsAreOne(t *testing.T) {
	onTexts(t, onPostgres, cacheplugin.Config{}, partitioned, func(t *testing.T, f *texts) {
		whole := `SELECT * FROM readings ORDER BY id`
		all := []string{
			whole, `SELECT * FROM old.readings_past ORDER BY id`, `SELECT * FROM readings_now ORDER BY id`,
			`SELECT * FROM readings_here ORDER BY id`, `SELECT count(*) AS n FROM readings_there`,
		}
		apart := `SELECT * FROM apart`
		f.fill(t, append(all, apart)...)
		for _, statement := range []string{
			`INSERT INTO readings VALUES (4, 2011, 1, 40)`,
			`INSERT INTO old.readings_past VALUES (5, 1991, 1, 50)`,
			`INSERT INTO readings_here (place, value, id, year) VALUES (1, 60, 6, 2012)`,
			`UPDATE readings_now SET value = 21 WHERE id = 2`,
			`UPDATE readings SET year = 1995 WHERE id = 3`, // moves the row
			`DELETE FROM readings_here WHERE id = 4`,
			`TRUNCATE old.readings_past`,
		} {
			f.changes(t, whole, statement)
			f.dropped(t, all...)
			f.kept(t, apart)
		}
	})
}

func TestConditionsNarrowAcrossAFamily(t *testing.T) {
	onTexts(t, onPostgres, cacheplugin.Config{}, partitioned, func(t *testing.T, f *texts) {
		two, three, past := `SELECT * FROM readings WHERE id = 2`, `SELECT * FROM readings_there WHERE id = 3`, `SELECT * FROM old.readings_past WHERE id = 1`
		f.fill(t, two, three, past)
		f.changes(t, two, `UPDATE readings_here SET value = 0 WHERE id = 2`)
		f.dropped(t, two)
		f.kept(t, three, past)
		f.changes(t, three, `UPDATE readings SET value = 0 WHERE id = 3`)
		f.dropped(t, three)
		f.kept(t, two, past)
		f.runs(t, `INSERT INTO readings VALUES (9, 2010, 2, 1)`)
		f.kept(t, two, three, past)
		f.changes(t, past, `UPDATE readings SET year = 2010 WHERE id = 1`)
		f.dropped(t, past)
		f.kept(t, two, three)
	})
}

func TestAttachingAndDetachingDropsTheFamily(t *testing.T) {
	onTexts(t, onPostgres, cacheplugin.Config{}, partitioned, func(t *testing.T, f *texts) {
		whole, coming := `SELECT * FROM readings ORDER BY id`, `SELECT * FROM coming ORDER BY id`
		require.NoError(t, f.Plain.Exec(`CREATE TABLE coming (id integer NOT NULL, year integer NOT NULL, place integer NOT NULL, value integer)`).Error)
		require.NoError(t, f.Plain.Exec(`INSERT INTO coming VALUES (7, 3100, 1, 70)`).Error)
		f.fill(t, whole, coming)
		f.changes(t, whole, `ALTER TABLE readings ATTACH PARTITION coming FOR VALUES FROM (3000) TO (4000)`)
		f.dropped(t, whole, coming)
		f.changes(t, whole, `INSERT INTO coming VALUES (8, 3200, 1, 80)`)
		f.dropped(t, whole, coming)
		f.changes(t, coming, `UPDATE readings SET value = 1 WHERE id = 8`)
		f.dropped(t, whole, coming)
		f.changes(t, whole, `ALTER TABLE readings DETACH PARTITION coming`)
		f.dropped(t, whole, coming)
		f.changes(t, coming, `UPDATE coming SET value = 2 WHERE id = 8`)
		f.dropped(t, coming)
		f.kept(t, whole)

		f.runs(t, `CREATE TABLE late PARTITION OF readings FOR VALUES FROM (4000) TO (5000)`)
		f.dropped(t, whole)
		f.changes(t, whole, `INSERT INTO late VALUES (10, 4100, 1, 1)`)
		f.dropped(t, whole)
		f.changes(t, whole, `DROP TABLE late`)
		f.dropped(t, whole)
	})
}

// TestAPartitionMadeElsewhereBelongsToItsFamily: as maintenance jobs do.
func TestAPartitionMadeElsewhereBelongsToItsFamily(t *testing.T) {
	onTexts(t, onPostgres, cacheplugin.Config{}, partitioned, func(t *testing.T, f *texts) {
		whole := `SELECT * FROM readings ORDER BY id`
		f.fill(t, whole)
		require.NoError(t, f.Plain.Exec(`CREATE TABLE made PARTITION OF readings FOR VALUES FROM (3000) TO (4000)`).Error)
		f.changes(t, whole, `INSERT INTO made VALUES (7, 3001, 1, 1)`)
		f.dropped(t, whole)
	})
}

// inherited has children with columns of their own, and one with two parents.
var inherited = []string{
	`CREATE TABLE cities (id integer PRIMARY KEY, size integer)`,
	`CREATE TABLE ports (id integer, depth integer)`,
	`CREATE TABLE capitals (state integer, PRIMARY KEY (id)) INHERITS (cities)`,
	`CREATE TABLE harbours (size bigint, berths integer) INHERITS (ports)`,
	`CREATE TABLE grand (anthem text) INHERITS (capitals)`,
	`CREATE TABLE outside (state integer)`,
	`INSERT INTO cities VALUES (1, 10)`, `INSERT INTO capitals VALUES (2, 20, 7)`, `INSERT INTO ports VALUES (3, 5)`,
	`INSERT INTO outside VALUES (7), (8)`, `INSERT INTO harbours VALUES (4, 1, 2, 3)`,
}

func TestAnInheritanceIsOne(t *testing.T) {
	onTexts(t, onPostgres, cacheplugin.Config{}, inherited, func(t *testing.T, f *texts) {
		cities, only := `SELECT * FROM cities ORDER BY id`, `SELECT * FROM ONLY cities ORDER BY id`
		capital, state := `SELECT * FROM capitals WHERE id = 2`, `SELECT * FROM capitals WHERE state = 7 ORDER BY id`
		ports := `SELECT * FROM ports ORDER BY id`
		// The parent has no column state: each city counts whose country is in the list.
		correlated := `SELECT count(*) AS n FROM outside WHERE EXISTS (SELECT 1 FROM cities WHERE state = 7)`
		all := []string{cities, only, capital, state, correlated}
		f.fill(t, append(all, ports)...)
		f.changes(t, capital, `UPDATE cities SET size = 21 WHERE id = 2`)
		f.dropped(t, cities, only, capital, state, correlated)
		f.changes(t, cities, `INSERT INTO grand VALUES (5, 50, 8, 'x')`)
		f.dropped(t, cities, correlated)
		f.kept(t, capital, ports)
		f.changes(t, state, `UPDATE capitals SET state = 7 WHERE id = 5`)
		f.dropped(t, state, cities)
		f.kept(t, capital, ports)
		f.changes(t, only, `DELETE FROM ONLY cities WHERE id = 1`)
		f.dropped(t, cities, only)
		f.runs(t, `DELETE FROM cities`)
		for _, q := range all {
			f.reads(t, q)
		}
		f.kept(t, ports)
	})
}

func TestMultipleInheritanceJoinsFamilies(t *testing.T) {
	schema := append(append([]string(nil), inherited...), `CREATE TABLE havens (size integer, id integer NOT NULL, depth integer)`)
	onTexts(t, onPostgres, cacheplugin.Config{}, schema, func(t *testing.T, f *texts) {
		cities, ports, havens := `SELECT id FROM cities ORDER BY id`, `SELECT id FROM ports ORDER BY id`, `SELECT * FROM havens ORDER BY id`
		f.fill(t, cities, ports, havens)
		f.runs(t, `ALTER TABLE havens INHERIT cities, INHERIT ports`)
		f.dropped(t, cities, ports, havens)
		f.changes(t, ports, `INSERT INTO havens VALUES (1, 30, 2)`)
		f.dropped(t, cities, ports, havens)
		f.changes(t, havens, `UPDATE ports SET depth = 9 WHERE id = 30`)
		f.dropped(t, cities, ports, havens)
		f.changes(t, cities, `ALTER TABLE havens NO INHERIT cities`)
		f.dropped(t, cities, ports, havens)
		f.changes(t, havens, `UPDATE havens SET size = 2`)
		f.dropped(t, ports, havens)
		f.kept(t, cities)
	})
}

func TestATriggerOfAPartitionFiresThroughItsParent(t *testing.T) {
	schema := append(append([]string(nil), partitioned...),
		`CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN INSERT INTO apart VALUES (NEW.id); RETURN NEW; END'`,
		`CREATE TRIGGER noting AFTER INSERT ON readings_here FOR EACH ROW EXECUTE FUNCTION note()`)
	onTexts(t, onPostgres, cacheplugin.Config{}, schema, func(t *testing.T, f *texts) {
		apart := `SELECT * FROM apart ORDER BY id`
		f.fill(t, apart)
		f.changes(t, apart, `INSERT INTO readings VALUES (11, 2010, 1, 1)`)
		f.dropped(t, apart)
	})
}

// TestAFamilyGoesByTheProfileOfItsRoot: unless a pattern forbids a member.
func TestAFamilyGoesByTheProfileOfItsRoot(t *testing.T) {
	hour := cacheplugin.Profile{Ops: cache.All, Timeout: time.Hour}
	for name, c := range map[string]struct {
		profiles cacheplugin.Profiles
		cached   bool
	}{
		"the root's":           {cacheplugin.Profiles{"readings": &hour, "*": nil}, true},
		"a member forbids":     {cacheplugin.Profiles{"readings": &hour, "readings_th*": nil}, false},
		"a member's is moot":   {cacheplugin.Profiles{"readings_here": &hour, "*": nil}, false},
		"a member's is milder": {cacheplugin.Profiles{"readings*": nil, "readings_here": &hour, "*": &hour}, false},
	} {
		t.Run(name, func(t *testing.T) {
			onTexts(t, onPostgres, cacheplugin.Config{Profiles: c.profiles}, partitioned, func(t *testing.T, f *texts) {
				for _, q := range []string{`SELECT * FROM readings_here ORDER BY id`, `SELECT * FROM readings ORDER BY id`} {
					if c.cached {
						f.fill(t, q)
						f.changes(t, q, `DELETE FROM readings_here WHERE id = (SELECT min(id) FROM readings_here)`)
						f.dropped(t, q)
						f.runs(t, `INSERT INTO readings VALUES (20, 2010, 1, 1)`)
						continue
					}
					require.NotContains(t, f.reads(t, q)+f.reads(t, q), "hit")
				}
			})
		})
	}
}

func TestForeignAndTemporaryMembersKeepAFamilyFromTheCache(t *testing.T) {
	onTexts(t, onPostgres, cacheplugin.Config{}, inherited, func(t *testing.T, f *texts) {
		cities := `SELECT * FROM cities ORDER BY id`
		f.fill(t, cities)
		require.NoError(t, f.DB.Transaction(func(tx *gorm.DB) error {
			if err := tx.Exec(`CREATE TEMPORARY TABLE briefly () INHERITS (cities)`).Error; err != nil {
				return err
			}
			return tx.Exec(`INSERT INTO briefly VALUES (77, 1)`).Error
		}))
		require.Contains(t, f.Outcome(func() { rowsOf(t, f.DB, cities) }), "has a temporary table in its family")
	})
}
