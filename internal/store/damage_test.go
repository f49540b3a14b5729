package store_test

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"testing"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/cacheplugin/cacheplugin/internal/store"
	"github.com/cacheplugin/cacheplugin/internal/testenv"
)

func rawOf(t testing.TB, client redis.UniversalClient, s *store.Store, name string) string {
	t.Helper()
	text, err := client.Get(t.Context(), s.EntryName(entry(name))).Result()
	require.NoError(t, err)
	return text
}

func TestAnotherKeysValueIsNotServed(t *testing.T) {
	onEach(t, func(t *testing.T, b backend) {
		s := b.open(t)
		deps := []store.Dependency{on("a", "1")}
		fill(t, s, "mine", "my rows", deps...)
		fill(t, s, "yours", "your rows", deps...)
		mine := rawOf(t, b.client, s, "mine")
		require.NoError(t, b.client.Set(t.Context(), s.EntryName(entry("yours")), mine, redis.KeepTTL).Err())
		l, err := s.Acquire(t.Context(), entry("yours"), deps, ttl)
		if b.mode.Mode == store.ConjunctionSets || b.mode.spread {
			// Its set doesn't vouch for it, nor does the epoch of another shard.
			require.NoError(t, err)
			require.Equal(t, store.Leased, l.State)
			return
		}
		require.ErrorIs(t, err, store.ErrDamaged)
		require.ErrorContains(t, err, s.EntryName(entry("yours")))
		require.Zero(t, exists(t, b.client, s.EntryName(entry("yours"))), "it is dropped")
		fill(t, s, "yours", "your rows", deps...)
		requireHit(t, s, "mine", "my rows", deps...)
	})
}

// Of each bit (in a short run one of each byte), each length, and a byte more.
func TestEveryAlterationOfAValueIsRefused(t *testing.T) {
	t.Parallel()
	for _, mode := range modes {
		t.Run(mode.String(), func(t *testing.T) {
			t.Parallel()
			client := realRedis(t)
			s := backend{client: client, mode: mode}.open(t)
			deps := []store.Dependency{on("a", "1")}
			fill(t, s, "q", "the payload", deps...)
			key, intact := s.EntryName(entry("q")), rawOf(t, client, s, "q")
			altered := []string{intact + "\x00"}
			for n := range len(intact) {
				altered = append(altered, intact[:n])
			}
			for i := range intact {
				for bit := range testenv.Times(8, 1) {
					text := []byte(intact)
					text[i] ^= 1 << ((i + bit) % 8)
					altered = append(altered, string(text))
				}
			}
			for _, text := range altered {
				require.NoError(t, client.Set(t.Context(), key, text, ttl).Err())
				l, err := s.Peek(t.Context(), entry("q"), deps)
				if err != nil {
					require.ErrorIs(t, err, store.ErrDamaged, "%q", text)
					continue
				}
				require.Equal(t, store.Missing, l.State, "%q", text)
			}
			require.NoError(t, client.Set(t.Context(), key, intact, ttl).Err())
			requireHit(t, s, "q", "the payload", deps...)
		})
	}
}

// The sets and stamps vouch for the entry of the lease that they know, not for one
// that had the same key before.
func TestAnOldDumpUnderItsOwnKeyIsNotServed(t *testing.T) {
	t.Parallel()
	for _, mode := range modes {
		t.Run(mode.String(), func(t *testing.T) {
			t.Parallel()
			client := realRedis(t)
			s := backend{client: client, mode: mode}.open(t)
			deps := []store.Dependency{on("a", "1")}
			key := s.EntryName(entry("q"))
			old := map[string]string{}
			lease := lease(t, s, "q", deps...)
			old["lease"] = client.Dump(t.Context(), key).Val()
			require.True(t, save(t, s, lease, "old"))
			old["result"] = client.Dump(t.Context(), key).Val()
			invalidate(t, s, changed("a", row{"1", "1"}))
			fill(t, s, "q", "new", deps...)
			version := acquire(t, s, "q", deps...).Version

			for name, dump := range old {
				require.NoError(t, client.RestoreReplace(t.Context(), key, ttl, dump).Err())
				if name == "lease" {
					save(t, s, lease, "old") // by one who has read before the write
				}
				require.Equal(t, store.Missing, peek(t, s, "q", deps...).State, name)
				require.Equal(t, store.Leased, revalidate(t, s, "q", version, deps...).State, name)
			}
		})
	}
}

func peek(t testing.TB, s *store.Store, name string, deps ...store.Dependency) store.Lookup {
	t.Helper()
	l, err := s.Peek(t.Context(), entry(name), deps)
	require.NoError(t, err)
	return l
}

// TestDamage mutates what is stored: bits flipped, cut off, extended, swapped
// between keys, spliced of two values, and values of earlier leases, which
// invalidations have dropped. A look-up may miss, or say that the entry is damaged;
// it must never answer with anything but what was stored last.
//
// CACHEPLUGIN_MUTATIONS sets how many there are, of all modes together.
func TestDamage(t *testing.T) {
	t.Parallel()
	mutations := testenv.Times(4000, 1000)
	if text := os.Getenv("CACHEPLUGIN_MUTATIONS"); text != "" {
		var err error
		mutations, err = strconv.Atoi(text)
		require.NoError(t, err)
	}
	for _, mode := range modes {
		t.Run(mode.String(), func(t *testing.T) {
			t.Parallel()
			d := newDamage(t, backend{client: realRedis(t), mode: mode}, rand.New(rand.NewPCG(1, uint64(len(mode.String())))))
			for range mutations / len(modes) {
				d.mutate(t)
			}
			t.Logf("%d misses, %d damaged, %d right answers", d.misses, d.damaged, d.hits)
			require.Positive(t, d.misses)
			require.Positive(t, d.damaged)
		})
	}
}

// damage is some entries, whose values are known, and values that they had before.
type damage struct {
	client  redis.UniversalClient
	store   *store.Store
	random  *rand.Rand
	names   []string
	deps    map[string][]store.Dependency
	payload map[string]string
	kept    map[string]store.Lookup // by those who validate it
	raw     []string                // of any time and key

	misses, damaged, hits int
}

func newDamage(t *testing.T, b backend, random *rand.Rand) *damage {
	d := &damage{
		client: b.client, store: b.open(t), random: random,
		deps: map[string][]store.Dependency{}, payload: map[string]string{}, kept: map[string]store.Lookup{},
	}
	for i := range 6 {
		name := fmt.Sprint("q", i)
		d.names = append(d.names, name)
		d.deps[name] = []store.Dependency{on("a", fmt.Sprint(i%2))}
		if i >= 4 {
			d.deps[name] = append(d.deps[name], joinedTo("b"))
		}
		d.write(name)
		d.fill(t, name)
	}
	return d
}

// write gives a query another result.
func (d *damage) write(name string) {
	payload := make([]byte, d.random.IntN(64))
	for i := range payload {
		payload[i] = byte(d.random.UintN(256))
	}
	d.payload[name] = string(payload)
}

// fill stores the result of a query.
func (d *damage) fill(t *testing.T, name string) {
	payload := d.payload[name]
	l, err := d.store.Acquire(t.Context(), entry(name), d.deps[name], ttl)
	if errors.Is(err, store.ErrDamaged) {
		l, err = d.store.Acquire(t.Context(), entry(name), d.deps[name], ttl)
	}
	require.NoError(t, err)
	if l.State == store.Busy { // a lease that a mutation has brought back
		require.NoError(t, d.store.Forget(t.Context(), entry(name)))
		l, err = d.store.Acquire(t.Context(), entry(name), d.deps[name], ttl)
		require.NoError(t, err)
	}
	require.Equal(t, store.Leased, l.State)
	d.raw = append(d.raw, rawOf(t, d.client, d.store, name))
	if len(d.deps[name]) == 2 {
		require.True(t, saveJoined(t, d.store, l.Lease, payload, ids("b", "7", "8")))
	} else {
		require.True(t, save(t, d.store, l.Lease, payload))
	}
	d.raw = append(d.raw, rawOf(t, d.client, d.store, name))
	d.raw = d.raw[max(0, len(d.raw)-200):]
	d.kept[name] = store.Lookup{State: store.Hit, Payload: []byte(payload), Version: l.Lease.Version()}
}

// mutate damages one value, looks it up, and repairs it.
func (d *damage) mutate(t *testing.T) {
	name := d.names[d.random.IntN(len(d.names))]
	if d.random.IntN(8) == 0 { // what was stored until now is old
		invalidate(t, d.store, changed("a", row{"1", "0"}, row{"1", "1"}))
		for _, name := range d.names {
			d.write(name)
			d.fill(t, name)
		}
	}
	was := rawOf(t, d.client, d.store, name)
	text := d.alter([]byte(was))
	if string(text) == was {
		return
	}
	require.NoError(t, d.client.Set(t.Context(), d.store.EntryName(entry(name)), text, redis.KeepTTL).Err())
	d.look(t, name, was, text)
	if d.random.IntN(4) > 0 {
		require.NoError(t, d.client.Set(t.Context(), d.store.EntryName(entry(name)), was, ttl).Err())
	} else {
		require.NoError(t, d.store.Forget(t.Context(), entry(name)))
		d.fill(t, name)
	}
}

// alter returns a mutation of a value.
func (d *damage) alter(text []byte) []byte {
	other := []byte(d.raw[d.random.IntN(len(d.raw))])
	cut := func(b []byte) int { return d.random.IntN(len(b) + 1) }
	switch d.random.IntN(6) {
	case 0:
		for range 1 + d.random.IntN(3) {
			text[d.random.IntN(len(text))] ^= 1 << d.random.UintN(8)
		}
	case 1:
		text = text[:cut(text)]
	case 2:
		text = append(text, other[:d.random.IntN(8)%(len(other)+1)]...)
	case 3: // of another key, or of an earlier time
		text = other
	case 4: // at one place
		at := cut(text)
		text = append(bytes.Clone(text[:at]), other[min(at, len(other)):]...)
	default: // at any two
		text = append(bytes.Clone(text[:cut(text)]), other[cut(other):]...)
	}
	return text
}

// look looks a damaged entry up as one of those who do.
func (d *damage) look(t *testing.T, name, was string, text []byte) {
	var l store.Lookup
	var err error
	switch kept := d.kept[name]; d.random.IntN(3) {
	case 0:
		l, err = d.store.Acquire(t.Context(), entry(name), d.deps[name], ttl)
	case 1:
		l, err = d.store.Peek(t.Context(), entry(name), d.deps[name])
	default: // what the near cache has
		l, err = d.store.Revalidate(t.Context(), entry(name), d.deps[name], ttl, kept.Version)
		if err == nil && l.State == store.Unchanged {
			l = kept
		}
	}
	switch {
	case errors.Is(err, store.ErrDamaged):
		d.damaged++
	case err != nil:
		require.NoError(t, err, "%q", text)
	case l.State == store.Hit:
		d.hits++
		require.Equal(t, d.payload[name], string(l.Payload), "%s\nwas %q\nis  %q", name, was, text)
	default:
		d.misses++
	}
}
