package store_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/cacheplugin/cacheplugin/conj"
	"github.com/cacheplugin/cacheplugin/internal/store"
)

// joinedTo returns a dependency on the rows of a table that the result shows,
// found by their ids.
func joinedTo(table string) store.Dependency {
	return store.Dependency{Table: table, Schemes: []conj.Scheme{byID}, Joined: true}
}

// ids returns the conjunctions of the rows of a table with some ids.
func ids(table string, ids ...string) []conj.Key {
	keys := []conj.Key{}
	for _, id := range ids {
		keys = append(keys, key(table, byID, id))
	}
	return keys
}

func saveJoined(t testing.TB, s *store.Store, l store.Lease, payload string, joined ...[]conj.Key) bool {
	t.Helper()
	stored, err := s.Save(context.Background(), l, []byte(payload), ttl, joined...)
	require.NoError(t, err)
	return stored
}

// requireMiss looks an entry up and leaves no trace.
func requireMiss(t testing.TB, s *store.Store, name string, deps ...store.Dependency) {
	t.Helper()
	l, err := s.Peek(context.Background(), entry(name), deps)
	require.NoError(t, err)
	require.Equal(t, store.Missing, l.State)
}

// requireKept looks an entry up and leaves no trace.
func requireKept(t testing.TB, s *store.Store, name, payload string, deps ...store.Dependency) {
	t.Helper()
	l, err := s.Peek(context.Background(), entry(name), deps)
	require.NoError(t, err)
	require.Equal(t, store.Hit, l.State)
	require.Equal(t, payload, string(l.Payload))
}

func TestAnEntryIsDroppedByItsJoinedRowsAndNoOthers(t *testing.T) {
	onEachInOneSlot(t, func(t *testing.T, b backend) {
		ns := newNamespace()
		s, writer := b.open(t, in(ns)), b.open(t, in(ns))
		deps := []store.Dependency{on("a", "1"), joinedTo("b"), joinedTo("c")}
		store := func() {
			require.True(t, saveJoined(t, s, lease(t, s, "q", deps...), "result", ids("b", "7", "8"), ids("c", "7")))
		}
		for _, change := range []struct {
			table string
			row   row
			kept  bool
		}{
			{"b", row{"9", "1"}, true}, {"c", row{"8", "1"}, true}, {"a", row{"7", "2"}, true},
			{"b", row{"7", "1"}, false}, {"b", row{"8", "1"}, false}, {"c", row{"7", "1"}, false}, {"a", row{"7", "1"}, false},
		} {
			if acquire(t, s, "q", deps...).State != 1 {
				require.NoError(t, s.Forget(t.Context(), entry("q")))
				store()
			}
			requireHit(t, s, "q", "result", deps...)
			invalidate(t, writer, changed(change.table, change.row))
			if change.kept {
				requireHit(t, s, "q", "result", deps...)
				requireKept(t, s, "q", "result", deps...)
			} else {
				requireMiss(t, s, "q", deps...)
			}
		}
	})
}

func TestAnEntryMayHaveNoJoinedRowsOrManyOrTheWholeTable(t *testing.T) {
	onEachInOneSlot(t, func(t *testing.T, b backend) {
		s := b.open(t)
		deps := []store.Dependency{on("a", "1"), joinedTo("b")}
		var many []string
		for i := range 2500 {
			many = append(many, fmt.Sprint(i))
		}
		for name, rows := range map[string][]conj.Key{"none": {}, "many": ids("b", many...), "whole": {key("b", whole)}} {
			require.True(t, saveJoined(t, s, lease(t, s, name, deps...), name, rows), name)
			requireHit(t, s, name, name, deps...)
		}
		invalidate(t, s, changed("b", row{"5000", "1"}))
		requireKept(t, s, "none", "none", deps...)
		requireKept(t, s, "many", "many", deps...)
		requireMiss(t, s, "whole", deps...)
		invalidate(t, s, changed("b", row{"2499", "1"}))
		requireKept(t, s, "none", "none", deps...)
		requireMiss(t, s, "many", deps...)
		invalidate(t, s, store.Change{Table: "b"})
		requireMiss(t, s, "none", deps...)
	})
}

func TestPayloadsOfJoinedEntriesAreBinarySafe(t *testing.T) {
	onEachInOneSlot(t, func(t *testing.T, b backend) {
		s := b.open(t)
		deps := []store.Dependency{on("a", "1"), joinedTo("b")}
		for name, payload := range map[string]string{"empty": "", "digits": "22:", "looks like an entry": "J3:a|b1:", "bytes": "\x00\xff|\n"} {
			for _, rows := range [][]conj.Key{{}, ids("b", "1")} {
				require.NoError(t, s.Forget(t.Context(), entry(name)))
				require.True(t, saveJoined(t, s, lease(t, s, name, deps...), payload, rows))
				requireHit(t, s, name, payload, deps...)
			}
		}
	})
}

// W writes any row of the joined table between R's look-up and R's Save,
// whether before R reads the database or after.
func TestAWriteToAJoinedTableBeforeTheSaveDropsTheLease(t *testing.T) {
	onEachInOneSlot(t, func(t *testing.T, b backend) {
		deps := []store.Dependency{on("a", "1"), joinedTo("b")}
		for name, change := range map[string]store.Change{
			"a joined row": changed("b", row{"7", "1"}), "a row that is not joined": changed("b", row{"8", "1"}), "the table": {Table: "b"},
		} {
			ns := newNamespace()
			s, writer := b.open(t, in(ns)), b.open(t, in(ns))
			fill(t, s, "other", "", on("b", "1"))
			invalidate(t, writer, changed("b", row{"1", "1"})) // the writer knows an older list of schemes
			late := lease(t, s, "q", deps...)
			invalidate(t, writer, change)
			lease(t, s, "another", deps...) // which registers the same again
			saveJoined(t, s, late, "old", ids("b", "7"))
			require.Equal(t, store.Leased, acquire(t, s, "q", deps...).State, name)
		}
	})
}

// W's invalidation finds a provisional conjunction that Redis has evicted.
func TestTheLossOfAProvisionalConjunctionLosesTheLease(t *testing.T) {
	onEachInOneSlot(t, func(t *testing.T, b backend) {
		s := b.open(t)
		deps := []store.Dependency{on("a", "1"), joinedTo("b")}
		for name, others := range map[string]func(){
			"nobody": func() {},
			// Others register the same conjunction again.
			"others": func() { lease(t, s, "other", deps...) },
		} {
			require.NoError(t, s.InvalidateAll(t.Context()))
			late := lease(t, s, "q", deps...)
			require.NoError(t, b.client.Del(t.Context(), s.ConjunctionName("b", key("b", whole))).Err())
			others()
			invalidate(t, s, changed("b", row{"7", "1"}))
			require.False(t, saveJoined(t, s, late, "old", ids("b", "7")), name)
			require.Equal(t, store.Leased, acquire(t, s, "q", deps...).State, name)
		}
	})
}

// The same, and nothing has been written: the reader can't know.
func TestALeaseWithoutItsProvisionalConjunctionIsRefused(t *testing.T) {
	onEachInOneSlot(t, func(t *testing.T, b backend) {
		s := b.open(t)
		deps := []store.Dependency{on("a", "1"), joinedTo("b")}
		late := lease(t, s, "q", deps...)
		require.NoError(t, b.client.Del(t.Context(), s.ConjunctionName("b", key("b", whole))).Err())
		lease(t, s, "other", deps...)
		require.False(t, saveJoined(t, s, late, "", ids("b", "7")))
	})
}

// Any key is lost after the entry was stored, and W's invalidation finds
// nothing there.
func TestTheLossOfAnyKeyOfAJoinedEntryOnlyMisses(t *testing.T) {
	onEachInOneSlot(t, func(t *testing.T, b backend) {
		deps := []store.Dependency{on("a", "1"), joinedTo("b")}
		lost := 0
		for i := range 8 {
			ns := newNamespace()
			s := b.open(t, in(ns))
			require.True(t, saveJoined(t, s, lease(t, s, "q", deps...), "old", ids("b", "7")))
			keys := keysOf(t, b.client, ns, "")
			if i >= len(keys) {
				continue
			}
			lost++
			require.NoError(t, b.client.Del(t.Context(), keys[i]).Err())
			// Others may register again what has been lost.
			require.True(t, saveJoined(t, s, lease(t, s, "other", deps...), "", ids("b", "7")))
			invalidate(t, s, changed("b", row{"7", "1"}))
			requireMiss(t, s, "q", deps...)
		}
		require.GreaterOrEqual(t, lost, 6)
	})
}

func TestALateDuplicateOfAJoinedSaveStoresNothing(t *testing.T) {
	onEachInOneSlot(t, func(t *testing.T, b backend) {
		s := b.open(t)
		deps := []store.Dependency{on("a", "1"), joinedTo("b")}
		first := lease(t, s, "q", deps...)
		require.True(t, saveJoined(t, s, first, "1", ids("b", "7")))
		require.False(t, saveJoined(t, s, first, "1", ids("b", "7")))
		requireHit(t, s, "q", "1", deps...)
		invalidate(t, s, changed("b", row{"7", "1"}))
		require.False(t, saveJoined(t, s, first, "1", ids("b", "7")))
		second := lease(t, s, "q", deps...)
		require.False(t, saveJoined(t, s, first, "1", ids("b", "7")))
		require.True(t, saveJoined(t, s, second, "2", ids("b", "8")))
		requireHit(t, s, "q", "2", deps...)
	})
}

// The network delivers R's look-up again, before and after R's Save.
func TestALateDuplicateOfALookUpWithJoinedRowsRevivesNothing(t *testing.T) {
	onEachInOneSlot(t, func(t *testing.T, b backend) {
		deps := []store.Dependency{on("a", "1"), joinedTo("b")}
		duplicate := func(s *store.Store) {
			undo := fixToken(s)
			acquire(t, s, "q", deps...)
			undo()
		}
		s := b.open(t)
		undo := fixToken(s)
		late := lease(t, s, "q", deps...)
		undo()
		invalidate(t, s, changed("b", row{"7", "1"}))
		duplicate(s)
		require.False(t, saveJoined(t, s, late, "old", ids("b", "7")))
		require.NotEqual(t, store.Hit, acquire(t, s, "q", deps...).State)

		s = b.open(t)
		undo = fixToken(s)
		late = lease(t, s, "q", deps...)
		undo()
		require.True(t, saveJoined(t, s, late, "old", ids("b", "7")))
		duplicate(s)
		requireHit(t, s, "q", "old", deps...)
		invalidate(t, s, changed("b", row{"7", "1"}))
		duplicate(s)
		require.NotEqual(t, store.Hit, acquire(t, s, "q", deps...).State)
	})
}

// A joined row's conjunction is dropped and made anew by others: the old entry
// must not become valid with it.
func TestAConjunctionOfJoinedRowsThatIsFilledAgainRevivesNothing(t *testing.T) {
	onEachInOneSlot(t, func(t *testing.T, b backend) {
		s := b.open(t)
		deps := []store.Dependency{on("a", "1"), joinedTo("b")}
		require.True(t, saveJoined(t, s, lease(t, s, "q", deps...), "old", ids("b", "7")))
		invalidate(t, s, changed("b", row{"7", "1"}))
		require.True(t, saveJoined(t, s, lease(t, s, "other", deps...), "new", ids("b", "7")))
		requireMiss(t, s, "q", deps...)
		requireHit(t, s, "other", "new", deps...)
	})
}

func TestSaveWantsTheRowsOfEveryJoinedTable(t *testing.T) {
	s := backend{client: realRedis(t)}.open(t)
	l := lease(t, s, "q", on("a", "1"), joinedTo("b"), joinedTo("c"))
	for _, joined := range [][][]conj.Key{nil, {ids("b", "7")}} {
		_, err := s.Save(t.Context(), l, nil, ttl, joined...)
		require.ErrorIs(t, err, store.ErrJoined)
	}
	require.True(t, saveJoined(t, s, l, "", ids("b", "7"), nil))
}

func TestTheConjunctionsOfJoinedRowsOutliveTheEntry(t *testing.T) {
	onEachInOneSlot(t, func(t *testing.T, b backend) {
		ns := newNamespace()
		s := b.open(t, in(ns))
		require.True(t, saveJoined(t, s, lease(t, s, "q", on("a", "1"), joinedTo("b")), "", ids("b", "7")))
		require.LessOrEqual(t, b.client.PTTL(t.Context(), s.EntryName(entry("q"))).Val(), ttl)
		for _, name := range append(keysOf(t, b.client, ns, "t"), keysOf(t, b.client, ns, "c")...) {
			require.Greater(t, b.client.PTTL(t.Context(), name).Val(), ttl, name)
		}
	})
}

func TestGarbageForAJoinedEntryOnlyMisses(t *testing.T) {
	onEachInOneSlot(t, func(t *testing.T, b backend) {
		s := b.open(t)
		deps := []store.Dependency{on("a", "1"), joinedTo("b")}
		front := strings.Repeat("v", store.WitnessAt-1)
		for i, text := range []string{"", ":", "5:", "5:a|b", "3:a|b", "3:a|b:", "3:a|b2:aaaa", "3:a|b99999999999999999999:", "99999999999999999999:x", "3:a|b1:0123456789012345678901payload"} {
			text = "J" + front + text
			name := fmt.Sprint(i)
			lease(t, s, "other", deps...)
			require.NoError(t, s.Forget(t.Context(), entry("other")))
			require.NoError(t, b.client.Set(t.Context(), s.EntryName(entry(name)), text, time.Minute).Err())
			requireMiss(t, s, name, deps...)
			require.True(t, saveJoined(t, s, lease(t, s, name, deps...), "new", ids("b", "7")), text)
			requireHit(t, s, name, "new", deps...)
		}
		for _, spoil := range []func(key string) error{
			func(key string) error { return b.client.RPush(t.Context(), key, "x").Err() },
			func(key string) error { return b.client.Set(t.Context(), key, "x", 0).Err() },
			func(key string) error { return b.client.SAdd(t.Context(), key, "x").Err() },
			func(key string) error { return b.client.HSet(t.Context(), key, "x", "y").Err() },
		} {
			for _, k := range []conj.Key{key("b", whole), key("b", byID, "7")} {
				require.NoError(t, s.InvalidateAll(t.Context()))
				late := lease(t, s, "late", deps...)
				require.True(t, saveJoined(t, s, lease(t, s, "q", deps...), "old", ids("b", "7")))
				require.NoError(t, b.client.Del(t.Context(), s.ConjunctionName("b", k)).Err())
				require.NoError(t, spoil(s.ConjunctionName("b", k)))
				saveJoined(t, s, late, "old", ids("b", "7"))
				invalidate(t, s, changed("b", row{"7", "1"}))
				requireMiss(t, s, "q", deps...)
				requireMiss(t, s, "late", deps...)
			}
		}
	})
}

// Two processes take different tables for joined, one of them having seen an
// older definition. What an entry names must not pass for what the other one
// asks.
func TestAnEntryAnswersOnlyThoseWhoJoinTheSameTables(t *testing.T) {
	onEachInOneSlot(t, func(t *testing.T, b backend) {
		one := []store.Dependency{on("a", "1"), joinedTo("b"), dependency("c", whole)}
		two := []store.Dependency{on("a", "1"), joinedTo("b"), joinedTo("c")}
		s := b.open(t)
		require.True(t, saveJoined(t, s, lease(t, s, "one", one...), "1", ids("b", "7")))
		require.True(t, saveJoined(t, s, lease(t, s, "two", two...), "2", ids("b", "7"), ids("c", "7")))
		requireKept(t, s, "one", "1", one...)
		requireKept(t, s, "two", "2", two...)
		requireMiss(t, s, "one", two...)
		requireMiss(t, s, "two", one...)
	})
}

func TestModesThatAreMixedDropEachOthersJoinedEntries(t *testing.T) {
	t.Parallel()
	deps := []store.Dependency{on("a", "1"), joinedTo("b")}
	for _, mode := range inOneSlot {
		b := backend{client: realRedis(t), mode: mode}
		ns := newNamespace()
		s := b.open(t, in(ns))
		b.mode.Mode = store.ConjunctionSets + store.InsideOut - mode.Mode
		other := b.open(t, in(ns))
		require.True(t, saveJoined(t, s, lease(t, s, "q", deps...), "old", ids("b", "7")))
		late := lease(t, s, "late", deps...)
		invalidate(t, other, changed("b", row{"7", "1"}))
		saveJoined(t, s, late, "old", ids("b", "7"))
		for _, reader := range []*store.Store{s, other} {
			requireMiss(t, reader, "q", deps...)
			requireMiss(t, reader, "late", deps...)
		}
	}
}

// between calls a function between the commands of a pipeline, which it sends
// one by one and in the opposite order: a server that did not know the script
// at first has them sent again.
type between struct {
	client redis.UniversalClient
	f      func()
}

func (b between) DialHook(next redis.DialHook) redis.DialHook          { return next }
func (b between) ProcessHook(next redis.ProcessHook) redis.ProcessHook { return next }
func (b between) ProcessPipelineHook(redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		for i := len(cmds) - 1; i >= 0; i-- {
			_ = b.client.Process(ctx, cmds[i])
			b.f()
		}
		return nil
	}
}

// R stores between two calls of an invalidation that takes several. Not beside tests
// that have the server forget its scripts: there would be more calls.
func TestASaveBetweenTheCallsOfAnInvalidationIsRefusedOrDropped(t *testing.T) {
	for _, mode := range modes {
		b := backend{client: realRedis(t), mode: mode}
		ns := newNamespace()
		reader := b.open(t, in(ns))
		deps := []store.Dependency{on("a", "1"), joinedTo("b")}
		var rows []row
		for i := range 1250 {
			rows = append(rows, row{fmt.Sprint(i), "1"})
		}
		for _, joined := range []string{"0", "600", "1249"} {
			var late []store.Lease
			for i := range 10 {
				late = append(late, lease(t, reader, joined+fmt.Sprint(i), deps...))
			}
			client := redis.NewClient(&redis.Options{Addr: b.client.(*redis.Client).Options().Addr, PipelinePoolSize: -1})
			calls := 0
			client.AddHook(between{b.client, func() {
				saveJoined(t, reader, late[calls], "old", ids("b", joined))
				calls++
			}})
			writer := backend{client: client, mode: mode}.open(t, in(ns))
			invalidate(t, writer, changed("b", rows...))
			require.NoError(t, client.Close())
			require.GreaterOrEqual(t, calls, 3)
			for i := range 10 {
				requireMiss(t, reader, joined+fmt.Sprint(i), deps...)
			}
		}
	}
}
