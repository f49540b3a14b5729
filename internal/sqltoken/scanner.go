package sqltoken

import (
	"fmt"
	"strconv"
	"strings"
)

// Scanner reads the tokens of a text one after the other. It does not allocate
// but for strings and names with doubled quotes, and for errors.
type Scanner struct {
	d      Dialect
	text   string
	pos    int
	params int
	guess  bool
	inside bool // of an executable comment
}

// NewScanner returns a strict Scanner: Next fails rather than guess where a
// token ends.
func NewScanner(d Dialect, text string) Scanner { return Scanner{d: d, text: text} }

// NewGuessingScanner returns a Scanner whose Next never fails. Where a server's
// setting decides it takes the default, what is not closed runs to the end of
// the text, and MySQL's executable comments are read as if they were none.
func NewGuessingScanner(d Dialect, text string) Scanner {
	return Scanner{d: d, text: text, guess: true}
}

// Next returns the next token; at the end of the text one of kind End.
func (s *Scanner) Next() (Token, error) {
	if err := s.space(); err != nil {
		return Token{}, err
	}
	if s.pos >= len(s.text) {
		return Token{Kind: End, Start: len(s.text), End: len(s.text)}, nil
	}
	return s.token()
}

func (s *Scanner) at(i int) byte {
	if i < len(s.text) {
		return s.text[i]
	}
	return 0
}

// IsSpace reports whether all dialects take a byte for white space.
func IsSpace(c byte) bool {
	return c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == '\f' || c == '\v'
}

// space skips blanks and comments.
func (s *Scanner) space() error {
	for s.pos < len(s.text) {
		c := s.text[s.pos]
		switch {
		case IsSpace(c):
			s.pos++
		case c == '#' && s.d == MySQL:
			s.line()
		case c == '-' && s.at(s.pos+1) == '-' && (s.d != MySQL || s.at(s.pos+2) <= ' '):
			s.line()
		case c == '/' && s.at(s.pos+1) == '*':
			if err := s.comment(); err != nil {
				return err
			}
		case s.inside && c == '*' && s.at(s.pos+1) == '/':
			s.inside = false
			s.pos += 2
		default:
			return nil
		}
	}
	return nil
}

func (s *Scanner) line() {
	if i := strings.IndexByte(s.text[s.pos:], '\n'); i >= 0 {
		s.pos += i + 1
		return
	}
	s.pos = len(s.text)
}

func (s *Scanner) comment() error {
	start := s.pos
	s.pos += 2
	if s.d == MySQL && (s.at(s.pos) == '!' || s.at(s.pos) == 'M' && s.at(s.pos+1) == '!') {
		return s.executable(start)
	}
	depth := 1
	for s.pos < len(s.text) {
		switch {
		case s.text[s.pos] == '*' && s.at(s.pos+1) == '/':
			s.pos += 2
			if depth--; depth == 0 {
				return nil
			}
		case s.d == PostgreSQL && s.text[s.pos] == '/' && s.at(s.pos+1) == '*':
			s.pos += 2
			depth++
		default:
			s.pos++
		}
	}
	if s.d == SQLite || s.guess {
		return nil // SQLite lets a comment run to the end of the text
	}
	return fmt.Errorf("comment not closed at %d", start)
}

// executable enters a comment that the server may run, by its version.
func (s *Scanner) executable(start int) error {
	if !s.guess {
		return fmt.Errorf("executable comment at %d", start)
	}
	s.inside = true
	s.pos += strings.IndexByte(s.text[s.pos:], '!') + 1
	s.digits()
	return nil
}

// to makes a token of what lies between start and the current position.
func (s *Scanner) to(k Kind, start int) Token {
	return Token{Kind: k, Start: start, End: s.pos, Text: s.text[start:s.pos]}
}

// one makes a token of the next n bytes.
func (s *Scanner) one(k Kind, n int) Token {
	start := s.pos
	s.pos += n
	return s.to(k, start)
}

func isLetter(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c == '_' || c >= 0x80
}

func isDigit(c byte) bool { return c >= '0' && c <= '9' }

func (s *Scanner) digits() {
	for isDigit(s.at(s.pos)) {
		s.pos++
	}
}

func (s *Scanner) letters() {
	for c := s.at(s.pos); isLetter(c) || isDigit(c); c = s.at(s.pos) {
		s.pos++
	}
}

// identifier skips the rest of an unquoted identifier.
func (s *Scanner) identifier() {
	for c := s.at(s.pos); isLetter(c) || isDigit(c) || c == '$'; c = s.at(s.pos) {
		s.pos++
	}
}

func (s *Scanner) token() (Token, error) {
	c, next := s.text[s.pos], s.at(s.pos+1)
	switch {
	case c == 0 && !s.guess:
		return Token{}, fmt.Errorf("NUL byte at %d", s.pos)
	case isLetter(c) || c == '$' && s.d == MySQL:
		return s.word()
	case isDigit(c) || c == '.' && isDigit(next):
		return s.number()
	case c == '\'':
		return s.quoted(String, s.pos, c)
	case c == '"' && s.d == MySQL:
		return s.quoted(Double, s.pos, c)
	case c == '"', c == '`' && s.d != PostgreSQL:
		return s.quoted(Name, s.pos, c)
	case c == '[' && s.d == SQLite:
		return s.bracketed()
	case c == '?' && s.d != PostgreSQL:
		return s.question(), nil
	case c == '$':
		return s.dollar()
	case c == ':' && (next == ':' || next == '='):
		return s.one(Op, 2), nil
	case (c == ':' || c == '@') && s.d == SQLite:
		return s.named(1), nil
	case c == '@' && s.d == MySQL:
		return s.variable()
	case strings.IndexByte("()[],.;{}", c) >= 0:
		return s.one(Punct, 1), nil
	case c == ':':
		return s.one(Op, 1), nil // an array slice
	}
	return s.operator()
}

// named reads a parameter with a name, or with a number that says more than
// its position, which begins n bytes on.
func (s *Scanner) named(n int) Token {
	start := s.pos
	s.pos += n
	s.letters()
	t := s.to(Param, start)
	t.Param = -1
	return t
}

func (s *Scanner) question() Token {
	if isDigit(s.at(s.pos + 1)) {
		return s.named(1)
	}
	t := s.one(Param, 1)
	t.Param = s.params
	s.params++
	return t
}

// variable reads MySQL's @user and @@system variables as one operator.
func (s *Scanner) variable() (Token, error) {
	start := s.pos
	for s.at(s.pos) == '@' {
		s.pos++
	}
	if q := s.at(s.pos); q == '`' || q == '\'' || q == '"' {
		i := strings.IndexByte(s.text[s.pos+1:], q)
		if i < 0 {
			return s.unclosed(Op, start, "variable")
		}
		s.pos += i + 2
	}
	for c := s.at(s.pos); isLetter(c) || isDigit(c) || c == '$' || c == '.'; c = s.at(s.pos) {
		s.pos++
	}
	return s.to(Op, start), nil
}

// unclosed is a token without an end: an error, or, by guess, all of the rest.
func (s *Scanner) unclosed(k Kind, start int, what string) (Token, error) {
	if !s.guess {
		return Token{}, fmt.Errorf("%s not closed at %d", what, start)
	}
	s.pos = len(s.text)
	return s.to(k, start), nil
}

// dollar reads PostgreSQL's $n and $tag$..$tag$, and SQLite's $name.
func (s *Scanner) dollar() (Token, error) {
	start := s.pos
	if s.d == SQLite {
		return s.named(1), nil
	}
	end := start + 1
	if isDigit(s.at(end)) {
		return s.numbered()
	}
	for isLetter(s.at(end)) || isDigit(s.at(end)) {
		end++
	}
	if s.at(end) != '$' {
		if s.guess {
			return s.one(Op, 1), nil
		}
		return Token{}, fmt.Errorf("stray $ at %d", start)
	}
	tag := s.text[start : end+1]
	i := strings.Index(s.text[end+1:], tag)
	if i < 0 {
		return s.unclosed(String, start, "string")
	}
	s.pos = end + 1 + i + len(tag)
	t := s.to(String, start)
	t.Text = s.text[end+1 : end+1+i]
	return t, nil
}

// numbered reads $n.
func (s *Scanner) numbered() (Token, error) {
	start := s.pos
	s.pos++
	s.digits()
	n, err := strconv.Atoi(s.text[start+1 : s.pos])
	if (err != nil || n < 1 || isLetter(s.at(s.pos))) && !s.guess {
		return Token{}, fmt.Errorf("bad parameter at %d", start)
	}
	t := s.to(Param, start)
	t.Param = n - 1
	return t, nil
}

func (s *Scanner) word() (Token, error) {
	start := s.pos
	s.identifier()
	// A prefix that sits right on a string changes what the string means.
	if s.at(s.pos) == '\'' && s.pos == start+1 {
		switch s.text[start] | 0x20 {
		case 'e':
			if s.d == PostgreSQL {
				return s.escaped(start)
			}
		case 'b', 'x', 'n':
			return s.quoted(Raw, start, '\'')
		}
	}
	return s.to(Word, start), nil
}

func (s *Scanner) number() (Token, error) {
	start := s.pos
	if s.text[start] == '0' && s.at(start+1)|0x20 == 'x' {
		s.pos += 2
		s.letters()
		return s.to(Number, start), nil
	}
	s.digits()
	whole := s.pos
	if s.at(s.pos) == '.' {
		s.pos++
		s.digits()
	}
	s.exponent()
	switch {
	case !isLetter(s.at(s.pos)):
	case s.d == MySQL && whole == s.pos: // an identifier such as 2fa_tokens
		s.identifier()
		return s.to(Name, start), nil
	case !s.guess:
		return Token{}, fmt.Errorf("number runs into a word at %d", start)
	}
	return s.to(Number, start), nil
}

func (s *Scanner) exponent() {
	if s.at(s.pos)|0x20 != 'e' {
		return
	}
	e := s.pos + 1
	if s.at(e) == '+' || s.at(e) == '-' {
		e++
	}
	if isDigit(s.at(e)) {
		s.pos = e
		s.digits()
	}
}

// quoted reads a run whose quotes are doubled inside. It begins at the current
// position, and the token at start.
func (s *Scanner) quoted(k Kind, start int, q byte) (Token, error) {
	s.pos++
	begin := s.pos
	doubled := false
	for s.pos < len(s.text) {
		c := s.text[s.pos]
		switch {
		case c == '\\' && s.ambiguous(q):
			// Where the string ends depends on NO_BACKSLASH_ESCAPES in MySQL, on
			// standard_conforming_strings in PostgreSQL.
			if !s.guess {
				return Token{}, fmt.Errorf("backslash in a string at %d", s.pos)
			}
			s.pos++
			if s.d == MySQL && s.pos < len(s.text) {
				s.pos++
			}
		case c == q && s.at(s.pos+1) == q:
			doubled = true
			s.pos += 2
		case c == q:
			s.pos++
			t := s.to(k, start)
			if t.Text = s.text[begin : s.pos-1]; doubled {
				t.Text = strings.ReplaceAll(t.Text, s.text[s.pos-1:s.pos]+s.text[s.pos-1:s.pos], s.text[s.pos-1:s.pos])
			}
			return t, nil
		default:
			s.pos++
		}
	}
	return s.unclosed(k, start, "quote")
}

// ambiguous reports whether a backslash at the current position, within quotes,
// means something else by the server's settings.
func (s *Scanner) ambiguous(q byte) bool {
	return s.d == MySQL && q != '`' || s.d == PostgreSQL && q == '\'' && s.at(s.pos+1) == q
}

// escaped reads PostgreSQL's E'...'. Its value is left alone.
func (s *Scanner) escaped(start int) (Token, error) {
	open := s.pos
	s.pos++
	for s.pos < len(s.text) {
		switch c := s.text[s.pos]; {
		case c == '\\' || c == '\'' && s.at(s.pos+1) == '\'':
			s.pos = min(s.pos+2, len(s.text))
		case c == '\'':
			s.pos++
			t := s.to(Raw, start)
			t.Text = s.text[open:s.pos]
			return t, nil
		default:
			s.pos++
		}
	}
	return s.unclosed(Raw, start, "string")
}

func (s *Scanner) bracketed() (Token, error) {
	start := s.pos
	i := strings.IndexByte(s.text[start:], ']')
	if i < 0 {
		return s.unclosed(Name, start, "bracket")
	}
	s.pos = start + i + 1
	t := s.to(Name, start)
	t.Text = s.text[start+1 : start+i]
	return t, nil
}

// fixedOps are the operators of MySQL and SQLite, longest first.
var fixedOps = [...]string{"<=>", "->>", "<=", ">=", "<>", "!=", "==", "||", "&&", "<<", ">>", "->"}

const pgOpChars = "+-*/<>=~!@#%^&|`?"

func (s *Scanner) operator() (Token, error) {
	if s.d == PostgreSQL {
		return s.longestOperator()
	}
	for _, op := range fixedOps {
		if strings.HasPrefix(s.text[s.pos:], op) {
			return s.one(Op, len(op)), nil
		}
	}
	if strings.IndexByte("+-*/<>=~!%^&|", s.text[s.pos]) < 0 && !s.guess {
		return Token{}, s.unexpected()
	}
	return s.one(Op, 1), nil
}

func (s *Scanner) unexpected() error {
	return fmt.Errorf("unexpected %q at %d", s.text[s.pos], s.pos)
}

// longestOperator reads an operator of PostgreSQL, which takes the longest run
// of operator characters, but one that ends in + or - only if it holds a
// character that standard SQL's operators lack. A comment ends the run.
func (s *Scanner) longestOperator() (Token, error) {
	end := s.pos
	special := false
	for end < len(s.text) && strings.IndexByte(pgOpChars, s.text[end]) >= 0 {
		if two := s.text[end:]; strings.HasPrefix(two, "--") || strings.HasPrefix(two, "/*") {
			break
		}
		special = special || strings.IndexByte("~!@#%^&|`?", s.text[end]) >= 0
		end++
	}
	if end == s.pos {
		if s.guess {
			return s.one(Op, 1), nil
		}
		return Token{}, s.unexpected()
	}
	if !special {
		for end > s.pos+1 && (s.text[end-1] == '+' || s.text[end-1] == '-') {
			end--
		}
	}
	return s.one(Op, end-s.pos), nil
}
