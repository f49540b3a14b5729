package commit

import (
	"context"
	"time"

	"github.com/cacheplugin/cacheplugin/internal/change"
	"github.com/cacheplugin/cacheplugin/internal/namespace"
	"github.com/cacheplugin/cacheplugin/internal/report"
	"github.com/cacheplugin/cacheplugin/internal/store"
)

// Tell invalidates what a journal has collected out of a database's log, once. The
// changes could be seen by all who read the database from the moment seen on, so that
// what was leased later stays; 0 if that isn't known. age is how long ago they were
// committed. After an error, which is the caller's to report, some of it may have been
// done, and the journal is as it was.
func (c *Committer) Tell(ctx context.Context, j *Journal, seen store.Moment, age time.Duration) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	for ns, list := range j.owedLocked() {
		if err := c.drop(ctx, ns, list, delivery{event: report.Follow, seen: seen, age: age}); err != nil {
			return err
		}
	}
	return nil
}

// Whole reports whether a journal reaches all of a table already, so that nothing that
// is added of its rows makes a difference.
func (j *Journal) Whole(ns *namespace.Namespace, tableID string) bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, key := range []changeKey{{ns, tableID}, {namespace: ns}} {
		if c := j.changes[key]; c != nil && c.extent >= change.Table {
			return true
		}
	}
	return false
}

// Reach says how far a journal reaches: to how many tables by their rows, to how many
// as a whole, and to everything in how many namespaces.
func (j *Journal) Reach() (rows, whole, everything int) {
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, c := range j.changes {
		switch c.extent {
		case change.Nothing:
		case change.Rows:
			rows++
		case change.Table:
			whole++
		case change.Everything:
			everything++
		}
	}
	return rows, whole, everything
}
