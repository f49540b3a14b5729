package sqltoken

import "strings"

// Dialect is the SQL dialect that a text is written in.
type Dialect uint8

// The dialects. MySQL stands for MariaDB too. They count as those of package
// conj do.
const (
	PostgreSQL Dialect = iota + 1
	MySQL
	SQLite
)

// Kind is the class of a token.
type Kind uint8

// The kinds.
const (
	End    Kind = iota // of the text
	Word               // unquoted identifier or keyword
	Name               // quoted identifier
	String             // string literal whose decoded text is certain
	Raw                // string, bit or blob literal whose value is left alone
	Double             // MySQL's "...": a string, or a name under ANSI_QUOTES
	Number
	Param // ?, $n, or one with a name
	Op
	Punct // ( ) [ ] , . ; { }
)

// Token is a lexical unit.
type Token struct {
	Kind Kind
	// Param is the index of a parameter's argument, -1 if it goes by a name.
	Param int
	// Start and End are byte offsets in the text.
	Start, End int
	// Text is the identifier as written, the string's content, or the operator.
	Text string
}

// Is reports whether the token is an unquoted word, given in lower case.
func (t Token) Is(word string) bool {
	return t.Kind == Word && len(t.Text) == len(word) && strings.EqualFold(t.Text, word)
}

// IsPunct reports whether the token is a punctuation mark.
func (t Token) IsPunct(mark byte) bool { return t.Kind == Punct && t.Text[0] == mark }

// All returns the tokens of a text, the End last. It fails where a strict
// Scanner does.
func All(d Dialect, text string) ([]Token, error) {
	s := NewScanner(d, text)
	tokens := make([]Token, 0, len(text)/5+4)
	for {
		t, err := s.Next()
		if err != nil {
			return nil, err
		}
		tokens = append(tokens, t)
		if t.Kind == End {
			return tokens, nil
		}
	}
}
