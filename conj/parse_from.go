package conj

import (
	"slices"
	"strings"
)

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
		kind, cross, ok := p.joinWord(core)
		if !ok {
			return left
		}
		right := p.tablePrimary(core)
		if p.d != SQLite && !cross && p.startsJoin() {
			// a JOIN b JOIN c ON .. ON ..
			right = p.joins(core, right)
		}
		node := innerJoin(left, right)
		node.kind = kind
		switch {
		case p.accept("on"):
			node.onText.lo = p.pos
			node.on = p.condition()
			node.onText.hi = p.pos
		case p.accept("using"):
			node.using = p.using(core)
			core.coalesced = core.coalesced || kind == joinRight || kind == joinFull
		case !cross && (p.d == PostgreSQL || right.outward()):
			// MySQL takes a JOIN b RIGHT JOIN c ON .. for (a JOIN b) RIGHT JOIN c.
			p.unexpected()
		}
		left = node
	}
	return left
}

// outward reports whether the tree holds a RIGHT or FULL join.
func (f *fromNode) outward() bool {
	return f.entry < 0 && (f.kind == joinRight || f.kind == joinFull || f.left.outward() || f.right.outward())
}

func (p *parser) startsJoin() bool {
	return p.peek().anyOf("join", "inner", "left", "right", "full") &&
		(p.peek().word == "join" || p.peekAt(1).anyOf("join", "outer"))
}

// joinWord reads the words of a join up to and with JOIN. A cross join, or a
// NATURAL one, takes no condition and hence binds to the left.
func (p *parser) joinWord(core *selectCore) (kind joinKind, cross, ok bool) {
	if p.d == MySQL && p.accept("straight_join") {
		return joinInner, false, true
	}
	if !p.peek().anyOf("natural", "inner", "cross", "left", "right", "full", "join", "outer") {
		return joinInner, false, false
	}
	if p.accept("natural") {
		core.natural, cross = true, true
	}
	switch {
	case p.accept("inner"):
	case p.accept("cross"):
		cross = cross || p.d != MySQL // which takes ON after CROSS JOIN, too
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
	return kind, cross, true
}

func (p *parser) using(core *selectCore) (names []string) {
	p.expectPunct("(")
	if core.merged == nil {
		core.merged = make(map[string]bool)
	}
	for {
		if !p.peek().identifier() && p.peek().kind != tokDouble {
			p.unexpected()
			return nil
		}
		name := p.advance().text
		names = append(names, name)
		core.merged[strings.ToLower(name)] = true
		if !p.acceptPunct(",") {
			break
		}
	}
	p.expectPunct(")")
	if p.accept("as") {
		p.advance()
	}
	return names
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
	start := p.pos
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
	if p.peek().word == "for" && p.peekAt(1).word == "system_time" { // MariaDB's history
		p.unexpected()
	}
	p.alias(e)
	p.tables = append(p.tables, span{start, p.pos})
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

// baseTable reports whether an unqualified name means a table and not a CTE, or
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
		switch classify(p.d, low) {
		case sideEffect:
			p.noteSkip("table-valued function %s", name)
			p.effects = true
		case volatile:
			p.noteVolatile(low + "()")
		default:
			p.noteHidden(Hidden{Kind: HiddenTableFunction, Name: low, Reason: "table-valued function " + name.String()})
		}
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
	core.natural, core.coalesced = core.natural || inner.natural, core.coalesced || inner.coalesced
	p.expectPunct(")")
	if p.hasAlias() { // PostgreSQL: the inner names are no longer visible
		hi := len(core.entries)
		for _, e := range core.entries[lo:] {
			if !e.hidden {
				e.hidden, e.seenLo, e.seenHi = true, lo, hi
			}
		}
		outer := &scopeEntry{}
		p.alias(outer)
		return innerJoin(inner.from, leaf(core, outer))
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
	if p.d == PostgreSQL && p.accept("tablesample") {
		p.noteSkip("table sample")
		p.tableName()
		p.scanParens()
		if p.accept("repeatable") {
			p.scanParens()
		}
	}
}
