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
