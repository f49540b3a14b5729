package conj

import (
	"strconv"
	"strings"
)

// operand reads what stands on one side of a comparison. A column, a value
// and a row come out as such, everything else opaque.
func (p *parser) operand() *expr { return p.cast(false) }

// cast reads an operand, or, if asArray, one that may be cast to an array.
func (p *parser) cast(asArray bool) *expr {
	p.enter()
	defer p.leave()
	e := p.primary()
	for !p.atEnd() {
		t := p.peek()
		switch {
		case t.kind == tokOp && p.isComparison(t):
			return e
		case t.op("::"):
			p.advance()
			if kind, array := p.typeName(); kind != Opaque && e.kind == exprValue && (!array || asArray) {
				e = castTo(e, kind)
				continue
			}
		case t.kind == tokOp || t.anyOf("div", "mod") && p.d == MySQL:
			p.element()
			if p.peek().anyOf("any", "all", "some") && p.peekAt(1).is("(") {
				p.advance()
			}
			p.primary()
		case t.word == "collate":
			p.advance()
			p.tableName()
		case t.word == "at" && p.accept("at", "time", "zone"):
			p.primary()
		case t.word == "operator" && p.peekAt(1).is("("):
			p.advance()
			p.scanParens()
			p.primary()
		case t.is("[") && p.d != SQLite:
			p.advance()
			p.scan(nil)
			p.expectPunct("]")
		case t.is("."):
			// a field of a composite, (x).y
			p.advance()
			p.advance()
		default:
			return e
		}
		e = opaque
	}
	return e
}

// castTo is a value cast to a type that keeps it as it is where the value is
// of a column of that type.
func castTo(e *expr, kind Kind) *expr {
	v := e.values[0]
	if v.cast != Opaque || v.Kind != ParamOperand && v.Kind != LiteralOperand {
		return opaque
	}
	v.cast = kind
	return value(v)
}

// isComparison reports whether an operator ends an operand.
func (p *parser) isComparison(t *token) bool {
	switch t.text {
	case "=", "==", "<", ">", "<=", ">=", "<>", "!=":
		return true
	case "<=>", "||", "&&":
		return p.d == MySQL
	}
	return false
}

func (p *parser) primary() *expr {
	t := p.peek()
	switch t.kind {
	case tokParam:
		p.advance()
		if t.num < 0 {
			return opaque
		}
		return value(Operand{Kind: ParamOperand, Param: t.num})
	case tokNumber:
		p.advance()
		n, err := strconv.ParseInt(t.text, 10, 64)
		if err != nil || t.text[0] == '0' && len(t.text) > 1 {
			return opaque
		}
		return value(Operand{Kind: LiteralOperand, Literal: n})
	case tokString:
		p.element()
		if k := p.peek().kind; k == tokString || k == tokDouble || k == tokRaw {
			for k := p.peek().kind; k == tokString || k == tokDouble || k == tokRaw; k = p.peek().kind {
				p.element() // adjacent literals are one
			}
			return opaque
		}
		return value(Operand{Kind: LiteralOperand, Literal: t.text})
	case tokRaw, tokDouble:
		p.element()
		if p.peek().is(".") && p.peekAt(1).identifier() { // "t".c under ANSI_QUOTES
			p.advance()
			p.advance()
		}
		return opaque
	case tokOp:
		return p.unary()
	case tokWord, tokName:
		return p.word()
	case tokPunct:
		if t.text == "(" {
			return p.parens()
		}
	}
	p.unexpected()
	return opaque
}

func value(o Operand) *expr { return &expr{kind: exprValue, values: []Operand{o}} }

// unary reads a prefix operator and its operand.
func (p *parser) unary() *expr {
	t := p.peek()
	p.enter()
	defer p.leave()
	p.element()
	if t.text[0] == '@' && p.d == MySQL {
		return opaque // a variable
	}
	if !strings.Contains("+-~!@|/", t.text[:1]) {
		p.unexpected()
		return opaque
	}
	e := p.primary()
	if t.text == "-" && e.kind == exprValue {
		if n, ok := e.values[0].Literal.(int64); ok && n > 0 {
			return value(Operand{Kind: LiteralOperand, Literal: -n})
		}
	}
	return opaque
}

// parens reads (expression), (row, value) or (query).
func (p *parser) parens() *expr {
	p.enter()
	defer p.leave()
	if p.parenthesisedQuery() {
		p.scanParens()
		return opaque
	}
	p.advance()
	list, ok := p.list(")")
	if !ok {
		p.unexpected()
		return opaque
	}
	if len(list) == 1 {
		return list[0]
	}
	return &expr{kind: exprRow, kids: list}
}

// reserved words can't begin an operand; meeting one means that the parser
// has lost its way.
var reserved = set(`select from where group having order limit union intersect except join inner cross natural
	on using and or in is between like when then else end set returning`)

// word reads an operand that begins with an identifier or a keyword.
func (p *parser) word() *expr {
	t := p.peek()
	switch t.word {
	case "":
	case "null":
		p.advance()
		return value(Operand{Kind: NullOperand})
	case "true", "false":
		p.advance()
		return value(Operand{Kind: LiteralOperand, Literal: t.word == "true"})
	case "case":
		p.caseExpr()
		return opaque
	case "cast":
		if p.d == PostgreSQL && p.peekAt(1).is("(") {
			if e, ok := p.castCall(false); ok {
				return e
			}
		}
	case "not": // an operand in SQLite
		p.not()
		return opaque
	case "binary":
		if p.d == MySQL && !p.peekAt(1).is(".") {
			p.advance()
			p.primary()
			return opaque
		}
	case "interval":
		if p.d != SQLite && !p.peekAt(1).is(".") {
			p.interval()
			return opaque
		}
	default:
		if reserved[t.word] && !p.peekAt(1).is(".") {
			p.unexpected()
			return opaque
		}
	}
	ref := columnRef{name: t.text}
	p.element() // notes a call, if it is one
	for n := 0; p.peek().is(".") && (p.peekAt(1).identifier() || p.peekAt(1).op("*")); n++ {
		p.advance()
		if p.peek().op("*") {
			p.advance()
			return opaque
		}
		if n >= 2 {
			ref.schema = "\x00" // a database's name in front: no one's
		} else {
			ref.schema = ref.table
		}
		ref.table, ref.name = ref.name, p.peek().text
		p.element()
	}
	switch next := p.peek(); {
	case next.is("("):
		p.scanParens()
		p.afterCall()
		return opaque
	case next.kind == tokString || next.kind == tokRaw || next.kind == tokDouble:
		if t.kind == tokWord { // date '2020-01-01', _utf8'x'
			p.element()
			return opaque
		}
	}
	if t.word != "" && ref.table == "" && isVolatileWord(p.d, t.word) {
		return opaque
	}
	return &expr{kind: exprColumn, col: ref}
}

// afterCall reads what may follow a function's closing parenthesis.
func (p *parser) afterCall() {
	for !p.atEnd() {
		switch t := p.peek(); {
		case t.anyOf("filter", "over", "against") && p.peekAt(1).is("("):
			p.advance()
			p.scanParens()
		case t.word == "within" && p.peekAt(1).word == "group":
			p.advance()
			p.advance()
			p.scanParens()
		case t.word == "over" && p.peekAt(1).identifier():
			p.advance()
			p.advance()
		case t.anyOf("respect", "ignore") && p.peekAt(1).word == "nulls":
			p.advance()
			p.advance()
		default:
			return
		}
	}
}

// caseExpr reads CASE ... END.
func (p *parser) caseExpr() {
	p.enter()
	defer p.leave()
	p.advance()
	for !p.atEnd() && p.peek().word != "end" {
		if p.peek().word == "case" {
			p.caseExpr()
			continue
		}
		if t := p.peek(); t.is(")") || t.is("]") || t.is(";") {
			p.unexpected()
			return
		}
		p.scan(func(t *token) bool { return t.word == "end" || t.word == "case" })
	}
	p.expect("end")
}

// interval reads INTERVAL '1 day' and MySQL's INTERVAL 1 DAY.
func (p *parser) interval() {
	p.advance()
	if p.peek().is("(") {
		p.scanParens()
	} else {
		p.primary()
	}
	if intervalUnits[p.peek().word] {
		p.advance()
		if p.accept("to") {
			p.advance()
		}
	}
}

var intervalUnits = set(`microsecond second minute hour day week month quarter year second_microsecond
	minute_microsecond minute_second hour_microsecond hour_second hour_minute day_microsecond day_second
	day_minute day_hour year_month`)

// typeKinds are the types of PostgreSQL that keep a value which a column of the
// kind can hold as it is. Those with a length or a precision do not.
var typeKinds = map[string]Kind{
	"smallint": Integer, "integer": Integer, "int": Integer, "bigint": Integer, "int2": Integer, "int4": Integer, "int8": Integer,
	"boolean": Boolean, "bool": Boolean, "numeric": Decimal, "decimal": Decimal, "text": Text, "varchar": Text, "uuid": UUID,
}

// typeName reads a type after ::, and says of which columns it is the type.
func (p *parser) typeName() (kind Kind, array bool) {
	first := p.peek().word
	start := p.pos
	p.tableName()
	if p.d == PostgreSQL && p.pos == start+1 {
		kind = typeKinds[first]
	}
	switch first {
	case "double", "character", "char", "bit", "national":
		if !p.accept("precision") {
			p.accept("character")
			p.accept("varying")
		}
	}
	if p.peek().is("(") {
		kind = Opaque
		p.scanParens()
	}
	if first == "timestamp" || first == "time" {
		if !p.accept("with", "time", "zone") {
			p.accept("without", "time", "zone")
		}
	}
	for p.peek().is("[") {
		array = true
		p.advance()
		p.scan(nil)
		p.expectPunct("]")
	}
	if first == "interval" && intervalUnits[p.peek().word] {
		p.advance()
	}
	return kind, array
}

// castCall reads CAST(value AS type), and nothing if it is anything else.
func (p *parser) castCall(asArray bool) (*expr, bool) {
	start := p.pos
	p.advance()
	p.advance()
	v := p.peek()
	if v.kind == tokParam && v.num >= 0 || v.kind == tokString || v.kind == tokNumber {
		e := p.primary()
		if e.kind == exprValue && p.accept("as") {
			if kind, array := p.typeName(); kind != Opaque && (!array || asArray) && p.acceptPunct(")") {
				return castTo(e, kind), true
			}
		}
	}
	if p.err == nil {
		p.pos = start
	}
	return opaque, false
}
