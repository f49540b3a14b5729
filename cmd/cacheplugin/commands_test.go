package main

import (
	"context"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/cacheplugin/cacheplugin"
	"github.com/cacheplugin/cacheplugin/internal/testenv"
	"github.com/cacheplugin/cacheplugin/lists"
)

// CMD-01.
func TestInvalidateDropsWhatDependsOnTheRow(t *testing.T) {
	p := newProgram(t)
	fill := func() {
		p.cached(t, "id = ?", 1)
		p.cached(t, "id = ?", 34)
	}
	fill()
	got := decode[invalidated](t, p.url, exitOK, "invalidate", "articles", "id=34", "--prefix", p.prefix)
	require.Equal(t, []invalidatedTable{{Prefix: p.prefix, Table: "main.articles", Conjunctions: 1, Dropped: 1}}, got.Tables)
	require.True(t, p.cached(t, "id = ?", 1))
	require.False(t, p.cached(t, "id = ?", 34))

	// A list by another column may hold the row, or not: who knows.
	p.cached(t, "tag_id = ?", 2)
	got = decode[invalidated](t, p.url, exitOK, "invalidate", "articles", "id=34", "--prefix", p.prefix)
	require.True(t, got.Tables[0].Whole)
	require.Contains(t, got.Tables[0].Reason, "tag_id")
	require.False(t, p.cached(t, "tag_id = ?", 2))

	// With its values known, old and new, it is exact.
	fill()
	p.cached(t, "tag_id IS NULL")
	p.cached(t, "tag_id = ?", 3)
	p.cached(t, "tag_id = ?", 4)
	got = decode[invalidated](t, p.url, exitOK, "invalidate", "articles", "id=34", "tag_id=null", "tag_id=3", "title=New", "--prefix", p.prefix)
	require.False(t, got.Tables[0].Whole)
	require.Equal(t, 3, got.Tables[0].Dropped)
	require.True(t, p.cached(t, "id = ?", 1))
	require.True(t, p.cached(t, "tag_id = ?", 2))
	require.True(t, p.cached(t, "tag_id = ?", 4))
	require.False(t, p.cached(t, "tag_id = ?", 3))
	require.False(t, p.cached(t, "tag_id IS NULL"))
	require.False(t, p.cached(t, "id = ?", 34))

	// A list of all rows depends on each.
	p.cached(t, "1 = 1")
	got = decode[invalidated](t, p.url, exitOK, "invalidate", "articles", "id=34", "tag_id=9", "--prefix", p.prefix)
	require.False(t, got.Tables[0].Whole)
	require.False(t, p.cached(t, "1 = 1"))
}

func TestInvalidateFindsTables(t *testing.T) {
	for _, test := range []struct {
		targets []string
		found   bool
	}{
		{[]string{"articles"}, true},
		{[]string{"main.articles"}, true},
		{[]string{"ARTICLES"}, true},
		{[]string{"art*"}, true},
		{[]string{"*.articles"}, true},
		{[]string{"users", "articles"}, true},
		{[]string{"article"}, false},
		{[]string{"public.articles"}, false},
		{[]string{"users"}, false},
	} {
		t.Run(test.targets[0], func(t *testing.T) {
			p := newProgram(t)
			p.cached(t, "id = ?", 1)
			args := append([]string{"invalidate", "--prefix", p.prefix}, test.targets...)
			got := decode[invalidated](t, p.url, exitOK, args...)
			require.Equal(t, !test.found, p.cached(t, "id = ?", 1))
			if !test.found {
				require.Equal(t, test.targets, got.Unknown)
				require.Equal(t, []string{"main.articles"}, got.Known)
				return
			}
			require.True(t, got.Tables[0].Whole)
			r := call(t, p.url, append(args, "--timeout", "30s")...)
			require.Contains(t, r.out, "dropped all results that read main.articles")
		})
	}
}

func TestInvalidateAllLeavesOthersAlone(t *testing.T) {
	p, other := newProgram(t), newProgram(t)
	p.cached(t, "id = ?", 1)
	other.cached(t, "id = ?", 1)
	r := call(t, p.url, "invalidate", "all", "--prefix", p.prefix, "--timeout", "30s")
	require.Equal(t, result{exitOK, "dropped everything of prefix " + p.prefix + "\n", ""}, r)
	require.False(t, p.cached(t, "id = ?", 1))
	require.True(t, other.cached(t, "id = ?", 1))
}

func TestInvalidateReachesWhatThePluginMakesOfThePrefix(t *testing.T) {
	p := newProgram(t, func(c *cacheplugin.Config) {
		c.DBSpecific = true
		c.PrefixFunc = func(context.Context, cacheplugin.QueryInfo) string { return "tenant" }
	})
	for _, what := range [][]string{{"all"}, {"articles"}, {"articles", "id=1"}} {
		p.cached(t, "id = ?", 1)
		require.True(t, p.cached(t, "id = ?", 1))
		decode[invalidated](t, p.url, exitOK, append([]string{"invalidate", "--prefix", p.prefix, "--exact"}, what...)...)
		require.True(t, p.cached(t, "id = ?", 1), "another namespace")
		decode[invalidated](t, p.url, exitOK, append([]string{"invalidate", "--prefix", p.prefix}, what...)...)
		require.False(t, p.cached(t, "id = ?", 1))
	}
}

func TestStatsCountsResultsByTable(t *testing.T) {
	p := newProgram(t)
	p.cached(t, "id = ?", 1)
	p.cached(t, "id = ?", 34)
	got := decode[statistics](t, p.url, exitOK, "stats", "--sample", "0", "--prefix", p.prefix)
	require.Len(t, got.Prefixes, 1)
	one := got.Prefixes[0]
	require.True(t, one.Complete)
	require.Equal(t, int64(2), one.Results.Count)
	require.Equal(t, int64(2), one.Conjunctions.Count)
	require.Equal(t, int64(1), one.Tables.Count)
	require.Equal(t, "main.articles", one.ByTable[0].Table)
	require.Equal(t, int64(2), one.ByTable[0].Count)
	require.Positive(t, one.ByTable[0].Bytes)

	r := call(t, p.url, "stats", "--sample", "0", "--prefix", p.prefix, "--timeout", "30s")
	require.Regexp(t, `of main\.articles +2 `, r.out)

	got = decode[statistics](t, p.url, exitOK, "stats", "--prefix", "nobody's")
	require.Contains(t, got.Others, p.prefix)
}

func TestInspectTellsWhatResultsDependOn(t *testing.T) {
	p := newProgram(t)
	p.cached(t, "id = ?", 1)
	p.cached(t, "tag_id = ? AND title = ?", 2, "x")
	got := decode[inspection](t, p.url, exitOK, "inspect", "articles", "id=1", "--sample", "0", "--prefix", p.prefix)
	require.Len(t, got.Tables, 1)
	table := got.Tables[0]
	require.True(t, table.Valid)
	require.Equal(t, int64(2), table.Results.Count)
	require.Positive(t, table.TTL)
	require.Len(t, table.Schemes, 2)
	byColumns := map[int]inspectionScheme{len(table.Schemes[0].Columns): table.Schemes[0], len(table.Schemes[1].Columns): table.Schemes[1]}
	require.Equal(t, []inspectionColumn{{"id", "integer"}}, byColumns[1].Columns)
	require.Equal(t, int64(1), byColumns[1].Conjunctions[0].Count)
	require.Len(t, byColumns[1].Conjunctions[0].Names, 1)
	require.Equal(t, []inspectionColumn{{"tag_id", "integer"}, {"title", "text"}}, byColumns[2].Columns)
	require.Contains(t, byColumns[2].Reason, "tag_id")

	r := call(t, p.url, "inspect", "articles", "id=1", "--prefix", p.prefix, "--timeout", "30s")
	require.Contains(t, r.out, "tag_id (integer), title (text)")
	require.Contains(t, r.out, "1 results depend on such a row")

	decode[invalidated](t, p.url, exitOK, "invalidate", "articles", "--prefix", p.prefix)
	r = call(t, p.url, "inspect", "articles", "--prefix", p.prefix, "--timeout", "30s")
	require.Equal(t, exitOK, r.code)

	r = call(t, p.url, "inspect", "nothing", "--prefix", p.prefix, "--timeout", "30s")
	require.Contains(t, r.out, "nothing is cached of nothing")
}

func TestDoctorFindsAFitServerFit(t *testing.T) {
	server := testenv.StartRedis(t, "--maxmemory", "100mb", "--maxmemory-policy", "allkeys-lru", "--lazyfree-lazy-expire", "yes", "--lazyfree-lazy-eviction", "yes")
	got := decode[diagnosis](t, "redis://"+server.Addr, exitOK, "doctor")
	require.True(t, got.Healthy)
	for _, c := range got.Checks {
		if c.Name != "latency" { // a busy machine is slow
			require.Equal(t, stateOK, c.State, "%+v", c)
		}
	}
	r := call(t, "redis://"+server.Addr, "doctor", "--timeout", "30s")
	require.Contains(t, r.out, "fit for the cache")

	client := redis.NewClient(&redis.Options{Addr: server.Addr})
	defer client.Close()
	keys, err := client.Keys(t.Context(), "*").Result()
	require.NoError(t, err)
	require.Subset(t, []string{"{cacheplugin}N"}, keys, "nothing is left behind but the epoch")
}

// restrict takes a right from everybody.
func restrict(t *testing.T, addr, rule string) {
	t.Helper()
	client := redis.NewClient(&redis.Options{Addr: addr})
	defer client.Close()
	require.NoError(t, client.Do(t.Context(), "ACL", "SETUSER", "default", rule).Err())
}

func TestDoctorSaysWhatToChange(t *testing.T) {
	find := func(d diagnosis, name string) check {
		for _, c := range d.Checks {
			if c.Name == name {
				return c
			}
		}
		return check{}
	}
	t.Run("no limit of memory", func(t *testing.T) {
		server := testenv.StartRedis(t)
		c := find(decode[diagnosis](t, "redis://"+server.Addr, exitOK, "doctor"), "memory")
		require.Equal(t, stateWarning, c.State)
		require.Contains(t, c.Remedy, "maxmemory-policy")
	})
	t.Run("no eviction, and full", func(t *testing.T) {
		server := testenv.StartRedis(t, "--maxmemory", "1", "--maxmemory-policy", "noeviction")
		d := decode[diagnosis](t, "redis://"+server.Addr, exitProblem, "doctor")
		require.Equal(t, stateWarning, find(d, "memory").State)
		require.Equal(t, stateProblem, find(d, "scripts").State)
		require.Contains(t, find(d, "scripts").Remedy, "maxmemory")
	})
	t.Run("large sets freed at a stroke", func(t *testing.T) {
		server := testenv.StartRedis(t, "--lazyfree-lazy-expire", "yes")
		c := find(decode[diagnosis](t, "redis://"+server.Addr, exitOK, "doctor"), "freeing")
		require.Equal(t, stateWarning, c.State)
		require.Contains(t, c.Remedy, "lazyfree-lazy-eviction yes")
	})
	t.Run("a log of every write", func(t *testing.T) {
		server := testenv.StartRedis(t, "--appendonly", "yes")
		c := find(decode[diagnosis](t, "redis://"+server.Addr, exitOK, "doctor"), "persistence")
		require.Equal(t, stateWarning, c.State)
	})
	t.Run("scripts forbidden", func(t *testing.T) {
		server := testenv.StartRedis(t)
		restrict(t, server.Addr, "-@scripting")
		d := decode[diagnosis](t, "redis://"+server.Addr, exitProblem, "doctor")
		require.False(t, d.Healthy)
		require.Contains(t, find(d, "scripts").Remedy, "+eval +evalsha")
		require.Contains(t, find(d, "commands").Remedy, "+ping")
	})
	t.Run("a command forbidden", func(t *testing.T) {
		server := testenv.StartRedis(t)
		restrict(t, server.Addr, "-unlink")
		d := decode[diagnosis](t, "redis://"+server.Addr, exitProblem, "doctor")
		require.Equal(t, stateProblem, find(d, "commands").State)
		require.Contains(t, find(d, "commands").Found, "UNLINK")
		restrict(t, server.Addr, "+unlink")
		restrict(t, server.Addr, "-publish")
		c := find(decode[diagnosis](t, "redis://"+server.Addr, exitOK, "doctor"), "commands")
		require.Equal(t, stateWarning, c.State)
		require.Contains(t, c.Remedy, "+publish")
	})
	t.Run("the identity hidden", func(t *testing.T) {
		server := testenv.StartRedis(t, "--save", "3600 1")
		restrict(t, server.Addr, "-info")
		d := decode[diagnosis](t, "redis://"+server.Addr, exitProblem, "doctor")
		require.Equal(t, stateProblem, find(d, "restarts").State)
		require.Contains(t, find(d, "restarts").Remedy, "+info")
	})
	t.Run("a replica", func(t *testing.T) {
		master := testenv.StartRedis(t)
		server := testenv.StartRedis(t)
		client := redis.NewClient(&redis.Options{Addr: server.Addr})
		defer client.Close()
		o, err := redis.ParseURL("redis://" + master.Addr)
		require.NoError(t, err)
		host, port := splitAddr(t, o.Addr)
		require.NoError(t, client.SlaveOf(t.Context(), host, port).Err())
		r := call(t, "redis://"+server.Addr, "doctor", "--timeout", "30s")
		require.Equal(t, exitProblem, r.code)
		require.Contains(t, r.out, "-> connect the program to the master")
		require.Contains(t, r.out, "not fit")
	})
}

func TestCommandsReachASpreadPrefix(t *testing.T) {
	p := newProgram(t, func(c *cacheplugin.Config) { c.Mode, c.Spread = cacheplugin.InsideOut, true })
	p.cached(t, "id = ?", 1)
	require.True(t, p.cached(t, "id = ?", 1))

	got := decode[statistics](t, p.url, exitOK, "stats", "--prefix", p.prefix, "--sample", "0")
	require.Len(t, got.Prefixes, 1)
	require.EqualValues(t, 1, got.Prefixes[0].Results.Count)

	require.False(t, decode[invalidated](t, p.url, exitOK, "invalidate", "articles", "id=1", "--prefix", p.prefix).Tables[0].Whole)
	require.False(t, p.cached(t, "id = ?", 1))
	require.True(t, p.cached(t, "id = ?", 1))
	require.Len(t, decode[invalidated](t, p.url, exitOK, "invalidate", "all", "--prefix", p.prefix).Tables, 1)
	require.False(t, p.cached(t, "id = ?", 1))

	// Somebody who doesn't know is found out.
	other := newProgram(t)
	other.cached(t, "id = ?", 1)
	client := redis.NewClient(testenv.RedisOptions(t))
	defer client.Close()
	for _, key := range []string{"N", "t:main.articles"} {
		require.EqualValues(t, 1, client.Copy(t.Context(), "{"+other.prefix+"}"+key, "{"+p.prefix+"}"+key, 0, false).Val())
	}
	d := decode[diagnosis](t, p.url, exitProblem, "doctor", "--prefix", p.prefix)
	require.False(t, d.Healthy)
	require.Len(t, decode[invalidated](t, p.url, exitOK, "invalidate", "all", "--prefix", p.prefix).Tables, 2)
	decode[diagnosis](t, p.url, exitOK, "doctor", "--prefix", p.prefix)
	decode[diagnosis](t, p.url, exitOK, "doctor", "--prefix", p.prefix)
}

func TestListsOfRowsAreShown(t *testing.T) {
	p := newProgram(t)
	l, err := lists.New[Article](p.db, "articles", lists.By("TagID"), lists.Timeout(time.Hour))
	require.NoError(t, err)
	count := func(want int64) {
		t.Helper()
		n, err := l.Count(t.Context(), lists.Key("TagID", 2))
		require.NoError(t, err)
		require.Equal(t, want, n)
	}
	count(1)
	got := decode[statistics](t, p.url, exitOK, "stats", "--sample", "0", "--prefix", p.prefix)
	require.Equal(t, int64(3), got.Prefixes[0].Lists.Count)
	require.Positive(t, got.Prefixes[0].Lists.Bytes)
	r := call(t, p.url, "inspect", "articles", "tag_id=2", "--prefix", p.prefix, "--timeout", "30s")
	require.Contains(t, r.out, "lists by tag_id (integer)\n")

	// What is written elsewhere and dropped by its values drops the lists.
	pool, err := p.db.DB()
	require.NoError(t, err)
	_, err = pool.ExecContext(t.Context(), "UPDATE articles SET tag_id = 2 WHERE id = 34")
	require.NoError(t, err)
	decode[invalidated](t, p.url, exitOK, "invalidate", "articles", "tag_id=2", "--prefix", p.prefix)
	count(2)
}
