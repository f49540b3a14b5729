package cost

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"sync"
	"testing"

	"gorm.io/gorm"

	"github.com/cacheplugin/cacheplugin/integration/internal/fixture"
)

// statements is a GORM plugin that stands before a handle's pool and remembers
// what is sent to the database.
type statements struct {
	t     testing.TB
	mu    sync.Mutex
	texts []string
}

func (s *statements) Name() string { return "statements" }

func (s *statements) Initialize(db *gorm.DB) error {
	opened, err := db.DB()
	if err != nil {
		return err
	}
	noting := sql.OpenDB(&notingConnector{opened, s})
	s.t.Cleanup(func() { _ = noting.Close() })
	db.ConnPool = noting
	db.Statement.ConnPool = db.ConnPool
	return nil
}

// take returns the texts since the last call.
func (s *statements) take() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	texts := s.texts
	s.texts = nil
	return texts
}

func (s *statements) note(text string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.texts = append(s.texts, text)
}

// notingConnector gives the connections of a pool, and notes what is sent on them.
type notingConnector struct {
	opened *sql.DB
	by     *statements
}

func (c *notingConnector) Driver() driver.Driver { return c.opened.Driver() }

// Close implements io.Closer, for sql.DB.Close.
func (c *notingConnector) Close() error { return c.opened.Close() }

func (c *notingConnector) Connect(ctx context.Context) (driver.Conn, error) {
	held, err := c.opened.Conn(ctx)
	if err != nil {
		return nil, err
	}
	n := &notingConn{held: held, by: c.by}
	return n, held.Raw(func(raw any) error {
		n.connection = raw.(connection)
		return nil
	})
}

// connection is what all drivers of the tests have.
type connection interface {
	driver.Conn
	driver.ConnBeginTx
	driver.ConnPrepareContext
	driver.ExecerContext
	driver.QueryerContext
}

type notingConn struct {
	connection
	held *sql.Conn
	by   *statements
}

func (n *notingConn) Close() error { return n.held.Close() }

// note notes a text, unless the driver wants it prepared.
func (n *notingConn) note(text string, err error) {
	if err != driver.ErrSkip {
		n.by.note(text)
	}
}

func (n *notingConn) ExecContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Result, error) {
	result, err := n.connection.ExecContext(ctx, query, args)
	n.note(query, err)
	return result, err
}

func (n *notingConn) QueryContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Rows, error) {
	rows, err := n.connection.QueryContext(ctx, query, args)
	n.note(query, err)
	return rows, err
}

func (n *notingConn) PrepareContext(ctx context.Context, query string) (driver.Stmt, error) {
	n.by.note(query)
	return n.connection.PrepareContext(ctx, query)
}

func (n *notingConn) CheckNamedValue(v *driver.NamedValue) error {
	if c, ok := n.connection.(driver.NamedValueChecker); ok {
		return c.CheckNamedValue(v)
	}
	return driver.ErrSkip
}

// watched are options with a plugin that notes what is sent.
func watched(t testing.TB, o fixture.Options) (fixture.Options, *statements) {
	s := &statements{t: t}
	o.Gorm.Plugins = map[string]gorm.Plugin{"statements": s}
	return o, s
}
