package txn

import (
	"context"
	"database/sql"
	"reflect"
	"sync"
	"time"

	"github.com/cacheplugin/cacheplugin/internal/background"
)

// cover is a pool over one that GORM has opened, and what keeps the two together.
type cover struct {
	pools     *Pools
	outer     *sql.DB
	connector *Connector
	source    *under
	mu        sync.Mutex       // of limit
	limit     int              // that was set on the pool below
	group     background.Group // of run: it lives as long as the pools do
}

// lookAfter is how often a cover looks what was done to the pool below.
const lookAfter = 250 * time.Millisecond

// cover opens a pool over another one.
func (p *Pools) cover(inner *sql.DB, o *Options) *sql.DB {
	c := &cover{pools: p, source: &under{inner: inner}}
	c.connector = &Connector{source: c.source}
	c.outer = sql.OpenDB(c.connector)
	c.source.onClose = c.forget
	c.source.onOpen = c.adjust
	c.inherit()
	c.adjust()
	_ = c.connector.watch(c.outer, o) // a new one has no owner
	p.connectors.Store(c.outer, c.connector)
	p.over.Store(inner, c.outer)
	c.group.Go(c.run)
	return c.outer
}

// inherit takes over the settings of the pool below. database/sql doesn't tell them;
// where a later version of it keeps them elsewhere, its defaults hold.
func (c *cover) inherit() {
	v := reflect.ValueOf(c.source.inner).Elem()
	if idle := v.FieldByName("maxIdleCount"); idle.IsValid() && idle.CanInt() && idle.Int() != 0 {
		c.outer.SetMaxIdleConns(int(idle.Int()))
	}
	if life := v.FieldByName("maxLifetime"); life.IsValid() && life.CanInt() {
		c.outer.SetConnMaxLifetime(time.Duration(life.Int()))
	}
	if idle := v.FieldByName("maxIdleTime"); idle.IsValid() && idle.CanInt() {
		c.outer.SetConnMaxIdleTime(time.Duration(idle.Int()))
	}
}

// adjust passes a limit that is set on the pool below on to the one above, and
// leaves as much room below: whoever still has the pool below would wait for
// connections that are idle above.
func (c *cover) adjust() {
	limit := c.source.inner.Stats().MaxOpenConnections
	c.mu.Lock()
	defer c.mu.Unlock()
	if limit == c.limit {
		return
	}
	c.outer.SetMaxOpenConns(limit)
	c.limit = 2 * limit
	c.source.inner.SetMaxOpenConns(c.limit)
}

// run looks after the pools until one of them is closed.
func (c *cover) run(ctx context.Context) {
	tick := time.NewTicker(lookAfter)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			if c.source.ended() {
				// The program has closed the one below. Not from here: closing
				// waits for this goroutine.
				time.AfterFunc(0, func() { _ = c.outer.Close() })
				return
			}
			c.adjust()
		}
	}
}

// forget is called when the pool above is closed.
func (c *cover) forget() {
	_ = c.group.Close(context.Background()) // it ends at once
	c.pools.connectors.Delete(c.outer)
	c.pools.over.Delete(c.source.inner)
}
