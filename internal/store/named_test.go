package store_test

import (
	"context"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/cacheplugin/cacheplugin/internal/store"
)

func TestDirectConnectionsNeedAClientOfOneServerAndOnePool(t *testing.T) {
	cluster := redis.NewClusterClient(&redis.ClusterOptions{Addrs: []string{"localhost:1"}})
	defer cluster.Close()
	client := func(o redis.Options) redis.UniversalClient {
		o.Addr = "localhost:1"
		c := redis.NewClient(&o)
		t.Cleanup(func() { _ = c.Close() })
		return c
	}
	for what, o := range map[string]store.Options{
		"*redis.ClusterClient":  {Client: cluster},
		"wrapped":               {Client: wrapped{client(redis.Options{PipelinePoolSize: -1})}},
		"Spread":                {Client: client(redis.Options{PipelinePoolSize: -1}), Mode: store.InsideOut, Spread: true},
		"PipelinePoolSize is 0": {Client: client(redis.Options{})},
		"@cacheplugin:":         {Client: client(redis.Options{PipelinePoolSize: -1, ClientName: "app@cacheplugin:none"})},
	} {
		o.DirectConnections = true
		_, err := store.New(o)
		require.ErrorIs(t, err, store.ErrConfig, what)
		require.ErrorContains(t, err, "Options.DirectConnections", what)
		require.ErrorContains(t, err, what)
	}
}

// wrapped is a client whose connections can't be had.
type wrapped struct{ redis.UniversalClient }

// connections returns the names of a server's connections that look-ups use, by
// their ids.
func connections(t *testing.T, client redis.UniversalClient) map[string]string {
	t.Helper()
	all := map[string]string{}
	for line := range strings.Lines(client.ClientList(t.Context()).Val()) {
		fields := map[string]string{}
		for _, field := range strings.Fields(line) {
			name, value, _ := strings.Cut(field, "=")
			fields[name] = value
		}
		if strings.HasPrefix(fields["name"], "app") {
			all[fields["id"]] = fields["name"]
		}
	}
	return all
}

// named returns a client whose connections are called app, and one besides that
// watches them.
func named(t *testing.T, change func(*redis.Options)) (client, watching redis.UniversalClient) {
	t.Helper()
	watching = newRealServer(t).Client(t)
	o := redis.Options{Addr: watching.(*redis.Client).Options().Addr, PipelinePoolSize: -1, ClientName: "app"}
	if change != nil {
		change(&o)
	}
	c := redis.NewClient(&o)
	t.Cleanup(func() { _ = c.Close() })
	return c, watching
}

func identityOf(t *testing.T, client redis.UniversalClient) string {
	t.Helper()
	return redisField(client.Info(t.Context(), "replication").Val(), "master_replid")
}

func onBothDirect(t *testing.T, test func(t *testing.T, mode variant)) {
	t.Helper()
	t.Parallel()
	for _, mode := range inOneSlot {
		if mode.identified {
			t.Run(mode.String(), func(t *testing.T) {
				t.Parallel()
				test(t, mode)
			})
		}
	}
}

func TestAConnectionIsNamedAfterItsServer(t *testing.T) {
	onBothDirect(t, func(t *testing.T, mode variant) {
		client, watching := named(t, nil)
		b := backend{client: client, mode: mode}
		s := b.open(t)
		fill(t, s, "q", "x", on("a", "1"))
		name := "app@cacheplugin:" + identityOf(t, watching)
		for _, is := range connections(t, watching) {
			require.Equal(t, name, is)
		}

		// Each store of the client, and those of others, make use of it.
		other := b.open(t)
		fill(t, other, "q", "y", on("a", "1"))
		before := scripts(t, backend{client: watching})
		requireHit(t, s, "q", "x", on("a", "1"))
		requireHit(t, other, "q", "y", on("a", "1"))
		require.Equal(t, before, scripts(t, backend{client: watching}))
	})
}

// One that has taken the place of another has no name, and its first look-up is the
// script's.
func TestEachConnectionIsNamedOnItsOwn(t *testing.T) {
	onBothDirect(t, func(t *testing.T, mode variant) {
		client, watching := named(t, nil)
		s := backend{client: client, mode: mode}.open(t)
		deps := []store.Dependency{on("a", "1")}
		fill(t, s, "q", "x", deps...)
		ran := func() int { return scripts(t, backend{client: watching}) }

		// The pool gives out the connection that was used last: hold it.
		first := client.(*redis.Client).Conn()
		id, err := first.ClientID(t.Context()).Result()
		require.NoError(t, err)
		before := ran()
		requireHit(t, s, "q", "x", deps...)
		require.Equal(t, before+1, ran(), "a new connection")
		requireHit(t, s, "q", "x", deps...)
		require.Equal(t, before+1, ran())
		require.NoError(t, first.Close())
		require.Len(t, connections(t, watching), 2)

		n, err := watching.ClientKillByFilter(t.Context(), "ID", strconv.FormatInt(id, 10)).Result()
		require.NoError(t, err)
		require.EqualValues(t, 1, n)
		requireHit(t, s, "q", "x", deps...)
		requireHit(t, s, "q", "x", deps...)
		require.LessOrEqual(t, ran(), before+2)
		before = ran()
		requireHit(t, s, "q", "x", deps...)
		require.Equal(t, before, ran())
		name := "app@cacheplugin:" + identityOf(t, watching)
		for id, is := range connections(t, watching) {
			require.Equal(t, name, is, id)
		}
	})
}

// All are named, however many look-ups there are at a time.
func TestManyConnectionsAreNamedInTheEnd(t *testing.T) {
	onBothDirect(t, func(t *testing.T, mode variant) {
		client, watching := named(t, func(o *redis.Options) { o.PoolSize = 8 })
		s := backend{client: client, mode: mode}.open(t)
		deps := []store.Dependency{on("a", "1")}
		fill(t, s, "q", "x", deps...)
		name := "app@cacheplugin:" + identityOf(t, watching)
		ctx, stop := context.WithCancel(t.Context())
		var readers sync.WaitGroup
		for range 16 {
			readers.Go(func() {
				for ctx.Err() == nil {
					_, _ = s.Acquire(ctx, entry("q"), deps, ttl)
				}
			})
		}
		defer readers.Wait()
		defer stop()
		require.Eventually(t, func() bool {
			all := connections(t, watching)
			for _, is := range all {
				if is != name {
					return false
				}
			}
			return len(all) > 1
		}, time.Minute, 5*time.Millisecond)
	})
}

// An access list may forbid names: nothing but the script is sent then.
func TestAServerThatRefusesNamesIsAskedByTheScript(t *testing.T) {
	t.Parallel()
	for _, forbidden := range [][]string{{"-client|setname"}, {"-client|getname"}, {"-client|setname", "-client|getname"}} {
		t.Run(strings.Join(forbidden, " "), func(t *testing.T) {
			onBothDirect(t, func(t *testing.T, mode variant) {
				ctx := t.Context()
				watching := newRealServer(t).Client(t)
				user := []any{"ACL", "SETUSER", "limited", "on", ">x", "~*", "&*", "+@all"}
				for _, rule := range forbidden {
					user = append(user, rule)
				}
				require.NoError(t, watching.Do(ctx, user...).Err())
				client := redis.NewClient(&redis.Options{Addr: watching.(*redis.Client).Options().Addr, PipelinePoolSize: -1, Username: "limited", Password: "x"})
				defer client.Close()
				s := backend{client: client, mode: mode}.open(t)
				now := time.Now()
				store.SetIntroductionsClock(s, func() time.Time { return now })
				deps := []store.Dependency{on("a", "1")}
				fill(t, s, "q", "x", deps...)

				gets := func() int { return calls(t, watching, "client|getname") }
				before, ran := gets(), scripts(t, backend{client: watching})
				requireHit(t, s, "q", "x", deps...)
				requireHit(t, s, "q", "x", deps...)
				require.Equal(t, before, gets(), "it isn't asked again")
				require.Equal(t, ran+2, scripts(t, backend{client: watching}))

				// Once it is permitted names are given after a while.
				require.NoError(t, watching.Do(ctx, "ACL", "SETUSER", "limited", "+client").Err())
				now = now.Add(time.Minute)
				requireHit(t, s, "q", "x", deps...)
				ran = scripts(t, backend{client: watching})
				requireHit(t, s, "q", "x", deps...)
				require.Equal(t, ran, scripts(t, backend{client: watching}))
			})
		})
	}
}

func TestAnEmbeddedServerHasNoIdentity(t *testing.T) {
	t.Parallel()
	client := redis.NewClient(&redis.Options{Addr: miniredis.RunT(t).Addr(), PipelinePoolSize: -1})
	defer client.Close()
	s := backend{client: client, mode: variant{Mode: store.InsideOut, identified: true}}.open(t)
	fill(t, s, "q", "x", on("a", "1"))
	requireHit(t, s, "q", "x", on("a", "1"))
	require.Equal(t, "@cacheplugin:none", client.ClientGetName(t.Context()).Val())
}

// A master takes another identity without a restart when its first replica
// attaches.
func TestAServerThatTakesAnotherIdentityIsAskedAgain(t *testing.T) {
	onBothDirect(t, func(t *testing.T, mode variant) {
		srv := newRealServer(t)
		client := srv.Client(t)
		ns := newNamespace()
		b := backend{client: client, mode: mode}
		s := b.open(t, in(ns))
		deps := []store.Dependency{on("a", "1")}
		fill(t, s, "q", "old", deps...)
		requireHit(t, s, "q", "old", deps...)
		name := func() string { return client.ClientGetName(t.Context()).Val() }
		before := identityOf(t, client)
		require.Equal(t, "@cacheplugin:"+before, name())

		replica := newRealServer(t)
		replica.ReplicaOf(t, srv)
		now := identityOf(t, client)
		require.NotEqual(t, before, now)

		// Another process is told, and begins anew.
		fill(t, backend{client: client, mode: variant{Mode: mode.Mode}}.open(t, in(ns)), "q", "new", deps...)
		requireHit(t, s, "q", "new", deps...)
		require.Equal(t, "@cacheplugin:"+now, name(), "in the place of the old one")
		ran := scripts(t, b)
		requireHit(t, s, "q", "new", deps...)
		require.Equal(t, ran, scripts(t, b))
	})
}

func TestAReplicaAnswersNoLookUp(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	for _, mode := range modes {
		t.Run(mode.String(), func(t *testing.T) {
			t.Parallel()
			srv, other := newRealServer(t), newRealServer(t)
			client := srv.Client(t)
			s := backend{client: client, mode: mode}.open(t)
			deps := []store.Dependency{on("a", "1")}
			fill(t, s, "q", "old", deps...)
			requireHit(t, s, "q", "old", deps...)

			// It is demoted and keeps its connections, and all that it has until it
			// finds its master.
			host, port := splitAddr(t, other.Addr)
			other.Kill(t)
			require.NoError(t, client.Do(ctx, "REPLICAOF", host, port).Err())
			text, err := client.Get(ctx, s.EntryName(entry("q"))).Result()
			require.NoError(t, err)
			require.Contains(t, text, "old")
			_, err = s.Acquire(ctx, entry("q"), deps, ttl)
			require.Error(t, err)
			_, err = s.Peek(ctx, entry("q"), deps)
			require.Error(t, err)
		})
	}
}
