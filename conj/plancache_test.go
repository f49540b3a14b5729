package conj

import (
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestPlanCacheKeepsPlansByText(t *testing.T) {
	c := NewPlanCache(2)
	plan, epoch := c.Get("a")
	require.Nil(t, plan)
	a := &Plan{}
	c.Put("a", a, epoch)
	plan, _ = c.Get("a")
	require.Same(t, a, plan)
}

func TestPlanCacheIsBounded(t *testing.T) {
	c := NewPlanCache(3)
	for i := range 100 {
		c.Put(fmt.Sprint(i), &Plan{}, 0)
		plan, _ := c.Get(fmt.Sprint(i))
		require.NotNil(t, plan)
	}
	require.Equal(t, 3, c.Len())
	c.Put(strings.Repeat("x", maxPlanText+1), &Plan{}, 0)
	plan, _ := c.Get(strings.Repeat("x", maxPlanText+1))
	require.Nil(t, plan)
}

func TestPlanCompiledBeforeADropIsNotKept(t *testing.T) {
	c := NewPlanCache(0)
	_, epoch := c.Get("a")
	c.Drop()
	c.Put("a", &Plan{}, epoch)
	plan, epoch := c.Get("a")
	require.Nil(t, plan)
	c.Put("a", &Plan{}, epoch)
	c.Drop()
	require.Zero(t, c.Len())
}

func TestPlanCacheIsSafeForConcurrentUse(t *testing.T) {
	c := NewPlanCache(8)
	var all sync.WaitGroup
	for g := range 4 {
		all.Go(func() {
			for i := range 500 {
				sql := fmt.Sprint((g + i) % 16)
				if plan, epoch := c.Get(sql); plan == nil {
					c.Put(sql, &Plan{}, epoch)
				}
				if i%100 == 0 {
					c.Drop()
				}
			}
		})
	}
	all.Wait()
	require.LessOrEqual(t, c.Len(), 8)
}
