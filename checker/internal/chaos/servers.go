package chaos

import (
	"context"
	_ "embed"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/cacheplugin/cacheplugin/internal/testenv"
)

// serve starts the Redis of the cell, and what stands before and beside it.
func (s *scene) serve() {
	f := s.cell.Fault
	if f.Cluster {
		s.cluster = testenv.StartCluster(s)
		return
	}
	if f.Clock {
		s.fakeClock()
	}
	s.server = testenv.StartRedis(s, f.Arguments...)
	if !s.server.Real {
		s.Skip("needs redis-server")
	}
	if f.Clock {
		s.must(os.Unsetenv("LD_PRELOAD")) // it is for Redis alone
	}
	s.admin = redis.NewClient(&redis.Options{Addr: s.server.Addr})
	s.Cleanup(func() { _ = s.admin.Close() })
	if f.Standby {
		s.standby = testenv.StartRedis(s, f.Arguments...)
		s.follow(s.standby, s.server)
	}
	if f.Proxy {
		s.proxy = newProxy(s, s.server.Addr)
	}
}

// address is where the processes find Redis.
func (s *scene) address() string {
	switch {
	case s.cluster != nil:
		var all []string
		for _, node := range s.cluster.Nodes {
			all = append(all, node.Addr)
		}
		return strings.Join(all, ",")
	case s.proxy != nil:
		return s.proxy.address()
	}
	return s.server.Addr
}

// control runs a command on a server, with a client of its own: the server may
// just have come back.
func (s *scene) control(server *testenv.RedisServer, args ...any) string {
	client := redis.NewClient(&redis.Options{Addr: server.Addr, MaxRetries: -1})
	defer client.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	reply, err := client.Do(ctx, args...).Result()
	if err != nil {
		s.Fatalf("%s: redis: %v: %v", s.cell.Fault.Name, args, err)
	}
	return fmt.Sprint(reply)
}

// follow makes one server the replica of another and waits until it is level.
func (s *scene) follow(replica, master *testenv.RedisServer) {
	host, port, _ := strings.Cut(master.Addr, ":")
	s.control(replica, "replicaof", host, port)
	for range 1000 {
		if strings.Contains(s.control(replica, "info", "replication"), "master_link_status:up") {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	s.Fatalf("%s: the replica is not in step within ten seconds", s.cell.Fault.Name)
}

// clockSource is a library that Redis is started with: its clock is ahead of
// the machine's by what a file says. libfaketime does the same, and hangs on
// start with the allocator that distributions build Redis with.
//
//go:embed clock.c.txt
var clockSource []byte

// fakeClock gives the Redis that is started next a clock that can be set.
func (s *scene) fakeClock() {
	source, library := filepath.Join(s.dir, "clock.c"), filepath.Join(s.dir, "clock.so")
	s.must(os.WriteFile(source, clockSource, 0o644))
	if out, err := exec.Command("cc", "-shared", "-fPIC", "-O1", "-o", library, source).CombinedOutput(); err != nil {
		s.Skipf("needs a C compiler: %v: %s", err, out)
	}
	s.setClock(0)
	for name, value := range map[string]string{"LD_PRELOAD": library, "CHECKER_CLOCK": s.clockFile()} {
		s.must(os.Setenv(name, value))
		s.Cleanup(func() { _ = os.Unsetenv(name) })
	}
}

func (s *scene) clockFile() string { return filepath.Join(s.dir, "clock") }

// setClock sets how far Redis' clock is ahead.
func (s *scene) setClock(ahead time.Duration) {
	f, err := os.OpenFile(s.clockFile(), os.O_CREATE|os.O_WRONLY, 0o644)
	s.must(err)
	_, err = f.WriteAt(binary.NativeEndian.AppendUint64(nil, uint64(ahead/time.Second)), 0)
	s.must(errors.Join(err, f.Close()))
}
