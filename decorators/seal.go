package decorators

import (
	"bytes"
	"crypto/sha256"
)

// A sealed value is the magic, a digest of the place, the key and the value, and
// the value. What is damaged, belongs to another key or place, or was stored
// before values were sealed can't be opened.
const (
	sealMagic = "cpS1"
	// sealSize is that of what stands before the value.
	sealSize   = len(sealMagic) + sealDigest
	sealDigest = 16
)

// seal binds a value, given in parts, to its key in a place.
func seal(place, key string, parts ...[]byte) []byte {
	value := bytes.Join(parts, nil)
	sum := sealSum(place, key, value)
	b := make([]byte, 0, sealSize+len(value))
	b = append(append(b, sealMagic...), sum[:]...)
	return append(b, value...)
}

// unseal returns the value, and reports whether it is what was stored under the
// key.
func unseal(place, key string, sealed []byte) ([]byte, bool) {
	if len(sealed) < sealSize || string(sealed[:len(sealMagic)]) != sealMagic {
		return nil, false
	}
	value := sealed[sealSize:]
	sum := sealSum(place, key, value)
	return value, bytes.Equal(sealed[len(sealMagic):sealSize], sum[:])
}

func sealSum(place, key string, value []byte) [sealDigest]byte {
	h := sha256.New()
	h.Write(appendField(appendField([]byte(sealMagic), place), key))
	h.Write(value)
	return [sealDigest]byte(h.Sum(nil))
}
