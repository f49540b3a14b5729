package conj

import (
	"strings"

	"github.com/cacheplugin/cacheplugin/internal/sqltoken"
)

// Mask returns a text without the values that it holds, for logs and errors:
// literals are replaced by ?, comments and runs of white space by a blank. What
// stands in double quotes counts as a value where a dialect may take it for one
// (MySQL, SQLite). From the first token on of which the end is not certain, the
// text is left out and ends in "...".
func Mask(d Dialect, sql string) string { return mask(d, sql, false) }

// Fingerprint is Mask for counting texts of one shape: parameters are replaced
// by ?, too, and of a list of values one is left, so that IN (1, 2) and
// IN ($1, $2, $3) are both IN (?).
func Fingerprint(d Dialect, sql string) string { return mask(d, sql, true) }

func mask(d Dialect, sql string, fold bool) string {
	scanner := sqltoken.NewScanner(sqltoken.Dialect(d), sql)
	m := masker{d: d, sql: sql, fold: fold}
	for {
		t, err := scanner.Next()
		if err != nil {
			m.space(len(sql))
			m.b.WriteString("...")
			return m.b.String()
		}
		if t.Kind == sqltoken.End {
			m.flush()
			return m.b.String()
		}
		m.add(t)
	}
}

// masker writes a text token by token.
type masker struct {
	d    Dialect
	sql  string
	fold bool
	b    strings.Builder
	end  int // of what is written of the text

	value bool   // the last thing written was a value
	comma string // a comma after it, which is left out if another value follows
}

func (m *masker) add(t sqltoken.Token) {
	value := m.isValue(t)
	switch {
	case m.fold && m.value && m.comma == "" && t.IsPunct(','):
		m.comma, m.end = ",", t.End
		return
	case m.comma != "" && value:
		m.comma, m.end = "", t.End
		return
	}
	m.flush()
	m.space(t.Start)
	if value {
		m.b.WriteByte('?')
	} else {
		m.b.WriteString(m.sql[t.Start:t.End])
	}
	m.value, m.end = value, t.End
}

func (m *masker) flush() {
	m.b.WriteString(m.comma)
	m.comma = ""
}

// space writes a blank where the text has white space or a comment.
func (m *masker) space(next int) {
	if m.end < next && m.b.Len() > 0 {
		m.b.WriteByte(' ')
	}
}

func (m *masker) isValue(t sqltoken.Token) bool {
	switch t.Kind {
	case sqltoken.String, sqltoken.Raw, sqltoken.Double, sqltoken.Number:
		return true
	case sqltoken.Name: // SQLite takes a name that is no column's for a string
		return m.d == SQLite && m.sql[t.Start] == '"'
	case sqltoken.Param:
		return m.fold
	}
	return false
}
