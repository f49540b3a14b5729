package txn

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"reflect"
	"strings"
	"sync"
	"sync/atomic"
)

// fake is a driver whose connections implement what they are told to, and which
// remembers what it was asked. What a text makes it do is told by its words:
//
//	fail    is an error
//	bad     is driver.ErrBadConn, as often as bad says
//	two     has two parameters
//	sets    gives two result sets
//	late    gives a row, then an error
type fake struct {
	kind string
	bad  atomic.Int32

	mu    sync.Mutex
	calls []string
	open  int // connections
	using map[*fakeConn]bool
	twice bool // a connection was used by two at a time
}

var errFake = errors.New("fake: refused")

func (f *fake) Connect(context.Context) (driver.Conn, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.open++
	c := &fakeConn{driver: f}
	switch f.kind {
	case "nothing":
		return c, nil
	case "legacy":
		return &legacyConn{c}, nil
	case "execs":
		return &struct {
			*fakeConn
			*execs
		}{c, &execs{c}}, nil
	case "queries":
		return &struct {
			*fakeConn
			*queries
		}{c, &queries{c}}, nil
	case "converts":
		c.columns = true
		return c, nil
	case "sends and converts":
		c.columns = true
		return &sending{c, execs{c}, queries{c}}, nil
	case "skips":
		c.skips = true
		return &checking{sending{c, execs{c}, queries{c}}}, nil
	case "prepares and checks":
		return &checkingAlone{c}, nil
	case "everything":
		c.full = true
		return &everything{checking{sending{c, execs{c}, queries{c}}}}, nil
	}
	return nil, fmt.Errorf("fake: no kind %q", f.kind)
}

// kinds are those of fake.
var kinds = []string{"nothing", "legacy", "execs", "queries", "converts", "sends and converts", "skips", "prepares and checks", "everything"}

func (f *fake) Driver() driver.Driver { return f }

func (f *fake) Open(string) (driver.Conn, error) { return f.Connect(context.Background()) }

func (f *fake) say(format string, args ...any) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.calls = append(f.calls, fmt.Sprintf(format, args...))
}

// said returns what was asked since the last call.
func (f *fake) said() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	calls := f.calls
	f.calls = nil
	return calls
}

func (f *fake) connections() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.open
}

// outcome is what a text makes of a statement.
func (f *fake) outcome(query string) error {
	switch {
	case strings.Contains(query, "fail"):
		return errFake
	case strings.Contains(query, "bad") && f.bad.Add(-1) >= 0:
		return driver.ErrBadConn
	}
	return nil
}

// enter notes that a connection is in use, until what it returns is called.
func (f *fake) enter(c *fakeConn) func() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.using == nil {
		f.using = map[*fakeConn]bool{}
	}
	f.twice = f.twice || f.using[c]
	f.using[c] = true
	return func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.using[c] = false
	}
}

// values describes arguments with their types.
func values[T any](args []T) string {
	var list []string
	for _, a := range args {
		if n, ok := any(a).(driver.NamedValue); ok {
			list = append(list, fmt.Sprintf("%d %q %T %v", n.Ordinal, n.Name, n.Value, n.Value))
			continue
		}
		list = append(list, fmt.Sprintf("%T %v", a, a))
	}
	return strings.Join(list, ", ")
}

// first returns the first error.
func first(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// fakeConn has none of the optional interfaces.
type fakeConn struct {
	driver  *fake
	full    bool // its statements and rows have everything
	columns bool // its statements convert by column
	skips   bool // it sends no texts with arguments
}

func (c *fakeConn) Prepare(query string) (driver.Stmt, error) {
	defer c.driver.enter(c)()
	c.driver.say("prepare %s", query)
	if strings.Contains(query, "unreadable") {
		return nil, errFake
	}
	s := &fakeStmt{c, query}
	switch {
	case c.full:
		return &fullStmt{s}, nil
	case c.columns:
		return &columnStmt{s}, nil
	}
	return s, nil
}

func (c *fakeConn) Close() error {
	c.driver.mu.Lock()
	defer c.driver.mu.Unlock()
	c.driver.open--
	return nil
}

func (c *fakeConn) Begin() (driver.Tx, error) {
	c.driver.say("begin")
	return fakeTx{c}, nil
}

type fakeTx struct{ conn *fakeConn }

func (t fakeTx) Commit() error   { t.conn.driver.say("commit"); return nil }
func (t fakeTx) Rollback() error { t.conn.driver.say("rollback"); return nil }

// legacyConn sends texts as drivers did before there were contexts.
type legacyConn struct{ *fakeConn }

func (c *legacyConn) Exec(query string, args []driver.Value) (driver.Result, error) {
	c.driver.say("exec %s: %s", query, values(args))
	return driver.RowsAffected(len(args)), c.driver.outcome(query)
}

func (c *legacyConn) Query(query string, args []driver.Value) (driver.Rows, error) {
	c.driver.say("query %s: %s", query, values(args))
	return c.rows(query), c.driver.outcome(query)
}

type execs struct{ conn *fakeConn }

func (e *execs) ExecContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Result, error) {
	defer e.conn.driver.enter(e.conn)()
	if e.conn.skips && len(args) > 0 {
		return nil, driver.ErrSkip
	}
	e.conn.driver.say("exec %s: %s", query, values(args))
	return driver.RowsAffected(len(args)), first(ctx.Err(), e.conn.driver.outcome(query))
}

type queries struct{ conn *fakeConn }

func (q *queries) QueryContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Rows, error) {
	defer q.conn.driver.enter(q.conn)()
	if q.conn.skips && len(args) > 0 {
		return nil, driver.ErrSkip
	}
	q.conn.driver.say("query %s: %s", query, values(args))
	if err := first(ctx.Err(), q.conn.driver.outcome(query)); err != nil {
		return nil, err
	}
	return q.conn.rows(query), nil
}

// sending sends texts, with contexts.
type sending struct {
	*fakeConn
	execs
	queries
}

// checking converts arguments of some types by itself.
type checking struct{ sending }

func (c *checking) CheckNamedValue(v *driver.NamedValue) error { return check(v) }

type checkingAlone struct{ *fakeConn }

func (c *checkingAlone) CheckNamedValue(v *driver.NamedValue) error { return check(v) }

// An option is none of the arguments; a celsius is known to checkers and columns
// only; of a fahrenheit they return an error.
type (
	option     struct{}
	celsius    struct{ degrees float64 }
	fahrenheit struct{}
)

func check(v *driver.NamedValue) error {
	switch value := v.Value.(type) {
	case option:
		return driver.ErrRemoveArgument
	case celsius:
		v.Value = value.degrees
		return nil
	case fahrenheit:
		return errFake
	}
	return driver.ErrSkip
}

// everything has all of the optional interfaces.
type everything struct{ checking }

func (c *everything) PrepareContext(ctx context.Context, query string) (driver.Stmt, error) {
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	return c.Prepare(query)
}

func (c *everything) BeginTx(ctx context.Context, o driver.TxOptions) (driver.Tx, error) {
	c.driver.say("begin %+v", o)
	return fakeTx{c.fakeConn}, ctx.Err()
}

func (c *everything) Ping(ctx context.Context) error {
	c.driver.say("ping")
	return first(ctx.Err(), c.driver.outcome("bad"))
}

func (c *everything) ResetSession(context.Context) error {
	c.driver.say("reset")
	return nil
}

func (c *everything) IsValid() bool {
	c.driver.say("is valid")
	return true
}

// fakeStmt has none of the optional interfaces.
type fakeStmt struct {
	conn  *fakeConn
	query string
}

func (s *fakeStmt) Close() error {
	s.conn.driver.say("close %s", s.query)
	return nil
}

func (s *fakeStmt) NumInput() int {
	switch {
	case strings.Contains(s.query, "two"):
		return 2
	case strings.Contains(s.query, "any"):
		return -1
	}
	return strings.Count(s.query, "?")
}

func (s *fakeStmt) Exec(args []driver.Value) (driver.Result, error) {
	defer s.conn.driver.enter(s.conn)()
	s.conn.driver.say("exec prepared %s: %s", s.query, values(args))
	return driver.RowsAffected(len(args)), s.conn.driver.outcome(s.query)
}

func (s *fakeStmt) Query(args []driver.Value) (driver.Rows, error) {
	defer s.conn.driver.enter(s.conn)()
	s.conn.driver.say("query prepared %s: %s", s.query, values(args))
	if err := s.conn.driver.outcome(s.query); err != nil {
		return nil, err
	}
	return s.conn.rows(s.query), nil
}

// columnStmt converts arguments by column.
type columnStmt struct{ *fakeStmt }

func (s *columnStmt) ColumnConverter(i int) driver.ValueConverter { return columnConverter(i) }

type columnConverter int

func (c columnConverter) ConvertValue(v any) (driver.Value, error) {
	switch value := v.(type) {
	case celsius:
		return fmt.Sprintf("%v in column %d", value.degrees, int(c)), nil
	case fahrenheit:
		return nil, errFake
	case option:
		return v, nil // no driver.Value
	case driver.Valuer:
		panic("database/sql asks a Valuer before the column")
	}
	return driver.DefaultParameterConverter.ConvertValue(v)
}

// fullStmt has all of the optional interfaces.
type fullStmt struct{ *fakeStmt }

func (s *fullStmt) ExecContext(ctx context.Context, args []driver.NamedValue) (driver.Result, error) {
	s.conn.driver.say("exec prepared %s: %s", s.query, values(args))
	return driver.RowsAffected(len(args)), first(ctx.Err(), s.conn.driver.outcome(s.query))
}

func (s *fullStmt) QueryContext(ctx context.Context, args []driver.NamedValue) (driver.Rows, error) {
	s.conn.driver.say("query prepared %s: %s", s.query, values(args))
	if err := first(ctx.Err(), s.conn.driver.outcome(s.query)); err != nil {
		return nil, err
	}
	return s.conn.rows(s.query), nil
}

func (s *fullStmt) CheckNamedValue(v *driver.NamedValue) error { return check(v) }

func (c *fakeConn) rows(query string) driver.Rows {
	r := &fakeRows{conn: c, query: query, left: 2}
	if c.full {
		return &fullRows{r, 1}
	}
	return r
}

// fakeRows has none of the optional interfaces.
type fakeRows struct {
	conn  *fakeConn
	query string
	left  int
}

func (r *fakeRows) Columns() []string { return []string{"a", "b"} }

func (r *fakeRows) Close() error {
	r.conn.driver.say("close the rows of %s", r.query)
	return nil
}

func (r *fakeRows) Next(dest []driver.Value) error {
	switch {
	case strings.Contains(r.query, "late") && r.left == 1:
		return errFake
	case r.left == 0:
		return io.EOF
	}
	dest[0], dest[1] = int64(r.left), []byte(r.query)
	r.left--
	return nil
}

// fullRows has all of the optional interfaces.
type fullRows struct {
	*fakeRows
	sets int
}

func (r *fullRows) HasNextResultSet() bool { return strings.Contains(r.query, "sets") && r.sets > 0 }

func (r *fullRows) NextResultSet() error {
	if !r.HasNextResultSet() {
		return io.EOF
	}
	r.sets--
	r.left = 1
	return nil
}

func (r *fullRows) ColumnTypeScanType(i int) reflect.Type {
	return []reflect.Type{reflect.TypeFor[int64](), reflect.TypeFor[[]byte]()}[i]
}
func (r *fullRows) ColumnTypeDatabaseTypeName(i int) string             { return []string{"NUMBER", "BLOB"}[i] }
func (r *fullRows) ColumnTypeLength(i int) (int64, bool)                { return int64(i), i == 1 }
func (r *fullRows) ColumnTypeNullable(i int) (nullable, ok bool)        { return i == 0, true }
func (r *fullRows) ColumnTypePrecisionScale(i int) (int64, int64, bool) { return 5, 2, i == 0 }
