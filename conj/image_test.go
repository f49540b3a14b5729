package conj

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func table() *Table {
	return NewTable("public.t", "t", []Column{{"id", Integer}, {"name", Text}, {"at", Opaque}})
}

// schemeOf is the scheme that a plan makes of columns.
func schemeOf(columns ...Column) Scheme {
	names := make([]string, len(columns))
	for i, c := range columns {
		names[i] = c.schemeName()
	}
	return MakeScheme(names)
}

var (
	id   = Column{"id", Integer}
	name = Column{"name", Text}
	at   = Column{"at", Opaque}
)

func TestKeysOfARow(t *testing.T) {
	byID, both := schemeOf(id), schemeOf(id, at)
	keys, ok := table().Keys(Change{New: Image{"=5", "", Null}}, []Scheme{"", byID, both, byID})
	require.True(t, ok)
	require.Equal(t, []Key{
		MakeKey("public.t", "", nil),
		MakeKey("public.t", byID, []Value{"=5"}),
		MakeKey("public.t", both, []Value{Null, "=5"}),
	}, keys)
}

func TestKeysOfARowThatSaysTooLittle(t *testing.T) {
	image := Image{"=5", "", NotNull}
	for title, test := range map[string]struct {
		image  Image
		scheme Scheme
	}{
		"a column that isn't known":         {image, schemeOf(name)},
		"a column that the table hasn't":    {image, schemeOf(id, Column{"other", Text})},
		"a column spelled otherwise":        {image, schemeOf(Column{"ID", Integer})},
		"a column of another kind":          {image, schemeOf(Column{"id", Text})},
		"a column without a kind":           {image, MakeScheme([]string{"id"})},
		"a scheme that is none":             {image, "5:id"},
		"an image that is too short":        {image[:1], schemeOf(at)},
		"not null, where a value is needed": {Image{NotNull}, schemeOf(id)},
	} {
		t.Run(title, func(t *testing.T) {
			keys, ok := table().Keys(Change{New: test.image}, []Scheme{"", test.scheme})
			require.False(t, ok)
			require.Empty(t, keys)
		})
	}
	keys, ok := table().Keys(Change{New: image}, []Scheme{schemeOf(at)})
	require.True(t, ok, "NotNull does for an opaque column")
	require.Len(t, keys, 1)
	keys, ok = table().Keys(Change{New: nil}, nil)
	require.True(t, ok)
	require.Empty(t, keys)
}

// TestKindsHaveNamesOfTheirOwn: a scheme names its columns' kinds.
func TestKindsHaveNamesOfTheirOwn(t *testing.T) {
	seen := map[string]bool{}
	for kind := range 256 {
		name := Column{"c", Kind(kind)}.schemeName()
		require.False(t, seen[name])
		seen[name] = true
	}
}
