package conj

import (
	"fmt"
	"reflect"
	"slices"
	"sync"
)

// Statement is what a text does.
type Statement uint8

// The statements.
const (
	// Unknown is a text that is not understood: it may do anything.
	Unknown Statement = iota
	Select
	Insert
	Update
	Delete
	Replace
	Merge
	Truncate
	DDL // CREATE, ALTER, DROP, RENAME, COMMENT, GRANT
	Begin
	Commit
	Rollback
	Savepoint
	RollbackTo
	Release
	Set   // SET, RESET, USE, PRAGMA name = value: changes the session
	Call  // CALL, DO, EXECUTE: may do anything
	Other // EXPLAIN, SHOW, VACUUM, PREPARE TRANSACTION and the like; also an empty text
)

var statementNames = [...]string{
	"unknown", "select", "insert", "update", "delete", "replace", "merge", "truncate", "ddl", "begin", "commit",
	"rollback", "savepoint", "rollback to", "release", "set", "call", "other",
}

// String returns the statement's name.
func (s Statement) String() string {
	if int(s) < len(statementNames) {
		return statementNames[s]
	}
	return "unknown"
}

// Shape is what a SELECT is asked for, told by its list of results.
type Shape uint8

// The shapes.
const (
	Rows      Shape = iota
	Count           // a single count(..)
	Exists          // a single exists(..), count(..) > n, or literal 1 or true
	Aggregate       // aggregate functions or GROUP BY
)

// String returns the shape's name in lower case.
func (s Shape) String() string {
	switch s {
	case Count:
		return "count"
	case Exists:
		return "exists"
	case Aggregate:
		return "aggregate"
	}
	return "rows"
}

// Limits bound how finely a query is tracked. Beyond them it depends on more
// rows than it needs to.
type Limits struct {
	// MaxInValues is the number of values up to which column IN (..) and
	// column = ANY(..) narrow.
	//
	// Defaults to 128.
	MaxInValues int
	// MaxConjunctions is the number of conjunctions that a query may have on
	// one table. Beyond it, of a product of lists the longest is left out until
	// the rest fits, and of a disjunction the terms are kept that all of its
	// conjunctions share, if there are any.
	//
	// Defaults to 256, or to twice MaxInValues if that is more.
	MaxConjunctions int
}

func (l Limits) withDefaults() Limits {
	if l.MaxInValues <= 0 {
		l.MaxInValues = 128
	}
	if l.MaxConjunctions <= 0 {
		l.MaxConjunctions = max(256, 2*l.MaxInValues)
	}
	return l
}

// Plan is what a text means to a cache, whatever its arguments. It is not
// changed after Compile and safe for concurrent use.
type Plan struct {
	Statement Statement
	// Shape of a SELECT.
	Shape Shape
	// Single is true of a SELECT with a literal LIMIT 1.
	Single bool
	// LimitParam is the index of the argument that LIMIT takes, -1 if it takes
	// none.
	LimitParam int
	// Skip says why a result must never be cached, such as "locking read";
	// empty if it may be.
	Skip string
	// Volatile names something that is not stable, such as "now()": the result
	// can be cached for a time, but not be invalidated.
	Volatile string
	// Hidden is what the text reads without showing which tables: the result
	// may be cached only if someone vouches for them.
	Hidden []Hidden
	// On are the columns, as "table's ID.column" and sorted, that alone the
	// query is to depend on, as CompileOn was told; nil if there is no limit.
	// The other terms of its conditions are left out of each conjunction, and
	// conjunctions without any of these columns are left out altogether; so is
	// every table that none of them is in. Where the limits or the arguments
	// keep them from narrowing, all rows of the table matter.
	On []string
	// Writes are the tables that the statement writes, those of data-modifying
	// CTEs included.
	Writes []Write
	// Tables are the tables that the statement reads, each once: those that it
	// names, views included, and those that the views read.
	Tables []*Table
	// Names are the names of tables read as the text, or that of a view, gives
	// them, each once, also those that are not known.
	Names []TableName
	// Sole is the table or view that is all of the FROM clause of a SELECT; nil
	// if there is more to it.
	Sole *Table
	// AllColumns is true of a SELECT whose list is a star for all columns of
	// Sole, and nothing else.
	AllColumns bool
	// Cuts is true of a SELECT with a LIMIT, OFFSET or FETCH of its own.
	Cuts bool
	// Order are the columns of Sole that stand alone in the ORDER BY of a SELECT
	// that shows each of its rows by itself; of any other statement there are
	// none.
	Order []string
	// OrderDependent names what may make the result depend on the order in which
	// the database meets the rows, Cuts and the order of the result aside, such
	// as "string_agg()"; empty if there is nothing. What depends on it may differ
	// between two runs on the same data.
	OrderDependent string
	// LongLists are the lists of more than MaxInValues values, which narrow
	// nothing. Those inside of views, and of an array that is an argument, are
	// not among them.
	LongLists []LongList
	// Settings are what the text changes of the session, calls of PostgreSQL's
	// set_config included. They are told of every text; of one that is Unknown
	// they are what it may change.
	Settings []Setting
	// TwoPhase is what the text does in a commit of two phases. It is told of
	// every text, as Settings are.
	TwoPhase TwoPhase
	// HasSideEffects is true of a statement that does more than read: locks,
	// advances a sequence, calls a procedure.
	HasSideEffects bool

	// Uses names the columns that the query uses of its tables, in 128 bits. Two
	// plans of one text may differ in it, if they were compiled by processes that
	// have met other queries before.
	Uses [16]byte

	d       Dialect
	lim     Limits
	reads   []*tableRead
	joined  []*Joined
	binders sync.Pool // of *binder
}

// LongList is a list of values that a column is compared with.
type LongList struct {
	Table  *Table
	Column string
	Values int
}

// HiddenKind is what a Hidden is.
type HiddenKind uint8

// The kinds of what is hidden.
const (
	HiddenTable         HiddenKind = iota // a view, or what else holds rows of other tables
	HiddenTableFunction                   // a function in FROM
	HiddenFunction                        // a function in an expression, not known to be stable
)

// Hidden is something that a query reads and that may stand for tables which
// its text doesn't show.
type Hidden struct {
	Kind HiddenKind
	// Name is the name of the table or function, without a schema; a
	// function's is in lower case.
	Name string
	// Reason says what it is, such as "seen is a foreign table".
	Reason string
	// Via is the name of the view of the text that it is in; empty if it is in
	// the text itself.
	Via string
}

// CallsUnknown reports whether the text calls functions of which nothing is
// known: they may do anything.
func (p *Plan) CallsUnknown() bool {
	return slices.ContainsFunc(p.Hidden, func(h Hidden) bool { return h.Kind != HiddenTable })
}

// Conjunction is a set of rows of one table: those in which each column of
// the scheme has the value that went into the key. The empty scheme stands
// for all rows.
type Conjunction struct {
	Scheme Scheme
	Key    Key
	Terms  []BoundTerm // in the order of the scheme's columns, for explanation
}

// BoundTerm is a column and the value that a conjunction asks of it.
type BoundTerm struct {
	Column string
	Value  Value
}

// Dependency is a table and the conjunctions of its rows that a query's
// result depends on. Without a conjunction no row of the table matters.
type Dependency struct {
	Table        *Table
	Conjunctions []Conjunction // not to be changed
}

// Used returns the columns of which an update must change one to matter to the
// query; nil if any may be one.
func (d Dependency) Used() []string {
	schemes := make([]Scheme, len(d.Conjunctions))
	for i, c := range d.Conjunctions {
		schemes[i] = c.Scheme
	}
	return d.Table.Used(schemes...)
}

// Bind returns what a query depends on given its arguments, one Dependency
// for each of the plan's Tables. The arguments have been normalised by
// [NormalizeArg]; PostgreSQL's $n is args[n-1], the other dialects' ? count by
// position. It fails, wrapping [ErrArgument], if there are too few.
func (p *Plan) Bind(args []any) ([]Dependency, error) {
	b, _ := p.binders.Get().(*binder)
	if b == nil {
		b = new(binder)
	}
	b.d, b.lim, b.args, b.err = p.d, p.lim, args, nil
	defer func() {
		b.args = nil
		p.binders.Put(b)
	}()
	deps := make([]Dependency, 0, len(p.reads))
	for _, r := range p.reads {
		conjunctions := b.conjunctions(r)
		i := slices.IndexFunc(deps, func(d Dependency) bool { return d.Table.ID == r.table.ID })
		if i < 0 {
			deps = append(deps, Dependency{Table: r.table, Conjunctions: conjunctions})
			continue
		}
		// Another table of the same family, or the same one read twice.
		deps[i].Conjunctions = merged(deps[i].Conjunctions, conjunctions)
	}
	if b.err != nil {
		return nil, fmt.Errorf("conj: bind: %w", b.err)
	}
	return deps, nil
}

// merged is the union of two disjunctions.
func merged(x, y []Conjunction) []Conjunction {
	all := slices.Clone(x)
	for _, c := range y {
		if !slices.ContainsFunc(all, func(have Conjunction) bool { return have.Key == c.Key }) {
			all = append(all, c)
		}
	}
	return all
}

// OperandKind is what an Operand is.
type OperandKind uint8

// The kinds of operands.
const (
	ExpressionOperand OperandKind = iota // anything that is not one of the others
	ParamOperand                         // a parameter
	LiteralOperand                       // a literal
	NullOperand                          // NULL
	DefaultOperand                       // DEFAULT
)

// Operand is a value in a text.
type Operand struct {
	Kind    OperandKind
	Param   int // index of the argument
	Literal any // int64, string or bool

	cast Kind // the type that it is cast to, as what it is of a column; Opaque if to none
	not  bool // the value is any that a boolean column may have, but this one and NULL
}

// Resolve returns the operand's value in a call; false if only the database
// can tell.
func (o Operand) Resolve(args []any) (v any, known bool) {
	switch o.Kind {
	case ParamOperand:
		if o.Param >= len(args) {
			return nil, false
		}
		return args[o.Param], true
	case LiteralOperand:
		return o.Literal, true
	case NullOperand:
		return nil, true
	}
	return nil, false
}

// elementsOf returns the length of a slice of values and its elements; nil
// of anything else.
func elementsOf(arg any) (int, func(int) any) {
	switch arg := arg.(type) {
	case []any:
		return len(arg), func(i int) any { return arg[i] }
	case []int64:
		return len(arg), func(i int) any { return arg[i] }
	case []string:
		return len(arg), func(i int) any { return arg[i] }
	}
	rv := reflect.ValueOf(arg)
	if rv.Kind() != reflect.Slice || rv.Type().Elem().Kind() == reflect.Uint8 {
		return 0, nil
	}
	return rv.Len(), func(i int) any { return rv.Index(i).Interface() }
}

func tableIndex(tables []*Table, t *Table) int {
	return slices.IndexFunc(tables, func(u *Table) bool { return u.ID == t.ID })
}
