package catalog

import "github.com/cacheplugin/cacheplugin/internal/sqltoken"

// sqliteTable is what the text of a CREATE TABLE says beyond the pragmas:
// SQLite keeps a column's collation nowhere else.
type sqliteTable struct {
	virtual bool
	collate bool               // the word COLLATE occurs
	replace bool               // a constraint resolves conflicts by REPLACE
	columns [][]sqltoken.Token // the tokens of each definition between the parentheses
}

// parseSQLiteTable splits the text of a CREATE TABLE as sqlite_master keeps it.
// Of a text that can't be split everything has to be expected.
func parseSQLiteTable(sql string) sqliteTable {
	tokens, err := sqltoken.All(sqltoken.SQLite, sql)
	if err != nil {
		return sqliteTable{virtual: true, collate: true, replace: true}
	}
	var t sqliteTable
	t.virtual = len(tokens) > 1 && tokens[1].Is("virtual")
	for i, token := range tokens {
		t.collate = t.collate || token.Is("collate")
		t.replace = t.replace || i > 0 && token.Is("replace") && tokens[i-1].Is("conflict")
	}
	t.columns = definitions(tokens)
	return t
}

// definitions splits what the first parentheses enclose at its commas.
func definitions(tokens []sqltoken.Token) (all [][]sqltoken.Token) {
	depth, start := 0, 0
	for i, token := range tokens {
		switch {
		case token.IsPunct('('):
			if depth++; depth == 1 {
				start = i + 1
			}
		case token.IsPunct(')'):
			if depth--; depth == 0 {
				return append(all, tokens[start:i])
			}
		case token.IsPunct(',') && depth == 1:
			all = append(all, tokens[start:i])
			start = i + 1
		}
	}
	return all
}

// binary reports whether the i-th column, of the given name, is certain to
// compare byte by byte.
func (t sqliteTable) binary(i int, name string) bool {
	if !t.collate {
		return true
	}
	if i >= len(t.columns) || len(t.columns[i]) == 0 || foldSQLite(t.columns[i][0].Text) != foldSQLite(name) {
		return false
	}
	definition := t.columns[i]
	for j, token := range definition {
		if token.Is("collate") && (j+1 >= len(definition) || foldSQLite(definition[j+1].Text) != "binary") {
			return false
		}
	}
	return true
}

// sqliteViewQuery returns the SELECT of a CREATE VIEW as sqlite_master keeps
// it. Its first AS outside of quotes is the one before the SELECT.
func sqliteViewQuery(sql string) (query string, ok bool) {
	scanner := sqltoken.NewScanner(sqltoken.SQLite, sql)
	for {
		token, err := scanner.Next()
		if err != nil || token.Kind == sqltoken.End {
			return "", false
		}
		if token.Is("as") {
			return sql[token.End:], true
		}
	}
}
