package store_test

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/cacheplugin/cacheplugin/internal/store"
	"github.com/cacheplugin/cacheplugin/internal/testenv"
)

// group is a master with its replicas, as a namespace sees it.
type group struct {
	client redis.UniversalClient
	// key is one of those that the group's master holds.
	key    string
	master func() *testenv.RedisServer
	// replica is one that takes over if the master fails.
	replica func() *testenv.RedisServer
	// cutOff has the replicas hear of nothing any more.
	cutOff func()
	// fail kills the master and waits until a replica has taken over.
	fail func()
	// restore starts what was killed, waits until it is a replica that has caught
	// up, and makes it the master again.
	restore func()
}

// onEachGroup runs a test in every mode on a Sentinel group and on a cluster,
// each of its own.
func onEachGroup(t *testing.T, test func(t *testing.T, g group, mode variant, namespace string)) {
	t.Helper()
	for _, mode := range modes {
		starts := map[string]func(t *testing.T, names *store.Store) group{
			"sentinel": func(t *testing.T, _ *store.Store) group { return sentinelGroup(t) },
			"cluster": func(t *testing.T, names *store.Store) group {
				return clusterGroup(t, names.TableName("a"))
			},
		}
		if mode.identified {
			delete(starts, "cluster")
		}
		if mode.spread {
			starts["cluster, the entry's node"] = func(t *testing.T, names *store.Store) group {
				return clusterGroup(t, names.EntryName(entry("q")))
			}
		}
		for name, start := range starts {
			t.Run(fmt.Sprintf("%v/%s", mode, name), func(t *testing.T) {
				// The table and the entry of a spread namespace are on different nodes.
				ns := newNamespace()
				b := backend{client: testenv.Cluster(t), mode: variant{Mode: mode.Mode, spread: mode.spread}}
				names := b.open(t, in(ns))
				for mode.spread && third(t, names.TableName("a")) == third(t, names.EntryName(entry("q"))) {
					ns = newNamespace()
					names = b.open(t, in(ns))
				}
				test(t, start(t, names), mode, ns)
			})
		}
	}
}

func sentinelGroup(t *testing.T) group {
	t.Helper()
	s := testenv.StartSentinel(t)
	var killed *testenv.RedisServer
	g := group{client: s.Client(t)}
	g.master = func() *testenv.RedisServer { return s.Master(t) }
	g.replica = func() *testenv.RedisServer { return s.Replicas(t)[0] }
	g.cutOff = func() {
		for _, replica := range s.Replicas(t) {
			replica.Detach(t)
		}
	}
	g.fail = func() {
		killed = s.Master(t)
		killed.Kill(t)
		require.NotSame(t, killed, s.Master(t))
	}
	g.restore = func() {
		killed.Start(t)
		s.Failover(t, killed)
	}
	return g
}

func clusterGroup(t *testing.T, key string) group {
	t.Helper()
	c := testenv.StartCluster(t)
	client := c.Client(t)
	slot := slotOf(t, client, key)
	var killed *testenv.RedisServer
	g := group{client: client, key: key}
	g.master = func() *testenv.RedisServer { return c.Owner(t, slot) }
	g.replica = func() *testenv.RedisServer { return c.Replica(t, g.master()) }
	g.cutOff = func() { g.replica().Detach(t) }
	g.fail = func() {
		killed = g.master()
		killed.Kill(t)
		require.NotSame(t, killed, g.master())
	}
	g.restore = func() {
		killed.Start(t)
		require.Same(t, killed, g.replica())
		killed.AwaitMaster(t, g.master())
		c.Takeover(t, killed, slot)
	}
	return g
}

// third says which of a cluster's three masters has a key at first.
func third(t *testing.T, key string) int {
	t.Helper()
	return slotOf(t, testenv.Cluster(t), key) / (16384/3 + 1)
}

func slotOf(t *testing.T, client redis.UniversalClient, key string) int {
	t.Helper()
	slot, err := client.ClusterKeySlot(t.Context(), key).Result()
	require.NoError(t, err)
	return int(slot)
}

// reachable waits until the store talks to the master.
func (g group) reachable(t *testing.T, s *store.Store) {
	t.Helper()
	_, port := splitAddr(t, g.master().Addr)
	require.Eventually(t, func() bool {
		ctx := context.Background()
		if _, err := s.Peek(ctx, entry("q"), []store.Dependency{on("a", "1")}); err != nil {
			return false
		}
		node := g.client
		if cluster, ok := node.(*redis.ClusterClient); ok {
			node, _ = cluster.MasterForKey(ctx, g.key)
		}
		return redisField(node.Info(ctx, "server").Val(), "tcp_port") == port
	}, time.Minute, 10*time.Millisecond)
}

// The replica that takes over has never heard of an invalidation.
func TestAFailoverThatLosesAnInvalidationOnlyMisses(t *testing.T) {
	testenv.NeedLong(t)
	onEachGroup(t, func(t *testing.T, g group, mode variant, ns string) {
		s := backend{client: g.client, mode: mode}.open(t, in(ns))
		deps := []store.Dependency{on("a", "1")}
		fill(t, s, "q", "old", deps...)
		late := lease(t, s, "late", deps...)
		g.replica().AwaitMaster(t, g.master())
		g.cutOff()
		if g.key == s.EntryName(entry("q")) { // its node has the epoch and no more
			require.NoError(t, s.InvalidateAll(t.Context()))
		} else {
			invalidate(t, s, changed("a", row{"1", "1"}))
		}
		g.fail()
		g.reachable(t, s)

		text, err := g.client.Get(t.Context(), s.EntryName(entry("q"))).Result()
		require.NoError(t, err, "the replica still has the entry")
		require.Contains(t, text, "old")
		l, err := s.Peek(t.Context(), entry("q"), deps)
		require.NoError(t, err)
		require.Equal(t, store.Missing, l.State)
		save(t, s, late, "old") // its lease is still there, too
		l, err = s.Peek(t.Context(), entry("late"), deps)
		require.NoError(t, err)
		require.Equal(t, store.Missing, l.State)
		fill(t, s, "q", "new", deps...)
		requireHit(t, s, "q", "new", deps...)

		// And back: the old master has all of it from the new one, under an
		// identity that nobody has seen before.
		g.restore()
		g.reachable(t, s)
		text, err = g.client.Get(t.Context(), s.EntryName(entry("q"))).Result()
		require.NoError(t, err)
		require.Contains(t, text, "new")
		require.Equal(t, store.Leased, acquire(t, s, "q", deps...).State)
		require.Equal(t, store.Leased, acquire(t, s, "other", deps...).State)
	})
}

// load is readers and writers of a few groups of rows. It notes the first hit
// that is older than an invalidation that had been carried out.
type load struct {
	database [8]atomic.Int64 // the version of each group
	obliged  [8]atomic.Int64 // what hits must have seen
	hits     atomic.Int64
	refused  atomic.Int64 // invalidations that a full server refused
	stale    atomic.Value
	stop     chan struct{}
	done     sync.WaitGroup
}

func startLoad(t *testing.T, b backend, ns string) *load {
	t.Helper()
	l := &load{stop: make(chan struct{})}
	patient := func(o *store.Options) { o.Timeout = time.Second }
	for i := range 3 {
		s := b.open(t, in(ns), patient)
		l.run(func(n int) { l.read(s, (n+i)%len(l.database)) })
	}
	// One writer for each half of the groups: rows are locked.
	for i := range 2 {
		s := b.open(t, in(ns), patient)
		l.run(func(n int) {
			l.write(s, i+2*(n%(len(l.database)/2)))
		})
	}
	return l
}

func (l *load) run(step func(n int)) {
	l.done.Go(func() {
		for n := 0; ; n++ {
			select {
			case <-l.stop:
				return
			default:
				step(n)
			}
		}
	})
}

func (l *load) read(s *store.Store, g int) {
	ctx := context.Background()
	key, deps := entry("load "+strconv.Itoa(g)), []store.Dependency{on("a", strconv.Itoa(g)), on("b", "1")}
	owed := l.obliged[g].Load()
	found, err := s.Acquire(ctx, key, deps, ttl)
	switch {
	case err != nil:
		time.Sleep(time.Millisecond) // as a database would take
	case found.State == store.Hit:
		l.hits.Add(1)
		if seen, err := strconv.ParseInt(string(found.Payload), 10, 64); err != nil || seen < owed {
			l.stale.CompareAndSwap(nil, fmt.Sprintf("group %d: a hit has seen %s, must have seen %d (%v)", g, found.Payload, owed, err))
		}
	case found.State == store.Leased:
		seen := l.database[g].Load()
		_, _ = s.Save(ctx, found.Lease, []byte(strconv.FormatInt(seen, 10)), ttl)
	}
}

func (l *load) write(s *store.Store, g int) {
	version := l.database[g].Add(1)
	for {
		_, err := s.Invalidate(context.Background(), []store.Change{changed("a", row{"1", strconv.Itoa(g)})})
		if err == nil {
			l.obliged[g].Store(version)
			// Hits need some time without a write.
			time.Sleep(2 * time.Millisecond)
			return
		}
		if strings.Contains(err.Error(), "OOM") {
			l.refused.Add(1)
		}
		select {
		case <-l.stop:
			return
		default:
		}
	}
}

// hit waits for some more hits.
func (l *load) hit(t *testing.T) {
	t.Helper()
	seen := l.hits.Load()
	require.Eventually(t, func() bool { return l.hits.Load() > seen+100 || l.stale.Load() != nil }, time.Minute, 10*time.Millisecond)
	require.Nil(t, l.stale.Load())
}

func (l *load) end(t *testing.T) {
	t.Helper()
	close(l.stop)
	l.done.Wait()
	require.Nil(t, l.stale.Load())
}

func TestNothingOldIsServedWhenAMasterFailsUnderLoad(t *testing.T) {
	testenv.NeedLong(t)
	onEachGroup(t, func(t *testing.T, g group, mode variant, ns string) {
		l := startLoad(t, backend{client: g.client, mode: mode}, ns)
		l.hit(t)
		g.cutOff()
		l.hit(t)
		g.fail()
		l.hit(t)
		l.end(t)
	})
}

// The server comes back with nothing, or with a state from before an
// invalidation.
func TestARestartOnlyMisses(t *testing.T) {
	testenv.NeedLong(t)
	t.Parallel()
	for name, c := range map[string]struct {
		args   []string
		keep   []any // keeps the present state for the restart
		hazard bool  // old entries come back
	}{
		"empty":    {},
		"RDB file": {[]string{"--save", "3600 1000000"}, []any{"SAVE"}, true},
		"AOF":      {[]string{"--appendonly", "yes"}, []any{"CONFIG", "SET", "appendonly", "no"}, true},
	} {
		for _, mode := range modes {
			t.Run(fmt.Sprintf("%s/%v", name, mode), func(t *testing.T) {
				t.Parallel()
				srv := newRealServer(t, c.args...)
				client := srv.Client(t)
				s := backend{client: client, mode: mode}.open(t)
				ctx := t.Context()
				fill(t, s, "q", "old", on("a", "1"))
				late := lease(t, s, "late", on("a", "1"))
				if c.hazard {
					require.NoError(t, client.Do(ctx, c.keep...).Err())
				}
				invalidate(t, s, changed("a", row{"1", "1"}))
				srv.Kill(t)
				srv.Start(t)
				require.Eventually(t, func() bool { return client.Ping(ctx).Err() == nil }, 20*time.Second, 10*time.Millisecond)

				require.Equal(t, c.hazard, client.Exists(ctx, s.EntryName(entry("q"))).Val() == 1)
				l, err := s.Peek(ctx, entry("q"), []store.Dependency{on("a", "1")})
				require.NoError(t, err)
				require.Equal(t, store.Missing, l.State)
				save(t, s, late, "old")
				require.Equal(t, store.Leased, acquire(t, s, "late", on("a", "1")).State)
				require.Equal(t, store.Leased, acquire(t, s, "q", on("a", "1")).State)

				fill(t, s, "new", "new", on("a", "1"))
				requireHit(t, s, "new", "new", on("a", "1"))
			})
		}
	}
}

func TestTheModelHoldsOverSentinel(t *testing.T) {
	testenv.NeedLong(t)
	client := testenv.StartSentinel(t).Client(t)
	for _, mode := range modes {
		t.Run(mode.String(), func(t *testing.T) {
			b := backend{client: client, mode: mode}
			runs(t, b, false)
			runs(t, b, true)
		})
	}
}

// A slot moves key by key. Calls of which some keys are here and some there are
// refused: then the database answers.
func TestASlotOnItsWayToAnotherMasterServesNothingOld(t *testing.T) {
	testenv.NeedLong(t)
	t.Parallel()
	c := testenv.StartCluster(t)
	client := c.Client(t)
	ctx := t.Context()
	for _, mode := range modes {
		if !mode.on(client) {
			continue
		}
		// Whichever key goes first.
		for first := range 4 {
			t.Run(fmt.Sprintf("%v/%d", mode, first), func(t *testing.T) {
				ns := newNamespace()
				s := backend{client: client, mode: mode}.open(t, in(ns))
				deps := []store.Dependency{on("a", "1")}
				fill(t, s, "q", "old", deps...)
				fill(t, s, "r", "old", on("a", "2"))
				slot := slotOf(t, client, s.TableName("a"))
				move := c.StartMove(t, slot, another(c.Masters(t), c.Owner(t, slot)))
				keys := move.Keys(t)
				require.GreaterOrEqual(t, len(keys), 3)
				var order []string
				for _, k := range []string{s.TableName("a"), s.ConjunctionName("a", key("a", byGroup, "1")), s.EntryName(entry("q")), store.EpochName(s, entry("q"))} {
					if slotOf(t, client, k) == slot {
						order = append(order, k)
					}
				}
				move.Key(t, order[first%len(order)])

				// Writes get through all the same.
				invalidate(t, s, changed("a", row{"1", "1"}))
				look := func() {
					l, err := s.Acquire(ctx, entry("q"), deps, ttl)
					require.True(t, err != nil || l.State != store.Hit, "a stale hit")
				}
				look()
				for _, k := range order {
					move.Key(t, k)
					look()
				}
				if first == 0 {
					require.NoError(t, s.FenceAll(ctx, "w", time.Minute))
					look()
					require.NoError(t, s.InvalidateAll(ctx, "w"))
					look()
				}
				move.Finish(t)
				// The epoch has come along, and names the old master: all is cold.
				for name, deps := range map[string][]store.Dependency{"q": deps, "r": {on("a", "2")}} {
					l, err := s.Peek(ctx, entry(name), deps)
					require.NoError(t, err)
					require.Equal(t, store.Missing, l.State)
				}
				l, err := s.Acquire(ctx, entry("r"), []store.Dependency{on("a", "2")}, ttl)
				require.NoError(t, err)
				require.Equal(t, store.Leased, l.State)
				require.True(t, save(t, s, l.Lease, "new"))
				requireHit(t, s, "r", "new", on("a", "2"))
			})
		}
	}
}

// Over and over, there and back, while the namespace is read and written.
func TestNothingOldIsServedWhileASlotMovesUnderLoad(t *testing.T) {
	testenv.NeedLong(t)
	t.Parallel()
	for _, mode := range modes {
		if mode.identified {
			continue // not on a cluster
		}
		t.Run(mode.String(), func(t *testing.T) {
			t.Parallel()
			ns := newNamespace()
			c := testenv.StartCluster(t)
			client := c.Client(t)
			l := startLoad(t, backend{client: client, mode: mode}, ns)
			slot := slotOf(t, client, backend{client: client, mode: mode}.open(t, in(ns)).TableName("a"))
			for range 4 {
				l.hit(t)
				move := c.StartMove(t, slot, another(c.Masters(t), c.Owner(t, slot)))
				for _, k := range move.Keys(t) {
					move.Key(t, k)
				}
				move.Finish(t)
			}
			l.hit(t)
			l.end(t)
		})
	}
}

func another(nodes []*testenv.RedisServer, than *testenv.RedisServer) *testenv.RedisServer {
	for _, node := range nodes {
		if node != than {
			return node
		}
	}
	return nil
}
