package conj

import "strings"

// exprKind says what is known of an expression.
type exprKind uint8

const (
	exprOpaque   exprKind = iota // anything; narrows nothing
	exprTrue                     // always true
	exprFalse                    // always false
	exprNull                     // always NULL, hence never true
	exprAnd                      // all of kids
	exprOr                       // any of kids
	exprEqual                    // col is one of values; never true for NULL
	exprAny                      // col is an element of the array values[0]
	exprNullSafe                 // col is values[0], NULL being equal to NULL
	exprIsNull                   // col is NULL
	exprJoin                     // col equals other, both columns
	exprColumn                   // a bare column
	exprValue                    // a bare value
	exprRow                      // a row value of kids
)

// expr is the boolean skeleton of a condition. Columns are as written: they
// are resolved when all tables are known.
type expr struct {
	kind   exprKind
	kids   []*expr
	col    columnRef // that of an IN without values, too, which is exprNull or exprFalse
	other  columnRef
	values []Operand
	// threeValued is true of an exprEqual that is NULL where the column is, so
	// that its negation is, too.
	threeValued bool
}

var opaque = &expr{kind: exprOpaque}

// columnRef is a column's name as written.
type columnRef struct {
	schema, table, name string
}

// scopeEntry is one item of a FROM clause that has a name: an occurrence of a
// table, or a derived table, a CTE or a function, of which conj knows nothing.
type scopeEntry struct {
	alias   string    // the name it goes by
	name    TableName // the table, if base
	base    bool
	maybe   bool // a CTE if there is no such table
	aliased bool // has an alias, so that the schema doesn't name it
	hidden  bool // in parentheses that have an alias of their own
	seenLo  int  // the entries in these parentheses, if hidden: only
	seenHi  int  // conditions among them see this one
	renamed bool // has a list of column aliases

	table    *Table
	view     *viewRead // if the table is one
	block    *block    // the innermost block it is in
	chain    []*block  // all of them, outermost first
	narrowed [][]term  // its part of the conditions, in disjunctive normal form
	use      Use       // what the text reads of its columns
}

// joinKind is how a join treats rows without a partner.
type joinKind uint8

const (
	joinInner joinKind = iota
	joinLeft
	joinRight
	joinFull
)

// fromNode is a node of a FROM clause's tree: a leaf (entry >= 0) or a join.
// Its entries are those from lo up to hi of the select's scope.
type fromNode struct {
	entry       int
	kind        joinKind
	left, right *fromNode
	on          *expr
	using       []string // columns that USING merges
	onText      span
	lo, hi      int
}

// span is a run of tokens, from lo up to hi.
type span struct{ lo, hi int }

// selectCore is one SELECT with its FROM and WHERE: the unit within which
// names are resolved and conditions narrow tables.
type selectCore struct {
	entries   []*scopeEntry
	from      *fromNode
	where     *expr
	listLo    int // token range of the list of results
	listHi    int
	merged    map[string]bool // lower-case names merged by USING
	coalesced bool            // an outer join's USING may give either side's value
	natural   bool            // a NATURAL join merges no one knows what
	recursive bool            // in the body of a recursive CTE: not narrowed
}

func sameName(d Dialect, a, b string) bool {
	if d == PostgreSQL {
		return a == b
	}
	return strings.EqualFold(a, b)
}
