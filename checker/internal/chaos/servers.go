package chaos

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/cacheplugin/cacheplugin/internal/testenv"
)

// serve starts the Redis of the cell, and what stands before and beside it.
func (s *scene) serve() {
	f := s.cell.Fault
	if f.Clock {
		s.fakeClock()
	}
	s.server = testenv.StartRedis(s, f.Arguments...)
	if !s.server.Real {
		s.Skip("needs redis-server")
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
	if s.proxy != nil {
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

// faketime is where distributions have the library that lies about the time.
var faketime = []string{"/usr/lib/*/faketime/libfaketime.so.1", "/usr/lib/faketime/libfaketime.so.1", "/usr/local/lib/faketime/libfaketime.so.1"}

// fakeClock gives the Redis that is started next a clock that can be set.
func (s *scene) fakeClock() {
	var library string
	for _, place := range faketime {
		if found, _ := filepath.Glob(place); len(found) > 0 {
			library = found[0]
		}
	}
	if library == "" {
		s.Skip("needs libfaketime (apt-get install libfaketime)")
	}
	s.setClock(0)
	for name, value := range map[string]string{
		"LD_PRELOAD": library, "FAKETIME_TIMESTAMP_FILE": s.clockFile(), "FAKETIME_NO_CACHE": "1", "FAKETIME_DONT_FAKE_MONOTONIC": "1",
	} {
		s.must(os.Setenv(name, value))
		s.Cleanup(func() { _ = os.Unsetenv(name) })
	}
}

func (s *scene) clockFile() string { return filepath.Join(s.dir, "clock") }

// setClock sets how far Redis' clock is ahead.
func (s *scene) setClock(ahead time.Duration) {
	name := s.clockFile() + ".new"
	s.must(os.WriteFile(name, fmt.Appendf(nil, "%+d", int(ahead.Seconds())), 0o644))
	s.must(os.Rename(name, s.clockFile()))
}
