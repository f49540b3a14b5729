package replication

import (
	"context"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cacheplugin/cacheplugin"
	"github.com/cacheplugin/cacheplugin/integration/internal/fixture"
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
	other := f.Env.Create(t)
	for wrong, change := range map[string]struct {
		config func(c *postgres.Config)
		says   []string
	}{
		"no publication":       {func(c *postgres.Config) { c.Publication = "none" }, []string{"publication", `"none"`, "CREATE PUBLICATION"}},
		"a table is missing":   {func(c *postgres.Config) { c.Publication = "few" }, []string{"publication", "public.others", "ADD TABLE", "Unpublished"}},
		"changes are missing":  {func(c *postgres.Config) { c.Publication = "inserts" }, []string{"publication", "inserts", "SET (publish"}},
		"rows are missing":     {func(c *postgres.Config) { c.Publication = "filtered" }, []string{"publication", "public.articles", "without a filter"}},
		"a physical slot":      {func(c *postgres.Config) { c.Slot = name }, []string{"slot", name, "physical", "pg_drop_replication_slot"}},
		"no right":             {func(c *postgres.Config) { c.URL = user(t, c.URL, name) }, []string{"user", "ALTER ROLE", "REPLICATION"}},
		"no such database":     {func(c *postgres.Config) { c.URL = strings.Replace(c.URL, "/cacheplugin_", "/nobody_", 1) }, []string{"URL", "does not exist"}},
		"another database":     {func(c *postgres.Config) { c.URL = other; c.Publication = "cacheplugin" }, []string{"publication"}},
		"no user of this name": {func(c *postgres.Config) { c.URL = user(t, c.URL, "nobody_here") }, []string{"URL", "nobody_here"}},
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
