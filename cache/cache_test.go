package cache_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"gorm.io/gorm"

	"github.com/cacheplugin/cacheplugin/cache"
)

func TestOps(t *testing.T) {
	require.Equal(t, "none", cache.Op(0).String())
	require.Equal(t, "get|count", (cache.Get | cache.Count).String())
	require.Equal(t, "get|fetch|count|aggregate|exists", cache.All.String())
	require.Equal(t, "get|unknown", (cache.Get | 1<<7).String())
	require.True(t, cache.All.Has(cache.Get|cache.Exists))
	require.False(t, cache.Get.Has(cache.Get|cache.Exists))
	require.True(t, cache.All.Valid())
	require.False(t, cache.Op(1<<7).Valid())
}

func TestAClauseSaysWhatTheScopeSays(t *testing.T) {
	statement := func() *gorm.Statement { return &gorm.Statement{DB: &gorm.DB{}} }
	stmt := statement()
	require.Nil(t, cache.Of(stmt))
	clause := cache.With(cache.Ops(cache.Get, cache.Count), cache.Timeout(time.Minute), cache.Lock(), cache.Extra(1, "a"),
		cache.On("a", "t.b"), cache.On("c"), cache.DependsOn("t"), cache.DependsOn(&gorm.Model{}), cache.AllowVolatile())
	clause.(gorm.StatementModifier).ModifyStatement(stmt)
	require.Equal(t, &cache.Settings{
		Ops: cache.Get | cache.Count, Timeout: time.Minute, Lock: true, Extra: []any{1, "a"},
		On: []string{"a", "t.b", "c"}, DependsOn: []any{"t", &gorm.Model{}}, Volatile: true,
	}, cache.Of(stmt))
	cache.Without().(gorm.StatementModifier).ModifyStatement(stmt)
	require.True(t, cache.Of(stmt).Off, "the last one counts")

	stmt = statement()
	cache.With().(gorm.StatementModifier).ModifyStatement(stmt)
	require.Equal(t, cache.All, cache.Of(stmt).Ops, "all operations where none is named")
	cache.With(cache.DependsOn()).(gorm.StatementModifier).ModifyStatement(stmt)
	require.NotNil(t, cache.Of(stmt).DependsOn, "no further table, which is not the same as nothing said")
	cache.With(cache.Ops()).(gorm.StatementModifier).ModifyStatement(stmt)
	require.Zero(t, cache.Of(stmt).Ops)
}

func TestSwitchesOfAContext(t *testing.T) {
	ctx := context.Background()
	require.False(t, cache.IsWithoutCache(ctx))
	require.True(t, cache.IsWithoutCache(cache.WithoutCache(ctx)))
	require.False(t, cache.IsWithoutInvalidation(ctx))
	require.True(t, cache.IsWithoutInvalidation(cache.WithoutInvalidation(ctx)))
	require.Empty(t, cache.VaryOf(ctx))
	a := cache.Vary(ctx, "a")
	b, c := cache.Vary(a, "b"), cache.Vary(a, "c")
	require.Equal(t, []string{"a"}, cache.VaryOf(a))
	require.Equal(t, []string{"a", "b"}, cache.VaryOf(b))
	require.Equal(t, []string{"a", "c"}, cache.VaryOf(c), "one branch does not change another")
}
