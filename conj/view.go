package conj

import (
	"fmt"
	"slices"
)

// View is the query that a view stands for.
type View struct {
	// Query is the text of the view's SELECT, in the dialect of the statements
	// that read it.
	Query string
	// Schema is where the query's names without a schema belong; empty if they
	// mean what they mean in any statement.
	Schema string
}

// maxViews bounds how deep views stand on each other.
const maxViews = 16

// tableRows is a table and which of its rows matter, in disjunctive normal
// form. Where the disjunction is empty no row does.
type tableRows struct {
	table    *Table
	narrowed [][]term
	use      Use
}

// viewRead is what a query on a view reads.
type viewRead struct {
	// columns are the view's columns for the statement around it. One that is
	// a column of the source has its kind, of the others nothing is known.
	columns *Table
	// reads are the view itself, of which no row matters, and all tables
	// below, with what the view's own conditions say of them.
	reads []tableRows
	// source is the index in reads of the table of whose rows the view's are
	// a part, one for one; -1 of all views but the plainest. origin has, for
	// each of the view's columns, the source's column that it is, or -1.
	source int
	origin []int
}

// rows returns which rows of a table matter, given the statement's conditions
// on the view.
//
// A row of the source that fails the view's condition is not in the view, and
// one whose columns fail the statement's condition on the view's is in no
// result, so that both narrow.
func (v *viewRead) rows(i int, outer [][]term, lim Limits) [][]term {
	inner := v.reads[i].narrowed
	if i != v.source {
		return inner
	}
	mapped := make([][]term, 0, len(outer))
	for _, terms := range outer {
		var own []term
		for _, t := range terms {
			if t.col = v.origin[t.col]; t.col >= 0 {
				own = append(own, t)
			}
		}
		if len(own) == 0 {
			return inner
		}
		mapped = append(mapped, own)
	}
	if len(mapped)*len(inner) > lim.MaxConjunctions {
		return mapped
	}
	var product [][]term
	for _, a := range mapped {
		for _, b := range inner {
			terms := slices.Clone(a)
			for _, t := range b {
				terms = appendTerm(terms, t)
			}
			slices.SortStableFunc(terms, func(a, b term) int { return a.col - b.col })
			product = append(product, terms)
		}
	}
	return product
}

// view compiles the query of a view and of all views below it. What it says of
// caching, a function or a lock, counts as if it stood in the statement.
func (c *compiler) view(v *Table, name TableName) (*viewRead, error) {
	if known, ok := c.views[v]; ok {
		return known, nil
	}
	read := &viewRead{columns: opaqueColumns(v), reads: []tableRows{{table: v}}, source: -1}
	hide := func(why string) (*viewRead, error) {
		c.noteHidden(Hidden{Kind: HiddenTable, Name: v.Name, Reason: fmt.Sprintf("%s is a view %s", name, why)})
		return read, nil
	}
	if c.depth == maxViews {
		return hide("that stands on others too deeply")
	}
	toks, err := tokenize(c.d, v.View.Query)
	if err != nil {
		return hide("whose definition is not understood: " + err.Error())
	}
	p := &parser{d: c.d, sql: v.View.Query, toks: toks}
	statement := p.statement(&outerQuery{limitParam: -1})
	if p.err != nil {
		return hide("whose definition is not understood: " + p.err.Error())
	}
	if statement != Select || len(p.writes) > 0 {
		return hide("whose definition is not understood")
	}
	inner := &compiler{parser: p, plan: c.plan, lookup: c.lookup, known: c.known, views: c.views, depth: c.depth + 1}
	if schema := v.View.Schema; schema != "" {
		inner.known = nil // names mean other tables in there
		inner.lookup = func(n TableName) (*Table, error) {
			if n.Schema == "" {
				n.Schema = schema
			}
			return c.lookup(n)
		}
	}
	if err := inner.entries(); err != nil {
		return nil, err
	}
	inner.uses(nil)
	read.reads = append(read.reads, inner.narrow(&narrower{d: c.d, lim: c.plan.lim})...)
	inner.origin(read)
	inner.viewOrder(v)
	for _, n := range p.names {
		if n.Schema == "" {
			n.Schema = v.View.Schema
		}
		c.noteName(n)
	}
	for _, h := range p.hidden {
		h.Via = v.Name
		h.Reason = fmt.Sprintf("%s is a view: %s", name, h.Reason)
		c.noteHidden(h)
	}
	if p.skip != "" {
		c.noteSkip("%s is a view: %s", name, p.skip)
	}
	if p.volatile != "" {
		c.noteVolatile(p.volatile)
	}
	c.effects = c.effects || p.effects
	c.views[v] = read
	return read, nil
}

// viewOrder notes that rows of the view may depend on the order in which those
// below are met. Any LIMIT of a view leaves out rows.
func (c *compiler) viewOrder(v *Table) {
	tables := make([]*Table, 0, len(c.cores))
	limited := false
	for _, core := range c.cores {
		for _, e := range core.entries {
			if e.table != nil {
				tables = append(tables, e.table)
			}
		}
	}
	for i := range c.toks {
		limited = limited || c.toks[i].anyOf("limit", "offset", "fetch")
	}
	why := (&orderReader{d: c.d, toks: c.toks, tables: tables}).dependent()
	if limited && why == "" {
		why = "LIMIT"
	}
	if why != "" && c.plan.OrderDependent == "" {
		c.plan.OrderDependent = why + " in the view " + v.Name
	}
}

// opaqueColumns is a view for the resolution of names only.
func opaqueColumns(v *Table) *Table {
	columns := slices.Clone(v.columns)
	for i := range columns {
		columns[i].Kind = Opaque
	}
	return NewTable(v.ID, v.Name, columns)
}

// notPlain are the words of a SELECT whose rows are not those of its table,
// one for one, whatever else is asked of them.
var notPlain = set(`distinct group having window over limit offset fetch union intersect except minus for with
	values lateral tablesample`)

// origin finds the source of a view that is SELECT columns FROM table WHERE ..,
// and where its columns come from.
func (c *compiler) origin(v *viewRead) {
	if len(c.cores) != 1 || c.subqueries != 1 || len(c.calls) > 0 {
		return
	}
	core := c.cores[0]
	if len(core.entries) != 1 || core.entries[0].table == nil {
		return
	}
	for i := range c.toks {
		if notPlain[c.toks[i].word] {
			return
		}
	}
	from := core.entries[0]
	n := narrower{d: c.d, lim: c.plan.lim}
	columns := make([]int, 0, len(v.columns.columns))
	if list := c.toks[core.listLo:core.listHi]; len(list) == 1 && list[0].text == "*" {
		for i := range from.table.columns {
			columns = append(columns, i)
		}
	} else {
		for _, item := range items(list) {
			column := -1
			if ref, ok := bareColumn(item); ok {
				if _, i, ok := n.resolve(core, ref, 0, 1); ok {
					column = i
				}
			}
			columns = append(columns, column)
		}
	}
	if len(columns) != len(v.columns.columns) {
		return
	}
	v.source, v.origin = 1, columns // the first one below the view
	if below := from.view; below != nil {
		if below.source < 0 {
			v.source, v.origin = -1, nil
			return
		}
		v.source = 1 + below.source
		for i, column := range columns {
			if column >= 0 {
				columns[i] = below.origin[column]
			}
		}
	}
	source := v.reads[v.source].table
	kinds := slices.Clone(v.columns.columns)
	for i, column := range columns {
		if column >= 0 {
			kinds[i].Kind = source.columns[column].Kind
		}
	}
	v.columns = NewTable(v.columns.ID, v.columns.Name, kinds)
}

// items splits a list at its commas.
func items(list []token) [][]token {
	var all [][]token
	depth, start := 0, 0
	for i := range list {
		switch t := &list[i]; {
		case t.is("(") || t.is("["):
			depth++
		case t.is(")") || t.is("]"):
			depth--
		case t.is(",") && depth == 0:
			all = append(all, list[start:i])
			start = i + 1
		}
	}
	return append(all, list[start:])
}

// bareColumn reads an item of a SELECT's list that is a column, with or
// without an alias.
func bareColumn(item []token) (columnRef, bool) {
	var path []string
	i := 0
	for ; i < len(item) && item[i].identifier() && len(path) < 3; i++ {
		path = append(path, item[i].text)
		if i+1 == len(item) || !item[i+1].is(".") {
			break
		}
		i++
	}
	rest := item[min(i+1, len(item)):]
	if len(rest) > 0 && rest[0].word == "as" {
		rest = rest[1:]
	}
	if len(path) == 0 || len(rest) > 1 || len(rest) == 1 && !rest[0].identifier() {
		return columnRef{}, false
	}
	ref := columnRef{name: path[len(path)-1]}
	if len(path) > 1 {
		ref.table = path[len(path)-2]
	}
	if len(path) > 2 {
		ref.schema = path[0]
	}
	return ref, true
}
