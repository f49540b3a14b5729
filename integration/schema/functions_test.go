package schema

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cacheplugin/cacheplugin"
)

// TestAStoredFunctionByTheNameOfAKnownOneIsNotTakenForIt: total and median are
// SQLite's and MariaDB's own, and anybody's elsewhere.
func TestAStoredFunctionByTheNameOfAKnownOneIsNotTakenForIt(t *testing.T) {
	schema := []string{
		`CREATE TABLE orders (id integer PRIMARY KEY)`, `INSERT INTO orders VALUES (1)`,
		`CREATE TABLE parts (id integer PRIMARY KEY, order_id integer, price integer)`, `INSERT INTO parts VALUES (1, 1, 5)`,
	}
	functions := map[string][]string{
		"postgres": {
			`CREATE FUNCTION total(o integer) RETURNS bigint LANGUAGE sql STABLE AS 'SELECT sum(price) FROM parts WHERE order_id = o'`,
			`CREATE FUNCTION owed(o orders) RETURNS bigint LANGUAGE sql STABLE AS 'SELECT sum(price) FROM parts WHERE order_id = o.id'`,
			`CREATE FUNCTION path(o integer) RETURNS bigint LANGUAGE sql AS 'SELECT sum(price) FROM parts WHERE order_id = o'`,
		},
		"mysql": {
			`CREATE FUNCTION total(o integer) RETURNS bigint READS SQL DATA RETURN (SELECT sum(price) FROM parts WHERE order_id = o)`,
			`CREATE FUNCTION path(o integer) RETURNS bigint READS SQL DATA RETURN (SELECT sum(price) FROM parts WHERE order_id = o)`,
		},
	}
	onTexts(t, []string{"postgres", "mysql"}, cacheplugin.Config{}, schema, func(t *testing.T, f *texts) {
		for _, s := range functions[f.Env.Dialect] {
			require.NoError(t, f.Plain.Exec(s).Error)
		}
		require.NoError(t, f.Plain.Exec(`CREATE VIEW totals AS SELECT id, total(id) AS n FROM orders`).Error)
		queries := []string{`SELECT id, total(id) AS n FROM orders`, `SELECT id, path(id) AS n FROM orders`, `SELECT n FROM totals`}
		if f.Env.Dialect == "postgres" { // a function of a row, called as if it were a column
			queries = append(queries, `SELECT o.id, o.owed AS n FROM orders o`)
		}
		for i, q := range queries {
			f.reads(t, q)
			f.reads(t, q)
			require.NoError(t, f.DB.Exec(`UPDATE parts SET price = ?`, i).Error)
			require.Contains(t, f.reads(t, q), "() is not known to be stable", q)
		}
		known := `SELECT id, coalesce(max(price), 0) AS n FROM parts GROUP BY id`
		f.fill(t, known)
	})
}
