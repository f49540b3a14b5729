package pools

import (
	"testing"

	"github.com/stretchr/testify/require"
	"gorm.io/gorm"

	"github.com/cacheplugin/cacheplugin/integration/internal/fixture"
	"github.com/cacheplugin/cacheplugin/integration/testdb"
	"github.com/cacheplugin/cacheplugin/internal/testenv"
)

// MySQL commits by some statements what was done before, and by others that look alike
// it does not. What a transaction writes before and after them is dropped when it is
// really committed, whoever has read it meanwhile.
func TestStatementsThatMayCommitTheTransaction(t *testing.T) {
	for _, prepare := range []bool{false, true} {
		o := options()
		o.Gorm.PrepareStmt = prepare
		f := fixture.New(t, testdb.Need(t, testenv.MariaDB), o)
		for _, text := range []string{
			"CREATE PROCEDURE nothing() BEGIN END",
			"CREATE TABLE kept (a integer)",
		} {
			require.NoError(t, f.Plain.Exec(text).Error)
		}
		for _, text := range []string{
			"CREATE TEMPORARY TABLE IF NOT EXISTS passing (a integer)",
			"CREATE OR REPLACE TEMPORARY TABLE passing (a integer)",
			"ALTER TABLE own ADD COLUMN b integer",
			"TRUNCATE TABLE own",
			"CREATE INDEX i ON own (a)",
			"DROP TABLE own",
			"RENAME TABLE own TO passed",
			"ALTER TABLE own RENAME TO passed",
			"DROP TEMPORARY TABLE IF EXISTS passing",
			"CALL nothing()",
			"CREATE TABLE IF NOT EXISTS others (a integer)",
			"ANALYZE TABLE kept",
			"FLUSH STATUS",
			"DROP TABLE IF EXISTS none",
			"TRUNCATE TABLE kept",
			"CHECK TABLE kept",
		} {
			for way, send := range map[string]func(tx *gorm.DB, text string) error{
				"GORM": func(tx *gorm.DB, text string) error { return tx.Exec(text).Error },
				"database/sql": func(tx *gorm.DB, text string) error {
					_, err := bareTx(t, tx).ExecContext(t.Context(), text)
					return err
				},
			} {
				t.Run(text+"/"+way, func(t *testing.T) {
					require.NoError(t, f.DB.Save(&[]fixture.Brand{{ID: 1, Name: "old"}, {ID: 2, Name: "old"}}).Error)
					other := beside(t, f)
					var name string
					before, after := first(t, other, 1, &name), first(t, other, 2, &name)
					require.NoError(t, f.DB.Transaction(func(tx *gorm.DB) error {
						// What follows may be of a table that the session alone has.
						require.NoError(t, tx.Exec("DROP TEMPORARY TABLE IF EXISTS passed").Error)
						require.NoError(t, tx.Exec("CREATE OR REPLACE TEMPORARY TABLE own (a integer)").Error)
						require.NoError(t, tx.Model(&fixture.Brand{ID: 1}).Update("name", "new").Error)
						if err := send(tx, text); err != nil {
							return err
						}
						before()
						require.NoError(t, tx.Model(&fixture.Brand{ID: 2}).Update("name", "new").Error)
						after()
						return nil
					}))
					before()
					require.Equal(t, "new", name, "written before")
					after()
					require.Equal(t, "new", name, "written after")
				})
			}
		}
	}
}

// The same in a transaction that was begun by text, of which nobody can tell then
// whether it goes on.
func TestStatementsThatMayCommitATransactionByText(t *testing.T) {
	f := fixture.New(t, testdb.Need(t, testenv.MariaDB), options())
	require.NoError(t, f.Plain.Exec("CREATE PROCEDURE nothing() BEGIN END").Error)
	for _, text := range []string{"CALL nothing()", "CREATE TEMPORARY TABLE passing (a integer)", "CREATE TABLE kept (a integer)"} {
		t.Run(text, func(t *testing.T) {
			require.NoError(t, f.DB.Save(&[]fixture.Brand{{ID: 1, Name: "old"}, {ID: 2, Name: "old"}}).Error)
			var name string
			other := beside(t, f)
			read, later := first(t, other, 1, &name), first(t, other, 2, &name)
			conn, err := sqlDB(t, f.DB).Conn(t.Context())
			require.NoError(t, err)
			for _, query := range []string{"BEGIN", "UPDATE brands SET name = 'new' WHERE id = 1", text} {
				_, err := conn.ExecContext(t.Context(), query)
				require.NoError(t, err)
			}
			read()
			before := f.Plugin.Stats().Invalidations
			_, err = conn.ExecContext(t.Context(), "UPDATE brands SET name = 'new' WHERE id = 2")
			require.NoError(t, err)
			require.Eventually(t, func() bool { return f.Plugin.Stats().Invalidations >= before+2 }, waitFor, tick, "at once, in the transaction's journal, and a moment later")
			later()
			_, err = conn.ExecContext(t.Context(), "COMMIT")
			require.NoError(t, err)
			require.NoError(t, conn.Close())
			read()
			require.Equal(t, "new", name, "written before")
			later()
			require.Equal(t, "new", name, "written in doubt")
		})
	}
}
