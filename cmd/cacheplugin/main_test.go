package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"
	"gorm.io/gorm"
	"gorm.io/gorm/logger"

	"github.com/cacheplugin/cacheplugin"
	"github.com/cacheplugin/cacheplugin/cache"
	"github.com/cacheplugin/cacheplugin/internal/testenv"
)

func TestMain(m *testing.M) {
	redis.SetLogger(silent{})
	testenv.Main(m)
}

// result is what a call of the program gave.
type result struct {
	code     int
	out, err string
}

// call runs the program as the shell would.
func call(t *testing.T, url string, args ...string) result {
	t.Helper()
	var out, errOut bytes.Buffer
	env := func(name string) string { return map[string]string{"REDIS_URL": url}[name] }
	code := run(t.Context(), args, env, &out, &errOut)
	require.NotContains(t, out.String()+errOut.String(), "goroutine ", "a stack trace")
	return result{code, out.String(), errOut.String()}
}

// decode calls the program with --json and reads what it prints.
func decode[T any](t *testing.T, url string, code int, args ...string) T {
	t.Helper()
	r := call(t, url, append(args, "--json", "--timeout", "30s")...)
	require.Equal(t, code, r.code, "%s%s", r.out, r.err)
	var v T
	require.NoError(t, json.Unmarshal([]byte(r.out), &v), r.out)
	return v
}

// redisURL is the URL of the tests' Redis.
func redisURL(t *testing.T) string {
	o := testenv.RedisOptions(t)
	return "redis://" + o.Addr
}

// Article is what is cached in these tests.
type Article struct {
	ID    int
	TagID *int
	Title string
}

// program is a program with the plugin.
type program struct {
	url, prefix string
	db          *gorm.DB
	hits        int
}

func newProgram(t *testing.T, change ...func(*cacheplugin.Config)) *program {
	t.Helper()
	env := testenv.NeedSQLite(t)
	db := env.Open(t, &gorm.Config{Logger: logger.Discard})
	require.NoError(t, db.AutoMigrate(&Article{}))
	tag := 2
	require.NoError(t, db.Create([]Article{{ID: 1, TagID: &tag, Title: "One"}, {ID: 34, Title: "Two"}}).Error)
	p := &program{url: redisURL(t), prefix: "cli-" + rand.Text(), db: db}
	c := cacheplugin.Config{
		Redis: testenv.Redis(t), Prefix: p.prefix, RedisTimeout: 30 * time.Second,
		Profiles: cacheplugin.Profiles{"*": {Ops: cache.All, Timeout: time.Hour}},
		Observer: cacheplugin.ObserverFunc(func(_ context.Context, e cacheplugin.Event) {
			if e.Kind == cacheplugin.EventHit {
				p.hits++
			}
		}),
	}
	for _, f := range change {
		f(&c)
	}
	plugin := cacheplugin.New(c)
	require.NoError(t, db.Use(plugin))
	t.Cleanup(func() { require.NoError(t, plugin.Close(context.Background())) })
	return p
}

// cached reports whether a query is answered from the cache; if not, it is now.
func (p *program) cached(t *testing.T, condition string, args ...any) bool {
	t.Helper()
	var articles []Article
	before := p.hits
	require.NoError(t, p.db.Where(condition, args...).Find(&articles).Error)
	return p.hits > before
}

func TestWrongCallsAreTold(t *testing.T) {
	for name, test := range map[string]struct {
		args []string
		says string
	}{
		"no such command":          {[]string{"invalidat"}, "unknown command"},
		"no such flag":             {[]string{"stats", "--no"}, "unknown flag"},
		"nothing to invalidate":    {[]string{"invalidate"}, "at least 1 arg"},
		"values without a table":   {[]string{"invalidate", "id=34"}, "of which table"},
		"a value without a column": {[]string{"invalidate", "users", "=34"}, "not column=value"},
		"a table among the values": {[]string{"invalidate", "users", "id=34", "orders"}, "not column=value"},
		"values for two tables":    {[]string{"invalidate", "users", "orders", "id=34"}, "one table at a time"},
		"all and more":             {[]string{"invalidate", "all", "users"}, "all stands alone"},
		"a bad pattern":            {[]string{"invalidate", "auth_["}, "not a pattern"},
		"two tables to inspect":    {[]string{"inspect", "a", "b"}, "2 tables"},
		"braces in the prefix":     {[]string{"doctor", "--prefix", "{x}"}, "--prefix"},
		"no URL":                   {[]string{"stats", "--redis", "localhost:6379"}, "redis://localhost:6379"},
		"an unknown scheme":        {[]string{"stats", "--redis", "http://localhost"}, "http://"},
		"a bad URL":                {[]string{"stats", "--redis", "redis://user:secret@[x"}, "URL"},
		"sentinels, no master":     {[]string{"stats", "--redis", "redis+sentinel://h1,h2"}, "names the master"},
		"a cluster's database":     {[]string{"stats", "--redis", "redis+cluster://h1,h2/3"}, "no database"},
		"no dialect":               {[]string{"explain", "SELECT 1"}, "postgres, mysql or sqlite"},
		"a bad column":             {[]string{"explain", "--dialect", "mysql", "--column", "id:integer", "SELECT 1"}, "table.column:kind"},
		"a bad kind":               {[]string{"explain", "--dialect", "mysql", "--column", "t.id:int", "SELECT 1"}, `no kind "int"`},
		"an unknown database":      {[]string{"explain", "--database", "oracle://user:secret@h/db", "SELECT 1"}, "no such kind"},
	} {
		t.Run(name, func(t *testing.T) {
			r := call(t, redisURL(t), test.args...)
			require.Equal(t, exitUsage, r.code, r.err)
			require.Contains(t, r.err, test.says)
			require.NotContains(t, r.err, "secret", "passwords stay out of messages")
			require.Empty(t, r.out)
		})
	}
}

func TestNoConnectionHasACodeAndARemedy(t *testing.T) {
	for name, url := range map[string]string{
		"a server":  "redis://user:secret@127.0.0.1:1",
		"a cluster": "redis+cluster://user:secret@127.0.0.1:1",
		"sentinels": "redis+sentinel://user:secret@127.0.0.1:1/master",
		"a socket":  "unix:///nowhere/redis.sock",
	} {
		t.Run(name, func(t *testing.T) {
			r := call(t, url, "stats", "--timeout", "2s")
			require.Equal(t, exitConnection, r.code, r.err)
			require.Contains(t, r.err, "REDIS_URL")
			require.NotContains(t, r.err, "secret")
		})
	}
	r := call(t, "redis://127.0.0.1:1", "stats", "--json", "--timeout", "2s")
	var told map[string]string
	require.NoError(t, json.Unmarshal([]byte(r.err), &told))
	require.NotEmpty(t, told["error"])
	require.NotEmpty(t, told["remedy"])
}

func TestWrongPasswordsAreTold(t *testing.T) {
	server := testenv.StartRedis(t)
	client := redis.NewClient(&redis.Options{Addr: server.Addr})
	defer client.Close()
	require.NoError(t, client.ConfigSet(t.Context(), "requirepass", "right").Err())
	r := call(t, "redis://"+server.Addr, "stats")
	require.Equal(t, exitConnection, r.code)
	require.Contains(t, r.err, "user:password@")
	require.Equal(t, exitOK, call(t, "redis://:right@"+server.Addr, "stats", "--timeout", "30s").code)
}

func TestEveryCommandHasHelpAndExamples(t *testing.T) {
	a := &app{}
	for _, cmd := range a.command().Commands() {
		require.NotEmpty(t, cmd.Long, cmd.Name())
		require.Contains(t, cmd.Example, "cacheplugin "+cmd.Name())
		for _, line := range strings.Split(cmd.Long, "\n") {
			require.LessOrEqual(t, len(line), 85, "it is read in a terminal: %s", line)
		}
	}
}
