package rowset

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"sync"
)

// Rows wraps src, from [Tee] or [Decode], in the type that database/sql returns from a query. The rows own src and
// close it. They have no context: a reader of a tee is stopped by the context of the live rows, before a replay the
// caller checks his own. The error is not src's but one of this package, and is not to be expected; src is closed then.
func Rows(src driver.Rows) (*sql.Rows, error) {
	conn, err := session()
	if err != nil {
		_ = src.Close()
		return nil, err
	}
	return conn.QueryContext(handOver(&playing{Full: Full{src}, conn: conn}), "") //nolint:rowserrcheck // the reader's to check
}

// Row is as [Rows] for the type that database/sql returns from a query for a single row.
func Row(src driver.Rows) *sql.Row {
	conn, err := session()
	if err != nil {
		_ = src.Close()
		return RowError(err)
	}
	return conn.QueryRowContext(handOver(&playing{Full: Full{src}, conn: conn}), "")
}

// RowError returns a row whose Err and Scan return err, as it is: the row of a query that failed. err must not be nil.
func RowError(err error) *sql.Row {
	db := sql.OpenDB(connector{err})
	defer db.Close() //nolint:errcheck // nothing was opened
	return db.QueryRowContext(context.Background(), "")
}

// sessions are the connections to the in-memory "database". Each is pinned (an *sql.Conn), belongs to an sql.DB of its
// own, and outlives it: an open sql.DB keeps a goroutine for as long as it lives, which nobody could end for a package
// without a Close, and shares one mutex among all queries. A connection holds no resource at all, so one that is lost
// (rows that were never closed, a pool emptied by the garbage collector) leaves nothing behind. A pool so has no bound
// on open connections, that rows nested in rows could exhaust.
var sessions sync.Pool // of *sql.Conn

func session() (*sql.Conn, error) {
	if conn, ok := sessions.Get().(*sql.Conn); ok {
		return conn, nil
	}
	db := sql.OpenDB(connector{nil})
	conn, err := db.Conn(context.Background())
	if err != nil {
		return nil, fmt.Errorf("rowset: open an in-memory session: %w", err)
	}
	if err := db.Close(); err != nil {
		return nil, fmt.Errorf("rowset: open an in-memory session: %w", err)
	}
	return conn, nil
}

// release gives a connection back after a query that ended with err. database/sql closes a connection on ErrBadConn,
// whoever's error it may have been.
func release(conn *sql.Conn, err error) {
	if !errors.Is(err, driver.ErrBadConn) {
		sessions.Put(conn)
	}
}

// playing is rows being read through a session, which goes back to the pool when they are closed.
type playing struct {
	Full
	conn *sql.Conn
}

func (p *playing) Close() error {
	err := p.Full.Close()
	release(p.conn, err)
	return err
}

type handedOver struct{}

// handOver makes the context of the query that plays p. It is cut off from the request's: database/sql runs a goroutine
// for each query whose context can be cancelled.
func handOver(p *playing) context.Context {
	return context.WithValue(context.Background(), handedOver{}, p)
}

// connector and memory are the in-memory driver, which is registered under no name. A connector with an error gives no
// connections.
type connector struct{ err error }

func (c connector) Connect(context.Context) (driver.Conn, error) { return memory{}, c.err }
func (c connector) Driver() driver.Driver                        { return memory{} }

// memory is both the driver and its connection, which have no state.
type memory struct{}

// QueryContext implements driver.QueryerContext.
func (memory) QueryContext(ctx context.Context, _ string, _ []driver.NamedValue) (driver.Rows, error) {
	if p, ok := ctx.Value(handedOver{}).(*playing); ok {
		return p, nil
	}
	return nil, errPlaysOnly
}

var errPlaysOnly = errors.New("rowset: the in-memory driver only plays rows handed over")

func (memory) Open(string) (driver.Conn, error)    { return nil, errPlaysOnly }
func (memory) Prepare(string) (driver.Stmt, error) { return nil, errPlaysOnly }
func (memory) Begin() (driver.Tx, error)           { return nil, errPlaysOnly }
func (memory) Close() error                        { return nil }
