package catalog

import (
	"context"
	"database/sql"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cacheplugin/cacheplugin/conj"
	"github.com/cacheplugin/cacheplugin/integration/testdb"
	"github.com/cacheplugin/cacheplugin/internal/catalog"
	"github.com/cacheplugin/cacheplugin/internal/testenv"
)

// withoutPROCESS refuses what MariaDB refuses to a user without that privilege.
type withoutPROCESS struct{ *sql.DB }

func (q withoutPROCESS) QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error) {
	if strings.Contains(query, "INNODB_SYS_FOREIGN") {
		return nil, errNoQueries
	}
	return q.DB.QueryContext(ctx, query, args...)
}

// MariaDB's foreign keys are read from InnoDB, or as the standard has them: what is
// known of them is the same.
func TestForeignKeysAreTheSameWhereverTheyAreRead(t *testing.T) {
	db := on(t, testenv.MariaDB)
	var own string
	require.NoError(t, db.QueryRowContext(t.Context(), "SELECT DATABASE()").Scan(&own))
	other := own + "_o"
	exec(t, db, "CREATE DATABASE "+other)
	t.Cleanup(func() { exec(t, db, "DROP DATABASE "+other) })
	exec(t, db,
		"CREATE TABLE owners (a integer, b integer, code integer UNIQUE, PRIMARY KEY (a, b))",
		"CREATE TABLE pets (id integer PRIMARY KEY, x integer, y integer, FOREIGN KEY (x, y) REFERENCES owners (a, b) ON DELETE CASCADE ON UPDATE SET NULL)",
		"CREATE TABLE cards (id integer PRIMARY KEY, code integer, FOREIGN KEY (code) REFERENCES owners (code) ON UPDATE CASCADE)",
		"CREATE TABLE bills (id integer PRIMARY KEY, x integer, y integer, FOREIGN KEY (x, y) REFERENCES owners (a, b))",
		"CREATE TABLE "+other+".far (id integer PRIMARY KEY, code integer, FOREIGN KEY (code) REFERENCES "+own+".owners (code) ON DELETE SET NULL)",
	)
	byInnoDB, byStandard := read(t, catalog.New(conj.MySQL), db, "owners"), read(t, catalog.New(conj.MySQL), withoutPROCESS{db}, "owners")
	require.ElementsMatch(t, byStandard.ForeignKeys, byInnoDB.ForeignKeys)
	require.Equal(t, byStandard.DeleteTouches, byInnoDB.DeleteTouches)
	require.Equal(t, byStandard.UpdateTouches, byInnoDB.UpdateTouches)
	require.Len(t, byInnoDB.DeleteTouches, 2)
	// InnoDB encodes such a name.
	exec(t, db, "CREATE TABLE `odd-name` (id integer PRIMARY KEY, code integer, FOREIGN KEY (code) REFERENCES owners (code) ON DELETE CASCADE)")
	require.Contains(t, fmt.Sprint(read(t, catalog.New(conj.MySQL), db, "owners").DeleteTouches), "odd-name")
}

// How long a look at a table takes after a definition in a database of many tables.
func BenchmarkTableOfManyMariaDB(b *testing.B) {
	database := testdb.Need(b, testenv.MariaDB)
	db, err := database.Open(b, nil).DB()
	require.NoError(b, err)
	_, err = db.Exec("CREATE TABLE parents (id integer PRIMARY KEY)")
	require.NoError(b, err)
	for i := range 1500 {
		key := ""
		if i%10 == 0 {
			key = ", FOREIGN KEY (parent) REFERENCES parents (id) ON DELETE CASCADE"
		}
		_, err := db.Exec(fmt.Sprintf("CREATE TABLE t%d (id integer PRIMARY KEY, parent integer, KEY (parent)%s)", i, key))
		require.NoError(b, err)
	}
	for name, q := range map[string]catalog.Querier{"InnoDB": db, "standard": withoutPROCESS{db}} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				_, err := catalog.New(conj.MySQL).Table(b.Context(), q, conj.TableName{Name: "t10"}, true)
				require.NoError(b, err)
			}
		})
	}
}
