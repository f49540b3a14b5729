package cacheplugin

import (
	"crypto/sha256"
	"encoding/binary"
	"reflect"
	"strings"

	"github.com/cacheplugin/cacheplugin/conj"
	"github.com/cacheplugin/cacheplugin/internal/store"
)

// keyVersion is part of every entry's key. It changes with the format of
// entries and of dependencies, so that builds of different versions never read
// each other's.
const keyVersion = "3"

// maxKeyBuffer bounds what is kept for the next query of what a long text took.
const maxKeyBuffer = 64 << 10

// entryKey identifies a result: everything that it depends on but the
// database's state. It hashes with SHA-256 because parameters come from
// outside, and two queries with one key would be answered with each other's
// rows.
func (e *engine) entryKey(database string, plan *conj.Plan, scope []string, query string, args []any, vary []string, extra []any) (store.EntryKey, bool) {
	buffer, _ := e.keyBuffers.Get().(*[]byte)
	if buffer == nil {
		buffer = new([]byte)
	}
	b := (*buffer)[:0]
	defer func() {
		if cap(b) <= maxKeyBuffer {
			*buffer = b
			e.keyBuffers.Put(buffer)
		}
	}()
	b = appendString(b, keyVersion)
	b = append(b, byte(e.dialect))
	b = appendString(b, database)
	b = appendString(b, query)
	// The same text means other tables under another search_path.
	b = binary.AppendUvarint(b, uint64(len(plan.Tables)))
	for _, t := range plan.Tables {
		b = appendString(b, t.ID)
	}
	// Whoever asks for the same with other dependencies has an entry of its own.
	b = binary.AppendUvarint(b, uint64(len(scope)))
	for _, s := range scope {
		b = appendString(b, s)
	}
	b = binary.AppendUvarint(b, uint64(len(vary)))
	for _, v := range vary {
		b = appendString(b, v)
	}
	var ok bool
	b = binary.AppendUvarint(b, uint64(len(args)))
	for _, v := range args {
		if b, ok = conj.AppendArg(b, v); !ok {
			return store.EntryKey{}, false
		}
	}
	b = binary.AppendUvarint(b, uint64(len(extra)))
	for _, v := range extra {
		n, err := conj.NormalizeArg(v)
		if err != nil {
			return store.EntryKey{}, false
		}
		if b, ok = conj.AppendArg(b, n); !ok {
			return store.EntryKey{}, false
		}
	}
	sum := sha256.Sum256(b)
	var key store.EntryKey
	copy(key[:], sum[:])
	return key, true
}

func appendString(b []byte, s string) []byte {
	b = binary.AppendUvarint(b, uint64(len(s)))
	return append(b, s...)
}

// normalize brings arguments to the values that reach the driver. Options of
// the driver that come before the arguments are not understood.
func normalize(args []any) (normal []any, reason string) {
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

// isDriverOption tells whether an argument is an option of pgx, such as
// pgx.QueryExecMode, which shifts the numbers of the parameters.
func isDriverOption(a any) bool {
	switch a.(type) {
	case nil, int, int64, uint, string, bool:
		return false
	}
	t := reflect.TypeOf(a)
	return strings.HasPrefix(t.PkgPath(), "github.com/jackc/pgx/") && !strings.Contains(t.PkgPath(), "/pgtype")
}

// startsWithAll tells whether a text is a query for all columns of what
// follows, as GORM writes it.
func startsWithAll(text string) bool {
	const all = "SELECT * FROM `"
	return len(text) > len(all) && text[:len(all)] == all
}

// startsWithSelect tells whether a text begins, after white space, with the
// word SELECT. Everything else is looked at by the parser.
func startsWithSelect(text string) bool {
	text = strings.TrimLeft(text, " \t\r\n\f")
	if len(text) < 7 || !strings.EqualFold(text[:6], "select") {
		return false
	}
	c := text[6]
	return c != '_' && (c < '0' || c > '9') && (c|0x20 < 'a' || c|0x20 > 'z') && c < 0x80
}
