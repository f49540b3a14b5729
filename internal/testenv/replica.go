package testenv

import (
	"context"
	"fmt"
	"net"
	"strconv"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

// What follows makes replicas of servers lag behind and takes them for
// masters, for tests of what a failover loses.

// settleTimeout bounds how long servers may take to agree on something.
const settleTimeout = time.Minute

// ReplicaOf makes the server a replica of another one and waits until it has
// what that one has.
func (s *RedisServer) ReplicaOf(tb testing.TB, master *RedisServer) {
	tb.Helper()
	host, port, err := net.SplitHostPort(master.Addr)
	if err != nil {
		tb.Fatal(err)
	}
	s.do(tb, "REPLICAOF", host, port)
	s.AwaitMaster(tb, master)
}

// Promote makes a replica its own master, as an operator does who has lost the
// old one.
func (s *RedisServer) Promote(tb testing.TB) { tb.Helper(); s.do(tb, "REPLICAOF", "NO", "ONE") }

// Detach cuts a replica off from its master, as a broken network does: it goes
// on being a replica and hears of nothing any more.
func (s *RedisServer) Detach(tb testing.TB) {
	tb.Helper()
	// The master has no password and refuses whoever brings one.
	s.do(tb, "CONFIG", "SET", "masterauth", "detached")
	s.do(tb, "CLIENT", "KILL", "TYPE", "master")
	await(tb, "the replica is cut off", func() bool {
		return s.replication("master_link_status") == "down"
	})
}

// Attach lets a detached replica catch up.
func (s *RedisServer) Attach(tb testing.TB) {
	tb.Helper()
	s.do(tb, "CONFIG", "SET", "masterauth", "")
}

// AwaitMaster waits until a replica has everything that its master has now.
func (s *RedisServer) AwaitMaster(tb testing.TB, master *RedisServer) {
	tb.Helper()
	want := -1
	await(tb, "the replica has caught up", func() bool {
		if offset, err := strconv.Atoi(master.replication("master_repl_offset")); err == nil && want < 0 {
			want = offset
		}
		got, err := strconv.Atoi(s.replication("slave_repl_offset"))
		return err == nil && want >= 0 && s.replication("master_link_status") == "up" && got >= want
	})
}

// Running reports whether the server has been started and neither stopped nor
// killed.
func (s *RedisServer) Running() bool { return s.own == nil || s.own.process != nil }

// replication returns a field of what the server tells of its replication, empty
// if it does not answer: whoever changes its role cuts connections.
func (s *RedisServer) replication(field string) string {
	reply, _ := s.try("INFO", "replication")
	info, _ := reply.(string)
	return infoField(info, field)
}

// do sends a command to this very server.
func (s *RedisServer) do(tb testing.TB, args ...any) any {
	tb.Helper()
	reply, err := s.try(args...)
	if err != nil {
		tb.Fatalf("%v on %s: %v", args, s.Addr, err)
	}
	return reply
}

func (s *RedisServer) try(args ...any) (any, error) {
	client := redis.NewClient(&redis.Options{Addr: s.Addr, MaxRetries: -1, DialerRetries: 1, Protocol: 2})
	defer client.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	return client.Do(ctx, args...).Result()
}

// await waits for an event that has no notification.
func await(tb testing.TB, what string, happened func() bool) {
	tb.Helper()
	if err := settle(what, happened); err != nil {
		tb.Fatal(err)
	}
}

func settle(what string, happened func() bool) error {
	for deadline := time.Now().Add(settleTimeout); !happened(); {
		if time.Now().After(deadline) {
			return fmt.Errorf("not within %s: %s", settleTimeout, what)
		}
		time.Sleep(10 * time.Millisecond)
	}
	return nil
}
