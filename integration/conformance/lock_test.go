package conformance

import (
	"context"
	"database/sql"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"gorm.io/gorm"

	"github.com/cacheplugin/cacheplugin"
	"github.com/cacheplugin/cacheplugin/cache"
	"github.com/cacheplugin/cacheplugin/integration/internal/fixture"
	"github.com/cacheplugin/cacheplugin/internal/testmodel"
)

// gate holds the queries of contexts that carry it, between the plugin and the
// database: the computation of a result.
type gate struct {
	entered chan struct{}
	release chan error
}

type gateKey struct{}

func newGate() *gate { return &gate{entered: make(chan struct{}), release: make(chan error)} }

func (g *gate) through(ctx context.Context) context.Context {
	return context.WithValue(ctx, gateKey{}, g)
}

// installGates lets a handle's queries be held.
func installGates(t *testing.T, db *gorm.DB) {
	t.Helper()
	require.NoError(t, db.Callback().Query().Before("gorm:query").Register("test:gate", func(db *gorm.DB) {
		// All queries pass a gate, held or not: it hides whether the pool
		// prepares statements, which is part of the key.
		g, _ := db.Statement.Context.Value(gateKey{}).(*gate)
		db.Statement.ConnPool = &gatePool{db.Statement.ConnPool, g}
	}))
}

type gatePool struct {
	gorm.ConnPool
	gate *gate
}

// Unwrap returns the pool underneath.
func (p *gatePool) Unwrap() gorm.ConnPool { return p.ConnPool }

func (p *gatePool) QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error) {
	if p.gate == nil || !strings.Contains(query, "tag = ") { // the plugin reads the catalog the same way
		return p.ConnPool.QueryContext(ctx, query, args...)
	}
	p.gate.entered <- struct{}{}
	if err := <-p.gate.release; err != nil {
		return nil, err
	}
	return p.ConnPool.QueryContext(ctx, query, args...)
}

// commands counts what a Redis client sends. It is a limiter that limits
// nothing: hooks are not called for a client's copies with other timeouts.
type commands struct{ count atomic.Int64 }

// Allow implements redis.Limiter.
func (c *commands) Allow() error {
	c.count.Add(1)
	return nil
}

// ReportResult implements redis.Limiter.
func (*commands) ReportResult(error) {}

func TestConformanceLocks(t *testing.T) {
	config := cacheplugin.Config{LockWait: testTimeout}
	conform(t, fixture.Options{Config: config}, func(t *testing.T, c *seeded) {
		installGates(t, c.DB)
		locked := func(tag int) query {
			return func(db *gorm.DB) (any, error) {
				return find[testmodel.Post](where("tag = ?", tag))(db.Scopes(cache.Cache(cache.Lock())))
			}
		}
		type result struct {
			value any
			err   error
		}
		run := func(ctx context.Context, q query) <-chan result {
			done := make(chan result, 1)
			go func() {
				value, err := q(c.DB.WithContext(ctx))
				done <- result{value, err}
			}()
			return done
		}
		// waits returns when the second query has asked Redis a few times.
		waits := func(t *testing.T) {
			t.Helper()
			from := c.sent.count.Load()
			require.Eventually(t, func() bool { return c.sent.count.Load() >= from+3 }, time.Minute, time.Millisecond)
		}
		outcomes := func() (hits, misses int) {
			for _, e := range c.Events.Take() {
				switch e.Kind {
				case cacheplugin.EventHit:
					hits++
				case cacheplugin.EventMiss:
					misses++
				}
			}
			return hits, misses
		}
		t.Run("LCK-01 one computes and both get its result", func(t *testing.T) {
			g := newGate()
			c.Events.Take()
			holder := run(g.through(soon(t)), locked(1))
			<-g.entered
			waiter := run(soon(t), locked(1))
			waits(t)
			g.release <- nil
			first, second := <-holder, <-waiter
			require.NoError(t, first.err)
			require.NoError(t, second.err)
			require.Equal(t, first.value, second.value)
			hits, misses := outcomes()
			require.Equal(t, 1, hits)
			require.Equal(t, 1, misses)
			c.kept(t, locked(1))
		})
		t.Run("LCK-02 the holder fails and the other goes on", func(t *testing.T) {
			g := newGate()
			holder := run(g.through(soon(t)), locked(2))
			<-g.entered
			waiter := run(soon(t), locked(2))
			waits(t)
			failure := errors.New("connection lost")
			g.release <- failure
			require.ErrorIs(t, (<-holder).err, failure)
			require.NoError(t, (<-waiter).err)
			c.kept(t, locked(2))
		})
		t.Run("LCK-01 an invalidation frees who waits, and the late result is refused", func(t *testing.T) {
			g := newGate()
			holder := run(g.through(soon(t)), locked(3))
			<-g.entered
			waiter := run(soon(t), locked(3))
			waits(t)
			require.NoError(t, c.DB.Create(&testmodel.Post{CategoryID: 1, Tag: 3, Title: "came in between"}).Error)
			require.NoError(t, (<-waiter).err)
			g.release <- nil
			require.NoError(t, (<-holder).err)
			c.kept(t, locked(3))
		})
		t.Run("without Lock nobody waits", func(t *testing.T) {
			g := newGate()
			plain := find[testmodel.Post](where("tag = ?", 4))
			holder := run(g.through(soon(t)), plain)
			<-g.entered
			require.Equal(t, "miss", c.reads(t, plain))
			g.release <- nil
			require.NoError(t, (<-holder).err)
			c.kept(t, plain)
		})
		t.Run("a waiter whose context ends", func(t *testing.T) {
			g := newGate()
			holder := run(g.through(soon(t)), locked(5))
			<-g.entered
			ctx, cancel := context.WithCancel(soon(t))
			waiter := run(ctx, locked(5))
			waits(t)
			cancel()
			require.ErrorIs(t, (<-waiter).err, context.Canceled)
			g.release <- nil
			require.NoError(t, (<-holder).err)
		})
		t.Run("LCK-03 a hit costs one command", func(t *testing.T) {
			c.fill(t, locked(6))
			from := c.sent.count.Load()
			_, err := locked(6)(c.DB)
			require.NoError(t, err)
			require.EqualValues(t, 1, c.sent.count.Load()-from)
		})
	})
}

func TestConformanceLocksOfTheDead(t *testing.T) {
	// A lease this short may run out under the computation on a busy machine,
	// which costs another computation and no more.
	config := cacheplugin.Config{LockWait: testTimeout, LeaseTTL: 200 * time.Millisecond}
	conform(t, fixture.Options{Config: config}, func(t *testing.T, c *seeded) {
		installGates(t, c.DB)
		locked := func(db *gorm.DB) (any, error) {
			return find[testmodel.Post](where("tag = ?", 1))(db.Scopes(cache.Cache(cache.Lock())))
		}
		t.Run("LCK-02 the holder dies and the other goes on with the lease's end", func(t *testing.T) {
			g := newGate()
			done := make(chan error, 1)
			go func() {
				_, err := locked(c.DB.WithContext(g.through(soon(t))))
				done <- err
			}()
			<-g.entered
			_, err := locked(c.DB.WithContext(soon(t)))
			require.NoError(t, err)
			require.NoError(t, c.DB.Create(&testmodel.Post{CategoryID: 1, Tag: 1}).Error)
			c.fresh(t, locked)
			g.release <- nil
			require.NoError(t, <-done)
			c.fresh(t, locked)
		})
	})
}

func TestConformanceLockWait(t *testing.T) {
	config := cacheplugin.Config{LockWait: time.Millisecond}
	conform(t, fixture.Options{Config: config}, func(t *testing.T, c *seeded) {
		installGates(t, c.DB)
		g := newGate()
		locked := func(db *gorm.DB) (any, error) {
			return find[testmodel.Post](where("tag = ?", 1))(db.Scopes(cache.Cache(cache.Lock())))
		}
		done := make(chan error, 1)
		go func() {
			_, err := locked(c.DB.WithContext(g.through(soon(t))))
			done <- err
		}()
		<-g.entered
		require.Equal(t, "miss", c.reads(t, locked), "it asks the database itself")
		g.release <- nil
		require.NoError(t, <-done)
		c.kept(t, locked)
	})
}
