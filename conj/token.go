package conj

import (
	"fmt"
	"strconv"
	"strings"
)

// tokenKind is the class of a token.
type tokenKind uint8

const (
	tokEnd    tokenKind = iota
	tokWord             // unquoted identifier or keyword
	tokName             // quoted identifier, or any identifier right after a dot
	tokString           // string literal whose decoded text is certain
	tokRaw              // string, bit or blob literal whose value is left alone
	tokDouble           // MySQL's "...": a string, or a name under ANSI_QUOTES
	tokNumber
	tokParam // ?, $n; num is the index of its argument, -1 if named
	tokOp
	tokPunct // ( ) [ ] , . ; {}
)

// token is a lexical unit. text is the identifier (folded in PostgreSQL),
// the string's content, or the operator as written; word is the lower-case
// form of an unquoted identifier and empty for everything else, so that a
// quoted name is never taken for a keyword.
type token struct {
	kind       tokenKind
	num        int
	start, end int // byte offsets in the text
	text       string
	word       string
}

// lexer splits a text into tokens. It fails rather than guess where the end
// of a token depends on a server's setting.
type lexer struct {
	d      Dialect
	s      string
	pos    int
	params int
	toks   []token
}

func tokenize(d Dialect, s string) ([]token, error) {
	l := lexer{d: d, s: s, toks: make([]token, 0, len(s)/5+4)}
	for {
		if err := l.space(); err != nil {
			return nil, err
		}
		if l.pos >= len(l.s) {
			break
		}
		if err := l.next(); err != nil {
			return nil, err
		}
	}
	l.toks = append(l.toks, token{kind: tokEnd, start: len(s), end: len(s)})
	return l.toks, nil
}

func (l *lexer) at(i int) byte {
	if i < len(l.s) {
		return l.s[i]
	}
	return 0
}

// space skips blanks and comments.
func (l *lexer) space() error {
	for l.pos < len(l.s) {
		c := l.s[l.pos]
		switch {
		case c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == '\f' || c == '\v':
			l.pos++
		case c == '#' && l.d == MySQL:
			l.line()
		case c == '-' && l.at(l.pos+1) == '-' && (l.d != MySQL || l.at(l.pos+2) <= ' '):
			l.line()
		case c == '/' && l.at(l.pos+1) == '*':
			if err := l.comment(); err != nil {
				return err
			}
		default:
			return nil
		}
	}
	return nil
}

func (l *lexer) line() {
	if i := strings.IndexByte(l.s[l.pos:], '\n'); i >= 0 {
		l.pos += i + 1
		return
	}
	l.pos = len(l.s)
}

func (l *lexer) comment() error {
	start := l.pos
	l.pos += 2
	if l.d == MySQL && (l.at(l.pos) == '!' || l.at(l.pos) == 'M' && l.at(l.pos+1) == '!') {
		return fmt.Errorf("executable comment at %d", start)
	}
	depth := 1
	for l.pos < len(l.s) {
		switch {
		case l.s[l.pos] == '*' && l.at(l.pos+1) == '/':
			l.pos += 2
			if depth--; depth == 0 {
				return nil
			}
		case l.d == PostgreSQL && l.s[l.pos] == '/' && l.at(l.pos+1) == '*':
			l.pos += 2
			depth++
		default:
			l.pos++
		}
	}
	if l.d == SQLite {
		return nil // SQLite lets a comment run to the end of the text
	}
	return fmt.Errorf("comment not closed at %d", start)
}

func (l *lexer) add(k tokenKind, start int, text string) *token {
	l.toks = append(l.toks, token{kind: k, start: start, end: l.pos, text: text})
	return &l.toks[len(l.toks)-1]
}

func isLetter(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c == '_' || c >= 0x80
}

func isDigit(c byte) bool { return c >= '0' && c <= '9' }

func (l *lexer) next() error {
	start := l.pos
	c := l.s[start]
	switch {
	case c == 0:
		return fmt.Errorf("NUL byte at %d", start)
	case isLetter(c) || c == '$' && l.d == MySQL:
		return l.wordOrPrefixed()
	case isDigit(c) || c == '.' && isDigit(l.at(start+1)):
		return l.number()
	case c == '\'':
		return l.str(start, false)
	case c == '"':
		if l.d == MySQL {
			return l.double()
		}
		return l.quoted('"')
	case c == '`' && l.d != PostgreSQL:
		return l.quoted('`')
	case c == '[' && l.d == SQLite:
		return l.bracketed()
	case c == '?' && l.d != PostgreSQL:
		return l.question()
	case c == '$':
		return l.dollar()
	case c == ':' && l.at(start+1) == ':':
		l.pos += 2
		l.add(tokOp, start, "::")
		return nil
	case c == ':' && l.at(start+1) == '=':
		l.pos += 2
		l.add(tokOp, start, ":=")
		return nil
	case (c == ':' || c == '@') && l.d == SQLite:
		l.pos++
		l.named(start)
		return nil
	case c == '@' && l.d == MySQL:
		return l.variable()
	case strings.IndexByte("()[],.;{}", c) >= 0:
		l.pos++
		l.add(tokPunct, start, l.s[start:l.pos])
		return nil
	case c == ':':
		l.pos++
		l.add(tokOp, start, ":") // an array slice
		return nil
	}
	return l.operator()
}

func (l *lexer) named(start int) {
	for isLetter(l.at(l.pos)) || isDigit(l.at(l.pos)) {
		l.pos++
	}
	l.add(tokParam, start, l.s[start:l.pos]).num = -1
}

func (l *lexer) question() error {
	start := l.pos
	l.pos++
	if isDigit(l.at(l.pos)) {
		l.named(start)
		return nil
	}
	l.add(tokParam, start, "?").num = l.params
	l.params++
	return nil
}

// variable reads MySQL's @user and @@system variables as one token.
func (l *lexer) variable() error {
	start := l.pos
	for l.at(l.pos) == '@' {
		l.pos++
	}
	if q := l.at(l.pos); q == '`' || q == '\'' || q == '"' {
		i := strings.IndexByte(l.s[l.pos+1:], q)
		if i < 0 {
			return fmt.Errorf("variable not closed at %d", start)
		}
		l.pos += i + 2
	}
	for c := l.at(l.pos); isLetter(c) || isDigit(c) || c == '$' || c == '.'; c = l.at(l.pos) {
		l.pos++
	}
	l.add(tokOp, start, l.s[start:l.pos])
	return nil
}

// dollar reads PostgreSQL's $n and $tag$..$tag$, and SQLite's $name.
func (l *lexer) dollar() error {
	start := l.pos
	if l.d == SQLite {
		l.pos++
		l.named(start)
		return nil
	}
	end := start + 1
	if isDigit(l.at(end)) {
		for isDigit(l.at(end)) {
			end++
		}
		n, err := strconv.Atoi(l.s[start+1 : end])
		if err != nil || n < 1 || isLetter(l.at(end)) {
			return fmt.Errorf("bad parameter at %d", start)
		}
		l.pos = end
		l.add(tokParam, start, l.s[start:end]).num = n - 1
		return nil
	}
	for isLetter(l.at(end)) || isDigit(l.at(end)) {
		end++
	}
	if l.at(end) != '$' {
		return fmt.Errorf("stray $ at %d", start)
	}
	tag := l.s[start : end+1]
	i := strings.Index(l.s[end+1:], tag)
	if i < 0 {
		return fmt.Errorf("string not closed at %d", start)
	}
	l.pos = end + 1 + i + len(tag)
	l.add(tokString, start, l.s[end+1:end+1+i])
	return nil
}

func (l *lexer) wordOrPrefixed() error {
	start := l.pos
	for c := l.at(l.pos); isLetter(c) || isDigit(c) || c == '$'; c = l.at(l.pos) {
		l.pos++
	}
	text := l.s[start:l.pos]
	// A prefix that sits right on a string changes what the string means.
	if l.at(l.pos) == '\'' && len(text) == 1 {
		switch text[0] {
		case 'e', 'E':
			if l.d == PostgreSQL {
				return l.escaped(start)
			}
		case 'b', 'B', 'x', 'X', 'n', 'N':
			if err := l.str(start, true); err != nil {
				return err
			}
			return nil
		}
	}
	l.identifier(start, text)
	return nil
}

func (l *lexer) identifier(start int, text string) {
	low := strings.ToLower(text)
	if l.d == PostgreSQL {
		text = asciiLower(text)
	}
	t := l.add(tokWord, start, text)
	if n := len(l.toks); n > 1 && l.toks[n-2].kind == tokPunct && l.toks[n-2].text == "." {
		t.kind = tokName // after a dot every word is a name
		return
	}
	t.word = low
}

// asciiLower folds as PostgreSQL does for multi-byte encodings: ASCII only.
func asciiLower(s string) string {
	for i := 0; i < len(s); i++ {
		if s[i] >= 'A' && s[i] <= 'Z' {
			b := []byte(s)
			for j := i; j < len(b); j++ {
				if b[j] >= 'A' && b[j] <= 'Z' {
					b[j] += 'a' - 'A'
				}
			}
			return string(b)
		}
	}
	return s
}

func (l *lexer) number() error {
	start := l.pos
	if l.s[start] == '0' && (l.at(start+1)|0x20 == 'x') {
		l.pos += 2
		for c := l.at(l.pos); isDigit(c) || isLetter(c); c = l.at(l.pos) {
			l.pos++
		}
		l.add(tokNumber, start, l.s[start:l.pos])
		return nil
	}
	for isDigit(l.at(l.pos)) {
		l.pos++
	}
	whole := l.pos
	if l.at(l.pos) == '.' {
		l.pos++
		for isDigit(l.at(l.pos)) {
			l.pos++
		}
	}
	if l.at(l.pos)|0x20 == 'e' {
		e := l.pos + 1
		if l.at(e) == '+' || l.at(e) == '-' {
			e++
		}
		if isDigit(l.at(e)) {
			for isDigit(l.at(e)) {
				e++
			}
			l.pos = e
		}
	}
	if isLetter(l.at(l.pos)) {
		if l.d == MySQL && whole == l.pos { // an identifier such as 2fa_tokens
			for c := l.at(l.pos); isLetter(c) || isDigit(c) || c == '$'; c = l.at(l.pos) {
				l.pos++
			}
			l.add(tokName, start, l.s[start:l.pos])
			return nil
		}
		return fmt.Errorf("number runs into a word at %d", start)
	}
	l.add(tokNumber, start, l.s[start:l.pos])
	return nil
}

// str reads '...' beginning at l.pos; start is where the token begins.
func (l *lexer) str(start int, raw bool) error {
	text, err := l.until('\'')
	if err != nil {
		return err
	}
	kind := tokString
	if raw {
		kind = tokRaw
	}
	l.add(kind, start, text)
	return nil
}

// until reads a quoted run whose quotes are doubled inside.
func (l *lexer) until(q byte) (string, error) {
	start := l.pos
	l.pos++
	begin := l.pos
	var b strings.Builder
	for l.pos < len(l.s) {
		c := l.s[l.pos]
		switch {
		case c == '\\' && (l.d == MySQL && q != '`' || l.d == PostgreSQL && q == '\'' && l.at(l.pos+1) == q):
			// Where the string ends depends on NO_BACKSLASH_ESCAPES in MySQL, on
			// standard_conforming_strings in PostgreSQL.
			return "", fmt.Errorf("backslash in a string at %d", l.pos)
		case c == q && l.at(l.pos+1) == q:
			b.WriteString(l.s[begin : l.pos+1])
			l.pos += 2
			begin = l.pos
		case c == q:
			b.WriteString(l.s[begin:l.pos])
			l.pos++
			return b.String(), nil
		default:
			l.pos++
		}
	}
	return "", fmt.Errorf("quote not closed at %d", start)
}

// escaped reads PostgreSQL's E'...'. With a backslash in it the value is
// left alone.
func (l *lexer) escaped(start int) error {
	open := l.pos
	l.pos++
	for l.pos < len(l.s) {
		switch c := l.s[l.pos]; {
		case c == '\\':
			l.pos += 2
		case c == '\'' && l.at(l.pos+1) == '\'':
			l.pos += 2
		case c == '\'':
			l.pos++
			l.add(tokRaw, start, l.s[open:l.pos])
			return nil
		default:
			l.pos++
		}
	}
	return fmt.Errorf("string not closed at %d", start)
}

func (l *lexer) quoted(q byte) error {
	start := l.pos
	text, err := l.until(q)
	if err != nil {
		return err
	}
	l.add(tokName, start, text)
	return nil
}

func (l *lexer) double() error {
	start := l.pos
	text, err := l.until('"')
	if err != nil {
		return err
	}
	l.add(tokDouble, start, text)
	return nil
}

func (l *lexer) bracketed() error {
	start := l.pos
	i := strings.IndexByte(l.s[start:], ']')
	if i < 0 {
		return fmt.Errorf("bracket not closed at %d", start)
	}
	l.pos = start + i + 1
	l.add(tokName, start, l.s[start+1:start+i])
	return nil
}

// fixedOps are the operators of MySQL and SQLite, longest first.
var fixedOps = [...]string{"<=>", "->>", "<=", ">=", "<>", "!=", "==", "||", "&&", "<<", ">>", "->"}

const pgOpChars = "+-*/<>=~!@#%^&|`?"

func (l *lexer) operator() error {
	start := l.pos
	if l.d != PostgreSQL {
		for _, op := range fixedOps {
			if strings.HasPrefix(l.s[start:], op) {
				l.pos += len(op)
				l.add(tokOp, start, op)
				return nil
			}
		}
		if strings.IndexByte("+-*/<>=~!%^&|", l.s[start]) < 0 {
			return fmt.Errorf("unexpected %q at %d", l.s[start], start)
		}
		l.pos++
		l.add(tokOp, start, l.s[start:l.pos])
		return nil
	}
	// PostgreSQL takes the longest run of operator characters, but one that
	// ends in + or - only if it holds a character that standard SQL's
	// operators lack; a comment ends the run.
	end := start
	special := false
	for end < len(l.s) && strings.IndexByte(pgOpChars, l.s[end]) >= 0 {
		if two := l.s[end:]; strings.HasPrefix(two, "--") || strings.HasPrefix(two, "/*") {
			break
		}
		special = special || strings.IndexByte("~!@#%^&|`?", l.s[end]) >= 0
		end++
	}
	if end == start {
		return fmt.Errorf("unexpected %q at %d", l.s[start], start)
	}
	if !special {
		for end > start+1 && (l.s[end-1] == '+' || l.s[end-1] == '-') {
			end--
		}
	}
	l.pos = end
	l.add(tokOp, start, l.s[start:end])
	return nil
}
