package decorators

import (
	"encoding/binary"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestSealRefusesWhatIsNotItsOwn(t *testing.T) {
	value := []byte("a value of some length!")
	sealed := seal("place", "key", value)
	got, ok := unseal("place", "key", sealed)
	require.True(t, ok)
	require.Equal(t, value, got)
	empty, ok := unseal("place", "key", seal("place", "key"))
	require.True(t, ok)
	require.Empty(t, empty)

	t.Run("flips", func(t *testing.T) {
		for n := range sealed {
			for bit := range 8 {
				damaged := append([]byte(nil), sealed...)
				damaged[n] ^= 1 << bit
				_, ok := unseal("place", "key", damaged)
				require.False(t, ok, "bit %d of byte %d", bit, n)
			}
		}
	})
	t.Run("truncations and additions", func(t *testing.T) {
		for n := range sealed {
			_, ok := unseal("place", "key", sealed[:n])
			require.False(t, ok, "%d bytes", n)
		}
		_, ok := unseal("place", "key", append(append([]byte(nil), sealed...), 0))
		require.False(t, ok)
	})
	t.Run("swaps between keys and places", func(t *testing.T) {
		for _, to := range [][2]string{
			{"place", "other"}, {"place", ""}, {"place", "keys"}, {"other", "key"}, {"placek", "ey"}, {"plac", "ekey"}, {"", "placekey"}, {"key", "place"},
			{"place", "key" + string(value)}, {"place", "key22:"},
		} {
			_, ok := unseal(to[0], to[1], sealed)
			require.False(t, ok, "%q", to)
		}
	})
	t.Run("splices of two values", func(t *testing.T) {
		other := seal("place", "key", []byte("ANOTHER OF EQUAL LENGTH"))
		for n := len(sealMagic) + 1; n < len(sealed); n++ {
			_, ok := unseal("place", "key", append(append([]byte(nil), sealed[:n]...), other[n:]...))
			require.False(t, ok, "at %d", n)
		}
	})
	t.Run("older formats", func(t *testing.T) {
		crc := binary.LittleEndian.AppendUint32(append([]byte("cpF1"), make([]byte, 8)...), 1)
		for _, old := range [][]byte{nil, value, append(crc, value...), []byte(sealMagic)} {
			_, ok := unseal("place", "key", old)
			require.False(t, ok, "%q", old)
		}
	})
	t.Run("random damage", func(t *testing.T) {
		random := rand.New(rand.NewPCG(1, 2))
		for range 10_000 {
			damaged := append([]byte(nil), sealed...)
			for range 1 + random.IntN(4) {
				damaged[random.IntN(len(damaged))] ^= byte(1 + random.IntN(255))
			}
			if got, ok := unseal("place", "key", damaged); ok {
				require.Equal(t, sealed, damaged, "%q", got) // damaged back
			}
		}
	})
}

func TestFilesRefuseWhatIsNotTheirOwn(t *testing.T) {
	expiry := time.Unix(100, 0).UnixNano()
	file := makeFile("key", expiry, []byte("value"))
	value, got, ok := parseFile("key", file)
	require.True(t, ok)
	require.Equal(t, expiry, got)
	require.Equal(t, "value", string(value))
	for n := range file {
		for bit := range 8 {
			damaged := append([]byte(nil), file...)
			damaged[n] ^= 1 << bit
			_, _, ok := parseFile("key", damaged)
			require.False(t, ok, "bit %d of byte %d: the expiry is bound, too", bit, n)
		}
	}
	_, _, ok = parseFile("key", seal(filePlace, "key", []byte("short")))
	require.False(t, ok, "no expiry")
	_, _, ok = parseFile("key", seal("prefix:simple:", "key", file[sealSize:]))
	require.False(t, ok, "a value of the simple cache in Redis")
}
