package follow

import (
	"context"
	"time"

	"gorm.io/gorm"

	"github.com/cacheplugin/cacheplugin/conj"
	"github.com/cacheplugin/cacheplugin/internal/catalog"
	"github.com/cacheplugin/cacheplugin/internal/commit"
	"github.com/cacheplugin/cacheplugin/internal/database"
	"github.com/cacheplugin/cacheplugin/internal/namespace"
	"github.com/cacheplugin/cacheplugin/internal/policy"
	"github.com/cacheplugin/cacheplugin/internal/report"
	"github.com/cacheplugin/cacheplugin/internal/store"
)

// Target is the cache that a follower tells of changes: that of a plugin, as it is
// installed on a handle of the database.
type Target struct {
	Dialect    conj.Dialect
	Pool       gorm.ConnPool // of the handle
	Database   *database.Database
	Namespaces *namespace.Set
	Policies   *policy.Policies
	Commit     *commit.Committer
	Report     *report.Reporter
	// Timeout bounds a try to tell Redis.
	Timeout time.Duration
}

// Server returns what is known of the handle's database.
func (t *Target) Server(ctx context.Context) (catalog.Server, error) {
	return t.Database.Catalog.Server(ctx, t.Pool)
}

// Table returns a table as the handle sees it; nil if there is none.
func (t *Target) Table(ctx context.Context, name conj.TableName) (*catalog.Table, error) {
	return t.Database.Catalog.Table(ctx, t.Pool, name, true)
}

// Prefix is the plugin's Config.Prefix.
func (t *Target) Prefix() string { return t.Namespaces.Home().Store.Namespace() }

// Collector collects the changes of a transaction. Whatever can't be told in detail
// becomes wider, so that its size is bounded.
type Collector struct {
	target  *Target
	journal *commit.Journal
}

func (t *Target) newCollector() *Collector {
	return &Collector{target: t, journal: t.Commit.NewJournal(t.Dialect)}
}

// space is where a table's results are; nil if nothing is cached of it.
func (c *Collector) space(ctx context.Context, table *catalog.Table) (*namespace.Namespace, error) {
	t := c.target
	if t.Policies.Forbid(table.Table) {
		return nil, nil
	}
	ns, _, err := t.Namespaces.Of(ctx, t.Database, t.Pool, table.Name)
	return ns, err
}

// Rows notes images of rows that were changed, the old and the new ones. images is
// called only if they make a difference.
func (c *Collector) Rows(ctx context.Context, table *catalog.Table, images func() []conj.Image) error {
	ns, err := c.space(ctx, table)
	if err != nil || ns == nil || c.journal.Whole(ns, table.ID) {
		return err
	}
	c.journal.AddRows(ns, table.Table, conj.Separate(images()...)...)
	return nil
}

// Reaches reports whether all of a table is to be dropped already, or nothing is cached
// of it, so that its rows make no difference any more.
func (c *Collector) Reaches(ctx context.Context, table *catalog.Table) bool {
	ns, err := c.space(ctx, table)
	return err == nil && (ns == nil || c.journal.Whole(ns, table.ID))
}

// Whole notes that any row of a table may have been changed.
func (c *Collector) Whole(ctx context.Context, table *catalog.Table) error {
	ns, err := c.space(ctx, table)
	if err != nil || ns == nil {
		return err
	}
	c.journal.AddTable(ns, table.ID)
	return nil
}

// WholeName is Whole of a table that the database has no more.
func (c *Collector) WholeName(ctx context.Context, name conj.TableName) error {
	t := c.target
	ns, _, err := t.Namespaces.Of(ctx, t.Database, t.Pool, name.Name)
	if err != nil {
		return err
	}
	c.journal.AddTable(ns, catalog.TableID(name))
	return nil
}

// Everything notes that any row of any table may have been changed.
func (c *Collector) Everything(ctx context.Context) {
	t := c.target
	c.journal.AddEverything(t.Namespaces.Reached(ctx, t.Database, t.Pool)...)
}

// Redefined notes that definitions have changed: what is known of them is forgotten.
func (c *Collector) Redefined() { c.target.Database.Redefined() }

// tell tells Redis of what was collected.
func (t *Target) tell(ctx context.Context, j *commit.Journal, seen store.Moment, age time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, t.Timeout)
	defer cancel()
	return t.Commit.Tell(ctx, j, seen, age)
}
