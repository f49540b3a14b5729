package conj

import (
	"math"
	"sort"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestAListSchemeNamesItsColumns(t *testing.T) {
	s := table().ListScheme("x", []int{1}, 0)
	require.True(t, s.Lists())
	by, key, ok := table().ListColumns(s)
	require.True(t, ok)
	require.Equal(t, []int{1}, by)
	require.Equal(t, 0, key)
	require.NotEqual(t, s, table().ListScheme("y", []int{1}, 0))

	listed, ok := s.ListedBy()
	require.True(t, ok)
	require.Equal(t, []Column{{"name", Text}}, listed)
	_, ok = schemeOf(id).ListedBy()
	require.False(t, ok)

	require.False(t, schemeOf(id).Lists())
	_, _, ok = table().ListColumns(schemeOf(id))
	require.False(t, ok)
	_, known := table().SchemeColumns(s)
	require.False(t, known, "who doesn't know lists drops the table")
	_, known = table().Keys(Change{New: Image{"=1", "=a", Null}}, []Scheme{s})
	require.False(t, known)

	altered := NewTable("public.t", "t", []Column{{"id", Integer}, {"name", Bytes}, {"at", Opaque}})
	_, _, ok = altered.ListColumns(s)
	require.False(t, ok, "of another kind now")
	for _, broken := range []Scheme{"list:", "list:x:", "list:x:5:a", "list:x:-1:", "list:x:0:id"} {
		_, _, ok = table().ListColumns(broken)
		require.False(t, ok, broken)
	}
}

func TestTheListOfARow(t *testing.T) {
	s := table().ListScheme("x", []int{1}, 0)
	list, row, ok := table().ListRow(Image{"=-7", "=a", Null}, s)
	require.True(t, ok)
	require.Equal(t, int64(-7), row)
	require.Equal(t, table().ListKey(s, []Value{"=a"}), list)
	for title, img := range map[string]Image{
		"a number that isn't known":  {"", "=a", Null},
		"a number beyond int64":      {"=9223372036854775808", "=a", Null},
		"no number":                  {Null, "=a", Null},
		"a column that isn't known":  {"=1", "", Null},
		"a column known to be there": {"=1", NotNull, Null},
		"an image that is too short": {"=1"},
	} {
		_, _, ok = table().ListRow(img, s)
		require.False(t, ok, title)
	}
}

func TestOrderedSortsAsNumbersDo(t *testing.T) {
	numbers := []int64{math.MinInt64, -256, -1, 0, 1, 255, 1 << 40, math.MaxInt64}
	var spelled []string
	for _, n := range numbers {
		spelled = append(spelled, Ordered(n))
		back, ok := FromOrdered(Ordered(n))
		require.True(t, ok)
		require.Equal(t, n, back)
	}
	require.True(t, sort.StringsAreSorted(spelled))
	_, ok := FromOrdered("short")
	require.False(t, ok)
}
