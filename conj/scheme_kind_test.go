package conj_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cacheplugin/cacheplugin/conj"
)

func TestAnAlteredColumnMakesTheTableWide(t *testing.T) {
	was := conj.NewTable("public.t", "t", []conj.Column{{Name: "a", Kind: conj.Integer}})
	is := conj.NewTable("public.t", "t", []conj.Column{{Name: "a", Kind: conj.Text}})
	plan, err := conj.Compile(conj.PostgreSQL, "SELECT * FROM t WHERE a = $1",
		func(conj.TableName) (*conj.Table, error) { return is, nil }, conj.Limits{})
	require.NoError(t, err)
	deps, err := plan.Bind([]any{"1"})
	require.NoError(t, err)
	scheme := deps[0].Conjunctions[0].Scheme

	_, ok := is.Keys(conj.Change{New: conj.Image{"=1"}}, []conj.Scheme{scheme})
	require.True(t, ok)
	_, ok = was.Keys(conj.Change{New: conj.Image{"=1"}}, []conj.Scheme{scheme})
	require.False(t, ok, "a process that still takes the column for a number must drop the table")
}
