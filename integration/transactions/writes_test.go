package transactions

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"gorm.io/gorm"

	"github.com/cacheplugin/cacheplugin"
	"github.com/cacheplugin/cacheplugin/cache"
	"github.com/cacheplugin/cacheplugin/integration/internal/fixture"
	"github.com/cacheplugin/cacheplugin/integration/testdb"
	"github.com/cacheplugin/cacheplugin/internal/testenv"
)

// writing is a form of write that programs send as text, on the tables of
// TestShapesOfQueries.
type writing struct {
	name string
	on   string // the dialects that have it: p, m, s; all if empty
	sql  string
	// granular writes leave what they don't touch in the cache.
	granular bool
	auto     bool // not in a transaction
}

var writings = []writing{
	{name: "insert", sql: "INSERT INTO items (id, maker_id, kind, name) VALUES (14, 1, 5, 'x'), (15, 2, 5, 'x')", granular: true},
	{name: "insert in autocommit", sql: "INSERT INTO items (id, maker_id, kind, name) VALUES (14, 1, 5, 'x')", granular: true, auto: true},
	{name: "insert with SET", on: "m", sql: "INSERT INTO items SET id = 14, maker_id = 1, kind = 5, name = 'x'", granular: true},
	{name: "insert of a select", sql: "INSERT INTO items (id, maker_id, kind, name) SELECT id + 100, maker_id, kind, name FROM items WHERE maker_id = 1"},
	{name: "insert with a CTE", on: "ps", sql: "WITH x AS (SELECT 1 AS m) INSERT INTO items (id, maker_id, kind, name) SELECT 14, m, 5, 'x' FROM x"},
	{name: "insert or do nothing", on: "ps", sql: "INSERT INTO items (id, maker_id, kind, name) VALUES (11, 1, 5, 'x'), (14, 1, 5, 'x') ON CONFLICT DO NOTHING", granular: true},
	{name: "insert ignore", on: "m", sql: "INSERT IGNORE INTO items (id, maker_id, kind, name) VALUES (11, 1, 5, 'x'), (14, 1, 5, 'x')"},
	{name: "upsert", on: "ps", sql: "INSERT INTO items (id, maker_id, kind, name) VALUES (21, 1, 5, 'x') ON CONFLICT (id) DO UPDATE SET maker_id = excluded.maker_id, name = excluded.name", granular: true},
	{name: "upsert on duplicate key", on: "m", sql: "INSERT INTO items (id, maker_id, kind, name) VALUES (21, 1, 5, 'x') ON DUPLICATE KEY UPDATE maker_id = VALUES(maker_id), name = 'x'"},
	{name: "replace", on: "ms", sql: "REPLACE INTO items (id, maker_id, kind, name) VALUES (21, 1, 5, 'x')"},
	{name: "insert or replace", on: "s", sql: "INSERT OR REPLACE INTO items (id, maker_id, kind, name) VALUES (21, 1, 5, 'x')"},
	{name: "update", sql: "UPDATE items SET maker_id = 1, name = 'x' WHERE id = 21", granular: true},
	{name: "update in autocommit", sql: "UPDATE items SET maker_id = 1, name = 'x' WHERE id = 21", auto: true},
	{name: "update with an alias", on: "p", sql: "UPDATE ONLY items AS i SET maker_id = i.maker_id - 1, name = 'x' WHERE i.kind = 5 AND i.maker_id = 2", granular: true},
	{name: "update of a row value", on: "ps", sql: "UPDATE items SET (maker_id, name) = (1, 'x') WHERE id = 21", granular: true},
	{name: "update by a range", sql: "UPDATE items SET name = 'x', maker_id = 1 WHERE id > 20 AND id < 30 AND name LIKE 'gr%'", granular: true},
	{name: "update returning", on: "ps", sql: "UPDATE items SET maker_id = 1, name = 'x' WHERE id = 21 RETURNING id"},
	{name: "update from", on: "ps", sql: "UPDATE items SET maker_id = 1, name = 'x' FROM makers WHERE makers.id = items.maker_id AND makers.id = 2"},
	{name: "update of a join", on: "m", sql: "UPDATE items i JOIN makers m ON m.id = i.maker_id SET i.maker_id = 1, i.name = 'x' WHERE m.id = 2"},
	{name: "update ordered", on: "m", sql: "UPDATE items SET maker_id = 1, name = 'x' WHERE maker_id = 2 ORDER BY id LIMIT 1"},
	{name: "update by a subquery", sql: "UPDATE items SET maker_id = 1, name = 'x' WHERE maker_id IN (SELECT id FROM makers WHERE name = 'two')"},
	{name: "update with a CTE", on: "ps", sql: "WITH x AS (SELECT 2 AS m) UPDATE items SET maker_id = 1, name = 'x' WHERE maker_id IN (SELECT m FROM x)"},
	{name: "update with SET STATEMENT", on: "m", sql: "SET STATEMENT max_statement_time = 100 FOR UPDATE items SET maker_id = 1, name = 'x' WHERE id = 21"},
	{name: "delete", sql: "DELETE FROM items WHERE id = 11", granular: true},
	{name: "delete returning", on: "pms", sql: "DELETE FROM items WHERE id = 11 RETURNING id"},
	{name: "delete using", on: "p", sql: "DELETE FROM items USING makers WHERE makers.id = items.maker_id AND makers.name = 'one'"},
	{name: "delete of a join", on: "m", sql: "DELETE i FROM items i JOIN makers m ON m.id = i.maker_id WHERE m.name = 'one'"},
	{name: "delete from, using", on: "m", sql: "DELETE FROM i USING items i JOIN makers m ON m.id = i.maker_id WHERE m.name = 'one'"},
	{name: "delete limited", on: "m", sql: "DELETE FROM items WHERE maker_id = 1 ORDER BY id LIMIT 1"},
	{name: "delete with quoted names and comments", on: "ps", sql: `/* SELECT */ DELETE FROM "items" -- ;` + "\n" + `WHERE "items"."id" = 11`, granular: true},
	{name: "merge", on: "p", sql: "MERGE INTO items i USING (VALUES (21, 1)) v(id, m) ON v.id = i.id WHEN MATCHED THEN UPDATE SET maker_id = v.m, name = 'x' WHEN NOT MATCHED THEN INSERT VALUES (v.id, v.m, 5, 'x')"},
	{name: "truncate", on: "pm", sql: "TRUNCATE TABLE items", auto: true},
	{name: "truncate in a transaction", on: "p", sql: "TRUNCATE items"},
	{name: "writing CTE", on: "p", sql: "WITH x AS (DELETE FROM items WHERE id = 11 RETURNING *) SELECT * FROM x"},
	{name: "writing CTE in an insert", on: "p", sql: "WITH x AS (DELETE FROM items WHERE id = 11 RETURNING *) INSERT INTO notes SELECT id, id, maker_id, name FROM x"},
	{name: "copy from a program", on: "p", sql: "COPY items (id, maker_id, kind, name) FROM PROGRAM 'echo 14,1,5,x' WITH (FORMAT csv)"},
	{name: "call", on: "pm", sql: "CALL move_items(2, 1)"},
	{name: "do", on: "p", sql: "DO $$ BEGIN UPDATE items SET maker_id = 1, name = 'x' WHERE id = 21; END $$"},
	{name: "a function that writes", on: "pm", sql: "SELECT moved_items(2, 1)"},
	{name: "a function that writes, quoted", on: "p", sql: `SELECT public . "moved_items" /* ( */ (2, 1)`},
	{name: "a function that writes, in FROM", on: "p", sql: `SELECT * FROM moved_items(2, 1) AS n WHERE n >= 0`},
	{name: "a function that writes, beside a write", on: "p", sql: `INSERT INTO notes VALUES (moved_items(2, 1) + 1000, 1, 1, 'z')`},
	{name: "explain analyze", on: "p", sql: "EXPLAIN (ANALYZE) UPDATE items SET maker_id = 1, name = 'x' WHERE id = 21"},
	{name: "explain analyze of a function that writes", on: "p", sql: "EXPLAIN ANALYZE SELECT moved_items(2, 1)"},
	{name: "analyze", on: "m", sql: "ANALYZE UPDATE items SET maker_id = 1, name = 'x' WHERE id = 21"},
	{name: "prepare and execute", on: "p", sql: "PREPARE moving AS UPDATE items SET maker_id = 1, name = 'x' WHERE id = 21; EXECUTE moving; DEALLOCATE moving"},
	{name: "execute immediate", on: "m", sql: "EXECUTE IMMEDIATE 'UPDATE items SET maker_id = 1, name = ''x'' WHERE id = 21'"},
	{name: "several statements", on: "ps", sql: "UPDATE makers SET name = 'zwei' WHERE id = 2; UPDATE items SET maker_id = 1, name = 'x' WHERE id = 21"},
}

// writingsSchema are the routines that texts call.
func writingsSchema(dialect string) []string {
	switch dialect {
	case "postgres":
		return []string{
			"CREATE PROCEDURE move_items(a bigint, b bigint) LANGUAGE sql AS $$ UPDATE items SET maker_id = b, name = 'x' WHERE maker_id = a $$",
			"CREATE FUNCTION moved_items(a bigint, b bigint) RETURNS bigint LANGUAGE plpgsql AS $$ BEGIN UPDATE items SET maker_id = b, name = 'x' WHERE maker_id = a; RETURN 1; END $$",
			"CREATE FUNCTION items_of(a bigint) RETURNS bigint LANGUAGE sql STABLE AS $$ SELECT count(*) FROM items WHERE maker_id = a $$",
		}
	case "mysql":
		return []string{
			"CREATE PROCEDURE move_items(a bigint, b bigint) UPDATE items SET maker_id = b, name = 'x' WHERE maker_id = a",
			"CREATE FUNCTION moved_items(a bigint, b bigint) RETURNS bigint MODIFIES SQL DATA BEGIN UPDATE items SET maker_id = b, name = 'x' WHERE maker_id = a; RETURN 1; END",
			"CREATE FUNCTION items_of(a bigint) RETURNS bigint READS SQL DATA RETURN (SELECT count(*) FROM items WHERE maker_id = a)",
		}
	}
	return nil
}

// written is a fixture with the tables of shapes, and what reads them.
type written struct {
	*fixture.Fixture
	t     *testing.T
	reads []string
}

func newWritten(t *testing.T, env testenv.Database, o fixture.Options) *written {
	t.Helper()
	f := fixture.New(t, env, o)
	for _, text := range append(shapesSchema(env.Dialect), writingsSchema(env.Dialect)...) {
		require.NoError(t, f.Plain.Exec(text).Error, text)
	}
	return &written{f, t, []string{
		"SELECT id, name FROM items WHERE maker_id = 1 ORDER BY id",
		"SELECT id, name FROM items WHERE maker_id = 2 ORDER BY id",
		"SELECT name FROM items WHERE id = 21",
		"SELECT count(*) AS n FROM items",
		"SELECT m.name, count(i.id) AS n FROM makers m LEFT JOIN items i ON i.maker_id = m.id GROUP BY m.name ORDER BY m.name",
		"SELECT id, body FROM notes ORDER BY id",
	}}
}

const islandRead = "SELECT id, name FROM items WHERE maker_id = 9 ORDER BY id"

// restore puts the rows back and drops what is cached.
func (w *written) restore() {
	w.t.Helper()
	for _, table := range []string{"makers", "items", "notes"} {
		require.NoError(w.t, w.Plain.Exec("DELETE FROM "+table).Error)
	}
	for _, text := range shapesSchema(w.Env.Dialect) {
		if strings.HasPrefix(text, "INSERT") {
			require.NoError(w.t, w.Plain.Exec(text).Error)
		}
	}
	require.NoError(w.t, cacheplugin.InvalidateAll(w.DB))
}

func mapsOf(db *gorm.DB, text string) (rows []map[string]any, err error) {
	err = db.Raw(text).Find(&rows).Error
	return rows, err
}

// fresh reads everything through the plugin and requires what is there. It
// returns how many results were answered from the cache.
func (w *written) fresh(t *testing.T) (hits int) {
	t.Helper()
	for _, text := range append([]string{islandRead}, w.reads...) {
		want, err := mapsOf(w.Plain, text)
		require.NoError(t, err)
		var got []map[string]any
		if w.Outcome(func() { got, err = mapsOf(w.DB.Scopes(cache.Cache()), text) }) == "hit" {
			hits++
		}
		require.NoError(t, err)
		require.Equal(t, want, got, "stale: %s", text)
	}
	return hits
}

func TestShapesOfWrites(t *testing.T) {
	for _, env := range testdb.Databases(t) {
		if env.Name == testenv.SQLiteFile {
			continue // writes as SQLite in memory does
		}
		t.Run(env.Name, func(t *testing.T) {
			t.Parallel()
			w := newWritten(t, env, fixture.Options{})
			for _, one := range writings {
				if one.on != "" && !strings.Contains(one.on, env.Dialect[:1]) {
					continue
				}
				for _, way := range []string{"Exec", "Scan", "Rows"} {
					if way != "Exec" && strings.Contains(one.sql, ";") {
						continue // of several statements only Exec sends all
					}
					t.Run(one.name+" by "+way, func(t *testing.T) {
						w.restore()
						w.fresh(t)
						require.Equal(t, len(w.reads)+1, w.fresh(t), "not all is cached")
						before, err := w.all()
						require.NoError(t, err)
						send := func(db *gorm.DB) error { return one.send(db, way) }
						if one.auto {
							err = send(w.DB)
						} else {
							err = w.DB.Transaction(send)
						}
						require.NoError(t, err)
						after, err := w.all()
						require.NoError(t, err)
						require.NotEqual(t, before, after, "the write changes nothing")
						if one.granular && way == "Exec" {
							w.Hits(t, func() {
								_, err := mapsOf(w.DB.Scopes(cache.Cache()), islandRead)
								require.NoError(t, err)
							}, "it drops what it doesn't touch")
						}
						w.fresh(t)
					})
				}
			}
		})
	}
}

// all is what the tables hold.
func (w *written) all() (string, error) {
	text := ""
	for _, table := range []string{"makers", "items", "notes"} {
		rows, err := mapsOf(w.Plain, "SELECT * FROM "+table+" ORDER BY id")
		if err != nil {
			return "", err
		}
		text += fmt.Sprint(rows)
	}
	return text, nil
}

func (w writing) send(db *gorm.DB, way string) error {
	switch way {
	case "Scan":
		var rows []map[string]any
		return db.Raw(w.sql).Scan(&rows).Error
	case "Rows":
		rows, err := db.Raw(w.sql).Rows()
		if err != nil {
			return err
		}
		for rows.Next() {
		}
		if err := rows.Err(); err != nil {
			return err
		}
		return rows.Close()
	}
	return db.Exec(w.sql).Error
}

// TestFunctionsThatWrite: a query that GORM builds may call one, too.
func TestFunctionsThatWrite(t *testing.T) {
	for _, env := range testdb.Databases(t) {
		if env.Dialect == "sqlite" {
			continue // has no stored functions
		}
		t.Run(env.Name, func(t *testing.T) {
			t.Parallel()
			w := newWritten(t, env, fixture.Options{})
			call := "moved_items(2, 1)"
			for name, do := range map[string]func(db *gorm.DB) error{
				"Find": func(db *gorm.DB) error {
					var rows []map[string]any
					return db.Table("makers").Select("id, " + call + " AS n").Where("id = 3").Find(&rows).Error
				},
				"Pluck": func(db *gorm.DB) error {
					var n []int
					return db.Table("makers").Where("id = 3").Pluck(call, &n).Error
				},
				"Where": func(db *gorm.DB) error {
					var n int64
					return db.Table("makers").Where("id = 3 AND "+call+" = ?", 1).Count(&n).Error
				},
				"Row": func(db *gorm.DB) error {
					var n int
					return db.Table("makers").Select(call).Where("id = 3").Row().Scan(&n)
				},
				"in a transaction": func(db *gorm.DB) error {
					return db.Transaction(func(tx *gorm.DB) error {
						var n []int
						return tx.Table("makers").Where("id = 3").Pluck(call, &n).Error
					})
				},
			} {
				t.Run(name, func(t *testing.T) {
					w.restore()
					w.fresh(t)
					before, err := w.all()
					require.NoError(t, err)
					require.NoError(t, do(w.DB))
					after, err := w.all()
					require.NoError(t, err)
					require.NotEqual(t, before, after)
					w.fresh(t)
				})
			}
			t.Run("one that only reads", func(t *testing.T) {
				w.restore()
				w.fresh(t)
				var n int
				require.NoError(t, w.DB.Raw("SELECT items_of(1)").Scan(&n).Error)
				require.Equal(t, 2, n)
				require.Equal(t, len(w.reads)+1, w.fresh(t))
			})
			t.Run("one made later", func(t *testing.T) {
				w.restore()
				text := writingsSchema(env.Dialect)[1]
				require.NoError(t, w.DB.Exec(strings.Replace(text, "moved_items", "moved_later", 1)).Error)
				w.fresh(t)
				var n int
				require.NoError(t, w.DB.Raw("SELECT moved_later(2, 1)").Scan(&n).Error)
				w.fresh(t)
			})
		})
		t.Run(env.Name+"/warn", func(t *testing.T) {
			t.Parallel()
			w := newWritten(t, env, fixture.Options{Config: cacheplugin.Config{OnUnknownWrite: cacheplugin.Warn}})
			w.fresh(t)
			var n int
			require.NoError(t, w.DB.Raw("SELECT moved_items(3, 1)").Scan(&n).Error)
			require.Equal(t, len(w.reads)+1, w.fresh(t), "it drops nothing")
			require.NoError(t, w.DB.Exec("INSERT INTO notes VALUES (moved_items(3, 1) + 1000, 1, 1, 'z')").Error)
			w.fresh(t) // its own table it does
		})
	}
}

// TestTriggersMadeThroughTheHandle: the bodies of routines have semicolons.
func TestTriggersMadeThroughTheHandle(t *testing.T) {
	for _, env := range testdb.Databases(t) {
		t.Run(env.Name, func(t *testing.T) {
			t.Parallel()
			w := newWritten(t, env, fixture.Options{})
			insert := func() error { return w.DB.Exec("INSERT INTO notes VALUES (300, 21, 2, 'z')").Error }
			w.fresh(t)
			require.NoError(t, insert()) // so that the table is known
			w.restore()
			text := "CREATE TRIGGER moving AFTER INSERT ON notes FOR EACH ROW BEGIN UPDATE items SET maker_id = 1 WHERE id = 21; DELETE FROM items WHERE id = 12; END"
			if env.Dialect == "postgres" {
				require.NoError(t, w.DB.Exec("CREATE FUNCTION moving() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN UPDATE items SET maker_id = 1 WHERE id = 21; RETURN NEW; END'").Error)
				text = "CREATE TRIGGER moving AFTER INSERT ON notes FOR EACH ROW EXECUTE FUNCTION moving()"
			}
			require.NoError(t, w.DB.Exec(text).Error)
			w.fresh(t)
			require.NoError(t, insert())
			w.fresh(t)
		})
	}
}
