package conj_test

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/cacheplugin/cacheplugin/conj"
)

func TestSchemeIsASet(t *testing.T) {
	require.Equal(t, conj.MakeScheme([]string{"b", "a"}), conj.MakeScheme([]string{"a", "b", "a"}))
	require.Equal(t, conj.Scheme(""), conj.MakeScheme(nil))
	require.NotEqual(t, conj.Scheme(""), conj.MakeScheme([]string{""}))
	columns := []string{"b", "a"}
	conj.MakeScheme(columns)
	require.Equal(t, []string{"b", "a"}, columns, "the argument is left alone")
}

func TestSchemeRoundTrips(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		columns := rapid.SliceOf(rapid.StringOf(rapid.RuneFrom([]rune("ab1:,é\x00")))).Draw(t, "columns")
		want := slices.Clone(columns)
		slices.Sort(want)
		want = slices.Compact(want)
		got := conj.MakeScheme(columns).Columns()
		if len(want) == 0 {
			require.Empty(t, got)
			return
		}
		require.Equal(t, want, got)
	})
}

func FuzzSchemeColumns(f *testing.F) {
	for _, s := range []string{"", "1:a", "1:a1:b", "1:b1:a", "01:a", "+1:a", "-1:a", "9:a", ":", "1", "99999999999999999999:a", "0:"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		columns := conj.Scheme(s).Columns()
		if columns != nil && string(conj.MakeScheme(columns)) != s {
			t.Fatalf("%q has columns %q, whose scheme is another", s, columns)
		}
	})
}

func TestKeysAreInjective(t *testing.T) {
	ab := conj.MakeScheme([]string{"a", "b"})
	keys := map[conj.Key]bool{}
	for _, k := range []conj.Key{
		conj.MakeKey("t", ab, []conj.Value{"=x", "=y"}),
		conj.MakeKey("t", ab, []conj.Value{"=y", "=x"}),
		conj.MakeKey("t", ab, []conj.Value{"=x=y", ""}),
		conj.MakeKey("t", ab, []conj.Value{"=x"}),
		conj.MakeKey("t", ab, []conj.Value{conj.Null, conj.Null}),
		conj.MakeKey("t", ab, []conj.Value{conj.Null, conj.NotNull}),
		conj.MakeKey("u", ab, []conj.Value{"=x", "=y"}),
		conj.MakeKey("t", conj.MakeScheme([]string{"ab"}), []conj.Value{"=x", "=y"}),
		conj.MakeKey("t", "", nil),
		conj.MakeKey("", "", nil),
	} {
		require.False(t, keys[k])
		keys[k] = true
	}
}

// TestKeysStayTheSame: other processes, of other builds, make the same keys.
func TestKeysStayTheSame(t *testing.T) {
	key := conj.MakeKey("public.users", conj.MakeScheme([]string{"id", "deleted_at"}), []conj.Value{conj.Null, "=5"})
	require.Equal(t, "9456ab2a9317b453548303d924529bd4", key.String())
}
