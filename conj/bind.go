package conj

import (
	"fmt"
	"slices"
	"strings"
	"sync"
)

// term is what a conjunction says of a column of one table.
type term struct {
	kind   exprKind // exprEqual, exprAny, exprNullSafe, exprIsNull
	col    int
	values []Operand
}

func (t term) same(u term) bool {
	return t.kind == u.kind && t.col == u.col && slices.Equal(t.values, u.values)
}

// template is a conjunction on one table before its arguments are known, its
// columns in the order of the scheme.
type template struct {
	scheme  Scheme
	columns []templateColumn
}

type templateColumn struct {
	Column
	index int
	terms []term
}

// tableRead is a table and its condition in disjunctive normal form.
type tableRead struct {
	table     *Table
	use       Use
	templates []template
	whole     func() []Conjunction // the empty conjunction alone
}

// newTableRead prepares the disjunction of some lists of terms.
func newTableRead(t *Table, lim Limits, any [][]term, use Use) *tableRead {
	r := &tableRead{table: t, use: use, whole: sync.OnceValue(func() []Conjunction {
		all := t.scheme(nil, use)
		return []Conjunction{{Scheme: all, Key: MakeKey(t.ID, all, nil)}}
	})}
	if len(any) > lim.MaxConjunctions {
		any = [][]term{commonTerms(any)}
	}
	for _, terms := range any {
		var tpl template
		for _, tm := range terms {
			i := slices.IndexFunc(tpl.columns, func(c templateColumn) bool { return c.index == tm.col })
			if i < 0 {
				i = len(tpl.columns)
				tpl.columns = append(tpl.columns, templateColumn{Column: t.columns[tm.col], index: tm.col})
			}
			if c := &tpl.columns[i]; c.mayIntersect(tm) {
				c.terms = append(c.terms, tm)
			}
		}
		slices.SortFunc(tpl.columns, func(a, b templateColumn) int { return strings.Compare(a.Name, b.Name) })
		names := make([]string, len(tpl.columns))
		for i, c := range tpl.columns {
			names[i] = c.schemeName()
		}
		tpl.scheme = t.scheme(names, use)
		r.templates = append(r.templates, tpl)
	}
	return r
}

// mayIntersect reports whether a further term on the column can be taken
// together with those before: different values must be different to the
// database, too.
func (c *templateColumn) mayIntersect(t term) bool {
	if len(c.terms) == 0 || t.kind == exprIsNull || c.terms[0].kind == exprIsNull {
		return true
	}
	return c.Kind != FoldedText && c.Kind != PaddedText
}

func commonTerms(any [][]term) []term {
	common := slices.Clone(any[0])
	for _, terms := range any[1:] {
		common = slices.DeleteFunc(common, func(t term) bool { return !slices.ContainsFunc(terms, t.same) })
	}
	return common
}

// boundColumn is a column and the values that a conjunction allows it.
type boundColumn struct {
	name, inScheme string
	index          int
	values         []Value
}

// bound is a template with its arguments: the product of its columns' values.
type bound struct {
	of      *tableRead
	scheme  Scheme
	columns []boundColumn
}

func (b *bound) size() int {
	n := 1
	for i := range b.columns {
		if n *= len(b.columns[i].values); n > 1<<20 {
			return 1 << 20
		}
	}
	return n
}

// binder fills templates with the arguments of one call. Its buffers keep
// small queries, which are nearly all, off the heap.
type binder struct {
	d    Dialect
	lim  Limits
	args []any
	err  error

	boundBuffer  [4]bound
	columnBuffer [8]boundColumn
	valueBuffer  [16]Value
	// columnsUsed and valuesUsed say how much of the last two is taken.
	columnsUsed, valuesUsed int
}

// bind returns the bound templates; whole is true if one of them is empty, so
// that nothing narrows the table.
func (b *binder) bind(r *tableRead) (all []bound, whole bool) {
	all = b.boundBuffer[:0]
	b.columnsUsed, b.valuesUsed = 0, 0
	total := 0
	for i := range r.templates {
		one, never := b.template(r, &r.templates[i])
		if never {
			continue
		}
		for one.size() > b.lim.MaxConjunctions {
			one.drop(b.longest(one))
		}
		if len(one.columns) == 0 {
			return nil, true
		}
		total += one.size()
		all = append(all, one)
	}
	if total > b.lim.MaxConjunctions {
		one := commonBound(all)
		return []bound{one}, len(one.columns) == 0
	}
	return all, false
}

func (b *binder) longest(one bound) int {
	at := 0
	for i := range one.columns {
		if len(one.columns[i].values) > len(one.columns[at].values) {
			at = i
		}
	}
	return at
}

func (b *bound) drop(i int) {
	b.columns = slices.Delete(b.columns, i, i+1)
	b.rename()
}

func (b *bound) rename() {
	names := make([]string, len(b.columns))
	for i := range b.columns {
		names[i] = b.columns[i].inScheme
	}
	b.scheme = b.of.table.scheme(names, b.of.use)
}

// commonBound keeps the columns for which all allow one and the same value.
func commonBound(all []bound) bound {
	one := bound{of: all[0].of}
	for _, c := range all[0].columns {
		if len(c.values) != 1 {
			continue
		}
		shared := true
		for i := range all[1:] {
			shared = shared && slices.ContainsFunc(all[i+1].columns, func(o boundColumn) bool {
				return o.index == c.index && len(o.values) == 1 && o.values[0] == c.values[0]
			})
		}
		if shared {
			one.columns = append(one.columns, c)
		}
	}
	one.rename()
	return one
}

// template binds one conjunction; never is true if it can't be.
func (b *binder) template(r *tableRead, t *template) (one bound, never bool) {
	one = bound{of: r, scheme: t.scheme, columns: b.columnBuffer[b.columnsUsed:b.columnsUsed]}
	values := b.valueBuffer[b.valuesUsed:b.valuesUsed]
	for i := range t.columns {
		c := &t.columns[i]
		start := len(values)
		known := false
		for j := range c.terms {
			from := len(values)
			var ok bool
			if values, ok = b.values(values, c, &c.terms[j]); !ok {
				values = values[:from] // opaque with this argument
				continue
			}
			if known {
				values = intersect(values, start, from)
			}
			known = true
		}
		if !known {
			continue
		}
		mine := values[start:len(values):len(values)]
		if len(mine) == 0 {
			return one, true
		}
		one.columns = append(one.columns, boundColumn{name: c.Name, inScheme: c.schemeName(), index: c.index, values: mine})
	}
	b.columnsUsed = min(b.columnsUsed+len(one.columns), len(b.columnBuffer))
	b.valuesUsed = min(b.valuesUsed+len(values), len(b.valueBuffer))
	if len(one.columns) < len(t.columns) {
		one.rename()
	}
	return one, false
}

// intersect keeps of values[start:from] what is in values[from:] as well.
func intersect(values []Value, start, from int) []Value {
	second := values[from:]
	kept := start
	for i := start; i < from; i++ {
		if slices.Contains(second, values[i]) {
			values[kept] = values[i]
			kept++
		}
	}
	return values[:kept]
}

// values appends the values that a term allows, without repetition; false if
// the argument makes the term opaque.
func (b *binder) values(dst []Value, c *templateColumn, t *term) ([]Value, bool) {
	if t.kind == exprIsNull {
		return append(dst, Null), true
	}
	from := len(dst)
	for i := range t.values {
		arg, ok := t.values[i].Resolve(b.args)
		if !ok {
			b.err = fmt.Errorf("%w: parameter %d of %d", ErrArgument, t.values[i].Param+1, len(b.args))
			return dst, false
		}
		if t.kind == exprAny {
			return b.elements(dst, c, arg)
		}
		v := c.FromParam(b.d, arg)
		if t.values[i].not {
			v = otherBoolean(v)
		}
		switch {
		case v == "" || v == NotNull:
			return dst, false
		case v == Null && t.kind != exprNullSafe:
			continue // = NULL is never true
		case !slices.Contains(dst[from:], v):
			dst = append(dst, v)
		}
	}
	return dst, true
}

// otherBoolean is the value that a boolean column has if it has neither this one
// nor NULL.
func otherBoolean(v Value) Value {
	switch v {
	case known("1"):
		return known("0")
	case known("0"):
		return known("1")
	case Null: // column <> NULL is never true
		return Null
	}
	return ""
}

// elements appends the elements of an array argument.
func (b *binder) elements(dst []Value, c *templateColumn, arg any) ([]Value, bool) {
	from := len(dst)
	ok := true
	add := func(v any) {
		switch v := c.FromParam(b.d, v); {
		case v == "" || v == NotNull:
			ok = false
		case v != Null && !slices.Contains(dst[from:], v):
			dst = append(dst, v)
		}
	}
	switch arg := arg.(type) {
	case nil:
		return dst, true // = ANY(NULL) is never true
	case string:
		list, plain := integerArray(arg)
		if !plain || c.Kind != Integer || len(list) > b.lim.MaxInValues {
			return dst, false
		}
		for _, s := range list {
			add(s)
		}
	default:
		n, at := elementsOf(arg)
		if at == nil || n > b.lim.MaxInValues {
			return dst, false
		}
		for i := 0; i < n && ok; i++ {
			add(at(i))
		}
	}
	return dst, ok
}

// integerArray reads PostgreSQL's text form of a plain array of integers.
func integerArray(s string) ([]string, bool) {
	if len(s) < 2 || s[0] != '{' || s[len(s)-1] != '}' {
		return nil, false
	}
	if s == "{}" {
		return nil, true
	}
	list := strings.Split(s[1:len(s)-1], ",")
	for _, item := range list {
		if !canonicalInteger(item) {
			return nil, false
		}
	}
	return list, true
}

// conjunctions makes the conjunctions of a table for one call.
func (b *binder) conjunctions(r *tableRead) []Conjunction {
	if len(r.templates) == 0 {
		return nil
	}
	all, whole := b.bind(r)
	if whole {
		return r.whole()
	}
	total, terms := 0, 0
	for i := range all {
		n := all[i].size()
		total += n
		terms += n * len(all[i].columns)
	}
	list := make([]Conjunction, 0, total)
	backing := make([]BoundTerm, 0, terms)
	var seen map[Key]bool
	if total > 16 {
		seen = make(map[Key]bool, total)
	}
	var buffer [8]Value
	for i := range all {
		one := &all[i]
		for n := range one.size() {
			row := buffer[:0]
			start := len(backing)
			for j := range one.columns {
				c := &one.columns[j]
				v := c.values[n%len(c.values)]
				n /= len(c.values)
				row = append(row, v)
				backing = append(backing, BoundTerm{Column: c.name, Value: v})
			}
			key := MakeKey(r.table.ID, one.scheme, row)
			if seen != nil {
				if seen[key] {
					continue
				}
				seen[key] = true
			} else if slices.ContainsFunc(list, func(c Conjunction) bool { return c.Key == key }) {
				continue
			}
			list = append(list, Conjunction{Scheme: one.scheme, Key: key, Terms: backing[start:len(backing):len(backing)]})
		}
	}
	return list
}
