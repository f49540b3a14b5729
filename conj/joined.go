package conj

import (
	"slices"
	"strings"
)

// Joined is a table of which a query's own result tells the rows that it
// depends on. The query joins it on the left by equality of keys, and the result
// shows the columns that the keys are compared with:
//
//	SELECT users.*, companies.name FROM users LEFT JOIN companies ON companies.id = users.company_id
//
// Why the rows shown are enough: let r be a row of the joined table, old or new,
// whose key is none of the values shown. Nothing but the ON, the list of results
// and the order depend on the table, nor on any that is joined to it in turn, so
// that every combination of the other tables' rows which satisfies the query is
// in the result, with or without a partner, and shows what it is compared with.
// None shows r's key: r has no partner among them, and makes no difference. A
// combination without a partner shows its key, too, so that the partner's arrival
// is noticed.
//
// With a LIMIT some combinations are not shown. They stay where they are if
// every one makes one row, whatever it is joined with, which is so if the key is
// unique, and if the order doesn't depend on the joined table.
type Joined struct {
	Table *Table
	// Scheme is that of the rows' conjunctions.
	Scheme Scheme

	d       Dialect
	max     int // of keys
	columns []int
	shown   []shown  // what each column equals
	results []string // the names of the result's columns; empty if not known
}

// shown is a column of the result.
type shown struct {
	position int
	column   Column
}

// Columns returns the names of the columns that the rows are told by.
func (j *Joined) Columns() []string {
	names := make([]string, len(j.columns))
	for i, c := range j.columns {
		names[i] = j.Table.columns[c].Name
	}
	return names
}

// Joined returns the tables whose rows the result tells, in place of what deps,
// which Bind has returned, say of them. A table that constants narrow by the
// same columns is not among them.
func (p *Plan) Joined(deps []Dependency) []*Joined {
	var all []*Joined
	for _, j := range p.joined {
		i := slices.IndexFunc(deps, func(d Dependency) bool { return d.Table == j.Table })
		if i >= 0 && slices.ContainsFunc(deps[i].Conjunctions, j.narrows) {
			all = append(all, j)
		}
	}
	return all
}

// narrows reports whether a conjunction says less than the joined rows do.
func (j *Joined) narrows(c Conjunction) bool {
	return slices.ContainsFunc(j.Columns(), func(name string) bool {
		return !slices.ContainsFunc(c.Terms, func(t BoundTerm) bool { return t.Column == name })
	})
}

// ToldBy reports whether a result with columns of these names is what the text was
// taken for when its columns were counted. It is not if a table has been
// redefined.
func (j *Joined) ToldBy(names []string) bool {
	if len(names) != len(j.results) {
		return false
	}
	for i, want := range j.results {
		if want != "" && !sameName(j.d, names[i], want) {
			return false
		}
	}
	return true
}

// JoinedRows gathers the rows of a Joined from a result.
type JoinedRows struct {
	of   *Joined
	seen map[string]struct{}
	keys []Key
	lost bool
}

// Rows returns a [JoinedRows] without any rows yet.
func (j *Joined) Rows() *JoinedRows {
	return &JoinedRows{of: j, seen: make(map[string]struct{}), keys: []Key{}}
}

// Add takes a row of the result, as the driver gave it.
func (r *JoinedRows) Add(row []any) {
	if r.lost {
		return
	}
	var buffer [64]byte
	text, values := buffer[:0], make([]Value, len(r.of.shown))
	for i, s := range r.of.shown {
		if s.position >= len(row) {
			r.Lose()
			return
		}
		switch values[i] = s.column.FromRow(r.of.d, row[s.position]); values[i] {
		case "", NotNull:
			r.Lose()
			return
		case Null: // equals nothing
			return
		}
		text = appendText(text, string(values[i]))
	}
	if _, known := r.seen[string(text)]; known {
		return
	}
	if len(r.keys) == r.of.max {
		r.Lose()
		return
	}
	r.seen[string(text)] = struct{}{}
	r.keys = append(r.keys, r.of.Table.conjunction(r.of.columns, values, r.of.Scheme).Key)
}

// Lose says that the rows can't be told: the result depends on all.
func (r *JoinedRows) Lose() {
	r.lost, r.seen = true, nil
	r.keys = []Key{MakeKey(r.of.Table.ID, "", nil)}
}

// Keys returns the conjunctions of the rows, or that of the whole table.
func (r *JoinedRows) Keys() []Key { return r.keys }

// joined finds the tables of which the result tells the rows. The text is that of
// one SELECT.
func (c *compiler) joined(out *outerQuery) []*Joined {
	core := out.core
	if core == nil || out.compound || out.combines || core.recursive || core.natural || len(core.merged) > 0 ||
		c.skip != "" || c.volatile != "" || len(c.hidden) > 0 {
		return nil
	}
	for _, any := range c.cores { // what a view reads has no name here
		if slices.ContainsFunc(any.entries, func(e *scopeEntry) bool { return e.view != nil }) {
			return nil
		}
	}
	nodes, ok := leftDeep(core)
	if !ok || !slices.ContainsFunc(nodes, func(n *fromNode) bool { return n.kind == joinLeft }) {
		return nil
	}
	f := finder{compiler: c, out: out, core: core, nodes: nodes, n: narrower{d: c.d, lim: c.plan.lim}}
	if f.items, ok = f.list(); !ok || !f.orders() {
		return nil
	}
	found := make([]*Joined, len(nodes))
	f.free = make([]bool, len(nodes))
	for i := len(nodes) - 1; i >= 0; i-- {
		if f.free[i] = f.isFree(i, found); f.free[i] {
			found[i] = f.joined(nodes[i])
		}
	}
	return slices.DeleteFunc(found, func(j *Joined) bool { return j == nil })
}

// leftDeep returns the joins of a FROM clause, outermost last; false if it is
// anything but ordinary tables joined one after the other by inner and left
// joins.
func leftDeep(core *selectCore) (nodes []*fromNode, ok bool) {
	for node := core.from; ; node = node.left {
		if node == nil {
			return nil, false
		}
		leaf := node
		if node.entry < 0 {
			nodes = append(nodes, node)
			leaf = node.right
		}
		if leaf.entry < 0 || leaf != node && node.kind != joinInner && node.kind != joinLeft {
			return nil, false
		}
		if e := core.entries[leaf.entry]; !e.base || e.maybe || e.table == nil || e.hidden || e.renamed {
			return nil, false
		}
		if leaf == node {
			slices.Reverse(nodes)
			return nodes, true
		}
	}
}

// finder looks for joined tables in a SELECT.
type finder struct {
	*compiler
	out   *outerQuery
	core  *selectCore
	nodes []*fromNode
	free  []bool // the joins that take no combination away, as far as is known
	items []selectItem
	n     narrower
}

// selectItem is a column of the result.
type selectItem struct {
	name       string // empty if it is the database's to choose
	entry, col int    // the column that it shows; -1 if it shows something else
}

// isFree reports whether the table that a join adds, its rows and their number, has
// no say in which combinations of those before it are in the result, and in
// which order if some are not shown. found and free hold what is known of the
// joins that follow: they may go on from the table if they are free.
func (f *finder) isFree(at int, found []*Joined) bool {
	entry := f.nodes[at].right.entry
	e := f.core.entries[entry]
	if f.nodes[at].kind != joinLeft || f.mentions(f.out.where, e) || f.out.limited && f.ordersBy(entry) {
		return false
	}
	for i, other := range f.nodes {
		if i == at || !f.mentions(other.onText, e) {
			continue
		}
		if i < at || !f.free[i] || f.out.limited && found[i] == nil {
			return false
		}
	}
	return true
}

// joined returns the table that a free join adds if the result tells its rows.
func (f *finder) joined(node *fromNode) *Joined {
	t := f.core.entries[node.right.entry].table
	if node.on == nil || len(t.Members) > 0 || f.occurrences(t) != 1 {
		return nil
	}
	j := &Joined{Table: t, d: f.d, max: f.plan.lim.MaxConjunctions}
	f.equalities(j, node, node.on)
	if len(j.columns) == 0 || f.out.limited && !slices.ContainsFunc(t.Unique, j.covers) {
		return nil
	}
	names := make([]string, len(j.columns))
	for i, col := range j.columns {
		names[i] = t.columns[col].schemeName()
	}
	j.Scheme = t.scheme(names, f.core.entries[node.right.entry].use)
	for _, item := range f.items {
		j.results = append(j.results, item.name)
	}
	return j
}

// covers reports whether all of some columns are among the joined ones.
func (j *Joined) covers(columns []int) bool {
	return len(columns) > 0 && !slices.ContainsFunc(columns, func(c int) bool { return !slices.Contains(j.columns, c) })
}

// occurrences counts how often the statement reads a table.
func (f *finder) occurrences(t *Table) int {
	n := 0
	for _, core := range f.cores {
		for _, e := range core.entries {
			if e.table != nil && e.table.ID == t.ID {
				n++
			}
		}
	}
	return n
}

// equalities collects the columns of the joined table that must equal columns
// which the result shows.
func (f *finder) equalities(j *Joined, node *fromNode, on *expr) {
	if on.kind == exprAnd {
		for _, kid := range on.kids {
			f.equalities(j, node, kid)
		}
		return
	}
	if on.kind != exprJoin {
		return
	}
	all := f.n.join(f.core, on, node.lo, node.hi)
	if len(all) != 1 || len(all[0]) != 1 {
		return
	}
	a := all[0][0]
	if a.entry != node.right.entry {
		a.entry, a.col, a.entry2, a.col2 = a.entry2, a.col2, a.entry, a.col
	}
	if a.entry != node.right.entry || a.entry2 == a.entry || slices.Contains(j.columns, a.col) {
		return
	}
	i := slices.IndexFunc(f.items, func(item selectItem) bool { return item.entry == a.entry2 && item.col == a.col2 })
	if i >= 0 {
		j.columns = append(j.columns, a.col)
		j.shown = append(j.shown, shown{position: i, column: f.core.entries[a.entry2].table.columns[a.col2]})
	}
}

// systemColumns are columns that tables of some database have and don't list.
var systemColumns = set("ctid xmin xmax cmin cmax tableoid oid rowid _rowid_ rank row_start row_end")

// mentions reports whether some tokens may refer to a table: by its name or alias,
// or by a column that might be its own.
func (f *finder) mentions(s span, e *scopeEntry) bool {
	for i := s.lo; i < s.hi; i++ {
		t := &f.toks[i]
		first, last := i == 0 || !f.toks[i-1].is("."), !f.toks[i+1].is(".")
		switch {
		case !t.identifier() && t.kind != tokDouble && (t.kind != tokString || last):
		case first || !last:
			if strings.EqualFold(t.text, e.alias) || strings.EqualFold(t.text, e.name.Name) || last && f.mayBeColumn(i, e) {
				return true
			}
		}
	}
	return false
}

// mayBeColumn reports whether a name without a qualifier may be a column of a
// table.
func (f *finder) mayBeColumn(at int, e *scopeEntry) bool {
	low := strings.ToLower(f.toks[at].text)
	_, column := e.table.folded[low]
	return (column || systemColumns[low]) && !f.toks[at+1].is("(")
}

// list counts the columns of the result. It is false of a list with anything but
// columns, values and plain functions of them: another function may make several
// rows of one, or one of several.
func (f *finder) list() ([]selectItem, bool) {
	var items []selectItem
	for lo := f.out.list.lo; lo < f.out.list.hi; {
		hi, depth := lo, 0
		for ; hi < f.out.list.hi && (depth > 0 || !f.toks[hi].is(",")); hi++ {
			if f.toks[hi].is("(") {
				depth++
			} else if f.toks[hi].is(")") {
				depth--
			}
		}
		more, ok := f.item(span{lo, hi})
		if !ok {
			return nil, false
		}
		items = append(items, more...)
		lo = hi + 1
	}
	return items, len(items) > 0
}

// item reads an item of the list; one with a star stands for several.
func (f *finder) item(s span) ([]selectItem, bool) {
	n := s.hi - s.lo
	if n == 0 {
		return nil, false
	}
	if last := &f.toks[s.hi-1]; last.op("*") {
		var items []selectItem
		matched := 0
		for i, e := range f.core.entries {
			if n == 1 || n == 3 && f.toks[s.lo+1].is(".") && sameName(f.d, e.alias, f.toks[s.lo].text) {
				matched++
				for col, c := range e.table.columns {
					items = append(items, selectItem{c.Name, i, col})
				}
			}
		}
		return items, n == 1 || matched == 1
	}
	item := selectItem{entry: -1, col: -1}
	if last := &f.toks[s.hi-1]; n >= 2 && (last.identifier() || last.kind == tokDouble || last.kind == tokString) && !f.toks[s.hi-2].is(".") {
		item.name = last.text
		s.hi--
		if f.toks[s.hi-1].word == "as" {
			s.hi--
		}
	}
	if ref, ok := f.reference(s); ok {
		if item.entry, item.col, ok = f.n.resolve(f.core, ref, 0, len(f.core.entries)); ok {
			if item.name == "" {
				item.name = ref.name
			}
			return []selectItem{item}, true
		}
	}
	return []selectItem{item}, s.lo < s.hi && f.plain(s, "null", "true", "false")
}

// reference reads a column's name, of up to three parts.
func (f *finder) reference(s span) (ref columnRef, ok bool) {
	n := s.hi - s.lo
	if n != 1 && n != 3 && n != 5 {
		return ref, false
	}
	for i := s.lo; i < s.hi; i++ {
		t := &f.toks[i]
		switch {
		case (i-s.lo)%2 == 1:
			if !t.is(".") {
				return ref, false
			}
		case !t.identifier():
			return ref, false
		default:
			ref = columnRef{schema: ref.table, table: ref.name, name: t.text}
		}
	}
	return ref, true
}

// plain reports whether some tokens are nothing but columns, values, plain
// functions and the given words.
func (f *finder) plain(s span, words ...string) bool {
	for i := s.lo; i < s.hi; i++ {
		t := &f.toks[i]
		switch {
		case t.kind == tokNumber, t.kind == tokString, t.kind == tokParam, t.is(","), t.is("("), t.is(")"), t.anyOf(words...):
		case t.word != "" && f.toks[i+1].is("(") && plainInWrites[t.word]:
		case t.identifier():
			end := i + 1
			for end+1 < s.hi && f.toks[end].is(".") {
				end += 2
			}
			ref, ok := f.reference(span{i, end})
			if ok && !f.toks[end].is("(") {
				_, _, ok = f.n.resolve(f.core, ref, 0, len(f.core.entries))
				ok = ok || end == i+1 && f.isAlias(ref.name)
			} else {
				ok = false
			}
			if !ok {
				return false
			}
			i = end - 1
		default:
			return false
		}
	}
	return true
}

func (f *finder) isAlias(name string) bool {
	return slices.ContainsFunc(f.items, func(item selectItem) bool { return item.name != "" && sameName(f.d, item.name, name) })
}

// orders reports whether the ORDER BY is plain.
func (f *finder) orders() bool {
	return !slices.ContainsFunc(f.out.orders, func(s span) bool {
		return !f.plain(s, "asc", "desc", "nulls", "first", "last", "is", "not", "null", "true", "false")
	})
}

// ordersBy reports whether the order may depend on a table: by its columns, by a
// result's position or by the name of one that may show it.
func (f *finder) ordersBy(entry int) bool {
	for _, s := range f.out.orders {
		if f.mentions(s, f.core.entries[entry]) {
			return true
		}
		for i := s.lo; i < s.hi; i++ {
			t := &f.toks[i]
			if t.kind == tokNumber || t.kind == tokParam {
				return true
			}
			alone := !f.toks[i-1].is(".") && !f.toks[i+1].is(".")
			if alone && slices.ContainsFunc(f.items, func(item selectItem) bool {
				return (item.entry == entry || item.entry < 0) && strings.EqualFold(item.name, t.text)
			}) {
				return true
			}
		}
	}
	return false
}
