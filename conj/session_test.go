package conj

import (
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestSettingsOfATextAreTold(t *testing.T) {
	one := func(name string, effect Effect) []Setting { return []Setting{{Name: name, Effect: effect}} }
	local := func(name string, effect Effect) []Setting {
		return []Setting{{Name: name, Local: true, Effect: effect}}
	}
	for _, c := range []struct {
		d    Dialect
		sql  string
		want []Setting
	}{
		{PostgreSQL, `SET search_path = x`, one("search_path", EffectNames)},
		{PostgreSQL, "/* x */ set\n local Search_Path TO tenant, public", local("search_path", EffectNames)},
		{PostgreSQL, `SET SESSION "TimeZone" TO 'UTC'`, one("timezone", EffectValues)},
		{PostgreSQL, `SET TIME ZONE 'Europe/Berlin'`, one("timezone", EffectValues)},
		{PostgreSQL, `SET LOCAL TIME ZONE INTERVAL '1' HOUR TO MINUTE`, local("timezone", EffectValues)},
		{PostgreSQL, `SET NAMES 'latin1'`, one("client_encoding", EffectValues)},
		{PostgreSQL, `SET SCHEMA 'x'`, one("search_path", EffectNames)},
		{PostgreSQL, `SET XML OPTION DOCUMENT`, one("xmloption", EffectValues)},
		{PostgreSQL, `SET ROLE tenant`, one("role", EffectNames)},
		{PostgreSQL, `SET LOCAL SESSION AUTHORIZATION x`, local("session_authorization", EffectNames)},
		{PostgreSQL, `SET SESSION AUTHORIZATION x`, one("session_authorization", EffectNames)},
		{PostgreSQL, `SET row_security = off`, one("row_security", EffectNames)},
		{PostgreSQL, `SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL SERIALIZABLE`, one("default_transaction_isolation", EffectIsolation)},
		{PostgreSQL, `SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY`, one("default_transaction_read_only", EffectNone)},
		{PostgreSQL, `SET TRANSACTION ISOLATION LEVEL REPEATABLE READ`, local("transaction_isolation", EffectIsolation)},
		{PostgreSQL, `SET TRANSACTION READ ONLY`, local("transaction_read_only", EffectNone)},
		{PostgreSQL, `SET TRANSACTION SNAPSHOT '1'`, local("transaction_snapshot", EffectIsolation)},
		{PostgreSQL, `SET CONSTRAINTS ALL DEFERRED`, local("constraints", EffectNone)},
		{PostgreSQL, `SET statement_timeout = '5s'`, one("statement_timeout", EffectNone)},
		{PostgreSQL, `SET enable_seqscan = off`, one("enable_seqscan", EffectNone)},
		{PostgreSQL, `SET app.tenant = 7`, one("app.tenant", EffectNone)},
		{PostgreSQL, `SET pg_trgm.similarity_threshold = 0.1`, one("pg_trgm.similarity_threshold", EffectValues)},
		{PostgreSQL, `SET pg_trgm.something_new = 1`, one("pg_trgm.something_new", EffectUnknown)},
		{PostgreSQL, `SET something_new = 1`, one("something_new", EffectUnknown)},
		{PostgreSQL, `RESET ALL`, one("", EffectUnknown)},
		{PostgreSQL, `RESET TIME ZONE`, one("timezone", EffectValues)},
		{PostgreSQL, `RESET work_mem`, one("work_mem", EffectNone)},
		{PostgreSQL, `DISCARD ALL`, one("", EffectUnknown)},
		{PostgreSQL, `DISCARD PLANS`, one("", EffectNone)},
		{PostgreSQL, `ALTER ROLE app IN DATABASE d SET search_path = x`, one("search_path", EffectNames)},
		{PostgreSQL, `ALTER DATABASE d RESET ALL`, one("", EffectUnknown)},
		{PostgreSQL, `ALTER TABLE users SET SCHEMA x`, nil},
		{PostgreSQL, `SELECT set_config('Search_Path', $1, true)`, local("search_path", EffectNames)},
		{PostgreSQL, `SELECT pg_catalog.set_config('search_path', $1, false)`, one("search_path", EffectNames)},
		{PostgreSQL, `SELECT set_config($1, f(2, true), false)`, one("", EffectUnknown)},
		{PostgreSQL, `SELECT set_config('a.b', 'b', $1) FROM users`, one("a.b", EffectNone)},
		{PostgreSQL, `SELECT set_config('a.b', 'b', NOT true)`, one("a.b", EffectNone)},
		{PostgreSQL, `INSERT INTO users (name) VALUES (set_config('timezone', 'UTC', false))`, one("timezone", EffectValues)},
		{PostgreSQL, `SELECT name FROM users WHERE name = 'local'`, nil},
		{PostgreSQL, `UPDATE users SET name = 'x'`, nil},
		// Texts that are not understood.
		{PostgreSQL, `SELECT 1; SET search_path = x; SET work_mem = 1`, []Setting{{Name: "search_path", Effect: EffectNames}, {Name: "work_mem", Effect: EffectNone}}},
		{PostgreSQL, `SELECT 'a\'; SET search_path = x`, one("search_path", EffectNames)},
		{PostgreSQL, `SELECT ??? set_config('role', 'x', false)`, one("role", EffectNames)},

		{MySQL, `SET time_zone = '+00:00'`, one("time_zone", EffectValues)},
		{MySQL, `SET @@session.time_zone = '+00:00', @x = (1, 2), GLOBAL sql_mode = '', @@wait_timeout = 1`, []Setting{
			{Name: "time_zone", Effect: EffectValues}, {Name: "@x", Effect: EffectNone}, {Name: "sql_mode", Effect: EffectNames}, {Name: "wait_timeout", Effect: EffectNone},
		}},
		{MySQL, "SET @@`sql_mode` = 'ANSI_QUOTES'", one("sql_mode", EffectNames)},
		{MySQL, `SET SESSION sql_mode = CONCAT(@@sql_mode, ',ANSI_QUOTES')`, one("sql_mode", EffectNames)},
		{MySQL, `SET session.group_concat_max_len = 5`, one("group_concat_max_len", EffectValues)},
		{MySQL, `SET NAMES utf8mb4 COLLATE utf8mb4_bin`, one("names", EffectValues)},
		{MySQL, `SET CHARACTER SET latin1`, one("names", EffectValues)},
		{MySQL, `SET character_set_results = NULL`, one("character_set_results", EffectValues)},
		{MySQL, `SET SESSION TRANSACTION ISOLATION LEVEL READ UNCOMMITTED, READ ONLY`, one("transaction_isolation", EffectIsolation)},
		{MySQL, `SET TRANSACTION READ ONLY`, one("transaction_read_only", EffectNone)},
		{MySQL, `SET autocommit = 0`, one("autocommit", EffectIsolation)},
		{MySQL, `SET ROLE x`, one("role", EffectNames)},
		{MySQL, `SET something_new = 1`, one("something_new", EffectUnknown)},
		{MySQL, `SET STATEMENT max_statement_time = 1 FOR DELETE FROM users`, one("", EffectNone)},
		{MySQL, `USE other`, one("use", EffectNames)},
		{MySQL, `/*!40101 SET NAMES utf8 */`, one("names", EffectValues)},
		{MySQL, `SELECT set_config(1)`, nil},

		{SQLite, `PRAGMA case_sensitive_like = 1`, one("case_sensitive_like", EffectValues)},
		{SQLite, `PRAGMA main.read_uncommitted(1)`, one("read_uncommitted", EffectIsolation)},
		{SQLite, `PRAGMA reverse_unordered_selects = ON`, one("reverse_unordered_selects", EffectValues)},
		{SQLite, `PRAGMA foreign_keys = OFF`, one("foreign_keys", EffectNone)},
		{SQLite, `PRAGMA foreign_keys`, nil},
		{SQLite, `PRAGMA table_info(users)`, one("table_info", EffectNone)},
		{SQLite, `ATTACH 'x.db' AS other`, one("attach", EffectNone)},
	} {
		t.Run(c.d.String()+"/"+c.sql, func(t *testing.T) {
			require.Equal(t, c.want, compile(t, c.d, c.sql).Settings)
			require.Equal(t, c.want, SettingsOf(c.d, c.sql))
		})
	}
}

func TestTwoPhase(t *testing.T) {
	for _, c := range []struct {
		d    Dialect
		sql  string
		want TwoPhase
	}{
		{PostgreSQL, `PREPARE TRANSACTION 'x'`, TwoPhasePrepare},
		{PostgreSQL, "commit /* x */ prepared\n'x'", TwoPhaseEnd},
		{PostgreSQL, `ROLLBACK PREPARED 'x'`, TwoPhaseEnd},
		{PostgreSQL, `COMMIT`, NoTwoPhase},
		{PostgreSQL, `SELECT 'COMMIT PREPARED'`, NoTwoPhase},
		{PostgreSQL, `BEGIN; COMMIT PREPARED 'x'`, TwoPhaseEnd},
		{MySQL, `XA START 'x'`, TwoPhaseBegin},
		{MySQL, `XA END 'x'`, TwoPhaseBegin},
		{MySQL, `XA PREPARE 'x'`, TwoPhasePrepare},
		{MySQL, `XA COMMIT 'x' ONE PHASE`, TwoPhaseEnd},
		{MySQL, `xa rollback 'x'`, TwoPhaseEnd},
		{MySQL, `XA RECOVER`, NoTwoPhase},
		{MySQL, `PREPARE s FROM 'SELECT 1'`, NoTwoPhase},
	} {
		t.Run(c.d.String()+"/"+c.sql, func(t *testing.T) {
			require.Equal(t, c.want, compile(t, c.d, c.sql).TwoPhase)
		})
	}
}

func TestMeaningfulSettings(t *testing.T) {
	for d, some := range map[Dialect][]string{
		PostgreSQL: {"bytea_output", "datestyle", "default_text_search_config", "extra_float_digits", "intervalstyle", "lc_time", "role", "row_security", "search_path", "timezone", "xmlbinary"},
		MySQL:      {"character_set_results", "collation_connection", "div_precision_increment", "group_concat_max_len", "lc_time_names", "old_mode", "sql_mode", "sql_select_limit", "time_zone"},
		SQLite:     {"read_uncommitted", "reverse_unordered_selects"},
	} {
		names := MeaningfulSettings(d)
		require.True(t, slices.IsSorted(names))
		require.Subset(t, names, some)
		for _, name := range names {
			require.True(t, SettingEffect(d, strings.ToUpper(name)).Meaningful(), name)
		}
		for _, harmless := range []string{"work_mem", "wait_timeout", "foreign_keys", "use", "attach"} {
			require.NotContains(t, names, harmless)
		}
	}
}
