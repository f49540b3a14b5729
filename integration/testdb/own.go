package testdb

import (
	"fmt"
	"os"
	"testing"

	"github.com/cacheplugin/cacheplugin/internal/testenv"
	"github.com/cacheplugin/cacheplugin/internal/testenv/process"
)

// Own is a database server of a test's own, to be stopped, killed and started again.
// It keeps its port and its data, and goes with the test. What it says to have
// committed survives Kill.
type Own struct {
	// Database is of this server: what it creates goes with the server.
	testenv.Database

	tb          testing.TB
	made        made
	settings    []string
	stop, crash process.Signal
	port        int
	running     *server // nil: it does not run
}

// made is a server in a directory of its own.
type made interface {
	launch(port int, settings ...string) (*server, error)
	discard()
}

func (m *madePostgres) discard() { _ = os.RemoveAll(m.dir) }
func (m *madeMariaDB) discard()  { _ = os.RemoveAll(m.dir) }

// NewOwn makes and starts a server called name (testenv.Postgres, testenv.MariaDB)
// with further settings ("name=value"). It skips the test where there is none.
func NewOwn(tb testing.TB, name string, settings ...string) *Own {
	tb.Helper()
	Need(tb, name)
	o := &Own{tb: tb}
	o.Database = onServer(name, o)
	made, err := o.make()
	if err != nil {
		tb.Skipf("a server of the test's own can't be made: %v", err)
	}
	o.made, o.settings = made, append(o.settings, settings...)
	tb.Cleanup(func() {
		o.Stop()
		made.discard()
	})
	o.running, err = process.OnFreePort(func(port int) (*server, error) {
		o.port = port
		return made.launch(port, o.settings...)
	})
	if err != nil {
		tb.Fatal(err)
	}
	return o
}

func (o *Own) make() (made, error) {
	switch o.Name {
	case testenv.Postgres:
		// An immediate shutdown is what a crash is to the data. A server that is killed
		// leaves processes behind, which keep it from starting.
		o.stop, o.crash = process.Interrupt, process.Quit
		o.settings = []string{"synchronous_commit=on"}
		return makePostgres()
	case testenv.MariaDB:
		o.stop, o.crash = process.Terminate, process.Kill
		o.settings = []string{"innodb-flush-log-at-trx-commit=2"}
		return makeMariaDB()
	}
	return nil, fmt.Errorf("no server is called %q", o.Name)
}

// Start starts the server again, with other settings than before if some are given.
func (o *Own) Start(settings ...string) {
	o.tb.Helper()
	var err error
	if o.running, err = o.made.launch(o.port, append(o.settings, settings...)...); err != nil {
		o.tb.Fatal(err)
	}
}

// Stop shuts the server down, if it runs.
func (o *Own) Stop() { o.end(o.stop) }

// Kill ends the server as a crash does, if it runs.
func (o *Own) Kill() { o.end(o.crash) }

func (o *Own) end(signal process.Signal) {
	if o.running == nil {
		return
	}
	_ = o.running.db.Close()
	o.running.process.End(signal)
	o.running = nil
}
