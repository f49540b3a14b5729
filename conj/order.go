package conj

import (
	"slices"
	"strings"
)

// orderFunctions are aggregates of which the result may depend on the order in
// which the rows come, besides those whose names end in agg.
var orderFunctions = set(`group_concat any_value mode json_group_array json_group_object jsonb_group_array
	jsonb_group_object array first last rownum st_union st_memunion st_collect st_makeline st_polygonize st_asmvt st_clusterdbscan
	st_clusterkmeans`)

// floatAggregates add up. Of floating point numbers the order decides the last
// digits.
var floatAggregates = set(`sum avg total stddev stddev_pop stddev_samp std variance var_pop var_samp corr covar_pop
	covar_samp regr_slope regr_intercept regr_r2 regr_avgx regr_avgy regr_sxx regr_syy regr_sxy`)

// orderReader looks in a SELECT for what may make its result depend on the order
// in which the rows are met. Where it is not sure it finds something.
type orderReader struct {
	d      Dialect
	toks   []token
	tables []*Table
}

// dependent names what it finds; empty if there is nothing.
func (o *orderReader) dependent() string {
	depth := 0
	for i := range o.toks[:max(0, len(o.toks)-1)] {
		t := &o.toks[i]
		switch {
		case t.is("("):
			depth++
		case t.is(")"):
			depth--
		case t.identifier() && o.toks[i+1].is("("):
			if why := o.call(i); why != "" {
				return why
			}
		}
		if why := o.clause(i, depth); why != "" {
			return why
		}
	}
	return ""
}

// call looks at a function.
func (o *orderReader) call(i int) string {
	name := strings.ToLower(o.toks[i].text)
	kinds := []Kind{Integer, Decimal, Boolean}
	switch {
	case strings.HasSuffix(name, "agg"), orderFunctions[name]:
		return name + "()"
	case floatAggregates[name] && !o.ofColumn(i+1, kinds...):
		return name + "() of what may be a floating point number"
	case (name == "min" || name == "max") && o.d != PostgreSQL && !o.ofColumn(i+1, append(kinds, Text, UUID, Bytes)...):
		return name + "() of what may be equal and not the same"
	}
	return ""
}

// ofColumn reports whether a call, at its opening parenthesis, has a column of
// one of some kinds for its only argument.
func (o *orderReader) ofColumn(at int, kinds ...Kind) bool {
	item := o.toks[at+1 : at+closing(o.toks[at:])]
	if len(item) > 0 && item[0].anyOf("distinct", "all") {
		item = item[1:]
	}
	ref, ok := bareColumn(item)
	found := false
	for _, table := range o.tables {
		if i := table.Index(o.d, ref.name); ok && i >= 0 {
			found, ok = true, slices.Contains(kinds, table.columns[i].Kind)
		}
	}
	return ok && found
}

// clause looks at a keyword.
func (o *orderReader) clause(i, depth int) string {
	t, next := &o.toks[i], &o.toks[i+1]
	switch {
	case t.word == "over" && (next.is("(") || next.identifier()):
		return "a window function"
	case t.word == "distinct" && next.word == "on":
		return "DISTINCT ON"
	case t.word == "tablesample":
		return "TABLESAMPLE"
	case t.anyOf("limit", "offset", "fetch") && depth > 0:
		return strings.ToUpper(t.word) + " in a subquery"
	case o.d == PostgreSQL:
		return ""
	}
	return o.loose(i)
}

// loose looks at what only MySQL and SQLite leave open: which of several rows or
// of several equal values stands for all.
func (o *orderReader) loose(i int) string {
	switch t, next := &o.toks[i], &o.toks[i+1]; {
	case t.word == "group" && next.word == "by":
		return "GROUP BY"
	case t.word == "having":
		return "HAVING"
	case t.word == "select" && next.anyOf("distinct", "distinctrow"):
		return "DISTINCT"
	case t.anyOf("union", "intersect", "except", "minus") && next.word != "all":
		return strings.ToUpper(t.word)
	case t.word == "select" && o.mixed(i+1):
		return "columns beside aggregates"
	case t.word == "select" && o.d == SQLite && i > 0 && o.scalar(i-1):
		return "a subquery of which SQLite takes the first row"
	}
	return ""
}

// mixed reports whether a list of results has an aggregate, and something that
// is none.
func (o *orderReader) mixed(start int) bool {
	end, depth := start, 0
	for ; end < len(o.toks)-1 && (depth > 0 || o.toks[end].word != "from"); end++ {
		if o.toks[end].is("(") {
			depth++
		} else if o.toks[end].is(")") {
			if depth--; depth < 0 {
				break
			}
		}
	}
	list := items(o.toks[start:end])
	aggregates := 0
	for _, item := range list {
		if len(item) > 1 && aggregateFunctions[item[0].word] && item[1].is("(") {
			rest := item[1+closing(item[1:])+1:]
			if len(rest) == 0 || rest[0].word == "as" || len(rest) == 1 && rest[0].identifier() {
				aggregates++
			}
		}
	}
	inside := slices.IndexFunc(o.toks[start:end], func(t token) bool { return aggregateFunctions[t.word] })
	return inside >= 0 && aggregates < len(list)
}

// scalar reports whether a query in parentheses, which open at a token, may
// stand for one value.
func (o *orderReader) scalar(open int) bool {
	for open > 0 && o.toks[open].is("(") && o.toks[open-1].is("(") {
		open--
	}
	return o.toks[open].is("(") && open > 0 && !o.toks[open-1].anyOf("in", "exists", "from", "join", "as", "materialized", "union", "all", "except", "intersect")
}

// order fills in what is known of a SELECT's order.
func (c *compiler) order(out *outerQuery) {
	plan := c.plan
	plan.Cuts = out.limited
	if why := (&orderReader{d: c.d, toks: c.toks, tables: plan.Tables}).dependent(); why != "" && plan.OrderDependent == "" {
		plan.OrderDependent = why
	}
	if plan.Sole == nil {
		return
	}
	entry := c.cores[0].entries[0]
	plan.AllColumns = c.star(out.list, entry)
	if len(c.cores) == 1 && c.subqueries == 1 && !out.combines {
		for _, s := range out.orders {
			plan.Order = append(plan.Order, c.orderedBy(s, out.list, entry)...)
		}
	}
}

// star reports whether a list of results is a star and nothing else.
func (c *compiler) star(list span, e *scopeEntry) bool {
	toks := c.toks[list.lo:list.hi]
	switch len(toks) {
	case 1:
		return toks[0].op("*")
	case 3:
		return toks[2].op("*") && toks[1].is(".") && sameName(c.d, toks[0].text, e.alias)
	}
	return false
}

// orderedBy returns the columns that stand alone in an ORDER BY. A name without
// a table may be one that the list of results gives to something else.
func (c *compiler) orderedBy(by, list span, e *scopeEntry) (columns []string) {
	for _, item := range items(c.toks[by.lo:by.hi]) {
		ref, ok := bareColumn(direction(item))
		if !ok || ref.table == "" && c.renames(list, ref.name) || ref.table != "" && !sameName(c.d, ref.table, e.alias) {
			continue
		}
		if i := e.table.Index(c.d, ref.name); i >= 0 {
			columns = append(columns, e.table.columns[i].Name)
		}
	}
	return columns
}

// direction takes ASC, DESC and NULLS FIRST from an item of an ORDER BY.
func direction(item []token) []token {
	if n := len(item); n >= 3 && item[n-2].word == "nulls" {
		item = item[:n-2]
	}
	if n := len(item); n >= 2 && item[n-1].anyOf("asc", "desc") {
		item = item[:n-1]
	}
	return item
}

// renames reports whether a list of results may give a name to anything but the
// column of that name.
func (c *compiler) renames(list span, name string) bool {
	for _, item := range items(c.toks[list.lo:list.hi]) {
		last := &item[max(0, len(item)-1)]
		ref, plain := bareColumn(item)
		if sameName(c.d, last.text, name) && !(plain && sameName(c.d, ref.name, name)) {
			return true
		}
	}
	return false
}
