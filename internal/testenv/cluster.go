package testenv

import (
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"testing"

	"github.com/cacheplugin/cacheplugin/internal/testenv/process"
	"github.com/redis/go-redis/v9"
)

const (
	clusterMasters = 3
	clusterSlots   = 16384
)

// RedisCluster is a Redis Cluster of three masters with a replica each. It is
// not safe for concurrent use, its clients are.
type RedisCluster struct {
	Nodes []*RedisServer
}

// StartCluster starts a cluster of one test's own; its nodes get the further
// arguments of redis-server. It is ended with the test. The test is skipped
// where redis-server is not installed.
func StartCluster(tb testing.TB, args ...string) *RedisCluster {
	tb.Helper()
	c, err := newCluster(args...)
	if c != nil {
		tb.Cleanup(c.discard)
	}
	requireCluster(tb, err)
	return c
}

// Cluster returns a client of the cluster that the tests of this process share,
// started at the first call: use a namespace of your own, and flush nothing but
// it. The client is closed at the test's end.
func Cluster(tb testing.TB) redis.UniversalClient {
	tb.Helper()
	shared := environment.sharedCluster()
	requireCluster(tb, shared.err)
	return shared.client(tb, &redis.ClusterOptions{ReadTimeout: patience})
}

// sharedCluster is the outcome of the one attempt to start a cluster.
type sharedCluster struct {
	*RedisCluster
	err error
}

func requireCluster(tb testing.TB, err error) {
	tb.Helper()
	switch {
	case errors.Is(err, process.ErrNotInstalled):
		redisEnv.Missing(tb, err)
		tb.Skipf("needs redis-server: %v", err)
	case err != nil:
		tb.Fatalf("start a Redis Cluster: %v", err)
	}
}

// newCluster returns what it has started after an error, too.
func newCluster(args ...string) (*RedisCluster, error) {
	c := &RedisCluster{}
	args = append([]string{
		"--cluster-node-timeout", "2000", "--cluster-replica-validity-factor", "0",
		"--cluster-require-full-coverage", "no",
	}, args...)
	for range 2 * clusterMasters {
		node, err := newRedisServer(redisNode, args...)
		if err != nil {
			return c, err
		}
		c.Nodes = append(c.Nodes, node)
	}
	return c, c.join()
}

// join makes a cluster of the nodes: the first three masters, the others their
// replicas.
func (c *RedisCluster) join() error {
	first := c.Nodes[0]
	for i, node := range c.Nodes {
		// Different from the start, so that none need give way to another.
		if _, err := node.try("CLUSTER", "SET-CONFIG-EPOCH", i+1); err != nil {
			return err
		}
		if i < clusterMasters {
			from, to := i*clusterSlots/clusterMasters, (i+1)*clusterSlots/clusterMasters-1
			if _, err := node.try("CLUSTER", "ADDSLOTSRANGE", from, to); err != nil {
				return err
			}
		}
		if i > 0 {
			if _, err := first.try("CLUSTER", "MEET", "127.0.0.1", node.own.port, node.own.busPort); err != nil {
				return err
			}
		}
	}
	ids := make([]string, len(c.Nodes))
	if err := settle("the nodes know each other", func() bool {
		for i, node := range c.Nodes {
			view, err := node.view()
			if err != nil || len(view) != len(c.Nodes) {
				return false
			}
			for _, member := range view {
				if member.is("handshake") {
					return false
				}
				if member.is("myself") {
					ids[i] = member.id
				}
			}
		}
		return true
	}); err != nil {
		return err
	}
	for i, node := range c.Nodes[clusterMasters:] {
		if _, err := node.try("CLUSTER", "REPLICATE", ids[i]); err != nil {
			return err
		}
	}
	return settle("the cluster is whole", func() bool {
		for i, node := range c.Nodes {
			info, err := node.try("CLUSTER", "INFO")
			text, _ := info.(string)
			if err != nil || infoField(text, "cluster_state") != "ok" {
				return false
			}
			view, err := node.view()
			if err != nil {
				return false
			}
			replicas := 0
			for _, member := range view {
				if member.is("slave") {
					replicas++
				}
			}
			if replicas != clusterMasters {
				return false
			}
			if i >= clusterMasters {
				if node.replication("master_link_status") != "up" {
					return false
				}
			}
		}
		return true
	})
}

func (c *RedisCluster) discard() {
	for _, node := range c.Nodes {
		node.own.discard()
	}
}

// Client returns a new client of the cluster, closed at the test's end. Its
// timeouts and retries are go-redis's defaults.
func (c *RedisCluster) Client(tb testing.TB) *redis.ClusterClient {
	tb.Helper()
	return c.client(tb, &redis.ClusterOptions{})
}

func (c *RedisCluster) client(tb testing.TB, options *redis.ClusterOptions) *redis.ClusterClient {
	tb.Helper()
	for _, node := range c.Nodes {
		options.Addrs = append(options.Addrs, node.Addr)
	}
	client := redis.NewClusterClient(options)
	tb.Cleanup(func() { _ = client.Close() })
	return client
}

// member is what a node knows of another one, or of itself.
type member struct {
	id, addr, flags, master string
	slots                   []string // "a", "a-b"; those that move are "[...]"
}

func (m member) is(flag string) bool {
	for f := range strings.SplitSeq(m.flags, ",") {
		if f == flag {
			return true
		}
	}
	return false
}

func (m member) owns(slot int) bool {
	for _, r := range m.slots {
		from, to, several := strings.Cut(r, "-")
		if !several {
			to = from
		}
		low, errLow := strconv.Atoi(from)
		high, errHigh := strconv.Atoi(to)
		if errLow == nil && errHigh == nil && low <= slot && slot <= high {
			return true
		}
	}
	return false
}

// view is the cluster as a node sees it.
func (s *RedisServer) view() ([]member, error) {
	reply, err := s.try("CLUSTER", "NODES")
	if err != nil {
		return nil, err
	}
	text, _ := reply.(string)
	var members []member
	for line := range strings.Lines(text) {
		fields := strings.Fields(line)
		if len(fields) < 8 {
			return nil, fmt.Errorf("CLUSTER NODES: %q", line)
		}
		addr, _, _ := strings.Cut(fields[1], "@")
		members = append(members, member{id: fields[0], addr: addr, flags: fields[2], master: fields[3], slots: fields[8:]})
	}
	return members, nil
}

func (s *RedisServer) myself() (member, error) {
	view, err := s.view()
	if err != nil {
		return member{}, err
	}
	for _, m := range view {
		if m.is("myself") {
			return m, nil
		}
	}
	return member{}, errors.New("CLUSTER NODES does not tell which one is asked")
}

// Owner returns the running master that deems a slot its own, once there is one
// and every node that runs agrees. Paused nodes must be resumed first.
func (c *RedisCluster) Owner(tb testing.TB, slot int) *RedisServer {
	tb.Helper()
	var owner *RedisServer
	await(tb, "the nodes agree on who owns slot "+strconv.Itoa(slot), func() bool {
		owner = nil
		for _, node := range c.Nodes {
			if !node.Running() {
				continue
			}
			view, err := node.view()
			if err != nil {
				return false
			}
			for _, m := range view {
				if !m.owns(slot) || m.is("slave") {
					continue
				}
				if m.is("fail") || owner != nil && owner.Addr != m.addr {
					return false
				}
				owner = c.node(m.addr)
			}
		}
		return owner != nil && owner.Running()
	})
	return owner
}

func (c *RedisCluster) node(addr string) *RedisServer {
	for _, node := range c.Nodes {
		if node.Addr == addr {
			return node
		}
	}
	return nil
}

// Masters returns the running nodes that are masters.
func (c *RedisCluster) Masters(tb testing.TB) []*RedisServer {
	tb.Helper()
	var masters []*RedisServer
	for _, node := range c.Nodes {
		if !node.Running() {
			continue
		}
		me, err := node.myself()
		if err != nil {
			tb.Fatalf("ask %s for its role: %v", node.Addr, err)
		}
		if me.is("master") {
			masters = append(masters, node)
		}
	}
	return masters
}

// Replica returns a replica of a master that runs.
func (c *RedisCluster) Replica(tb testing.TB, master *RedisServer) *RedisServer {
	tb.Helper()
	var replica *RedisServer
	await(tb, "the master has a replica", func() bool {
		me, err := master.myself()
		if err != nil {
			return false
		}
		for _, node := range c.Nodes {
			if !node.Running() || node == master {
				continue
			}
			if m, err := node.myself(); err == nil && m.master == me.id {
				replica = node
				return true
			}
		}
		return false
	})
	return replica
}

// Takeover promotes a replica at once, whatever the others think of its master,
// and waits until they all take it for the master of the slot.
func (c *RedisCluster) Takeover(tb testing.TB, replica *RedisServer, slot int) {
	tb.Helper()
	replica.do(tb, "CLUSTER", "FAILOVER", "TAKEOVER")
	await(tb, "the replica owns its master's slots", func() bool { return c.Owner(tb, slot) == replica })
}

// Move is a slot on its way from one master to another.
type Move struct {
	cluster  *RedisCluster
	slot     int
	from, to *RedisServer
	fromID   string
	toID     string
}

// StartMove begins to move a slot. From here on keys that the old master no
// longer has, or never had, are asked of the new one.
func (c *RedisCluster) StartMove(tb testing.TB, slot int, to *RedisServer) *Move {
	tb.Helper()
	m := &Move{cluster: c, slot: slot, from: c.Owner(tb, slot), to: to}
	for node, id := range map[*RedisServer]*string{m.from: &m.fromID, m.to: &m.toID} {
		me, err := node.myself()
		if err != nil {
			tb.Fatalf("move slot %d: %v", slot, err)
		}
		*id = me.id
	}
	to.do(tb, "CLUSTER", "SETSLOT", slot, "IMPORTING", m.fromID)
	m.from.do(tb, "CLUSTER", "SETSLOT", slot, "MIGRATING", m.toID)
	return m
}

// Keys returns the slot's keys that the old master still has.
func (m *Move) Keys(tb testing.TB) []string {
	tb.Helper()
	reply, _ := m.from.do(tb, "CLUSTER", "GETKEYSINSLOT", m.slot, 1_000_000).([]any)
	keys := make([]string, len(reply))
	for i, key := range reply {
		keys[i], _ = key.(string)
	}
	return keys
}

// Key moves keys to the new master; those that have gone are left out.
func (m *Move) Key(tb testing.TB, keys ...string) {
	tb.Helper()
	if len(keys) == 0 {
		return
	}
	host, port, err := net.SplitHostPort(m.to.Addr)
	if err != nil {
		tb.Fatal(err)
	}
	args := []any{"MIGRATE", host, port, "", 0, 10_000, "KEYS"}
	for _, key := range keys {
		args = append(args, key)
	}
	m.from.do(tb, args...)
}

// Finish moves the rest, gives the slot to the new master, and waits until all
// nodes know.
func (m *Move) Finish(tb testing.TB) {
	tb.Helper()
	for keys := m.Keys(tb); len(keys) > 0; keys = m.Keys(tb) {
		m.Key(tb, keys...)
	}
	m.to.do(tb, "CLUSTER", "SETSLOT", m.slot, "NODE", m.toID)
	m.from.do(tb, "CLUSTER", "SETSLOT", m.slot, "NODE", m.toID)
	for _, node := range m.cluster.Masters(tb) {
		if node != m.from && node != m.to {
			node.do(tb, "CLUSTER", "SETSLOT", m.slot, "NODE", m.toID)
		}
	}
	await(tb, "all nodes know the slot's new master", func() bool { return m.cluster.Owner(tb, m.slot) == m.to })
}
