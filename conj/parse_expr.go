package conj

// condition reads a condition and returns its skeleton.
func (p *parser) condition() *expr { return p.boolean(p.or()) }

// or reads a disjunction. MySQL's || is OR or concatenation by its mode, and
// XOR sits between OR and AND: either makes the whole of this level opaque.
func (p *parser) or() *expr {
	p.enter()
	defer p.leave()
	left := p.and()
	if !p.peek().anyOf("or", "xor") && !p.mysqlOp("||") {
		return left
	}
	e := &expr{kind: exprOr, kids: []*expr{p.boolean(left)}}
	certain := true
	for p.peek().word == "or" || p.mysqlOp("||") || p.d == MySQL && p.peek().word == "xor" {
		certain = p.advance().word == "or" && certain
		e.kids = append(e.kids, p.boolean(p.and()))
	}
	if !certain {
		return opaque
	}
	return e
}

func (p *parser) mysqlOp(op string) bool { return p.d == MySQL && p.peek().op(op) }

func (p *parser) and() *expr {
	left := p.not()
	if p.peek().word != "and" && !p.mysqlOp("&&") {
		return left
	}
	e := &expr{kind: exprAnd, kids: []*expr{p.boolean(left)}}
	for p.accept("and") || p.mysqlOp("&&") {
		if p.peek().op("&&") {
			p.advance()
		}
		e.kids = append(e.kids, p.boolean(p.not()))
	}
	return e
}

func (p *parser) not() *expr {
	if p.peek().word != "not" {
		return p.comparison()
	}
	p.advance()
	p.enter()
	defer p.leave()
	return p.negated(p.boolean(p.not()))
}

// negated is NOT of a condition.
//
// Of a column that has two values beside NULL, NOT column = value is column =
// the other value: NULL makes neither true. Only PostgreSQL's boolean is certain
// to be such a column. MySQL's is a tinyint, which holds 2 as well, and what
// SQLite's declared type says binds no row. Which type a column has is not known
// here: of any other column the term is dropped later.
func (p *parser) negated(e *expr) *expr {
	switch {
	case e.kind == exprTrue:
		return &expr{kind: exprFalse}
	case e.kind == exprFalse:
		return &expr{kind: exprTrue}
	case e.kind == exprNull:
		return e
	case e.kind == exprEqual && e.threeValued && len(e.values) == 1 && p.d == PostgreSQL:
		other := e.values[0]
		other.not = !other.not
		return &expr{kind: exprEqual, col: e.col, values: []Operand{other}, threeValued: true}
	}
	return opaque
}

// boolean turns a bare value in the place of a condition into one.
func (p *parser) boolean(e *expr) *expr {
	switch e.kind {
	case exprValue:
		v := e.values[0]
		if v.cast != Opaque {
			return opaque
		}
		switch lit := v.Literal.(type) {
		case bool:
			return constant(lit)
		case int64:
			if p.d != PostgreSQL {
				return constant(lit != 0)
			}
		}
		if v.Kind == NullOperand {
			return &expr{kind: exprNull}
		}
		return opaque
	case exprColumn:
		// Only in PostgreSQL is a bare column certain to be a boolean.
		if p.d == PostgreSQL {
			t := truth(e, true)
			t.threeValued = true
			return t
		}
		return opaque
	case exprRow:
		return opaque
	}
	return e
}

// truth is a boolean column that is true, or false, as IS TRUE asks it.
func truth(column *expr, is bool) *expr {
	return &expr{kind: exprEqual, col: column.col, values: []Operand{{Kind: LiteralOperand, Literal: is}}}
}

func constant(b bool) *expr {
	if b {
		return &expr{kind: exprTrue}
	}
	return &expr{kind: exprFalse}
}

// comparison reads operands joined by comparison operators, IS, IN, BETWEEN
// and LIKE. A chain of two comparisons is opaque: the dialects bind it in
// different ways.
func (p *parser) comparison() *expr {
	e := p.operand()
	for n := 0; !p.atEnd(); n++ {
		next, ok := p.compare(e)
		if !ok {
			return e
		}
		if e = next; n > 0 {
			e = opaque
		}
	}
	return e
}

func (p *parser) compare(left *expr) (*expr, bool) {
	t := p.peek()
	switch {
	case t.op("=") || t.op("==") && p.d == SQLite:
		p.advance()
		return p.equals(left), true
	case t.op("<=>") && p.d == MySQL:
		p.advance()
		return nullSafe(left, p.operand()), true
	case t.op("<") || t.op(">") || t.op("<=") || t.op(">=") || t.op("<>") || t.op("!="):
		p.advance()
		right := p.operand()
		if t.text == "<>" || t.text == "!=" {
			return p.unequal(left, right), true
		}
		return opaque, true
	case t.word == "is":
		p.advance()
		return p.is(left), true
	case t.word == "isnull" && p.d != MySQL:
		p.advance()
		return isNull(left), true
	case t.word == "notnull" && p.d != MySQL:
		p.advance()
		return opaque, true
	case t.word == "not":
		p.advance()
		if p.d == SQLite && p.accept("null") {
			return opaque, true
		}
		if !p.predicate(opaque) {
			p.unexpected()
		}
		return opaque, true
	case t.word == "in":
		p.advance()
		return p.in(left), true
	case p.predicate(left):
		return opaque, true
	}
	return nil, false
}

// predicate reads the operators that narrow nothing and may follow NOT.
func (p *parser) predicate(left *expr) bool {
	t := p.peek()
	switch t.word {
	case "in":
		p.advance()
		p.in(left)
	case "between":
		p.advance()
		if !p.accept("symmetric") {
			p.accept("asymmetric")
		}
		p.operand()
		p.expect("and")
		p.operand()
	case "like", "ilike", "regexp", "rlike", "glob", "match", "similar", "sounds", "overlaps", "member":
		if !p.isOperatorWord(t.word) {
			return false
		}
		switch p.advance(); t.word {
		case "similar":
			p.expect("to")
		case "sounds":
			p.expect("like")
		case "member":
			p.expect("of")
		}
		p.operand()
		if p.accept("escape") {
			p.operand()
		}
	default:
		return false
	}
	return true
}

func (p *parser) isOperatorWord(w string) bool {
	switch w {
	case "like":
		return true
	case "ilike", "similar", "overlaps":
		return p.d == PostgreSQL
	case "rlike", "sounds", "member":
		return p.d == MySQL
	case "regexp":
		return p.d != PostgreSQL
	case "glob", "match":
		return p.d == SQLite
	}
	return false
}

func (p *parser) is(left *expr) *expr {
	not := p.accept("not")
	switch {
	case p.accept("null"):
		if not {
			return opaque
		}
		return isNull(left)
	case p.peek().anyOf("true", "false", "unknown") && p.d != SQLite:
		return p.isTruth(left, p.advance().word, not)
	case p.accept("distinct", "from"):
		right := p.operand()
		if not && p.d != MySQL {
			return nullSafe(left, right)
		}
		return opaque
	case p.d != SQLite && p.peek().anyOf("json", "document", "normalized"):
		p.advance()
		return opaque
	case p.d != SQLite:
		p.unexpected()
		return opaque
	case p.peek().anyOf("true", "false"): // SQLite tests truth, not equality
		p.advance()
		return opaque
	}
	right := p.operand()
	if not {
		return opaque
	}
	return nullSafe(left, right)
}

// isTruth is IS TRUE, FALSE or UNKNOWN, which only PostgreSQL asks of booleans
// alone.
func (p *parser) isTruth(left *expr, word string, not bool) *expr {
	switch {
	case left.kind != exprColumn || p.d != PostgreSQL || word == "unknown" && not:
		return opaque
	case word == "unknown":
		return isNull(left)
	case not:
		return &expr{kind: exprOr, kids: []*expr{truth(left, word != "true"), isNull(left)}}
	}
	return truth(left, word == "true")
}

func isNull(left *expr) *expr {
	if left.kind == exprColumn {
		return &expr{kind: exprIsNull, col: left.col}
	}
	return opaque
}

// nullSafe is IS NOT DISTINCT FROM, <=> or SQLite's IS.
func nullSafe(left, right *expr) *expr {
	if left.kind == exprValue {
		left, right = right, left
	}
	if left.kind != exprColumn || right.kind != exprValue {
		return opaque
	}
	switch right.values[0].Kind {
	case NullOperand:
		return isNull(left)
	case LiteralOperand:
		return &expr{kind: exprEqual, col: left.col, values: right.values}
	case ParamOperand:
		return &expr{kind: exprNullSafe, col: left.col, values: right.values}
	}
	return opaque
}

func (p *parser) equals(left *expr) *expr {
	if p.peek().anyOf("any", "some", "all") && p.peekAt(1).is("(") {
		return p.quantified(left)
	}
	return equal(left, p.operand())
}

// unequal is <>. Rows differ if any of their columns do.
func (p *parser) unequal(left, right *expr) *expr {
	if left.kind == exprRow || right.kind == exprRow {
		return opaque
	}
	return p.negated(equal(left, right))
}

func equal(left, right *expr) *expr {
	if left.kind == exprRow && right.kind == exprRow && len(left.kids) == len(right.kids) {
		all := &expr{kind: exprAnd}
		for i := range left.kids {
			all.kids = append(all.kids, equal(left.kids[i], right.kids[i]))
		}
		return all
	}
	if c, ok := compareLiterals(left, right); ok {
		return constant(c == 0)
	}
	if left.kind == exprValue {
		left, right = right, left
	}
	switch {
	case left.kind != exprColumn:
		return opaque
	case right.kind == exprColumn:
		return &expr{kind: exprJoin, col: left.col, other: right.col}
	case right.kind == exprValue && right.values[0].Kind == NullOperand:
		return &expr{kind: exprNull}
	case right.kind == exprValue && right.values[0].Kind != ExpressionOperand:
		return &expr{kind: exprEqual, col: left.col, values: right.values, threeValued: true}
	}
	return opaque
}

// compareLiterals compares two literal integers, as in GORM's 1 <> 1.
func compareLiterals(left, right *expr) (int, bool) {
	if left.kind != exprValue || right.kind != exprValue {
		return 0, false
	}
	a, ok := left.values[0].Literal.(int64)
	b, ok2 := right.values[0].Literal.(int64)
	switch {
	case !ok || !ok2 || left.values[0].cast != Opaque || right.values[0].cast != Opaque:
		return 0, false
	case a == b:
		return 0, true
	}
	return 1, true
}

// quantified reads ANY(...), SOME(...) or ALL(...) after an equals sign.
func (p *parser) quantified(left *expr) *expr {
	all := p.advance().word == "all"
	start := p.pos
	p.advance() // (
	t := p.peek()
	switch {
	case t.word == "array" && p.peekAt(1).is("["):
		p.advance()
		p.advance()
		list, ok := p.list("]")
		if p.acceptPunct(")") && ok && !all {
			return inList(left, list)
		}
	case t.kind == tokParam || t.kind == tokString || t.word == "cast" && p.d == PostgreSQL && p.peekAt(1).is("("):
		var value *expr
		if t.word == "cast" {
			value, _ = p.castCall(true)
		} else {
			value = p.cast(true)
		}
		if !p.acceptPunct(")") {
			break
		}
		if !all && left.kind == exprColumn && value.kind == exprValue && value.values[0].Kind != ExpressionOperand {
			return &expr{kind: exprAny, col: left.col, values: value.values}
		}
		return opaque
	}
	if p.err == nil {
		p.pos = start
		p.scanParens()
	}
	return opaque
}

// list reads operands separated by commas up to a closing punctuation. It is
// false where something else follows, at which it leaves the parser.
func (p *parser) list(end string) ([]*expr, bool) {
	var list []*expr
	for {
		list = append(list, p.or())
		if !p.acceptPunct(",") {
			break
		}
	}
	return list, p.acceptPunct(end)
}

func (p *parser) in(left *expr) *expr {
	if !p.peek().is("(") {
		// SQLite: IN table, IN schema.table, IN function(...)
		if p.d == SQLite && p.isTableIdentifier(p.peek()) {
			p.subqueries++
			core := &selectCore{}
			p.cores = append(p.cores, core)
			core.from = p.tablePrimary(core)
			return opaque
		}
		if p.peek().kind == tokParam { // a list left to the driver
			p.advance()
			return opaque
		}
		p.unexpected()
		return opaque
	}
	if p.parenthesisedQuery() {
		p.scanParens()
		return opaque
	}
	p.advance()
	if p.acceptPunct(")") { // SQLite: an empty list, false even of NULL
		return &expr{kind: exprFalse, col: left.col}
	}
	list, ok := p.list(")")
	if !ok {
		p.unexpected()
		return opaque
	}
	return inList(left, list)
}

// inList is membership in a list of values. NULLs in the list never match.
func inList(left *expr, list []*expr) *expr {
	if left.kind == exprRow {
		any := &expr{kind: exprOr}
		for _, item := range list {
			if item.kind == exprValue && item.values[0].Kind == NullOperand {
				continue
			}
			any.kids = append(any.kids, equal(left, item))
		}
		return any
	}
	if left.kind != exprColumn {
		return opaque
	}
	values := make([]Operand, 0, len(list))
	for _, item := range list {
		if item.kind != exprValue || item.values[0].Kind == ExpressionOperand {
			return opaque
		}
		if item.values[0].Kind != NullOperand {
			values = append(values, item.values[0])
		}
	}
	if len(values) == 0 {
		return &expr{kind: exprNull, col: left.col}
	}
	return &expr{kind: exprEqual, col: left.col, values: values}
}
