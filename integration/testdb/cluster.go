package testdb

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/cacheplugin/cacheplugin/internal/testenv"
	"github.com/cacheplugin/cacheplugin/internal/testenv/process"
)

// Cluster is a PostgreSQL server of a test's own, of which a backup can be made
// and restored. It keeps its port.
type Cluster struct {
	tb      testing.TB
	made    *madePostgres
	port    int
	running *server
}

// NewCluster makes and starts a cluster, which goes with the test. It skips the
// test where there is no PostgreSQL.
func NewCluster(tb testing.TB) *Cluster {
	tb.Helper()
	Need(tb, testenv.Postgres)
	made, err := makePostgres()
	if err != nil {
		tb.Skipf("a server of the test's own can't be made: %v", err)
	}
	c := &Cluster{tb: tb, made: made}
	tb.Cleanup(func() {
		c.Stop()
		_ = os.RemoveAll(made.dir)
	})
	c.running, err = process.OnFreePort(func(port int) (*server, error) {
		c.port = port
		return c.launch()
	})
	if err != nil {
		tb.Fatal(err)
	}
	return c
}

func (c *Cluster) launch() (*server, error) {
	// A recovery, which Restore asks for, finds nothing in an archive.
	return c.made.launch(c.port, "wal_level=replica", "restore_command=false")
}

// DSN is that of the cluster's database.
func (c *Cluster) DSN() string { return c.running.admin }

// Start starts the cluster again.
func (c *Cluster) Start() {
	c.tb.Helper()
	var err error
	if c.running, err = c.launch(); err != nil {
		c.tb.Fatal(err)
	}
}

// Stop shuts the cluster down, if it runs.
func (c *Cluster) Stop() {
	if c.running == nil {
		return
	}
	_ = c.running.db.Close()
	c.running.process.End(process.Terminate)
	c.running = nil
}

// Backup copies the data of a cluster that is stopped.
func (c *Cluster) Backup() { c.run("cp", "-a", c.made.data, c.backup()) }

// Restore puts the backup in the place of the data. The cluster will recover it
// when it starts, and begin a new timeline.
func (c *Cluster) Restore() {
	c.run("rm", "-rf", c.made.data)
	c.run("cp", "-a", c.backup(), c.made.data)
	c.run("touch", filepath.Join(c.made.data, "recovery.signal"))
}

func (c *Cluster) backup() string { return filepath.Join(c.made.dir, "backup") }

func (c *Cluster) run(name string, args ...string) {
	c.tb.Helper()
	if err := process.Run(c.made.dir, c.made.owner, name, args...); err != nil {
		c.tb.Fatal(err)
	}
}
