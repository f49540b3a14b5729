package pools

import (
	"context"
	"database/sql"
	"errors"
	"strings"
	"testing"
	"time"

	_ "github.com/lib/pq" // the driver "postgres"
	"github.com/stretchr/testify/require"
	"gorm.io/driver/mysql"
	"gorm.io/driver/postgres"
	"gorm.io/gorm"

	"github.com/cacheplugin/cacheplugin"
	"github.com/cacheplugin/cacheplugin/integration/internal/fixture"
	"github.com/cacheplugin/cacheplugin/integration/testdb"
	"github.com/cacheplugin/cacheplugin/internal/testenv"
)

// dbtx is what generated code asks for: a *sql.DB, *sql.Tx or *sql.Conn.
type dbtx interface {
	ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
	PrepareContext(ctx context.Context, query string) (*sql.Stmt, error)
}

// queries is code as a generator writes it, which knows nothing of GORM.
type queries struct {
	t       *testing.T
	dialect string
	db      dbtx
}

// text is a query with placeholders as the dialect has them.
func (q queries) text(query string) string {
	if q.dialect == "postgres" {
		query = strings.Replace(strings.Replace(query, "?", "$1", 1), "?", "$2", 1)
	}
	return query
}

func (q queries) rename(id uint, name string) {
	_, err := q.db.ExecContext(q.t.Context(), q.text("UPDATE brands SET name = ? WHERE id = ?"), name, id)
	require.NoError(q.t, err)
}

func (q queries) renamePrepared(id uint, name string) {
	stmt, err := q.db.PrepareContext(q.t.Context(), q.text("UPDATE brands SET name = ? WHERE id = ?"))
	require.NoError(q.t, err)
	_, err = stmt.ExecContext(q.t.Context(), name, id)
	require.NoError(q.t, errors.Join(err, stmt.Close()))
}

// way is one to write in a transaction without GORM's handlers. It writes by write
// and ends as commit says.
type way struct {
	name string
	run  func(t *testing.T, f *fixture.Fixture, commit bool, write func(q queries))
}

func sqlDB(t *testing.T, db *gorm.DB) *sql.DB {
	t.Helper()
	pool, err := db.DB()
	require.NoError(t, err)
	return pool
}

var errBack = errors.New("roll back")

// end is what a transaction's function returns.
func end(commit bool) error {
	if commit {
		return nil
	}
	return errBack
}

func requireEnd(t *testing.T, commit bool, err error) {
	t.Helper()
	if commit {
		require.NoError(t, err)
	} else {
		require.ErrorIs(t, err, errBack)
	}
}

// endTx ends a transaction of database/sql.
func endTx(t *testing.T, tx *sql.Tx, commit bool) {
	t.Helper()
	if commit {
		require.NoError(t, tx.Commit())
	} else {
		require.NoError(t, tx.Rollback())
	}
}

// byText ends a transaction by text.
func byText(commit bool) string {
	if commit {
		return "COMMIT"
	}
	return "ROLLBACK"
}

var ways = []way{
	{"the_sql_Tx_of_a_GORM_transaction", func(t *testing.T, f *fixture.Fixture, commit bool, write func(queries)) {
		requireEnd(t, commit, f.DB.Transaction(func(tx *gorm.DB) error {
			write(queries{t, f.Env.Dialect, bareTx(t, tx)})
			return end(commit)
		}))
	}},
	{"a_sql_Tx_of_the_pool", func(t *testing.T, f *fixture.Fixture, commit bool, write func(queries)) {
		tx, err := sqlDB(t, f.DB).BeginTx(t.Context(), nil)
		require.NoError(t, err)
		write(queries{t, f.Env.Dialect, tx})
		endTx(t, tx, commit)
	}},
	{"a_sql_Tx_of_a_sql_Conn", func(t *testing.T, f *fixture.Fixture, commit bool, write func(queries)) {
		conn, err := sqlDB(t, f.DB).Conn(t.Context())
		require.NoError(t, err)
		defer conn.Close()
		tx, err := conn.BeginTx(t.Context(), nil)
		require.NoError(t, err)
		write(queries{t, f.Env.Dialect, tx})
		endTx(t, tx, commit)
	}},
	{"text_on_a_sql_Conn", func(t *testing.T, f *fixture.Fixture, commit bool, write func(queries)) {
		conn, err := sqlDB(t, f.DB).Conn(t.Context())
		require.NoError(t, err)
		defer conn.Close()
		_, err = conn.ExecContext(t.Context(), "BEGIN")
		require.NoError(t, err)
		write(queries{t, f.Env.Dialect, conn})
		_, err = conn.ExecContext(t.Context(), byText(commit))
		require.NoError(t, err)
	}},
	{"GORM_on_a_connection", func(t *testing.T, f *fixture.Fixture, commit bool, write func(queries)) {
		requireEnd(t, commit, f.DB.Connection(func(c *gorm.DB) error {
			return c.Transaction(func(tx *gorm.DB) error {
				write(queries{t, f.Env.Dialect, throughGORM{tx}})
				return end(commit)
			})
		}))
	}},
	{"text_by_GORM_on_a_connection", func(t *testing.T, f *fixture.Fixture, commit bool, write func(queries)) {
		require.NoError(t, f.DB.Connection(func(c *gorm.DB) error {
			require.NoError(t, c.Exec("BEGIN").Error)
			write(queries{t, f.Env.Dialect, throughGORM{c}})
			return c.Exec(byText(commit)).Error
		}))
	}},
	{"a_GORM_session_on_a_sql_Tx", func(t *testing.T, f *fixture.Fixture, commit bool, write func(queries)) {
		tx, err := sqlDB(t, f.DB).BeginTx(t.Context(), nil)
		require.NoError(t, err)
		session := f.DB.Session(&gorm.Session{NewDB: true, Context: t.Context()})
		session.Statement.ConnPool = tx
		write(queries{t, f.Env.Dialect, throughGORM{session}})
		endTx(t, tx, commit)
	}},
	{"a_pool_that_commits_and_is_no_sql_Tx", func(t *testing.T, f *fixture.Fixture, commit bool, write func(queries)) {
		tx, err := sqlDB(t, f.DB).BeginTx(t.Context(), nil)
		require.NoError(t, err)
		session := f.DB.Session(&gorm.Session{NewDB: true, Context: t.Context()})
		session.Statement.ConnPool = &committer{tx}
		write(queries{t, f.Env.Dialect, throughGORM{session}})
		if commit {
			require.NoError(t, session.Commit().Error)
		} else {
			require.NoError(t, session.Rollback().Error)
		}
	}},
}

// committer is a pool as sharding libraries put around a transaction.
type committer struct{ gorm.ConnPool }

func (c *committer) Commit() error   { return c.ConnPool.(gorm.TxCommitter).Commit() }
func (c *committer) Rollback() error { return c.ConnPool.(gorm.TxCommitter).Rollback() }

// bareTx is what the documentation of libraries for jobs and messages tells people
// to take.
func bareTx(t *testing.T, tx *gorm.DB) *sql.Tx {
	t.Helper()
	pool := tx.Statement.ConnPool
	if p, ok := pool.(*gorm.PreparedStmtTX); ok {
		pool = p.Tx
	}
	return pool.(*sql.Tx) // as those do: it panics otherwise
}

// throughGORM sends what generated code does by raw SQL of GORM.
type throughGORM struct{ db *gorm.DB }

func (g throughGORM) ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error) {
	query = strings.NewReplacer("$1", "?", "$2", "?").Replace(query)
	db := g.db.Session(&gorm.Session{NewDB: true, Context: ctx})
	db.Statement.ConnPool = g.db.Statement.ConnPool
	return nil, db.Exec(query, args...).Error
}

func (g throughGORM) QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error) {
	return g.db.Statement.ConnPool.QueryContext(ctx, query, args...)
}

func (g throughGORM) QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row {
	return g.db.Statement.ConnPool.QueryRowContext(ctx, query, args...)
}

func (g throughGORM) PrepareContext(ctx context.Context, query string) (*sql.Stmt, error) {
	return g.db.Statement.ConnPool.PrepareContext(ctx, query)
}

// writes are the forms of a statement that renames the first brand to "new".
var writes = []struct {
	name  string
	write func(q queries)
}{
	{"exec", func(q queries) { q.rename(1, "new") }},
	{"prepared", func(q queries) { q.renamePrepared(1, "new") }},
	{"literals", func(q queries) {
		_, err := q.db.ExecContext(q.t.Context(), "UPDATE brands SET name = 'new' WHERE id = 1")
		require.NoError(q.t, err)
	}},
	{"returning", func(q queries) {
		if q.dialect == "mysql" {
			q.rename(1, "new") // an UPDATE that has no RETURNING
			return
		}
		var name string
		require.NoError(q.t, q.db.QueryRowContext(q.t.Context(), q.text("UPDATE brands SET name = ? WHERE id = ? RETURNING name"), "new", 1).Scan(&name))
		require.Equal(q.t, "new", name)
	}},
	{"several_statements", func(q queries) {
		q.rename(1, "between")
		q.rename(1, "new")
	}},
}

func options() fixture.Options {
	return fixture.Options{Models: []any{&fixture.Brand{}}}
}

// first reads a brand by its key.
func first(t *testing.T, db *gorm.DB, id uint, name *string) func() {
	return func() {
		t.Helper()
		var b fixture.Brand
		require.NoError(t, db.First(&b, id).Error)
		*name = b.Name
	}
}

// What is written through the pool without GORM's handlers is dropped when it is
// committed, and not before: what readers see and store meanwhile is not left behind.
func TestWritesBesideGORM(t *testing.T) {
	for _, w := range ways {
		t.Run(w.name, func(t *testing.T) {
			fixture.OnEveryDatabase(t, options(), func(t *testing.T, f *fixture.Fixture) { writesBeside(t, f, w) })
		})
	}
}

// The same through other drivers, and through those of GORM set otherwise.
func TestWritesBesideGORMByOtherDrivers(t *testing.T) {
	for name, d := range map[string]struct {
		database string
		open     func(dsn string) gorm.Dialector
	}{
		"lib_pq": {testenv.Postgres, func(dsn string) gorm.Dialector {
			return postgres.New(postgres.Config{DriverName: "postgres", DSN: dsn})
		}},
		"pgx_by_the_simple_protocol": {testenv.Postgres, func(dsn string) gorm.Dialector {
			return postgres.New(postgres.Config{DSN: dsn, PreferSimpleProtocol: true})
		}},
		"mysql_that_writes_arguments_into_the_text": {testenv.MariaDB, func(dsn string) gorm.Dialector {
			return mysql.Open(dsn + "&interpolateParams=true")
		}},
	} {
		t.Run(name, func(t *testing.T) {
			env := testdb.Need(t, d.database)
			env.Driver = otherDriver{env.Driver, d.open}
			f := fixture.New(t, env, options())
			for _, w := range ways {
				t.Run(w.name, func(t *testing.T) { writesBeside(t, f, w) })
			}
		})
	}
}

// otherDriver opens a database by another dialector.
type otherDriver struct {
	testenv.Driver
	open func(dsn string) gorm.Dialector
}

func (d otherDriver) Dialector(dsn string) gorm.Dialector { return d.open(dsn) }

func writesBeside(t *testing.T, f *fixture.Fixture, w way) {
	t.Helper()
	for _, form := range writes {
		t.Run(form.name, func(t *testing.T) {
			require.NoError(t, f.DB.Save(&[]fixture.Brand{{ID: 1, Name: "old"}, {ID: 2, Name: "other"}}).Error)
			var name string
			one, two := first(t, f.DB, 1, &name), first(t, f.DB, 2, &name)
			one()
			two()
			f.Hits(t, one)
			f.Hits(t, two)

			w.run(t, f, false, form.write)
			f.Hits(t, one, "rolled back")
			require.Equal(t, "old", name)

			w.run(t, f, true, func(q queries) {
				form.write(q)
				if f.Env.ReadsDuringWrite {
					one()
					require.Equal(t, "old", name, "not committed yet")
				}
			})
			one()
			require.Equal(t, "new", name)
			f.Hits(t, two, "another row")
		})
	}
}

// A statement outside of a transaction is dropped when it is done.
func TestStatementsBesideGORM(t *testing.T) {
	fixture.OnEveryDatabase(t, options(), func(t *testing.T, f *fixture.Fixture) {
		conn, err := sqlDB(t, f.DB).Conn(t.Context())
		require.NoError(t, err)
		for name, db := range map[string]dbtx{"pool": sqlDB(t, f.DB), "connection": conn} {
			for _, form := range writes {
				t.Run(name+"/"+form.name, func(t *testing.T) {
					require.NoError(t, f.DB.Save(&fixture.Brand{ID: 1, Name: "old"}).Error)
					var name string
					one := first(t, f.DB, 1, &name)
					one()
					f.Hits(t, one)
					form.write(queries{t, f.Env.Dialect, db})
					one()
					require.Equal(t, "new", name)
				})
			}
		}
		require.NoError(t, conn.Close())
	})
}

// Rows that are inserted, deleted, and a table that is emptied, besides updates.
func TestRowsBesideGORM(t *testing.T) {
	fixture.OnEveryDatabase(t, options(), func(t *testing.T, f *fixture.Fixture) {
		q := queries{t, f.Env.Dialect, sqlDB(t, f.DB)}
		exec := func(query string, args ...any) {
			_, err := q.db.ExecContext(t.Context(), q.text(query), args...)
			require.NoError(t, err)
		}
		read := f.Brands(t, f.DB, 7)
		f.Cached(t, read)
		exec("INSERT INTO brands (name, kind) VALUES (?, ?)", "a", 7)
		f.Misses(t, read)
		f.Hits(t, read)
		exec("DELETE FROM brands WHERE name = ?", "a")
		f.Misses(t, read)
		exec("INSERT INTO brands (name, kind) VALUES (?, ?)", "b", 8)
		f.Hits(t, read, "of another kind")
		exec("DELETE FROM brands")
		f.Misses(t, read)
	})
}

// Nested transactions: a library recognises one by the type of the pool, and sets a
// savepoint; it would wait for itself otherwise.
func TestLibrariesThatRecogniseTransactionsByType(t *testing.T) {
	fixture.OnEveryDatabase(t, options(), func(t *testing.T, f *fixture.Fixture) {
		sqlDB(t, f.DB).SetMaxOpenConns(1)
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		require.NoError(t, f.DB.WithContext(ctx).Transaction(func(tx *gorm.DB) error {
			isTx := false
			switch tx.Statement.ConnPool.(type) {
			case *sql.Tx, *gorm.PreparedStmtTX:
				isTx = true
			}
			require.True(t, isTx)
			return tx.Transaction(func(inner *gorm.DB) error {
				return inner.Create(&fixture.Brand{ID: 5, Name: "nested"}).Error
			})
		}))
		var name string
		first(t, f.DB, 5, &name)()
		require.Equal(t, "nested", name)
	})
}

// What GORM gives a program has the types that it has without the plugin.
func TestTypesStay(t *testing.T) {
	fixture.OnEveryDatabase(t, options(), func(t *testing.T, f *fixture.Fixture) {
		require.IsType(t, f.DB.ConnPool, f.DB.Statement.ConnPool)
		require.IsType(t, sqlDB(t, f.Plain).Driver(), sqlDB(t, f.DB).Driver())
		require.NoError(t, f.DB.Transaction(func(tx *gorm.DB) error {
			require.Same(t, sqlDB(t, f.DB), sqlDB(t, tx))
			bareTx(t, tx)
			return nil
		}))
		if !f.DB.PrepareStmt {
			require.IsType(t, &sql.DB{}, f.DB.ConnPool)
		}
		_, err := cacheplugin.ConfigOf(f.DB)
		require.NoError(t, err)
	})
}
