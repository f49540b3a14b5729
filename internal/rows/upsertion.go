package rows

import (
	"context"
	"fmt"
	"slices"

	"github.com/cacheplugin/cacheplugin/conj"
	"github.com/cacheplugin/cacheplugin/internal/dialect"
)

// upsertion is an INSERT that updates rows which exist already, in PostgreSQL
// and SQLite: those that equal a new one in the columns of the conflict's
// target, as any other conflict is an error. They are read and locked.
type upsertion struct {
	insertion
	certain bool    // the images are those of the text, whatever the statement does
	old     [][]any // primary keys of the rows that were locked before
	locked  []conj.Image
}

func (u *upsertion) begin(ctx context.Context) {
	u.insertion.begin(ctx)
	if u.wide() || u.byTarget(ctx) {
		return
	}
	if reason := u.unreadable(); reason != "" {
		u.widen(reason)
		return
	}
	u.lock(ctx)
}

// unreadable says why the images of an upsert can't be had; it is empty if they
// can be.
func (u *upsertion) unreadable() string {
	switch {
	case !u.statement.options.InTransaction:
		return upsertOutside
	case len(u.table.PrimaryKey) == 0:
		return "no primary key"
	case !u.comparable():
		return "an upsert by an index that compares otherwise than its columns"
	}
	return ""
}

// lock reads and locks the rows that the upsert will update.
func (u *upsertion) lock(ctx context.Context) {
	u.rows = nil
	keys, known := u.sentValues(u.write.Target)
	switch {
	case !known && !u.numbered():
		u.widen("an upsert by values that only the database knows")
		return
	case len(keys) == 0:
		return
	case len(keys)*len(u.write.Target) > dialect.MaxParameters:
		u.widen("many rows")
		return
	}
	r := u.reader()
	if u.statement.options.Dialect == conj.SQLite {
		if err := r.reserve(ctx); err != nil {
			u.widen("the write lock was not granted")
			return
		}
	}
	rows, err := r.readBy(ctx, u.write.Target, keys, u.lockSuffix())
	if err != nil {
		u.fail(ctx, "old rows could not be read", err)
		return
	}
	u.rows, u.old, u.locked = conj.Separate(rows.images...), rows.keys, rows.images
}

func (u *upsertion) lockSuffix() string {
	switch {
	case u.statement.options.Dialect == conj.SQLite:
		return ""
	case u.setsKey():
		return " FOR UPDATE"
	}
	return " FOR NO KEY UPDATE"
}

// byTarget takes the images from the text, if the conflict's target has all the
// columns that schemes ask for, or if the rows can't be read: a row that is
// updated has the new one's values there, before and after, and of the rest
// nothing is said.
func (u *upsertion) byTarget(ctx context.Context) bool {
	by := u.write.Target
	if len(by) == 0 || !u.comparable() {
		return false
	}
	need, _ := u.statement.needed(ctx, u.table, nil)
	readable := u.statement.options.InTransaction
	for i, needed := range need {
		inTarget := slices.Contains(by, i)
		if inTarget && changesAlong(u.table, i) || needed && !inTarget && readable {
			return false
		}
	}
	if slices.ContainsFunc(u.write.Set, func(a conj.Assignment) bool { return slices.Contains(by, a.Column) }) {
		return false
	}
	images := make([]conj.Image, len(u.images))
	for n, img := range u.images {
		images[n] = make(conj.Image, len(img))
		for _, i := range by {
			images[n][i] = img[i]
		}
	}
	if readable && !covers(images, need) {
		return false
	}
	u.rows, u.certain = conj.Separate(images...), true
	return true
}

// comparable reports whether a row conflicts only with those that are equal to
// it in the target's columns, and whether these can be asked for.
func (u *upsertion) comparable() bool {
	if u.statement.options.Dialect == conj.SQLite {
		return !u.table.FoldedIndex
	}
	return !slices.ContainsFunc(u.write.Target, func(i int) bool {
		return u.table.Columns()[i].Kind == conj.Opaque && !inKey(u.table, i) // there may be no such operator
	})
}

// numbered reports whether the target is the column that the database numbers.
func (u *upsertion) numbered() bool {
	return len(u.write.Target) == 1 && u.write.Target[0] == u.table.AutoIncrement &&
		len(u.table.PrimaryKey) == 1 && inKey(u.table, u.table.AutoIncrement)
}

// complete reads the rows that the upsert has made or updated.
func (u *upsertion) complete(ctx context.Context, o Outcome) {
	if u.certain {
		return
	}
	by := u.write.Target
	keys, known := u.sentValues(by)
	if !known {
		by, keys = u.table.PrimaryKey, u.keys(o)
	}
	if len(keys) != len(u.write.Rows) || len(keys)*len(by) > dialect.MaxParameters {
		u.widen("the keys of the new rows are not known")
		return
	}
	rows, err := u.reader().readFresh(ctx, by, keys)
	switch {
	case err != nil:
		u.fail(ctx, "new rows could not be read", err)
	case !u.expected(rows):
		u.widen("a row came in between")
	case len(rows.images) < len(keys):
		u.widen("the new rows were not found")
	default:
		u.rows = u.paired(rows.images)
	}
}

// paired are the changes of the locked rows, and the new ones.
func (u *upsertion) paired(images []conj.Image) []conj.Change {
	if u.setsKey() {
		return conj.Separate(slices.Concat(u.locked, images)...)
	}
	return u.statement.paired(u.table, u.locked, images, assigned(u.table, u.write.Set))
}

// expected reports whether each row is a new one or one of those that were
// locked before.
func (u *upsertion) expected(rows found) bool {
	locked := make(map[string]bool, len(u.old))
	for _, key := range u.old {
		locked[fmt.Sprint(key...)] = true
	}
	for i, key := range rows.keys {
		if !rows.fresh[i] && !locked[fmt.Sprint(key...)] {
			return false
		}
	}
	return true
}
