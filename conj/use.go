package conj

import (
	"slices"
	"strings"
	"unicode"
)

// Use says which columns of a table a query reads, besides those of a
// conjunction. An update that changes none of them, nor of the conjunction's,
// leaves the query's result as it is.
//
// The columns fall in two: those that decide which combinations of rows are in
// the result, and in what order or group, and those that it only displays.
// Query-update independence by columns is that of Levy and Sagiv (VLDB 1993), the
// two kinds those of Manjhi et al. (view inspection, 2009).
type Use struct {
	// Any says that any update matters, even one that changes no column: what is
	// read tells the versions of rows apart.
	Any bool
	// Deciding are the columns that are mentioned anywhere but in a list of
	// results that displays its columns, sorted; DecidesAll says that any column
	// may decide.
	Deciding   []string
	DecidesAll bool
	// Displayed are the columns of such a list, sorted; DisplaysAll says that it
	// displays all columns of the table.
	Displayed   []string
	DisplaysAll bool
}

// maxUses is how many uses of one set of columns a table's schemes tell apart.
// More, of queries that choose their columns call by call, count as one that uses
// all columns: each scheme of a table costs every write of it.
const maxUses = 16

// merge adds what another occurrence of the table is used for.
func (u *Use) merge(other Use) {
	u.Any = u.Any || other.Any
	u.DecidesAll = u.DecidesAll || other.DecidesAll
	u.DisplaysAll = u.DisplaysAll || other.DisplaysAll
	u.Deciding = union(u.Deciding, other.Deciding)
	u.Displayed = union(u.Displayed, other.Displayed)
}

// deciding is the use by a query around: whatever is displayed may decide there.
func (u Use) deciding() Use {
	return Use{Any: u.Any, DecidesAll: u.DecidesAll || u.DisplaysAll, Deciding: union(u.Deciding, u.Displayed)}
}

func union(x, y []string) []string {
	all := slices.Concat(x, y)
	slices.Sort(all)
	return slices.Compact(all)
}

// besides is the use of the columns that are not among those of a conjunction, and
// of each of the others once.
func (u Use) besides(names []string) Use {
	switch {
	case u.Any:
		return Use{Any: true}
	case u.DecidesAll:
		return Use{DecidesAll: true}
	}
	in := func(list []string) func(string) bool {
		return func(name string) bool { return slices.Contains(list, name) }
	}
	u.Deciding = slices.DeleteFunc(slices.Clone(u.Deciding), in(names))
	if u.DisplaysAll {
		u.Displayed = nil
		return u
	}
	u.Displayed = slices.DeleteFunc(slices.DeleteFunc(slices.Clone(u.Displayed), in(names)), in(u.Deciding))
	return u
}

// uses finds out for what each entry of a text's FROM clauses is used, by looking
// at all of its tokens. A column is used if its name stands anywhere where it might
// mean it.
func (c *compiler) uses(out *outerQuery) {
	r := useReader{compiler: c, out: out, known: map[string]bool{}}
	r.displays()
	all := Use{DecidesAll: slices.ContainsFunc(c.toks, func(t token) bool { return t.word == "natural" })}
	for _, core := range c.cores {
		for _, e := range core.entries {
			r.known[strings.ToLower(e.alias)], r.known[strings.ToLower(e.name.Name)] = true, true
		}
	}
	for i := range c.toks {
		all.Any = all.Any || r.disguised(i)
	}
	for _, core := range c.cores {
		for _, e := range core.entries {
			if e.table == nil {
				continue
			}
			e.use = all
			e.use.DecidesAll = all.DecidesAll || e.hidden || e.renamed || core.listLo == core.listHi // the last is TABLE name
			r.entry(e)
		}
	}
}

// useReader looks for columns in the tokens of a text.
type useReader struct {
	*compiler
	out   *outerQuery
	shown []bool          // by token: in a part of the list of results that displays columns
	known map[string]bool // aliases and names of tables, in lower case
}

// maxName is the length to which PostgreSQL cuts names, in bytes.
const maxName = 63

// disguised reports whether a token may name a column that has another name: one with
// escapes, one that is cut, or one whose letters the database folds in a way of its
// own.
func (r *useReader) disguised(i int) bool {
	t := &r.toks[i]
	if !t.identifier() && t.kind != tokDouble {
		return false
	}
	if r.d == PostgreSQL {
		return len(t.text) > maxName || i >= 2 && r.toks[i-1].op("&") && r.toks[i-2].word == "u"
	}
	return strings.ContainsFunc(t.text, func(c rune) bool { return c > unicode.MaxASCII })
}

// displays marks the tokens of those results of the outermost query that only
// display what they name.
func (r *useReader) displays() {
	r.shown = make([]bool, len(r.toks))
	out := r.out
	if out == nil || out.core == nil || out.compound || out.combines || out.shape != Rows || r.namesResults() {
		return
	}
	for lo := out.list.lo; lo < out.list.hi; {
		hi, depth := lo, 0
		for ; hi < out.list.hi && (depth > 0 || !r.toks[hi].is(",")); hi++ {
			if r.toks[hi].is("(") {
				depth++
			} else if r.toks[hi].is(")") {
				depth--
			}
		}
		if r.scalar(span{lo, hi}) {
			for i := lo; i < hi; i++ {
				r.shown[i] = true
			}
		}
		lo = hi + 1
	}
}

// scalar reports whether a result is made of its own row and nothing else: it has no
// subquery, and no function but plain ones.
func (r *useReader) scalar(s span) bool {
	for i := s.lo; i < s.hi; i++ {
		t := &r.toks[i]
		if t.anyOf("select", "with", "over", "filter", "within") {
			return false
		}
		if t.identifier() && r.toks[i+1].is("(") && !plainInWrites[t.word] && !notFunctions[t.word] {
			return false
		}
	}
	return true
}

// namesResults reports whether something outside of the list of results may mean one
// of them: a position or a name that the list gives.
func (r *useReader) namesResults() bool {
	given := map[string]bool{}
	for _, item := range items(r.toks[r.out.list.lo:r.out.list.hi]) {
		if len(item) < 2 {
			continue
		}
		last, before := &item[len(item)-1], &item[len(item)-2]
		if (last.identifier() || last.kind == tokDouble || last.kind == tokString) && !before.is(".") {
			given[strings.ToLower(last.text)] = true
		}
	}
	for i := range r.toks {
		if r.out.list.lo <= i && i < r.out.list.hi {
			continue
		}
		t := &r.toks[i]
		if (t.identifier() || t.kind == tokDouble || t.kind == tokString) && given[strings.ToLower(t.text)] {
			return true
		}
	}
	for _, s := range r.out.orders {
		for i := s.lo; i < s.hi; i++ {
			if t := &r.toks[i]; t.kind == tokNumber || t.kind == tokParam {
				return true
			}
		}
	}
	return false
}

// entry finds the columns of one entry.
func (r *useReader) entry(e *scopeEntry) {
	for i := range r.toks[:max(0, len(r.toks)-1)] {
		if e.use.Any {
			return
		}
		r.token(i, e)
	}
}

// token looks at one token for an entry.
func (r *useReader) token(i int, e *scopeEntry) {
	t := &r.toks[i]
	if t.op("*") {
		r.star(i, e)
		return
	}
	if !t.identifier() && t.kind != tokDouble && (t.kind != tokString || r.d == PostgreSQL) {
		return
	}
	if r.inFrom(i) {
		return
	}
	low := strings.ToLower(t.text)
	named := strings.EqualFold(t.text, e.alias) || strings.EqualFold(t.text, e.name.Name)
	if i > 0 && r.toks[i-1].is(".") {
		if i < 2 {
			e.use.Any = true
			return
		}
		qualifier := &r.toks[i-2]
		switch {
		case qualifier.is(")") || qualifier.is("]"): // a field of a composite, perhaps
			r.column(low, i, e)
			e.use.Any = e.use.Any || systemColumns[low]
		case strings.EqualFold(qualifier.text, e.alias) || strings.EqualFold(qualifier.text, e.name.Name):
			// What is no column may be a function of the row, or a column that is
			// hidden.
			if !r.column(low, i, e) {
				e.use.Any = true
			}
		case !r.known[strings.ToLower(qualifier.text)] && !r.toks[i+1].is(".") && !r.toks[i+1].is("("):
			e.use.Any = true // the qualifier is no schema's, whose tables and functions follow it
		}
		return
	}
	if r.toks[i+1].is(".") {
		return // a table, a schema, or a composite whose table goes before
	}
	if named { // the row as a whole
		e.use.DecidesAll = true
		return
	}
	if t.word != "" && r.toks[i+1].is("(") {
		if _, column := e.table.folded[low]; !column {
			return
		}
	}
	if !r.column(low, i, e) && systemColumns[low] {
		e.use.Any = true
	}
}

// column notes a column by its name in lower case; false if the table has none.
func (r *useReader) column(low string, at int, e *scopeEntry) bool {
	i, ok := e.table.folded[low]
	if !ok {
		return false
	}
	if i < 0 { // of several that differ in case only
		e.use.DecidesAll = true
		return true
	}
	name := e.table.columns[i].Name
	if r.shown[at] {
		e.use.Displayed = union(e.use.Displayed, []string{name})
	} else {
		e.use.Deciding = union(e.use.Deciding, []string{name})
	}
	return true
}

// star notes all columns, if the star at a token stands for those of the entry.
func (r *useReader) star(i int, e *scopeEntry) {
	qualified := r.toks[i-1].is(".") // whatever follows: the row may be cast or compared
	next := &r.toks[i+1]
	ends := next.is(",") || next.is(")") || next.is(";") || next.kind == tokEnd || clauseWords[next.word]
	if !qualified && (!ends || r.toks[i-1].is("(") && i >= 2 && r.toks[i-2].word == "count") {
		return // multiplies, or counts
	}
	if qualified {
		q := r.toks[max(0, i-2)].text
		if r.known[strings.ToLower(q)] && !strings.EqualFold(q, e.alias) && !strings.EqualFold(q, e.name.Name) {
			return
		}
	} else if core := r.coreOf(i); core != nil && !slices.Contains(core.entries, e) {
		return
	}
	if r.shown[i] {
		e.use.DisplaysAll = true
	} else {
		e.use.DecidesAll = true
	}
}

// coreOf returns the SELECT in whose list of results a token is, itself and not in a
// subquery; nil if that isn't known.
func (r *useReader) coreOf(i int) (innermost *selectCore) {
	for _, core := range r.cores {
		if core.listLo <= i && i < core.listHi && (innermost == nil || core.listLo >= innermost.listLo) {
			innermost = core
		}
	}
	return innermost
}

// inFrom reports whether a token is the name or the alias of a table where the FROM
// clause gives it.
func (r *useReader) inFrom(i int) bool {
	_, found := slices.BinarySearchFunc(r.tables, i, func(s span, i int) int {
		switch {
		case i < s.lo:
			return 1
		case i >= s.hi:
			return -1
		}
		return 0
	})
	return found
}
