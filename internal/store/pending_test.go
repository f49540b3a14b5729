package store

import (
	"errors"
	"fmt"
	"io"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cacheplugin/cacheplugin/conj"
)

func rows(table string) Change {
	return Change{Table: table, Keys: func([]conj.Scheme) ([]conj.Key, bool) { return nil, true }}
}

func TestPendingChangesStayBounded(t *testing.T) {
	var p pending
	require.True(t, p.empty())
	for range 3 {
		p.add([]Change{rows("a"), rows("b")}, 5)
	}
	require.Len(t, p.tables["a"], 3)
	require.Equal(t, []Change{{Table: "b"}}, p.tables["b"])
	p.add([]Change{rows("c"), rows("a"), rows("b"), rows("a")}, 5)
	require.Len(t, p.tables["a"], 1, "collapsed")
	require.Nil(t, p.tables["a"][0].Keys)
	require.Equal(t, []string{"a", "b", "c"}, p.names())

	for i := range maxPendingTables {
		p.add([]Change{{Table: fmt.Sprint(i)}}, 5)
	}
	require.True(t, p.everything)
	require.Empty(t, p.tables)
	require.True(t, p.covers(nil))
	p.add([]Change{rows("a")}, 5)
	require.Empty(t, p.tables)
	require.Equal(t, []string{"*"}, p.names())
}

func TestPendingMergesWithoutForgetting(t *testing.T) {
	var p, other pending
	p.add([]Change{rows("a")}, 10)
	other.add([]Change{rows("a"), {Table: "b"}}, 10)
	p.merge(other, 10)
	require.Len(t, p.tables["a"], 2)
	require.True(t, p.covers([]string{"x", "b"}))
	require.False(t, p.covers([]string{"x"}))
	require.Equal(t, 2, p.rows)
	p.merge(pending{everything: true}, 10)
	require.True(t, p.everything)
}

func TestTheBreakerLetsOneCallerThroughAtATime(t *testing.T) {
	now := time.Now()
	b := breaker{now: func() time.Time { return now }, probe: time.Second}
	require.True(t, b.allow())
	b.observe(io.EOF)
	b.observe(io.EOF)
	require.False(t, b.allow())
	now = now.Add(minPause)
	require.True(t, b.allow())
	require.False(t, b.allow(), "someone is trying")
	now = now.Add(time.Second)
	require.True(t, b.allow(), "the one before never came back")
	b.observe(io.EOF)
	now = now.Add(minPause)
	require.False(t, b.allow(), "the pause grows")
	for range 10 {
		now = now.Add(maxPause)
		require.True(t, b.allow())
		b.observe(io.EOF)
	}
	b.observe(errors.New("of unknown origin"))
	require.False(t, b.allow())
	b.observe(nil)
	require.True(t, b.allow())
	require.True(t, b.allow())
	b.observe(io.EOF)
	now = now.Add(minPause)
	require.True(t, b.allow(), "the pause starts small again")
}
