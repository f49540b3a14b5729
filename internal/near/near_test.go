package near_test

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cacheplugin/cacheplugin/conj"
	"github.com/cacheplugin/cacheplugin/internal/near"
	"github.com/cacheplugin/cacheplugin/internal/store"
	"github.com/cacheplugin/cacheplugin/internal/testenv"
)

func TestMain(m *testing.M) { testenv.Main(m) }

var byID = conj.MakeScheme([]string{"id"})

func id(table, value string) conj.Key {
	return conj.MakeKey(table, byID, []conj.Value{conj.Value(value)})
}

// on is a dependency on rows of a table by their ids.
func on(table string, ids ...string) store.Dependency {
	d := store.Dependency{Table: table, Schemes: []conj.Scheme{byID}}
	for _, v := range ids {
		d.Keys = append(d.Keys, id(table, v))
	}
	return d
}

// changed is a write to rows of a table.
func changed(table string, ids ...string) store.Change {
	return store.Change{Table: table, Keys: func(schemes []conj.Scheme) (keys []conj.Key, ok bool) {
		for _, s := range schemes {
			if s != byID {
				return nil, false
			}
			for _, v := range ids {
				keys = append(keys, id(table, v))
			}
		}
		return keys, true
	}}
}

func entry(s string) store.EntryKey {
	var k store.EntryKey
	copy(k[:], s)
	return k
}

// clock is a time that a test sets.
type clock struct{ at time.Time }

func (c *clock) now() time.Time { return c.at }

type fixture struct {
	*near.Cache
	*near.Space
	clock *clock
}

func newFixture(t *testing.T, maxBytes int64) *fixture {
	f := &fixture{clock: &clock{at: time.Now()}}
	var err error
	f.Cache, err = near.New(near.Options{MaxBytes: maxBytes, Now: f.clock.now})
	require.NoError(t, err)
	f.Space = f.Cache.Space()
	return f
}

// put keeps a result.
func (f *fixture) put(name string, deps ...store.Dependency) {
	f.Put(f.Mark(deps), entry(name), near.Result{
		Payload: []byte(name), Version: "v-" + name, Dependencies: deps, Valid: f.clock.at, Life: time.Hour,
	})
}

func (f *fixture) fresh(name string) bool {
	e, ok := f.Get(entry(name))
	return ok && e.Fresh(time.Minute)
}

func (f *fixture) kept(name string) bool {
	_, ok := f.Get(entry(name))
	return ok
}

func TestAResultIsKeptAsLongAsRedisMayHaveIt(t *testing.T) {
	f := newFixture(t, 0)
	f.put("q", on("a", "1"))
	e, ok := f.Get(entry("q"))
	require.True(t, ok)
	require.Equal(t, "q", string(e.Payload()))
	require.Equal(t, "v-q", e.Version())
	require.True(t, e.Fresh(time.Minute))
	f.clock.at = f.clock.at.Add(time.Minute)
	require.True(t, f.kept("q"))
	require.False(t, f.fresh("q"))
	require.True(t, e.Fresh(time.Hour), "for one who accepts more")

	f.Confirm(f.Mark([]store.Dependency{on("a")}), e, f.clock.at)
	require.True(t, f.fresh("q"), "Redis has confirmed it")
	f.clock.at = f.clock.at.Add(time.Hour)
	require.False(t, f.kept("q"))
	require.Zero(t, f.Len(), "and it takes up no memory")
}

func TestADropReachesWhatDependsOnIt(t *testing.T) {
	all := []string{"a1", "a1 and a2", "a2", "b1", "a1 with rows of b", "no rows of a"}
	for name, c := range map[string]struct {
		drop func(f *fixture)
		want []string
	}{
		"an own write":         {func(f *fixture) { f.Drop(changed("a", "1")) }, []string{"a1", "a1 and a2", "a1 with rows of b"}},
		"an own write to rows": {func(f *fixture) { f.Drop(changed("b", "7")) }, []string{"a1 with rows of b"}},
		"a table":              {func(f *fixture) { f.Drop(store.Change{Table: "a"}) }, []string{"a1", "a1 and a2", "a2", "a1 with rows of b", "no rows of a"}},
		"a write of which the keys can't be told": {func(f *fixture) {
			f.Drop(store.Change{Table: "b", Keys: func([]conj.Scheme) ([]conj.Key, bool) { return nil, false }})
		}, []string{"b1", "a1 with rows of b"}},
		"a write without keys":    {func(f *fixture) { f.Drop(store.Change{Table: "b"}) }, []string{"b1", "a1 with rows of b"}},
		"another table":           {func(f *fixture) { f.Drop(store.Change{Table: "c"}, changed("d", "1")) }, nil},
		"a notice":                {func(f *fixture) { f.Apply(store.Notice{Table: "a", Keys: []conj.Key{id("a", "2")}}) }, []string{"a1 and a2", "a2"}},
		"a notice of rows":        {func(f *fixture) { f.Apply(store.Notice{Table: "b", Keys: []conj.Key{id("b", "7")}}) }, []string{"a1 with rows of b"}},
		"a notice of a table":     {func(f *fixture) { f.Apply(store.Notice{Table: "b"}) }, []string{"b1", "a1 with rows of b"}},
		"a notice of everything":  {func(f *fixture) { f.Apply(store.Notice{}) }, all},
		"a notice of no interest": {func(f *fixture) { f.Apply(store.Notice{Table: "x", Keys: []conj.Key{{}}}) }, nil},
		"everything":              {func(f *fixture) { f.Clear() }, all},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t, 0)
			other := &fixture{Cache: f.Cache, Space: f.Cache.Space(), clock: f.clock}
			for _, g := range []*fixture{f, other} {
				g.put("a1", on("a", "1"))
				g.put("a1 and a2", on("a", "1", "2"))
				g.put("a2", on("a", "2"))
				g.put("b1", on("b", "1"))
				g.put("a1 with rows of b", on("a", "1"), store.Dependency{Table: "b", Schemes: []conj.Scheme{byID}, Joined: true})
				g.put("no rows of a", store.Dependency{Table: "a"})
			}
			c.drop(f)
			var dropped []string
			for _, name := range all {
				if !f.kept(name) {
					dropped = append(dropped, name)
				}
				require.True(t, other.fresh(name), "another namespace is left alone")
			}
			require.ElementsMatch(t, c.want, dropped)
		})
	}
}

// A result that is read while something is dropped may be from before it.
func TestAResultThatIsReadOverADropIsNotFresh(t *testing.T) {
	for name, drop := range map[string]func(f *fixture){
		"of the row": func(f *fixture) { f.Drop(changed("a", "1")) }, "of the table": func(f *fixture) { f.Drop(store.Change{Table: "a"}) },
		"of everything": func(f *fixture) { f.Clear() }, "by a notice": func(f *fixture) { f.Apply(store.Notice{Table: "a", Keys: []conj.Key{id("a", "1")}}) },
		"that may have been missed": func(f *fixture) { f.Demote() },
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t, 0)
			deps := []store.Dependency{on("a", "1")}
			result := near.Result{Payload: []byte("old"), Version: "v", Dependencies: deps, Valid: f.clock.at, Life: time.Hour}
			mark := f.Mark(deps)
			drop(f)
			f.Put(mark, entry("q"), result)
			e, ok := f.Get(entry("q"))
			require.True(t, ok, "Redis may confirm it")
			require.False(t, e.Fresh(time.Minute))

			mark = f.Mark(deps)
			f.Put(mark, entry("q"), result)
			e, _ = f.Get(entry("q"))
			require.True(t, e.Fresh(time.Minute))
			mark = f.Mark(deps)
			drop(f)
			f.Confirm(mark, e, f.clock.at)
			require.False(t, e.Fresh(time.Minute), "and so is what was confirmed over it")
		})
	}
}

func TestWhatMayHaveBeenMissedEndsFreshnessOnly(t *testing.T) {
	f := newFixture(t, 0)
	f.put("q", on("a", "1"))
	f.Demote()
	require.True(t, f.kept("q"))
	require.False(t, f.fresh("q"))
}

func TestMemoryIsBounded(t *testing.T) {
	const bound = 256 << 10
	f := newFixture(t, bound)
	payload := make([]byte, 4<<10)
	for i := range 1000 {
		deps := []store.Dependency{on("a", fmt.Sprint(i), "any"), on("b", fmt.Sprint(i))}
		f.Put(f.Mark(deps), entry(fmt.Sprint(i)), near.Result{
			Payload: payload, Version: "v", Dependencies: deps, Valid: f.clock.at, Life: time.Hour,
		})
	}
	require.LessOrEqual(t, f.Bytes(), int64(bound))
	require.InDelta(t, bound/(4<<10), f.Len(), bound/(8<<10), "it is used")
	require.Equal(t, f.Len(), near.Indexed(f.Space), "what gives way leaves the index, too")

	f.Put(f.Mark(nil), entry("larger than all"), near.Result{Payload: make([]byte, bound), Version: "v", Valid: f.clock.at, Life: time.Hour})
	require.False(t, f.kept("larger than all"))
	f.Clear()
	require.Zero(t, f.Len())
	require.Zero(t, near.Indexed(f.Space))
}

func TestConfigurationOfMemory(t *testing.T) {
	_, err := near.New(near.Options{MaxBytes: -1})
	require.ErrorContains(t, err, "MaxBytes")
}

// Whoever reads, writes and is told at the same time: what a writer has dropped is
// never found fresh with the payload of before.
func TestNothingIsFreshThatWasReadBeforeADrop(t *testing.T) {
	c, err := near.New(near.Options{MaxBytes: 64 << 10})
	require.NoError(t, err)
	space := c.Space()
	deps := []store.Dependency{on("a", "1")}
	var redis struct { // what Redis would answer
		sync.Mutex
		value byte
	}
	read := func() byte {
		redis.Lock()
		defer redis.Unlock()
		return redis.value
	}
	var wait sync.WaitGroup
	for worker := range 4 {
		wait.Go(func() {
			for i := range 3000 {
				switch {
				case worker == 0 && i%4 == 0: // the only writer
					redis.Lock()
					redis.value++
					now := redis.value
					redis.Unlock()
					space.Drop(changed("a", "1"))
					if e, ok := space.Get(entry("q")); ok && e.Fresh(time.Minute) && e.Payload()[0] != now {
						t.Errorf("%d is fresh after %d was written", e.Payload()[0], now)
						return
					}
				case worker == 1 && i%64 == 0:
					space.Demote()
				default:
					mark := space.Mark(deps)
					payload := []byte{read(), 255: 0}
					name := entry("q")
					if i%8 == 0 {
						name = entry(fmt.Sprint(i)) // others have to give way
					}
					space.Put(mark, name, near.Result{
						Payload: payload, Version: "v", Dependencies: deps, Valid: time.Now(), Life: time.Hour,
					})
				}
			}
		})
	}
	wait.Wait()
	require.Equal(t, c.Len(), near.Indexed(space))
}
