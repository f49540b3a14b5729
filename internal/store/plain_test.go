package store_test

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/cacheplugin/cacheplugin/conj"
	"github.com/cacheplugin/cacheplugin/internal/store"
)

// onEachIdentified runs a test in each mode on a server whose commands are
// counted.
func onEachIdentified(t *testing.T, test func(t *testing.T, b backend)) {
	t.Helper()
	t.Parallel()
	for _, mode := range inOneSlot {
		if mode.identified {
			t.Run(mode.String(), func(t *testing.T) {
				t.Parallel()
				test(t, backend{client: newRealServer(t).Client(t), mode: mode})
			})
		}
	}
}

// scripts returns how many scripts a server has run.
func scripts(t *testing.T, b backend) int {
	t.Helper()
	return calls(t, b.client, "eval", "evalsha")
}

// calls returns how often a server was sent the commands, also by those who may not.
func calls(t *testing.T, client redis.UniversalClient, commands ...string) (n int) {
	t.Helper()
	for line := range strings.Lines(client.Info(t.Context(), "commandstats").Val()) {
		name, stats, _ := strings.Cut(strings.TrimSpace(line), ":")
		if !slices.Contains(commands, strings.TrimPrefix(name, "cmdstat_")) {
			continue
		}
		for field := range strings.SplitSeq(stats, ",") {
			if what, count, _ := strings.Cut(field, "="); what == "calls" || what == "rejected_calls" {
				c, err := strconv.Atoi(count)
				require.NoError(t, err)
				n += c
			}
		}
	}
	return n
}

// A set that has lost an entry and names it again names the lease that has taken
// its place. Who read the entry before would take it for valid.
func TestThePlainReadsEndWithTheEntry(t *testing.T) {
	onEachIdentified(t, func(t *testing.T, b backend) {
		s := b.open(t)
		reads := store.PlainReads(s, entry("q"), []store.Dependency{on("a", "1"), on("b", "1")})
		require.Contains(t, reads[len(reads)-1], s.EntryName(entry("q")))
		for _, words := range reads[:len(reads)-1] {
			require.NotContains(t, words, s.EntryName(entry("q")))
		}
	})
}

func TestAHitOfAnIdentifiedConnectionRunsNoScript(t *testing.T) {
	onEachIdentified(t, func(t *testing.T, b backend) {
		many := store.Dependency{Table: "a", Schemes: []conj.Scheme{byGroup}}
		for i := range 60 { // whose witness is kept as its digest
			many.Keys = append(many.Keys, key("a", byGroup, fmt.Sprint(i)))
		}
		for name, deps := range map[string][]store.Dependency{
			"one": {on("a", "1")}, "two tables": {on("a", "1"), on("b", "1")}, "many": {many},
		} {
			s := b.open(t)
			fill(t, s, "q", "x", deps...)
			before := scripts(t, b)
			requireHit(t, s, "q", "x", deps...)
			l, err := s.Peek(t.Context(), entry("q"), deps)
			require.NoError(t, err)
			require.Equal(t, "x", string(l.Payload), name)
			kept, err := s.Revalidate(t.Context(), entry("q"), deps, ttl, l.Version)
			require.NoError(t, err)
			require.Equal(t, store.Unchanged, kept.State, name)
			require.Equal(t, before, scripts(t, b), name)

			l, err = s.Revalidate(t.Context(), entry("q"), deps, ttl, strings.Repeat("v", len(l.Version)))
			require.NoError(t, err)
			require.Equal(t, "x", string(l.Payload), name)
			invalidate(t, s, store.Change{Table: "a"})
			require.Equal(t, store.Leased, acquire(t, s, "q", deps...).State, name)
		}
	})
}

// What is not a hit, and what only a script can tell, is looked up by one.
func TestWhatPlainReadsCantTellIsLookedUpByTheScript(t *testing.T) {
	onEachIdentified(t, func(t *testing.T, b backend) {
		ctx := t.Context()
		s := b.open(t)
		joined := []store.Dependency{on("a", "1"), joinedTo("b")}
		require.True(t, saveJoined(t, s, lease(t, s, "joined", joined...), "x", []conj.Key{key("b", byID, "1")}))
		many := store.Dependency{Table: "a", Schemes: []conj.Scheme{byGroup}}
		for i := range 65 {
			many.Keys = append(many.Keys, key("a", byGroup, fmt.Sprint(i)))
		}
		fill(t, s, "many", "x", many)
		for name, deps := range map[string][]store.Dependency{"joined": joined, "many": {many}} {
			before := scripts(t, b)
			requireHit(t, s, name, "x", deps...)
			require.Equal(t, before+1, scripts(t, b), name)
		}

		// Keys of other types, and entries that are damaged.
		for name, spoil := range map[string]struct {
			key  func(s *store.Store) string
			text string // empty: of another type
		}{
			"the entry's type":       {func(s *store.Store) string { return s.EntryName(entry("q")) }, ""},
			"no entry of ours":       {func(s *store.Store) string { return s.EntryName(entry("q")) }, "V"},
			"the table's type":       {func(s *store.Store) string { return s.TableName("a") }, ""},
			"the conjunction's type": {func(s *store.Store) string { return s.ConjunctionName("a", key("a", byGroup, "1")) }, ""},
			"the epoch's type":       {func(s *store.Store) string { return store.EpochName(s, entry("q")) }, ""},
			"an epoch of nobody":     {func(s *store.Store) string { return store.EpochName(s, entry("q")) }, ":x"},
		} {
			s := b.open(t)
			fill(t, s, "q", "old", on("a", "1"))
			k := spoil.key(s)
			require.NoError(t, b.client.Del(ctx, k).Err())
			if spoil.text == "" {
				require.NoError(t, b.client.LPush(ctx, k, "x").Err())
			} else {
				require.NoError(t, b.client.Set(ctx, k, spoil.text, 0).Err())
			}
			require.Equal(t, store.Leased, acquire(t, s, "q", on("a", "1")).State, name)
			require.NoError(t, b.client.Del(ctx, k).Err())
		}
	})
}
