package testenv

import (
	"context"
	"errors"
	"net"
	"testing"

	"github.com/redis/go-redis/v9"
)

// sentinelName is what the sentinels call their master.
const sentinelName = "main"

// RedisSentinel is a master with two replicas and three sentinels that watch
// over them and promote a replica when the master does not answer. It is not
// safe for concurrent use, its clients are.
type RedisSentinel struct {
	Servers   []*RedisServer // the master that there was first, and its replicas
	Sentinels []*RedisServer
}

// StartSentinel starts such a group; its servers get the further arguments of
// redis-server. Everything ends with the test. The test is skipped where
// redis-server is not installed.
func StartSentinel(tb testing.TB, args ...string) *RedisSentinel {
	tb.Helper()
	s := &RedisSentinel{}
	start := func(kind redisKind, args ...string) *RedisServer {
		server, err := newRedisServer(kind, args...)
		if err != nil {
			redisEnv.Missing(tb, err)
			tb.Skipf("needs redis-server: %v", err)
		}
		tb.Cleanup(server.own.discard)
		return server
	}
	for range 3 {
		s.Servers = append(s.Servers, start(redisServer, args...))
	}
	master := s.Servers[0]
	for _, replica := range s.Servers[1:] {
		replica.ReplicaOf(tb, master)
	}
	host, port, err := net.SplitHostPort(master.Addr)
	if err != nil {
		tb.Fatal(err)
	}
	for range 3 {
		sentinel := start(redisSentinel)
		sentinel.do(tb, "SENTINEL", "MONITOR", sentinelName, host, port, 2)
		sentinel.do(tb, "SENTINEL", "SET", sentinelName, "down-after-milliseconds", 1000, "failover-timeout", 10000)
		// Sentinels look at each server every ten seconds; older ones can't be
		// hurried, and only take longer.
		_, _ = sentinel.try("SENTINEL", "DEBUG", "info-period", 200, "publish-period", 200)
		s.Sentinels = append(s.Sentinels, sentinel)
	}
	await(tb, "the sentinels know of each other and of the replicas", func() bool {
		for _, sentinel := range s.Sentinels {
			info, _ := sentinel.do(tb, "SENTINEL", "MASTER", sentinelName).([]any)
			if pair(info, "num-other-sentinels") != "2" || pair(info, "num-slaves") != "2" {
				return false
			}
		}
		return true
	})
	return s
}

// pair returns the value that follows a name.
func pair(reply []any, name string) any {
	for i := 0; i+1 < len(reply); i += 2 {
		if reply[i] == name {
			return reply[i+1]
		}
	}
	return nil
}

// Client returns a new client that asks the sentinels for the master, closed at
// the test's end. Its timeouts and retries are go-redis's defaults; all of its connections are in one
// pool, as Config.DirectConnections needs it.
func (s *RedisSentinel) Client(tb testing.TB) redis.UniversalClient {
	tb.Helper()
	options := &redis.FailoverOptions{MasterName: sentinelName, PipelinePoolSize: -1}
	for _, sentinel := range s.Sentinels {
		options.SentinelAddrs = append(options.SentinelAddrs, sentinel.Addr)
	}
	client := redis.NewFailoverClient(options)
	tb.Cleanup(func() { _ = client.Close() })
	return client
}

// Master returns the server that the sentinels agree on as master and that
// deems itself one, once there is one among those that run.
func (s *RedisSentinel) Master(tb testing.TB) *RedisServer {
	tb.Helper()
	var master *RedisServer
	await(tb, "the sentinels agree on a master", func() bool {
		agreed := ""
		for _, sentinel := range s.Sentinels {
			if !sentinel.Running() {
				continue
			}
			addr, err := s.masterOf(sentinel)
			if err != nil || agreed != "" && addr != agreed {
				return false
			}
			agreed = addr
		}
		for _, server := range s.Servers {
			if server.Addr == agreed && server.Running() {
				master = server
				return server.replication("role") == "master"
			}
		}
		return false
	})
	return master
}

func (s *RedisSentinel) masterOf(sentinel *RedisServer) (string, error) {
	client := redis.NewSentinelClient(&redis.Options{Addr: sentinel.Addr, MaxRetries: -1, DialerRetries: 1})
	defer client.Close()
	addr, err := client.GetMasterAddrByName(context.Background(), sentinelName).Result()
	if err != nil {
		return "", err
	}
	if len(addr) != 2 {
		return "", errors.New("no address")
	}
	return net.JoinHostPort(addr[0], addr[1]), nil
}

// Replicas returns the servers that run and are not the master.
func (s *RedisSentinel) Replicas(tb testing.TB) []*RedisServer {
	tb.Helper()
	master := s.Master(tb)
	var replicas []*RedisServer
	for _, server := range s.Servers {
		if server != master && server.Running() {
			replicas = append(replicas, server)
		}
	}
	return replicas
}

// Failover makes a server a replica, waits until it has caught up, and has the
// sentinels make it the master in place of the present one.
func (s *RedisSentinel) Failover(tb testing.TB, to *RedisServer) {
	tb.Helper()
	master := s.Master(tb)
	for _, server := range s.Servers {
		if server.Running() && server != to {
			server.Attach(tb)
			server.do(tb, "CONFIG", "SET", "replica-priority", 0) // never to be promoted
		}
	}
	// Sentinels make a master that is back a replica when they have seen it and the
	// new one well for a while. Where they get little of the processor, and deem
	// their own clocks wrong, that may be minutes: so an operator does it.
	to.ReplicaOf(tb, master)
	sentinel := s.Sentinels[0]
	await(tb, "the sentinel knows that no other server may be promoted", func() bool {
		replicas, _ := sentinel.do(tb, "SENTINEL", "REPLICAS", sentinelName).([]any)
		ready := false
		for _, r := range replicas {
			replica, _ := r.([]any)
			if name := pair(replica, "name"); name == to.Addr {
				ready = pair(replica, "flags") == "slave" && pair(replica, "master-link-status") == "ok"
			} else if pair(replica, "slave-priority") != "0" {
				return false
			}
		}
		return ready
	})
	await(tb, "the server is the master", func() bool {
		if addr, err := s.masterOf(sentinel); err == nil && addr == to.Addr {
			// The others may take it back before they have heard of it: then once more.
			return s.Master(tb) == to
		}
		// Refused while it has not heard of a good replica, and while it is at it.
		_, _ = sentinel.try("SENTINEL", "FAILOVER", sentinelName)
		return false
	})
}
