package store_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cacheplugin/cacheplugin/conj"
	"github.com/cacheplugin/cacheplugin/internal/store"
)

func TestDependenciesAreGatheredByTable(t *testing.T) {
	a, b := &conj.Table{ID: "a"}, &conj.Table{ID: "b"}
	one := conj.Conjunction{Scheme: byID, Key: conj.Key{1}}
	two := conj.Conjunction{Scheme: byID, Key: conj.Key{2}}
	three := conj.Conjunction{Scheme: byGroup, Key: conj.Key{3}}
	require.Equal(t, []store.Dependency{
		{Table: "b", Schemes: []conj.Scheme{byID, byGroup}, Keys: []conj.Key{{1}, {2}, {3}}},
		{Table: "a", Keys: []conj.Key{}},
	}, store.Dependencies([]conj.Dependency{
		{Table: b, Conjunctions: []conj.Conjunction{one}},
		{Table: a},
		{Table: b, Conjunctions: []conj.Conjunction{two, three}},
	}))
	require.Empty(t, store.Dependencies(nil))
}
