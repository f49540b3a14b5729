package conj

import (
	"strconv"
	"strings"
)

// Write is a table that a statement writes, and how to find the rows.
type Write struct {
	// Table is nil if the look-up does not know the name.
	Table     *Table
	Name      TableName
	Statement Statement
	// Wide says why the images of the rows can't be had by means of the text,
	// such as "subquery in WHERE"; empty if they can.
	Wide string
	// HasReturning is true if the statement has a RETURNING clause.
	HasReturning bool
	// Set are the assignments of an UPDATE, or of an INSERT's Upsert, that is
	// not Wide.
	Set []Assignment
	// Columns and Rows are those of an INSERT that is not Wide: the indexes of
	// the columns that it names and, for each row, a value for each of them.
	Columns []int
	Rows    [][]Operand
	// OnConflictDoNothing is true of an INSERT that leaves out rows which
	// exist already.
	OnConflictDoNothing bool
	// Ignore is true of MySQL's INSERT IGNORE, which changes values that don't
	// fit instead of refusing them.
	Ignore bool
	// Upsert is true of an INSERT that updates rows which exist already: those
	// that equal a new one in all of the Target's columns or, without a Target
	// (MySQL), in those of any unique index.
	Upsert bool
	Target []int
	// Cascade is true of a TRUNCATE that empties the tables which reference this
	// one, too.
	Cascade bool
	// Temporary is true of a CREATE TEMPORARY TABLE, after which the name may
	// mean another table to the one connection.
	Temporary bool

	d      Dialect
	lim    Limits
	from   string   // the table as written, with its alias
	pieces []string // the text of WHERE around its parameters; nil without one
	params []int
	rows   *tableRead
}

// Assignment is column = value.
type Assignment struct {
	Column int // index in the table
	Value  Operand
}

// ImageQuery returns the SELECT that reads the rows which an UPDATE or DELETE
// is about to change, with its share of the arguments. The suffix is
// appended, such as FOR UPDATE. It is false of any other write and of a Wide
// one.
func (w *Write) ImageQuery(selectList, suffix string, args []any) (sql string, selArgs []any, ok bool) {
	if w.Wide != "" || w.Statement != Update && w.Statement != Delete {
		return "", nil, false
	}
	var b strings.Builder
	b.WriteString("SELECT ")
	b.WriteString(selectList)
	b.WriteString(" FROM ")
	b.WriteString(w.from)
	if w.pieces != nil {
		b.WriteString(" WHERE ")
		if selArgs, ok = w.writeWhere(&b, args); !ok {
			return "", nil, false
		}
	}
	if suffix != "" {
		b.WriteByte(' ')
		b.WriteString(suffix)
	}
	return b.String(), selArgs, true
}

// writeWhere writes the condition, its parameters numbered anew.
func (w *Write) writeWhere(b *strings.Builder, args []any) (selArgs []any, ok bool) {
	var numbers map[int]int
	for i, piece := range w.pieces {
		b.WriteString(piece)
		if i == len(w.params) {
			break
		}
		n := w.params[i]
		if n < 0 || n >= len(args) {
			return nil, false
		}
		if w.d != PostgreSQL {
			selArgs = append(selArgs, args[n])
			b.WriteByte('?')
			continue
		}
		if numbers == nil {
			numbers = make(map[int]int)
		}
		k, seen := numbers[n]
		if !seen {
			selArgs = append(selArgs, args[n])
			k = len(selArgs)
			numbers[n] = k
		}
		b.WriteByte('$')
		b.WriteString(strconv.Itoa(k))
	}
	return selArgs, true
}

// Where returns partial images of which every row that the condition of an
// UPDATE or DELETE matches has at least one, given normalised arguments: one
// for each conjunction of its disjunctive normal form, none if the condition
// is never true. It is false if some conjunction says nothing of any column,
// so that any row may match.
func (w *Write) Where(args []any) ([]Image, bool) {
	if w.rows == nil || w.Wide != "" {
		return nil, false
	}
	b := binder{d: w.d, lim: w.lim, args: args}
	all, whole := b.bind(w.rows)
	if whole || b.err != nil {
		return nil, false
	}
	var images []Image
	for i := range all {
		for n := range all[i].size() {
			img := make(Image, len(w.Table.columns))
			for _, c := range all[i].columns {
				img[c.index] = c.values[n%len(c.values)]
				n /= len(c.values)
			}
			images = append(images, img)
		}
	}
	return images, true
}
