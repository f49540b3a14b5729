package decorators

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func FuzzDecodePayload(f *testing.F) {
	type value struct {
		A []string
		B map[string]any
	}
	p, err := newPayloads[value]("fuzz", Exact{}, []error{ErrMiss})
	require.NoError(f, err)
	seed, err := p.encode(value{A: []string{"x"}, B: map[string]any{"y": 1}})
	require.NoError(f, err)
	f.Add(seed)
	f.Add(p.encodeError(ErrMiss))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, payload []byte) {
		if o, err := p.decode(payload); err == nil && o.err == nil {
			_, err = p.encode(o.value)
			require.NoError(t, err)
		}
	})
}

func FuzzDecodeEntry(f *testing.F) {
	page := newPage(200, nil, nil, []byte("body"), time.Unix(1, 0))
	_, seed, err := encoded(entry{Vary: []string{"Accept"}, Stamp: "x", Page: page})
	require.NoError(f, err)
	f.Add(seed)
	f.Fuzz(func(t *testing.T, payload []byte) {
		if e, err := decodeEntry(payload); err == nil && e.Page != nil {
			require.GreaterOrEqual(t, e.Page.Status, 200)
		}
	})
}

func FuzzParseFile(f *testing.F) {
	f.Add(makeFile("key", 5, []byte("value")))
	f.Fuzz(func(t *testing.T, content []byte) {
		if value, expiry, ok := parseFile("key", content); ok {
			require.Equal(t, content, makeFile("key", expiry, value))
		}
	})
}

func FuzzUnseal(f *testing.F) {
	f.Add("prefix:simple:", "key", seal("prefix:simple:", "key", []byte("value")))
	f.Fuzz(func(t *testing.T, place, key string, content []byte) {
		if value, ok := unseal(place, key, content); ok {
			require.Equal(t, content, seal(place, key, value))
		}
	})
}

func FuzzParseURI(f *testing.F) {
	f.Add("https://Example.com:443/a%2fb?c=d#e")
	f.Fuzz(func(t *testing.T, uri string) {
		if key, err := parseURI(uri); err == nil {
			require.NotEmpty(t, key)
		}
	})
}

func FuzzMatchesTag(f *testing.F) {
	f.Add(`W/"a", "b,c"`, `"b,c"`)
	f.Fuzz(func(t *testing.T, line, tag string) { matchesTag([]string{line}, tag) })
}
