package decorators

import (
	"bytes"
	"crypto/sha256"
	"encoding/gob"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"

	"github.com/cacheplugin/cacheplugin/decorators/internal/exact"
)

// Codec encodes the values of functions. The default is Exact. A Codec must be
// safe for concurrent use, and Unmarshal must not keep data.
//
// A payload carries a tag made of the codec's name and the value's type, so that
// what another codec or another version of the type has stored is a miss.
type Codec interface {
	// Name differs from the names of all other formats, and of older ones.
	Name() string
	// Marshal encodes what v points to. On an error the value is returned and
	// not stored.
	Marshal(v any) ([]byte, error)
	// Unmarshal decodes into what v points to.
	Unmarshal(data []byte, v any) error
}

// TypeChecker is a Codec that knows which types it can't encode. Cached and
// [CachedAs] ask it.
type TypeChecker interface {
	CheckType(t reflect.Type) error
}

// Exact is the default codec, binary and compact. Values come back as they
// were: nil and empty slices, nil pointers and pointers to zero stay apart, times
// keep their zone, struct tags mean nothing. Types that implement
// encoding.BinaryMarshaler or TextMarshaler, and their counterparts, encode
// themselves. Refused are types of which that can't be promised: channels and
// functions, structs with unexported fields, interfaces but any. An any may hold
// the predeclared types, []byte, time.Time, time.Duration, []string, []any,
// map[string]any and []map[string]any; a value with another one in it is
// returned and not stored.
type Exact struct{}

// Name implements Codec.
func (Exact) Name() string { return "exact/1" }

// Marshal implements Codec.
func (Exact) Marshal(v any) ([]byte, error) { return exact.Marshal(v) }

// Unmarshal implements Codec.
func (Exact) Unmarshal(data []byte, v any) error { return exact.Unmarshal(data, v) }

// CheckType implements [TypeChecker].
func (Exact) CheckType(t reflect.Type) error { return exact.Check(t) }

// Gob is encoding/gob, for types with interfaces in them, whose implementations
// must be registered with gob.Register. It makes an empty slice nil and a
// pointer to zero in a struct nil, and leaves out unexported fields.
type Gob struct{}

// Name implements Codec.
func (Gob) Name() string { return "gob" }

// Marshal implements Codec.
func (Gob) Marshal(v any) ([]byte, error) {
	var b bytes.Buffer
	if err := gob.NewEncoder(&b).Encode(v); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

// Unmarshal implements Codec.
func (Gob) Unmarshal(data []byte, v any) error {
	return gob.NewDecoder(bytes.NewReader(data)).Decode(v)
}

// JSON is encoding/json, for values that other programs read. It leaves out
// unexported fields and those that their tags hide.
type JSON struct{}

// Name implements Codec.
func (JSON) Name() string { return "json" }

// Marshal implements Codec.
func (JSON) Marshal(v any) ([]byte, error) { return json.Marshal(v) }

// Unmarshal implements Codec.
func (JSON) Unmarshal(data []byte, v any) error { return json.Unmarshal(data, v) }

// errForeign says that a payload is not of the format, codec and type that were
// expected.
var errForeign = errors.New("the payload is of another version, codec or type")

// What follows a payload's tag.
const (
	kindValue byte = 'v'
	kindError byte = 'e'
)

const (
	tagSize    = 8
	headerSize = tagSize + 1
)

// payloads writes and reads the payloads of one codec and type: the tag, whether
// a value or an error follows, and the value's encoding or the error's text.
type payloads[T any] struct {
	codec     Codec
	tag       [tagSize]byte
	sentinels []error
}

func newPayloads[T any](what string, codec Codec, sentinels []error) (payloads[T], error) {
	t := reflect.TypeFor[T]()
	if c, ok := codec.(TypeChecker); ok {
		if err := c.CheckType(t); err != nil {
			return payloads[T]{}, fmt.Errorf("%w: %s: the codec %s and its values: %w; give the function a plainer type, or WithCodec(decorators.Gob{})", ErrOption, what, codec.Name(), err)
		}
	}
	print := exact.Fingerprint(t)
	sum := sha256.Sum256(append([]byte("payload/1 "+codec.Name()+" "), print[:]...))
	return payloads[T]{codec: codec, tag: [tagSize]byte(sum[:]), sentinels: sentinels}, nil
}

func (p payloads[T]) encode(v T) ([]byte, error) {
	b, err := p.codec.Marshal(&v)
	if err != nil {
		return nil, err
	}
	return p.header(kindValue, b), nil
}

func (p payloads[T]) header(kind byte, b []byte) []byte {
	out := make([]byte, 0, headerSize+len(b))
	out = append(out, p.tag[:]...)
	return append(append(out, kind), b...)
}

// sentinel returns the one of the errors to cache that err is.
func (p payloads[T]) sentinel(err error) error {
	for _, s := range p.sentinels {
		if errors.Is(err, s) {
			return s
		}
	}
	return nil
}

func (p payloads[T]) encodeError(sentinel error) []byte {
	return p.header(kindError, []byte(sentinel.Error()))
}

// outcome is what a function returned.
type outcome[T any] struct {
	value T
	err   error
}

func (p payloads[T]) decode(payload []byte) (outcome[T], error) {
	var o outcome[T]
	if len(payload) < headerSize || [tagSize]byte(payload) != p.tag {
		return o, errForeign
	}
	rest := payload[headerSize:]
	switch payload[tagSize] {
	case kindValue:
		err := p.codec.Unmarshal(rest, &o.value)
		return o, err
	case kindError:
		for _, s := range p.sentinels {
			if s.Error() == string(rest) {
				o.err = s
				return o, nil
			}
		}
	}
	return o, errForeign
}
