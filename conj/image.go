package conj

import "slices"

// Image is a row in canonical form, aligned with its table's Columns. An
// empty Value is one that is not known.
type Image []Value

// Change is what a write has done to a row.
type Change struct {
	// Old is the row before, nil if it is new, and New the row after, nil if it is
	// gone. One image that stands alone may be either.
	Old, New Image
	// Changed says of each column, aligned with the table's Columns, whether an
	// update may have changed it; nil if any may have.
	Changed []bool
}

// Images returns the images that there are.
func (c Change) Images() []Image {
	switch {
	case c.Old == nil:
		return []Image{c.New}
	case c.New == nil:
		return []Image{c.Old}
	}
	return []Image{c.Old, c.New}
}

// Separate returns the changes that images stand for, each alone.
func Separate(images ...Image) []Change {
	changes := make([]Change, len(images))
	for i, img := range images {
		changes[i].New = img
	}
	return changes
}

// Keys returns the keys of the conjunctions that depend on a change: for each of
// the schemes that are registered of the table, those that the old or the new row
// is part of, unless no column that is used has changed; without repetition. It is
// false if a scheme names a column that the table does not have, or one that the
// image does not know and that may be asked for by its value; then only dropping
// the whole table is safe.
func (t *Table) Keys(change Change, schemes []Scheme) (keys []Key, ok bool) {
	if change.Old == nil && change.New == nil {
		return nil, len(schemes) == 0
	}
	keys = make([]Key, 0, len(schemes))
	var values []Value
	for _, s := range schemes {
		m := t.meaning(s)
		if !m.ok {
			return nil, false
		}
		if !m.touchedBy(change) {
			continue
		}
		for _, img := range [...]Image{change.Old, change.New} {
			if img == nil {
				continue
			}
			values = values[:0]
			for _, i := range m.columns {
				v, ok := t.value(img, i)
				if !ok {
					return nil, false
				}
				values = append(values, v)
			}
			if key := MakeKey(t.ID, s, values); !slices.Contains(keys, key) {
				keys = append(keys, key)
			}
		}
	}
	return keys, true
}

// Touches reports whether an update that changes some columns at most, aligned with
// the table's, may matter to those who depend on conjunctions of a scheme.
func (t *Table) Touches(s Scheme, changed []bool) bool {
	m := t.meaning(s)
	return !m.ok || m.touched(changed)
}

// touchedBy reports whether a change may matter to those who use what the scheme
// says.
func (m *tableScheme) touchedBy(c Change) bool {
	return c.Changed == nil || c.Old == nil || c.New == nil || m.touched(c.Changed)
}

func (m *tableScheme) touched(changed []bool) bool {
	if m.any || len(changed) != len(m.used) {
		return true
	}
	for i, changed := range changed {
		if changed && (m.all || m.used[i]) {
			return true
		}
	}
	return false
}

// value returns an image's value of a column. Of an Opaque column a conjunction
// can only hold Null: an unknown value counts as Null, which covers both cases,
// and NotNull will do. Of any other column they say too little.
func (t *Table) value(img Image, i int) (Value, bool) {
	if i >= len(img) {
		return "", false
	}
	v, opaque := img[i], t.columns[i].Kind == Opaque
	switch {
	case v == "" && opaque:
		return Null, true
	case v == "", v == NotNull && !opaque:
		return "", false
	}
	return v, true
}
