package crosscheck

import (
	"fmt"
	"slices"
	"strings"

	"github.com/cacheplugin/cacheplugin/conj"
)

// tree is what one of the parsers has made of a statement.
type tree struct {
	kind    conj.Statement
	reads   []conj.TableName // without CTEs and functions
	writes  []conj.TableName
	locks   bool     // a locking read, or one into a table, file or variable
	calls   []string // functions, lower case
	selects []*selection
	target  *selection // of an UPDATE or DELETE of one table
	params  int
}

func (t *tree) read(n conj.TableName) {
	if !slices.Contains(t.reads, n) {
		t.reads = append(t.reads, n)
	}
}

func (t *tree) write(n conj.TableName) {
	if !slices.Contains(t.writes, n) {
		t.writes = append(t.writes, n)
	}
}

func (t *tree) call(name string) {
	if name = strings.ToLower(name); !slices.Contains(t.calls, name) {
		t.calls = append(t.calls, name)
	}
}

// selection is one SELECT with a FROM clause, or an UPDATE or DELETE: tables,
// and conditions on them.
type selection struct {
	sources []*source
	from    []*join // comma-separated
	where   *cond

	merged  map[string]bool // by USING, lower case
	unclear bool            // a NATURAL join, or an outer USING that may give either side's value
	lo, hi  int             // the sources that the condition being read sees
}

// source is an item of a FROM clause. Of derived tables and functions nothing
// is known but the alias.
type source struct {
	alias string
	name  conj.TableName
	base  bool
}

// join is a source, or a join of two trees.
type join struct {
	source      int // index in sources; -1 for a join
	kind        joinKind
	left, right *join
	on          *cond
	using       []string
}

// bounds are the sources of a tree of joins.
func (j *join) bounds() (lo, hi int) {
	if j.source >= 0 {
		return j.source, j.source + 1
	}
	lo, _ = j.left.bounds()
	_, hi = j.right.bounds()
	return lo, hi
}

// ambiguous reports whether a column of a USING is one of several tables of a side
// that no USING within has merged. Databases refuse that; where TiDB, like MySQL
// 8, takes a CROSS JOIN b JOIN c USING (x) for (a CROSS JOIN b) JOIN c, conj and
// MariaDB take it for a CROSS JOIN (b JOIN c), which makes no other difference.
func (j *join) ambiguous(name string) bool {
	return j.source < 0 && (!slices.Contains(j.using, name) || j.left.ambiguous(name) || j.right.ambiguous(name))
}

// use notes the columns that a join merges.
func (s *selection) use(j *join, names ...string) {
	if s.merged == nil {
		s.merged = map[string]bool{}
	}
	for _, name := range names {
		s.merged[strings.ToLower(name)] = true
		j.using = append(j.using, strings.ToLower(name))
	}
	s.unclear = s.unclear || len(names) > 0 && (j.kind == right || j.kind == full)
}

// first is a merged column's source among some: the first, since every table
// has every column.
func (s *selection) first(name string, lo, hi int) (column, bool) {
	if lo >= hi || s.unclear || !s.sources[lo].base {
		return column{}, false
	}
	return column{lo, strings.ToLower(name)}, true
}

type joinKind uint8

const (
	inner joinKind = iota
	left
	right
	full
)

// condKind is what a condition does.
type condKind uint8

const (
	anything condKind = iota // true, false or NULL; so is NOT of it
	constant                 // truth
	and
	or
	not
	equal    // col = any of values
	nullSafe // col is values[0], NULL being equal to NULL
	isNull
	columns // col = other
)

type cond struct {
	kind       condKind
	truth      truth
	kids       []*cond
	col, other column
	values     []operand
}

// column is a resolved column: one of the selection's sources.
type column struct {
	source int
	name   string
}

// operand is a literal or a parameter.
type operand struct {
	param int // 1-based; 0 for a literal
	value any // int64, string, bool or nil
}

func isLiteralNull(o operand, ok bool) bool { return ok && o.param == 0 && o.value == nil }

// truth is SQL's: true, false or NULL.
type truth int8

const (
	no truth = iota
	unknown
	yes
)

func (t truth) not() truth { return yes - t }

// resolve finds the source that a column's name stands for. An unqualified
// one belongs to the only table: were it another source's as well, databases
// would refuse it.
func (s *selection) resolve(schema, table, name string, sameName func(a, b string) bool) (column, bool) {
	if table == "" && (s.unclear || s.merged[strings.ToLower(name)]) {
		return s.first(name, s.lo, s.hi)
	}
	found := -1
	for i, src := range s.sources {
		if table != "" && !sameName(src.alias, table) || table == "" && !src.base {
			continue
		}
		if found >= 0 {
			return column{}, false
		}
		found = i
	}
	if found < 0 || !s.sources[found].base {
		return column{}, false
	}
	if src := s.sources[found]; schema != "" && (!sameName(src.name.Schema, schema) || !sameName(src.name.Name, src.alias)) {
		return column{}, false
	}
	return column{found, strings.ToLower(name)}, true
}

// text shows a selection, its arguments in their places.
func (s *selection) text(args []any) string {
	var b strings.Builder
	for _, src := range s.sources {
		fmt.Fprintf(&b, "%v %s ", src.name, src.alias)
	}
	s.where.text(&b, args)
	return b.String()
}

func (c *cond) text(b *strings.Builder, args []any) {
	if c == nil {
		return
	}
	fmt.Fprintf(b, "(%d %d %v %v", c.kind, c.truth, c.col, c.other)
	for _, v := range c.values {
		if v.param > 0 {
			v = operand{value: args[v.param-1]}
		}
		fmt.Fprintf(b, " %#v", v.value)
	}
	for _, kid := range c.kids {
		kid.text(b, args)
	}
	b.WriteByte(')')
}
