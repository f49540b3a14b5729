package conj

import (
	"slices"
	"strings"
)

// cteScope holds the CTE names that are visible at a point, innermost first.
type cteScope struct {
	name  string
	outer *cteScope
	self  bool // the name of the CTE whose body is being read
	maybe bool // perhaps not visible yet: a table of that name counts too
}

// outerQuery is what the statement's own SELECT, and no inner one, tells.
type outerQuery struct {
	shape      Shape
	single     bool
	limitParam int
	compound   bool
}

// queryExpr reads a query: WITH, set operations, ORDER BY, LIMIT, locking.
func (p *parser) queryExpr(out *outerQuery) {
	p.enter()
	defer p.leave()
	p.subqueries++
	scope := p.ctes
	p.with()
	p.setOperations(out)
	p.tail(out)
	p.ctes = scope
}

// with reads a WITH clause, if there is one, and makes its names visible.
func (p *parser) with() {
	if !p.accept("with") {
		return
	}
	recursive := p.accept("recursive")
	// A body may name a CTE that comes later in the list, or a table that goes
	// by the same name: both count.
	for _, name := range p.laterCTEs() {
		p.ctes = &cteScope{name: name, outer: p.ctes, maybe: true}
	}
	for {
		if !p.peek().identifier() && p.peek().kind != tokDouble {
			p.unexpected()
			return
		}
		name := p.advance().text
		if p.peek().is("(") {
			p.scanParens()
		}
		p.expect("as")
		if !p.accept("not", "materialized") {
			p.accept("materialized")
		}
		p.expectPunct("(")
		outer := p.ctes
		if recursive || p.d == SQLite {
			p.ctes = &cteScope{name: name, outer: outer, self: true}
		}
		p.cteBody()
		p.ctes = &cteScope{name: name, outer: outer}
		p.expectPunct(")")
		for p.peek().anyOf("search", "cycle") {
			p.scan(func(t *token) bool {
				return t.is(",") && !p.moreColumns() || t.anyOf("select", "insert", "update", "delete", "merge", "values")
			})
		}
		if !p.acceptPunct(",") {
			return
		}
	}
}

// moreColumns tells a comma inside SEARCH or CYCLE from the one before the
// next CTE, which is followed by name AS or name (.
func (p *parser) moreColumns() bool {
	after := p.peekAt(2)
	return !after.is("(") && after.word != "as"
}

// laterCTEs looks ahead for the names of a WITH list.
func (p *parser) laterCTEs() []string {
	var names []string
	depth := 0
	for i := p.pos; i < len(p.toks)-1; i++ {
		t := &p.toks[i]
		switch {
		case t.is("("):
			depth++
		case t.is(")"):
			if depth--; depth < 0 {
				return names
			}
		case depth > 0:
		case t.anyOf("select", "insert", "update", "delete", "merge"):
			return names
		case (t.identifier() || t.kind == tokDouble) && i > p.pos && p.toks[i-1].is(","):
			names = append(names, t.text)
		}
	}
	return names
}

func (p *parser) cteBody() {
	before, own := len(p.cores), p.selfReferences
	switch p.peek().word {
	case "insert", "update", "delete", "merge", "replace":
		n := len(p.writes)
		p.writeStatement()
		for _, w := range p.writes[n:] {
			w.wide = "in a CTE"
		}
		p.noteSkip("data-modifying CTE")
		p.effects = true
	default:
		p.queryExpr(nil)
	}
	if p.selfReferences > own {
		for _, core := range p.cores[before:] {
			core.recursive = true
		}
	}
}

var setOperators = []string{"union", "intersect", "except", "minus"}

func (p *parser) setOperations(out *outerQuery) {
	p.queryTerm(out)
	for p.peek().anyOf(setOperators...) {
		p.advance()
		if !p.accept("all") {
			p.accept("distinct")
		}
		if p.accept("corresponding") {
			p.unexpected()
		}
		if out != nil {
			out.compound, out.single, out.limitParam = true, false, -1
		}
		p.queryTerm(nil)
	}
}

// queryTerm reads an operand of a set operation.
func (p *parser) queryTerm(out *outerQuery) {
	p.enter()
	defer p.leave()
	switch t := p.peek(); {
	case t.is("("):
		p.advance()
		p.queryExpr(out)
		p.expectPunct(")")
	case t.word == "select":
		p.selectCore(out)
	case t.word == "values":
		p.advance()
		for {
			p.accept("row")
			p.scanParens()
			if !p.acceptPunct(",") {
				return
			}
		}
	case t.word == "table" && p.d != SQLite:
		p.advance()
		core := &selectCore{}
		p.cores = append(p.cores, core)
		core.from = p.tablePrimary(core)
	default:
		p.unexpected()
	}
}

// clauseWords end a clause of a SELECT.
var clauseWords = set(`from where group having window order limit offset fetch for union intersect except
	into procedure returning qualify`)

// endsClause tells whether a token begins the next clause of a SELECT.
func (p *parser) endsClause(t *token) bool {
	if t.word == "" {
		return false
	}
	switch {
	case t.word == "from":
		before := p.toks[:p.pos]
		n := len(before)
		return n < 2 || before[n-1].word != "distinct" || !before[n-2].anyOf("is", "not") // IS DISTINCT FROM
	case t.word == "lock":
		return p.d == MySQL && p.peekAt(1).word == "in"
	case t.word == "offset" && p.d != PostgreSQL:
		return !p.peekAt(1).is(",") && p.peekAt(1).word != "from"
	case t.word == "minus":
		return p.peekAt(1).word == "select"
	}
	return clauseWords[t.word]
}

func (p *parser) selectCore(out *outerQuery) {
	p.advance() // SELECT
	core := &selectCore{}
	p.cores = append(p.cores, core)
	if p.d == MySQL {
		p.modifiers()
	}
	if p.accept("distinct") {
		if p.accept("on") {
			p.scanParens()
		}
	} else {
		p.accept("all")
	}
	start := p.pos
	p.scan(p.endsClause)
	end := p.pos
	p.into()
	if p.accept("from") {
		p.fromClause(core)
	}
	if p.accept("where") {
		core.where = p.condition()
	}
	grouped := false
	if p.peek().word == "group" {
		grouped = true
		p.advance()
		p.expect("by")
		p.scan(p.endsClause)
	}
	if p.accept("having") {
		p.scan(p.endsClause)
	}
	if p.accept("window") {
		p.scan(p.endsClause)
	}
	if out != nil {
		out.shape = p.classifyShape(start, end, grouped)
	}
	p.into()
}

// modifiers reads MySQL's words between SELECT and the list.
func (p *parser) modifiers() {
	for p.peek().anyOf("high_priority", "straight_join", "sql_small_result", "sql_big_result",
		"sql_buffer_result", "sql_cache", "sql_no_cache", "sql_calc_found_rows") {
		if p.advance().word == "sql_calc_found_rows" {
			p.noteSkip("SQL_CALC_FOUND_ROWS")
		}
	}
}

// into reads SELECT ... INTO.
func (p *parser) into() {
	if !p.accept("into") {
		return
	}
	p.noteSkip("SELECT INTO")
	p.effects = true
	if p.d == PostgreSQL {
		for p.peek().anyOf("temp", "temporary", "unlogged", "table") {
			p.advance()
		}
		p.writes = append(p.writes, &parsedWrite{name: p.tableName(), statement: DDL})
		return
	}
	p.scan(p.endsClause)
}

// tail reads what follows the set operations.
func (p *parser) tail(out *outerQuery) {
	if p.peek().word == "order" {
		p.advance()
		p.expect("by")
		p.scan(p.endsClause)
	}
	for !p.atEnd() {
		switch {
		case p.accept("limit"):
			p.limit(out)
		case p.accept("offset"):
			p.scan(p.endsClause)
		case p.accept("fetch"):
			p.fetch(out)
		case p.peek().word == "for":
			p.locking()
		case p.peek().word == "lock" && p.d == MySQL:
			p.expect("lock", "in", "share", "mode")
			p.noteSkip("locking read")
			p.effects = true
		case p.peek().word == "into":
			p.into()
		default:
			return
		}
	}
}

func (p *parser) limit(out *outerQuery) {
	first := p.peek()
	alone := func() bool {
		t := p.peekAt(1)
		return t.kind == tokEnd || t.is(")") || t.is(",") || t.is(";") || p.endsClause(t)
	}
	certain := alone()
	p.scan(func(t *token) bool { return t.is(",") || p.endsClause(t) })
	if p.acceptPunct(",") { // MySQL, SQLite: LIMIT offset, count
		first = p.peek()
		certain = alone()
		p.scan(p.endsClause)
	}
	if out == nil || !certain {
		return
	}
	switch first.kind {
	case tokNumber:
		out.single = first.text == "1"
	case tokParam:
		out.limitParam = first.num
	}
}

// fetch reads FETCH FIRST n ROWS ONLY after its first word.
func (p *parser) fetch(out *outerQuery) {
	p.advance() // FIRST, NEXT
	one := p.peek().anyOf("row", "rows") || p.peek().kind == tokNumber && p.peek().text == "1"
	p.scan(func(t *token) bool { return t.anyOf("only", "with") || p.endsClause(t) })
	if p.accept("only") {
		if out != nil && one {
			out.single = true
		}
		return
	}
	p.expect("with", "ties")
}

// locking reads FOR UPDATE, FOR SHARE and the like.
func (p *parser) locking() {
	p.advance()
	if !p.accept("update") && !p.accept("share") && !p.accept("no", "key", "update") && !p.accept("key", "share") {
		p.unexpected()
		return
	}
	p.noteSkip("locking read")
	p.effects = true
	if p.accept("of") {
		p.tableName()
		for p.acceptPunct(",") {
			p.tableName()
		}
	}
	switch {
	case p.accept("nowait"), p.accept("skip", "locked"):
	case p.accept("wait"): // MariaDB
		p.advance()
	}
}

// fromClause reads a FROM list and keeps its tree. In SQLite a comma is a
// join like any other; elsewhere joins bind tighter.
func (p *parser) fromClause(core *selectCore) {
	node := p.joined(core)
	for p.acceptPunct(",") {
		if p.d == SQLite {
			node = p.joins(core, innerJoin(node, p.tablePrimary(core)))
			continue
		}
		node = innerJoin(node, p.joined(core))
	}
	core.from = node
}

func innerJoin(left, right *fromNode) *fromNode {
	return &fromNode{entry: -1, left: left, right: right, lo: left.lo, hi: right.hi}
}

func (p *parser) joined(core *selectCore) *fromNode {
	return p.joins(core, p.tablePrimary(core))
}

// joins reads the JOINs that follow a table.
func (p *parser) joins(core *selectCore, left *fromNode) *fromNode {
	p.enter()
	defer p.leave()
	for !p.atEnd() {
		kind, natural, ok := p.joinWord()
		if !ok {
			return left
		}
		if natural {
			core.natural = true
		}
		right := p.tablePrimary(core)
		if p.d != SQLite && !natural && p.startsJoin() {
			// a JOIN b JOIN c ON .. ON ..
			right = p.joins(core, right)
		}
		node := innerJoin(left, right)
		node.kind = kind
		switch {
		case p.accept("on"):
			node.on = p.condition()
		case p.accept("using"):
			p.using(core)
		}
		left = node
	}
	return left
}

func (p *parser) startsJoin() bool {
	return p.peek().anyOf("join", "inner", "left", "right", "full") &&
		(p.peek().word == "join" || p.peekAt(1).anyOf("join", "outer"))
}

// joinWord reads the words of a join up to and with JOIN.
func (p *parser) joinWord() (kind joinKind, natural, ok bool) {
	if p.d == MySQL && p.accept("straight_join") {
		return joinInner, false, true
	}
	if !p.peek().anyOf("natural", "inner", "cross", "left", "right", "full", "join", "outer") {
		return joinInner, false, false
	}
	natural = p.accept("natural")
	switch {
	case p.accept("inner"), p.accept("cross"):
	case p.accept("left"):
		kind = joinLeft
		p.accept("outer")
	case p.accept("right"):
		kind = joinRight
		p.accept("outer")
	case p.accept("full"):
		kind = joinFull
		p.accept("outer")
	}
	p.expect("join")
	return kind, natural, true
}

func (p *parser) using(core *selectCore) {
	p.expectPunct("(")
	if core.merged == nil {
		core.merged = make(map[string]bool)
	}
	for {
		if !p.peek().identifier() && p.peek().kind != tokDouble {
			p.unexpected()
			return
		}
		core.merged[strings.ToLower(p.advance().text)] = true
		if !p.acceptPunct(",") {
			break
		}
	}
	p.expectPunct(")")
	if p.accept("as") {
		p.advance()
	}
}

// tablePrimary reads one item of a FROM clause with its alias.
func (p *parser) tablePrimary(core *selectCore) *fromNode {
	p.enter()
	defer p.leave()
	lateral := p.accept("lateral")
	t := p.peek()
	switch {
	case t.is("("):
		return p.parenthesisedTable(core)
	case t.word == "rows" && p.peekAt(1).word == "from":
		p.unexpected()
		return leaf(core, &scopeEntry{})
	case t.word == "only" && p.d == PostgreSQL:
		p.advance()
		if p.peek().is("(") {
			p.unexpected()
		}
	case t.word != "" && reserved[t.word]:
		p.unexpected()
		return leaf(core, &scopeEntry{})
	}
	name := p.tableName()
	if p.peek().is("(") {
		return p.tableFunction(core, name)
	}
	if lateral || p.err != nil {
		p.unexpected()
		return leaf(core, &scopeEntry{})
	}
	if p.d == PostgreSQL && p.peek().op("*") {
		p.advance()
	}
	e := &scopeEntry{alias: name.Name, name: name, base: true}
	if name.Schema == "" {
		e.base, e.maybe = p.baseTable(name.Name)
	}
	if p.d == MySQL && p.peek().word == "partition" && p.peekAt(1).is("(") {
		p.advance()
		p.scanParens()
	}
	if p.peek().word == "for" && p.peekAt(1).word == "system_time" || p.peek().anyOf("tablesample") {
		p.noteSkip("table sample or history")
		p.unexpected()
	}
	p.alias(e)
	p.tableHints()
	if e.base && !e.maybe {
		p.noteRead(name)
	}
	return leaf(core, e)
}

func leaf(core *selectCore, e *scopeEntry) *fromNode {
	core.entries = append(core.entries, e)
	n := len(core.entries)
	return &fromNode{entry: n - 1, lo: n - 1, hi: n}
}

// baseTable tells whether an unqualified name means a table and not a CTE, or
// may mean either.
func (p *parser) baseTable(name string) (base, maybe bool) {
	for s := p.ctes; s != nil; s = s.outer {
		if !sameName(p.d, s.name, name) {
			continue
		}
		if s.self {
			p.selfReferences++
		}
		return s.maybe, s.maybe
	}
	return true, false
}

// noteRead notes a table read; system catalogs are never cached.
func (p *parser) noteRead(n TableName) {
	p.noteName(n)
	if isSystem(p.d, n) {
		p.noteSkip("system catalog %s", n)
	}
}

func isSystem(d Dialect, n TableName) bool {
	schema, name := strings.ToLower(n.Schema), strings.ToLower(n.Name)
	switch d {
	case PostgreSQL:
		return schema == "information_schema" || strings.HasPrefix(schema, "pg_") || schema == "" && strings.HasPrefix(name, "pg_")
	case MySQL:
		return slices.Contains([]string{"information_schema", "mysql", "performance_schema", "sys"}, schema) ||
			schema == "" && name == "dual"
	}
	return strings.HasPrefix(name, "sqlite_") || strings.HasPrefix(name, "pragma_")
}

// tableFunction reads a function in FROM; the current token is its opening
// parenthesis.
func (p *parser) tableFunction(core *selectCore, name TableName) *fromNode {
	low := strings.ToLower(name.Name)
	switch {
	case isSystem(p.d, name):
		p.noteName(name)
		p.noteSkip("system catalog %s", name)
	case name.Schema != "" || !tableFunctions[low]:
		p.noteSkip("table-valued function %s", name)
		p.effects = p.effects || classify(p.d, low) == sideEffect
	}
	p.scanParens()
	if p.accept("with") {
		p.expect("ordinality")
	}
	e := &scopeEntry{alias: name.Name}
	p.alias(e)
	return leaf(core, e)
}

// parenthesisedTable reads (query) alias, or a join in parentheses.
func (p *parser) parenthesisedTable(core *selectCore) *fromNode {
	if p.acceptQuery() {
		e := &scopeEntry{}
		p.alias(e)
		return leaf(core, e)
	}
	p.expectPunct("(")
	lo := len(core.entries)
	inner := &selectCore{entries: core.entries, merged: core.merged}
	p.fromClause(inner)
	core.entries, core.merged = inner.entries, inner.merged
	core.natural = core.natural || inner.natural
	p.expectPunct(")")
	if p.hasAlias() { // PostgreSQL: the inner names are no longer visible
		for _, e := range core.entries[lo:] {
			e.hidden = true
		}
		outer := &scopeEntry{}
		p.alias(outer)
		core.entries = append(core.entries, outer)
		inner.from.hi = len(core.entries)
	}
	return inner.from
}

// acceptQuery reads a query in parentheses, and nothing if the parentheses
// hold a join. ((SELECT ..) UNION ..) is a query and ((SELECT ..) AS a JOIN
// b ..) is a join: what follows the inner parentheses tells.
func (p *parser) acceptQuery() bool {
	if !p.parenthesisedQuery() {
		return false
	}
	var closes []int // of the leading parentheses, innermost first
	for i, depth, leading := p.pos, 0, 0; i < len(p.toks); i++ {
		if t := &p.toks[i]; t.is("(") {
			if depth++; i-p.pos == leading {
				leading++
			}
		} else if t.is(")") {
			if depth--; depth < leading {
				leading = depth
				closes = append(closes, i)
			}
			if depth == 0 {
				break
			}
		}
	}
	for _, i := range closes[:max(0, len(closes)-1)] {
		if next := &p.toks[i+1]; !next.is(")") && !next.anyOf("union", "intersect", "except", "order", "limit", "offset", "fetch", "for") {
			return false
		}
	}
	p.advance()
	p.queryExpr(nil)
	p.expectPunct(")")
	return true
}

// notAliases can't be an alias without AS.
var notAliases = set(`where group having order limit offset fetch for union intersect except minus join inner
	left right full cross natural outer straight_join on using window set lock use force ignore partition
	tablesample indexed not returning into values select default as lateral procedure with when and or
	from qualify then`)

func (p *parser) hasAlias() bool {
	t := p.peek()
	if t.word == "as" {
		return true
	}
	if t.kind == tokName || t.kind == tokDouble || t.kind == tokString && p.d != PostgreSQL {
		return true
	}
	if t.word == "offset" && p.d != PostgreSQL {
		return false
	}
	return t.kind == tokWord && t.word != "" && !notAliases[t.word]
}

func (p *parser) alias(e *scopeEntry) {
	if !p.hasAlias() {
		return
	}
	explicit := p.accept("as")
	t := p.peek()
	if explicit && t.is("(") { // AS (a int, b text): a function's columns
		p.scanParens()
		return
	}
	if !t.identifier() && t.kind != tokDouble && t.kind != tokString {
		p.unexpected()
		return
	}
	e.alias, e.aliased = p.advance().text, true
	if p.peek().is("(") {
		e.renamed = true
		p.scanParens()
	}
}

// tableHints reads the index hints of MySQL and SQLite.
func (p *parser) tableHints() {
	if p.d == SQLite {
		switch {
		case p.accept("indexed"):
			p.expect("by")
			p.advance()
		case p.accept("not", "indexed"):
		}
		return
	}
	for p.d == MySQL && p.peek().anyOf("use", "force", "ignore") && p.peekAt(1).anyOf("index", "key") {
		p.advance()
		p.advance()
		if p.accept("for") {
			for p.peek().anyOf("join", "order", "group", "by") {
				p.advance()
			}
		}
		p.scanParens()
		p.acceptPunct(",")
	}
	if p.peek().word == "tablesample" {
		p.noteSkip("table sample")
		p.unexpected()
	}
}

// classifyShape says what a SELECT is asked for, by its list of results (the
// tokens from start up to end) and its grouping.
func (p *parser) classifyShape(start, end int, grouped bool) Shape {
	items, depth, first := 1, 0, p.toks[start:end]
	aggregate := grouped
	for i := range first {
		t := &first[i]
		switch {
		case t.is("(") || t.is("["):
			if t.is("(") && i > 0 && aggregateFunctions[first[i-1].word] && !windowed(first[i:]) && !p.inSubquery(first[:i]) {
				aggregate = true
			}
			depth++
		case t.is(")") || t.is("]"):
			depth--
		case t.is(",") && depth == 0:
			items++
		}
	}
	if items == 1 && len(first) > 0 {
		switch shape := p.singleItem(first); shape {
		case Exists, Count:
			return shape
		}
	}
	if aggregate {
		return Aggregate
	}
	return Rows
}

// inSubquery tells whether the end of some tokens is inside a subquery.
func (p *parser) inSubquery(toks []token) bool {
	depth := 0
	for i := len(toks) - 1; i >= 0; i-- {
		switch t := &toks[i]; {
		case t.is(")"):
			depth++
		case t.is("("):
			if depth--; depth < 0 {
				if toks[i+1].anyOf("select", "with") {
					return true
				}
				depth = 0
			}
		}
	}
	return false
}

// windowed tells whether a call, at its opening parenthesis, has OVER.
func windowed(toks []token) bool {
	end := closing(toks)
	for end+1 < len(toks) && toks[end+1].anyOf("filter", "within") {
		i := end + 2
		for i < len(toks) && !toks[i].is("(") {
			i++
		}
		if i >= len(toks) {
			return false
		}
		end = i + closing(toks[i:])
	}
	return end+1 < len(toks) && toks[end+1].word == "over"
}

// closing returns the index of the parenthesis that closes the first token.
func closing(toks []token) int {
	depth := 0
	for i := range toks {
		if toks[i].is("(") {
			depth++
		} else if toks[i].is(")") {
			if depth--; depth == 0 {
				return i
			}
		}
	}
	return len(toks) - 1
}

// singleItem classifies a select list of one item.
func (p *parser) singleItem(toks []token) Shape {
	switch t := &toks[0]; {
	case t.word == "exists":
		return Exists
	case t.word == "true", t.kind == tokNumber && t.text == "1":
		if len(toks) == 1 || toks[1].word == "as" || toks[1].identifier() {
			return Exists
		}
	case t.word == "count" && len(toks) > 1 && toks[1].is("("):
		end := 1 + closing(toks[1:])
		rest := toks[end+1:]
		switch {
		case len(rest) == 0, rest[0].word == "as", rest[0].identifier() && rest[0].word != "over" && rest[0].word != "filter":
			return Count
		case rest[0].word == "filter":
			return Count
		case rest[0].op(">") && len(rest) > 1 && (rest[1].kind == tokNumber || rest[1].kind == tokParam):
			return Exists
		}
	}
	return Rows
}
