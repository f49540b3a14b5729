package cacheplugin

import (
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/cacheplugin/cacheplugin/conj"
	"github.com/cacheplugin/cacheplugin/txn"
)

// unlockable says why the rows of a statement can't be locked before it is sent;
// empty if they can be.
func (t *target) unlockable() string {
	c := t.c
	switch {
	case c.where != txn.InTx:
		return "not in a transaction" // they may change in between
	case c.engine.dialect == conj.MySQL && !c.gapLocks():
		// Affected rows count changed rows only, so that without gap locks
		// a row that came in between could hide behind an unchanged one.
		return "isolation below REPEATABLE READ"
	case len(t.table.PrimaryKey) == 0:
		return "no primary key"
	}
	return ""
}

// lock reads and locks the rows that the statement's WHERE matches, in the
// same transaction. Where that can't be done the table is dropped whole.
func (t *target) lock() []conj.Image {
	c := t.c
	if reason := t.unlockable(); reason != "" {
		t.widen(reason)
		return nil
	}
	limit := c.engine.config.MaxImages
	suffix := "LIMIT " + strconv.Itoa(limit+1)
	switch c.engine.dialect {
	case conj.PostgreSQL:
		if t.write.Statement == conj.Update && !t.setsKey() && len(t.lead) == 0 {
			suffix += " FOR NO KEY UPDATE"
		} else {
			suffix += " FOR UPDATE"
		}
	case conj.MySQL:
		suffix += " FOR UPDATE"
	case conj.SQLite:
		if err := t.lockSQLite(); err != nil {
			// The statement will meet the same error.
			t.widen("the write lock was not granted")
			return nil
		}
	}
	columns := t.imageColumns()
	if len(t.lead) > 0 {
		t.leadRows = [][]any{}
	}
	query, args, ok := t.write.ImageQuery(t.selectList(columns), suffix, c.sent)
	if !ok {
		t.widen("no image query")
		return nil
	}
	images, keys, err := t.read(query, args, columns)
	if err != nil {
		c.engine.failed(c.ctx, "old rows could not be read", t.table.ID, err)
		t.widen("old rows could not be read")
		return nil
	}
	if len(images) > limit {
		t.widen("many rows")
		return nil
	}
	t.matched, t.locked = int64(len(images)), keys
	return images
}

// gapLocks tells whether locking reads keep new rows out.
func (c *capture) gapLocks() bool {
	if c.tx == nil || c.tx.Opaque() {
		return false
	}
	level := sql.LevelDefault
	if o := c.tx.Options(); o != nil {
		level = o.Isolation
	}
	switch level {
	case sql.LevelRepeatableRead, sql.LevelSerializable:
		return true
	case sql.LevelDefault:
		server, err := c.base.catalog.Server(c.ctx, c.pool)
		return err == nil && (server.DefaultIsolation == "repeatable read" || server.DefaultIsolation == "serializable")
	}
	return false
}

// lockSQLite takes SQLite's write lock before the first read of a
// transaction. A transaction that reads first and writes then fails with
// "database is locked" when another has written in between.
func (t *target) lockSQLite() error {
	column := ""
	for i, c := range t.table.Columns() {
		if !t.table.Generated(i) {
			column = t.quote(c.Name)
			break
		}
	}
	_, err := t.c.pool.ExecContext(t.c.ctx, "UPDATE "+t.quotedTable()+" SET "+column+" = "+column+" WHERE 0")
	return err
}

// reserveSQLite does the same before the catalog is read for a transaction's
// first write. It takes the table from the text alone; where there is no such
// table its error is the statement's own, which comes next.
func (c *capture) reserveSQLite(query string) {
	if c.tx == nil || c.engine.dialect != conj.SQLite || c.tx.Dirty() {
		return
	}
	if known, _ := c.base.plans.Get(query); known != nil {
		return
	}
	plan, err := conj.Compile(c.base.dialect, query, func(conj.TableName) (*conj.Table, error) { return nil, nil }, c.base.limits)
	if err != nil || len(plan.Writes) == 0 {
		return
	}
	table := (&target{c: c, write: &plan.Writes[0]}).quotedTable()
	_, _ = c.pool.ExecContext(c.ctx, "DELETE FROM "+table+" WHERE 0")
}

// imageColumns are the columns that images are taken of: the key, those that
// schemes ask for, and the short ones that they may come to ask for.
func (t *target) imageColumns() []int {
	need, known := t.needed()
	for _, i := range slices.Concat(t.table.PrimaryKey, t.lead) {
		need[i] = true
	}
	var columns []int
	for i, c := range t.table.Columns() {
		switch c.Kind {
		case conj.Text, conj.PaddedText, conj.FoldedText, conj.Bytes:
			if known && !need[i] {
				continue
			}
		}
		columns = append(columns, i)
	}
	return columns
}

// selectList reads the value of the columns that can narrow by one, and of
// the others whether they are null.
func (t *target) selectList(columns []int) string {
	var b strings.Builder
	all := t.table.Columns()
	for n, i := range columns {
		if n > 0 {
			b.WriteString(", ")
		}
		if all[i].Kind == conj.Opaque && !t.inKey(i) {
			b.WriteString("(" + t.quote(all[i].Name) + " IS NULL)")
		} else {
			b.WriteString(t.quote(all[i].Name))
		}
	}
	return b.String()
}

func (t *target) inKey(column int) bool { return slices.Contains(t.table.PrimaryKey, column) }

// read runs an image query.
func (t *target) read(query string, args []any, columns []int) (images []conj.Image, keys [][]any, err error) {
	return t.readWith(query, args, columns, nil, nil)
}

// endsTransaction tells whether an error leaves nothing of the transaction that
// it came in. PostgreSQL refuses everything after any error of its own. MySQL
// has rolled the transaction back after a few, and carries out what is sent next
// as a transaction of its own: nothing may be.
func endsTransaction(dialect conj.Dialect, err error) bool {
	switch dialect {
	case conj.PostgreSQL:
		var answer interface{ SQLState() string }
		return errors.As(err, &answer)
	case conj.MySQL:
		return slices.Contains(mysqlRollsBack, mysqlError(err))
	}
	return false
}

// mysqlRollsBack are the numbers of MySQL's and MariaDB's errors that may have
// rolled the transaction back: a row that changed since the snapshot, a lock
// that was waited for too long, deadlocks.
var mysqlRollsBack = []string{"1020", "1205", "1213", "1613", "1614", "3058"}

// mysqlError is the number of an error of MySQL's, which its driver's errors
// begin with.
func mysqlError(err error) string {
	_, text, ok := strings.Cut(err.Error(), "Error ")
	if !ok {
		return ""
	}
	return text[:len(text)-len(strings.TrimLeft(text, "0123456789"))]
}

// readWith runs an image query that has one more column, which is read into
// extra before each is called for a row; a nil extra is none.
func (t *target) readWith(query string, args []any, columns []int, extra any, each func()) (images []conj.Image, keys [][]any, err error) {
	defer func() {
		if err != nil && t.c.tx != nil && endsTransaction(t.c.engine.dialect, err) {
			t.c.lost = err
		}
	}()
	rows, err := t.c.pool.QueryContext(t.c.ctx, query, args...)
	if err != nil {
		return nil, nil, err
	}
	defer func() {
		if closeErr := rows.Close(); err == nil {
			err = closeErr
		}
	}()
	all := t.table.Columns()
	values := make([]any, len(columns))
	pointers := make([]any, len(columns))
	for i := range values {
		pointers[i] = &values[i]
	}
	if extra != nil {
		pointers = append(pointers, extra)
	}
	for rows.Next() {
		if err := rows.Scan(pointers...); err != nil {
			return nil, nil, err
		}
		if each != nil {
			each()
		}
		img := make(conj.Image, len(all))
		key := make([]any, 0, len(t.table.PrimaryKey))
		for n, i := range columns {
			if all[i].Kind == conj.Opaque && !t.inKey(i) {
				img[i] = nullness(values[n])
			} else {
				img[i] = all[i].FromRow(t.c.engine.dialect, values[n])
			}
		}
		pick := func(some []int, list []any) []any {
			for _, k := range some {
				list = append(list, values[slices.Index(columns, k)])
			}
			return list
		}
		images, keys = append(images, img), append(keys, pick(t.table.PrimaryKey, key))
		if t.leadRows != nil {
			t.leadRows = append(t.leadRows, pick(t.lead, nil))
		}
	}
	return images, keys, rows.Err()
}

// nullness reads the result of IS NULL.
func nullness(v any) conj.Value {
	switch v := v.(type) {
	case bool:
		if v {
			return conj.Null
		}
		return conj.NotNull
	case int64:
		if v != 0 {
			return conj.Null
		}
		return conj.NotNull
	case []byte:
		if string(v) == "1" {
			return conj.Null
		}
		return conj.NotNull
	}
	return ""
}

// maxParameters is the number of parameters that every one of the databases
// takes in a query; SQLite's is the smallest, 32,766.
const maxParameters = 32_000

// readBack reads the images of rows by their keys.
func (t *target) readBack(keys [][]any) ([]conj.Image, error) {
	if len(keys) == 0 {
		return nil, nil
	}
	if len(keys)*len(t.table.PrimaryKey) > maxParameters {
		// The query would fail, and a failed query ends PostgreSQL's transactions.
		return nil, fmt.Errorf("%d keys are more than a query can name", len(keys))
	}
	columns := t.imageColumns()
	from, args, err := t.rowsOf(t.table.PrimaryKey, keys)
	if err != nil {
		return nil, err
	}
	images, _, err := t.read("SELECT "+t.selectList(columns)+from, args, columns)
	return images, err
}

// rowsOf is the FROM and WHERE of a query for the rows that have in some
// columns one of some lists of values.
func (t *target) rowsOf(columns []int, lists [][]any) (from string, args []any, err error) {
	var b strings.Builder
	b.WriteString(" FROM " + t.quotedTable() + " WHERE ")
	name := func(i int) string { return t.quote(t.table.Columns()[columns[i]].Name) }
	// SQLite takes no disjunction of a thousand terms.
	one := len(columns) == 1
	if one {
		b.WriteString(name(0) + " IN (")
	}
	for r, values := range lists {
		if len(values) != len(columns) {
			return "", nil, fmt.Errorf("a key of %s has %d columns, not %d", t.table.ID, len(values), len(columns))
		}
		switch {
		case r > 0 && one:
			b.WriteString(", ")
		case r > 0:
			b.WriteString(" OR ")
		}
		for i := range columns {
			if i > 0 {
				b.WriteString(" AND ")
			}
			if !one {
				b.WriteString(name(i) + " = ")
			}
			args = append(args, values[i])
			b.WriteString(t.placeholder(len(args)))
		}
	}
	if one {
		b.WriteString(")")
	}
	return b.String(), args, nil
}

func (t *target) placeholder(n int) string {
	if t.c.engine.dialect == conj.PostgreSQL {
		return "$" + strconv.Itoa(n)
	}
	return "?"
}

func (t *target) quote(name string) string {
	if t.c.engine.dialect == conj.MySQL {
		return "`" + strings.ReplaceAll(name, "`", "``") + "`"
	}
	return `"` + strings.ReplaceAll(name, `"`, `""`) + `"`
}

func (t *target) quotedTable() string {
	if n := t.write.Name; n.Schema != "" {
		return t.quote(n.Schema) + "." + t.quote(n.Name)
	}
	return t.quote(t.write.Name.Name)
}
