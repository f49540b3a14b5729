package txn

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"strings"
	"testing"

	mysqldriver "github.com/go-sql-driver/mysql"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/mattn/go-sqlite3"
	"github.com/stretchr/testify/require"
	"gorm.io/gorm"

	"github.com/cacheplugin/cacheplugin/txn"
)

func TestPoolsKeepTheirTypes(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		if w.db.PrepareStmt {
			require.IsType(t, &gorm.PreparedStmtDB{}, w.db.ConnPool)
		} else {
			require.IsType(t, &sql.DB{}, w.db.ConnPool)
		}
		pool := w.pool(t)
		require.Same(t, bottom(w.db), pool)

		inTransaction := func(tx *gorm.DB) *sql.Tx {
			pool := tx.Statement.ConnPool
			for {
				prepared, ok := pool.(*gorm.PreparedStmtTX)
				if !ok {
					return pool.(*sql.Tx) // the recipe of many libraries
				}
				pool = prepared.Tx
			}
		}
		require.NoError(t, w.db.Transaction(func(tx *gorm.DB) error {
			sqlTx := inTransaction(tx)
			require.NoError(t, tx.Create(&Account{ID: 1}).Error)
			_, err := sqlTx.ExecContext(t.Context(), "INSERT INTO accounts (id, balance) VALUES (2, 2)")
			require.NoError(t, err)
			return tx.Transaction(func(nested *gorm.DB) error {
				require.Same(t, sqlTx, inTransaction(nested))
				return nil
			})
		}))
		require.Equal(t, 1, w.recorder.count())
		require.Len(t, w.recorder.flushes[0], 2)
		require.EqualValues(t, 2, w.visible(t))

		require.NoError(t, w.db.Connection(func(conn *gorm.DB) error {
			bare := txn.Bare(conn.Statement.ConnPool)
			require.IsType(t, &sql.Conn{}, bare)
			return conn.Transaction(func(tx *gorm.DB) error {
				require.IsType(t, &sql.Tx{}, txn.Bare(tx.Statement.ConnPool))
				return nil
			})
		}))
	})
}

func TestDriversAreReachable(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		var driverType, connType any
		switch w.database.Dialect {
		case "postgres":
			driverType, connType = &stdlib.Driver{}, &stdlib.Conn{}
		case "mysql":
			driverType = &mysqldriver.MySQLDriver{}
		default:
			driverType, connType = &sqlite3.SQLiteDriver{}, &sqlite3.SQLiteConn{}
		}
		require.IsType(t, driverType, w.pool(t).Driver())
		conn, err := w.pool(t).Conn(t.Context())
		require.NoError(t, err)
		defer conn.Close()
		require.NoError(t, conn.Raw(func(raw any) error {
			ours, ok := raw.(interface{ Unwrap() driver.Conn })
			require.True(t, ok, "%T", raw)
			if connType != nil {
				require.IsType(t, connType, ours.Unwrap())
			}
			require.NotImplements(t, (*interface{ Unwrap() driver.Conn })(nil), ours.Unwrap())
			// What a program does with it: a statement of the driver's own.
			execer := ours.Unwrap().(driver.ExecerContext)
			_, err := execer.ExecContext(t.Context(), "INSERT INTO accounts (id, balance) VALUES (9, 9)", nil)
			return err
		}))
		require.Zero(t, w.recorder.count())
		require.Empty(t, w.recorder.alone, "it is not seen")
		require.EqualValues(t, 1, w.visible(t))
	})
}

func TestStatementsPreparedByTheProgramAreSeen(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		insert := "INSERT INTO accounts (id, balance) VALUES (?, 0)"
		if w.database.Dialect == "postgres" {
			insert = "INSERT INTO accounts (id, balance) VALUES ($1, 0)"
		}
		stmt, err := w.pool(t).PrepareContext(t.Context(), insert)
		require.NoError(t, err)
		defer stmt.Close()
		_, err = stmt.ExecContext(t.Context(), 1)
		require.NoError(t, err)
		require.Equal(t, []txn.Where{txn.Autocommit}, w.recorder.alone)

		for _, end := range []func(*sql.Tx) error{(*sql.Tx).Commit, (*sql.Tx).Rollback} {
			tx, err := w.pool(t).BeginTx(t.Context(), nil)
			require.NoError(t, err)
			_, err = tx.StmtContext(t.Context(), stmt).ExecContext(t.Context(), 2)
			require.NoError(t, err)
			require.NoError(t, end(tx))
			require.Equal(t, 1, w.recorder.count(), "by the commit only")
			_, err = w.other.ConnPool.ExecContext(context.Background(), "DELETE FROM accounts WHERE id = 2")
			require.NoError(t, err)
		}
		require.Len(t, w.recorder.alone, 1)
	})
}

func TestRowsThatAreReturnedAreCountedAsAWriteWhenTheyEnd(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		if w.database.Dialect == "mysql" {
			var version string
			require.NoError(t, w.other.Raw("SELECT version()").Scan(&version).Error)
			if !strings.Contains(version, "MariaDB") {
				return // MySQL has no RETURNING
			}
		}
		insert := "INSERT INTO accounts (id, balance) VALUES (1, 0), (2, 0) RETURNING id"
		rows, err := w.pool(t).QueryContext(t.Context(), insert)
		require.NoError(t, err)
		require.True(t, rows.Next())
		require.Empty(t, w.recorder.alone)
		require.True(t, rows.Next())
		require.False(t, rows.Next())
		require.NoError(t, rows.Err())
		require.NoError(t, rows.Close())
		require.Equal(t, []txn.Where{txn.Autocommit}, w.recorder.alone, "once")
		require.EqualValues(t, 2, w.visible(t))
	})
}
