package catalog

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"gorm.io/gorm"

	"github.com/cacheplugin/cacheplugin/conj"
	"github.com/cacheplugin/cacheplugin/integration/testdb"
	"github.com/cacheplugin/cacheplugin/internal/catalog"
)

// each runs a test on every database.
func each(t *testing.T, test func(t *testing.T, db *sql.DB, d conj.Dialect)) {
	t.Helper()
	for _, database := range testdb.Databases(t) {
		t.Run(database.Name, func(t *testing.T) {
			t.Parallel()
			dialect, _ := conj.DialectOf(database.Dialect)
			db, err := database.Open(t, nil).DB()
			require.NoError(t, err)
			test(t, db, dialect)
		})
	}
}

// on returns an empty database of one kind.
func on(t *testing.T, name string) *sql.DB {
	t.Helper()
	t.Parallel()
	database := testdb.Need(t, name)
	db, err := database.Open(t, nil).DB()
	require.NoError(t, err)
	return db
}

func exec(t *testing.T, db *sql.DB, statements ...string) {
	t.Helper()
	for _, s := range statements {
		_, err := db.ExecContext(context.Background(), s)
		require.NoError(t, err, s)
	}
}

func read(t *testing.T, c *catalog.Catalog, q catalog.Querier, name string) *catalog.Table {
	t.Helper()
	table, err := c.Table(context.Background(), q, conj.TableName{Name: name}, true)
	require.NoError(t, err)
	require.NotNil(t, table, name)
	return table
}

func kinds(table *catalog.Table) map[string]conj.Kind {
	all := make(map[string]conj.Kind)
	for _, c := range table.Columns() {
		all[c.Name] = c.Kind
	}
	return all
}

type account struct {
	gorm.Model
	Name     string
	Email    string `gorm:"size:100;uniqueIndex"`
	Age      uint8
	Active   bool
	Balance  float64
	Birthday *time.Time
	Data     []byte
	OwnerID  *uint
}

// TestGORMsOwnTypesNarrow: what AutoMigrate makes of plain Go types.
func TestGORMsOwnTypesNarrow(t *testing.T) {
	for _, database := range testdb.Databases(t) {
		t.Run(database.Name, func(t *testing.T) {
			t.Parallel()
			gdb := database.Open(t, nil)
			require.NoError(t, gdb.AutoMigrate(&account{}))
			dialect, _ := conj.DialectOf(database.Dialect)
			table := read(t, catalog.New(dialect), gdb.Statement.ConnPool, "accounts")
			require.True(t, table.Base)
			require.Empty(t, table.Uncacheable)
			require.Equal(t, []int{0}, table.PrimaryKey)
			require.Equal(t, 0, table.AutoIncrement)
			require.True(t, table.Fills(0))
			require.False(t, table.Fills(table.Index(dialect, "owner_id")))

			text, boolean := conj.Text, conj.Boolean
			switch dialect {
			case conj.MySQL:
				text, boolean = conj.FoldedText, conj.Integer
			case conj.SQLite:
				boolean = conj.Integer
			}
			require.Equal(t, map[string]conj.Kind{
				"id": conj.Integer, "created_at": conj.Opaque, "updated_at": conj.Opaque, "deleted_at": conj.Opaque,
				"name": text, "email": text, "age": conj.Integer, "active": boolean, "balance": balance(dialect),
				"birthday": conj.Opaque, "data": conj.Bytes, "owner_id": conj.Integer,
			}, kinds(table))
			for _, param := range []any{true, "a name", int64(7)} {
				narrows := false
				for _, c := range table.Columns() {
					narrows = narrows || c.FromParam(dialect, param) != ""
				}
				require.True(t, narrows, "%v", param)
			}
		})
	}
}

// balance is the kind of GORM's float64: decimal in PostgreSQL.
func balance(d conj.Dialect) conj.Kind {
	if d == conj.PostgreSQL {
		return conj.Decimal
	}
	return conj.Opaque
}

func TestNoTableIsNoErrorAndNotRemembered(t *testing.T) {
	each(t, func(t *testing.T, db *sql.DB, d conj.Dialect) {
		ctx := context.Background()
		c := catalog.New(d)
		for _, name := range []conj.TableName{
			{Name: "later"}, {Name: ""}, {Name: "a\x00b"}, {Name: "\xff"}, {Name: `a"b.c`}, {Name: "a'b"}, {Name: "a`b"},
			{Schema: "nowhere", Name: "later"}, {Schema: `no"where`, Name: "later"}, {Schema: "x\x00", Name: "later"},
		} {
			table, err := c.Table(ctx, db, name, true)
			require.NoError(t, err, "%q", name)
			require.Nil(t, table, "%q", name)
		}
		exec(t, db, "CREATE TABLE later (id integer PRIMARY KEY)")
		read(t, c, db, "later")
	})
}

func TestATableIsReadOnceAndSharedByItsNames(t *testing.T) {
	each(t, func(t *testing.T, db *sql.DB, d conj.Dialect) {
		ctx := context.Background()
		exec(t, db, "CREATE TABLE once (id integer PRIMARY KEY)")
		c := catalog.New(d)
		table := read(t, c, db, "once")
		require.Same(t, table, read(t, c, noQueries{}, "once"))

		schema := map[conj.Dialect]string{conj.PostgreSQL: "public", conj.SQLite: "main"}[d]
		if d == conj.MySQL {
			require.NoError(t, db.QueryRowContext(context.Background(), "SELECT DATABASE()").Scan(&schema))
		}
		require.Equal(t, schema+".once", table.ID)
		qualified, err := c.Table(ctx, db, conj.TableName{Schema: schema, Name: "once"}, true)
		require.NoError(t, err)
		require.Same(t, table, qualified)
	})
}

func TestDropForgets(t *testing.T) {
	each(t, func(t *testing.T, db *sql.DB, d conj.Dialect) {
		exec(t, db, "CREATE TABLE changing (id integer PRIMARY KEY)")
		c := catalog.New(d)
		old := read(t, c, db, "changing")
		version := c.Version()
		exec(t, db, "ALTER TABLE changing ADD COLUMN name varchar(10)")
		require.Same(t, old, read(t, c, db, "changing"))

		fresh, err := c.Table(context.Background(), db, conj.TableName{Name: "changing"}, false)
		require.NoError(t, err)
		require.Len(t, fresh.Columns(), 2, "read anew inside of a transaction that changed it")
		require.Same(t, old, read(t, c, db, "changing"), "and not remembered")

		c.Drop()
		require.Greater(t, c.Version(), version)
		require.Len(t, read(t, c, db, "changing").Columns(), 2)
	})
}

// TestADefinitionReadBeforeDropIsNotRemembered: the statement that changed it
// was running meanwhile.
func TestADefinitionReadBeforeDropIsNotRemembered(t *testing.T) {
	each(t, func(t *testing.T, db *sql.DB, d conj.Dialect) {
		exec(t, db, "CREATE TABLE raced (id integer PRIMARY KEY)")
		c := catalog.New(d)
		dropping := hooked{db, c.Drop}
		require.Len(t, read(t, c, dropping, "raced").Columns(), 1)
		exec(t, db, "ALTER TABLE raced ADD COLUMN name varchar(10)")
		require.Len(t, read(t, c, db, "raced").Columns(), 2)
	})
}

func TestConcurrentReads(t *testing.T) {
	each(t, func(t *testing.T, db *sql.DB, d conj.Dialect) {
		for i := range 4 {
			exec(t, db, fmt.Sprintf("CREATE TABLE many%d (id integer PRIMARY KEY)", i))
		}
		c := catalog.New(d)
		var wait sync.WaitGroup
		for i := range 16 {
			wait.Go(func() {
				table, err := c.Table(context.Background(), db, conj.TableName{Name: fmt.Sprintf("many%d", i%4)}, i%3 > 0)
				if err != nil || table == nil || len(table.Columns()) != 1 {
					t.Errorf("table %v, error %v", table, err)
				}
				if i == 7 {
					c.Drop()
				}
				if _, err := c.Server(context.Background(), db); err != nil {
					t.Error(err)
				}
			})
		}
		wait.Wait()
	})
}

// TestOneConnectionIsEnough: rows are closed, and a transaction that holds
// the only connection can go on afterwards.
func TestOneConnectionIsEnough(t *testing.T) {
	each(t, func(t *testing.T, db *sql.DB, d conj.Dialect) {
		ctx := context.Background()
		db.SetMaxOpenConns(1)
		exec(t, db, "CREATE TABLE single (id integer PRIMARY KEY)")
		tx, err := db.BeginTx(ctx, nil)
		require.NoError(t, err)
		c := catalog.New(d)
		for _, name := range []conj.TableName{{Name: "single"}, {Name: "missing"}, {Schema: "missing", Name: "single"}} {
			_, err = c.Table(ctx, tx, name, true)
			require.NoError(t, err)
		}
		_, err = c.Server(ctx, tx)
		require.NoError(t, err)
		_, err = tx.ExecContext(ctx, "INSERT INTO single (id) VALUES (1)")
		require.NoError(t, err, "the transaction is not aborted")
		require.NoError(t, tx.Commit())
		require.Zero(t, db.Stats().InUse)
	})
}

func TestErrorsAreReturnedWithTheirCause(t *testing.T) {
	t.Parallel()
	for _, d := range []conj.Dialect{conj.PostgreSQL, conj.MySQL, conj.SQLite} {
		c := catalog.New(d)
		_, err := c.Table(context.Background(), noQueries{}, conj.TableName{Name: "t"}, true)
		require.ErrorIs(t, err, errNoQueries)
		_, err = c.Server(context.Background(), noQueries{})
		require.ErrorIs(t, err, errNoQueries)
	}
}

func TestServer(t *testing.T) {
	each(t, func(t *testing.T, db *sql.DB, d conj.Dialect) {
		ctx := context.Background()
		c := catalog.New(d)
		server, err := c.Server(ctx, db)
		require.NoError(t, err)
		again, err := c.Server(ctx, noQueries{})
		require.NoError(t, err)
		require.Equal(t, server, again)
		require.NotEmpty(t, server.Version)
		switch d {
		case conj.PostgreSQL:
			require.Regexp(t, `^\d{10,}/\w+$`, server.Database)
			require.Equal(t, "read committed", server.DefaultIsolation)
			require.Contains(t, server.SearchPath, "public")
			require.True(t, server.Strict)
		case conj.MySQL:
			require.Regexp(t, `.+/\w+$`, server.Database)
			require.Equal(t, "repeatable read", server.DefaultIsolation)
			require.True(t, server.MariaDB)
			require.True(t, server.Strict)
		case conj.SQLite:
			require.Equal(t, "serializable", server.DefaultIsolation)
		}
	})
}

func TestForeignKeysThatAct(t *testing.T) {
	each(t, func(t *testing.T, db *sql.DB, d conj.Dialect) {
		exec(t, db,
			"CREATE TABLE owners (id integer PRIMARY KEY, code integer UNIQUE, name varchar(10))",
			"CREATE TABLE pets (id integer PRIMARY KEY, owner_id integer, FOREIGN KEY (owner_id) REFERENCES owners (id) ON DELETE CASCADE)",
			"CREATE TABLE toys (id integer PRIMARY KEY, pet_id integer, FOREIGN KEY (pet_id) REFERENCES pets (id) ON DELETE SET NULL)",
			"CREATE TABLE cards (id integer PRIMARY KEY, code integer, FOREIGN KEY (code) REFERENCES owners (code) ON UPDATE CASCADE)",
			"CREATE TABLE bills (id integer PRIMARY KEY, owner_id integer, FOREIGN KEY (owner_id) REFERENCES owners (id))",
			"CREATE TABLE nodes (id integer PRIMARY KEY, parent_id integer, FOREIGN KEY (parent_id) REFERENCES nodes (id) ON DELETE CASCADE)",
		)
		c := catalog.New(d)
		owners := read(t, c, db, "owners")
		id := func(name string) catalog.Ref {
			table := read(t, c, db, name)
			return catalog.Ref{ID: table.ID, Name: conj.TableName{Schema: table.Schema, Name: table.Name}}
		}
		require.Equal(t, []catalog.Ref{id("pets"), id("toys")}, owners.DeleteTouches)
		require.Equal(t, []catalog.Ref{id("cards")}, owners.UpdateTouches)
		require.False(t, owners.Referenced(0), "the key's foreign keys act on DELETE only")
		require.True(t, owners.Referenced(1))
		require.False(t, owners.Referenced(2))
		require.Equal(t, []catalog.Ref{id("nodes")}, read(t, c, db, "nodes").DeleteTouches, "other rows than those deleted")
		require.Empty(t, read(t, c, db, "bills").DeleteTouches)
	})
}

var errNoQueries = errors.New("no queries here")

// noQueries fails every query.
type noQueries struct{}

func (noQueries) QueryContext(context.Context, string, ...any) (*sql.Rows, error) {
	return nil, errNoQueries
}

// hooked calls a function after each query.
type hooked struct {
	catalog.Querier
	after func()
}

func (h hooked) QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error) {
	defer h.after()
	return h.Querier.QueryContext(ctx, query, args...)
}
