package cacheplugin

import (
	"fmt"
	"slices"

	"github.com/cacheplugin/cacheplugin/conj"
	"github.com/cacheplugin/cacheplugin/txn"
)

// upsert takes the old images of the rows that an upsert will update. In
// PostgreSQL and SQLite these are the rows that equal a new one in the columns
// of the conflict's target, as any other conflict is an error; they are read
// and locked.
//
// In MySQL a conflict may be with a row of any unique index, and to look for
// rows that are not there yet under a lock would lock the gaps in which others
// insert. There the statement's own count tells of a single row whether it was
// new.
func (t *target) upsert() {
	c := t.c
	t.insert()
	switch {
	case t.whole != "", t.byTarget():
		return
	case c.where != txn.InTx:
		t.widen("an upsert outside of a transaction")
		return
	case c.engine.dialect == conj.MySQL:
		if len(t.write.Rows) != 1 || t.write.HasReturning {
			t.widen("an upsert of which the count does not tell what it did")
		}
		return
	case len(t.table.PrimaryKey) == 0:
		t.widen("no primary key")
		return
	case !t.comparable():
		t.widen("an upsert by an index that compares otherwise than its columns")
		return
	}
	t.images = nil
	keys, known := t.sentValues(t.write.Target)
	if !known && !t.numbered() {
		t.widen("an upsert by values that only the database knows")
		return
	}
	if len(keys) == 0 {
		return
	}
	if len(keys)*len(t.write.Target) > maxParameters {
		t.widen("many rows")
		return
	}
	suffix := " FOR NO KEY UPDATE"
	switch {
	case c.engine.dialect == conj.SQLite:
		suffix = ""
		if err := t.lockSQLite(); err != nil {
			t.widen("the write lock was not granted")
			return
		}
	case t.setsKey():
		suffix = " FOR UPDATE"
	}
	columns := t.imageColumns()
	from, args, err := t.rowsOf(t.write.Target, keys)
	if err == nil {
		t.images, t.locked, err = t.read("SELECT "+t.selectList(columns)+from+suffix, args, columns)
	}
	if err != nil {
		c.engine.failed(c.ctx, "old rows could not be read", t.table.ID, err)
		t.widen("old rows could not be read")
		return
	}
}

// byTarget takes the images from the text, if the conflict's target has all the
// columns that schemes ask for, or if the rows can't be read: a row that is updated
// has the new one's values there, before and after, and of the rest nothing is
// said.
func (t *target) byTarget() bool {
	by := t.write.Target
	if len(by) == 0 || t.c.engine.dialect == conj.MySQL || !t.comparable() {
		return false
	}
	need, _ := t.needed()
	readable := t.c.where == txn.InTx
	for i, n := range need {
		told := slices.Contains(by, i)
		if told && t.changesAlong(i) || n && !told && readable {
			return false
		}
	}
	for _, a := range t.write.Set {
		if slices.Contains(by, a.Column) {
			return false
		}
	}
	images := make([]conj.Image, len(t.images))
	for n, img := range t.images {
		images[n] = make(conj.Image, len(img))
		for _, i := range by {
			images[n][i] = img[i]
		}
	}
	if readable && !covers(images, need) {
		return false
	}
	t.images, t.certain = images, true
	return true
}

// comparable tells whether a row conflicts only with those that are equal to it
// in the target's columns, and whether these can be asked for.
func (t *target) comparable() bool {
	if t.c.engine.dialect == conj.SQLite {
		return !t.table.FoldedIndex
	}
	for _, i := range t.write.Target {
		if t.table.Columns()[i].Kind == conj.Opaque && !t.inKey(i) {
			return false // there may be no such operator
		}
	}
	return true
}

// numbered tells whether the target is the column that the database numbers.
func (t *target) numbered() bool {
	return len(t.write.Target) == 1 && t.write.Target[0] == t.table.AutoIncrement &&
		len(t.table.PrimaryKey) == 1 && t.inKey(t.table.AutoIncrement)
}

// completeUpsert reads the rows that an upsert has made or updated.
func (t *target) completeUpsert() {
	if t.certain {
		return
	}
	if t.c.engine.dialect == conj.MySQL {
		// 1 is a new row, or one that was there and stays as it was; 2 is one
		// that was changed, and what it was isn't known.
		if t.c.affected != 1 {
			t.widen("an upsert that updates")
			return
		}
		t.completeInsert()
		return
	}
	by := t.write.Target
	keys, known := t.sentValues(by)
	if !known {
		by, keys = t.table.PrimaryKey, t.insertedKeys()
	}
	if len(keys) != len(t.write.Rows) || len(keys)*len(by) > maxParameters {
		t.widen("the keys of the new rows are not known")
		return
	}
	images, found, fresh, err := t.readUpserted(by, keys)
	if err != nil {
		t.c.engine.failed(t.c.ctx, "new rows could not be read", t.table.ID, err)
		t.widen("new rows could not be read")
		return
	}
	seen := make(map[string]bool, len(t.locked))
	for _, key := range t.locked {
		seen[fmt.Sprint(key...)] = true
	}
	for i, key := range found {
		if !fresh[i] && !seen[fmt.Sprint(key...)] {
			t.widen("a row came in between")
			return
		}
	}
	if len(images) < len(keys) {
		t.widen("the new rows were not found")
		return
	}
	t.images = append(t.images, images...)
}

// readUpserted reads rows back, and whether each is certain not to have been
// there before the statement. PostgreSQL's xmax tells: ON CONFLICT locks the row
// that it updates, and the new version keeps the locker, while that of a new row
// is zero. Nobody can have come in between on SQLite, which has one writer.
func (t *target) readUpserted(by []int, keys [][]any) (images []conj.Image, found [][]any, fresh []bool, err error) {
	columns := t.imageColumns()
	from, args, err := t.rowsOf(by, keys)
	if err != nil {
		return nil, nil, nil, err
	}
	if t.c.engine.dialect != conj.PostgreSQL {
		images, found, err = t.read("SELECT "+t.selectList(columns)+from, args, columns)
		fresh = make([]bool, len(images))
		for i := range fresh {
			fresh[i] = true
		}
		return images, found, fresh, err
	}
	var isNew bool
	images, found, err = t.readWith("SELECT "+t.selectList(columns)+", xmax::text = '0'"+from, args, columns, &isNew,
		func() { fresh = append(fresh, isNew) })
	return images, found, fresh, err
}
