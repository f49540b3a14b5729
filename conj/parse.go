package conj

import (
	"fmt"
	"slices"
	"strings"
)

// maxNesting bounds the depth of parentheses, subqueries and CASEs.
const maxNesting = 200

// parser reads one statement. It does no look-ups: what it finds is resolved
// afterwards, so that a text that turns out not to be understood costs none.
//
// The first failure sticks: it moves the parser to the end of the text, so
// that every loop ends.
type parser struct {
	d     Dialect
	sql   string
	toks  []token
	pos   int
	depth int
	err   error

	cores      []*selectCore
	tables     []span // of the names and aliases of tables in FROM
	names      []TableName
	writes     []*parsedWrite
	skip       string
	volatile   string
	hidden     []Hidden
	effects    bool
	subqueries int      // counts, to tell whether a condition holds any
	calls      []string // functions called, in order
	variables  int

	ctes           *cteScope // CTE names visible here
	selfReferences int       // references of CTEs to themselves so far
}

func (p *parser) fail(format string, args ...any) {
	if p.err == nil {
		p.err = fmt.Errorf(format, args...)
	}
	p.pos = len(p.toks) - 1
}

// unexpected fails at the current token.
func (p *parser) unexpected() {
	t := p.peek()
	if t.kind == tokEnd {
		p.fail("unexpected end")
		return
	}
	p.fail("unexpected %q at %d", p.sql[t.start:t.end], t.start)
}

func (p *parser) enter() {
	if p.depth++; p.depth > maxNesting {
		p.fail("nested too deeply")
	}
}

func (p *parser) leave() { p.depth-- }

func (p *parser) peek() *token { return &p.toks[p.pos] }

func (p *parser) peekAt(n int) *token {
	return &p.toks[min(p.pos+n, len(p.toks)-1)]
}

func (p *parser) advance() *token {
	t := &p.toks[p.pos]
	if p.pos < len(p.toks)-1 {
		p.pos++
	}
	return t
}

func (p *parser) atEnd() bool { return p.peek().kind == tokEnd }

func (t *token) is(s string) bool { return t.kind == tokPunct && t.text == s }
func (t *token) op(s string) bool { return t.kind == tokOp && t.text == s }

// anyOf reports whether the token is one of some keywords.
func (t *token) anyOf(words ...string) bool {
	return t.word != "" && slices.Contains(words, t.word)
}

func (t *token) identifier() bool { return t.kind == tokWord || t.kind == tokName }

// accept takes a keyword if it is next.
func (p *parser) accept(words ...string) bool {
	for i, w := range words {
		if p.peekAt(i).word != w {
			return false
		}
	}
	for range words {
		p.advance()
	}
	return true
}

func (p *parser) acceptPunct(s string) bool {
	if p.peek().is(s) {
		p.advance()
		return true
	}
	return false
}

func (p *parser) expectPunct(s string) {
	if !p.acceptPunct(s) {
		p.unexpected()
	}
}

func (p *parser) expect(words ...string) {
	if !p.accept(words...) {
		p.unexpected()
	}
}

// noteSkip keeps the first reason why a result can't be cached.
func (p *parser) noteSkip(format string, args ...any) {
	if p.skip == "" {
		p.skip = fmt.Sprintf(format, args...)
	}
}

func (p *parser) noteVolatile(what string) {
	if p.volatile == "" {
		p.volatile = what
	}
}

// noteHidden keeps something that may read tables which don't show.
func (p *parser) noteHidden(h Hidden) {
	if !slices.Contains(p.hidden, h) {
		p.hidden = append(p.hidden, h)
	}
}

func (p *parser) noteName(n TableName) {
	if !slices.Contains(p.names, n) {
		p.names = append(p.names, n)
	}
}

// isTableIdentifier reports whether a token can name a table.
func (p *parser) isTableIdentifier(t *token) bool {
	return t.identifier() || t.kind == tokDouble || t.kind == tokString && p.d == SQLite
}

// tableName reads name, schema.name or database.schema.name.
func (p *parser) tableName() TableName {
	if !p.isTableIdentifier(p.peek()) {
		p.unexpected()
		return TableName{}
	}
	n := TableName{Name: p.advance().text}
	for p.peek().is(".") && p.isTableIdentifier(p.peekAt(1)) {
		p.advance()
		n = TableName{Schema: n.Name, Name: p.advance().text}
	}
	return n
}

// scan reads tokens that need no understanding up to a closing parenthesis,
// a semicolon, the end, or, if there is a stop, up to a token on this level
// for which it is true. Subqueries, function calls and what makes a result
// uncacheable are noted on the way.
func (p *parser) scan(stop func(t *token) bool) {
	p.enter()
	defer p.leave()
	for !p.atEnd() {
		t := p.peek()
		if t.kind == tokPunct {
			switch t.text {
			case ")", "]", ";", "}":
				return
			case "(":
				p.scanParens()
				continue
			case "[":
				p.advance()
				p.scan(nil)
				p.expectPunct("]")
				continue
			case "{":
				p.unexpected() // ODBC escapes
				return
			case ",", ".":
				if stop != nil && stop(t) {
					return
				}
				p.advance()
				continue
			}
		}
		if stop != nil && stop(t) {
			return
		}
		switch {
		case t.word == "as" && stop != nil:
			// AS takes any word for an alias, keywords too.
			p.advance()
			if n := p.peek(); n.identifier() && !p.peekAt(1).is("(") {
				p.advance()
			}
		case t.word == "select":
			p.queryExpr(nil)
		case t.word == "join":
			p.unexpected()
			return
		default:
			p.element()
		}
	}
}

// element takes one token inside an expression and notes what it may be.
func (p *parser) element() {
	t := p.advance()
	switch {
	case t.kind == tokOp && t.text == ":=":
		p.variables++
		p.noteSkip("assigns a variable")
		p.effects = true
	case t.kind == tokOp && t.text[0] == '@' && p.d == MySQL:
		p.variables++
		p.noteVolatile(t.text)
	case (t.kind == tokString || t.kind == tokRaw) && p.d == PostgreSQL && meansNow(t.text):
		p.calls = append(p.calls, t.text)
		p.noteVolatile("'" + t.text + "'")
	case t.identifier() && p.peek().is("(") && !p.isTypeName():
		p.call(t)
	case t.word != "" && isVolatileWord(p.d, t.word):
		p.calls = append(p.calls, t.word)
		p.noteVolatile(t.word)
	}
}

// isTypeName reports whether the token before the current one is a type's name
// after :: or AS, as in x::numeric(10,2).
func (p *parser) isTypeName() bool {
	if p.pos < 2 {
		return false
	}
	before := &p.toks[p.pos-2]
	return before.op("::") || before.word == "as"
}

// call notes a function; the current token is its opening parenthesis, which
// is not taken.
func (p *parser) call(name *token) {
	if name.word != "" && notFunctions[name.word] {
		return
	}
	low := strings.ToLower(name.text)
	qualified := p.pos >= 3 && p.toks[p.pos-2].is(".")
	if qualified {
		if schema := p.toks[p.pos-3].text; p.d != PostgreSQL || schema != "pg_catalog" {
			low = strings.ToLower(schema) + "." + low
		}
	}
	p.calls = append(p.calls, low)
	switch classify(p.d, low) {
	case stable:
	case sideEffect:
		p.noteSkip("side effects: %s", low)
		p.effects = true
	case stableOfColumns:
		if p.readsClock(low) {
			p.noteVolatile(low + "()")
		}
	case volatile:
		p.noteVolatile(low + "()")
	default:
		p.noteHidden(Hidden{Kind: HiddenFunction, Name: low[strings.LastIndexByte(low, '.')+1:], Reason: "function " + low + "() is not known to be stable"})
	}
}

// readsClock reports whether a date function may read the clock: called without
// arguments, or, of PostgreSQL's age, with one only; in SQLite with the word now
// or with what may stand for it. The current token is the opening parenthesis.
func (p *parser) readsClock(name string) bool {
	args := p.toks[p.pos+1 : p.pos+closing(p.toks[p.pos:])]
	list := items(args)
	switch {
	case len(args) == 0:
		return true
	case p.d == PostgreSQL:
		return len(list) == 1
	case p.d == SQLite:
		return name == "strftime" && len(list) == 1 || slices.ContainsFunc(args, mayMeanNow)
	}
	return false
}

// mayMeanNow reports whether an argument's token may make a date function of
// SQLite read the clock, or the time zone of the process.
func mayMeanNow(t token) bool {
	switch t.kind {
	case tokParam:
		return true
	case tokOp:
		return t.text == "||"
	case tokString, tokName, tokRaw:
		return sqliteClock[strings.ToLower(strings.TrimSpace(t.text))]
	}
	return false
}

// scanParens reads a parenthesised group of any content, or a subquery.
func (p *parser) scanParens() {
	p.enter()
	defer p.leave()
	p.expectPunct("(")
	if p.startsQuery(p.peek(), p.peekAt(1)) {
		p.queryExpr(nil)
		// What follows may be more than a query, as in ((SELECT 1) + 1).
	}
	p.scan(nil)
	p.expectPunct(")")
}

// startsQuery reports whether two tokens begin a query.
func (p *parser) startsQuery(t, next *token) bool {
	switch t.word {
	case "select", "with":
		return true
	case "values":
		return next.is("(") || next.word == "row"
	case "table":
		return p.d != SQLite && next.identifier()
	}
	return false
}

// parenthesisedQuery reports whether a run of opening parentheses, at the
// current token, ends in a query.
func (p *parser) parenthesisedQuery() bool {
	i := 0
	for p.peekAt(i).is("(") {
		i++
	}
	return p.startsQuery(p.peekAt(i), p.peekAt(i+1))
}
