package conj

import "strings"

// parsedWrite is a write as read, before its table is looked up.
type parsedWrite struct {
	name      TableName
	statement Statement
	wide      string
	returning bool

	table     string // the table as written, with its alias
	alias     string
	aliased   bool
	where     *expr
	hasWhere  bool
	whereLo   int // token range of the WHERE condition
	whereHi   int
	sets      []parsedSet
	columns   []string // of an INSERT; nil if it names none
	rows      [][]Operand
	doNothing bool
	ignore    bool // MySQL's INSERT IGNORE
	conflict  *parsedConflict
	cascade   bool // of a TRUNCATE
	temporary bool // a CREATE TEMPORARY TABLE
}

// parsedConflict is what an upsert does with a row that is there already.
type parsedConflict struct {
	target []string // columns; nil: any unique index
	sets   []parsedSet
}

// parsedSet is column = value of an UPDATE.
type parsedSet struct {
	column string
	value  Operand
	same   bool // the value is the one that the row's INSERT has for the column
}

// setWide keeps the first reason why the row images can't be had.
func (w *parsedWrite) setWide(why string) {
	if w.wide == "" {
		w.wide = why
	}
}

func (p *parser) addWrite(s Statement) *parsedWrite {
	w := &parsedWrite{statement: s}
	p.writes = append(p.writes, w)
	return w
}

// writeStatement reads INSERT, REPLACE, UPDATE, DELETE or MERGE, with the
// word itself next.
func (p *parser) writeStatement() Statement {
	p.enter()
	defer p.leave()
	switch p.advance().word {
	case "insert":
		return p.insert(Insert)
	case "replace":
		return p.insert(Replace)
	case "update":
		return p.update()
	case "delete":
		return p.delete()
	case "merge":
		return p.merge()
	}
	p.unexpected()
	return Unknown
}

func (p *parser) insert(s Statement) Statement {
	w := p.addWrite(s)
	if s == Replace {
		w.setWide("replaces rows")
	}
	p.orAction(w)
	for p.d == MySQL && p.peek().anyOf("low_priority", "delayed", "high_priority", "ignore") {
		w.ignore = p.advance().word == "ignore" || w.ignore
		w.doNothing = w.ignore
	}
	if !p.accept("into") && p.d != MySQL {
		p.unexpected()
	}
	w.name = p.tableName()
	if p.d == MySQL && p.accept("partition") {
		p.scanParens()
	}
	if p.accept("as") {
		p.advance()
	}
	if p.peek().is("(") && !p.parenthesisedQuery() {
		p.insertColumns(w)
	}
	if p.accept("overriding") {
		p.advance()
		p.expect("value")
		w.setWide("overrides generated values")
	}
	switch {
	case p.accept("default", "values"):
		w.columns = []string{}
		w.rows = [][]Operand{{}}
	case p.peek().anyOf("values", "value"):
		p.advance()
		p.insertRows(w)
	case p.d == MySQL && p.accept("set"):
		w.columns = []string{}
		w.rows = [][]Operand{nil}
		for _, a := range p.assignments(w) {
			w.columns = append(w.columns, a.column)
			w.rows[0] = append(w.rows[0], a.value)
		}
	default:
		w.setWide("INSERT ... SELECT")
		if p.peek().word == "with" || p.peek().word == "table" || p.parenthesisedQuery() || p.peek().anyOf("select") {
			p.queryExpr(nil)
		} else {
			p.unexpected()
		}
	}
	if p.d == MySQL && p.accept("as") { // a row alias
		p.advance()
		if p.peek().is("(") {
			p.scanParens()
		}
	}
	p.onConflict(w)
	p.returning(w)
	return s
}

// orAction reads SQLite's INSERT OR .. and UPDATE OR ...
func (p *parser) orAction(w *parsedWrite) {
	if p.d != SQLite || !p.accept("or") {
		return
	}
	switch p.advance().word {
	case "ignore":
		w.doNothing = true
		if w.statement == Update {
			w.setWide("OR IGNORE")
		}
	case "abort", "rollback":
	case "replace":
		w.setWide("replaces rows")
	default: // OR FAIL keeps what was changed before the failure
		w.setWide("OR FAIL")
	}
}

func (p *parser) insertColumns(w *parsedWrite) {
	p.expectPunct("(")
	w.columns = []string{}
	if p.d == MySQL && p.acceptPunct(")") {
		return
	}
	for {
		name, plain := p.targetColumn()
		if !plain {
			w.setWide("writes a part of a column")
		}
		w.columns = append(w.columns, name)
		if !p.acceptPunct(",") {
			break
		}
	}
	p.expectPunct(")")
}

// targetColumn reads a column to be assigned; false if only a part of it is.
func (p *parser) targetColumn() (string, bool) {
	t := p.peek()
	if !t.identifier() && t.kind != tokDouble {
		p.unexpected()
		return "", false
	}
	name, plain := p.advance().text, true
	for !p.atEnd() {
		switch {
		case p.peek().is(".") && p.peekAt(1).identifier():
			p.advance()
			// MySQL and SQLite write table.column; PostgreSQL means a field.
			if p.d == PostgreSQL {
				plain = false
				p.advance()
			} else {
				name = p.advance().text
			}
		case p.peek().is("["):
			plain = false
			p.advance()
			p.scan(nil)
			p.expectPunct("]")
		default:
			return name, plain
		}
	}
	return name, plain
}

func (p *parser) insertRows(w *parsedWrite) {
	for {
		p.accept("row")
		p.expectPunct("(")
		row := []Operand{}
		if !p.acceptPunct(")") {
			for {
				row = append(row, p.assigned())
				if !p.acceptPunct(",") {
					break
				}
			}
			p.expectPunct(")")
		}
		w.rows = append(w.rows, row)
		if !p.acceptPunct(",") {
			return
		}
	}
}

// assigned reads a value being written.
func (p *parser) assigned() Operand {
	if p.accept("default") {
		if !p.peek().is("(") {
			return Operand{Kind: DefaultOperand}
		}
		p.scanParens() // MySQL's DEFAULT(column)
	}
	e := p.or()
	if e.kind == exprValue && e.values[0].cast == Opaque {
		return e.values[0]
	}
	return Operand{Kind: ExpressionOperand}
}

func (p *parser) onConflict(w *parsedWrite) {
	for p.accept("on") {
		switch {
		case p.accept("conflict"):
			target := p.conflictTarget()
			if p.accept("where") {
				p.condition()
			}
			p.expect("do")
			if p.accept("nothing") {
				w.doNothing = true
				continue
			}
			p.expect("update")
			p.expect("set")
			sets := p.assignments(w)
			if p.accept("where") {
				p.condition()
			}
			if target == nil || w.doNothing || w.conflict != nil {
				w.setWide("upsert")
			}
			w.conflict = &parsedConflict{target: target, sets: sets}
		case p.d == MySQL && p.accept("duplicate", "key", "update"):
			if p.assignsItself() {
				w.doNothing = true
				p.assignments(w)
				continue
			}
			if w.ignore { // which makes errors of the update warnings
				w.setWide("upsert")
			}
			w.conflict = &parsedConflict{sets: p.assignments(w)}
		default:
			p.unexpected()
		}
	}
}

// conflictTarget reads the columns of ON CONFLICT (..); nil if the target is
// anything else.
func (p *parser) conflictTarget() []string {
	if p.accept("on", "constraint") {
		p.advance()
		return nil
	}
	if !p.peek().is("(") {
		return nil
	}
	start := p.pos
	p.advance()
	var target []string
	for {
		t := p.advance()
		next := p.peek()
		if !t.identifier() && t.kind != tokDouble || !next.is(",") && !next.is(")") {
			break
		}
		target = append(target, t.text)
		if p.acceptPunct(")") {
			return target
		}
		p.advance()
	}
	if p.err == nil {
		p.pos = start
		p.scanParens() // an expression, a collation, an operator class
	}
	return nil
}

// assignsItself reports whether all that follows is column = column, which is how
// GORM says DO NOTHING to MySQL: it changes no row.
func (p *parser) assignsItself() bool {
	column, itself := p.peek(), p.peekAt(2)
	end := p.peekAt(3)
	return column.identifier() && p.peekAt(1).op("=") && itself.identifier() && strings.EqualFold(column.text, itself.text) &&
		(end.kind == tokEnd || end.word == "returning")
}

// assignments reads column = value, .., or (columns) = row.
func (p *parser) assignments(w *parsedWrite) []parsedSet {
	var sets []parsedSet
	for {
		if p.peek().is("(") {
			p.advance()
			for {
				name, _ := p.targetColumn()
				sets = append(sets, parsedSet{column: name, value: Operand{Kind: ExpressionOperand}})
				if !p.acceptPunct(",") {
					break
				}
			}
			p.expectPunct(")")
			p.expectOp("=")
			p.or()
		} else {
			name, plain := p.targetColumn()
			if p.peek().op(":=") && p.d == MySQL {
				p.advance()
			} else {
				p.expectOp("=")
			}
			start := p.pos
			v := p.assigned()
			if !plain {
				v = Operand{Kind: ExpressionOperand}
			}
			sets = append(sets, parsedSet{column: name, value: v, same: plain && p.excluded(start, name)})
		}
		if !p.acceptPunct(",") {
			return sets
		}
	}
}

// excluded reports whether the tokens from start to here are excluded.column.
func (p *parser) excluded(start int, column string) bool {
	if p.pos != start+3 || p.err != nil {
		return false
	}
	toks := p.toks[start:p.pos]
	return toks[0].identifier() && sameName(p.d, toks[0].text, "excluded") && toks[1].is(".") &&
		(toks[2].identifier() || toks[2].kind == tokDouble) && sameName(p.d, toks[2].text, column)
}

func (p *parser) expectOp(op string) {
	if !p.peek().op(op) {
		p.unexpected()
		return
	}
	p.advance()
}

func (p *parser) returning(w *parsedWrite) {
	if !p.accept("returning") {
		return
	}
	w.returning = true
	p.scan(p.endsClause)
}

func (p *parser) update() Statement {
	w := p.addWrite(Update)
	p.orAction(w)
	for p.d == MySQL && p.peek().anyOf("low_priority", "ignore") {
		if p.advance().word == "ignore" {
			w.setWide("IGNORE")
		}
	}
	p.target(w)
	p.expect("set")
	w.sets = p.assignments(w)
	if p.accept("from") {
		p.sources(w, "FROM")
	}
	p.whereOf(w)
	p.returning(w)
	return Update
}

func (p *parser) delete() Statement {
	w := p.addWrite(Delete)
	for p.d == MySQL && p.peek().anyOf("low_priority", "quick", "ignore") {
		if p.advance().word == "ignore" {
			w.setWide("IGNORE")
		}
	}
	if p.accept("from") {
		p.target(w)
	} else if p.d == MySQL {
		// DELETE a, b FROM a JOIN b ..: the list names tables or aliases
		p.writes = p.writes[:len(p.writes)-1]
		p.scan(func(t *token) bool { return t.word == "from" })
		p.expect("from")
		p.manyTargets(Delete)
		w = p.writes[len(p.writes)-1]
	} else {
		p.unexpected()
	}
	if p.accept("using") {
		p.sources(w, "USING")
		if p.d == MySQL { // DELETE FROM a, b USING a JOIN b
			core := p.cores[len(p.cores)-1]
			p.writeEntries(core, Delete)
		}
	}
	p.whereOf(w)
	p.returning(w)
	return Delete
}

// target reads the table of an UPDATE or DELETE, or, in MySQL, several.
func (p *parser) target(w *parsedWrite) {
	start := p.pos
	if p.d == PostgreSQL {
		p.accept("only")
	}
	if p.peek().is("(") {
		p.severalTargets(w, start)
		return
	}
	w.name = p.tableName()
	if p.d == PostgreSQL && p.peek().op("*") {
		p.advance()
	}
	if p.d == MySQL && p.accept("partition") {
		p.scanParens()
	}
	w.alias = w.name.Name
	e := &scopeEntry{}
	p.alias(e)
	if e.aliased {
		w.alias, w.aliased = e.alias, true
	}
	p.tableHints()
	if t := p.peek(); p.d == MySQL && (t.is(",") || t.anyOf("join", "inner", "left", "right", "cross", "straight_join", "natural")) {
		p.severalTargets(w, start)
		return
	}
	if p.err == nil {
		w.table = p.sql[p.toks[start].start:p.toks[p.pos-1].end]
	}
}

// severalTargets starts over at the table of a write that turns out to have
// several: which of them is written is not told apart.
func (p *parser) severalTargets(w *parsedWrite, start int) {
	if p.d != MySQL {
		p.unexpected()
		return
	}
	p.pos = start
	p.writes = p.writes[:len(p.writes)-1]
	p.manyTargets(w.statement)
	*w = *p.writes[len(p.writes)-1]
	p.writes[len(p.writes)-1] = w
}

func (p *parser) manyTargets(s Statement) {
	core := &selectCore{}
	p.cores = append(p.cores, core)
	p.fromClause(core)
	p.writeEntries(core, s)
}

// writeEntries takes every table of a FROM clause for written.
func (p *parser) writeEntries(core *selectCore, s Statement) {
	n := len(p.writes)
	for _, e := range core.entries {
		if e.base { // a CTE can't be written
			w := p.addWrite(s)
			w.name = e.name
			w.setWide("several tables")
		}
	}
	if len(p.writes) == n {
		p.unexpected()
		p.addWrite(s)
	}
}

// sources reads the other tables of an UPDATE or DELETE.
func (p *parser) sources(w *parsedWrite, word string) {
	w.setWide(word)
	core := &selectCore{}
	p.cores = append(p.cores, core)
	p.fromClause(core)
}

// whereOf reads the WHERE of an UPDATE or DELETE and judges whether the same
// condition can be asked beforehand.
func (p *parser) whereOf(w *parsedWrite) {
	if p.accept("where") {
		w.hasWhere = true
		w.whereLo = p.pos
		queries, calls, variables, cores := p.subqueries, len(p.calls), p.variables, len(p.cores)
		if p.peek().word == "current" && p.peekAt(1).word == "of" {
			w.setWide("WHERE CURRENT OF")
			p.scan(p.endsClause)
		} else {
			w.where = p.condition()
		}
		w.whereHi = p.pos
		if p.subqueries > queries || len(p.cores) > cores {
			w.setWide("subquery in WHERE")
		}
		for _, f := range p.calls[calls:] {
			if !plainInWrites[f] {
				w.setWide("function in WHERE: " + f)
			}
		}
		if p.variables > variables {
			w.setWide("variable in WHERE")
		}
		for i := w.whereLo; i < w.whereHi; i++ {
			if t := &p.toks[i]; t.kind == tokParam && t.num < 0 {
				w.setWide("named parameter")
			}
		}
	}
	if p.peek().word == "order" {
		w.setWide("ORDER BY")
		p.advance()
		p.expect("by")
		p.scan(p.endsClause)
	}
	if p.accept("limit") {
		w.setWide("LIMIT")
		p.scan(p.endsClause)
		if p.accept("offset") {
			p.scan(p.endsClause)
		}
	}
}

// merge reads MERGE as far as its tables go.
func (p *parser) merge() Statement {
	w := p.addWrite(Merge)
	w.setWide("MERGE")
	p.expect("into")
	p.accept("only")
	w.name = p.tableName()
	p.alias(&scopeEntry{})
	p.expect("using")
	core := &selectCore{}
	p.cores = append(p.cores, core)
	core.from = p.tablePrimary(core)
	p.expect("on")
	p.condition()
	for p.accept("when") {
		p.scan(func(t *token) bool { return t.word == "when" || t.word == "returning" })
	}
	p.returning(w)
	return Merge
}
