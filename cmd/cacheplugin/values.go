package main

import (
	"encoding/hex"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/cacheplugin/cacheplugin/conj"
)

// condition is what was said of a table's rows: columns, each with the values
// that it may have.
type condition map[string][]string

// parseCondition reads arguments of the form column=value. A column may come
// several times.
func parseCondition(args []string) (condition, error) {
	c := condition{}
	for _, arg := range args {
		column, value, ok := strings.Cut(arg, "=")
		if !ok || column == "" {
			return nil, usage(fmt.Errorf("%q is not column=value", arg), "write for example id=34; for no value, deleted_at=null")
		}
		c[column] = append(c[column], value)
	}
	return c, nil
}

// maxImages bounds the combinations of values.
const maxImages = 1000

// keys returns the conjunctions that rows which meet the condition are part of.
// It is empty, with a reason, if that can't be told of one of the schemes.
func (c condition) keys(table string, schemes []conj.Scheme) (keys []conj.Key, reason string) {
	for _, scheme := range schemes {
		ks, reason := c.schemeKeys(table, scheme)
		if reason != "" {
			return nil, reason
		}
		keys = append(keys, ks...)
	}
	return keys, ""
}

func (c condition) schemeKeys(table string, scheme conj.Scheme) (keys []conj.Key, reason string) {
	columns, ok := scheme.Typed()
	if !ok {
		return nil, "a result depends on columns that this version does not understand"
	}
	images := []conj.Image{{}}
	for _, column := range columns {
		texts, ok := c[column.Name]
		if !ok {
			return nil, fmt.Sprintf("results depend on %s, which was not given", column.Name)
		}
		var values []conj.Value
		for _, text := range texts {
			vs, ok := canonical(column, text)
			if !ok {
				return nil, fmt.Sprintf("%q can't be a value of %s in the form in which it is kept (%s)", text, column.Name, column.Kind)
			}
			values = append(values, vs...)
		}
		slices.Sort(values)
		values = slices.Compact(values)
		if len(images)*len(values) > maxImages {
			return nil, fmt.Sprintf("more than %d combinations of values", maxImages)
		}
		var longer []conj.Image
		for _, img := range images {
			for _, v := range values {
				longer = append(longer, append(slices.Clone(img), v))
			}
		}
		images = longer
	}
	// A table of the scheme's own columns makes the same keys as the real one.
	t := conj.NewTable(table, table, columns)
	for _, img := range images {
		ks, ok := t.Keys(conj.Change{New: img}, []conj.Scheme{scheme})
		if !ok {
			return nil, "a value is not known"
		}
		keys = append(keys, ks...)
	}
	return keys, ""
}

// canonical returns the forms that a column's value may be kept in, if it is
// the one that is written as text. Which database it comes from, and how its
// driver gives it, is not known here: whatever one of them makes of it counts.
// It is false if one of them can't tell.
func canonical(column conj.Column, text string) ([]conj.Value, bool) {
	var values []conj.Value
	for _, d := range []conj.Dialect{conj.PostgreSQL, conj.MySQL, conj.SQLite} {
		known := false
		for _, reading := range readings(column.Kind, text) {
			for _, v := range []conj.Value{column.FromRow(d, reading), column.FromParam(d, reading)} {
				if v != "" && (v != conj.NotNull || column.Kind == conj.Opaque) {
					values, known = append(values, v), true
				}
			}
		}
		if !known {
			return nil, false
		}
	}
	return values, true
}

// readings are the values that a text may stand for in a column of a kind.
func readings(kind conj.Kind, text string) []any {
	var all []any
	if text == "null" {
		all = append(all, nil) // and the word itself
	}
	switch kind {
	case conj.Integer:
		all = append(all, text)
		if n, err := strconv.ParseInt(text, 10, 64); err == nil {
			all = append(all, n)
		}
		if n, err := strconv.ParseUint(text, 10, 64); err == nil {
			all = append(all, n)
		}
		if f, err := strconv.ParseFloat(text, 64); err == nil {
			all = append(all, f)
		}
	case conj.Boolean:
		if b, err := strconv.ParseBool(text); err == nil {
			all = append(all, b)
		}
	case conj.Text, conj.Label, conj.PaddedText, conj.FoldedText:
		all = append(all, text, []byte(text))
	case conj.Bytes:
		all = append(all, []byte(text))
		for _, prefix := range []string{"0x", `\x`} {
			if digits, ok := strings.CutPrefix(text, prefix); ok {
				if b, err := hex.DecodeString(digits); err == nil {
					all = append(all, b)
				}
			}
		}
	default:
		all = append(all, text)
	}
	return all
}
