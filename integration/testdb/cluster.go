package testdb

import (
	"path/filepath"
	"testing"

	"github.com/cacheplugin/cacheplugin/internal/testenv"
	"github.com/cacheplugin/cacheplugin/internal/testenv/process"
)

// Cluster is a PostgreSQL server of a test's own, of which a backup can be made
// and restored.
type Cluster struct {
	*Own
	made *madePostgres
}

// NewCluster makes and starts a cluster, which goes with the test. It skips the
// test where there is no PostgreSQL.
func NewCluster(tb testing.TB) *Cluster {
	tb.Helper()
	// A recovery, which Restore asks for, finds nothing in an archive.
	own := NewOwn(tb, testenv.Postgres, "wal_level=replica", "restore_command=false")
	return &Cluster{own, own.made.(*madePostgres)}
}

// DSN is that of the cluster's database.
func (c *Cluster) DSN() string { return c.running.admin }

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
