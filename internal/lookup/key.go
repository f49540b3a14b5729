package lookup

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"reflect"
	"strings"

	"github.com/cacheplugin/cacheplugin/cache"
	"github.com/cacheplugin/cacheplugin/conj"
	"github.com/cacheplugin/cacheplugin/internal/store"
)

// keyVersion is part of every entry's key. It changes with the format of
// entries and of dependencies, so that builds of different versions never read
// each other's.
const keyVersion = "4"

// maxKeyBuffer bounds what is kept for the next query of what a long text took.
const maxKeyBuffer = 64 << 10

// entryKey identifies a result: everything that it depends on but the
// database's state. It hashes with SHA-256 because parameters come from
// outside, and two queries with one key would be answered with each other's
// rows. It is false if something has no stable form.
func (h *Handle) entryKey(ctx context.Context, d *decision, identity string, args []any) (store.EntryKey, bool) {
	buffer, _ := h.keyBuffers.Get().(*[]byte)
	if buffer == nil {
		buffer = new([]byte)
	}
	b := (*buffer)[:0]
	defer func() {
		if cap(b) <= maxKeyBuffer {
			*buffer = b
			h.keyBuffers.Put(buffer)
		}
	}()
	b = appendString(b, keyVersion)
	b = append(b, byte(h.dialect))
	b = appendString(b, identity)
	b = appendString(b, d.query.Text)
	// The same text means other tables under another search_path.
	b = binary.AppendUvarint(b, uint64(len(d.plan.Tables)))
	for _, t := range d.plan.Tables {
		b = appendString(b, t.ID)
	}
	b = append(b, d.plan.Uses[:]...)
	// Whoever asks for the same with other dependencies has an entry of its own.
	b = appendStrings(b, d.scope())
	b = appendStrings(b, cache.VaryOf(ctx))
	var ok bool
	b = binary.AppendUvarint(b, uint64(len(args)))
	for _, v := range args {
		if b, ok = conj.AppendArg(b, v); !ok {
			return store.EntryKey{}, false
		}
	}
	if b, ok = appendExtra(b, d.query.settings); !ok {
		return store.EntryKey{}, false
	}
	return hashed(b), true
}

// appendExtra appends the values of cache.Extra.
func appendExtra(b []byte, settings *cache.Settings) (_ []byte, ok bool) {
	var extra []any
	if settings != nil {
		extra = settings.Extra
	}
	b = binary.AppendUvarint(b, uint64(len(extra)))
	for _, v := range extra {
		n, err := conj.NormalizeArg(v)
		if err != nil {
			return b, false
		}
		if b, ok = conj.AppendArg(b, n); !ok {
			return b, false
		}
	}
	return b, true
}

func hashed(b []byte) store.EntryKey {
	sum := sha256.Sum256(b)
	var key store.EntryKey
	copy(key[:], sum[:])
	return key
}

func appendStrings(b []byte, list []string) []byte {
	b = binary.AppendUvarint(b, uint64(len(list)))
	for _, s := range list {
		b = appendString(b, s)
	}
	return b
}

func appendString(b []byte, s string) []byte {
	b = binary.AppendUvarint(b, uint64(len(s)))
	return append(b, s...)
}

// Normalize brings arguments to the values that reach the driver. Options of
// the driver that come before the arguments are not understood.
func Normalize(args []any) (normal []any, reason string) {
	normal = make([]any, len(args))
	for i, a := range args {
		if i == 0 && isDriverOption(a) {
			return nil, "a driver option stands among the parameters"
		}
		v, err := conj.NormalizeArg(a)
		if err != nil {
			return nil, "a parameter has no value: " + err.Error()
		}
		normal[i] = v
	}
	return normal, ""
}

// isDriverOption reports whether an argument is an option of pgx, such as
// pgx.QueryExecMode, which shifts the numbers of the parameters.
func isDriverOption(a any) bool {
	switch a.(type) {
	case nil, int, int64, uint, string, bool:
		return false
	}
	t := reflect.TypeOf(a)
	return strings.HasPrefix(t.PkgPath(), "github.com/jackc/pgx/") && !strings.Contains(t.PkgPath(), "/pgtype")
}
