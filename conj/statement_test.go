package conj

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
)

func compile(t *testing.T, d Dialect, sql string) *Plan {
	t.Helper()
	plan, err := Compile(d, sql, shop(), Limits{})
	require.NoError(t, err)
	return plan
}

func TestStatementsAreTold(t *testing.T) {
	for _, c := range []struct {
		d    Dialect
		sql  string
		want Statement
	}{
		{PostgreSQL, "-- note\n /* a /* b */ */ SELECT * FROM users", Select},
		{PostgreSQL, `SELECT * FROM users WHERE name = 'update users set x' -- delete`, Select},
		{PostgreSQL, `((SELECT id FROM users))`, Select},
		{PostgreSQL, `VALUES (1), (2)`, Select},
		{PostgreSQL, `WITH a AS (SELECT 1) SELECT * FROM a`, Select},
		{PostgreSQL, `WITH a AS (SELECT 1) UPDATE users SET age = 1`, Update},
		{PostgreSQL, `WITH a AS (SELECT 1) INSERT INTO users SELECT * FROM a`, Insert},
		{PostgreSQL, `  ; insert into users DEFAULT VALUES;`, Insert},
		{MySQL, `# x` + "\n" + `REPLACE INTO users (id) VALUES (1)`, Replace},
		{PostgreSQL, `MERGE INTO users u USING posts p ON p.id = u.id WHEN MATCHED THEN DELETE`, Merge},
		{PostgreSQL, `TRUNCATE ONLY users, posts RESTART IDENTITY CASCADE`, Truncate},
		{PostgreSQL, `COPY users (id) FROM STDIN`, Insert},
		{PostgreSQL, `ALTER TABLE IF EXISTS ONLY users ADD x int`, DDL},
		{PostgreSQL, `CREATE EXTENSION x`, DDL},
		{PostgreSQL, `BEGIN ISOLATION LEVEL SERIALIZABLE`, Begin},
		{MySQL, `START TRANSACTION READ ONLY`, Begin},
		{PostgreSQL, `COMMIT`, Commit}, {PostgreSQL, `END TRANSACTION`, Commit},
		{PostgreSQL, `ROLLBACK`, Rollback}, {PostgreSQL, `ABORT`, Rollback},
		{PostgreSQL, `ROLLBACK WORK TO SAVEPOINT a`, RollbackTo}, {SQLite, "ROLLBACK TO a", RollbackTo},
		{PostgreSQL, `SAVEPOINT a`, Savepoint}, {PostgreSQL, `RELEASE SAVEPOINT a`, Release},
		{PostgreSQL, `SET LOCAL search_path = x`, Set}, {MySQL, `USE other`, Set},
		{PostgreSQL, `CALL f(1)`, Call}, {PostgreSQL, `DO $$ BEGIN DELETE FROM users; END $$`, Call},
		{PostgreSQL, `EXPLAIN SELECT 1`, Other}, {SQLite, `PRAGMA foreign_keys`, Other}, {PostgreSQL, ``, Other},
		{PostgreSQL, `EXPLAIN (ANALYZE, VERBOSE) DELETE FROM users`, Unknown},
		{MySQL, `ANALYZE FORMAT=JSON UPDATE users SET age = 1`, Unknown},
		{MySQL, `SET STATEMENT max_statement_time=1 FOR DELETE FROM users`, Unknown},
		{PostgreSQL, `PREPARE TRANSACTION 'x'`, Other}, {PostgreSQL, `COMMIT PREPARED 'x'`, Other},
		{PostgreSQL, `ROLLBACK PREPARED 'x'`, Other}, {MySQL, `XA COMMIT 'x' ONE PHASE`, Other},
		{PostgreSQL, `PREPARE s AS DELETE FROM users`, Unknown}, {MySQL, `PREPARE s FROM 'DELETE FROM users'`, Unknown},
		{SQLite, `PRAGMA read_uncommitted = 1`, Set}, {SQLite, `PRAGMA main.table_info(users)`, Other},
		{SQLite, `PRAGMA case_sensitive_like(1)`, Set},
		{MySQL, `LOAD DATA INFILE 'x' INTO TABLE users`, Unknown},
		{MySQL, `CREATE TRIGGER t AFTER INSERT ON users FOR EACH ROW BEGIN DELETE FROM posts; DELETE FROM labels; END`, DDL},
		{SQLite, `CREATE TRIGGER t AFTER INSERT ON users BEGIN DELETE FROM posts; END`, DDL},
		{PostgreSQL, `CREATE TABLE a (b int); DROP TABLE c`, DDL},
		{PostgreSQL, `SELECT 1; DELETE FROM users`, Unknown},
		{PostgreSQL, `UPDATE users SET age = 1; UPDATE posts SET id = 1`, Unknown},
		{PostgreSQL, `DELETE FROM users WHERE`, Unknown},
		{PostgreSQL, `LOCK TABLE users`, Other}, {MySQL, `LOCK TABLES users WRITE`, Unknown},
		{MySQL, `SELECT * FROM users u JOIN posts p RIGHT JOIN labels l ON l.post_id = p.id`, Select},
		{PostgreSQL, `UPDATE users SET name = 'a\' WHERE id = 1`, Unknown},
		{PostgreSQL, `nonsense`, Unknown},
		{PostgreSQL, `SELECT * FROM users WHERE ??? nonsense`, Select},
		{PostgreSQL, `SELECT * INTO a nonsense b c`, Unknown},
	} {
		plan := compile(t, c.d, c.sql)
		require.Equal(t, c.want, plan.Statement, "%s: %s", c.sql, plan.Skip)
		if c.want == Unknown {
			require.Empty(t, plan.Writes, c.sql)
			require.Contains(t, plan.Skip, "not understood", c.sql)
		}
	}
	require.Equal(t, "unknown table nowhere", compile(t, PostgreSQL, `SELECT * FROM nowhere`).Skip)
}

func TestShapes(t *testing.T) {
	for _, c := range []struct {
		sql  string
		want Shape
	}{
		{`SELECT * FROM users`, Rows},
		{`SELECT age, name FROM users`, Rows},
		{`SELECT count(*) FROM users`, Count},
		{`SELECT COUNT(DISTINCT(name)) AS n FROM users`, Count},
		{`SELECT count(*) FROM users GROUP BY name`, Count},
		{`SELECT count(*) FROM (SELECT name FROM users GROUP BY name) tmp`, Count},
		{`SELECT count(*) FILTER (WHERE age > 1) FROM users`, Count},
		{`SELECT count(*) > 0 FROM users`, Exists},
		{`SELECT count(1) > $1 AS found FROM users`, Exists},
		{`SELECT EXISTS(SELECT * FROM users)`, Exists},
		{`SELECT 1 FROM users LIMIT 1`, Exists},
		{`SELECT true AS found FROM users`, Exists},
		{`SELECT 10 FROM users`, Rows},
		{`SELECT 1, 2 FROM users`, Rows},
		{`SELECT sum(age) FROM users`, Aggregate},
		{`SELECT coalesce(max(age), 0) + 1 FROM users`, Aggregate},
		{`SELECT count(*), name FROM users`, Aggregate},
		{`SELECT count(*) + 1 FROM users`, Aggregate},
		{`SELECT name FROM users GROUP BY name`, Aggregate},
		{`SELECT id, sum(age) OVER (PARTITION BY name) FROM users`, Rows},
		{`SELECT count(*) OVER () FROM users`, Rows},
		{`SELECT id, (SELECT count(*) FROM posts) FROM users`, Rows},
		{`SELECT count(*) FROM users UNION SELECT 1`, Rows},
		{`(SELECT count(*) FROM users)`, Count},
		{`WITH a AS (SELECT count(*) FROM users) SELECT * FROM a`, Rows},
		{`WITH a AS (SELECT * FROM users) SELECT count(*) FROM a`, Count},
	} {
		plan := compile(t, PostgreSQL, c.sql)
		require.Empty(t, plan.Skip, c.sql)
		require.Equal(t, c.want, plan.Shape, c.sql)
	}
}

func TestLimits(t *testing.T) {
	for _, c := range []struct {
		d      Dialect
		sql    string
		single bool
		param  int
	}{
		{PostgreSQL, `SELECT * FROM users LIMIT 1`, true, -1},
		{PostgreSQL, `SELECT * FROM users LIMIT 10`, false, -1},
		{PostgreSQL, `SELECT * FROM users WHERE age = $1 LIMIT $2 OFFSET $3`, false, 1},
		{PostgreSQL, `SELECT * FROM users OFFSET $1 LIMIT $2`, false, 1},
		{PostgreSQL, `SELECT * FROM users LIMIT 1 + 1`, false, -1},
		{PostgreSQL, `SELECT * FROM users LIMIT $1 + 1`, false, -1},
		{PostgreSQL, `SELECT * FROM users FETCH FIRST ROW ONLY`, true, -1},
		{PostgreSQL, `SELECT * FROM users FETCH NEXT 1 ROWS ONLY`, true, -1},
		{PostgreSQL, `SELECT * FROM users FETCH FIRST 1 ROW WITH TIES`, false, -1},
		{PostgreSQL, `SELECT * FROM (SELECT * FROM users LIMIT 1) x`, false, -1},
		{PostgreSQL, `(SELECT * FROM users LIMIT 1) UNION SELECT * FROM users`, false, -1},
		{PostgreSQL, `(SELECT * FROM users LIMIT 1)`, true, -1},
		{MySQL, `SELECT * FROM users WHERE age = ? LIMIT ?`, false, 1},
		{MySQL, `SELECT * FROM users LIMIT ?,?`, false, 1},
		{MySQL, `SELECT * FROM users LIMIT 5,1`, true, -1},
		{SQLite, `SELECT * FROM users LIMIT 1 OFFSET 2`, true, -1},
	} {
		plan := compile(t, c.d, c.sql)
		require.NotContains(t, plan.Skip, "not understood", c.sql)
		require.Equal(t, c.single, plan.Single, c.sql)
		require.Equal(t, c.param, plan.LimitParam, c.sql)
	}
}

func TestWhatMustNotBeCachedIsSkipped(t *testing.T) {
	for _, c := range []struct {
		d       Dialect
		sql     string
		skip    string
		effects bool
	}{
		{PostgreSQL, `SELECT * FROM users FOR UPDATE`, "locking read", true},
		{PostgreSQL, `SELECT * FROM users u FOR NO KEY UPDATE OF u SKIP LOCKED`, "locking read", true},
		{PostgreSQL, `SELECT * FROM (SELECT * FROM users FOR SHARE NOWAIT) x`, "locking read", true},
		{MySQL, `SELECT * FROM users WHERE age = 1 LOCK IN SHARE MODE`, "locking read", true},
		{MySQL, `SELECT * FROM users LIMIT 1 FOR UPDATE`, "locking read", true},
		{PostgreSQL, `SELECT * INTO TEMP TABLE x FROM users`, "SELECT INTO", true},
		{MySQL, `SELECT id INTO @x FROM users`, "SELECT INTO", true},
		{MySQL, `SELECT id FROM users INTO OUTFILE 'x'`, "SELECT INTO", true},
		{PostgreSQL, `SELECT nextval('s') FROM users`, "side effects: nextval", true},
		{PostgreSQL, `SELECT * FROM users WHERE age = (SELECT setval('s', 1))`, "side effects: setval", true},
		{PostgreSQL, `SELECT pg_advisory_xact_lock(1)`, "side effects: pg_advisory_xact_lock", true},
		{PostgreSQL, `SELECT pg_catalog.set_config('a', 'b', true)`, "side effects: set_config", true},
		{MySQL, `SELECT GET_LOCK('a', 1)`, "side effects: get_lock", true},
		{MySQL, `SELECT * FROM users WHERE SLEEP(1)`, "side effects: sleep", true},
		{MySQL, `SELECT @a := id FROM users`, "assigns a variable", true},
		{PostgreSQL, `SELECT * FROM dblink('x') AS t(a int)`, "table-valued function dblink", true},
		{PostgreSQL, `SELECT * FROM users TABLESAMPLE SYSTEM (1)`, "table sample", false},
		{PostgreSQL, `SELECT * FROM pg_class`, "system catalog pg_class", false},
		{PostgreSQL, `SELECT * FROM information_schema.tables`, "system catalog information_schema.tables", false},
		{MySQL, `SELECT * FROM mysql.user`, "system catalog mysql.user", false},
		{SQLite, `SELECT * FROM sqlite_master`, "system catalog sqlite_master", false},
		{SQLite, `SELECT * FROM pragma_table_info('users')`, "system catalog pragma_table_info", false},
		{PostgreSQL, `SELECT * FROM active_users`, "active_users is elsewhere", false},
		{PostgreSQL, `SELECT * FROM users, nowhere`, "unknown table nowhere", false},
		{PostgreSQL, `SELECT 1`, "reads no table", false},
		{PostgreSQL, `WITH d AS (DELETE FROM users WHERE id = 1 RETURNING *) SELECT * FROM d`, "data-modifying CTE", true},
		{MySQL, `SELECT SQL_CALC_FOUND_ROWS * FROM users`, "SQL_CALC_FOUND_ROWS", false},
	} {
		plan := compile(t, c.d, c.sql)
		require.Equal(t, Select, plan.Statement, c.sql)
		require.Contains(t, plan.Skip, c.skip, c.sql)
		require.Equal(t, c.effects, plan.HasSideEffects, c.sql)
	}
}

func TestVolatileFunctionsAreNamed(t *testing.T) {
	for _, c := range []struct {
		d    Dialect
		expr string
		want string
	}{
		{PostgreSQL, `created < now()`, "now()"},
		{PostgreSQL, `created < CURRENT_DATE`, "current_date"},
		{PostgreSQL, `name = user`, "user"},
		{PostgreSQL, `random() < 0.5`, "random()"},
		{PostgreSQL, `my_function(age) = 1`, ""},
		{PostgreSQL, `public.lower(name) = 'x'`, ""},
		{PostgreSQL, `gen_random_uuid() = key AND my_function(age) = 1`, "gen_random_uuid()"},
		{PostgreSQL, `age(created) > '1 day'`, "age()"},
		{PostgreSQL, `created > 'today'`, "'today'"},
		{PostgreSQL, `created > date 'yesterday'`, "'yesterday'"},
		{PostgreSQL, `id IN (SELECT id FROM posts ORDER BY random())`, "random()"},
		{PostgreSQL, `CASE WHEN age = 1 THEN txid_current() END = 1`, "txid_current()"},
		{MySQL, `created > NOW() - INTERVAL 7 DAY`, "now()"},
		{MySQL, `age = @@sql_mode`, "@@sql_mode"},
		{MySQL, `age = @x`, "@x"},
		{MySQL, `UNIX_TIMESTAMP() > age`, "unix_timestamp()"},
		{MySQL, `age = last_insert_id()`, "last_insert_id()"},
		{SQLite, `created > datetime('now', '-1 day')`, "datetime()"},
		{SQLite, `date() = '2020'`, "date()"},
		{SQLite, `strftime('%s', ?) = '1'`, "strftime()"},
		{SQLite, `age = last_insert_rowid()`, "last_insert_rowid()"},

		{PostgreSQL, `st_dwithin(bio, st_makepoint(1, 2), 3) AND unaccent(name) = 'x' AND cosine_distance(bio, $1) < 1`, ""},
		{PostgreSQL, `bit_count(name) = 1 AND array_dims(bio) = '[1]' AND pg_typeof(age)::text = 'bigint'`, ""},
		{MySQL, `ucase(name) = 'x' AND inet6_ntoa(name) = ? AND bin_to_uuid(name) = ? AND st_area(bio) > 1`, ""},
		{PostgreSQL, `lower(name) = upper($1) AND coalesce(age, 0) > length(name)`, ""},
		{PostgreSQL, `pg_catalog.lower(name) = 'x'`, ""},
		{PostgreSQL, `extract(year FROM created) = 1 AND age(created, created) > '1 day'`, ""},
		{PostgreSQL, `age::numeric(10,2) = 1 AND CAST(age AS varchar(10)) = '1'`, ""},
		{PostgreSQL, `"user" = 1 AND users.current_date = 1`, ""},
		{PostgreSQL, `bio->>'a' = 'x' AND jsonb_array_length(bio) > 1`, ""},
		{PostgreSQL, `(age, id) IN ((1,2)) AND NOT (age IN (1)) AND EXISTS (SELECT 1 FROM posts)`, ""},
		{MySQL, `DATE_FORMAT(created, '%Y') = ? AND UNIX_TIMESTAMP(created) > 1 AND IF(age, 1, 2)`, ""},
		{SQLite, `strftime('%Y', created) = ? AND date(created) = ?`, ""},
	} {
		plan := compile(t, c.d, `SELECT * FROM users WHERE `+c.expr)
		require.Empty(t, plan.Skip, c.expr)
		require.Equal(t, c.want, plan.Volatile, c.expr)
	}
	require.Equal(t, "now()", compile(t, PostgreSQL, `SELECT now(), name FROM users`).Volatile)
	require.Empty(t, compile(t, PostgreSQL, `SELECT row_number() OVER (PARTITION BY age ORDER BY id), sum(age) FROM users`).Volatile)
}

// TestClock: date functions read the clock when an argument is missing or says
// so, by rules of each database.
func TestClock(t *testing.T) {
	for _, c := range []struct {
		d        Dialect
		volatile []string
		stable   []string
	}{
		{
			SQLite,
			[]string{
				`date()`, `time()`, `datetime( )`, `julianday()`, `unixepoch()`, `timediff('now', created)`, `timediff(created, 'now')`,
				`strftime('%s')`, `strftime('%s', 'now')`, `strftime(?)`, `date('NOW')`, `date( ' Now ' )`, `date("now")`, `date('now', '-1 day')`,
				`date(?)`, `date(:day)`, `date(created, ?)`, `date(coalesce(created, 'now'))`, `date('n' || 'ow')`, `unixepoch('subsec')`,
				`datetime(created, 'localtime')`, `datetime(created, 'utc')`, `CURRENT_DATE`, `current_time`, `CURRENT_TIMESTAMP`,
				`random()`, `randomblob(4)`, `changes()`, `total_changes()`, `last_insert_rowid()`, `sqlite_version()`,
			},
			[]string{
				`date(created)`, `strftime('%s', created)`, `datetime(created, '+1 day')`, `julianday(created)`, `unixepoch(created)`,
				`timediff(created, created)`, `date('2020-01-01')`, `'now'`,
			},
		},
		{
			PostgreSQL,
			[]string{
				`age(created)`, `now()`, `clock_timestamp()`, `statement_timestamp()`, `transaction_timestamp()`, `timeofday()`,
				`'now'::timestamp`, `timestamp 'now'`, `date 'today'`, `CAST('Tomorrow' AS date)`, `' yesterday '::date`, `'today 12:00'::timestamptz`,
				`'now()'::timestamp`, `'12:00 today UTC'::timestamptz`, `E'now'::timestamp`, `$$now$$::timestamp`, `U&'now'::timestamp`,
				`CURRENT_DATE`, `CURRENT_TIME(0)`, `CURRENT_TIMESTAMP`, `LOCALTIME`, `LOCALTIMESTAMP(0)`, `extract(epoch FROM now())`,
				`date_trunc('day', now())`, `to_char(now(), 'YYYY')`, `random()`, `gen_random_uuid()`, `uuidv7()`, `current_user`, `session_user`,
				`current_setting('x')`, `lastval()`, `pg_backend_pid()`, `current_schema`,
			},
			[]string{
				`age(created, created)`, `to_timestamp(1)`, `date_trunc('day', created)`, `extract(year FROM created)`, `'nowhere'`,
				`'todays'::text`, `'until further notice now'`, `'infinity'::timestamp`, `date '2020-01-01'`, `make_date(2020, 1, 1)`,
			},
		},
		{
			MySQL,
			[]string{
				`UNIX_TIMESTAMP()`, `UNIX_TIMESTAMP( )`, `NOW()`, `NOW(6)`, `SYSDATE()`, `CURDATE()`, `CURTIME()`, `CURRENT_DATE`, `CURRENT_TIME()`,
				`CURRENT_TIMESTAMP(3)`, `LOCALTIME`, `LOCALTIMESTAMP()`, `UTC_DATE`, `UTC_TIME()`, `UTC_TIMESTAMP()`, `DATEDIFF(NOW(), created)`,
				`created + INTERVAL 1 DAY > CURRENT_DATE`, `RAND()`, `UUID()`, `UUID_SHORT()`, `UUID_v7()`, `RANDOM_BYTES(4)`, `USER()`, `CURRENT_USER`,
				`SESSION_USER()`, `SYSTEM_USER()`, `CURRENT_ROLE()`, `CONNECTION_ID()`, `LAST_INSERT_ID()`, `FOUND_ROWS()`, `ROW_COUNT()`,
				`DATABASE()`, `SCHEMA()`, `VERSION()`, `DEFAULT(created)`, `@x`, `@@sql_mode`,
			},
			[]string{
				`UNIX_TIMESTAMP(created)`, `DATE_FORMAT(created, '%Y')`, `FROM_UNIXTIME(1)`, `DATE(created)`, `TIMESTAMP(created)`, `'now'`,
				`STR_TO_DATE('1', '%d')`, `DATEDIFF(created, created)`, `LAST_DAY(created)`,
			},
		},
	} {
		for _, expr := range c.volatile {
			for _, sql := range []string{`SELECT ` + expr + ` FROM users`, `SELECT * FROM users WHERE name = ` + expr} {
				t.Run(c.d.String()+"/volatile/"+sql, func(t *testing.T) {
					plan := compile(t, c.d, sql)
					require.Empty(t, plan.Skip)
					require.NotEmpty(t, plan.Volatile)
				})
			}
		}
		for _, expr := range c.stable {
			for _, sql := range []string{`SELECT ` + expr + ` FROM users`, `SELECT * FROM users WHERE name = ` + expr} {
				t.Run(c.d.String()+"/stable/"+sql, func(t *testing.T) {
					plan := compile(t, c.d, sql)
					require.Empty(t, plan.Skip)
					require.Empty(t, plan.Volatile)
					require.Empty(t, plan.Hidden)
				})
			}
		}
	}
}

func TestClockInAnArgument(t *testing.T) {
	postgres, mysql := compile(t, PostgreSQL, `SELECT * FROM users`), compile(t, MySQL, `SELECT * FROM users`)
	for _, c := range []struct {
		name string
		arg  any
		want string
	}{
		{"now", "now", "parameter 2, which may stand for the time"},
		{"odd", " ToDay\t12:00", "parameter 2, which may stand for the time"},
		{"a list", []string{"2020-01-01", "yesterday"}, "parameter 2, which may stand for the time"},
		{"a list of any", []any{int64(1), "tomorrow"}, "parameter 2, which may stand for the time"},
		{"a type with a text", Stringer{Value: int64(1), Text: "now"}, "parameter 2, which may stand for the time"},
		{"another text", "nowhere", ""},
		{"prose", "what happens today matters", ""},
		{"a number", int64(1), ""},
		{"bytes", []byte("now"), ""},
		{"nil", nil, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			require.Equal(t, c.want, postgres.VolatileArg([]any{"x", c.arg}))
			require.Empty(t, mysql.VolatileArg([]any{"x", c.arg}))
		})
	}
}

// writes shows a plan's writes briefly.
func writes(p *Plan) []string {
	var out []string
	for _, w := range p.Writes {
		s := fmt.Sprintf("%s %s", w.Statement, w.Name)
		if w.Wide != "" {
			s += ": " + w.Wide
		}
		out = append(out, s)
	}
	return out
}

func TestWritesNameTheirTables(t *testing.T) {
	for _, c := range []struct {
		d    Dialect
		sql  string
		want []string
	}{
		{PostgreSQL, `UPDATE ONLY users AS u SET age = 1 WHERE u.id = 1 RETURNING *`, []string{"update users"}},
		{PostgreSQL, `UPDATE users SET age = 1 FROM posts WHERE posts.user_id = users.id`, []string{"update users: FROM"}},
		{PostgreSQL, `UPDATE users SET age = 1 WHERE id IN (SELECT user_id FROM posts)`, []string{"update users: subquery in WHERE"}},
		{PostgreSQL, `UPDATE users SET age = (SELECT 1) WHERE id = 1`, []string{"update users"}},
		{PostgreSQL, `UPDATE users SET (age, name) = (1, 'x') WHERE lower(name) = 'x' AND age > 3`, []string{"update users"}},
		{PostgreSQL, `UPDATE users SET age = 1 WHERE created < now()`, []string{"update users: function in WHERE: now"}},
		{PostgreSQL, `UPDATE users SET age = 1 WHERE created < CURRENT_DATE`, []string{"update users: function in WHERE: current_date"}},
		{PostgreSQL, `UPDATE users SET age = 1 WHERE my_function(id)`, []string{"update users: function in WHERE: my_function"}},
		{PostgreSQL, `UPDATE users SET nosuch = 1`, []string{"update users: unknown column nosuch"}},
		{PostgreSQL, `UPDATE nowhere SET a = 1`, []string{"update nowhere: unknown table"}},
		{PostgreSQL, `DELETE FROM users`, []string{"delete users"}},
		{PostgreSQL, `DELETE FROM public.users u WHERE u.age IS NULL`, []string{"delete public.users"}},
		{PostgreSQL, `DELETE FROM users USING posts WHERE posts.id = users.id`, []string{"delete users: USING"}},
		{PostgreSQL, `DELETE FROM users WHERE CURRENT OF c`, []string{"delete users: WHERE CURRENT OF"}},
		{PostgreSQL, `WITH a AS (SELECT 1) DELETE FROM users WHERE id = 1`, []string{"delete users: with a CTE"}},
		{PostgreSQL, `WITH a AS (UPDATE posts SET category = 1 RETURNING id) DELETE FROM users WHERE id = 1`, []string{"update posts: in a CTE", "delete users: with a CTE"}},
		{PostgreSQL, `INSERT INTO users (id, age) VALUES ($1, DEFAULT), (2, 1+1) ON CONFLICT (id) WHERE age > 1 DO NOTHING`, []string{"insert users"}},
		{PostgreSQL, `INSERT INTO users (id) VALUES (1) ON CONFLICT ON CONSTRAINT x DO UPDATE SET age = 1`, []string{"insert users: upsert"}},
		{PostgreSQL, `INSERT INTO users (id) SELECT id FROM posts`, []string{"insert users: INSERT ... SELECT"}},
		{PostgreSQL, `INSERT INTO users (id) (SELECT id FROM posts)`, []string{"insert users: INSERT ... SELECT"}},
		{PostgreSQL, `INSERT INTO labels VALUES (1, 2)`, []string{"insert labels"}},
		{PostgreSQL, `INSERT INTO labels VALUES (1)`, []string{"insert labels: rows and columns differ in number"}},
		{PostgreSQL, `INSERT INTO labels DEFAULT VALUES`, []string{"insert labels"}},
		{MySQL, `INSERT INTO users SET id = 1, age = ? ON DUPLICATE KEY UPDATE age = VALUES(age)`, []string{"insert users"}},
		{MySQL, "INSERT INTO users (id, age) VALUES (1, ?) ON DUPLICATE KEY UPDATE `id`=`id`", []string{"insert users"}},
		{MySQL, "INSERT INTO users (id) VALUES (1) ON DUPLICATE KEY UPDATE id = Id RETURNING id", []string{"insert users"}},
		{MySQL, `INSERT INTO users (id) VALUES (1) ON DUPLICATE KEY UPDATE id = id + 1`, []string{"insert users"}},
		{MySQL, `INSERT INTO users (id) VALUES (1) ON DUPLICATE KEY UPDATE id = id, age = 2`, []string{"insert users"}},
		{MySQL, `INSERT INTO users (id) VALUES (1) ON DUPLICATE KEY UPDATE age = 'age'`, []string{"insert users"}},
		{MySQL, `INSERT INTO users (id) VALUES (1) ON DUPLICATE KEY UPDATE age = "age"`, []string{"insert users"}},
		{MySQL, `INSERT IGNORE users (id) VALUE (1)`, []string{"insert users"}},
		{MySQL, `UPDATE users u JOIN posts p ON p.user_id = u.id SET u.age = 1, p.category = 2 WHERE u.id = 1`, []string{"update users: several tables", "update posts: several tables"}},
		{MySQL, `UPDATE users SET age = 1 WHERE id > 1 ORDER BY id LIMIT 1`, []string{"update users: ORDER BY"}},
		{MySQL, `UPDATE IGNORE users SET age = 1`, []string{"update users: IGNORE"}},
		{MySQL, `UPDATE users SET age = 1 WHERE id = @x`, []string{"update users: variable in WHERE"}},
		{MySQL, `DELETE u, p FROM users u JOIN posts p ON p.user_id = u.id WHERE u.id = 1`, []string{"delete users: several tables", "delete posts: several tables"}},
		{MySQL, `DELETE FROM users LIMIT 1`, []string{"delete users: LIMIT"}},
		{MySQL, `REPLACE INTO users (id) VALUES (1)`, []string{"replace users: replaces rows"}},
		{MySQL, `RENAME TABLE users TO a, posts TO b`, []string{"ddl users: DDL", "ddl a: DDL", "ddl posts: DDL", "ddl b: DDL"}},
		{SQLite, `INSERT OR REPLACE INTO users (id) VALUES (1)`, []string{"insert users: replaces rows"}},
		{SQLite, `INSERT OR IGNORE INTO users (id) VALUES (1)`, []string{"insert users"}},
		{SQLite, `INSERT OR FAIL INTO users (id) VALUES (1)`, []string{"insert users: OR FAIL"}},
		{SQLite, `UPDATE OR REPLACE users SET id = 1`, []string{"update users: replaces rows"}},
		{SQLite, `UPDATE users SET id = 1 WHERE age = :age`, []string{"update users: named parameter"}},
		{SQLite, `DELETE FROM users INDEXED BY a WHERE age IN labels`, []string{"delete users: subquery in WHERE"}},
		{PostgreSQL, `TRUNCATE users, public.posts`, []string{"truncate users: TRUNCATE", "truncate public.posts: TRUNCATE"}},
		{PostgreSQL, `CREATE UNIQUE INDEX CONCURRENTLY IF NOT EXISTS i ON ONLY users (lower(name))`, []string{"ddl users: DDL"}},
		{PostgreSQL, `CREATE TEMP TABLE IF NOT EXISTS a.b AS SELECT 1`, []string{"ddl a.b: DDL"}},
		{PostgreSQL, `DROP TABLE IF EXISTS users, posts CASCADE`, []string{"ddl users: DDL", "ddl posts: DDL"}},
		{PostgreSQL, `CREATE TRIGGER x AFTER INSERT ON users EXECUTE FUNCTION f()`, []string{"ddl users: DDL"}},
		{PostgreSQL, `ALTER TABLE users RENAME TO people`, []string{"ddl users: DDL", "ddl people: DDL"}},
		{PostgreSQL, `REFRESH MATERIALIZED VIEW CONCURRENTLY v`, []string{"ddl v: DDL"}},
		{PostgreSQL, `MERGE INTO users AS u USING (SELECT * FROM posts) p ON p.id = u.id WHEN NOT MATCHED THEN INSERT (id) VALUES (1)`, []string{"merge users: MERGE"}},
	} {
		plan := compile(t, c.d, c.sql)
		require.Equal(t, c.want, writes(plan), "%s: %s", c.sql, plan.Skip)
	}
}

func TestCalls(t *testing.T) {
	for _, c := range []struct {
		d    Dialect
		sql  string
		want []string
	}{
		{PostgreSQL, `SELECT f(1), "G" (2), public.h/* ( */(3) FROM k(4) WHERE id IN (1) AND (a) = 1`, []string{"f", "g", "h", "k", "in", "and"}},
		{PostgreSQL, `SELECT 'f(1)' -- f(2)`, nil},
		{PostgreSQL, `SELECT $$f(1)$$, E'f(2)', f (g(3))`, []string{"f", "g"}},
		{MySQL, "SELECT `f`(1), \"g\"(2), 'h(3)' # k(4)", []string{"f", "g"}},
		{SQLite, `SELECT [f](1), "g"(2), db.h(3)`, []string{"f", "g", "h"}},
		{SQLite, ``, nil},
	} {
		t.Run(c.d.String()+"/"+c.sql, func(t *testing.T) {
			got, ok := Calls(c.d, c.sql)
			require.True(t, ok)
			require.Equal(t, c.want, got)
		})
	}
	_, ok := Calls(PostgreSQL, `SELECT 'f(1)`)
	require.False(t, ok)
}

func TestFields(t *testing.T) {
	sql := `SELECT o.id, (o)."Owed", 'a.b', 1.5 FROM public.orders o`
	for _, c := range []struct {
		name string
		d    Dialect
		sql  string
		want []string
	}{
		{"names", PostgreSQL, sql, []string{"id", "owed", "orders"}},
		{"keywords", PostgreSQL, `SELECT a.select, (f(1)).*, a . "b"`, []string{"select", "b"}},
		{"not to be taken apart", PostgreSQL, `SELECT a.b, 'c`, nil},
		{"elsewhere", MySQL, sql, nil},
	} {
		t.Run(c.name, func(t *testing.T) { require.Equal(t, c.want, Fields(c.d, c.sql)) })
	}
}

func TestUpserts(t *testing.T) {
	for _, c := range []struct {
		d      Dialect
		sql    string
		target []int
		wide   string
	}{
		{PostgreSQL, `INSERT INTO users (id, age) VALUES ($1, 2) ON CONFLICT (id) DO UPDATE SET age = excluded.age, id = "excluded"."id"`, []int{0}, ""},
		{PostgreSQL, `INSERT INTO users (id) VALUES (1) ON CONFLICT (name, age) WHERE age > 1 DO UPDATE SET id = 2 WHERE users.age = 1`, []int{1, 2}, ""},
		{SQLite, "INSERT INTO users (id) VALUES (1) ON CONFLICT (`ID`) DO UPDATE SET Age = users.age + 1", []int{0}, ""},
		{MySQL, `INSERT INTO users (id) VALUES (1) ON DUPLICATE KEY UPDATE id = 7`, nil, ""},
		{PostgreSQL, `INSERT INTO users (id) VALUES (1) ON CONFLICT (id) DO UPDATE SET id = excluded.age`, nil, "upsert assigns its target"},
		{PostgreSQL, `INSERT INTO users (id) VALUES (1) ON CONFLICT (id) DO UPDATE SET id = excluded.id + 1`, nil, "upsert assigns its target"},
		{PostgreSQL, `INSERT INTO users (id) VALUES (1) ON CONFLICT (id) DO UPDATE SET (id, age) = (1, 2)`, nil, "upsert assigns its target"},
		{PostgreSQL, `INSERT INTO users (id) VALUES (1) ON CONFLICT (lower(name)) DO UPDATE SET age = 1`, nil, "upsert"},
		{PostgreSQL, `INSERT INTO users (id) VALUES (1) ON CONFLICT (name COLLATE "C") DO UPDATE SET age = 1`, nil, "upsert"},
		{SQLite, `INSERT INTO users (id) VALUES (1) ON CONFLICT DO UPDATE SET age = 1`, nil, "upsert"},
		{SQLite, `INSERT INTO users (id) VALUES (1) ON CONFLICT (id) DO NOTHING ON CONFLICT (name) DO UPDATE SET age = 1`, nil, "upsert"},
		{SQLite, `INSERT INTO users (id) VALUES (1) ON CONFLICT (id) DO UPDATE SET age = 1 ON CONFLICT (name) DO UPDATE SET age = 1`, nil, "upsert"},
		{PostgreSQL, `INSERT INTO users (id) SELECT id FROM posts ON CONFLICT (id) DO UPDATE SET age = 1`, nil, "INSERT ... SELECT"},
		{PostgreSQL, `INSERT INTO users (id) VALUES (1) ON CONFLICT (nosuch) DO UPDATE SET age = 1`, nil, "unknown column nosuch"},
	} {
		plan := compile(t, c.d, c.sql)
		require.Len(t, plan.Writes, 1, c.sql)
		w := plan.Writes[0]
		require.Equal(t, c.wide, w.Wide, c.sql)
		if c.wide == "" {
			require.True(t, w.Upsert, c.sql)
			require.Equal(t, c.target, w.Target, c.sql)
			require.NotEmpty(t, w.Set, c.sql)
		}
	}
}

func TestInsertedRows(t *testing.T) {
	w := compile(t, PostgreSQL, `INSERT INTO users (age, "name") VALUES ($2, 'x'), (DEFAULT, NULL), (-1, lower('x')) ON CONFLICT DO NOTHING RETURNING id`).Writes[0]
	require.Equal(t, []int{2, 1}, w.Columns)
	require.Equal(t, [][]Operand{
		{{Kind: ParamOperand, Param: 1}, {Kind: LiteralOperand, Literal: "x"}},
		{{Kind: DefaultOperand}, {Kind: NullOperand}},
		{{Kind: LiteralOperand, Literal: int64(-1)}, {Kind: ExpressionOperand}},
	}, w.Rows)
	require.True(t, w.OnConflictDoNothing)
	require.True(t, w.HasReturning)
	v, known := w.Rows[0][0].Resolve([]any{1, 2})
	require.True(t, known)
	require.Equal(t, 2, v)
	_, known = w.Rows[0][0].Resolve(nil)
	require.False(t, known)
	_, known = w.Rows[1][0].Resolve(nil)
	require.False(t, known)
	v, known = w.Rows[1][1].Resolve(nil)
	require.True(t, known)
	require.Nil(t, v)
}

func TestAssignments(t *testing.T) {
	w := compile(t, MySQL, "UPDATE `users` u SET u.`age` = ?, name = 'x', company_id = company_id + 1, bio = NULL WHERE id = ?").Writes[0]
	require.Equal(t, []Assignment{
		{2, Operand{Kind: ParamOperand}}, {1, Operand{Kind: LiteralOperand, Literal: "x"}},
		{3, Operand{}}, {6, Operand{Kind: NullOperand}},
	}, w.Set)
	w = compile(t, PostgreSQL, `UPDATE users SET bio[1] = $1, (age, name) = ROW(1, 'x')`).Writes[0]
	require.Equal(t, []Assignment{{6, Operand{}}, {2, Operand{}}, {1, Operand{}}}, w.Set)
}

func TestImageQueries(t *testing.T) {
	for _, c := range []struct {
		d    Dialect
		sql  string
		args []any
		want string
		sel  []any
	}{
		{PostgreSQL, `UPDATE "users" SET "deleted_at"=$1 WHERE name = $2 AND "users"."id" IN ($3,$2) AND "users"."deleted_at" IS NULL RETURNING *`,
			[]any{"now", "x", 3}, `SELECT id FROM "users" WHERE name = $1 AND "users"."id" IN ($2,$1) AND "users"."deleted_at" IS NULL FOR UPDATE`, []any{"x", 3}},
		{PostgreSQL, `UPDATE ONLY public.users AS u SET age = 1 WHERE u.age = $1`, []any{1}, `SELECT id FROM ONLY public.users AS u WHERE u.age = $1 FOR UPDATE`, []any{1}},
		{PostgreSQL, `DELETE FROM users`, nil, `SELECT id FROM users FOR UPDATE`, nil},
		{PostgreSQL, `DELETE FROM users WHERE name = '$1 ?' AND bio ? 'a' -- x` + "\n AND age = $1", []any{1}, `SELECT id FROM users WHERE name = '$1 ?' AND bio ? 'a' -- x` + "\n AND age = $1 FOR UPDATE", []any{1}},
		{SQLite, "UPDATE `users` SET `age`=?,`name`=? WHERE (`age` = ? OR name LIKE ?) AND id > 3", []any{1, "x", 2, "y"},
			"SELECT id FROM `users` WHERE (`age` = ? OR name LIKE ?) AND id > 3 FOR UPDATE", []any{2, "y"}},
		{MySQL, "DELETE FROM `users` WHERE `users`.`id` = ?;", []any{1}, "SELECT id FROM `users` WHERE `users`.`id` = ? FOR UPDATE", []any{1}},
	} {
		w := compile(t, c.d, c.sql).Writes[0]
		text, args, ok := w.ImageQuery("id", "FOR UPDATE", c.args)
		require.True(t, ok, c.sql)
		require.Equal(t, c.want, text)
		require.Equal(t, c.sel, args)
		again := compile(t, c.d, text)
		require.Equal(t, "locking read", again.Skip)
		if len(c.args) > 0 {
			_, _, ok = w.ImageQuery("id", "", nil)
			require.False(t, ok, "arguments are missing")
		}
	}
	_, _, ok := compileWrite(t, `INSERT INTO users (id) VALUES (1)`).ImageQuery("id", "", nil)
	require.False(t, ok)
	_, _, ok = compileWrite(t, `DELETE FROM users USING posts`).ImageQuery("id", "", nil)
	require.False(t, ok)
}

func compileWrite(t *testing.T, sql string) *Write { return &compile(t, PostgreSQL, sql).Writes[0] }

func TestWhereOfAWriteGivesPartialImages(t *testing.T) {
	w := compileWrite(t, `UPDATE users SET age = $1 WHERE (id IN ($2,$3) OR name = 'x' AND deleted_at IS NULL) AND age > 3`)
	images, ok := w.Where([]any{int64(9), int64(1), int64(2)})
	require.True(t, ok)
	require.Equal(t, []Image{
		{"=1", "", "", "", "", "", "", ""}, {"=2", "", "", "", "", "", "", ""}, {"", "=x", "", "", "", "", "", Null},
	}, images)

	images, ok = compileWrite(t, `DELETE FROM users WHERE 1 <> 1`).Where(nil)
	require.True(t, ok)
	require.Empty(t, images)

	for _, sql := range []string{`DELETE FROM users`, `DELETE FROM users WHERE age > 1`, `DELETE FROM users WHERE id = 1 OR age > 1`, `INSERT INTO users (id) VALUES (1)`} {
		_, ok = compileWrite(t, sql).Where(nil)
		require.False(t, ok, sql)
	}
	_, ok = compileWrite(t, `DELETE FROM users WHERE id = $1`).Where(nil)
	require.False(t, ok, "arguments are missing")
}
