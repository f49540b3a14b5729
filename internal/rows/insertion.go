package cacheplugin

import (
	"reflect"
	"slices"

	"gorm.io/gorm/schema"

	"github.com/cacheplugin/cacheplugin/conj"
)

// insert takes the images of new rows from the values that are sent.
func (t *target) insert() {
	w := t.write
	if len(w.Rows) > t.c.engine.config.MaxImages {
		t.widen("many rows")
		return
	}
	for _, row := range w.Rows {
		img := t.blank()
		for i, column := range w.Columns {
			img[column] = t.assignedValue(column, row[i])
		}
		t.images = append(t.images, img)
	}
}

// blank is the image of a row before its values: what the database fills is
// unknown, the rest is null.
func (t *target) blank() conj.Image {
	img := make(conj.Image, len(t.table.Columns()))
	for i := range img {
		if t.fills(i) {
			img[i] = ""
		} else {
			img[i] = conj.Null
		}
	}
	return img
}

// completeInsert fills in what the database has filled: the generated key,
// and by that key the rest.
func (t *target) completeInsert() {
	need, known := t.needed()
	if known && covers(t.images, need) {
		return
	}
	if !slices.ContainsFunc(t.images, func(img conj.Image) bool { return slices.Contains(img, "") }) {
		return // a read back would tell no more
	}
	keys := t.insertedKeys()
	if keys == nil {
		return // Keys of images that lack a column drop the table whole.
	}
	if numbered, ok := t.withNumbers(keys); ok && covers(numbered, need) {
		t.images = numbered
		return
	}
	images, err := t.readBack(keys)
	if err != nil {
		t.c.engine.failed(t.c.ctx, "new rows could not be read", t.table.ID, err)
		t.widen("new rows could not be read")
		return
	}
	if t.c.affected < 0 || int64(len(images)) < t.c.affected {
		t.widen("the new rows were not found")
		return
	}
	t.images = images
}

// withNumbers are the images of new rows with the keys that the database has
// numbered them by, where these are certain: each row was inserted, none named
// its key, and each key is the one of its row. SQLite returns several rows in no
// order that it would vouch for.
func (t *target) withNumbers(keys [][]any) (images []conj.Image, ok bool) {
	w, key := t.write, t.table.AutoIncrement
	if len(t.table.PrimaryKey) != 1 || t.table.PrimaryKey[0] != key || slices.Contains(w.Columns, key) {
		return nil, false
	}
	column := t.table.Columns()[key]
	if column.Kind != conj.Integer || len(keys) != len(w.Rows) || t.c.affected != int64(len(keys)) {
		return nil, false
	}
	if len(keys) > 1 && t.c.engine.dialect == conj.SQLite {
		return nil, false
	}
	images = make([]conj.Image, len(keys))
	for i, img := range t.images {
		switch keys[i][0].(type) {
		case int64, uint64:
		default:
			return nil, false
		}
		images[i] = slices.Clone(img)
		images[i][key] = column.FromParam(t.c.engine.dialect, keys[i][0])
	}
	return images, true
}

// insertedKeys are the primary keys of the rows that were inserted, or nil if
// they are not known: from the values sent, from the driver's last insert ID,
// or from the model that GORM has written them to.
func (t *target) insertedKeys() [][]any {
	w, key := t.write, t.table.PrimaryKey
	if len(key) == 0 {
		return nil
	}
	if keys, ok := t.sentValues(key); ok {
		return keys
	}
	if len(key) == 1 && key[0] == t.table.AutoIncrement && len(w.Rows) == 1 && t.c.lastID > 0 {
		return [][]any{{t.c.lastID}}
	}
	stmt := t.c.db.Statement
	if stmt.Schema == nil || stmt.Schema.Table != t.table.Name || len(t.c.owner.captures) != 1 {
		return nil
	}
	if t.c.engine.dialect == conj.MySQL && !w.HasReturning && len(w.Rows) > 1 {
		return nil // counted up by GORM from the first one
	}
	fields := make([]*schema.Field, len(key))
	for i, column := range key {
		fields[i] = stmt.Schema.LookUpField(t.table.Columns()[column].Name)
		if fields[i] == nil {
			return nil
		}
	}
	var keys [][]any
	add := func(row reflect.Value) bool {
		row = reflect.Indirect(row)
		if row.Kind() != reflect.Struct || row.Type() != stmt.Schema.ModelType {
			return false
		}
		values := make([]any, len(fields))
		for i, f := range fields {
			v, zero := f.ValueOf(t.c.ctx, row)
			n, err := conj.NormalizeArg(v)
			if err != nil || zero {
				// Not written: the row was not inserted, if that may be.
				return w.OnConflictDoNothing
			}
			values[i] = n
		}
		keys = append(keys, values)
		return true
	}
	switch v := stmt.ReflectValue; v.Kind() {
	case reflect.Slice, reflect.Array:
		if v.Len() != len(w.Rows) {
			return nil
		}
		for i := range v.Len() {
			if !add(v.Index(i)) {
				return nil
			}
		}
	case reflect.Struct:
		if !add(v) {
			return nil
		}
	default:
		return nil
	}
	return keys
}

// sentValues are the values sent for some columns, row by row; false if they
// are not all known.
func (t *target) sentValues(columns []int) (lists [][]any, all bool) {
	for _, row := range t.write.Rows {
		if values, ok := t.sentRow(row, columns); ok {
			lists = append(lists, values)
		}
	}
	return lists, len(lists) == len(t.write.Rows)
}

func (t *target) sentRow(row []conj.Operand, columns []int) ([]any, bool) {
	values := make([]any, 0, len(columns))
	for _, k := range columns {
		for i, column := range t.write.Columns {
			if column != k {
				continue
			}
			v, known := row[i].Resolve(t.c.args)
			if !known || v == nil || t.table.Generated(k) {
				return nil, false
			}
			if row[i].Kind == conj.ParamOperand {
				v = t.c.sent[row[i].Param]
			}
			values = append(values, v)
		}
	}
	return values, len(values) == len(columns)
}
