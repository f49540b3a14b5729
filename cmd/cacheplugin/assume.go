package main

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/cacheplugin/cacheplugin/conj"
)

// identifier is a name, perhaps with the name of a table before it, quoted or
// not, together with what it is compared with, if that follows.
var identifier = regexp.MustCompile("(?:([A-Za-z_][A-Za-z0-9_]*|\"[^\"]+\"|`[^`]+`)\\s*\\.\\s*)?([A-Za-z_][A-Za-z0-9_]*|\"[^\"]+\"|`[^`]+`)" +
	`(?:\s*(?:=|<>|!=|(?i:\bin)\s*\()\s*('|[0-9+-]|\?|\$[0-9]+|(?i:true|false)\b))?`)

// texts are the parts of a statement in which no name can be. Their quotes are
// kept: they tell a text from a number.
var texts = regexp.MustCompile(`'(?:[^']|'')*'`)

// assume returns a look-up for a statement without a database: each table has
// the columns that were given, and, if none was, whatever the statement names.
// Those are noted in assumed.
func (x *explainer) assume(assumed *[]string) conj.Lookup {
	return func(name conj.TableName) (*conj.Table, error) {
		id := name.String()
		columns := x.given[strings.ToLower(id)]
		if columns == nil {
			columns = x.given[strings.ToLower(name.Name)]
		}
		if name.Schema == "" {
			id = map[conj.Dialect]string{conj.PostgreSQL: "public.", conj.SQLite: "main."}[x.dialect] + id
		}
		if columns == nil {
			columns = x.guess()
			for _, c := range columns {
				*assumed = append(*assumed, fmt.Sprintf("%s.%s %s", name.Name, c.Name, c.Kind))
			}
		}
		return conj.NewTable(id, name.Name, columns), nil
	}
}

// guess returns the columns that a statement compares with a value, each of
// the kind that the value has.
func (x *explainer) guess() []conj.Column {
	var columns []conj.Column
	questions := 0
	text := texts.ReplaceAllString(x.sql, "''")
	for _, m := range identifier.FindAllStringSubmatch(text, -1) {
		name := strings.Trim(m[2], "\"`")
		value := m[3]
		if x.dialect == conj.PostgreSQL && name == m[2] {
			name = strings.ToLower(name)
		}
		var arg any
		argument := false
		switch {
		case value == "?":
			// Question marks that are compared with nothing are not counted:
			// the guess is said, and only a guess.
			arg, argument = x.argument(questions)
			questions++
		case strings.HasPrefix(value, "$"):
			n, _ := strconv.Atoi(value[1:])
			arg, argument = x.argument(n - 1)
		}
		var kind conj.Kind
		switch {
		case argument:
			kind = kindOf(arg)
		case value == "":
			if !strings.Contains(strings.ToLower(text), strings.ToLower(m[2])+" is ") {
				continue
			}
			kind = conj.Opaque
		case value == "'":
			kind = conj.Text
		case value == "?" || value[0] == '$':
			kind = kindOf(nil)
			if name != "id" && !strings.HasSuffix(name, "_id") {
				kind = conj.Text
			}
		case strings.EqualFold(value, "true") || strings.EqualFold(value, "false"):
			kind = conj.Boolean
		default:
			kind = conj.Integer
		}
		if !slices.ContainsFunc(columns, func(c conj.Column) bool { return strings.EqualFold(c.Name, name) }) {
			columns = append(columns, conj.Column{Name: name, Kind: kind})
		}
	}
	return columns
}

func (x *explainer) argument(i int) (any, bool) {
	if i < 0 || i >= len(x.args) {
		return nil, false
	}
	return x.args[i], true
}

func kindOf(arg any) conj.Kind {
	switch arg.(type) {
	case string:
		return conj.Text
	case bool:
		return conj.Boolean
	}
	return conj.Integer
}
