package conj_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cacheplugin/cacheplugin/conj"
)

func TestASchemeTellsItsColumnsAndTheirKinds(t *testing.T) {
	columns := []conj.Column{{Name: "b", Kind: conj.Label}, {Name: "a", Kind: conj.Integer}, {Name: "c", Kind: conj.Opaque}}
	table := conj.NewTable("public.t", "t", columns)
	c := table.Conjunction([]int{0, 1, 2}, []conj.Value{"=x", "=1", conj.Null})
	typed, ok := c.Scheme.Typed()
	require.True(t, ok)
	require.Equal(t, []conj.Column{columns[1], columns[0], columns[2]}, typed)

	// A table of nothing but these columns makes the same keys.
	keys, ok := conj.NewTable("public.t", "", typed).Keys(conj.Change{New: conj.Image{"=1", "=x", conj.Null}}, []conj.Scheme{c.Scheme})
	require.True(t, ok)
	require.Equal(t, []conj.Key{c.Key}, keys)

	typed, ok = conj.Scheme("").Typed()
	require.True(t, ok, "the whole table")
	require.Empty(t, typed)

	for _, bad := range []conj.Scheme{
		"garbage",
		conj.MakeScheme([]string{"no kind"}),
		conj.MakeScheme([]string{"a\x00"}),
		conj.MakeScheme([]string{"a\x00BB"}),
		conj.MakeScheme([]string{"a\x00Z"}),
		conj.MakeScheme([]string{"a\x00@"}),
	} {
		_, ok := bad.Typed()
		require.False(t, ok, "%q", bad)
	}
}

func TestKindsHaveNames(t *testing.T) {
	for k := conj.Opaque; k <= conj.Label; k++ {
		parsed, ok := conj.ParseKind(k.String())
		require.True(t, ok)
		require.Equal(t, k, parsed)
	}
	require.Equal(t, "label", conj.Label.String(), "each kind has a name")
	require.Equal(t, "unreadable", conj.Unreadable.String())
	_, ok := conj.ParseKind("unreadable")
	require.False(t, ok)
}
