package catalog

import "strings"

// sqliteTable is what the text of a CREATE TABLE tells beyond the pragmas:
// SQLite keeps a column's collation nowhere else.
type sqliteTable struct {
	virtual bool
	collate bool       // the word COLLATE occurs
	replace bool       // a constraint resolves conflicts by REPLACE
	columns [][]string // the tokens of each definition between the parentheses
}

// parseSQLiteTable splits the text of a CREATE TABLE as sqlite_master keeps it.
func parseSQLiteTable(sql string) sqliteTable {
	tokens := sqliteTokens(sql)
	var t sqliteTable
	t.virtual = len(tokens) > 1 && strings.EqualFold(tokens[1], "virtual")
	for i, token := range tokens {
		t.collate = t.collate || strings.EqualFold(token, "collate")
		t.replace = t.replace || i > 0 && strings.EqualFold(token, "replace") && strings.EqualFold(tokens[i-1], "conflict")
	}
	depth := 0
	var definition []string
	for _, token := range tokens {
		switch token {
		case "(":
			depth++
			if depth == 1 {
				continue
			}
		case ")":
			depth--
			if depth == 0 {
				t.columns = append(t.columns, definition)
				return t
			}
		case ",":
			if depth == 1 {
				t.columns = append(t.columns, definition)
				definition = nil
				continue
			}
		}
		if depth > 0 {
			definition = append(definition, token)
		}
	}
	return t
}

// binary tells whether the i-th column, of the given name, is certain to
// compare byte by byte.
func (t sqliteTable) binary(i int, name string) bool {
	if !t.collate {
		return true
	}
	if i >= len(t.columns) || len(t.columns[i]) == 0 || foldSQLite(unquoteSQLite(t.columns[i][0])) != foldSQLite(name) {
		return false
	}
	definition := t.columns[i]
	for j, token := range definition {
		if !strings.EqualFold(token, "collate") {
			continue
		}
		if j+1 >= len(definition) || !strings.EqualFold(unquoteSQLite(definition[j+1]), "binary") {
			return false
		}
	}
	return true
}

// sqliteViewQuery returns the SELECT of a CREATE VIEW as sqlite_master keeps
// it. Its first AS outside of quotes is the one before the SELECT.
func sqliteViewQuery(sql string) (query string, ok bool) {
	tokens, ends := sqliteTokenEnds(sql)
	for i, token := range tokens {
		if strings.EqualFold(token, "as") {
			return sql[ends[i]:], true
		}
	}
	return "", false
}

// sqliteTokens splits SQL into words, quoted texts and single characters,
// without blanks and comments.
func sqliteTokens(sql string) []string {
	tokens, _ := sqliteTokenEnds(sql)
	return tokens
}

// sqliteTokenEnds also tells where in the text each token ends.
func sqliteTokenEnds(sql string) (tokens []string, ends []int) {
	for i := 0; i < len(sql); {
		switch b := sql[i]; {
		case strings.HasPrefix(sql[i:], "--"):
			end := strings.IndexByte(sql[i:], '\n')
			if end < 0 {
				return tokens, ends
			}
			i += end
		case strings.HasPrefix(sql[i:], "/*"):
			end := strings.Index(sql[i+2:], "*/")
			if end < 0 {
				return tokens, ends
			}
			i += end + 4
		case b == ' ' || b == '\t' || b == '\n' || b == '\r' || b == '\f':
			i++
		case b == '"' || b == '`' || b == '\'' || b == '[':
			n := quotedLength(sql[i:])
			tokens = append(tokens, sql[i:i+n])
			i += n
			ends = append(ends, i)
		case isWordByte(b):
			start := i
			for i < len(sql) && isWordByte(sql[i]) {
				i++
			}
			tokens = append(tokens, sql[start:i])
			ends = append(ends, i)
		default:
			tokens = append(tokens, sql[i:i+1])
			i++
			ends = append(ends, i)
		}
	}
	return tokens, ends
}

// quotedLength returns the length of the quoted text that s begins with.
func quotedLength(s string) int {
	quote := s[0]
	if quote == '[' {
		if end := strings.IndexByte(s, ']'); end >= 0 {
			return end + 1
		}
		return len(s)
	}
	for i := 1; i < len(s); i++ {
		if s[i] != quote {
			continue
		}
		if i+1 < len(s) && s[i+1] == quote {
			i++
			continue
		}
		return i + 1
	}
	return len(s)
}

func isWordByte(b byte) bool {
	return b == '_' || b == '$' || b >= '0' && b <= '9' || b >= 'a' && b <= 'z' || b >= 'A' && b <= 'Z' || b >= 0x80
}

func unquoteSQLite(token string) string {
	if len(token) < 2 {
		return token
	}
	switch quote := token[0]; quote {
	case '[':
		return strings.TrimSuffix(token[1:], "]")
	case '"', '`', '\'':
		body := strings.TrimSuffix(token[1:], string(quote))
		return strings.ReplaceAll(body, string([]byte{quote, quote}), string(quote))
	}
	return token
}
