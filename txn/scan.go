package txn

import "strings"

// Names of GORM's dialectors whose texts are read differently.
const (
	mysql  = "mysql"
	sqlite = "sqlite"
)

// traits is what a text does to the transaction around it, over all of its
// statements.
type traits struct {
	begins, ends int  // transactions begun and ended by text
	commits      bool // what was done before is committed, or may be
	savepoint    bool // one is set
	detaches     bool // from now on begin and end can't be told from texts
	session      bool // a setting of session or transaction is changed
	ddl          bool // a table definition is changed
}

// scan reads the leading words of each statement in query. It is no parser:
// what it does not know is taken to leave the transaction alone. Errors are
// on the side of seeing too much.
func scan(query, dialect string) traits {
	var (
		s = scanner{text: query, dialect: dialect}
		t traits
	)
	for {
		first := s.word()
		switch {
		case first == "":
		case is(first, "select"), is(first, "insert"), is(first, "update"), is(first, "delete"), is(first, "with"):
		default:
			if !t.add(&s, first) {
				return t
			}
		}
		if !s.skipStatement() {
			return t
		}
	}
}

// add notes one statement. It returns false where the rest of the text cannot
// be split at semicolons.
func (t *traits) add(s *scanner, first string) bool {
	onMySQL := s.dialect == mysql
	switch {
	case is(first, "begin"):
		t.begin(onMySQL)
	case is(first, "start"):
		if is(s.word(), "transaction") {
			t.begin(onMySQL)
		}
	case is(first, "commit"), is(first, "end"):
		t.ends++
		t.commits = true
		t.chained(s)
	case is(first, "abort"):
		t.ends++
		t.chained(s)
	case is(first, "rollback"):
		second := s.word()
		if is(second, "work") || is(second, "transaction") {
			second = s.word()
		}
		// To a savepoint is no end.
		if !is(second, "to") {
			t.ends++
			t.chainedAfter(s, second)
		}
	case is(first, "savepoint"):
		t.savepoint = true
	case is(first, "prepare"):
		// Two-phase commit: the session's transaction ends, and is committed
		// at another time, maybe by others.
		if is(s.word(), "transaction") {
			t.ends++
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
			case w == "":
				return true
			}
		}
	case is(first, "alter"), is(first, "drop"), is(first, "rename"), is(first, "truncate"),
		is(first, "comment"), is(first, "grant"), is(first, "revoke"):
		t.definition(onMySQL)
	case onMySQL && (is(first, "call") || is(first, "execute") || is(first, "analyze") || is(first, "optimize") ||
		is(first, "repair") || is(first, "check") || is(first, "cache") || is(first, "flush") || is(first, "load") ||
		is(first, "install") || is(first, "uninstall")):
		// A procedure may commit; the others do.
		t.commits = true
	}
	return true
}

func (t *traits) begin(commits bool) {
	t.begins++
	t.commits = t.commits || commits
}

func (t *traits) definition(commits bool) {
	t.ddl = true
	t.commits = t.commits || commits
}

// chained: COMMIT AND CHAIN begins the next transaction at once, and COMMIT
// PREPARED ends none of this session.
func (t *traits) chained(s *scanner) {
	second := s.word()
	if is(second, "work") || is(second, "transaction") {
		second = s.word()
	}
	t.chainedAfter(s, second)
}

func (t *traits) chainedAfter(s *scanner, word string) {
	switch {
	case is(word, "and") && is(s.word(), "chain"):
		t.begins++
	case is(word, "prepared"):
		t.ends--
	}
}

func is(word, keyword string) bool {
	return len(word) == len(keyword) && strings.EqualFold(word, keyword)
}

// scanner walks over a text of one or more statements.
type scanner struct {
	text    string
	at      int
	dialect string
}

// word returns the next word, "" where something else comes, and stays there.
func (s *scanner) word() string {
	s.skipBlank()
	start := s.at
	for s.at < len(s.text) && isWord(s.text[s.at]) {
		s.at++
	}
	return s.text[start:s.at]
}

func isWord(c byte) bool {
	return c == '_' || c|0x20 >= 'a' && c|0x20 <= 'z' || c >= '0' && c <= '9' || c >= 0x80
}

// skipBlank skips white space and comments.
func (s *scanner) skipBlank() {
	for s.at < len(s.text) {
		switch c := s.text[s.at]; {
		case c == ' ' || c >= '\t' && c <= '\r':
			s.at++
		case !s.skipComment():
			return
		}
	}
}

// skipComment skips one comment, if there is one.
func (s *scanner) skipComment() bool {
	rest := s.text[s.at:]
	switch {
	case strings.HasPrefix(rest, "--") && (s.dialect != mysql || len(rest) == 2 || rest[2] <= ' '),
		s.dialect == mysql && rest[0] == '#':
		if end := strings.IndexByte(rest, '\n'); end >= 0 {
			s.at += end + 1
		} else {
			s.at = len(s.text)
		}
		return true

	case s.dialect == mysql && (strings.HasPrefix(rest, "/*!") || strings.HasPrefix(rest, "/*M!")):
		// The server runs what is inside; its end is skipped below.
		s.at += strings.IndexByte(rest, '!') + 1
		for s.at < len(s.text) && s.text[s.at] >= '0' && s.text[s.at] <= '9' {
			s.at++
		}
		return true

	case s.dialect == mysql && strings.HasPrefix(rest, "*/"):
		s.at += 2
		return true

	case strings.HasPrefix(rest, "/*"):
		depth := 1
		for s.at += 2; depth > 0 && s.at < len(s.text); {
			switch rest := s.text[s.at:]; {
			case strings.HasPrefix(rest, "*/"):
				depth--
				s.at += 2
			case strings.HasPrefix(rest, "/*") && s.dialect != mysql && s.dialect != sqlite:
				depth++ // PostgreSQL nests them
				s.at += 2
			default:
				s.at++
			}
		}
		return true
	}
	return false
}

// skipStatement moves behind the next semicolon outside of quotes and
// comments. It returns false at the end of the text.
func (s *scanner) skipStatement() bool {
	// Nearly every text is one statement.
	if strings.IndexByte(s.text[s.at:], ';') < 0 {
		return false
	}
	for s.at < len(s.text) {
		switch c := s.text[s.at]; c {
		case ';':
			s.at++
			return s.at < len(s.text)
		case '\'', '"', '`':
			s.skipQuoted(c)
		case '$':
			s.skipDollarQuoted()
		case '-', '#', '/', '*':
			if !s.skipComment() {
				s.at++
			}
		default:
			s.at++
		}
	}
	return false
}

// skipQuoted skips a quoted string or identifier. A doubled quote reads as two
// of them side by side.
func (s *scanner) skipQuoted(quote byte) {
	escapes := quote != '`' && s.dialect == mysql ||
		quote == '\'' && s.dialect != sqlite && s.at > 0 && s.text[s.at-1]|0x20 == 'e' && (s.at == 1 || !isWord(s.text[s.at-2]))
	for s.at++; s.at < len(s.text); s.at++ {
		switch c := s.text[s.at]; {
		case c == '\\' && escapes:
			s.at++
		case c == quote:
			s.at++
			return
		}
	}
}

// skipDollarQuoted skips PostgreSQL's $tag$ .. $tag$, or one character.
func (s *scanner) skipDollarQuoted() {
	start := s.at
	s.at++
	if s.dialect == mysql || s.dialect == sqlite || start > 0 && isWord(s.text[start-1]) {
		return
	}
	end := s.at
	for end < len(s.text) && isWord(s.text[end]) {
		end++
	}
	// A tag does not begin with a digit: $1 is a parameter.
	if end == len(s.text) || s.text[end] != '$' || end > s.at && s.text[s.at] >= '0' && s.text[s.at] <= '9' {
		return
	}
	tag := s.text[start : end+1]
	if closing := strings.Index(s.text[end+1:], tag); closing >= 0 {
		s.at = end + 1 + closing + len(tag)
	} else {
		s.at = len(s.text)
	}
}

// mentionsAutocommit reports whether autocommit is among the variables of the
// SET statement that has just begun.
func (s *scanner) mentionsAutocommit() bool {
	return strings.Contains(strings.ToLower(s.text[s.at:]), "autocommit")
}
