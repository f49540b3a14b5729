package conj

import (
	"slices"
	"strings"
)

// Dialect is the SQL dialect that a text is written in.
type Dialect uint8

// The dialects. MySQL stands for MariaDB too.
const (
	PostgreSQL Dialect = iota + 1
	MySQL
	SQLite
)

// DialectOf returns the dialect that a GORM dialector's Name() stands for.
func DialectOf(name string) (Dialect, bool) {
	switch strings.ToLower(name) {
	case "postgres":
		return PostgreSQL, true
	case "mysql":
		return MySQL, true
	case "sqlite":
		return SQLite, true
	}
	return 0, false
}

// String returns the dialect's name in lower case.
func (d Dialect) String() string {
	switch d {
	case PostgreSQL:
		return "postgres"
	case MySQL:
		return "mysql"
	case SQLite:
		return "sqlite"
	}
	return "unknown"
}

// Kind says how values of a column are brought to their canonical form, so
// that two values which the database deems equal have one and the same form.
// The zero Kind is Opaque: no equality on the column can narrow a dependency.
type Kind uint8

// The kinds. Whatever its kind, a column's IS NULL is exact.
const (
	// Opaque columns narrow by IS NULL only.
	Opaque Kind = iota
	// Integer columns hold whole numbers of any size, signed or not.
	Integer
	// Boolean columns hold true and false (1 and 0).
	Boolean
	// Decimal columns hold exact numbers with a fraction.
	Decimal
	// Text columns compare byte by byte (PostgreSQL's deterministic
	// collations, SQLite's BINARY).
	Text
	// PaddedText columns compare byte by byte, trailing blanks aside
	// (MySQL's *_bin collations with PAD SPACE).
	PaddedText
	// FoldedText columns compare by a collation that ignores case and more.
	// Only values of printable ASCII have a canonical form.
	FoldedText
	// UUID columns hold 16 bytes, however they are written.
	UUID
	// Bytes columns compare byte by byte.
	Bytes
	// Label columns hold one of a set of labels (PostgreSQL's enums).
	Label
)

var kindNames = [...]string{"opaque", "integer", "boolean", "decimal", "text", "padded-text", "folded-text", "uuid", "bytes", "label"}

// String returns the kind's name in lower case.
func (k Kind) String() string {
	if int(k) < len(kindNames) {
		return kindNames[k]
	}
	return "unreadable"
}

// ParseKind returns the kind of which String gives the name.
func ParseKind(name string) (Kind, bool) {
	i := slices.Index(kindNames[:], name)
	return Kind(max(i, 0)), i >= 0
}

// Column is what conj must know of a table's column.
type Column struct {
	Name string // as the database spells it
	Kind Kind
}

// Table is what conj must know of a table. It is made once by [NewTable] and
// not changed after.
type Table struct {
	// ID is the table's identity, one for all spellings of its name, such as
	// "public.users".
	ID string
	// Name is the table's name without a schema, and Schema that schema as the
	// database spells it.
	Name, Schema string
	// Members are the names of all tables that share the ID, because a write of
	// one may change what is read of another (inheritance, partitions); nil of
	// a table by itself.
	Members []string
	// Uncacheable says why reads of the table can't be cached ("is temporary");
	// empty if they can.
	Uncacheable string
	// Declarable is true of what is Uncacheable only because the tables behind
	// it are not known (a view, a foreign table): who names them may cache it.
	Declarable bool
	// View is what a view stands for, nil of any other table. A query on a view
	// depends on the tables that the view reads, and on the view's name, so
	// that its definition can be changed.
	View *View
	// Unique lists sets of columns, by index, in which no two rows agree
	// unless one of the columns is NULL.
	Unique [][]int

	columns []Column
	exact   map[string]int // column name -> index
	folded  map[string]int // lower-case name -> index; -1 if ambiguous
	schemes *schemes
}

// NewTable returns a Table with the given columns.
func NewTable(id, name string, columns []Column) *Table {
	t := &Table{
		ID: id, Name: name, columns: columns, schemes: &schemes{},
		exact:  make(map[string]int, len(columns)),
		folded: make(map[string]int, len(columns)),
	}
	for i, c := range columns {
		t.exact[c.Name] = i
		low := strings.ToLower(c.Name)
		if _, twice := t.folded[low]; twice {
			t.folded[low] = -1
		} else {
			t.folded[low] = i
		}
	}
	return t
}

// Columns returns the table's columns in their order. It must not be changed.
func (t *Table) Columns() []Column { return t.columns }

// Index returns the position of the column that a name means in a dialect,
// or -1. PostgreSQL's names have been folded by the tokenizer and are matched
// exactly, those of the others without regard to case.
func (t *Table) Index(d Dialect, name string) int {
	if i, ok := t.exact[name]; ok {
		return i
	}
	if d != PostgreSQL {
		if i, ok := t.folded[strings.ToLower(name)]; ok {
			return i
		}
	}
	return -1
}

// TableName is a table's name as a statement gives it, unquoted and, in
// PostgreSQL, folded. Schema is empty where the text names none.
type TableName struct{ Schema, Name string }

// String returns the name with its schema, if it has one.
func (n TableName) String() string {
	if n.Schema == "" {
		return n.Name
	}
	return n.Schema + "." + n.Name
}

// Lookup finds a table by name. It returns nil and no error for a name that
// the database does not know.
type Lookup func(TableName) (*Table, error)
