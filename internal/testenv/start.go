package testenv

import (
	"fmt"
	"sync"
)

// Started is a set of servers that other processes are to use.
type Started struct {
	// Env names the servers for those processes, as "KEY=value".
	Env []string
	// Missing says of each server that could not be had why, and how to get it.
	Missing []error
}

// StartServers starts the servers called names ("redis", Postgres, MariaDB; none:
// all), except those that the environment names already. They run until
// StopServers, or until this process dies. It is for commands that run several
// test processes on the same servers; tests call Databases and Redis.
func StartServers(names ...string) Started {
	if len(names) == 0 {
		names = []string{"redis", Postgres, MariaDB}
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

// StopServers ends what StartServers started.
func StopServers() { environment.stop() }

func startServer(name string) Started {
	if explicit(name) {
		return Started{} // the processes inherit it
	}
	if name == "redis" {
		shared := environment.sharedRedis()
		if shared.err != nil { // each process has an embedded one of its own
			return unavailable(name, shared.err)
		}
		return Started{Env: []string{envRedis + "=redis://" + shared.options.Addr + "/0"}}
	}
	found := environment.database(name)
	if found.err != nil {
		return unavailable(name, found.err)
	}
	env := map[string]string{Postgres: envPostgres, MariaDB: envMySQL}[name]
	return Started{Env: []string{env + "=" + found.admin}}
}

func unavailable(name string, err error) Started {
	return Started{Missing: []error{fmt.Errorf("%s could not be started: %w; to get it, %s", name, err, howToGet[name])}}
}
