package conj

import (
	"strings"

	"github.com/cacheplugin/cacheplugin/internal/sqltoken"
)

// tokenKind is the class of a token.
type tokenKind = sqltoken.Kind

const (
	tokEnd    = sqltoken.End
	tokWord   = sqltoken.Word
	tokName   = sqltoken.Name // quoted, or any identifier right after a dot
	tokString = sqltoken.String
	tokRaw    = sqltoken.Raw
	tokDouble = sqltoken.Double
	tokNumber = sqltoken.Number
	tokParam  = sqltoken.Param
	tokOp     = sqltoken.Op
	tokPunct  = sqltoken.Punct
)

// token is a lexical unit. text is the identifier (folded in PostgreSQL),
// the string's content, or the operator as written; word is the lower-case
// form of an unquoted identifier and empty for everything else, so that a
// quoted name is never taken for a keyword.
type token struct {
	kind       tokenKind
	num        int // of a parameter: the index of its argument, -1 if named
	start, end int // byte offsets in the text
	text       string
	word       string
}

// tokenize fails rather than guess where the end of a token depends on a
// server's setting.
func tokenize(d Dialect, sql string) ([]token, error) {
	return tokensOf(d, sql, sqltoken.NewScanner(sqltoken.Dialect(d), sql))
}

// guessTokens is tokenize for a text of which an answer is better than none.
func guessTokens(d Dialect, sql string) []token {
	toks, _ := tokensOf(d, sql, sqltoken.NewGuessingScanner(sqltoken.Dialect(d), sql)) // which never fails
	return toks
}

func tokensOf(d Dialect, sql string, s sqltoken.Scanner) ([]token, error) {
	toks := make([]token, 0, len(sql)/5+4)
	for {
		next, err := s.Next()
		if err != nil {
			return nil, err
		}
		t := token{kind: next.Kind, num: next.Param, start: next.Start, end: next.End, text: next.Text}
		if t.kind == tokWord {
			afterDot := len(toks) > 0 && toks[len(toks)-1].is(".")
			t.fold(d, afterDot)
		}
		toks = append(toks, t)
		if t.kind == tokEnd {
			return toks, nil
		}
	}
}

// fold brings a word to the form that names and keywords are compared in.
// After a dot every word is a name.
func (t *token) fold(d Dialect, afterDot bool) {
	if afterDot {
		t.kind = tokName
	} else {
		t.word = strings.ToLower(t.text)
	}
	if d == PostgreSQL {
		t.text = asciiLower(t.text)
	}
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
