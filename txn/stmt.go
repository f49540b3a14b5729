package txn

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
)

// Stmt stands before a prepared statement of a driver, as Conn does before a
// connection.
type Stmt struct {
	inner  driver.Stmt
	conn   *Conn
	query  string
	traits *traits // of the query; nil until somebody watches
}

var _ interface {
	driver.Stmt
	driver.StmtExecContext
	driver.StmtQueryContext
	driver.NamedValueChecker
} = (*Stmt)(nil)

// convertingStmt is a Stmt whose driver converts arguments by column, which
// database/sql treats otherwise than one that does not.
type convertingStmt struct{ *Stmt }

// ColumnConverter implements driver.ColumnConverter.
func (s *convertingStmt) ColumnConverter(i int) driver.ValueConverter {
	return s.inner.(driver.ColumnConverter).ColumnConverter(i) //nolint:staticcheck,forcetypeassert // why there is this type
}

// Unwrap returns the driver's own statement.
func (s *Stmt) Unwrap() driver.Stmt { return s.inner }

// Close implements driver.Stmt.
func (s *Stmt) Close() error { return s.inner.Close() }

// NumInput implements driver.Stmt.
func (s *Stmt) NumInput() int { return s.inner.NumInput() }

// CheckNamedValue implements driver.NamedValueChecker: database/sql asks the
// connection where a statement has no checker.
func (s *Stmt) CheckNamedValue(v *driver.NamedValue) error {
	if c, ok := s.inner.(driver.NamedValueChecker); ok {
		return c.CheckNamedValue(v)
	}
	if c, ok := s.conn.inner.(driver.NamedValueChecker); ok {
		return c.CheckNamedValue(v)
	}
	return driver.ErrSkip
}

// begin looks at an execution before it is sent.
func (s *Stmt) begin(ctx context.Context, m *mark, args []driver.NamedValue) (sending, error) {
	if s.traits == nil && s.conn.options != nil {
		t := scan(s.query, s.conn.options.Dialect)
		s.traits = &t
	}
	return s.conn.begin(ctx, m, s.query, s.traits, args)
}

// ExecContext implements driver.StmtExecContext.
func (s *Stmt) ExecContext(ctx context.Context, args []driver.NamedValue) (driver.Result, error) {
	m := markOf(ctx)
	if m.answer(s.conn) {
		return driver.ResultNoRows, nil
	}
	sent, err := s.begin(ctx, m, args)
	if err != nil {
		return nil, err
	}
	result, err := execStmt(ctx, s.inner, args)
	return result, sent.executed(ctx, result, err)
}

// QueryContext implements driver.StmtQueryContext.
func (s *Stmt) QueryContext(ctx context.Context, args []driver.NamedValue) (driver.Rows, error) {
	sent, err := s.begin(ctx, markOf(ctx), args)
	if err != nil {
		return nil, err
	}
	rows, err := queryStmt(ctx, s.inner, args)
	return sent.rows(ctx, rows, err)
}

// Exec implements driver.Stmt.
func (s *Stmt) Exec(args []driver.Value) (driver.Result, error) {
	return s.ExecContext(context.Background(), named(args))
}

// Query implements driver.Stmt.
func (s *Stmt) Query(args []driver.Value) (driver.Rows, error) {
	return s.QueryContext(context.Background(), named(args))
}

// execStmt executes a statement as the driver can.
func execStmt(ctx context.Context, s driver.Stmt, args []driver.NamedValue) (driver.Result, error) {
	if e, ok := s.(driver.StmtExecContext); ok {
		return e.ExecContext(ctx, args)
	}
	values, err := unnamed(ctx, args)
	if err != nil {
		return nil, err
	}
	return s.Exec(values) //nolint:staticcheck // old drivers have only this
}

// queryStmt runs a statement as the driver can.
func queryStmt(ctx context.Context, s driver.Stmt, args []driver.NamedValue) (driver.Rows, error) {
	if q, ok := s.(driver.StmtQueryContext); ok {
		return q.QueryContext(ctx, args)
	}
	values, err := unnamed(ctx, args)
	if err != nil {
		return nil, err
	}
	return s.Query(values) //nolint:staticcheck // old drivers have only this
}

// errNamed is what database/sql says of drivers without named arguments.
var errNamed = errors.New("sql: driver does not support the use of Named Parameters")

// unnamed are arguments for a driver that knows neither names nor contexts.
func unnamed(ctx context.Context, args []driver.NamedValue) ([]driver.Value, error) {
	values := make([]driver.Value, len(args))
	for i, a := range args {
		if a.Name != "" {
			return nil, errNamed
		}
		values[i] = a.Value
	}
	return values, ctx.Err()
}

func named(args []driver.Value) []driver.NamedValue {
	list := make([]driver.NamedValue, len(args))
	for i, v := range args {
		list[i] = driver.NamedValue{Ordinal: i + 1, Value: v}
	}
	return list
}

// prepareWith prepares a statement and converts its arguments, as database/sql does
// for a driver that wants statements with arguments prepared.
func (c *Conn) prepareWith(ctx context.Context, query string, args []driver.NamedValue) (driver.Stmt, []driver.NamedValue, error) {
	stmt, err := c.prepare(ctx, query)
	if err != nil {
		return nil, nil, err
	}
	converted, err := (&Stmt{inner: stmt, conn: c}).convert(args)
	if err != nil {
		_ = stmt.Close() // as database/sql does
		return nil, nil, err
	}
	return stmt, converted, nil
}

// convert converts arguments as database/sql does for a prepared statement.
func (s *Stmt) convert(args []driver.NamedValue) ([]driver.NamedValue, error) {
	converted := make([]driver.NamedValue, 0, len(args))
	for _, a := range args {
		a.Ordinal = len(converted) + 1
		err := s.CheckNamedValue(&a)
		if err == driver.ErrSkip { //nolint:errorlint // database/sql compares so
			err = s.convertByColumn(&a)
		}
		switch {
		case err == driver.ErrRemoveArgument: //nolint:errorlint // database/sql compares so
		case err != nil:
			return nil, conversionError(a, err)
		default:
			converted = append(converted, a)
		}
	}
	if want := s.NumInput(); want >= 0 && want != len(converted) {
		return nil, fmt.Errorf("sql: expected %d arguments, got %d", want, len(converted))
	}
	return converted, nil
}

// convertByColumn converts an argument that no checker has taken.
func (s *Stmt) convertByColumn(a *driver.NamedValue) (err error) {
	c, ok := s.inner.(driver.ColumnConverter) //nolint:staticcheck // drivers have it
	if _, valuer := a.Value.(driver.Valuer); valuer || !ok {
		if a.Value, err = driver.DefaultParameterConverter.ConvertValue(a.Value); err != nil || !ok {
			return err
		}
	}
	if s.NumInput() < a.Ordinal {
		return nil // no column of its own
	}
	from := a.Value
	if a.Value, err = c.ColumnConverter(a.Ordinal - 1).ConvertValue(from); err != nil {
		return err
	}
	if !driver.IsValue(a.Value) {
		return fmt.Errorf("driver ColumnConverter error converted %T to unsupported type %T", from, a.Value)
	}
	return nil
}

// beginTx begins a transaction as the driver can.
func beginTx(ctx context.Context, c driver.Conn, o driver.TxOptions) (driver.Tx, error) {
	if b, ok := c.(driver.ConnBeginTx); ok {
		return b.BeginTx(ctx, o)
	}
	// The sentences are database/sql's.
	switch {
	case o.Isolation != 0:
		return nil, errors.New("sql: driver does not support non-default isolation level")
	case o.ReadOnly:
		return nil, errors.New("sql: driver does not support read-only transactions")
	}
	tx, err := c.Begin() //nolint:staticcheck // old drivers have only this
	if err == nil && ctx.Err() != nil {
		_ = tx.Rollback() // the context's error counts
		return nil, ctx.Err()
	}
	return tx, err
}
