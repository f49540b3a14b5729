package rows

import (
	"slices"

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
