package rows

import (
	"context"
	"fmt"
	"slices"

	"github.com/cacheplugin/cacheplugin/conj"
	"github.com/cacheplugin/cacheplugin/internal/dialect"
)

// duplication is MySQL's INSERT .. ON DUPLICATE KEY UPDATE. A new row may meet
// one that is there already in any unique index, and above READ COMMITTED it
// can't be asked before which these will be. A query that locks would lock the
// gap in which a row would be that isn't there, where others insert; one that
// doesn't fixes what all later ones of the transaction see.
//
// So those rows are locked before whose number the program knows, as most of them
// are there. Afterwards the session's counter of updated rows says whether there
// were others. Each one that isn't accounted for makes the change one of the
// whole table.
type duplication struct {
	insertion
	certain bool           // the images say all, whatever the statement does
	old     []duplicate    // the rows that were locked before
	locked  map[string]int // their places, by the key's values as they are read
	before  handled        // if counted
	counted bool           // what the session did is counted
}

// duplicate is a row that was there before.
type duplicate struct {
	key   []any
	image conj.Image
	sums  []any // of the columns that the statement may assign
}

// handled is what a session has done to rows.
type handled struct{ writes, updates int64 }

func (u *duplication) begin(ctx context.Context) {
	u.insertion.begin(ctx)
	if u.wide() {
		return
	}
	need, _ := u.statement.needed(ctx, u.table, nil)
	reason := u.unreadable()
	switch {
	case u.write.Upsert && !slices.Contains(need, true):
		// No cached query narrows by a column: nothing need be known of the rows.
		u.rows, u.certain = conj.Separate(make(conj.Image, len(need))), true
		return
	case u.write.Upsert && reason != "":
		u.widen(reason)
		return
	case reason != "":
		return // a row that is not inserted stays as it is
	}
	u.lock(ctx)
	if u.wide() || !u.write.Upsert || u.told() {
		return
	}
	var err error
	if u.before, err = u.handled(ctx); err != nil {
		u.fail(ctx, "the session's counters could not be read", err)
	}
	u.counted = true
}

// unreadable says why it can't be found out which rows are met; it is empty if
// it can.
func (u *duplication) unreadable() string {
	switch {
	case !u.statement.options.InTransaction:
		return upsertOutside
	case len(u.table.PrimaryKey) == 0:
		return "no primary key"
	}
	return ""
}

// told reports whether the statement's own count says what it did: 1 for a new
// row, or one that was there and stays as it was, and 2 for one that was changed.
// With RETURNING there is none.
func (u *duplication) told() bool { return len(u.write.Rows) == 1 && !u.write.HasReturning }

// lock reads and locks rows that the statement may meet. A statement that updates
// nothing and whose count says whether it has inserted its row needs none.
func (u *duplication) lock(ctx context.Context) {
	if !u.write.Upsert && u.told() {
		return
	}
	gaps := !u.statement.readCommitted(ctx)
	u.locked = map[string]int{}
	for _, index := range u.table.UniqueIndexes {
		if gaps && (!slices.Equal(index.Columns, []int{u.table.AutoIncrement}) || u.statement.session.Absent(u.table.Table)) {
			continue
		}
		lists, _ := u.sentValues(index.Columns)
		if len(lists) == 0 {
			continue
		}
		rows, err := u.read(ctx, index.Name, index.Columns, lists)
		if err != nil {
			u.fail(ctx, "old rows could not be read", err)
			return
		}
		if gaps && len(rows.keys) < len(lists) {
			// A program that chooses new numbers will do so again. Those who
			// insert in each other's gaps would meet in deadlocks.
			u.statement.session.NoteAbsent(u.table.Table)
		}
		for i, key := range rows.keys {
			name := listName(key)
			if _, met := u.locked[name]; !met {
				u.locked[name] = len(u.old)
				u.old = append(u.old, duplicate{key, rows.images[i], rows.sums[i]})
			}
		}
	}
	if len(u.old) > 0 && u.setsKey() {
		u.widen("the key is assigned") // the rows could not be found again
	}
}

// read reads and locks rows with the checksums of the columns that are assigned.
func (u *duplication) read(ctx context.Context, index string, by []int, lists [][]any) (found, error) {
	if len(lists)*len(by) > dialect.MaxParameters {
		return found{}, fmt.Errorf("%d rows are more than a query can name", len(lists))
	}
	r := u.reader()
	r.index = index
	for _, a := range u.write.Set {
		r.sums = append(r.sums, a.Column)
	}
	return r.readBy(ctx, by, lists, " FOR UPDATE")
}

// handled reads how many rows the session has tried to write, and how many it
// has updated.
func (u *duplication) handled(ctx context.Context) (h handled, err error) {
	rows, err := u.statement.session.QueryContext(ctx, "SHOW SESSION STATUS WHERE Variable_name IN ('Handler_write', 'Handler_update')")
	if err != nil {
		u.statement.noteError(err)
		return handled{}, err
	}
	defer func() {
		if closeErr := rows.Close(); err == nil {
			err = closeErr
		}
	}()
	for rows.Next() {
		var (
			name  string
			value int64
		)
		if err := rows.Scan(&name, &value); err != nil {
			return handled{}, err
		}
		if name == "Handler_update" {
			h.updates = value
		} else {
			h.writes = value
		}
	}
	return h, rows.Err()
}

// complete accounts for the rows that were updated, and adds the images of those
// that were inserted.
func (u *duplication) complete(ctx context.Context, o Outcome) {
	if u.certain {
		return
	}
	updates, ok := u.updates(ctx, o)
	if !ok {
		return
	}
	changes, ok := u.updated(ctx, updates)
	if !ok {
		return
	}
	if updates < int64(len(u.write.Rows)) {
		changes = append(changes, conj.Separate(u.inserted(ctx, o)...)...)
	}
	if !u.wide() {
		u.rows = changes
	}
}

// updates is the number of updates that changed a row.
func (u *duplication) updates(ctx context.Context, o Outcome) (n int64, ok bool) {
	switch {
	case !u.write.Upsert:
		return 0, true
	case !u.counted:
		return max(o.Affected-1, 0), o.Affected == 1 || o.Affected == 2 || u.missing("the count of an upsert")
	}
	after, err := u.handled(ctx)
	if err != nil {
		u.fail(ctx, "the session's counters could not be read", err)
		return 0, false
	}
	if after.writes-u.before.writes < int64(len(u.write.Rows)) {
		return 0, u.missing("the counters of the session") // a proxy has answered, say
	}
	return after.updates - u.before.updates, true
}

func (u *duplication) missing(what string) bool {
	u.widen(what + " does not say what it did")
	return false
}

// updated are the changes of the locked rows, if these are all that were updated.
func (u *duplication) updated(ctx context.Context, updates int64) ([]conj.Change, bool) {
	if len(u.old) == 0 || updates == 0 {
		if updates > 0 {
			u.widen("an upsert that updates rows that were not known before")
		}
		return nil, updates == 0
	}
	keys := make([][]any, len(u.old))
	for i, row := range u.old {
		keys[i] = row.key
	}
	rows, err := u.read(ctx, "PRIMARY", u.table.PrimaryKey, keys)
	if err != nil {
		u.fail(ctx, "new rows could not be read", err)
		return nil, false
	}
	var changes []conj.Change
	columns := assigned(u.table, u.write.Set)
	for i, key := range rows.keys {
		at, met := u.locked[listName(key)]
		// The sums differ only if the row has changed. If they are the same by
		// chance a change is missing in the count below.
		if met && listName(u.old[at].sums) != listName(rows.sums[i]) {
			changes = append(changes, u.statement.updated(u.table, u.old[at].image, rows.images[i], columns))
		}
	}
	if int64(len(changes)) != updates {
		u.widen("an upsert that updates rows that were not known before")
		return nil, false
	}
	return changes, true
}

// inserted are the images of the rows that were inserted, and perhaps of some
// that were there: all that were sent, without those whose key a locked row has.
func (u *duplication) inserted(ctx context.Context, o Outcome) []conj.Image {
	keys := u.keys(o)
	images := u.images
	numbered, certain := u.withNumbers(keys, o)
	if certain {
		images = numbered
	}
	if len(keys) == len(images) {
		kept := 0
		images = slices.Clone(images)
		keys = slices.Clone(keys)
		for i, key := range keys {
			if !u.met(key) {
				images[kept], keys[kept] = images[i], key
				kept++
			}
		}
		images, keys = images[:kept], keys[:kept]
	} else {
		keys = nil
	}
	need, known := u.statement.needed(ctx, u.table, nil)
	if (known || certain) && covers(images, need) {
		return images
	}
	return u.filled(ctx, images, keys, int64(len(keys)))
}

// met reports whether a row of a key is sure to be one of those that were locked.
// Integers are equal only if they are the same.
func (u *duplication) met(key []any) bool {
	columns := u.table.Columns()
	same := make([]conj.Value, len(key))
	for i, k := range u.table.PrimaryKey {
		v, err := conj.NormalizeArg(key[i])
		if err != nil || columns[k].Kind != conj.Integer {
			return false
		}
		same[i] = columns[k].FromParam(conj.MySQL, v)
	}
	return slices.ContainsFunc(u.old, func(row duplicate) bool {
		for i, k := range u.table.PrimaryKey {
			if row.image[k] != same[i] {
				return false
			}
		}
		return true
	})
}
