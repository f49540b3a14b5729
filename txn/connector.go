package txn

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"io"
	"sync"
	"sync/atomic"
)

// Connector opens connections through another one, and sees what is sent through
// them once [Pools.Install] has found it under a handle of GORM. Until then, and
// without the plugin, they do as the driver's own.
type Connector struct {
	source  source
	options atomic.Pointer[Options]
	db      atomic.Pointer[sql.DB] // the pool over it, once known

	// unsettled counts the connections of which a statement that comes to them
	// through the pool may be part of somebody's transaction.
	unsettled atomic.Int32
}

// source is where connections come from.
type source interface {
	open(ctx context.Context) (c driver.Conn, closeIt func() error, err error)
	Driver() driver.Driver
	// ended reports whether the source has been closed by somebody else.
	ended() bool
	Close() error
}

var (
	_ driver.Connector = (*Connector)(nil)
	_ io.Closer        = (*Connector)(nil)
)

// NewConnector returns a Connector over a driver's.
func NewConnector(c driver.Connector) *Connector { return &Connector{source: drivers{c}} }

// Connect implements driver.Connector. The connections are of type *Conn.
func (c *Connector) Connect(ctx context.Context) (driver.Conn, error) {
	inner, closeIt, err := c.source.open(ctx)
	if err != nil {
		return nil, err
	}
	return &Conn{inner: inner, close: closeIt, connector: c, options: c.options.Load()}, nil
}

// Driver returns the driver's own.
func (c *Connector) Driver() driver.Driver { return c.source.Driver() }

// Close implements io.Closer, for sql.DB.Close.
func (c *Connector) Close() error { return c.source.Close() }

// DB returns the pool over the connector; nil until Install has found it.
func (c *Connector) DB() *sql.DB { return c.db.Load() }

func (c *Connector) ended() bool { return c.source.ended() }

// watch has what goes through the connector watched.
func (c *Connector) watch(db *sql.DB, o *Options) error {
	if !c.options.CompareAndSwap(nil, o) && c.options.Load().Owner != o.Owner {
		return ErrOwner
	}
	c.db.Store(db)
	return nil
}

// drivers is a driver's connector as a source.
type drivers struct{ driver.Connector }

func (d drivers) open(ctx context.Context) (driver.Conn, func() error, error) {
	c, err := d.Connect(ctx)
	if err != nil {
		return nil, nil, err
	}
	return c, c.Close, nil
}

func (drivers) ended() bool { return false }

func (d drivers) Close() error {
	if c, ok := d.Connector.(io.Closer); ok {
		return c.Close()
	}
	return nil
}

// under takes its connections from a pool that is open already, and holds each as
// long as the pool above has it. Nobody else uses a connection that is held, which
// is what sql.Conn.Raw asks of those who keep the driver's connection.
type under struct {
	inner   *sql.DB
	onOpen  func()
	onClose func()
	closing sync.Once
}

func (u *under) open(ctx context.Context) (driver.Conn, func() error, error) {
	u.onOpen()
	held, err := u.inner.Conn(ctx)
	if err != nil {
		return nil, nil, err
	}
	inner, err := driverConn(held)
	if err != nil {
		return nil, nil, both(err, held.Close())
	}
	return inner, func() error {
		// Closed for good: the pool above is the one that keeps connections.
		if err := held.Raw(func(any) error { return driver.ErrBadConn }); !errors.Is(err, driver.ErrBadConn) {
			return both(err, held.Close())
		}
		return nil
	}, nil
}

// driverConn returns the driver's connection behind one of database/sql's.
func driverConn(c *sql.Conn) (inner driver.Conn, err error) {
	err = c.Raw(func(raw any) error {
		var ok bool
		if inner, ok = raw.(driver.Conn); !ok {
			return errors.New("txn: a connection without a driver's connection")
		}
		return nil
	})
	return inner, err
}

func (u *under) Driver() driver.Driver { return u.inner.Driver() }

// cancelled is a context that has ended: a pool asked under it says at once whether
// it is closed.
var cancelled = func() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}()

func (u *under) ended() bool {
	c, err := u.inner.Conn(cancelled)
	if err == nil {
		_ = c.Close()
		return false
	}
	return !errors.Is(err, context.Canceled)
}

func (u *under) Close() error {
	u.closing.Do(u.onClose)
	return u.inner.Close()
}
