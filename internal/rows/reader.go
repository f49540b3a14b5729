package rows

import (
	"context"
	"database/sql"
	"fmt"
	"slices"
	"strings"

	"github.com/cacheplugin/cacheplugin/conj"
	"github.com/cacheplugin/cacheplugin/internal/catalog"
	"github.com/cacheplugin/cacheplugin/internal/dialect"
)

// reader builds and runs the queries for images of one table's rows.
type reader struct {
	statement *Statement
	table     *catalog.Table
	name      conj.TableName // as the queries name the table
	lead      []int          // columns whose values are read besides the images
	sums      []int          // columns of which a checksum is read
	exact     []int          // columns of which the value is read as it is
	index     string         // the index that MySQL must find the rows by; empty: any
}

// found are rows that were read. The lists are aligned with each other.
type found struct {
	images []conj.Image
	keys   [][]any // the values of the primary key
	lead   [][]any // the values of the reader's lead columns
	sums   [][]any // the checksums of its sums columns
	exact  [][]any // the values of its exact columns
	fresh  []bool  // set by readFresh only
}

// columns are the columns that images are taken of: the key, those that
// schemes ask for, and the short ones that they may come to ask for.
func (r *reader) columns(ctx context.Context) []int {
	need, known := r.statement.needed(ctx, r.table, nil)
	for _, i := range slices.Concat(r.table.PrimaryKey, r.lead) {
		need[i] = true
	}
	var columns []int
	for i, c := range r.table.Columns() {
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
func (r *reader) selectList(columns []int) string {
	list := make([]string, len(columns), len(columns)+len(r.sums)+len(r.exact))
	for n, i := range columns {
		list[n] = r.quote(i)
		if r.nullnessOnly(i) {
			list[n] = "(" + list[n] + " IS NULL)"
		}
	}
	for _, i := range r.sums {
		list = append(list, "CRC32("+r.quote(i)+")")
	}
	for _, i := range r.exact {
		list = append(list, r.quote(i))
	}
	return strings.Join(list, ", ")
}

// nullnessOnly reports whether all that is read of a column is whether it is
// null.
func (r *reader) nullnessOnly(column int) bool {
	return r.table.Columns()[column].Kind == conj.Opaque && !inKey(r.table, column)
}

func (r *reader) quote(column int) string {
	return dialect.Quote(r.statement.options.Dialect, r.table.Columns()[column].Name)
}

// readBack reads the images of rows by their keys.
func (r *reader) readBack(ctx context.Context, keys [][]any) ([]conj.Image, error) {
	if len(keys) == 0 {
		return nil, nil
	}
	if len(keys)*len(r.table.PrimaryKey) > dialect.MaxParameters {
		// The query would fail, and a failed query ends PostgreSQL's transactions.
		return nil, fmt.Errorf("%d keys are more than a query can name", len(keys))
	}
	rows, err := r.readBy(ctx, r.table.PrimaryKey, keys, r.own())
	return rows.images, err
}

// own is the end of a query for rows that the transaction has written. In MySQL
// it must lock them, which it has done already: a reading that doesn't would fix
// what all later ones of the transaction see.
func (r *reader) own() string {
	if r.statement.options.Dialect == conj.MySQL && r.statement.options.InTransaction {
		return " LOCK IN SHARE MODE"
	}
	return ""
}

// readBy reads the rows that have in some columns one of some lists of values.
func (r *reader) readBy(ctx context.Context, by []int, lists [][]any, suffix string) (found, error) {
	columns := r.columns(ctx)
	from, args, err := r.from(by, lists)
	if err != nil {
		return found{}, err
	}
	return r.read(ctx, "SELECT "+r.selectList(columns)+from+suffix, args, columns, nil)
}

// readFresh is readBy that also reads whether each row is certain not to have
// been there before the statement. PostgreSQL's xmax says so: ON CONFLICT locks
// the row that it updates, and the new version keeps the locker, while that of
// a new row is zero. Nobody can have come in between on SQLite, which has one
// writer.
func (r *reader) readFresh(ctx context.Context, by []int, lists [][]any) (found, error) {
	if r.statement.options.Dialect != conj.PostgreSQL {
		rows, err := r.readBy(ctx, by, lists, "")
		rows.fresh = slices.Repeat([]bool{true}, len(rows.images))
		return rows, err
	}
	columns := r.columns(ctx)
	from, args, err := r.from(by, lists)
	if err != nil {
		return found{}, err
	}
	var fresh bool
	return r.read(ctx, "SELECT "+r.selectList(columns)+", xmax::text = '0'"+from, args, columns, &fresh)
}

// from is the FROM and WHERE of a query for the rows that have in some columns
// one of some lists of values.
func (r *reader) from(by []int, lists [][]any) (from string, args []any, err error) {
	for _, values := range lists {
		if len(values) != len(by) {
			return "", nil, fmt.Errorf("a key of %s has %d columns, not %d", r.table.ID, len(values), len(by))
		}
		args = append(args, values...)
	}
	d := r.statement.options.Dialect
	from = " FROM " + dialect.QuoteTable(d, r.name)
	if r.index != "" {
		from += " FORCE INDEX (" + dialect.Quote(d, r.index) + ")"
	}
	from += " WHERE "
	// SQLite takes no disjunction of a thousand terms.
	if len(by) == 1 {
		return from + r.quote(by[0]) + " IN (" + dialect.Placeholders(d, len(args)) + ")", args, nil
	}
	terms := make([]string, len(lists))
	for n := range lists {
		equalities := make([]string, len(by))
		for i, column := range by {
			equalities[i] = r.quote(column) + " = " + dialect.Placeholder(d, n*len(by)+i+1)
		}
		terms[n] = strings.Join(equalities, " AND ")
	}
	return from + strings.Join(terms, " OR "), args, nil
}

// read runs a query for images, which selects some columns and, unless fresh is
// nil, one more that is read into it.
func (r *reader) read(ctx context.Context, query string, args []any, columns []int, fresh *bool) (rows found, err error) {
	defer func() {
		if err != nil {
			r.statement.noteError(err)
		}
	}()
	result, err := r.statement.session.QueryContext(ctx, query, args...)
	if err != nil {
		return found{}, err
	}
	defer func() {
		if closeErr := result.Close(); err == nil {
			err = closeErr
		}
	}()
	return r.scan(result, columns, fresh)
}

func (r *reader) scan(result *sql.Rows, columns []int, fresh *bool) (found, error) {
	var rows found
	values := make([]any, len(columns)+len(r.sums)+len(r.exact))
	pointers := make([]any, len(values), len(values)+1)
	for i := range values {
		pointers[i] = &values[i]
	}
	if fresh != nil {
		pointers = append(pointers, fresh)
	}
	for result.Next() {
		if err := result.Scan(pointers...); err != nil {
			return found{}, err
		}
		rows.images = append(rows.images, r.image(columns, values))
		rows.keys = append(rows.keys, pick(columns, values, r.table.PrimaryKey))
		rows.lead = append(rows.lead, pick(columns, values, r.lead))
		rows.sums = append(rows.sums, slices.Clone(values[len(columns):len(columns)+len(r.sums)]))
		rows.exact = append(rows.exact, slices.Clone(values[len(columns)+len(r.sums):]))
		if fresh != nil {
			rows.fresh = append(rows.fresh, *fresh)
		}
	}
	return rows, result.Err()
}

// image is the image of a row of which some columns were read.
func (r *reader) image(columns []int, values []any) conj.Image {
	all := r.table.Columns()
	img := make(conj.Image, len(all))
	for n, i := range columns {
		if r.nullnessOnly(i) {
			img[i] = nullness(values[n])
		} else {
			img[i] = all[i].FromRow(r.statement.options.Dialect, values[n])
		}
	}
	return img
}

// pick returns the values of some of the columns that were read.
func pick(columns []int, values []any, some []int) []any {
	list := make([]any, 0, len(some))
	for _, k := range some {
		list = append(list, values[slices.Index(columns, k)])
	}
	return list
}
