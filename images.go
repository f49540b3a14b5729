package cacheplugin

import (
	"database/sql"
	"fmt"
	"reflect"
	"strconv"
	"strings"

	"gorm.io/gorm/schema"

	"github.com/cacheplugin/cacheplugin/catalog"
	"github.com/cacheplugin/cacheplugin/conj"
	"github.com/cacheplugin/cacheplugin/txn"
)

// target is one table that a statement writes, and what is known of its rows.
type target struct {
	c     *capture
	write *conj.Write
	table *catalog.Table

	everything string   // why the table's writes reach who knows what
	touched    []string // IDs of other tables that the write reaches
	silent     bool     // the table's profile forbids caching
	whole      string   // why no images can be had

	images  []conj.Image
	locked  [][]any // primary keys of the rows that were locked before
	matched int64   // rows locked before; -1: the images don't need a count
	set     conj.Image
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
	case w.Statement == conj.Insert:
		t.insert()
	case w.Statement == conj.Update:
		t.update()
	case w.Statement == conj.Delete:
		t.delete()
	default:
		t.widen(w.Statement.String())
	}
}

// reach notes the other tables that a write of this one changes: what views
// stand on, what triggers write, where foreign keys cascade to.
func (t *target) reach() {
	e, w := t.c.engine, t.write
	if w.Statement == conj.DDL {
		return
	}
	if !t.table.Base {
		t.everything = t.table.Name + " " + t.table.Uncacheable
		return
	}
	switch w.Statement {
	case conj.Delete, conj.Replace, conj.Truncate, conj.Merge:
		t.touched = append(t.touched, t.table.DeleteTouches...)
		t.touched = append(t.touched, t.table.UpdateTouches...)
	case conj.Update:
		if t.setsReferenced() {
			t.touched = append(t.touched, t.table.UpdateTouches...)
		}
	case conj.Insert:
		// An upsert updates.
		if w.Wide != "" {
			t.touched = append(t.touched, t.table.UpdateTouches...)
		}
	}
	if !t.table.Triggers {
		return
	}
	t.widen("triggers")
	profile := e.profile(t.table.Name, modelType(t.c.db.Statement)).profile
	if profile == nil || profile.Touches == nil {
		t.everything = "triggers"
		message := "cacheplugin: the table has triggers, whose writes can't be seen: everything cached is dropped by each write to it; list the tables that they write in its profile's Touches"
		if t.table.TriggersHidden {
			message = "cacheplugin: MySQL hides the table's triggers from this user, so that it may have some: everything cached is dropped by each write to it; grant the user TRIGGER, or set its profile's Touches"
		}
		if e.limiter.allow("triggers " + t.table.ID) {
			e.config.Logger.WarnContext(t.c.ctx, message, "table", t.table.ID)
		}
		return
	}
	for _, name := range profile.Touches {
		schema, rest, qualified := strings.Cut(name, ".")
		n := conj.TableName{Schema: schema, Name: rest}
		if !qualified {
			n = conj.TableName{Name: name}
		}
		touched, err := t.c.base.catalog.Table(t.c.ctx, t.c.pool, n, keep(t.c.tx))
		if err != nil || touched == nil {
			t.everything = "a table in Touches is unknown: " + name
			return
		}
		t.touched = append(t.touched, touched.ID)
	}
}

// setsKey tells whether an update assigns a column of the primary key.
func (t *target) setsKey() bool {
	for _, a := range t.write.Set {
		if t.inKey(a.Column) {
			return true
		}
	}
	return false
}

// setsReferenced tells whether an update may change a column that the foreign
// keys of UpdateTouches refer to.
func (t *target) setsReferenced() bool {
	if t.write.Wide != "" {
		return true
	}
	for i := range t.table.Columns() {
		if t.table.Referenced(i) && t.changesAlong(i) {
			return true
		}
	}
	for _, a := range t.write.Set {
		if t.table.Referenced(a.Column) {
			return true
		}
	}
	return false
}

// fills tells whether the database fills a column that an insert leaves out.
func (t *target) fills(column int) bool {
	return t.table.Fills(column) || column == t.table.AutoIncrement
}

// changesAlong tells whether an update changes a column without naming it.
func (t *target) changesAlong(column int) bool {
	return t.table.Generated(column) || t.table.OnUpdate(column)
}

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
			img[column] = t.assigned(column, row[i])
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

// assigned is the canonical form of a value that a statement stores, if it is
// sure to be what a row will hold.
func (t *target) assigned(column int, o conj.Operand) conj.Value {
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
	computed := true
	assigned := make([]bool, len(t.set))
	need, known := t.needed()
	for _, a := range t.write.Set {
		if a.Column < 0 || a.Column >= len(t.set) {
			t.widen("an unknown column is assigned")
			return
		}
		assigned[a.Column] = true
		t.set[a.Column] = t.assigned(a.Column, a.Value)
	}
	for i := range t.set {
		if t.changesAlong(i) {
			assigned[i] = true
		}
		if assigned[i] && t.set[i] == "" && (need[i] || !known) {
			computed = false
		}
	}
	if computed {
		if where, ok := t.write.Where(t.c.args); ok && covers(where, need) && len(where) <= t.c.engine.config.MaxImages {
			for _, old := range where {
				t.images = append(t.images, old, overlay(old, t.set, assigned))
			}
			return
		}
	}
	old := t.lock()
	if t.whole != "" {
		return
	}
	t.images = append(t.images, old...)
	if computed {
		for _, img := range old {
			t.images = append(t.images, overlay(img, t.set, assigned))
		}
		t.locked = nil
		return
	}
	if t.setsKey() {
		t.widen("the key is assigned")
	}
}

// delete takes the old images of the rows that will go.
func (t *target) delete() {
	need, _ := t.needed()
	if where, ok := t.write.Where(t.c.args); ok && covers(where, need) && len(where) <= t.c.engine.config.MaxImages {
		t.images = where
		return
	}
	t.images = t.lock()
	t.locked = nil
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

// lock reads and locks the rows that the statement's WHERE matches, in the
// same transaction. Outside of one the rows may change in between, so the
// table is dropped whole.
func (t *target) lock() []conj.Image {
	c := t.c
	if c.where != txn.InTx {
		t.widen("not in a transaction")
		return nil
	}
	if c.engine.dialect == conj.MySQL && !c.gapLocks() {
		// Affected rows count changed rows only, so that without gap locks
		// a row that came in between could hide behind an unchanged one.
		t.widen("isolation below REPEATABLE READ")
		return nil
	}
	if len(t.table.PrimaryKey) == 0 {
		t.widen("no primary key")
		return nil
	}
	limit := c.engine.config.MaxImages
	suffix := "LIMIT " + strconv.Itoa(limit+1)
	switch c.engine.dialect {
	case conj.PostgreSQL:
		if t.write.Statement == conj.Update && !t.setsKey() {
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
	query, args, ok := t.write.ImageQuery(t.selectList(columns), suffix, c.args)
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
	for _, i := range t.table.PrimaryKey {
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

func (t *target) inKey(column int) bool {
	for _, i := range t.table.PrimaryKey {
		if i == column {
			return true
		}
	}
	return false
}

// read runs an image query.
func (t *target) read(query string, args []any, columns []int) (images []conj.Image, keys [][]any, err error) {
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
	for rows.Next() {
		if err := rows.Scan(pointers...); err != nil {
			return nil, nil, err
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
		for _, k := range t.table.PrimaryKey {
			for n, i := range columns {
				if i == k {
					key = append(key, values[n])
				}
			}
		}
		images, keys = append(images, img), append(keys, key)
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

// readBack reads the images of rows by their keys.
func (t *target) readBack(keys [][]any) ([]conj.Image, error) {
	if len(keys) == 0 {
		return nil, nil
	}
	columns := t.imageColumns()
	var where strings.Builder
	var args []any
	all := t.table.Columns()
	for r, key := range keys {
		if len(key) != len(t.table.PrimaryKey) {
			return nil, fmt.Errorf("a key of %s has %d columns, not %d", t.table.ID, len(key), len(t.table.PrimaryKey))
		}
		if r > 0 {
			where.WriteString(" OR ")
		}
		for i, column := range t.table.PrimaryKey {
			if i > 0 {
				where.WriteString(" AND ")
			}
			args = append(args, key[i])
			where.WriteString(t.quote(all[column].Name) + " = " + t.placeholder(len(args)))
		}
	}
	images, _, err := t.read("SELECT "+t.selectList(columns)+" FROM "+t.quotedTable()+" WHERE "+where.String(), args, columns)
	return images, err
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

// note writes the changes into a journal.
func (t *target) note(j *journal) {
	if t.table == nil || t.everything != "" {
		if t.everything != "" && !(t.table == nil && t.c.err != nil) {
			j.all(t.c.everySpace()...)
		}
		return
	}
	for _, id := range t.touched {
		if s := t.c.spaceOf(j, id[strings.LastIndexByte(id, '.')+1:]); s != nil {
			j.whole(s, id)
		}
	}
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

// complete checks the old images against what the statement did and adds the
// new ones that were not known before.
func (t *target) complete() {
	if t.table == nil || t.silent || t.everything != "" || t.whole != "" {
		return
	}
	affected := t.c.affected
	if affected == 0 {
		t.images = nil
		return
	}
	switch t.write.Statement {
	case conj.Insert:
		t.completeInsert()
	case conj.Update, conj.Delete:
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

// completeInsert fills in what the database has filled: the generated key,
// and by that key the rest.
func (t *target) completeInsert() {
	need, known := t.needed()
	if known && covers(t.images, need) {
		return
	}
	if covers(t.images, t.readable()) {
		return
	}
	keys := t.insertedKeys()
	if keys == nil {
		return // Keys of images that lack a column drop the table whole.
	}
	images, err := t.readBack(keys)
	if err != nil {
		t.c.engine.failed(t.c.ctx, "new rows could not be read", t.table.ID, err)
		t.widen("new rows could not be read")
		return
	}
	if t.c.affected >= 0 && int64(len(images)) < t.c.affected {
		t.widen("the new rows were not found")
		return
	}
	t.images = images
}

// readable marks the columns of which a read back would tell more.
func (t *target) readable() []bool {
	marks := make([]bool, len(t.table.Columns()))
	for i := range marks {
		marks[i] = true
	}
	return marks
}

// insertedKeys are the primary keys of the rows that were inserted, or nil if
// they are not known: from the values sent, from the driver's last insert ID,
// or from the model that GORM has written them to.
func (t *target) insertedKeys() [][]any {
	w, key := t.write, t.table.PrimaryKey
	if len(key) == 0 {
		return nil
	}
	if keys, ok := t.sentKeys(); ok {
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

// sentKeys are the primary keys among the values sent.
func (t *target) sentKeys() ([][]any, bool) {
	keys := make([][]any, 0, len(t.write.Rows))
	for _, row := range t.write.Rows {
		key := make([]any, 0, len(t.table.PrimaryKey))
		for _, k := range t.table.PrimaryKey {
			for i, column := range t.write.Columns {
				if column != k {
					continue
				}
				v, known := row[i].Resolve(t.c.args)
				if !known || v == nil || t.table.Generated(k) {
					return nil, false
				}
				key = append(key, v)
			}
		}
		if len(key) != len(t.table.PrimaryKey) {
			return nil, false
		}
		keys = append(keys, key)
	}
	return keys, true
}
