package conj

import (
	"slices"
	"strings"

	"github.com/cacheplugin/cacheplugin/internal/sqltoken"
)

// IsSelect reports whether a text is certain to be one statement that begins
// with SELECT. It looks at little of it, and may say false of one that is.
func IsSelect(d Dialect, sql string) bool {
	scanner := sqltoken.NewScanner(sqltoken.Dialect(d), sql)
	first, err := scanner.Next()
	return err == nil && first.Is("select") && strings.IndexByte(sql, ';') < 0
}

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

// CallsOneOf returns the name of one of some functions, which are in lower case
// and without a schema, that a text may call; empty if it calls none of them. Of
// a text that can't be taken apart it is one that occurs anywhere in it.
func CallsOneOf(d Dialect, sql string, functions map[string]bool) string {
	if len(functions) == 0 {
		return ""
	}
	names, ok := Calls(d, sql)
	if ok {
		if i := slices.IndexFunc(names, func(name string) bool { return functions[name] }); i >= 0 {
			return names[i]
		}
		return ""
	}
	low := strings.ToLower(sql)
	for name, is := range functions {
		if is && strings.Contains(low, name) {
			return name
		}
	}
	return ""
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
