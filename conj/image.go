package conj

import "slices"

// Image is a row in canonical form, aligned with its table's Columns. An
// empty Value is one that is not known.
type Image []Value

// Keys returns the keys of the conjunctions that a row is part of: one for
// each of the schemes that are registered of the table, without repetition.
// It is false if a scheme names a column that the table does not have, or one
// that the image does not know and that may be asked for by its value; then only
// dropping the whole table is safe.
func (t *Table) Keys(img Image, schemes []Scheme) (keys []Key, ok bool) {
	keys = make([]Key, 0, len(schemes))
	var values []Value
	for _, s := range schemes {
		columns, ok := t.SchemeColumns(s)
		if !ok {
			return nil, false
		}
		values = values[:0]
		for _, i := range columns {
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
	return keys, true
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
