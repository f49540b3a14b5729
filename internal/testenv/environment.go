package testenv

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/cacheplugin/cacheplugin/internal/testenv/process"
)

const (
	envDatabases = "CACHEPLUGIN_TEST_DATABASES"
	envRequire   = "CACHEPLUGIN_TEST_REQUIRE"
)

// Server is a kind of server as the environment speaks of it.
type Server struct {
	Name     string // in CACHEPLUGIN_TEST_REQUIRE and in reports
	Variable string // of the environment, which names a server that runs already
	HowToGet string
}

var redisEnv = Server{
	Name: "redis", Variable: "CACHEPLUGIN_TEST_REDIS",
	HowToGet: "install redis-server (apt-get install redis-server) or set CACHEPLUGIN_TEST_REDIS",
}

// Named returns what the environment names the server by, empty if it doesn't.
func (s Server) Named() string { return os.Getenv(s.Variable) }

// Unreachable says why the server can't be had, and how to get it.
func (s Server) Unreachable(err error) error {
	return fmt.Errorf("%s can't be reached: %w; to get it, %s", s.Name, err, s.HowToGet)
}

// Missing reports that the server can't be had: in the test's log, once a process
// on standard error, and as a failure if it is required or was named.
func (s Server) Missing(tb testing.TB, err error) {
	tb.Helper()
	line := s.Unreachable(err).Error()
	if Required(s.Name) {
		tb.Fatalf("%s (%s=%s)", line, envRequire, os.Getenv(envRequire))
	}
	if s.Named() != "" && !errors.Is(err, process.ErrNotInstalled) {
		tb.Fatal(line)
	}
	tb.Log(line)
	environment.tell(s.Name, line)
}

// Required reports whether CACHEPLUGIN_TEST_REQUIRE lists name: a test that can't
// have it must fail instead of being skipped.
func Required(name string) bool { return slices.Contains(listed(envRequire), name) }

// Wanted reports whether tests are to run on the database called name.
func Wanted(name string) bool {
	only := listed(envDatabases)
	return len(only) == 0 || slices.Contains(only, name)
}

func listed(env string) []string {
	return strings.FieldsFunc(os.Getenv(env), func(r rune) bool { return r == ',' || r == ' ' })
}

// environment holds the servers of this process. It is the one global of the
// package: servers are shared by all tests of a process, and only TestMain
// could hand them on.
var environment = new(servers)

// servers starts each server at most once, when first asked for.
type servers struct {
	mu      sync.Mutex // guards what follows, not the starting
	redis   *Attempt[*sharedRedis]
	cluster *Attempt[*sharedCluster]
	told    map[string]bool
}

// Attempt is a start that runs once, however many ask for it at once.
type Attempt[T any] struct {
	once  sync.Once
	value T
}

// Get returns the outcome of the one start.
func (a *Attempt[T]) Get(start func() T) T {
	a.once.Do(func() { a.value = start() })
	return a.value
}

func (s *servers) sharedRedis() *sharedRedis {
	s.mu.Lock()
	if s.redis == nil {
		s.redis = new(Attempt[*sharedRedis])
	}
	a := s.redis
	s.mu.Unlock()
	return a.Get(func() *sharedRedis { return openSharedRedis(redisEnv.Named()) })
}

func (s *servers) sharedCluster() *sharedCluster {
	s.mu.Lock()
	if s.cluster == nil {
		s.cluster = new(Attempt[*sharedCluster])
	}
	a := s.cluster
	s.mu.Unlock()
	return a.Get(func() *sharedCluster {
		c, err := newCluster()
		return &sharedCluster{RedisCluster: c, err: err}
	})
}

// StopServers ends the servers that tests share. Later calls start anew.
func StopServers() { environment.stop() }

func (s *servers) stop() {
	s.mu.Lock()
	redis, cluster := s.redis, s.cluster
	s.redis, s.cluster = nil, nil
	s.mu.Unlock()
	if cluster != nil && cluster.value != nil {
		cluster.value.discard()
	}
	if redis != nil && redis.value != nil {
		redis.value.stop()
	}
}

// tell writes a line to standard error, once for each name.
func (s *servers) tell(name, line string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.told[name] {
		return
	}
	if s.told == nil {
		s.told = make(map[string]bool)
	}
	s.told[name] = true
	fmt.Fprintln(os.Stderr, "testenv: "+line)
}
