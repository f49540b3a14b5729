package txn

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestScanReadsWhatATextDoesToTheTransaction(t *testing.T) {
	const postgres = "postgres"
	begun := traits{begins: 1, leaves: true}
	ended := traits{ends: 1}
	committed := traits{ends: 1, commits: true}
	session := traits{session: true}
	ddl := traits{ddl: true}
	for _, test := range []struct {
		name, dialect, query string
		want                 traits
	}{
		{"nothing", postgres, "", traits{}},
		{"blank", postgres, " ;; ; ", traits{}},
		{"select", postgres, "SELECT 1", traits{}},
		{"parenthesis", postgres, "(SELECT 1)", traits{}},
		{"a word that only begins alike", postgres, "beginning", traits{}},
		{"words in a string", postgres, "SELECT 'x; COMMIT'", traits{}},
		{"words in an identifier", postgres, `SELECT "x; COMMIT"`, traits{}},
		{"words in backticks", mysql, "SELECT `x; COMMIT`", traits{}},
		{"words in a doubled quote", postgres, "SELECT 'it''s; COMMIT'", traits{}},
		{"words in a dollar-quoted string", postgres, "SELECT $$x; COMMIT$$, $a$ ; COMMIT; $$ $a$", traits{}},
		{"dollar quotes not closed", postgres, "SELECT $$x; COMMIT", traits{}},
		{"parameters are no dollar quotes", postgres, "UPDATE t SET a=$1 WHERE b=$2; COMMIT", committed},
		{"words in a comment", postgres, "SELECT 1 -- ; COMMIT\n/* ; COMMIT /* */ ; COMMIT */", traits{}},
		{"nested comments only in PostgreSQL", mysql, "SELECT 1 /* /* */ ; COMMIT", committed},
		{"comments before", postgres, "-- hello\n/* there /* all */ */ \t COMMIT", committed},
		{"hash comment", mysql, "# hello\nCOMMIT", committed},
		{"hash is an operator", postgres, "SELECT 1 # 2; COMMIT", committed},
		{"minus minus without a blank is no comment", mysql, "SELECT 1--1; COMMIT", committed},
		{"versioned comment", mysql, "/*!40101 SET NAMES utf8 */", session},
		{"versioned comment behind", mysql, "SELECT 1 /*!40101 + 1 */; COMMIT", committed},
		{"MariaDB's versioned comment", mysql, "/*M!100000 COMMIT */", committed},
		{"backslash escapes", mysql, `SELECT 'x\'; COMMIT; '`, traits{}},
		{"backslash does not escape", sqlite, `SELECT 'x\'; COMMIT; `, committed},
		{"backslash escapes in E strings", postgres, `SELECT E'x\'; COMMIT; '`, traits{}},
		{"backslash does not escape in PostgreSQL", postgres, `SELECT 'x\'; COMMIT; `, committed},
		{"an identifier that ends in e", postgres, `SELECT type'x\'; COMMIT; `, committed},

		{"begin", postgres, "begin isolation level serializable", begun},
		{"begin commits on MySQL", mysql, "BEGIN", traits{begins: 1, leaves: true, commits: true}},
		{"begin immediate", sqlite, "BEGIN IMMEDIATE", begun},
		{"start transaction", postgres, "START TRANSACTION READ ONLY", begun},
		{"start something else", mysql, "START SLAVE", traits{}},
		{"commit", postgres, "Commit", committed},
		{"end", sqlite, "END TRANSACTION", committed},
		{"commit and chain", postgres, "COMMIT WORK AND CHAIN", traits{begins: 1, ends: 1, leaves: true, commits: true}},
		{"commit and no chain", postgres, "COMMIT AND NO CHAIN", committed},
		{"rollback", postgres, "ROLLBACK", ended},
		{"abort", postgres, "ABORT", ended},
		{"rollback and chain", mysql, "ROLLBACK AND CHAIN", traits{begins: 1, ends: 1, leaves: true}},
		{"rollback to", sqlite, "ROLLBACK TO SAVEPOINT a", traits{back: "a"}},
		{"savepoints matter on SQLite only", postgres, "ROLLBACK TO SAVEPOINT a; RELEASE a", traits{}},
		{"rollback work to", mysql, "ROLLBACK WORK TO a", traits{}},
		{"rollback transaction to", sqlite, "rollback transaction to a", traits{back: "a"}},
		{"savepoint", sqlite, "SAVEPOINT A", traits{savepoint: "a"}},
		{"quoted savepoint", sqlite, `SAVEPOINT "B c"`, traits{savepoint: "b c"}},
		{"release", sqlite, "RELEASE a", traits{release: "a"}},
		{"release savepoint", sqlite, "release savepoint `a`", traits{release: "a"}},
		{"release of one called savepoint", sqlite, "RELEASE savepoint", traits{release: "savepoint"}},
		{"several savepoints", sqlite, "SAVEPOINT a; RELEASE a", traits{savepoint: "a", release: "a", detaches: true}},
		{"prepare transaction", postgres, "PREPARE TRANSACTION 'x'", committed},
		{"prepare a statement", mysql, "PREPARE s FROM 'SELECT 1'", traits{}},
		{"commit prepared", postgres, "COMMIT PREPARED 'x'", traits{commits: true}},
		{"xa", mysql, "XA START 'x'", traits{detaches: true, commits: true}},

		{"set transaction", postgres, "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ", session},
		{"set session", postgres, "SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY", session},
		{"set autocommit", mysql, "SET @@autocommit = 0", traits{session: true, detaches: true, commits: true}},
		{"pragma", sqlite, "PRAGMA read_uncommitted = 1", session},
		{"use", mysql, "USE other", session},
		{"lock tables commits", mysql, "LOCK TABLES t READ", traits{session: true, commits: true}},
		{"lock table", postgres, "LOCK TABLE t", session},

		{"create table", postgres, "CREATE TABLE t (a int)", ddl},
		{"create table commits on MySQL", mysql, "CREATE TABLE t (a int)", traits{ddl: true, commits: true}},
		{"truncate", mysql, "TRUNCATE t", traits{ddl: true, commits: true}},
		{"bodies are not split", sqlite, "CREATE TEMP TRIGGER x AFTER INSERT ON t BEGIN UPDATE t SET a=1; END; COMMIT", ddl},
		{"create, then commit", postgres, "CREATE TABLE t (a int); COMMIT", traits{ends: 1, commits: true, ddl: true}},
		{"create temporary", mysql, "CREATE OR REPLACE TEMPORARY TABLE t (a int)", traits{ddl: true, commits: true, temporary: true}},
		{"drop temporary", mysql, "DROP TEMPORARY TABLE t", traits{ddl: true, commits: true, temporary: true}},
		{"drop", mysql, "DROP TABLE t", traits{ddl: true, commits: true}},
		{"call may commit", mysql, "CALL p()", traits{commits: true}},
		{"call", postgres, "CALL p()", traits{}},
		{"commit and begin", postgres, "COMMIT; BEGIN", traits{begins: 1, ends: 1, leaves: true, commits: true}},
		{"several", postgres, "BEGIN; INSERT INTO t VALUES (1); COMMIT;", traits{begins: 1, ends: 1, commits: true}},
	} {
		t.Run(test.name, func(t *testing.T) {
			require.Equal(t, test.want, scan(test.query, test.dialect))
		})
	}
}

func TestScanDoesNotAllocate(t *testing.T) {
	for _, query := range []string{
		"SELECT * FROM accounts WHERE id = $1",
		"UPDATE accounts SET name = 'a;b' WHERE id = $1;",
		"savepoint sp123",
	} {
		require.Zero(t, testing.AllocsPerRun(100, func() { scan(query, "postgres") }), query)
	}
}

func FuzzScanEndsAndSeesWhatFollows(f *testing.F) {
	for _, seed := range []string{"SELECT 1", "/*!40101 x", "E'\\'", "$a$;$a$", "'", "--", "/*/*", "CREATE x TRIGGER", "`;`", "\x80$", "*/", "COMMIT AND"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, query string) {
		for _, dialect := range []string{"postgres", mysql, sqlite} {
			got := scan(query, dialect)
			require.GreaterOrEqual(t, got.begins, 0)
			// A statement before changes nothing for those behind it.
			after := scan("SELECT 'x;', 1;"+query, dialect)
			require.Equal(t, got, after, dialect)
		}
	})
}
