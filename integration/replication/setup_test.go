package replication

import (
	"context"
	"fmt"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"
	"github.com/stretchr/testify/require"

	"github.com/cacheplugin/cacheplugin"
	"github.com/cacheplugin/cacheplugin/integration/internal/fixture"
	"github.com/cacheplugin/cacheplugin/integration/testdb"
	"github.com/cacheplugin/cacheplugin/internal/testenv"
	"github.com/cacheplugin/cacheplugin/replication/mysql"
	"github.com/cacheplugin/cacheplugin/replication/postgres"
)

func TestPostgres_says_what_is_not_set_up(t *testing.T) {
	f, good := onPostgres(t, true, fixture.Options{})
	execute(t, f, "CREATE TABLE others (id INT PRIMARY KEY)")
	execute(t, f, "CREATE PUBLICATION few FOR TABLE articles")
	execute(t, f, "CREATE PUBLICATION inserts FOR ALL TABLES WITH (publish = 'insert')")
	execute(t, f, "CREATE PUBLICATION filtered FOR TABLE others, articles WHERE (tag_id > 5)")
	name := "test_" + strings.ToLower(testenv.UniqueName(t))
	execute(t, f, "SELECT pg_create_physical_replication_slot(?)", name)
	defer execute(t, f, "SELECT pg_drop_replication_slot(?)", name)
	execute(t, f, "CREATE ROLE "+name+" LOGIN")
	defer execute(t, f, "DROP ROLE "+name)
	decoded := "test_" + strings.ToLower(testenv.UniqueName(t))
	execute(t, f, "SELECT pg_create_logical_replication_slot(?, 'test_decoding')", decoded)
	defer execute(t, f, "SELECT pg_drop_replication_slot(?)", decoded)
	elsewhere, elsewhereConfig := onPostgres(t, true, fixture.Options{})
	execute(t, elsewhere, "SELECT pg_create_logical_replication_slot(?, 'pgoutput')", elsewhereConfig.Slot)
	busy := "test_" + strings.ToLower(testenv.UniqueName(t))
	read(t, f, good.URL, busy)
	for wrong, change := range map[string]struct {
		config func(c *postgres.Config)
		says   []string
	}{
		"no publication":                    {func(c *postgres.Config) { c.Publication = "none" }, []string{"publication", `"none"`, "CREATE PUBLICATION"}},
		"a table is missing":                {func(c *postgres.Config) { c.Publication = "few" }, []string{"publication", "public.others", "ADD TABLE", "Unpublished"}},
		"changes are missing":               {func(c *postgres.Config) { c.Publication = "inserts" }, []string{"publication", "inserts", "SET (publish"}},
		"rows are missing":                  {func(c *postgres.Config) { c.Publication = "filtered" }, []string{"publication", "public.articles", "without a filter"}},
		"a physical slot":                   {func(c *postgres.Config) { c.Slot = name }, []string{"slot", name, "physical", "pg_drop_replication_slot"}},
		"a slot of another plugin":          {func(c *postgres.Config) { c.Slot = decoded }, []string{"slot", decoded, "test_decoding", "Slot"}},
		"a slot of another database":        {func(c *postgres.Config) { c.Slot = elsewhereConfig.Slot }, []string{"slot", elsewhereConfig.Slot, "of the database", "Slot"}},
		"a slot that another program reads": {func(c *postgres.Config) { c.Slot = busy }, []string{"slot " + busy, `in use by "another program" (process `, "Slot of its own"}},
		"no right":                          {func(c *postgres.Config) { c.URL = user(t, c.URL, name) }, []string{"user", "ALTER ROLE", "REPLICATION"}},
		"no such database":                  {func(c *postgres.Config) { c.URL = strings.Replace(c.URL, "/cacheplugin_", "/nobody_", 1) }, []string{"URL", "does not exist"}},
		"another database":                  {func(c *postgres.Config) { c.URL = elsewhereConfig.URL }, []string{"URL: it is that of the database", "give the same"}},
		"no user of this name":              {func(c *postgres.Config) { c.URL = user(t, c.URL, "nobody_here") }, []string{"URL", "nobody_here"}},
	} {
		t.Run(wrong, func(t *testing.T) {
			c := good
			change.config(&c)
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			defer cancel()
			err := newPostgres(t, f, c).Run(ctx)
			require.ErrorIs(t, err, postgres.ErrSetup)
			for _, text := range change.says {
				require.ErrorContains(t, err, text)
			}
		})
	}
	require.NoError(t, ctxRun(t, newPostgres(t, f, func() postgres.Config {
		c := good
		c.Publication, c.Unpublished = "few", []string{"public.others"}
		return c
	}())))

	for wrong, c := range map[string]postgres.Config{"URL": {}, "Slot": {URL: good.URL, Slot: "Not Good"}} {
		_, err := postgres.New(f.DB, c)
		require.ErrorIs(t, err, cacheplugin.ErrConfig)
		require.ErrorContains(t, err, wrong)
	}
	_, err := postgres.New(f.Plain, good)
	require.ErrorIs(t, err, cacheplugin.ErrNotInstalled)
	tenants := fixture.New(t, f.Env, fixture.Options{Config: cacheplugin.Config{PrefixFunc: func(context.Context, cacheplugin.QueryInfo) string { return "" }}})
	_, err = postgres.New(tenants.DB, good)
	require.ErrorIs(t, err, cacheplugin.ErrConfig)
	require.ErrorContains(t, err, "PrefixFunc")
}

// read has another program read a slot of its own until the test ends.
func read(t *testing.T, f *fixture.Fixture, dsn, slot string) {
	t.Helper()
	config, err := pgconn.ParseConfig(dsn)
	require.NoError(t, err)
	config.RuntimeParams["replication"] = "database"
	config.RuntimeParams["application_name"] = "another program"
	conn, err := pgconn.ConnectConfig(t.Context(), config)
	require.NoError(t, err)
	for _, command := range []string{"CREATE_REPLICATION_SLOT " + slot + " LOGICAL pgoutput", "START_REPLICATION SLOT " + slot + " LOGICAL 0/0 (proto_version '1', publication_names 'cacheplugin')"} {
		conn.Frontend().SendQuery(&pgproto3.Query{String: command})
		require.NoError(t, conn.Frontend().Flush())
		for ready := false; !ready; {
			message, err := conn.ReceiveMessage(t.Context())
			require.NoError(t, err)
			switch m := message.(type) {
			case *pgproto3.ErrorResponse:
				require.Fail(t, m.Message)
			case *pgproto3.ReadyForQuery, *pgproto3.CopyBothResponse:
				ready = true
			}
		}
	}
	t.Cleanup(func() {
		require.NoError(t, conn.Close(context.Background()))
		eventually(t, func() bool { return f.Plain.Exec("SELECT pg_drop_replication_slot(?)", slot).Error == nil })
	})
}

// ctxRun runs a follower until it follows.
func ctxRun(t *testing.T, p follower) error {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	ended := make(chan error, 1)
	go func() { ended <- p.Run(ctx) }()
	eventually(t, func() bool { return p.Status().Active || len(ended) > 0 })
	cancel()
	return <-ended
}

// user is a URL for another user.
func user(t *testing.T, text, name string) string {
	t.Helper()
	u, err := url.Parse(text)
	require.NoError(t, err)
	u.User = url.User(name)
	return u.String()
}

func TestMariaDB_says_what_is_not_set_up(t *testing.T) {
	f, good := onMariaDB(t, fixture.Options{})
	run := func(c mysql.Config) error {
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		return newMariaDB(t, f, c).Run(ctx)
	}
	name := "test_" + strings.ToLower(testenv.UniqueName(t))[12:]
	execute(t, f, "CREATE USER '"+name+"'@'%'")
	defer execute(t, f, "DROP USER '"+name+"'@'%'")
	execute(t, f, "GRANT SELECT ON *.* TO '"+name+"'@'%'")
	_, rest, _ := strings.Cut(good.DSN, "@")
	err := run(mysql.Config{DSN: name + "@" + rest})
	require.ErrorIs(t, err, mysql.ErrSetup)
	require.ErrorContains(t, err, "REPLICATION SLAVE")
	err = run(mysql.Config{DSN: "nobody:wrong@" + rest})
	require.ErrorIs(t, err, mysql.ErrSetup)
	require.ErrorContains(t, err, "DSN")
	_, err = mysql.New(f.DB, mysql.Config{})
	require.ErrorIs(t, err, cacheplugin.ErrConfig)
	require.ErrorContains(t, err, "DSN")

	for variable, wrong := range map[string]string{"binlog_format": "MIXED", "binlog_row_image": "MINIMAL"} {
		t.Run(variable, func(t *testing.T) {
			var before string
			require.NoError(t, f.Plain.Raw("SELECT @@GLOBAL."+variable).Scan(&before).Error)
			execute(t, f, "SET GLOBAL "+variable+" = "+wrong)
			defer execute(t, f, "SET GLOBAL "+variable+" = "+before)
			err := run(good)
			require.ErrorIs(t, err, mysql.ErrSetup)
			require.ErrorContains(t, err, variable)
			require.ErrorContains(t, err, wrong)
		})
	}
}

// What is set when a server starts.
func TestA_server_that_is_not_set_up_is_refused(t *testing.T) {
	type wrong struct {
		setting string
		says    []string
	}
	for name, server := range map[string][]wrong{
		testenv.Postgres: {
			{"wal_level=replica", []string{"wal_level: replica", "wal_level = logical", "restart"}},
			{"max_wal_senders=0", []string{"max_wal_senders: 0", "restart"}},
			{"max_replication_slots=0", []string{"max_replication_slots: 0", "restart"}},
		},
		testenv.MariaDB: {
			{"binlog-ignore-db=elsewhere", []string{"binlog_ignore_db", "elsewhere", "restart"}},
			{"skip-log-bin", []string{"log_bin: OFF", "restart"}},
		},
	} {
		t.Run(name, func(t *testing.T) {
			own := testdb.NewOwn(t, name)
			f, p := onOwn(t, own)
			execute(t, f, "INSERT INTO articles VALUES (1, 1, 'Hydrogen', '')")
			for _, w := range server {
				own.Stop()
				own.Start(w.setting)
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				err := p.Run(ctx)
				cancel()
				require.ErrorIs(t, err, postgres.ErrSetup, w.setting)
				for _, text := range w.says {
					require.ErrorContains(t, err, text)
				}
			}
			own.Stop()
			own.Start()
			dropIdle(t, f.DB)
			dropIdle(t, f.Plain)
			ended := make(chan error, 1)
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			go func() { ended <- p.Run(ctx) }()
			eventually(t, func() bool { return p.Status().Active })
			one := titles(t, f, 1)
			f.Cached(t, one)
			if name == testenv.Postgres {
				cancel() // a server with a logical slot does not start without its log
				require.NoError(t, <-ended)
				return
			}
			// What is switched off while it is followed may have been off for a while.
			own.Stop()
			own.Start("skip-log-bin")
			dropIdle(t, f.DB)
			require.ErrorContains(t, <-ended, "log_bin: OFF")
			f.Misses(t, one)
		})
	}
}

// A user needs the rights that the documentation names, and no more.
func TestA_follower_needs_the_documented_rights_only(t *testing.T) {
	drops := map[string][]string{
		testenv.Postgres: {"DROP OWNED BY %s", "DROP ROLE %[1]s"},
		testenv.MariaDB:  {"DROP USER %s@'%%'"},
	}
	for name, grants := range map[string][]string{
		testenv.Postgres: {
			"CREATE ROLE %[1]s LOGIN REPLICATION",
			"GRANT CONNECT ON DATABASE %[2]s TO %[1]s",
		},
		testenv.MariaDB: {
			"CREATE USER %[1]s@'%%'",
			"GRANT REPLICATION SLAVE, BINLOG MONITOR ON *.* TO %[1]s@'%%'",
			"GRANT SELECT, TRIGGER ON %[2]s.* TO %[1]s@'%%'",
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := on(t, name, fixture.Options{})
			f := s.Fixture
			var database string
			require.NoError(t, f.Plain.Raw(map[string]string{testenv.Postgres: "SELECT current_database()", testenv.MariaDB: "SELECT DATABASE()"}[name]).Scan(&database).Error)
			follower := "test_" + strings.ToLower(testenv.UniqueName(t))[12:]
			for _, grant := range grants {
				execute(t, f, fmt.Sprintf(grant, follower, database))
			}
			t.Cleanup(func() {
				for _, drop := range drops[name] {
					execute(t, f, fmt.Sprintf(drop, follower))
				}
			})
			execute(t, f, "INSERT INTO articles VALUES (1, 1, 'Hydrogen', ''), (2, 2, 'Helium', '')")
			var (
				findings postgres.Findings
				err      error
				p        interface {
					Run(ctx context.Context) error
					Status() postgres.Status
				}
			)
			if name == testenv.Postgres {
				c := postgres.Config{URL: user(t, s.child.DSN, follower), Slot: s.child.Slot}
				p = newPostgres(t, f, c)
				findings, err = postgres.Examine(t.Context(), c)
			} else {
				_, rest, _ := strings.Cut(s.child.DSN, "@")
				c := mysql.Config{DSN: follower + "@" + rest}
				p = newMariaDB(t, f, c)
				findings, err = mysql.Examine(t.Context(), c)
			}
			require.NoError(t, err)
			require.NoError(t, findings.Err())
			run(t, p)
			execute(t, f, "UPDATE articles SET text = 'x' WHERE id = 1")
			s.told(t, f, p)
			one, two := titles(t, f, 1), titles(t, f, 2)
			outcomes(f, one, two)
			execute(t, f, "UPDATE articles SET title = 'theirs' WHERE id = 1")
			s.told(t, f, p)
			require.Equal(t, "miss hit", outcomes(f, one, two))
		})
	}
}
