package rows

import (
	"context"
	"slices"

	"github.com/cacheplugin/cacheplugin/conj"
)

// insertion is an INSERT: the images of the new rows come from the values that
// are sent, and what the database fills in is read after the statement.
type insertion struct {
	*target
	images []conj.Image // of the new rows
}

func (n *insertion) begin(ctx context.Context) {
	if len(n.write.Rows) > n.statement.options.MaxImages {
		n.widen("many rows")
		return
	}
	for _, row := range n.write.Rows {
		img := blank(n.table)
		for i, column := range n.write.Columns {
			img[column] = n.assignedValue(ctx, column, row[i])
		}
		n.images = append(n.images, img)
	}
	n.rows = conj.Separate(n.images...)
}

// complete fills in what the database has filled: the generated key, and by
// that key the rest.
func (n *insertion) complete(ctx context.Context, o Outcome) {
	n.rows = conj.Separate(n.inserted(ctx, o)...)
}

// inserted are the images of the new rows, as far as they are needed.
func (n *insertion) inserted(ctx context.Context, o Outcome) []conj.Image {
	need, known := n.statement.needed(ctx, n.table, nil)
	keys := n.keys(o)
	numbered, certain := n.withNumbers(keys, o)
	if certain {
		// Also where nothing asks for it as far as is known: another process may
		// have cached a query by the key meanwhile.
		n.images = numbered
	}
	if (known || certain) && covers(n.images, need) {
		return n.images
	}
	return n.filled(ctx, n.images, keys, o.Affected)
}

// filled are the images of new rows as they are in the database, where they lack
// something that their keys lead to. At least so many rows must be found; -1 if
// that isn't known.
func (n *insertion) filled(ctx context.Context, images []conj.Image, keys [][]any, atLeast int64) []conj.Image {
	if !slices.ContainsFunc(images, func(img conj.Image) bool { return slices.Contains(img, "") }) {
		return images // the rows would say no more
	}
	if keys == nil {
		return images // Keys of images that lack a column drop the table whole.
	}
	read, err := n.reader().readBack(ctx, keys)
	if err != nil {
		n.fail(ctx, "new rows could not be read", err)
		return nil
	}
	if atLeast < 0 || int64(len(read)) < atLeast {
		n.widen("the new rows were not found")
		return nil
	}
	return read
}

// withNumbers are the images of new rows with the keys that the database has
// numbered them by, where these are certain: each row was inserted, none named
// its key, and each key is the one of its row. SQLite returns several rows in no
// order that it would vouch for.
func (n *insertion) withNumbers(keys [][]any, o Outcome) (images []conj.Image, ok bool) {
	key := n.table.AutoIncrement
	if len(n.table.PrimaryKey) != 1 || n.table.PrimaryKey[0] != key || slices.Contains(n.write.Columns, key) {
		return nil, false
	}
	column := n.table.Columns()[key]
	if column.Kind != conj.Integer || len(keys) != len(n.write.Rows) || o.Affected != int64(len(keys)) {
		return nil, false
	}
	if len(keys) > 1 && n.statement.options.Dialect == conj.SQLite {
		return nil, false
	}
	images = make([]conj.Image, len(keys))
	for i, img := range n.images {
		switch keys[i][0].(type) {
		case int64, uint64:
		default:
			return nil, false
		}
		images[i] = slices.Clone(img)
		images[i][key] = column.FromParam(n.statement.options.Dialect, keys[i][0])
	}
	return images, true
}

// keys are the primary keys of the rows that were inserted, or nil if they are
// not known: from the values sent, from the driver's last insert ID, or from the
// model that the database's values were written to.
func (n *insertion) keys(o Outcome) [][]any {
	key := n.table.PrimaryKey
	if len(key) == 0 {
		return nil
	}
	if keys, ok := n.sentValues(key); ok {
		return keys
	}
	if len(key) == 1 && key[0] == n.table.AutoIncrement && len(n.write.Rows) == 1 && o.LastInsertID > 0 {
		return [][]any{{o.LastInsertID}}
	}
	if n.statement.options.Dialect == conj.MySQL && !n.write.HasReturning && len(n.write.Rows) > 1 {
		return nil // in the model they are counted up from the first one
	}
	return n.writtenKeys(o)
}

// writtenKeys are the primary keys in the statement's model.
func (n *insertion) writtenKeys(o Outcome) [][]any {
	if o.WrittenKeys == nil {
		return nil
	}
	lists := o.WrittenKeys(n.table, n.table.PrimaryKey)
	if len(lists) != len(n.write.Rows) {
		return nil
	}
	var keys [][]any
	for _, values := range lists {
		switch {
		case values != nil:
			keys = append(keys, values)
		case !n.write.OnConflictDoNothing:
			return nil
		default: // the row was not inserted
		}
	}
	return keys
}

// sentValues are the values sent for some columns, row by row; all is false if
// they are not all known.
func (n *insertion) sentValues(columns []int) (lists [][]any, all bool) {
	for _, row := range n.write.Rows {
		if values, ok := n.sentRow(row, columns); ok {
			lists = append(lists, values)
		}
	}
	return lists, len(lists) == len(n.write.Rows)
}

func (n *insertion) sentRow(row []conj.Operand, columns []int) ([]any, bool) {
	values := make([]any, 0, len(columns))
	for _, k := range columns {
		for i, column := range n.write.Columns {
			if column != k {
				continue
			}
			v, known := row[i].Resolve(n.statement.args.Normal)
			if !known || v == nil || n.table.Generated(k) || n.numbers(k, v) {
				return nil, false
			}
			if row[i].Kind == conj.ParamOperand {
				v = n.statement.args.Sent[row[i].Param]
			}
			values = append(values, v)
		}
	}
	return values, len(values) == len(columns)
}
