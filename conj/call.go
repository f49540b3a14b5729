package conj

import "strings"

// Calls returns the names, in lower case and without a schema, of what a text
// seems to call: words before an opening parenthesis, some of which are keywords.
// It is false for a text that can't be taken apart.
func Calls(d Dialect, sql string) (names []string, ok bool) {
	toks, err := tokenize(d, sql)
	if err != nil {
		return nil, false
	}
	for i := 1; i < len(toks); i++ {
		t := &toks[i-1]
		if toks[i].is("(") && (t.identifier() || t.kind == tokDouble) {
			names = append(names, strings.ToLower(t.text))
		}
	}
	return names, true
}

// Fields returns the names after a dot in a text of PostgreSQL, where t.f means
// f(t) if t has no column f.
func Fields(d Dialect, sql string) []string {
	toks, err := tokenize(d, sql)
	if err != nil || d != PostgreSQL {
		return nil
	}
	var names []string
	for i := 1; i < len(toks); i++ {
		if t := &toks[i]; t.identifier() && toks[i-1].is(".") {
			names = append(names, strings.ToLower(t.text))
		}
	}
	return names
}
