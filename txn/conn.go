package txn

import (
	"context"
	"database/sql/driver"
	"fmt"
	"slices"
	"strings"

	"github.com/cacheplugin/cacheplugin/conj"
	"github.com/cacheplugin/cacheplugin/internal/dialect"
	"github.com/cacheplugin/cacheplugin/internal/rowset"
)

// Conn stands before one connection of a driver. It has every optional interface of
// database/sql/driver, and answers for a connection that lacks one as database/sql
// does. database/sql calls one of its methods at a time.
type Conn struct {
	inner     driver.Conn
	close     func() error
	connector *Connector
	options   *Options // of the plugin that watches the pool; nil while none does

	tx *Tx // the transaction that it is in
	// unsure: whether it is in a transaction can't be told. A BEGIN, COMMIT or
	// ROLLBACK that succeeds settles that, unless it is lasting.
	unsure, lasting bool
	left            *Tx  // that the connection may still be in; nil if it was in none
	counted         bool // among the connector's unsettled
}

var _ interface {
	driver.Conn
	driver.ConnBeginTx
	driver.ConnPrepareContext
	driver.ExecerContext
	driver.QueryerContext
	driver.Pinger
	driver.SessionResetter
	driver.Validator
	driver.NamedValueChecker
} = (*Conn)(nil)

// Unwrap returns the driver's own connection, for those who get a Conn by
// sql.Conn.Raw. What is written through it is not seen.
func (c *Conn) Unwrap() driver.Conn { return c.inner }

// ExecContext implements driver.ExecerContext.
func (c *Conn) ExecContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Result, error) {
	m := markOf(ctx)
	if m.answer(c) {
		return driver.ResultNoRows, nil
	}
	if !c.execs() {
		return nil, driver.ErrSkip // it is seen when it is executed, prepared
	}
	args, err := c.convert(args)
	if err != nil {
		return nil, err
	}
	s, err := c.begin(ctx, m, query, nil, args)
	if err != nil {
		return nil, err
	}
	result, err := c.exec(ctx, query, args)
	if err == driver.ErrSkip && s.watched != nil { //nolint:errorlint // database/sql compares so
		// database/sql would prepare it now, and send it in a second call.
		result, err = c.execPrepared(ctx, query, args)
	}
	return result, s.executed(ctx, result, err)
}

// exec sends a statement as the driver can.
func (c *Conn) exec(ctx context.Context, query string, args []driver.NamedValue) (driver.Result, error) {
	if e, ok := c.inner.(driver.ExecerContext); ok {
		return e.ExecContext(ctx, query, args)
	}
	e, ok := c.inner.(driver.Execer) //nolint:staticcheck // old drivers have only this
	if !ok {
		return nil, driver.ErrSkip
	}
	values, err := unnamed(ctx, args)
	if err != nil {
		return nil, err
	}
	return e.Exec(query, values)
}

func (c *Conn) execPrepared(ctx context.Context, query string, args []driver.NamedValue) (driver.Result, error) {
	stmt, args, err := c.prepareWith(ctx, query, args)
	if err != nil {
		return nil, err
	}
	defer stmt.Close() //nolint:errcheck // as database/sql does
	return execStmt(ctx, stmt, args)
}

// QueryContext implements driver.QueryerContext.
func (c *Conn) QueryContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Rows, error) {
	if !c.queries() {
		return nil, driver.ErrSkip
	}
	args, err := c.convert(args)
	if err != nil {
		return nil, err
	}
	s, err := c.begin(ctx, markOf(ctx), query, nil, args)
	if err != nil {
		return nil, err
	}
	rows, err := c.query(ctx, query, args)
	if err == driver.ErrSkip && s.watched != nil { //nolint:errorlint // database/sql compares so
		rows, err = c.queryPrepared(ctx, query, args)
	}
	return s.rows(ctx, rows, err)
}

// query sends a query as the driver can.
func (c *Conn) query(ctx context.Context, query string, args []driver.NamedValue) (driver.Rows, error) {
	if q, ok := c.inner.(driver.QueryerContext); ok {
		return q.QueryContext(ctx, query, args)
	}
	q, ok := c.inner.(driver.Queryer) //nolint:staticcheck // old drivers have only this
	if !ok {
		return nil, driver.ErrSkip
	}
	values, err := unnamed(ctx, args)
	if err != nil {
		return nil, err
	}
	return q.Query(query, values)
}

func (c *Conn) queryPrepared(ctx context.Context, query string, args []driver.NamedValue) (driver.Rows, error) {
	stmt, args, err := c.prepareWith(ctx, query, args)
	if err != nil {
		return nil, err
	}
	rows, err := queryStmt(ctx, stmt, args)
	if err != nil {
		_ = stmt.Close() // as database/sql does
		return nil, err
	}
	return &stmtRows{rowset.Full{Rows: rows}, stmt}, nil
}

// PrepareContext implements driver.ConnPrepareContext.
func (c *Conn) PrepareContext(ctx context.Context, query string) (driver.Stmt, error) {
	stmt, err := c.prepare(ctx, query)
	if err != nil {
		return nil, err
	}
	s := &Stmt{inner: stmt, conn: c, query: query}
	if _, ok := stmt.(driver.ColumnConverter); ok { //nolint:staticcheck // drivers have it
		return &convertingStmt{s}, nil
	}
	return s, nil
}

// Prepare implements driver.Conn.
func (c *Conn) Prepare(query string) (driver.Stmt, error) {
	return c.PrepareContext(context.Background(), query)
}

// prepare prepares a statement as the driver can.
func (c *Conn) prepare(ctx context.Context, query string) (driver.Stmt, error) {
	if p, ok := c.inner.(driver.ConnPrepareContext); ok {
		return p.PrepareContext(ctx, query)
	}
	stmt, err := c.inner.Prepare(query)
	if err == nil && ctx.Err() != nil {
		_ = stmt.Close() // the context's error counts
		return nil, ctx.Err()
	}
	return stmt, err
}

// BeginTx implements driver.ConnBeginTx.
func (c *Conn) BeginTx(ctx context.Context, opts driver.TxOptions) (driver.Tx, error) {
	tx, err := beginTx(ctx, c.inner, opts)
	if err != nil || c.options == nil {
		return tx, err
	}
	begun := newTx(ctx, c, opts)
	for _, before := range []*Tx{c.tx, c.left} {
		if before != nil {
			err = both(err, begun.follow(ctx, before))
		}
	}
	c.unsure, c.left = c.lasting, nil
	c.setTx(begun)
	t := &driverTx{inner: tx, conn: c, tx: begun}
	if err != nil {
		return nil, both(err, t.Rollback())
	}
	return t, nil
}

// Begin implements driver.Conn.
func (c *Conn) Begin() (driver.Tx, error) {
	return c.BeginTx(context.Background(), driver.TxOptions{})
}

// driverTx is a transaction that database/sql has begun.
type driverTx struct {
	inner driver.Tx
	conn  *Conn
	tx    *Tx
}

func (t *driverTx) Commit() error {
	defer t.leave()
	return t.tx.commit(t.inner)
}

func (t *driverTx) Rollback() error {
	defer t.leave()
	return t.tx.rollback(t.inner)
}

// leave takes the connection out of the transaction.
func (t *driverTx) leave() {
	t.conn.setTx(nil)
}

// Ping implements driver.Pinger.
func (c *Conn) Ping(ctx context.Context) error {
	if p, ok := c.inner.(driver.Pinger); ok {
		return p.Ping(ctx)
	}
	return nil
}

// ResetSession implements driver.SessionResetter.
func (c *Conn) ResetSession(ctx context.Context) error {
	if c.connector.ended() {
		return driver.ErrBadConn
	}
	c.options = c.connector.options.Load()
	if r, ok := c.inner.(driver.SessionResetter); ok {
		return r.ResetSession(ctx)
	}
	return nil
}

// IsValid implements driver.Validator.
func (c *Conn) IsValid() bool {
	v, ok := c.inner.(driver.Validator)
	return !ok || v.IsValid()
}

// CheckNamedValue implements driver.NamedValueChecker. It leaves arguments as they
// are: how database/sql converts them depends on how they are going to be sent, which
// convert and Stmt know.
func (c *Conn) CheckNamedValue(*driver.NamedValue) error { return nil }

// convert converts, in their place, arguments that are sent without being prepared,
// as database/sql does.
func (c *Conn) convert(args []driver.NamedValue) ([]driver.NamedValue, error) {
	checker, checks := c.inner.(driver.NamedValueChecker)
	converted := args[:0]
	for _, arg := range args {
		converted = append(converted, arg)
		a := &converted[len(converted)-1]
		a.Ordinal = len(converted)
		err := driver.ErrSkip
		if checks {
			err = checker.CheckNamedValue(a)
		}
		if err == driver.ErrSkip { //nolint:errorlint // database/sql compares so
			a.Value, err = driver.DefaultParameterConverter.ConvertValue(a.Value)
		}
		switch {
		case err == driver.ErrRemoveArgument: //nolint:errorlint // database/sql compares so
			converted = converted[:len(converted)-1]
		case err != nil:
			return nil, conversionError(*a, err)
		}
	}
	return converted, nil
}

// conversionError is what database/sql says of an argument.
func conversionError(a driver.NamedValue, err error) error {
	if a.Name != "" {
		return fmt.Errorf("sql: converting argument with name %q type: %w", a.Name, err)
	}
	return fmt.Errorf("sql: converting argument $%d type: %w", a.Ordinal, err)
}

// execs reports whether the driver executes statements without preparing them.
func (c *Conn) execs() bool {
	switch c.inner.(type) {
	case driver.ExecerContext, driver.Execer: //nolint:staticcheck // old drivers have only this
		return true
	}
	return false
}

// queries is execs of queries.
func (c *Conn) queries() bool {
	switch c.inner.(type) {
	case driver.QueryerContext, driver.Queryer: //nolint:staticcheck // old drivers have only this
		return true
	}
	return false
}

// Close implements driver.Conn. A transaction that was begun by text ends with the
// connection; what it may have committed is flushed.
func (c *Conn) Close() error {
	err := c.close()
	if tx := c.tx; tx != nil {
		c.setTx(nil)
		err = both(err, tx.undo())
	}
	err = both(err, c.settle(context.Background()))
	c.unsure = false
	c.count()
	return err
}

// setTx notes the transaction that the connection is in.
func (c *Conn) setTx(tx *Tx) {
	c.tx = tx
	c.count()
}

// count has the connector know whether a statement that is sent through the pool
// may come into somebody's transaction.
func (c *Conn) count() {
	unsettled := c.unsure || c.tx != nil && c.tx.textual()
	if unsettled != c.counted {
		c.counted = unsettled
		delta := int32(1)
		if !unsettled {
			delta = -1
		}
		c.connector.unsettled.Add(delta)
	}
}

// where says where a statement on the connection is.
func (c *Conn) where() (Where, *Tx) {
	switch {
	case c.options == nil || c.unsure:
		return Foreign, nil
	case c.tx != nil:
		return InTx, c.tx
	}
	return Autocommit, nil
}

// follow notes what a statement that has returned has done to the transaction that
// the connection is in.
func (c *Conn) follow(ctx context.Context, t *traits, outcome error) error {
	if t.detaches {
		c.lasting = true
		return c.doubt(ctx, c.tx)
	}
	lost := c.tx != nil && c.endedBy(outcome)
	if c.tx != nil && !c.tx.textual() {
		c.tx.outlive(t, outcome, lost)
		return nil
	}
	if lost {
		return c.doubt(ctx, c.tx)
	}
	if t.begins+t.ends > 0 {
		return c.followEnds(ctx, t, outcome)
	}
	if t.commits && c.tx != nil {
		return c.doubt(ctx, c.tx) // MySQL ends a transaction by a definition, unless it refuses it
	}
	if outcome != nil || c.options.Dialect != sqlite || c.unsure {
		return nil
	}
	return c.followSavepoints(ctx, t)
}

// endedBy reports whether an error of a statement may have ended the transaction that
// it came in, so that the database carries out what is sent next by itself.
// PostgreSQL refuses that instead.
func (c *Conn) endedBy(err error) bool {
	switch {
	case err == nil:
		return false
	case c.options.Dialect == mysql:
		return dialect.EndsTransaction(conj.MySQL, err)
	case c.options.Dialect != sqlite:
		return false
	}
	if a, ok := c.inner.(interface{ AutoCommit() bool }); ok {
		return a.AutoCommit()
	}
	return !strings.Contains(err.Error(), "constraint") // which undoes the statement
}

// followEnds follows BEGIN, COMMIT and ROLLBACK.
func (c *Conn) followEnds(ctx context.Context, t *traits, outcome error) error {
	ended := c.tx
	switch {
	case outcome != nil:
		// Of several statements some may have succeeded, and what a COMMIT that
		// failed has left is different in each database.
		return c.doubt(ctx, ended)
	case c.lasting:
		return c.settle(ctx)
	case t.ends == 0 && ended != nil && !t.commits:
		return nil // PostgreSQL warns of a BEGIN in a transaction
	}
	c.unsure = false
	c.setTx(nil)
	if t.leaves {
		c.setTx(newTextualTx(ctx, c, ""))
	}
	switch {
	case ended == nil:
		return c.settle(ctx)
	case t.commits:
		return ended.end(ctx, nil)
	}
	return ended.undo()
}

// followSavepoints follows the transaction that SQLite begins at a savepoint
// outside of one, and commits when that is released.
func (c *Conn) followSavepoints(ctx context.Context, t *traits) error {
	switch {
	case t.savepoint != "" && c.tx == nil:
		c.setTx(newTextualTx(ctx, c, t.savepoint))
	case c.tx == nil || len(c.tx.savepoints) == 0:
	case t.savepoint != "":
		c.tx.savepoints = append(c.tx.savepoints, t.savepoint)
	case t.back != "":
		if i := lastIndex(c.tx.savepoints, t.back); i >= 0 {
			c.tx.savepoints = c.tx.savepoints[:i+1]
		}
	case c.tx.releases(*t):
		ended := c.tx
		c.setTx(nil)
		return ended.end(ctx, nil)
	case t.release != "":
		if i := lastIndex(c.tx.savepoints, t.release); i > 0 {
			c.tx.savepoints = c.tx.savepoints[:i]
		}
	}
	return nil
}

// doubt notes that it can't be told any longer whether the connection is in a
// transaction; what the one that it was in has changed is flushed now, and when that is
// settled.
func (c *Conn) doubt(ctx context.Context, was *Tx) error {
	c.unsure = true
	if was != nil && !was.textual() {
		c.count()
		return nil // database/sql ends it
	}
	c.setTx(nil)
	if was == nil {
		return nil
	}
	c.left = was
	return was.doubt(ctx)
}

// settle flushes what a transaction has changed of which it was in doubt whether it had
// ended, and which has now.
func (c *Conn) settle(ctx context.Context) error {
	left := c.left
	if left == nil {
		return nil
	}
	c.left = nil
	return left.end(ctx, nil)
}

func lastIndex(list []string, s string) int {
	for i, each := range slices.Backward(list) {
		if each == s {
			return i
		}
	}
	return -1
}
