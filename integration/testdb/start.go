package testdb

import (
	"fmt"
	"sync"
	"testing"

	"github.com/cacheplugin/cacheplugin/internal/testenv"
)

// Main is what a package's TestMain calls: testenv.Main, which also stops the
// database servers that the tests started.
func Main(m *testing.M) { testenv.Main(m, stopServers) }

// Started is a set of servers that other processes are to use.
type Started struct {
	// Env names the servers for those processes, as "KEY=value".
	Env []string
	// Missing says of each server that could not be had why, and how to get it.
	Missing []error
}

// StartServers starts the servers called names ("redis", testenv.Postgres,
// testenv.MariaDB; none: all), except those that the environment names already.
// They run until StopServers, or until this process dies. It is for commands that
// run several test processes on the same servers; tests call Databases and
// testenv.Redis.
func StartServers(names ...string) Started {
	if len(names) == 0 {
		names = []string{"redis", testenv.Postgres, testenv.MariaDB}
	}
	var (
		all  = make([]Started, len(names))
		wait sync.WaitGroup
	)
	for i, name := range names {
		wait.Go(func() { all[i] = startServer(name) })
	}
	wait.Wait()
	var sum Started
	for _, one := range all {
		sum.Env = append(sum.Env, one.Env...)
		sum.Missing = append(sum.Missing, one.Missing...)
	}
	return sum
}

// StopServers ends what StartServers started, and the servers of tests.
func StopServers() {
	stopServers()
	testenv.StopServers()
}

func startServer(name string) Started {
	if name == "redis" {
		url, err := testenv.StartSharedRedis()
		if err != nil {
			return Started{Missing: []error{err}}
		}
		return Started{Env: []string{"CACHEPLUGIN_TEST_REDIS=" + url}}
	}
	kind, ok := kinds[name]
	if !ok {
		return Started{Missing: []error{fmt.Errorf("no server is called %q", name)}}
	}
	found := serverOf(name)
	if found.err != nil {
		return Started{Missing: []error{kind.Unreachable(found.err)}}
	}
	return Started{Env: []string{kind.Variable + "=" + found.admin}}
}
