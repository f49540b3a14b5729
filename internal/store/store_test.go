package store_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/cacheplugin/cacheplugin/conj"
	"github.com/cacheplugin/cacheplugin/internal/store"
	"github.com/cacheplugin/cacheplugin/internal/testenv"
)

func TestMain(m *testing.M) {
	testenv.AtATime(4) // most of them wait for a server
	testenv.Main(m)
}

// backend is a server or cluster and a mode to test with.
type backend struct {
	client   redis.UniversalClient
	mode     variant
	embedded bool
}

// variant is a mode, a layout of keys, and whether connections are
// named after their server.
type variant struct {
	store.Mode
	spread, identified bool
}

func (v variant) String() string {
	switch {
	case v.spread:
		return v.Mode.String() + " spread"
	case v.identified:
		return v.Mode.String() + " identified"
	}
	return v.Mode.String()
}

// on reports whether the variant can be had with a client.
func (v variant) on(client redis.UniversalClient) bool {
	_, ok := client.(*redis.Client)
	return ok || !v.identified
}

// cluster reports whether the backend is one.
func (b backend) cluster() bool {
	_, ok := b.client.(*redis.ClusterClient)
	return ok
}

// slow reports whether a call takes several times as long as on a server: a
// cluster's client costs more, and the embedded server's scripts do.
func (b backend) slow() bool { return b.embedded || b.cluster() }

var (
	inOneSlot = []variant{{Mode: store.ConjunctionSets}, {Mode: store.InsideOut}, {Mode: store.ConjunctionSets, identified: true}, {Mode: store.InsideOut, identified: true}}
	modes     = append(inOneSlot[:4:4], variant{Mode: store.InsideOut, spread: true})
)

// onEach runs a test in every mode, on a real server and a Redis Cluster (if
// redis-server is installed) and on the embedded server, which runs that need not
// be long leave out where there is a real one.
func onEach(t *testing.T, test func(t *testing.T, b backend)) {
	t.Helper()
	onEachOf(t, modes, test)
}

// onEachInOneSlot leaves spread namespaces out.
func onEachInOneSlot(t *testing.T, test func(t *testing.T, b backend)) {
	t.Helper()
	onEachOf(t, inOneSlot, test)
}

func onEachOf(t *testing.T, modes []variant, test func(t *testing.T, b backend)) {
	t.Helper()
	t.Parallel() // the servers are shared, namespaces are not
	embedded := redis.NewClient(&redis.Options{Addr: miniredis.RunT(t).Addr(), PipelinePoolSize: -1, ReadTimeout: 30 * time.Second})
	t.Cleanup(func() { _ = embedded.Close() })
	servers := map[string]redis.UniversalClient{"redis": testenv.Redis(t), "embedded": embedded}
	if testenv.RedisIsReal(t) {
		servers["cluster"] = testenv.Cluster(t)
		if !testenv.Long() {
			delete(servers, "embedded") // the slowest of them, and the least like what users have
		}
	}
	for _, mode := range modes {
		for name, client := range servers {
			if !mode.on(client) || name == "cluster" && !mode.spread && !testenv.Long() {
				continue
			}
			t.Run(fmt.Sprintf("%v/%s", mode, name), func(t *testing.T) {
				t.Parallel()
				test(t, backend{client: client, mode: mode, embedded: name == "embedded"})
			})
		}
	}
}

var namespaces atomic.Int64

func newNamespace() string { return fmt.Sprintf("store-test-%d", namespaces.Add(1)) }

// open returns a store in a namespace of its own.
func (b backend) open(t testing.TB, change ...func(*store.Options)) *store.Store {
	t.Helper()
	o := store.Options{Client: b.client, Mode: b.mode.Mode, Spread: b.mode.spread, DirectConnections: b.mode.identified, Namespace: newNamespace(), Timeout: 10 * time.Second}
	for _, f := range change {
		f(&o)
	}
	s, err := store.New(o)
	require.NoError(t, err)
	// What it still frees in the background must not outlive the tests.
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		s.Close(ctx)
	})
	return s
}

func in(namespace string) func(*store.Options) {
	return func(o *store.Options) { o.Namespace = namespace }
}

// A table of rows with an id and a group.
var (
	whole   = conj.MakeScheme(nil)
	byID    = conj.MakeScheme([]string{"id"})
	byGroup = conj.MakeScheme([]string{"grp"})
)

func key(table string, s conj.Scheme, values ...string) conj.Key {
	vs := make([]conj.Value, len(values))
	for i, v := range values {
		vs[i] = conj.Value(v)
	}
	return conj.MakeKey(table, s, vs)
}

// on returns a dependency on the rows of a table of one group.
func on(table, group string) store.Dependency {
	return store.Dependency{Table: table, Schemes: []conj.Scheme{byGroup}, Keys: []conj.Key{key(table, byGroup, group)}}
}

// row is an image: its keys for whatever schemes there are.
type row struct{ id, group string }

func (r row) keys(table string, schemes []conj.Scheme) (keys []conj.Key, ok bool) {
	for _, s := range schemes {
		switch s {
		case whole:
			keys = append(keys, key(table, s))
		case byID:
			keys = append(keys, key(table, s, r.id))
		case byGroup:
			keys = append(keys, key(table, s, r.group))
		default:
			return nil, false
		}
	}
	return keys, true
}

// changed returns the change of some rows of a table.
func changed(table string, rows ...row) store.Change {
	return store.Change{Table: table, Keys: func(schemes []conj.Scheme) (all []conj.Key, ok bool) {
		for _, r := range rows {
			keys, ok := r.keys(table, schemes)
			if !ok {
				return nil, false
			}
			all = append(all, keys...)
		}
		return all, true
	}}
}

func entry(name string) store.EntryKey {
	var k store.EntryKey
	copy(k[:], name)
	return k
}

const ttl = time.Minute

func acquire(t testing.TB, s *store.Store, name string, deps ...store.Dependency) store.Lookup {
	t.Helper()
	l, err := s.Acquire(context.Background(), entry(name), deps, ttl)
	require.NoError(t, err)
	return l
}

func lease(t testing.TB, s *store.Store, name string, deps ...store.Dependency) store.Lease {
	t.Helper()
	l := acquire(t, s, name, deps...)
	require.Equal(t, store.Leased, l.State)
	return l.Lease
}

func save(t testing.TB, s *store.Store, l store.Lease, payload string) bool {
	t.Helper()
	stored, err := s.Save(context.Background(), l, []byte(payload), ttl)
	require.NoError(t, err)
	return stored
}

// fill stores an entry.
func fill(t testing.TB, s *store.Store, name, payload string, deps ...store.Dependency) {
	t.Helper()
	require.True(t, save(t, s, lease(t, s, name, deps...), payload))
}

func requireHit(t testing.TB, s *store.Store, name, payload string, deps ...store.Dependency) {
	t.Helper()
	l := acquire(t, s, name, deps...)
	require.Equal(t, store.Hit, l.State)
	require.Equal(t, payload, string(l.Payload))
}

func invalidate(t testing.TB, s *store.Store, changes ...store.Change) []store.Report {
	t.Helper()
	reports, err := s.Invalidate(context.Background(), changes)
	require.NoError(t, err)
	return reports
}

// keysOf returns the Redis keys of a namespace, all or those of one kind: "t" for
// tables, "c" for conjunctions, "e" for entries.
func keysOf(t testing.TB, client redis.UniversalClient, namespace, what string) []string {
	t.Helper()
	var mu sync.Mutex
	var keys []string
	look := func(ctx context.Context, node redis.UniversalClient) error {
		// Much cheaper than SCAN, and nobody minds that the server does nothing else.
		found, err := node.Keys(ctx, "{"+namespace+"[{}]*").Result()
		for _, key := range found {
			if what != "" && !strings.HasPrefix(key[strings.LastIndexByte(key, '}')+1:], what) {
				continue
			}
			mu.Lock()
			keys = append(keys, key)
			mu.Unlock()
		}
		return err
	}
	if cluster, ok := client.(*redis.ClusterClient); ok {
		require.NoError(t, cluster.ForEachMaster(t.Context(), func(ctx context.Context, node *redis.Client) error { return look(ctx, node) }))
	} else {
		require.NoError(t, look(t.Context(), client))
	}
	return keys
}

func TestAWrongOptionIsNamed(t *testing.T) {
	client := redis.NewClient(&redis.Options{Addr: "127.0.0.1:1"})
	defer client.Close()
	ring := redis.NewRing(&redis.RingOptions{Addrs: map[string]string{"a": "127.0.0.1:1"}})
	defer ring.Close()
	replicas := redis.NewClusterClient(&redis.ClusterOptions{Addrs: []string{"127.0.0.1:1"}, RouteByLatency: true})
	defer replicas.Close()
	for name, o := range map[string]store.Options{
		"Client is <nil>":                 {},
		"Client is a *redis.Ring":         {Client: ring},
		"Client is a cluster client with": {Client: replicas},
		`Namespace is "a{b}"`:             {Client: client, Namespace: "a{b}"},
		"Mode is Mode(7)":                 {Client: client, Mode: 7},
		"LeaseTTL is -1s":                 {Client: client, LeaseTTL: -time.Second},
		"Timeout is -1s":                  {Client: client, Timeout: -time.Second},
	} {
		_, err := store.New(o)
		require.ErrorIs(t, err, store.ErrConfig)
		require.True(t, strings.Contains(err.Error(), "Options."+name), "%v should name %s", err, name)
	}
}

func TestCheckTellsTheServersSetUp(t *testing.T) {
	onEach(t, func(t *testing.T, b backend) {
		info, err := b.open(t).Check(t.Context())
		require.NoError(t, err)
		if _, err := b.client.Info(t.Context(), "replication").Result(); err != nil {
			require.True(t, info.Embedded)
			require.False(t, info.IdentityHidden, "it has none")
			return
		}
		require.False(t, info.IdentityHidden)
		require.NotEmpty(t, info.Version)
		require.Equal(t, "master", info.Role)
		require.NotEmpty(t, info.MaxMemoryPolicy)
	})
}

// realRedis returns a client of the shared server, which must not be the
// embedded one: that has a clock of its own.
func realRedis(t testing.TB) redis.UniversalClient {
	t.Helper()
	client := testenv.Redis(t)
	testenv.NeedRedisServer(t)
	return client
}

// redisField returns a field of a server's INFO.
func redisField(info, name string) string {
	for line := range strings.Lines(info) {
		if value, ok := strings.CutPrefix(strings.TrimSpace(line), name+":"); ok {
			return value
		}
	}
	return ""
}

// fixToken makes a store's look-ups carry one token, as a repeated delivery
// does, until the returned function is called.
func fixToken(s *store.Store, token ...string) (undo func()) {
	if token == nil {
		token = []string{"abcdefghijklmnopqrstuv"}
	}
	return store.SetToken(s, func() string { return token[0] })
}
