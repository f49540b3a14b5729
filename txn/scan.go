package txn

import (
	"strings"

	"github.com/cacheplugin/cacheplugin/internal/sqltoken"
)

// Names of GORM's dialectors whose texts are read differently.
const (
	mysql  = "mysql"
	sqlite = "sqlite"
)

// traits is what a text does to the transaction around it, over all of its
// statements.
type traits struct {
	begins, ends int    // transactions begun and ended by text
	leaves       bool   // the last of these was a begin
	commits      bool   // what was done before is committed, or may be
	savepoint    string // on SQLite, the name of one that is set, lower case
	release      string // on SQLite, the name of one that is released, lower case
	back         string // on SQLite, the name of one that is rolled back to, lower case
	detaches     bool   // from now on begin and end can't be told from texts
	session      bool   // a setting of session or transaction is changed
	ddl          bool   // a table definition is changed
	temporary    bool   // of a table that the session alone has: MySQL doesn't commit
}

// moves reports whether a text may begin or end a transaction, or part of one.
func (t *traits) moves() bool {
	return t.begins+t.ends > 0 || t.commits || t.detaches || t.savepoint != "" || t.release != "" || t.back != ""
}

// scan reads the leading words of each statement in query. It is no parser:
// what it does not know is taken to leave the transaction alone. Errors are
// on the side of seeing too much.
func scan(query, dialect string) traits {
	var (
		s = newStatements(query, dialect)
		t traits
	)
	for {
		first := s.word()
		switch {
		case first == "":
		case is(first, "select"), is(first, "insert"), is(first, "update"), is(first, "delete"), is(first, "with"):
			if strings.IndexByte(query, ';') < 0 {
				return t // the usual case: nothing can follow
			}
		default:
			if !t.add(&s, first) {
				return t
			}
		}
		if !s.skip() {
			return t
		}
	}
}

// add notes one statement. It returns false where the rest of the text cannot
// be split at semicolons.
func (t *traits) add(s *statements, first string) bool {
	onMySQL := s.onMySQL
	switch {
	case is(first, "begin"):
		t.begin(onMySQL)
	case is(first, "start"):
		if is(s.word(), "transaction") {
			t.begin(onMySQL)
		}
	case is(first, "commit"), is(first, "end"):
		t.end()
		t.commits = true
		t.chained(s)
	case is(first, "abort"):
		t.end()
		t.chained(s)
	case is(first, "rollback"):
		second := s.word()
		if is(second, "work") || is(second, "transaction") {
			second = s.word()
		}
		// To a savepoint is no end.
		if is(second, "to") {
			t.noteName(s, &t.back, s.savepoint())
			break
		}
		t.end()
		t.chainedAfter(s, second)
	case is(first, "savepoint"):
		t.noteName(s, &t.savepoint, s.name())
	case is(first, "release"):
		t.noteName(s, &t.release, s.savepoint())
	case is(first, "prepare"):
		// Two-phase commit: the session's transaction ends, and is committed
		// at another time, maybe by others.
		if is(s.word(), "transaction") {
			t.end()
			t.commits = true
		}
	case is(first, "xa"):
		t.detaches, t.commits = true, true
	case is(first, "set"):
		t.session = true
		if onMySQL && s.mentionsAutocommit() {
			t.detaches, t.commits = true, true
		}
	case is(first, "use"), is(first, "pragma"), is(first, "discard"), is(first, "attach"), is(first, "detach"):
		t.session = true
	case is(first, "reset"), is(first, "lock"), is(first, "unlock"):
		t.session = true
		t.commits = t.commits || onMySQL
	case is(first, "create"):
		t.definition(onMySQL)
		for range 8 { // CREATE [OR REPLACE] [DEFINER = ..] [TEMP] TRIGGER ..
			switch w := s.word(); {
			case is(w, "trigger"), is(w, "procedure"), is(w, "function"), is(w, "event"), is(w, "package"):
				return false // its body has statements of its own
			case is(w, "temporary"):
				t.temporary = true
			case w == "":
				return true
			}
		}
	case is(first, "drop"):
		t.definition(onMySQL)
		t.temporary = is(s.word(), "temporary")
	case is(first, "alter"), is(first, "rename"), is(first, "truncate"),
		is(first, "comment"), is(first, "grant"), is(first, "revoke"):
		t.definition(onMySQL)
	case onMySQL && (is(first, "call") || is(first, "execute") || is(first, "analyze") || is(first, "optimize") ||
		is(first, "repair") || is(first, "check") || is(first, "cache") || is(first, "flush") || is(first, "load") ||
		is(first, "install") || is(first, "uninstall")):
		// Most of them do, some only at times: a procedure, LOAD DATA, UNLOCK TABLES.
		t.commits = true
	}
	return true
}

// noteName notes a savepoint's name. Of several in one text the order would be lost,
// which matters where they begin and end transactions.
func (t *traits) noteName(s *statements, into *string, name string) {
	if !s.onSQLite {
		return
	}
	if t.savepoint != "" || t.release != "" || t.back != "" || name == "" {
		t.detaches = true
	}
	*into = name
}

func (t *traits) begin(commits bool) {
	t.begins++
	t.leaves = true
	t.commits = t.commits || commits
}

func (t *traits) end() {
	t.ends++
	t.leaves = false
}

func (t *traits) definition(commits bool) {
	t.ddl = true
	t.commits = t.commits || commits
}

// chained: COMMIT AND CHAIN begins the next transaction at once, and COMMIT
// PREPARED ends none of this session.
func (t *traits) chained(s *statements) {
	second := s.word()
	if is(second, "work") || is(second, "transaction") {
		second = s.word()
	}
	t.chainedAfter(s, second)
}

func (t *traits) chainedAfter(s *statements, word string) {
	switch {
	case is(word, "and") && is(s.word(), "chain"):
		t.begins++
		t.leaves = true
	case is(word, "prepared"):
		t.ends--
	}
}

func is(word, keyword string) bool {
	return len(word) == len(keyword) && strings.EqualFold(word, keyword)
}

// statements walks over a text of one or more statements.
type statements struct {
	text     string
	tokens   sqltoken.Scanner
	next     sqltoken.Token
	onMySQL  bool
	onSQLite bool
}

func newStatements(query, dialect string) statements {
	d := sqltoken.PostgreSQL
	switch dialect {
	case mysql:
		d = sqltoken.MySQL
	case sqlite:
		d = sqltoken.SQLite
	}
	s := statements{text: query, tokens: sqltoken.NewGuessingScanner(d, query), onMySQL: d == sqltoken.MySQL, onSQLite: d == sqltoken.SQLite}
	s.advance()
	return s
}

func (s *statements) advance() {
	s.next, _ = s.tokens.Next() // a guessing scanner never fails
}

// word returns the next word, "" where something else comes, and stays there.
func (s *statements) word() string {
	if s.next.Kind != sqltoken.Word {
		return ""
	}
	word := s.next.Text
	s.advance()
	return word
}

// name returns the next word or quoted name in lower case, "" where something
// else comes.
func (s *statements) name() string {
	switch s.next.Kind {
	case sqltoken.Word, sqltoken.Name, sqltoken.String, sqltoken.Double:
		name := strings.ToLower(s.next.Text)
		s.advance()
		return name
	}
	return ""
}

// savepoint returns the name after RELEASE or TO, which may have SAVEPOINT before
// it.
func (s *statements) savepoint() string {
	name := s.name()
	if name == "savepoint" {
		if following := s.name(); following != "" {
			return following
		}
	}
	return name
}

// skip moves behind the next semicolon outside of quotes and comments. It
// returns false at the end of the text.
func (s *statements) skip() bool {
	// Nearly every text is one statement.
	if strings.IndexByte(s.text[s.next.Start:], ';') < 0 {
		return false
	}
	for s.next.Kind != sqltoken.End {
		ends := s.next.IsPunct(';')
		s.advance()
		if ends {
			return s.next.Kind != sqltoken.End
		}
	}
	return false
}

// mentionsAutocommit reports whether autocommit is among the variables of the
// SET statement that has just begun.
func (s *statements) mentionsAutocommit() bool {
	for ; s.next.Kind != sqltoken.End && !s.next.IsPunct(';'); s.advance() {
		if s.next.Kind != sqltoken.String && containsFold(s.next.Text, "autocommit") {
			return true
		}
	}
	return false
}

func containsFold(text, part string) bool {
	return strings.Contains(strings.ToLower(text), part)
}
