package store_test

import (
	"testing"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/cacheplugin/cacheplugin/conj"
	"github.com/cacheplugin/cacheplugin/internal/store"
)

func revalidate(t *testing.T, s *store.Store, name, have string, deps ...store.Dependency) store.Lookup {
	t.Helper()
	l, err := s.Revalidate(t.Context(), entry(name), deps, ttl, have)
	require.NoError(t, err)
	return l
}

func TestAVersionThatIsKeptNeedNotTravelAgain(t *testing.T) {
	onEach(t, func(t *testing.T, b backend) {
		s := b.open(t)
		taken := lease(t, s, "q", on("a", "1"))
		require.True(t, save(t, s, taken, "payload"))

		hit := acquire(t, s, "q", on("a", "1"))
		require.Equal(t, store.Lookup{State: store.Hit, Payload: []byte("payload"), Version: taken.Version(), Lease: hit.Lease}, hit)
		require.Equal(t, store.Unchanged, revalidate(t, s, "q", hit.Version, on("a", "1")).State)
		require.Equal(t, store.Hit, revalidate(t, s, "q", "another version       ", on("a", "1")).State)
		require.Equal(t, store.Hit, revalidate(t, s, "q", hit.Version[:21], on("a", "1")).State)
		peeked, err := s.Peek(t.Context(), entry("q"), []store.Dependency{on("a", "1")})
		require.NoError(t, err)
		require.Equal(t, hit.Version, peeked.Version)

		invalidate(t, s, changed("a", row{"1", "1"}))
		require.Equal(t, store.Leased, revalidate(t, s, "q", hit.Version, on("a", "1")).State)
		require.Equal(t, store.Busy, revalidate(t, s, "q", hit.Version, on("a", "1")).State)
	})
}

func TestAnEntryThatIsStoredAnewHasAnotherVersion(t *testing.T) {
	onEach(t, func(t *testing.T, b backend) {
		s := b.open(t)
		fill(t, s, "q", "old", on("a", "1"))
		old := acquire(t, s, "q", on("a", "1"))
		witness := func() string {
			text, err := b.client.Get(t.Context(), s.EntryName(entry("q"))).Result()
			require.NoError(t, err)
			return text[store.WitnessAt : len(text)-len("old")]
		}
		before := witness()
		// Dropped by itself, as an eviction does, it gets the same witness again.
		require.NoError(t, s.Forget(t.Context(), entry("q")))
		fill(t, s, "q", "new", on("a", "1"))
		require.Equal(t, before, witness())
		now := revalidate(t, s, "q", old.Version, on("a", "1"))
		require.Equal(t, store.Hit, now.State)
		require.Equal(t, "new", string(now.Payload))
	})
}

func TestTheVersionOfAJoinedEntry(t *testing.T) {
	onEachInOneSlot(t, func(t *testing.T, b backend) {
		s := b.open(t)
		deps := []store.Dependency{on("a", "1"), joinedTo("b")}
		for name, rows := range map[string][]conj.Key{"none": {}, "two": ids("b", "7", "8")} {
			taken := lease(t, s, name, deps...)
			require.True(t, saveJoined(t, s, taken, "payload", rows))
			hit := acquire(t, s, name, deps...)
			require.Equal(t, "payload", string(hit.Payload))
			require.Equal(t, taken.Version(), hit.Version)
			require.Equal(t, store.Unchanged, revalidate(t, s, name, hit.Version, deps...).State)
		}
		kept := acquire(t, s, "two", deps...).Version
		invalidate(t, s, changed("b", row{"8", "1"}))
		require.Equal(t, store.Leased, revalidate(t, s, "two", kept, deps...).State)
	})
}

// What is laid out in another way is of an older release, under another key; should one
// be met all the same, it is a miss and never a wrong payload.
func TestAnEntryOfAnotherLayoutOnlyMisses(t *testing.T) {
	onEach(t, func(t *testing.T, b backend) {
		for name, layout := range map[string]func(kind, version, sum, witness, payload string) string{
			"the version last":   func(kind, version, _, witness, payload string) string { return kind + witness + version + payload },
			"without a version":  func(kind, _, sum, witness, payload string) string { return kind + sum + witness + payload },
			"without a sum":      func(kind, version, _, witness, payload string) string { return kind + version + witness + payload },
			"without a witness":  func(kind, version, sum, _, payload string) string { return kind + version + sum + payload },
			"a version alone":    func(kind, version, _, _, _ string) string { return kind + version },
			"a version, cut off": func(kind, version, _, _, _ string) string { return kind + version[:21] },
		} {
			s := b.open(t)
			fill(t, s, "q", "payload", on("a", "1"))
			version := acquire(t, s, "q", on("a", "1")).Version
			key := s.EntryName(entry("q"))
			text, err := b.client.Get(t.Context(), key).Result()
			require.NoError(t, err)
			text = layout(text[:1], version, text[1+len(version):store.WitnessAt], text[store.WitnessAt:len(text)-len("payload")], "payload")
			require.NoError(t, b.client.Set(t.Context(), key, text, redis.KeepTTL).Err())
			require.Equal(t, store.Leased, revalidate(t, s, "q", version, on("a", "1")).State, name)
		}
	})
}
