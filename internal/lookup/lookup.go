// Package lookup is the way of a read: it decides whether a query may be
// answered from the cache, looks its result up, and on a miss has the database
// answer and stores what comes back.
//
// Query holds what is known of a query before anything is asked. Package conj
// tells which rows it depends on, package database who answers it, package
// policy what the profiles permit: together they make a decision, which Explain
// shows as well. A read carries the decision out: it asks the near cache and
// the store, waits for others, fills and stores. Values that programs compute
// take the same way (Compute).
package lookup

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"gorm.io/gorm"
	"gorm.io/gorm/schema"

	"github.com/cacheplugin/cacheplugin/conj"
	"github.com/cacheplugin/cacheplugin/internal/background"
	"github.com/cacheplugin/cacheplugin/internal/database"
	"github.com/cacheplugin/cacheplugin/internal/namespace"
	"github.com/cacheplugin/cacheplugin/internal/near"
	"github.com/cacheplugin/cacheplugin/internal/policy"
	"github.com/cacheplugin/cacheplugin/internal/report"
	"github.com/cacheplugin/cacheplugin/internal/rowset"
	"github.com/cacheplugin/cacheplugin/internal/shapes"
	"github.com/cacheplugin/cacheplugin/internal/store"
)

// Options configure a Cache. The root package documents the fields that it
// takes over from its Config.
type Options struct {
	Namespaces *namespace.Set
	Policies   *policy.Policies
	Report     *report.Reporter
	Shapes     *shapes.Set

	// Follow, if there is a near cache, has the process told of what others
	// invalidate in a namespace.
	Follow func(*store.Store, *near.Space)
	// OnSource, if there is an outbox, is told of each source that is read.
	OnSource func(d *database.Database, pool gorm.ConnPool)
	// OnTables, if set, is told once for each handle which tables its database has.
	OnTables func(ctx context.Context, naming schema.Namer, tables []string)
	// Unmatched is the policy of tables that no profile matches.
	Unmatched policy.Policy

	ReturnErrors bool // OnReadError: Return
	LockWait     time.Duration
	MaxRows      int
	MaxBytes     int
	Spread       bool
	ReplicaLag   time.Duration
	StoreQueue   int
	ShadowReads  float64
	ShadowDelay  time.Duration
}

// Cache answers the queries of all handles of a plugin. It is safe for
// concurrent use, and must be closed.
type Cache struct {
	Options

	layouts rowset.Layouts
	flights *flights
	queue   *storeQueue
	checks  *checks // nil without ShadowReads
	group   background.Group
}

// New returns a Cache.
func New(o Options) *Cache {
	c := &Cache{Options: o, flights: newFlights()}
	c.queue = newStoreQueue(o, &c.group, c.storeAll)
	if o.ShadowReads > 0 {
		c.checks = newChecks(o)
	}
	return c
}

// Close stores what is queued and ends what runs in the background, as long as
// the context allows.
func (c *Cache) Close(ctx context.Context) error {
	var err error
	if c.checks != nil {
		err = c.checks.group.Close(ctx)
	}
	return errors.Join(err, c.queue.close(ctx))
}

// Handle is the Cache on one handle of GORM.
type Handle struct {
	*Cache
	dialect    conj.Dialect
	databases  *database.Set
	keyBuffers sync.Pool // of *[]byte
	tablesTold atomic.Bool
}

// On returns the Cache on a handle whose databases are given.
func (c *Cache) On(dialect conj.Dialect, databases *database.Set) *Handle {
	return &Handle{Cache: c, dialect: dialect, databases: databases}
}
