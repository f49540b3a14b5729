package schema

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cacheplugin/cacheplugin"
	"github.com/cacheplugin/cacheplugin/cache"
	"github.com/cacheplugin/cacheplugin/integration/internal/fixture"
)

// household is a tree of foreign keys of every action, with a key of two
// columns, a table that refers to itself and one that does so in a circle.
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

func onHousehold(t *testing.T, test func(t *testing.T, f *texts)) {
	t.Helper()
	onTexts(t, nil, cacheplugin.Config{}, household, test)
}

func TestRowsThatADeleteTakesAlongAreKnownOneByOne(t *testing.T) {
	onHousehold(t, func(t *testing.T, f *texts) {
		gone := []string{
			`SELECT * FROM pets WHERE owner_id = 2`, `SELECT * FROM pets WHERE kind = 7 ORDER BY id`, `SELECT * FROM toys WHERE shelf = 2`,
			`SELECT * FROM stains WHERE toy_id = 3`, `SELECT * FROM stains WHERE toy_id IS NULL`, `SELECT * FROM stains WHERE id = 2`,
			`SELECT * FROM cards WHERE code = 20`, `SELECT * FROM cards WHERE code IS NULL ORDER BY id`, `SELECT * FROM homes WHERE area = 2`,
			`SELECT count(*) AS n FROM toys`,
		}
		stay := []string{
			`SELECT * FROM pets WHERE owner_id = 1 ORDER BY id`, `SELECT * FROM pets WHERE kind = 8`, `SELECT * FROM toys WHERE shelf = 1 ORDER BY id`,
			`SELECT * FROM stains WHERE toy_id = 1`, `SELECT * FROM stains WHERE place = 6`, `SELECT * FROM cards WHERE slot = 1`,
			`SELECT * FROM homes WHERE area = 1 ORDER BY id`, `SELECT * FROM nodes WHERE tag = 1 ORDER BY id`,
		}
		f.fill(t, gone...)
		f.fill(t, stay...)
		f.changes(t, gone[0], `DELETE FROM owners WHERE id = 2`)
		f.dropped(t, gone...)
		f.kept(t, stay...)
	})
}

func TestRowsThatFollowAnUpdatedKeyAreKnownOneByOne(t *testing.T) {
	onHousehold(t, func(t *testing.T, f *texts) {
		moved := []string{`SELECT * FROM cards WHERE code = 20`, `SELECT * FROM cards WHERE code = 21`, `SELECT * FROM cards WHERE slot = 2`}
		homes := []string{`SELECT * FROM homes WHERE city = 1 AND area = 2`, `SELECT * FROM homes WHERE city = 9`, `SELECT * FROM homes WHERE rooms = 4`}
		stay := []string{`SELECT * FROM cards WHERE code = 10`, `SELECT * FROM cards WHERE slot = 3`, `SELECT * FROM homes WHERE rooms = 3`, `SELECT * FROM homes WHERE city = 2`, `SELECT * FROM pets WHERE owner_id = 2`}
		f.fill(t, moved...)
		f.fill(t, homes...)
		f.fill(t, stay...)
		f.changes(t, moved[2], `UPDATE owners SET code = 21 WHERE id = 2`)
		f.dropped(t, moved...)
		f.kept(t, homes...)
		f.kept(t, stay...)
		f.changes(t, homes[2], `UPDATE owners SET city = city + 8 WHERE id = 2`)
		f.dropped(t, homes...)
		f.kept(t, moved...)
		f.kept(t, stay...)
	})
}

func TestACascadeThroughATableItselfIsFollowedToItsEnd(t *testing.T) {
	onHousehold(t, func(t *testing.T, f *texts) {
		gone := []string{`SELECT * FROM nodes WHERE tag = 1 ORDER BY id`, `SELECT * FROM nodes WHERE tag = 2`, `SELECT * FROM nodes WHERE tag = 3`, `SELECT * FROM nodes WHERE parent_id = 3`}
		stay := []string{`SELECT * FROM nodes WHERE tag = 4 ORDER BY id`, `SELECT * FROM nodes WHERE parent_id = 5`}
		f.fill(t, gone...)
		f.fill(t, stay...)
		f.changes(t, gone[2], `DELETE FROM nodes WHERE id = 1`)
		f.dropped(t, gone...)
		f.kept(t, stay...)
	})
}

func TestACircleOfRowsEnds(t *testing.T) {
	onHousehold(t, func(t *testing.T, f *texts) {
		require.NoError(t, f.Plain.Exec(`UPDATE nodes SET parent_id = 6 WHERE id = 5`).Error)
		gone, stay := `SELECT * FROM nodes WHERE tag = 4 ORDER BY id`, `SELECT * FROM nodes WHERE tag = 2`
		f.fill(t, gone, stay)
		f.changes(t, gone, `DELETE FROM nodes WHERE id = 5`)
		f.dropped(t, gone)
		f.kept(t, stay)
	})
}

// TestTooLongAChainDropsTheTable: deeper than is followed row by row.
func TestTooLongAChainDropsTheTable(t *testing.T) {
	onHousehold(t, func(t *testing.T, f *texts) {
		for id := 101; id <= 114; id++ {
			parent := any(id - 1)
			if id == 101 {
				parent = nil
			}
			require.NoError(t, f.Plain.Exec(`INSERT INTO nodes VALUES (?, ?, ?)`, id, parent, id).Error)
		}
		last := `SELECT * FROM nodes WHERE tag = 114`
		f.fill(t, last)
		f.changes(t, last, `DELETE FROM nodes WHERE id = 101`)
		f.dropped(t, last)
	})
}

func TestTooManyRowsAndWritesOutsideOfTransactionsDropTheChildren(t *testing.T) {
	onTexts(t, nil, cacheplugin.Config{MaxImages: 1}, household, func(t *testing.T, f *texts) {
		gone, other := `SELECT * FROM pets WHERE owner_id = 1 ORDER BY id`, `SELECT * FROM pets WHERE owner_id = 2`
		f.fill(t, gone, other)
		f.changes(t, gone, `DELETE FROM owners WHERE id = 1`)
		f.dropped(t, gone, other)
		require.NoError(t, f.DB.Exec(`DELETE FROM owners WHERE id = 2`).Error)
		f.dropped(t, gone, other)
		require.NoError(t, f.DB.Exec(`DELETE FROM owners`).Error)
		f.reads(t, other)
	})
}

func TestDefaultsThatACascadeSetsAreReadBack(t *testing.T) {
	schema := []string{
		`CREATE TABLE owners (id integer PRIMARY KEY)`, `INSERT INTO owners VALUES (0), (1), (2)`,
		`CREATE TABLE pets (id integer PRIMARY KEY, owner_id integer DEFAULT 0, twice integer GENERATED ALWAYS AS (owner_id * 2) STORED,
		 FOREIGN KEY (owner_id) REFERENCES owners (id) ON DELETE SET DEFAULT)`,
		`INSERT INTO pets (id, owner_id) VALUES (1, 1), (2, 2)`,
	}
	onTexts(t, []string{"postgres", "sqlite"}, cacheplugin.Config{}, schema, func(t *testing.T, f *texts) {
		gone := []string{`SELECT * FROM pets WHERE owner_id = 1`, `SELECT * FROM pets WHERE owner_id = 0`, `SELECT * FROM pets WHERE twice = 0`, `SELECT * FROM pets WHERE twice = 2`}
		stay := []string{`SELECT * FROM pets WHERE owner_id = 2`, `SELECT * FROM pets WHERE twice = 4`}
		f.fill(t, gone...)
		f.fill(t, stay...)
		f.changes(t, gone[0], `DELETE FROM owners WHERE id = 1`)
		f.dropped(t, gone...)
		f.kept(t, stay...)
	})
}

// TestColumnsOfOneSetNullAreNotTakenForAll: PostgreSQL can leave a part of the
// key as it is.
func TestColumnsOfOneSetNullAreNotTakenForAll(t *testing.T) {
	schema := []string{
		`CREATE TABLE users (tenant integer, id integer, PRIMARY KEY (tenant, id))`, `INSERT INTO users VALUES (1, 1), (1, 2)`,
		`CREATE TABLE posts (id integer PRIMARY KEY, tenant integer, author integer, FOREIGN KEY (tenant, author) REFERENCES users ON DELETE SET NULL (author))`,
		`INSERT INTO posts VALUES (1, 1, 1), (2, 1, 2)`,
	}
	onTexts(t, onPostgres, cacheplugin.Config{}, schema, func(t *testing.T, f *texts) {
		gone := []string{`SELECT * FROM posts WHERE tenant = 1 AND author IS NULL`, `SELECT * FROM posts WHERE author = 1`}
		stay := `SELECT * FROM posts WHERE author = 2`
		f.fill(t, append(gone, stay)...)
		f.changes(t, gone[0], `DELETE FROM users WHERE id = 1`)
		f.dropped(t, gone...)
		f.kept(t, stay)
	})
}

// TestKeysOfOtherKindsDropTheChildren: dates and padded texts are equal in more
// ways than their values show.
func TestKeysOfOtherKindsDropTheChildren(t *testing.T) {
	schema := []string{
		`CREATE TABLE days (day date PRIMARY KEY, n integer)`, `INSERT INTO days VALUES ('2020-01-01', 1), ('2020-01-02', 2)`,
		`CREATE TABLE events (id integer PRIMARY KEY, day date, room integer, FOREIGN KEY (day) REFERENCES days (day) ON DELETE CASCADE)`,
		`INSERT INTO events VALUES (1, '2020-01-01', 1), (2, '2020-01-02', 2)`,
	}
	onTexts(t, nil, cacheplugin.Config{}, schema, func(t *testing.T, f *texts) {
		gone := `SELECT * FROM events WHERE room = 1`
		f.fill(t, gone)
		f.changes(t, gone, `DELETE FROM days WHERE n = 1`)
		f.dropped(t, gone)
	})
}

// TestTextKeysAreFollowedByTheirCollation: where case does not count, a child
// may spell its parent in another way.
func TestTextKeysAreFollowedByTheirCollation(t *testing.T) {
	schema := []string{
		`CREATE TABLE langs (code varchar(10) PRIMARY KEY)`, `INSERT INTO langs VALUES ('en'), ('de')`,
		`CREATE TABLE words (id integer PRIMARY KEY, lang varchar(10), n integer, FOREIGN KEY (lang) REFERENCES langs (code) ON DELETE CASCADE)`,
	}
	onTexts(t, nil, cacheplugin.Config{}, schema, func(t *testing.T, f *texts) {
		spelled := "en"
		if f.Env.Dialect == "mysql" {
			spelled = "EN"
		}
		require.NoError(t, f.Plain.Exec(`INSERT INTO words VALUES (1, ?, 1), (2, 'de', 2)`, spelled).Error)
		gone, stay := `SELECT * FROM words WHERE n = 1`, `SELECT * FROM words WHERE n = 2`
		f.fill(t, gone, stay)
		f.changes(t, gone, `DELETE FROM langs WHERE code = 'en'`)
		f.dropped(t, gone)
		f.kept(t, stay)
	})
}

// TestACascadeIntoAFamily: the rows are in partitions.
func TestACascadeIntoAFamily(t *testing.T) {
	schema := []string{
		`CREATE TABLE owners (id integer PRIMARY KEY)`, `INSERT INTO owners VALUES (1), (2)`,
		`CREATE TABLE bills (id integer, owner_id integer REFERENCES owners ON DELETE CASCADE, PRIMARY KEY (id)) PARTITION BY RANGE (id)`,
		`CREATE TABLE bills_low PARTITION OF bills FOR VALUES FROM (0) TO (100)`, `CREATE TABLE bills_high PARTITION OF bills FOR VALUES FROM (100) TO (200)`,
		`INSERT INTO bills VALUES (1, 1), (2, 2), (101, 1), (102, 2)`,
	}
	onTexts(t, onPostgres, cacheplugin.Config{}, schema, func(t *testing.T, f *texts) {
		gone := []string{`SELECT * FROM bills_high WHERE id = 101`, `SELECT * FROM bills WHERE owner_id = 1 ORDER BY id`}
		stay := []string{`SELECT * FROM bills_high WHERE id = 102`, `SELECT * FROM bills WHERE owner_id = 2 ORDER BY id`}
		f.fill(t, gone...)
		f.fill(t, stay...)
		f.changes(t, gone[0], `DELETE FROM owners WHERE id = 1`)
		f.dropped(t, gone...)
		f.kept(t, stay...)
	})
}

// TestARowThatSeveralKeysChangeIsReadBack: each key alone knows of its own
// columns only, and the row becomes what none of them says.
func TestARowThatSeveralKeysChangeIsReadBack(t *testing.T) {
	schema := []string{
		`CREATE TABLE users (id integer PRIMARY KEY, code integer UNIQUE)`, `INSERT INTO users VALUES (1, 10), (2, 20), (3, 30), (4, 40), (5, 50)`,
		`CREATE TABLE letters (id integer PRIMARY KEY, sender integer, receiver integer,
		 FOREIGN KEY (sender) REFERENCES users (id) ON DELETE SET NULL, FOREIGN KEY (receiver) REFERENCES users (id) ON DELETE SET NULL)`,
		`INSERT INTO letters VALUES (1, 1, 1), (2, 2, 3), (3, 3, 2)`,
		`CREATE TABLE swaps (id integer PRIMARY KEY, gives integer, takes integer,
		 FOREIGN KEY (gives) REFERENCES users (code) ON UPDATE CASCADE, FOREIGN KEY (takes) REFERENCES users (code) ON UPDATE CASCADE)`,
		`INSERT INTO swaps VALUES (1, 10, 10), (2, 40, 50)`,
	}
	onTexts(t, nil, cacheplugin.Config{}, schema, func(t *testing.T, f *texts) {
		letters, kept := `SELECT * FROM letters WHERE sender IS NULL AND receiver IS NULL`, `SELECT * FROM letters WHERE sender = 2 AND receiver = 3`
		swaps, other := `SELECT * FROM swaps WHERE gives = 11 AND takes = 11`, `SELECT * FROM swaps WHERE gives = 40 AND takes = 50`
		f.fill(t, letters, kept, swaps, other)
		f.changes(t, swaps, `UPDATE users SET code = 11 WHERE id = 1`)
		f.dropped(t, swaps)
		f.kept(t, letters, kept)
		f.runs(t, `UPDATE users SET code = 41 WHERE id = 4`)
		f.fill(t, swaps)
		f.runs(t, `UPDATE users SET code = 42 WHERE id = 4`) // one row, by one key
		f.kept(t, swaps)
		require.NoError(t, f.Plain.Exec(`DELETE FROM swaps`).Error)
		f.changes(t, letters, `DELETE FROM users WHERE id IN (1, 2, 3)`)
		f.dropped(t, letters)
	})
}

// TestARowThatAnUpdateAndItsKeyChange: the update's own image has the column of
// the key as it was.
func TestARowThatAnUpdateAndItsKeyChange(t *testing.T) {
	schema := []string{
		`CREATE TABLE staff (id integer PRIMARY KEY, code integer UNIQUE, boss integer, FOREIGN KEY (boss) REFERENCES staff (code) ON UPDATE CASCADE)`,
		`INSERT INTO staff VALUES (1, 10, 10), (2, 20, 10)`,
	}
	onTexts(t, onPostgres, cacheplugin.Config{}, schema, func(t *testing.T, f *texts) {
		own := `SELECT * FROM staff WHERE code = 11 AND boss = 11`
		f.fill(t, own)
		f.changes(t, own, `UPDATE staff SET code = 11 WHERE id = 1`)
		f.dropped(t, own)
	})
}

// TestARowThatReplaceTakesAway: SQLite deletes the row that is in the way, and
// what hangs on it.
func TestARowThatReplaceTakesAway(t *testing.T) {
	schema := []string{
		`CREATE TABLE owners (id integer PRIMARY KEY, code integer UNIQUE)`, `INSERT INTO owners VALUES (1, 10), (2, 20), (3, 30)`,
		`CREATE TABLE pets (id integer PRIMARY KEY, owner_id integer, FOREIGN KEY (owner_id) REFERENCES owners (id) ON DELETE CASCADE)`,
		`INSERT INTO pets VALUES (1, 1), (2, 2), (3, 3)`,
	}
	onTexts(t, []string{"sqlite"}, cacheplugin.Config{}, schema, func(t *testing.T, f *texts) {
		for owner, write := range []string{
			`INSERT OR REPLACE INTO owners VALUES (4, 10)`,
			`UPDATE OR REPLACE owners SET code = 20 WHERE id = 4`,
			`REPLACE INTO owners VALUES (5, 30)`,
		} {
			gone := fmt.Sprintf(`SELECT * FROM pets WHERE owner_id = %d`, owner+1)
			f.fill(t, gone)
			f.changes(t, gone, write)
			f.dropped(t, gone)
		}
	})
}

// TestARowThatATablesOwnReplaceTakesAway: the same by the table's definition,
// which a plain insert obeys as well.
func TestARowThatATablesOwnReplaceTakesAway(t *testing.T) {
	schema := []string{
		`CREATE TABLE owners (id integer PRIMARY KEY, code integer UNIQUE ON CONFLICT REPLACE)`, `INSERT INTO owners VALUES (1, 10)`,
		`CREATE TABLE pets (id integer PRIMARY KEY, owner_id integer, FOREIGN KEY (owner_id) REFERENCES owners (id) ON DELETE CASCADE)`,
		`INSERT INTO pets VALUES (1, 1)`,
	}
	profiles := fixture.CacheAll()
	profiles["owners"] = &cacheplugin.Profile{Ops: cache.All, Timeout: time.Hour, Touches: []string{}}
	onTexts(t, []string{"sqlite"}, cacheplugin.Config{Profiles: profiles}, schema, func(t *testing.T, f *texts) {
		gone := `SELECT * FROM pets WHERE owner_id = 1`
		f.fill(t, gone)
		f.changes(t, gone, `INSERT INTO owners VALUES (2, 10)`)
		f.dropped(t, gone)
	})
}
