package conj

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

	core     *selectCore
	list     span   // of results
	where    span   // without its first word
	orders   []span // the lists after ORDER BY
	limited  bool   // by LIMIT, OFFSET or FETCH
	combines bool   // DISTINCT, GROUP BY, HAVING or WINDOW
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

// endsClause reports whether a token begins the next clause of a SELECT.
func (p *parser) endsClause(t *token) bool {
	if t.word == "" {
		return false
	}
	switch {
	case t.word == "from":
		before := p.toks[:p.pos]
		n := len(before)
		return n < 2 || before[n-1].word != "distinct" || !before[n-2].anyOf("is", "not") // IS DISTINCT FROM
	case t.word == "group":
		return p.pos == 0 || p.toks[p.pos-1].word != "within" // WITHIN GROUP (ORDER BY ..)
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
	combines := false
	if p.accept("distinct") {
		combines = true
		if p.accept("on") {
			p.scanParens()
		}
	} else {
		p.accept("all")
	}
	start := p.pos
	p.scan(p.endsClause)
	end := p.pos
	core.listLo, core.listHi = start, end
	p.into()
	if p.accept("from") {
		p.fromClause(core)
	}
	var where span
	if p.accept("where") {
		where.lo = p.pos
		core.where = p.condition()
		where.hi = p.pos
	}
	grouped := false
	if p.peek().word == "group" {
		grouped, combines = true, true
		p.advance()
		p.expect("by")
		p.scan(p.endsClause)
	}
	if p.accept("having") {
		combines = true
		p.scan(p.endsClause)
	}
	if p.accept("window") {
		combines = true
		p.scan(p.endsClause)
	}
	if out != nil {
		out.shape = p.classifyShape(start, end, grouped)
		out.core, out.list, out.where, out.combines = core, span{start, end}, where, combines
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
		temporary := false
		for p.peek().anyOf("temp", "temporary", "unlogged", "table") {
			temporary = p.advance().anyOf("temp", "temporary") || temporary
		}
		name := p.tableName()
		temporary = temporary || isTemporarySchema(p.d, name.Schema)
		p.writes = append(p.writes, &parsedWrite{name: name, statement: DDL, temporary: temporary})
		return
	}
	p.scan(p.endsClause)
}

// tail reads what follows the set operations.
func (p *parser) tail(out *outerQuery) {
	if p.peek().word == "order" {
		p.advance()
		p.expect("by")
		start := p.pos
		p.scan(p.endsClause)
		if out != nil {
			out.orders = append(out.orders, span{start, p.pos})
		}
	}
	for !p.atEnd() {
		if out != nil && p.peek().anyOf("limit", "offset", "fetch") {
			out.limited = true
		}
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
