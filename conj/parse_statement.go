package conj

import "strings"

// statement reads a whole text and says what it is.
func (p *parser) statement(out *outerQuery) Statement {
	p.acceptPunct(";")
	if p.atEnd() {
		return Other
	}
	s := p.dispatch(out)
	for p.acceptPunct(";") {
	}
	if !p.atEnd() {
		p.unexpected()
	}
	return s
}

func (p *parser) dispatch(out *outerQuery) Statement {
	t := p.peek()
	if t.is("(") || p.startsQuery(t, p.peekAt(1)) && t.word != "with" {
		p.queryExpr(out)
		return Select
	}
	switch t.word {
	case "with":
		return p.withStatement(out)
	case "insert", "replace", "update", "delete", "merge":
		return p.writeStatement()
	case "truncate":
		return p.truncate()
	case "create", "alter", "drop", "rename", "comment", "refresh", "grant", "revoke", "security":
		return p.ddl()
	case "copy":
		return p.copy()
	}
	return p.control()
}

// withStatement reads a statement that begins with WITH.
func (p *parser) withStatement(out *outerQuery) Statement {
	p.with()
	switch p.peek().word {
	case "insert", "update", "delete", "merge", "replace":
		n := len(p.writes)
		s := p.writeStatement()
		for _, w := range p.writes[n:] {
			w.setWide("with a CTE")
		}
		return s
	}
	p.setOperations(out)
	p.tail(out)
	return Select
}

// rest takes everything up to the end or a semicolon without a look at it.
func (p *parser) rest() {
	for !p.atEnd() && !p.peek().is(";") {
		p.advance()
	}
}

// control reads the statements that neither read nor write tables.
func (p *parser) control() Statement {
	t := p.advance()
	switch t.word {
	case "begin", "start":
		if t.word == "start" && p.peek().word != "transaction" {
			p.unexpected() // START SLAVE and the like
		}
		p.rest()
		return Begin
	case "commit", "end":
		if p.accept("prepared") {
			p.rest()
			return Other
		}
		p.rest()
		return Commit
	case "rollback", "abort":
		if p.accept("prepared") {
			p.rest()
			return Other
		}
		for !p.atEnd() && !p.peek().is(";") {
			if p.advance().word == "to" {
				p.rest()
				return RollbackTo
			}
		}
		return Rollback
	case "savepoint":
		p.rest()
		return Savepoint
	case "release":
		p.rest()
		return Release
	case "set", "reset", "use", "discard":
		return p.set()
	case "call", "do", "execute":
		p.effects = true
		p.rest()
		return Call
	case "explain", "describe", "desc", "analyze":
		return p.explain(t.word)
	case "lock":
		if p.d != PostgreSQL { // MySQL commits
			p.unexpected()
		}
		p.effects = true
		p.rest()
		return Other
	case "pragma":
		return p.pragma()
	case "prepare", "xa":
		if t.word == "prepare" && p.peek().word != "transaction" {
			p.unexpected() // what EXECUTE is going to run
		}
		p.rest()
		return Other
	case "show", "vacuum", "reindex", "listen", "unlisten", "notify", "checkpoint", "optimize", "flush",
		"kill", "declare", "fetch", "close", "move", "deallocate", "cluster", "help":
		p.rest()
		return Other
	}
	p.pos = max(0, p.pos-1)
	p.unexpected()
	return Unknown
}

// set reads SET. MariaDB's SET STATEMENT .. FOR runs another statement.
func (p *parser) set() Statement {
	for !p.atEnd() && !p.peek().is(";") {
		if p.d == MySQL && p.peek().anyOf("for", "select") {
			p.unexpected()
			return Unknown
		}
		p.advance()
	}
	return Set
}

// pragma reads SQLite's PRAGMA, which sets what it names if a value follows. In
// parentheses that may be an argument, as of table_info.
func (p *parser) pragma() Statement {
	name := p.tableName().Name
	value := p.peek()
	p.rest()
	if value.op("=") || value.is("(") && SettingEffect(p.d, name).Meaningful() {
		return Set
	}
	return Other
}

// explain reads EXPLAIN, which runs its statement if told to ANALYZE.
func (p *parser) explain(word string) Statement {
	analyze := false
	for !p.atEnd() && !p.peek().is(";") {
		t := p.advance()
		analyze = analyze || t.word == "analyze" || t.word == "analyse"
		if analyze && word != "analyze" && t.anyOf("insert", "update", "delete", "replace", "merge", "create", "with", "execute", "refresh") {
			p.unexpected()
		}
		if word == "analyze" && t.anyOf("insert", "update", "delete", "replace") { // MariaDB's ANALYZE statement
			p.unexpected()
		}
	}
	return Other
}

// names reads a list of tables, each of them written.
func (p *parser) tableList(s Statement, wide string) {
	for {
		if p.d == PostgreSQL {
			p.accept("only")
		}
		w := p.addWrite(s)
		w.name = p.tableName()
		w.setWide(wide)
		if p.peek().op("*") {
			p.advance()
		}
		if !p.acceptPunct(",") {
			return
		}
	}
}

func (p *parser) truncate() Statement {
	p.advance()
	p.accept("table")
	p.tableList(Truncate, "TRUNCATE")
	for !p.atEnd() && !p.peek().is(";") {
		if p.advance().word == "cascade" {
			for _, w := range p.writes {
				w.cascade = true
			}
		}
	}
	return Truncate
}

// copy reads PostgreSQL's COPY table FROM and COPY .. TO.
func (p *parser) copy() Statement {
	p.advance()
	if p.peek().is("(") {
		p.scanParens()
		p.rest()
		return Other
	}
	w := p.addWrite(Insert)
	w.name = p.tableName()
	w.setWide("COPY")
	p.rest()
	return Insert
}

// ddl reads the definition statements as far as the tables that they name.
func (p *parser) ddl() Statement {
	switch p.advance().word {
	case "comment":
		p.comment()
	case "rename":
		p.renameTable()
	case "refresh":
		p.expect("materialized", "view")
		p.accept("concurrently")
		p.ddlTable()
	case "grant", "revoke", "security":
	case "create":
		p.create()
	case "alter":
		p.alter()
	case "drop":
		p.drop()
	}
	p.rest()
	return DDL
}

func (p *parser) ddlTable() {
	w := p.addWrite(DDL)
	w.name = p.tableName()
	w.setWide("DDL")
}

func (p *parser) ifExists() {
	if !p.accept("if", "not", "exists") {
		p.accept("if", "exists")
	}
}

// create reads CREATE; of what is no table, view, index or trigger it names
// none.
func (p *parser) create() {
	if p.accept("or") {
		p.expect("replace")
	}
	temporary := false
	for p.peek().anyOf("global", "local", "temp", "temporary", "unlogged", "virtual", "unique", "fulltext", "spatial",
		"materialized", "recursive", "constraint", "foreign", "external") {
		temporary = p.advance().anyOf("temp", "temporary") || temporary
	}
	switch {
	case p.accept("table"), p.accept("view"):
		p.ifExists()
		p.ddlTable()
		w := p.writes[len(p.writes)-1]
		w.temporary = temporary || isTemporarySchema(p.d, w.name.Schema)
		p.parents()
	case p.accept("index"), p.accept("trigger"):
		for !p.atEnd() && !p.peek().is(";") {
			if p.advance().word == "on" {
				p.accept("only")
				p.ddlTable()
				return
			}
		}
		p.unexpected()
	case p.accept("rule"): // name AS ON event TO table
		for !p.atEnd() && !p.peek().is(";") {
			if p.advance().word == "to" {
				p.ddlTable()
				return
			}
		}
		p.unexpected()
	}
}

// parents reads the tables that a new one inherits from or is a part of.
func (p *parser) parents() {
	if p.d != PostgreSQL {
		return
	}
	for !p.atEnd() && !p.peek().is(";") {
		switch {
		case p.accept("partition", "of"):
			p.ddlTable()
		case p.peek().word == "inherits" && p.peekAt(1).is("("):
			p.advance()
			p.advance()
			p.tableList(DDL, "DDL")
			p.expectPunct(")")
		case p.peek().anyOf("select", "values", "execute"):
			return
		default:
			p.advance()
		}
	}
}

// isTemporarySchema reports whether tables of a schema are temporary.
func isTemporarySchema(d Dialect, schema string) bool {
	return d == PostgreSQL && strings.HasPrefix(schema, "pg_temp") || d == SQLite && strings.EqualFold(schema, "temp")
}

func (p *parser) alter() {
	for p.peek().anyOf("materialized", "foreign", "online", "ignore") {
		p.advance()
	}
	if !p.accept("table") && !p.accept("view") {
		return
	}
	p.ifExists()
	p.accept("only")
	p.ddlTable()
	for !p.atEnd() && !p.peek().is(";") {
		switch {
		case p.accept("rename"):
			if p.accept("to") || p.accept("as") {
				p.ddlTable()
			}
		case p.d == PostgreSQL && (p.accept("attach", "partition") || p.accept("detach", "partition") || p.accept("inherit")):
			p.ddlTable()
		case p.d == MySQL && p.accept("with", "table"): // EXCHANGE PARTITION p WITH TABLE t
			p.ddlTable()
		default:
			p.advance()
		}
	}
}

func (p *parser) drop() {
	for p.peek().anyOf("temporary", "materialized", "foreign") {
		p.advance()
	}
	switch {
	case p.accept("table"), p.accept("view"):
		p.ifExists()
		p.tableList(DDL, "DDL")
	case p.accept("index"), p.accept("trigger"):
		for !p.atEnd() && !p.peek().is(";") {
			if p.advance().word == "on" {
				p.ddlTable()
				return
			}
		}
	}
}

func (p *parser) renameTable() {
	if !p.accept("table") && !p.accept("tables") {
		return
	}
	for {
		p.ddlTable()
		p.expect("to")
		p.ddlTable()
		if !p.acceptPunct(",") {
			return
		}
	}
}

// comment reads COMMENT ON TABLE t and COMMENT ON COLUMN t.c.
func (p *parser) comment() {
	p.expect("on")
	switch {
	case p.accept("table"):
		p.ddlTable()
	case p.accept("column"):
		var path []string
		for p.peek().identifier() {
			path = append(path, p.advance().text)
			if !p.acceptPunct(".") {
				break
			}
		}
		w := p.addWrite(DDL)
		w.setWide("DDL")
		switch n := len(path); {
		case n >= 3:
			w.name = TableName{Schema: path[n-3], Name: path[n-2]}
		case n == 2:
			w.name = TableName{Name: path[0]}
		default:
			p.unexpected()
		}
	}
}
