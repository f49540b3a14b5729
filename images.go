package cacheplugin

import (
	"slices"
	"strings"

	"github.com/cacheplugin/cacheplugin/conj"
	"github.com/cacheplugin/cacheplugin/internal/catalog"
)

// target is one table that a statement writes, and what is known of its rows.
type target struct {
	c     *capture
	write *conj.Write
	table *catalog.Table

	everything string      // why the table's writes reach who knows what
	touched    []contacted // other tables that the write reaches
	silent     bool        // the table's profile forbids caching
	whole      string      // why no images can be had

	images  []conj.Image
	locked  [][]any // primary keys of the rows that were locked before
	matched int64   // rows locked before; -1: the images don't need a count
	certain bool    // an upsert's images are those of its text, whatever it does

	set      conj.Image // what an update assigns, as far as is known
	assigned []bool     // the columns that it changes

	closure    []*catalog.Table // where foreign keys lead to
	lead       []int            // the columns by which they do
	leadRows   [][]any          // the values of these in the rows that were locked
	followed   bool             // the rows below are among dependents, or their tables touched
	dependents []*dependents
}

// widen gives up the images.
func (t *target) widen(reason string) {
	if t.whole == "" {
		t.whole = reason
	}
	t.images = nil
}

// aim looks at one table of a statement before it is sent, and takes the old
// images of its rows. granular is false where the statement as a whole can't
// be pinned down.
func (c *capture) aim(w *conj.Write, granular bool) {
	t := &target{c: c, write: w, matched: -1}
	c.targets = append(c.targets, t)
	if w.Temporary {
		c.base.shadow(w.Name.Name)
	}
	table, err := c.base.catalog.Table(c.ctx, c.pool, w.Name, keep(c.tx))
	switch {
	case err != nil:
		c.engine.failed(c.ctx, "a table could not be looked up in the catalog", w.Name.String(), err)
		t.everything = "the catalog could not be read"
		return
	case table == nil:
		// Made since, or not there at all; then the statement fails.
		if w.Statement != conj.DDL {
			t.everything = "unknown table"
		}
		return
	}
	t.table = table
	t.reach()
	t.silent = c.engine.forbidden(table.Table)
	switch {
	case t.silent || t.everything != "":
	case !granular:
		t.widen("several tables or unknown parameters")
	case w.Wide != "":
		t.widen(w.Wide)
	case w.Upsert:
		t.upsert()
	case w.Statement == conj.Insert:
		t.insert()
	case w.Statement == conj.Update:
		t.update()
	case w.Statement == conj.Delete:
		t.delete()
	default:
		t.widen(w.Statement.String())
	}
	t.followRows()
}

// fills tells whether the database fills a column that an insert leaves out.
func (t *target) fills(column int) bool {
	return t.table.Fills(column) || column == t.table.AutoIncrement
}

// changesAlong tells whether an update changes a column without naming it.
func (t *target) changesAlong(column int) bool {
	return t.table.Generated(column) || t.table.OnUpdate(column)
}

// assignedValue is the canonical form of a value that a statement stores, if it is
// sure to be what a row will hold.
func (t *target) assignedValue(column int, o conj.Operand) conj.Value {
	v, known := o.Resolve(t.c.args)
	if !known || t.table.Generated(column) {
		return ""
	}
	col := t.table.Columns()[column]
	if v == nil {
		// MySQL turns NULL into a default where it is lax.
		if t.lax() {
			return ""
		}
		if t.fills(column) && column == t.table.AutoIncrement {
			return ""
		}
		return conj.Null
	}
	switch col.Kind {
	case conj.Opaque:
		return conj.NotNull
	case conj.Integer, conj.Boolean:
		switch v.(type) {
		case int64, bool:
		default:
			return ""
		}
		if t.lax() {
			return "" // clamped to the column's range
		}
	case conj.Text, conj.PaddedText, conj.FoldedText:
		s, ok := v.(string)
		if !ok || t.lax() {
			return ""
		}
		if col.Kind == conj.Text && strings.HasSuffix(s, " ") {
			return "" // cut off where the column is too short for them
		}
	default:
		return ""
	}
	return col.FromParam(t.c.engine.dialect, v)
}

// lax tells whether the server changes values that don't fit instead of
// refusing them.
func (t *target) lax() bool {
	if t.c.engine.dialect != conj.MySQL {
		return false
	}
	server, err := t.c.base.catalog.Server(t.c.ctx, t.c.pool)
	return err != nil || !server.Strict || t.write.OnConflictDoNothing
}

// update takes the old images of the rows that an update will change, from
// its WHERE if that fixes all that the registered schemes ask for, else from
// the rows, which are locked.
func (t *target) update() {
	t.set = make(conj.Image, len(t.table.Columns()))
	t.assigned = make([]bool, len(t.set))
	computed := true
	need, known := t.needed()
	for _, a := range t.write.Set {
		if a.Column < 0 || a.Column >= len(t.set) {
			t.widen("an unknown column is assigned")
			return
		}
		t.assigned[a.Column] = true
		t.set[a.Column] = t.assignedValue(a.Column, a.Value)
	}
	for i := range t.set {
		if t.changesAlong(i) {
			t.assigned[i] = true
		}
		if t.assigned[i] && t.set[i] == "" && (need[i] || !known) {
			computed = false
		}
	}
	if t.leads() {
		t.lead = t.leadColumns(false, t.assigned)
	}
	if where, told := t.where(need, computed); told {
		for _, old := range where {
			t.images = append(t.images, old, overlay(old, t.set, t.assigned))
		}
		return
	}
	if !computed && t.setsKey() {
		t.widen("the key is assigned") // the rows could not be found again
		return
	}
	old := t.lock()
	if t.whole != "" {
		return
	}
	t.images = append(t.images, old...)
	if computed {
		for _, img := range old {
			t.images = append(t.images, overlay(img, t.set, t.assigned))
		}
		t.locked = nil
	}
}

// delete takes the old images of the rows that will go.
func (t *target) delete() {
	need, _ := t.needed()
	if t.leads() {
		t.lead = t.leadColumns(true, nil)
	}
	if where, told := t.where(need, true); told {
		t.images = where
		return
	}
	t.images = t.lock()
	t.locked = nil
}

// where are the images that the statement's WHERE tells of, with nothing in the
// columns that it doesn't fix; where cached queries narrow by no column, as far as
// is known, one of which nothing is known will do. told is false where it is better
// to read the rows: more is needed, and they can be locked.
func (t *target) where(need []bool, computed bool) (images []conj.Image, told bool) {
	if len(t.lead) > 0 {
		return nil, false
	}
	images, ok := t.write.Where(t.c.args)
	switch {
	case ok && len(images) <= t.c.engine.config.MaxImages:
		return images, computed && covers(images, need) || t.unlockable() != ""
	case !slices.Contains(need, true):
		return []conj.Image{make(conj.Image, len(need))}, true
	}
	return nil, false
}

// needed are the columns that the registered schemes of the table ask for, as
// of this process's last look; all of them where it has not looked yet.
func (t *target) needed() (need []bool, known bool) {
	need = make([]bool, len(t.table.Columns()))
	s, _, err := t.c.engine.space(t.c.ctx, t.c.pool, t.table.Name)
	if err != nil {
		s = t.c.engine.home
	}
	schemes, known := s.store.Schemes(t.table.ID)
	if !known {
		for i := range need {
			need[i] = true
		}
		return need, false
	}
	for _, s := range schemes {
		columns, _ := t.table.SchemeColumns(s)
		for _, i := range columns {
			need[i] = true
		}
	}
	return need, true
}

// covers tells whether images know every column that is needed.
func covers(images []conj.Image, need []bool) bool {
	for _, img := range images {
		for i, n := range need {
			if n && (i >= len(img) || img[i] == "") {
				return false
			}
		}
	}
	return true
}

// overlay is an image with the assigned columns replaced.
func overlay(old, set conj.Image, assigned []bool) conj.Image {
	img := make(conj.Image, len(old))
	copy(img, old)
	for i, a := range assigned {
		if a && i < len(img) {
			img[i] = set[i]
		}
	}
	return img
}

// note writes the changes into a journal.
func (t *target) note(j *journal) {
	if t.table == nil || t.everything != "" {
		if t.everything != "" && !(t.table == nil && t.c.err != nil) {
			j.all(t.c.everySpace()...)
		}
		return
	}
	for _, other := range t.touched {
		if t.c.engine.forbidden(other.table.Table) {
			continue
		}
		if s := t.c.spaceOf(j, other.table.Name); s != nil {
			j.whole(s, other.table.ID)
		}
	}
	t.noteBelow(j)
	if t.silent {
		return
	}
	s := t.c.spaceOf(j, t.table.Name)
	switch {
	case s == nil:
	case t.whole != "":
		j.whole(s, t.table.ID)
	case len(t.images) > 0:
		j.add(s, t.table.Table, t.images...)
	}
}

// noteBelow notes what foreign keys change.
func (t *target) noteBelow(j *journal) {
	if t.whole != "" || !t.followed {
		for _, table := range t.closure {
			if t.c.engine.forbidden(table.Table) {
				continue
			}
			if s := t.c.spaceOf(j, table.Name); s != nil {
				j.whole(s, table.ID)
			}
		}
		return
	}
	for _, d := range t.dependents {
		s := t.c.spaceOf(j, d.table.Name)
		switch {
		case s == nil:
		case d.whole != "":
			j.whole(s, d.table.ID)
		case len(d.images) > 0:
			j.add(s, d.table.Table, d.images...)
		}
	}
}

// complete completes the images when the statement was sent.
func (t *target) complete() {
	t.completeRows()
	if t.whole != "" || t.table == nil || t.everything != "" {
		return
	}
	if t.c.affected == 0 {
		t.dependents = nil
	}
	for _, d := range t.dependents {
		d.complete()
	}
}

// completeRows checks the old images against what the statement did and adds the
// new ones that were not known before.
func (t *target) completeRows() {
	if t.table == nil || t.silent || t.everything != "" || t.whole != "" {
		return
	}
	affected := t.c.affected
	if affected == 0 {
		t.images = nil
		return
	}
	switch {
	case t.write.Upsert:
		t.completeUpsert()
	case t.write.Statement == conj.Insert:
		t.completeInsert()
	default:
		if t.matched < 0 {
			return
		}
		// MySQL counts the rows that were changed, the others those that
		// matched. More than were locked: a row has come in between.
		if affected < 0 || affected > t.matched || t.c.engine.dialect != conj.MySQL && affected != t.matched {
			t.widen("the rows were not those that were locked")
			return
		}
		if t.locked == nil {
			return
		}
		images, err := t.readBack(t.locked)
		if err != nil {
			t.c.engine.failed(t.c.ctx, "new rows could not be read", t.table.ID, err)
			t.widen("new rows could not be read")
			return
		}
		if int64(len(images)) != t.matched {
			t.widen("the rows were not found again")
			return
		}
		t.images = append(t.images, images...)
	}
}
