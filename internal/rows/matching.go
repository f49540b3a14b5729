package rows

import (
	"context"
	"slices"
	"strconv"

	"github.com/cacheplugin/cacheplugin/conj"
)

// matching is an UPDATE or a DELETE: its rows are those that its condition
// matches. Their old images come from the condition, if that fixes all that the
// registered schemes ask for, else from the rows, which are locked.
type matching struct {
	*target
	matched int64        // rows locked before; -1 if the images don't need a count
	keys    [][]any      // of the rows that were locked
	old     []conj.Image // of the rows to be read after the statement; nil if none are

	set      conj.Image // what an update assigns, as far as is known
	assigned []bool     // the columns that it changes
	texts    []int      // the columns to which it assigns texts that rows may have already
	exact    [][]any    // the values of these in the rows that were locked, aligned with them

	lead     []int   // the columns by which foreign keys lead to other rows
	leadRows [][]any // the values of these in the rows that were locked; nil if they weren't
}

func (m *matching) begin(ctx context.Context) {
	deleted := m.write.Statement == conj.Delete
	if deleted {
		m.beginDelete(ctx)
	} else {
		m.beginUpdate(ctx)
	}
	if m.wide() || m.leadRows == nil {
		return
	}
	m.cascade.follow(ctx, &step{
		table: m.table, lead: m.lead, rows: m.leadRows,
		deleted: deleted, set: m.set, changed: m.assigned,
	})
}

func (m *matching) beginDelete(ctx context.Context) {
	need, _ := m.statement.needed(ctx, m.table, nil)
	if m.cascade.worthFollowing(ctx) {
		m.lead = m.leadColumns(true, nil)
	}
	if where, enough := m.where(ctx, need, true); enough {
		m.rows = deleted(where)
		return
	}
	m.rows = deleted(m.lock(ctx))
	m.old = nil
}

func (m *matching) beginUpdate(ctx context.Context) {
	if !m.assign(ctx) {
		m.widen("an unknown column is assigned")
		return
	}
	need, known := m.statement.needed(ctx, m.table, m.assigned)
	computed := m.computed(need, known)
	if m.cascade.worthFollowing(ctx) {
		m.lead = m.leadColumns(false, m.assigned)
	}
	compared := m.compare(ctx)
	if where, enough := m.where(ctx, need, computed); enough && !compared {
		m.rows = m.updated(where)
		return
	}
	if !computed && m.setsKey() {
		m.widen("the key is assigned") // the rows could not be found again
		return
	}
	if !computed {
		m.texts = nil // what is read back tells
	}
	old := m.lock(ctx)
	if m.wide() {
		return
	}
	if computed {
		m.rows = m.updated(old)
		m.old = nil
		return
	}
	// Known before the statement is what was there.
	m.rows, m.old = conj.Separate(old...), old
}

// updated are the changes of rows whose new images follow from the old ones.
func (m *matching) updated(old []conj.Image) []conj.Change {
	changes := make([]conj.Change, len(old))
	for i, img := range old {
		assigned := m.assigned
		if m.exact != nil {
			assigned = m.besides(m.exact[i])
		}
		changes[i] = m.statement.updated(m.table, img, overlay(img, m.set, m.assigned), assigned)
	}
	return changes
}

// besides are the assigned columns but those of the texts that a row has already.
func (m *matching) besides(texts []any) []bool {
	assigned := slices.Clone(m.assigned)
	for n, column := range m.texts {
		if text, known := m.text(column); known && m.statement.sameText(texts[n], text) {
			assigned[column] = false
		}
	}
	return assigned
}

// maxText is how many bytes a text may have that is compared with what the row has.
// Save assigns all columns, and most of them what they have.
const maxText = 1 << 10

// compare reports whether the update may leave columns as they are that are all that
// somebody uses, though it assigns them. It notes those of texts, which are to be read.
func (m *matching) compare(ctx context.Context) (used bool) {
	schemes, known := m.statement.session.Schemes(ctx, m.table.Table)
	if !known || !m.saves() || !keepsOthers(m.table) || m.statement.unlockable(ctx, m.table) != "" {
		return false
	}
	schemes = slices.DeleteFunc(slices.Clone(schemes), func(s conj.Scheme) bool { return m.table.Used(s) == nil })
	only := make([]bool, len(m.assigned))
	for _, a := range m.write.Set {
		only[a.Column] = true
		if slices.ContainsFunc(schemes, func(s conj.Scheme) bool { return m.table.Touches(s, only) }) {
			used = true
			if text, known := m.text(a.Column); known && len(text) <= maxText && !m.table.Generated(a.Column) {
				m.texts = append(m.texts, a.Column)
			}
		}
		only[a.Column] = false
	}
	return used
}

// saves reports whether the update assigns all columns but the key's, as GORM's Save
// does, which can't know what the program has changed.
func (m *matching) saves() bool {
	for i, assigned := range m.assigned {
		if !assigned && !inKey(m.table, i) {
			return false
		}
	}
	return len(m.write.Set) > 1
}

// text is the text that is assigned to a column of texts; false if none is known.
func (m *matching) text(column int) (text string, known bool) {
	switch m.table.Columns()[column].Kind {
	case conj.Text, conj.PaddedText, conj.FoldedText:
	default:
		return "", false
	}
	for _, a := range m.write.Set {
		if a.Column == column {
			v, _ := a.Value.Resolve(m.statement.args.Normal)
			text, known = v.(string) // the last, should there be several
		}
	}
	return text, known
}

// deleted are the changes of rows that are gone.
func deleted(old []conj.Image) []conj.Change {
	changes := make([]conj.Change, len(old))
	for i, img := range old {
		changes[i].Old = img
	}
	return changes
}

// assign notes what an update assigns; false if it is to an unknown column.
func (m *matching) assign(ctx context.Context) bool {
	m.set = make(conj.Image, len(m.table.Columns()))
	for _, a := range m.write.Set {
		if a.Column < 0 || a.Column >= len(m.set) {
			return false
		}
		m.set[a.Column] = m.assignedValue(ctx, a.Column, a.Value)
	}
	m.assigned = assigned(m.table, m.write.Set)
	return true
}

// computed reports whether the new images can be told from the old ones and
// what is assigned.
func (m *matching) computed(need []bool, known bool) bool {
	for i, assigned := range m.assigned {
		if assigned && m.set[i] == "" && (need[i] || !known) {
			return false
		}
	}
	return true
}

// reader reads the lead columns, too.
func (m *matching) reader() *reader {
	r := m.target.reader()
	r.lead, r.exact = m.lead, m.texts
	return r
}

func (m *matching) leadColumns(deleted bool, changed []bool) []int {
	return leadColumns(m.statement.options.Dialect, m.table, deleted, changed)
}

// where are the images that follow from the statement's condition, with nothing
// in the columns that it doesn't fix; where cached queries narrow by no column,
// as far as is known, one of which nothing is known will do. enough is false
// where it is better to read the rows: more is needed, and they can be locked.
func (m *matching) where(ctx context.Context, need []bool, computed bool) (images []conj.Image, enough bool) {
	if len(m.lead) > 0 {
		return nil, false
	}
	images, ok := m.write.Where(m.statement.args.Normal)
	switch {
	case ok && len(images) <= m.statement.options.MaxImages:
		return images, computed && covers(images, need) || m.statement.unlockable(ctx, m.table) != ""
	case !slices.Contains(need, true):
		return []conj.Image{make(conj.Image, len(need))}, true
	}
	return nil, false
}

// lock reads and locks the rows that the statement's condition matches, in the
// same transaction. Where that can't be done the table is dropped whole.
func (m *matching) lock(ctx context.Context) []conj.Image {
	if reason := m.statement.unlockable(ctx, m.table); reason != "" {
		m.widen(reason)
		return nil
	}
	r := m.reader()
	if m.statement.options.Dialect == conj.SQLite {
		if err := r.reserve(ctx); err != nil {
			// The statement will meet the same error.
			m.widen("the write lock was not granted")
			return nil
		}
	}
	columns := r.columns(ctx)
	query, args, ok := m.write.ImageQuery(r.selectList(columns), m.lockSuffix(), m.statement.args.Sent)
	if !ok {
		m.widen("no image query")
		return nil
	}
	rows, err := r.read(ctx, query, args, columns, nil)
	if err != nil {
		m.fail(ctx, "old rows could not be read", err)
		return nil
	}
	if len(rows.images) > m.statement.options.MaxImages {
		m.widen("many rows")
		return nil
	}
	m.matched, m.keys, m.exact = int64(len(rows.images)), rows.keys, rows.exact
	if len(m.lead) > 0 {
		m.leadRows = append([][]any{}, rows.lead...) // not nil: there may be no rows
	}
	return rows.images
}

func (m *matching) lockSuffix() string {
	suffix := "LIMIT " + strconv.Itoa(m.statement.options.MaxImages+1)
	switch m.statement.options.Dialect {
	case conj.PostgreSQL:
		if m.write.Statement == conj.Update && !m.setsKey() && len(m.lead) == 0 {
			return suffix + " FOR NO KEY UPDATE"
		}
		return suffix + " FOR UPDATE"
	case conj.MySQL:
		return suffix + " FOR UPDATE"
	}
	return suffix
}

func (m *matching) complete(ctx context.Context, o Outcome) {
	if m.matched < 0 {
		return
	}
	// MySQL counts the rows that were changed, the others those that matched.
	// More than were locked: a row has come in between.
	if o.Affected < 0 || o.Affected > m.matched || m.statement.options.Dialect != conj.MySQL && o.Affected != m.matched {
		m.widen("the rows were not those that were locked")
		return
	}
	if m.old == nil {
		return
	}
	images, err := m.reader().readBack(ctx, m.keys)
	if err != nil {
		m.fail(ctx, "new rows could not be read", err)
		return
	}
	if int64(len(images)) != m.matched {
		m.widen("the rows were not found again")
		return
	}
	m.rows = m.statement.paired(m.table, m.old, images, m.assigned)
}
