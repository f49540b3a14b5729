package txn

import (
	"context"
	"database/sql"
	"testing"

	"github.com/stretchr/testify/require"
	"gorm.io/gorm"

	"github.com/cacheplugin/cacheplugin/integration/testdb"
	"github.com/cacheplugin/cacheplugin/internal/testenv"
	"github.com/cacheplugin/cacheplugin/txn"
)

// connection takes one from the pool until the test ends.
func (w *world) connection(t *testing.T) *sql.Conn {
	t.Helper()
	conn, err := w.pool(t).Conn(t.Context())
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

// send sends statements on a connection.
func send(t *testing.T, conn gorm.ConnPool, queries ...string) {
	t.Helper()
	for _, query := range queries {
		_, err := conn.ExecContext(t.Context(), query)
		require.NoError(t, err, query)
	}
}

// at tells where a statement on a pool is.
func (w *world) at(pool gorm.ConnPool) txn.Where {
	where, _ := w.plugin.pools.Of(pool)
	return where
}

const insertOne, insertTwo = "INSERT INTO accounts (id, balance) VALUES (1, 0)", "INSERT INTO accounts (id, balance) VALUES (2, 0)"

func TestWhatHasEndedIsATransactionThatIsOver(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		for _, end := range []func(*sql.Tx) error{(*sql.Tx).Commit, (*sql.Tx).Rollback} {
			tx, err := w.pool(t).Begin()
			require.NoError(t, err)
			require.NoError(t, end(tx))
			place := w.plugin.pools.Place(tx)
			require.Equal(t, txn.InTx, place.Where)
			require.Equal(t, sql.ErrTxDone, place.Tx.Err())
			require.Nil(t, place.Tx.DB())
			// What is noted in it goes nowhere.
			place.Tx.MarkDirty()
			require.NoError(t, place.Tx.Record(t.Context(), func(txn.Journal) { require.Fail(t, "it is over") }))
			_, err = place.Tx.ExecContext(t.Context(), insertOne)
			require.Equal(t, sql.ErrTxDone, err)
		}
		conn, err := w.pool(t).Conn(t.Context())
		require.NoError(t, err)
		require.Equal(t, txn.Autocommit, w.at(conn))
		require.NoError(t, conn.Close())
		require.Equal(t, sql.ErrTxDone, w.plugin.pools.Place(conn).Tx.Err())
		require.Zero(t, w.visible(t))
	})
}

func TestProbesDoNotReachTheDatabase(t *testing.T) {
	f := &fake{kind: "everything"}
	pool := sql.OpenDB(txn.NewConnector(f))
	t.Cleanup(func() { _ = pool.Close() })
	pools := installOn(t, pool, txn.Options{Watch: func(context.Context, txn.Statement) txn.Watched { return idle{} }})
	tx, err := pool.Begin()
	require.NoError(t, err)
	stmt, err := tx.Prepare("any")
	require.NoError(t, err)
	rows, err := tx.Query("any")
	require.NoError(t, err)
	f.said()
	place := pools.Place(tx) // while rows are open
	require.Equal(t, txn.InTx, place.Where)
	require.Same(t, pool, place.DB)
	require.Empty(t, f.said())
	require.NoError(t, rows.Close())
	require.NoError(t, stmt.Close())
	require.NoError(t, tx.Rollback())
}

func TestBeginAfterABeginByText(t *testing.T) {
	for _, database := range testdb.Databases(t) {
		for _, end := range []string{"commit", "rollback"} {
			t.Run(database.Name+"/"+end, func(t *testing.T) {
				w := newWorld(t, database, preparing{}, txn.Options{})
				conn := w.connection(t)
				send(t, conn, "BEGIN", insertOne)
				require.Equal(t, txn.InTx, w.at(conn))
				require.Zero(t, w.recorder.count())
				tx, err := conn.BeginTx(t.Context(), nil)
				if database.Dialect == "sqlite" {
					require.Error(t, err, "SQLite refuses")
					require.Equal(t, txn.InTx, w.at(conn))
					send(t, conn, "COMMIT")
					require.Equal(t, 1, w.recorder.count())
					require.EqualValues(t, 1, w.visible(t))
					return
				}
				require.NoError(t, err)
				if database.Dialect == "mysql" {
					require.Equal(t, 1, w.recorder.count(), "its BEGIN commits what was before")
					require.EqualValues(t, 1, w.visible(t))
				} else {
					require.Zero(t, w.recorder.count())
					require.Zero(t, w.visible(t))
					require.True(t, w.plugin.pools.Place(tx).Tx.Dirty())
				}
				send(t, tx, insertTwo)
				if end == "commit" {
					require.NoError(t, tx.Commit())
					require.EqualValues(t, 2, w.visible(t))
					var notes int
					for _, flushed := range w.recorder.flushes {
						notes += len(flushed)
					}
					require.Equal(t, 2, notes)
				} else {
					require.NoError(t, tx.Rollback())
					before := map[string]int{"mysql": 1}[database.Dialect]
					require.Equal(t, before, w.recorder.count())
					require.EqualValues(t, before, w.visible(t))
				}
				require.Equal(t, txn.Autocommit, w.at(conn))
				require.Equal(t, txn.Autocommit, w.at(w.pool(t)))
			})
		}
	}
}

func TestWhatDetachesMakesTheConnectionForeignUntilItIsClosed(t *testing.T) {
	database := testdb.Need(t, testenv.MariaDB)
	for _, detaches := range [][]string{
		{"SET autocommit=0"},
		{"SET SESSION autocommit = OFF"},
		{"XA START 'x'", "XA END 'x'", "XA ROLLBACK 'x'"},
	} {
		t.Run(detaches[0], func(t *testing.T) {
			w := newWorld(t, database, preparing{}, txn.Options{})
			conn := w.connection(t)
			send(t, conn, detaches...)
			require.Equal(t, txn.Foreign, w.at(conn))
			require.Equal(t, txn.Unsettled, w.at(w.pool(t)))
			send(t, conn, insertOne)
			require.Equal(t, []txn.Where{txn.Foreign}, w.recorder.alone)
			send(t, conn, "COMMIT", "BEGIN", "COMMIT")
			require.Equal(t, txn.Foreign, w.at(conn), "what these do depends on the setting")
			tx, err := conn.BeginTx(t.Context(), nil)
			require.NoError(t, err)
			send(t, tx, insertTwo)
			require.NoError(t, tx.Commit())
			require.Equal(t, txn.Foreign, w.at(conn))
			w.pool(t).SetMaxIdleConns(-1)
			require.NoError(t, conn.Close())
			require.Equal(t, txn.Autocommit, w.at(w.pool(t)))
		})
	}
}

func TestDefinitionsInATransactionByTextLeaveItInDoubtOnMySQL(t *testing.T) {
	database := testdb.Need(t, testenv.MariaDB)
	w := newWorld(t, database, preparing{}, txn.Options{})
	conn := w.connection(t)
	send(t, conn, "BEGIN", insertOne, "CREATE TABLE others (id int)")
	require.Equal(t, 1, w.recorder.count(), "committed by the definition")
	require.EqualValues(t, 1, w.visible(t))
	require.Equal(t, txn.Foreign, w.at(conn))
	send(t, conn, insertTwo)
	require.EqualValues(t, 2, w.visible(t), "outside of a transaction")
	require.Equal(t, []txn.Where{txn.Foreign}, w.recorder.alone)
	send(t, conn, "COMMIT")
	require.Equal(t, txn.Autocommit, w.at(conn))
}

func TestACommitByTextThatFailsLeavesTheConnectionInDoubt(t *testing.T) {
	t.Run("postgres", func(t *testing.T) {
		w := newWorld(t, testdb.Need(t, testenv.Postgres), preparing{}, txn.Options{})
		require.NoError(t, w.other.Exec("ALTER TABLE accounts ADD CONSTRAINT balances UNIQUE (balance) DEFERRABLE INITIALLY DEFERRED").Error)
		conn := w.connection(t)
		send(t, conn, "BEGIN", insertOne, insertTwo)
		_, err := conn.ExecContext(t.Context(), "COMMIT")
		require.Error(t, err)
		require.Equal(t, 1, w.recorder.count())
		require.Equal(t, txn.Foreign, w.at(conn))
		require.Equal(t, txn.Unsettled, w.at(w.pool(t)))
		send(t, conn, "BEGIN")
		require.Equal(t, txn.InTx, w.at(conn), "that settles it")
		send(t, conn, "ROLLBACK")
		require.Equal(t, txn.Autocommit, w.at(conn))
		require.Equal(t, txn.Autocommit, w.at(w.pool(t)))
	})
	t.Run("sqlite", func(t *testing.T) {
		// SQLite goes on with a transaction whose COMMIT fails.
		w := newWorld(t, testdb.Need(t, testenv.SQLiteFile), preparing{}, txn.Options{})
		conn := w.connection(t)
		send(t, conn, "PRAGMA defer_foreign_keys = 1", "BEGIN", "PRAGMA defer_foreign_keys = 1", insertOne, "INSERT INTO cards (id, account_id) VALUES (1, 99)")
		_, err := conn.ExecContext(t.Context(), "COMMIT")
		require.Error(t, err)
		require.Equal(t, 1, w.recorder.count())
		require.Zero(t, w.visible(t))
		require.Equal(t, txn.Foreign, w.at(conn))
		send(t, conn, "DELETE FROM cards")
		require.Equal(t, []txn.Where{txn.Foreign}, w.recorder.alone)
		send(t, conn, "COMMIT")
		require.EqualValues(t, 1, w.visible(t))
		require.Equal(t, 2, w.recorder.count(), "what came before the doubt is committed now")
		require.Equal(t, txn.Autocommit, w.at(conn))
	})
}

func TestSavepointsOfSQLiteInEveryOrder(t *testing.T) {
	for _, test := range []struct {
		name    string
		queries []string
		where   txn.Where
		flushes int
		visible int64
	}{
		{"released", []string{"SAVEPOINT a", insertOne, "RELEASE a"}, txn.Autocommit, 1, 1},
		{"released in capitals", []string{"SAVEPOINT a", insertOne, "RELEASE SAVEPOINT A"}, txn.Autocommit, 1, 1},
		{"open", []string{"SAVEPOINT a", insertOne}, txn.InTx, 0, 0},
		{"committed", []string{"SAVEPOINT a", insertOne, "COMMIT"}, txn.Autocommit, 1, 1},
		{"rolled back", []string{"SAVEPOINT a", insertOne, "ROLLBACK"}, txn.Autocommit, 0, 0},
		{"back to the first, then released", []string{"SAVEPOINT a", insertOne, "ROLLBACK TO a", "RELEASE a"}, txn.Autocommit, 1, 0},
		{"back to the first", []string{"SAVEPOINT a", insertOne, "ROLLBACK TO a"}, txn.InTx, 0, 0},
		{"inner released", []string{"SAVEPOINT a", insertOne, "SAVEPOINT b", insertTwo, "RELEASE b"}, txn.InTx, 0, 0},
		{"outer released", []string{"SAVEPOINT a", insertOne, "SAVEPOINT b", insertTwo, "RELEASE a"}, txn.Autocommit, 1, 2},
		{"back to the inner, outer released", []string{"SAVEPOINT a", insertOne, "SAVEPOINT b", insertTwo, "ROLLBACK TO b", "RELEASE a"}, txn.Autocommit, 1, 1},
		{"two of one name, one released", []string{"SAVEPOINT a", insertOne, "SAVEPOINT a", insertTwo, "RELEASE a"}, txn.InTx, 0, 0},
		{"two of one name, both released", []string{"SAVEPOINT a", insertOne, "SAVEPOINT a", insertTwo, "RELEASE a", "RELEASE a"}, txn.Autocommit, 1, 2},
		{"back takes the inner ones away", []string{"SAVEPOINT a", "SAVEPOINT b", "SAVEPOINT c", insertOne, "ROLLBACK TO b", "SAVEPOINT a", "RELEASE a"}, txn.InTx, 0, 0},
		{"within BEGIN", []string{"BEGIN", insertOne, "SAVEPOINT a", insertTwo, "RELEASE a"}, txn.InTx, 0, 0},
		{"within BEGIN, committed", []string{"BEGIN", insertOne, "SAVEPOINT a", insertTwo, "RELEASE a", "END"}, txn.Autocommit, 1, 2},
		{"begin at a savepoint", []string{"SAVEPOINT a", "RELEASE a", "BEGIN", insertOne, "SAVEPOINT a", "RELEASE a"}, txn.InTx, 0, 0},
	} {
		for _, prepared := range []bool{false, true} {
			t.Run(test.name, func(t *testing.T) {
				w := newWorld(t, testdb.Need(t, testenv.SQLiteFile), preparing{}, txn.Options{})
				conn := w.connection(t)
				for _, query := range test.queries {
					if prepared {
						stmt, err := conn.PrepareContext(t.Context(), query)
						require.NoError(t, err)
						_, err = stmt.ExecContext(t.Context())
						require.NoError(t, err)
						require.NoError(t, stmt.Close())
						continue
					}
					send(t, conn, query)
				}
				require.Equal(t, test.where, w.at(conn))
				require.Equal(t, test.flushes, w.recorder.count())
				require.Equal(t, test.visible, w.visible(t))
				require.Empty(t, w.recorder.alone)
			})
		}
	}
}

func TestTextsOfSeveralStatements(t *testing.T) {
	for _, test := range []struct {
		name    string
		queries []string
		where   txn.Where
		flushes int
	}{
		{"whole", []string{"BEGIN; COMMIT"}, txn.Autocommit, 0},
		{"end", []string{"BEGIN", insertOne, "SELECT 1; COMMIT"}, txn.Autocommit, 1},
		{"undone", []string{"BEGIN", insertOne, "SELECT 1; ROLLBACK"}, txn.Autocommit, 0},
		{"the next", []string{"BEGIN", insertOne, "COMMIT; BEGIN"}, txn.InTx, 1},
		{"the next and its end", []string{"BEGIN", insertOne, "COMMIT; BEGIN; COMMIT"}, txn.Autocommit, 1},
		{"the end of the next", []string{"BEGIN", insertOne, "COMMIT; BEGIN", insertTwo, "COMMIT"}, txn.Autocommit, 2},
	} {
		t.Run(test.name, func(t *testing.T) {
			w := newWorld(t, testdb.Need(t, testenv.SQLiteFile), preparing{}, txn.Options{})
			conn := w.connection(t)
			send(t, conn, test.queries...)
			require.Equal(t, test.where, w.at(conn))
			require.Equal(t, test.flushes, w.recorder.count())
		})
	}
	t.Run("a BEGIN that is none, and its end", func(t *testing.T) {
		w := newWorld(t, testdb.Need(t, testenv.Postgres), preparing{}, txn.Options{})
		conn := w.connection(t)
		send(t, conn, "BEGIN", insertOne, "BEGIN; SELECT 1; COMMIT")
		require.Equal(t, txn.Autocommit, w.at(conn))
		require.Equal(t, 1, w.recorder.count())
		send(t, conn, insertTwo)
		require.Equal(t, []txn.Where{txn.Autocommit}, w.recorder.alone)
		require.EqualValues(t, 2, w.visible(t))
	})
	t.Run("savepoints of PostgreSQL", func(t *testing.T) {
		w := newWorld(t, testdb.Need(t, testenv.Postgres), preparing{}, txn.Options{})
		conn := w.connection(t)
		send(t, conn, "BEGIN", insertOne, "SAVEPOINT a; RELEASE a")
		require.Equal(t, txn.InTx, w.at(conn))
		send(t, conn, "COMMIT")
		require.Equal(t, txn.Autocommit, w.at(conn))
		require.Equal(t, 1, w.recorder.count())
	})
}
