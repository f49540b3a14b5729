package store_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cacheplugin/cacheplugin/conj"
	"github.com/cacheplugin/cacheplugin/internal/store"
)

func TestSurveyTellsWhatTheNamespaceHolds(t *testing.T) {
	onEach(t, func(t *testing.T, b backend) {
		s, other := b.open(t), b.open(t)
		fill(t, other, "elsewhere", "1", on("a", "1"))
		fill(t, s, "a1", "1", on("a", "1"))
		fill(t, s, "a2", "2", on("a", "2"))
		fill(t, s, "ab", "3", on("a", "1"), on("b", "1"))
		lease(t, s, "in the making", on("b", "2"))
		var many []store.Dependency
		for i := range 20 {
			many = append(many, on(fmt.Sprintf("many%d", i), "1"))
		}
		fill(t, s, "many", "4", many...)

		survey, err := s.Survey(t.Context(), 0)
		require.NoError(t, err)
		require.True(t, survey.Complete)
		require.GreaterOrEqual(t, survey.Scanned, int64(30))
		require.Equal(t, int64(4), survey.Entries.Keys)
		require.Equal(t, int64(1), survey.Leases.Keys)
		require.Equal(t, int64(1), survey.ManyTables.Keys)
		require.Zero(t, survey.Invalid.Keys)
		require.Equal(t, int64(22), survey.Tables.Keys)
		require.Equal(t, int64(4+20), survey.Conjunctions.Keys)
		require.Positive(t, survey.Entries.Bytes)
		require.Equal(t, int64(3), survey.ByTable["a"].Keys)
		require.Equal(t, int64(1), survey.ByTable["b"].Keys)
		require.Positive(t, survey.ByTable["b"].Bytes)

		invalidate(t, s, store.Change{Table: "a"})
		survey, err = s.Survey(t.Context(), 0)
		require.NoError(t, err)
		require.Equal(t, int64(2), survey.Invalid.Keys, "those that read nothing but a")
		require.Zero(t, survey.ByTable["a"].Keys)

		require.NoError(t, s.InvalidateAll(t.Context()))
		survey, err = s.Survey(t.Context(), 0)
		require.NoError(t, err)
		require.Zero(t, survey.Entries.Keys)
		require.Equal(t, int64(4), survey.Invalid.Keys)
	})
}

func TestSurveyTellsEntriesWithJoinedRows(t *testing.T) {
	onEach(t, func(t *testing.T, b backend) {
		s := b.open(t)
		var many []string
		for i := range 100 {
			many = append(many, fmt.Sprint(i))
		}
		require.True(t, saveJoined(t, s, lease(t, s, "few", on("a", "1"), joinedTo("b")), "1", ids("b", "1")))
		require.True(t, saveJoined(t, s, lease(t, s, "many", on("a", "1"), joinedTo("b")), "2", ids("b", many...)))
		deps := []store.Dependency{joinedTo("b")}
		for i := range 20 {
			deps = append(deps, on(fmt.Sprintf("many%d", i), "1"))
		}
		require.True(t, saveJoined(t, s, lease(t, s, "many tables", deps...), "3", ids("b", many...)))

		survey, err := s.Survey(t.Context(), 0)
		require.NoError(t, err)
		require.Equal(t, int64(3), survey.Entries.Keys)
		require.Equal(t, int64(2), survey.ByTable["b"].Keys)
		require.Equal(t, int64(1), survey.ManyTables.Keys)
		require.Zero(t, survey.Invalid.Keys)
		require.NoError(t, s.InvalidateAll(t.Context()))
		survey, err = s.Survey(t.Context(), 0)
		require.NoError(t, err)
		require.Zero(t, survey.Entries.Keys)
	})
}

func TestSurveyStopsAtItsLimit(t *testing.T) {
	t.Parallel()
	s := backend{client: realRedis(t)}.open(t)
	for i := range 2000 {
		lease(t, s, fmt.Sprint(i), on("a", "1"))
	}
	survey, err := s.Survey(t.Context(), 500)
	require.NoError(t, err)
	require.False(t, survey.Complete)
	require.GreaterOrEqual(t, survey.Scanned, int64(500))
	require.Less(t, survey.Scanned, survey.Keys)
	require.Positive(t, survey.Leases.Keys)
}

func TestTablesAreThoseOfTheNamespace(t *testing.T) {
	onEach(t, func(t *testing.T, b backend) {
		s := b.open(t, func(o *store.Options) { o.Namespace += "*[?" })
		wide := b.open(t, func(o *store.Options) { o.Namespace += "xx[?" })
		fill(t, wide, "q", "", on("matched by the glob", "1"))
		tables, err := s.Tables(t.Context())
		require.NoError(t, err)
		require.Empty(t, tables)

		fill(t, s, "q", "", on("public.users", "1"), on("public.articles", "1"))
		tables, err = s.Tables(t.Context())
		require.NoError(t, err)
		require.Equal(t, []string{"public.articles", "public.users"}, tables)

		d := on("public.users", "1")
		info, err := s.TableInfo(t.Context(), "public.users")
		require.NoError(t, err)
		require.True(t, info.Known)
		require.Equal(t, d.Schemes, info.Schemes)
		require.Greater(t, info.TTL, time.Minute)

		conjunction, err := s.ConjunctionInfo(t.Context(), d.Table, d.Keys[0])
		require.NoError(t, err)
		require.True(t, conjunction.Known)
		if b.mode.Mode == store.ConjunctionSets {
			require.Equal(t, []string{entry("q").String()}, conjunction.Entries)
			require.Equal(t, int64(1), conjunction.Size)
		}

		invalidate(t, s, store.Change{Table: "public.users"})
		info, err = s.TableInfo(t.Context(), "public.users")
		require.NoError(t, err)
		require.False(t, info.Known)
		require.Empty(t, info.Schemes)

		conjunction, err = s.ConjunctionInfo(t.Context(), d.Table, conj.Key{1})
		require.NoError(t, err)
		require.False(t, conjunction.Known)
		require.Empty(t, conjunction.Entries)
	})
}

func TestNamespacesAreFoundByTheirPrefix(t *testing.T) {
	onEach(t, func(t *testing.T, b backend) {
		prefix := newNamespace() + "["
		for _, suffix := range []string{"", ":tenant", "@1", "x"} {
			fill(t, b.open(t, in(prefix+suffix)), "q", "", on("a", "1"))
		}
		found, err := store.Namespaces(t.Context(), b.client, prefix)
		require.NoError(t, err)
		require.Equal(t, []string{prefix, prefix + ":tenant", prefix + "@1", prefix + "x"}, found)
	})
}
