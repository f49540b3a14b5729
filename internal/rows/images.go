package rows

import (
	"slices"
	"strconv"
	"strings"

	"github.com/cacheplugin/cacheplugin/conj"
	"github.com/cacheplugin/cacheplugin/internal/catalog"
)

// covers reports whether images know every column that is needed.
func covers(images []conj.Image, need []bool) bool {
	for _, img := range images {
		for i, n := range need {
			if n && (i >= len(img) || img[i] == "") {
				return false
			}
		}
	}
	return true
}

// overlay is an image with the assigned columns replaced.
func overlay(old, set conj.Image, assigned []bool) conj.Image {
	img := make(conj.Image, len(old))
	copy(img, old)
	for i, a := range assigned {
		if a && i < len(img) {
			img[i] = set[i]
		}
	}
	return img
}

// blank is the image of a row before its values: what the database fills is
// unknown, the rest is null.
func blank(table *catalog.Table) conj.Image {
	img := make(conj.Image, len(table.Columns()))
	for i := range img {
		if !fills(table, i) {
			img[i] = conj.Null
		}
	}
	return img
}

// nullness reads the result of IS NULL.
func nullness(v any) conj.Value {
	var null bool
	switch v := v.(type) {
	case bool:
		null = v
	case int64:
		null = v != 0
	case []byte:
		null = string(v) == "1"
	default:
		return ""
	}
	if null {
		return conj.Null
	}
	return conj.NotNull
}

// inKey reports whether a column is one of the primary key.
func inKey(table *catalog.Table, column int) bool {
	return slices.Contains(table.PrimaryKey, column)
}

// fills reports whether the database fills a column that an insert leaves out.
func fills(table *catalog.Table, column int) bool {
	return table.Fills(column) || column == table.AutoIncrement
}

// changesAlong reports whether an update changes a column without naming it.
func changesAlong(table *catalog.Table, column int) bool {
	return table.Generated(column) || table.OnUpdate(column)
}

// assigned are the columns that an update changes, of which it assigns some.
func assigned(table *catalog.Table, set []conj.Assignment) []bool {
	columns := make([]bool, len(table.Columns()))
	for i := range columns {
		columns[i] = changesAlong(table, i)
	}
	for _, a := range set {
		columns[a.Column] = true
	}
	return columns
}

// updated is the change of a row in which an update has assigned some columns.
func (s *Statement) updated(table *catalog.Table, old, after conj.Image, assigned []bool) conj.Change {
	return conj.Change{Old: old, New: after, Changed: s.changed(table, old, after, assigned)}
}

// changed are those of the assigned columns whose values may differ; nil if others
// may as well.
func (s *Statement) changed(table *catalog.Table, old, after conj.Image, assigned []bool) []bool {
	if !keepsOthers(table) {
		return nil
	}
	columns := make([]bool, len(assigned))
	for i, a := range assigned {
		columns[i] = a && !s.same(table.Columns()[i].Kind, old[i], after[i])
	}
	return columns
}

// keepsOthers reports whether an update is sure to leave the columns alone that it
// neither assigns nor generates: triggers change what they like, and a table that
// inherits may generate what its parent only stores.
func keepsOthers(table *catalog.Table) bool {
	return !fires(table) && len(table.Members) == 0 && table.View == nil
}

// same reports whether two values of one column are sure to be the same to
// whoever reads them, and not just equal: 1.0 is not 1.00, nor a capital its
// small letter.
func (s *Statement) same(kind conj.Kind, a, b conj.Value) bool {
	if a != b || a == "" || a == conj.NotNull {
		return false
	}
	if a == conj.Null {
		return true
	}
	switch kind {
	case conj.Integer:
		return true
	case conj.Boolean, conj.UUID, conj.Label:
		return s.options.Dialect == conj.PostgreSQL
	case conj.Text, conj.Bytes:
		return s.options.Dialect != conj.SQLite // which tells a BLOB from a text of the same bytes
	}
	return false
}

// sameText reports whether a column of texts that has a value, as it was read, has
// the very same one after a text was assigned to it.
func (s *Statement) sameText(value any, text string) bool {
	switch s.options.Dialect {
	case conj.SQLite: // which tells a BLOB from a text of the same bytes
		v, ok := value.(string)
		return ok && v == text
	case conj.MySQL:
		// A question mark may stand for a character that the connection's character
		// set hasn't.
		if strings.Contains(text, "?") {
			return false
		}
	}
	switch v := value.(type) {
	case string:
		return v == text
	case []byte:
		return string(v) == text
	}
	return false
}

// paired are the changes of rows that were read before and after a statement which
// leaves their primary keys as they are. What can't be paired stands alone.
func (s *Statement) paired(table *catalog.Table, old, after []conj.Image, assigned []bool) []conj.Change {
	before := make(map[string]conj.Image, len(old))
	for _, img := range old {
		name, ok := keyOf(table, img)
		if _, twice := before[name]; !ok || twice {
			return conj.Separate(slices.Concat(old, after)...)
		}
		before[name] = img
	}
	changes := make([]conj.Change, 0, len(after))
	for _, img := range after {
		name, ok := keyOf(table, img)
		if was := before[name]; ok && was != nil {
			changes = append(changes, s.updated(table, was, img, assigned))
			delete(before, name)
		} else {
			changes = append(changes, conj.Change{New: img})
		}
	}
	for _, img := range before {
		changes = append(changes, conj.Change{Old: img})
	}
	return changes
}

// keyOf distinguishes a row by its primary key, as far as its image knows it.
func keyOf(table *catalog.Table, img conj.Image) (name string, ok bool) {
	for _, i := range table.PrimaryKey {
		if img[i] == "" || img[i] == conj.NotNull || img[i] == conj.Null {
			return "", false
		}
		name += strconv.Itoa(len(img[i])) + ":" + string(img[i])
	}
	return name, len(table.PrimaryKey) > 0
}
