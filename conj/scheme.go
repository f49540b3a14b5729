package conj

import (
	"slices"
	"strconv"
	"strings"
	"sync"
	"unicode/utf8"
)

// Scheme is the set of columns that a conjunction names, and what those who
// depend on it use of the others, encoded so that two of them never share a
// Scheme. The empty Scheme is that of the empty conjunction, the whole table, and
// of those to whom any update matters. Conjunction and scheme are cacheops' terms.
//
// The columns come first, sorted, each as its length, a colon and its text. What
// is used follows after a slash, the deciding columns, and after another one the
// displayed ones; a star stands for all. Without a slash any update matters.
type Scheme string

// MakeScheme returns the scheme of a set of names, in any order, for those to whom
// any update matters.
func MakeScheme(columns []string) Scheme {
	if len(columns) == 0 {
		return ""
	}
	sorted := slices.Clone(columns)
	slices.Sort(sorted)
	return Scheme(appendNames(nil, slices.Compact(sorted)))
}

func appendNames(dst []byte, names []string) []byte {
	for _, name := range names {
		dst = strconv.AppendInt(dst, int64(len(name)), 10)
		dst = append(dst, ':')
		dst = append(dst, name...)
	}
	return dst
}

// For returns the scheme of the same conjunctions for those who use some columns.
func (s Scheme) For(u Use) Scheme {
	parts, _ := s.parts()
	if u.Any {
		return MakeScheme(parts.columns)
	}
	names := make([]string, len(parts.columns))
	for i, name := range parts.columns {
		names[i], _, _ = strings.Cut(name, "\x00")
	}
	u = u.besides(names)
	b := []byte(MakeScheme(parts.columns))
	if b = append(b, '/'); u.DecidesAll {
		return Scheme(append(b, '*'))
	}
	b = append(appendNames(b, u.Deciding), '/')
	if u.DisplaysAll {
		return Scheme(append(b, '*'))
	}
	return Scheme(appendNames(b, u.Displayed))
}

// schemeParts are what a scheme says.
type schemeParts struct {
	columns []string // with their kinds
	use     Use
}

// parts takes a scheme apart; false of a text that is none.
func (s Scheme) parts() (parts schemeParts, ok bool) {
	rest := string(s)
	if parts.columns, rest, ok = cutNames(rest); !ok {
		return schemeParts{}, false
	}
	if rest == "" {
		parts.use.Any = true
		return parts, true
	}
	if rest == "/*" {
		parts.use.DecidesAll = true
		return parts, true
	}
	if parts.use.Deciding, rest, ok = cutNames(rest[1:]); !ok || rest == "" {
		return schemeParts{}, false
	}
	if rest == "/*" {
		parts.use.DisplaysAll = true
		return parts, true
	}
	parts.use.Displayed, rest, ok = cutNames(rest[1:])
	return parts, ok && rest == ""
}

// cutNames reads names up to a slash or the end. They must be sorted.
func cutNames(text string) (names []string, rest string, ok bool) {
	for text != "" && text[0] != '/' {
		size, tail, found := strings.Cut(text, ":")
		n, err := strconv.Atoi(size)
		if !found || err != nil || n < 0 || n > len(tail) || strconv.Itoa(n) != size {
			return nil, "", false
		}
		if len(names) > 0 && names[len(names)-1] >= tail[:n] {
			return nil, "", false
		}
		names = append(names, tail[:n])
		text = tail[n:]
	}
	return names, text, true
}

// Columns returns the names of the conjunction's columns, sorted. It returns nil
// where there are none, and for a text that is no scheme.
func (s Scheme) Columns() []string {
	parts, _ := s.parts()
	return parts.columns
}

// Use returns what is used of the other columns.
func (s Scheme) Use() Use {
	parts, ok := s.parts()
	if !ok {
		return Use{Any: true}
	}
	return parts.use
}

// Typed returns the conjunction's columns, with their kinds, in the scheme's
// order. It is false for a text that Conjunction does not make, and for a kind
// that this version doesn't know. It is for tools that have no database to ask.
func (s Scheme) Typed() ([]Column, bool) {
	parts, ok := s.parts()
	if !ok {
		return nil, false
	}
	columns := make([]Column, len(parts.columns))
	for i, name := range parts.columns {
		column, kind, ok := strings.Cut(name, "\x00")
		r, size := utf8.DecodeRuneInString(kind)
		if !ok || size != len(kind) || r < 'A' || r > 'A'+rune(Label) {
			return nil, false
		}
		columns[i] = Column{Name: column, Kind: Kind(r - 'A')}
	}
	return columns, true
}

// tableScheme is what a scheme means to a table.
type tableScheme struct {
	ok      bool  // the table has the conjunction's columns
	columns []int // these, in the scheme's order
	any     bool  // any update matters
	all     bool  // any column may be used, or one that the table hasn't
	used    []bool
}

// maxSchemes bounds how many schemes a table keeps the meaning of.
const maxSchemes = 4096

// schemes are what a table keeps of schemes. It is safe for concurrent use.
type schemes struct {
	mu    sync.RWMutex
	known map[Scheme]*tableScheme
	uses  map[Scheme][]Scheme // of each scheme for all columns
}

// scheme returns the scheme of some columns, by their names with kinds, for a use,
// or for all columns if that is one use too many.
func (t *Table) scheme(names []string, u Use) Scheme {
	all := MakeScheme(names)
	if u.Any {
		return all
	}
	s := all.For(u)
	t.schemes.mu.Lock()
	defer t.schemes.mu.Unlock()
	uses := t.schemes.uses[all]
	switch {
	case slices.Contains(uses, s):
	case len(uses) == maxUses:
		return all.For(Use{DecidesAll: true})
	default:
		if t.schemes.uses == nil {
			t.schemes.uses = map[Scheme][]Scheme{}
		}
		t.schemes.uses[all] = append(uses, s)
	}
	return s
}

// meaning returns what a scheme means to the table.
func (t *Table) meaning(s Scheme) *tableScheme {
	t.schemes.mu.RLock()
	known := t.schemes.known[s]
	t.schemes.mu.RUnlock()
	if known != nil {
		return known
	}
	known = t.read(s)
	t.schemes.mu.Lock()
	defer t.schemes.mu.Unlock()
	if t.schemes.known == nil {
		t.schemes.known = map[Scheme]*tableScheme{}
	}
	if len(t.schemes.known) < maxSchemes {
		t.schemes.known[s] = known
	}
	return known
}

func (t *Table) read(s Scheme) *tableScheme {
	parts, ok := s.parts()
	if !ok {
		return &tableScheme{}
	}
	m := &tableScheme{ok: true, columns: make([]int, len(parts.columns)), used: make([]bool, len(t.columns))}
	for n, name := range parts.columns {
		column, _, _ := strings.Cut(name, "\x00")
		i, found := t.exact[column]
		if !found || t.columns[i].schemeName() != name {
			return &tableScheme{}
		}
		m.columns[n], m.used[i] = i, true
	}
	m.any = parts.use.Any
	m.all = parts.use.DecidesAll || parts.use.DisplaysAll
	for _, name := range slices.Concat(parts.use.Deciding, parts.use.Displayed) {
		i, found := t.exact[name]
		if !found { // somebody else has altered the table
			m.all = true
			break
		}
		m.used[i] = true
	}
	return m
}

// Used returns the columns of which an update must change one to matter to those who
// depend on conjunctions of some schemes, in the table's order; nil if any may be
// one.
func (t *Table) Used(schemes ...Scheme) []string {
	columns, used := []string{}, make([]bool, len(t.columns))
	for _, s := range schemes {
		m := t.meaning(s)
		if !m.ok || m.any || m.all {
			return nil
		}
		for i := range used {
			used[i] = used[i] || m.used[i]
		}
	}
	for i, column := range t.columns {
		if used[i] {
			columns = append(columns, column.Name)
		}
	}
	return columns
}

// SchemeColumns returns the indexes of a scheme's conjunction's columns in the
// scheme's order; false if the table has not all of them, of the same kinds. They
// must not be changed.
func (t *Table) SchemeColumns(s Scheme) ([]int, bool) {
	m := t.meaning(s)
	return m.columns, m.ok
}
