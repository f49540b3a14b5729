package catalog

import (
	"context"
	"database/sql"
	"fmt"
	"sync"

	"github.com/cacheplugin/cacheplugin/conj"
)

// Querier runs a query: a *sql.DB, *sql.Tx, *sql.Conn or any gorm.ConnPool.
type Querier interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
}

// ColumnDefault says where a column's value comes from when an INSERT does
// not give one.
type ColumnDefault uint8

const (
	// DefaultNull columns become NULL (or the INSERT fails).
	DefaultNull ColumnDefault = iota
	// HasDefault columns take a value that only the database knows.
	HasDefault
	// Generated columns are computed by the database from others, whatever
	// a statement says.
	Generated
)

// UniqueIndex is an index in which no two rows have the same values.
type UniqueIndex struct {
	Name    string
	Columns []int // by index in the table
}

// Table is a table as the database has it. It is not changed once made.
type Table struct {
	// Table is what the parser needs of it. Its ID is schema.table in
	// PostgreSQL, database.table in MySQL, main.table in SQLite, folded to one
	// spelling where the database tells none apart.
	*conj.Table
	// PrimaryKey lists the key's columns by index, in the key's order; empty
	// if there is none. SQLite lets a key's columns hold NULL unless they are
	// declared NOT NULL.
	PrimaryKey []int
	// UniqueIndexes are MySQL's unique indexes, the primary key's among them,
	// without those of expressions and of parts of columns.
	UniqueIndexes []UniqueIndex
	// AutoIncrement is the index of the column that the database numbers
	// (serial, identity, AUTO_INCREMENT, SQLite's rowid), -1 if none.
	AutoIncrement int
	// Defaults is aligned with Columns.
	Defaults []ColumnDefault
	// Base tells tables from views, materialized views, and from foreign,
	// temporary and virtual tables.
	Base bool
	// Temporary is set of a temporary table.
	Temporary bool
	// Triggers are the names, between commas, of the triggers and rules made by
	// a user that a write of the table may fire, those of its family included;
	// empty if there are none. SQLite's ON CONFLICT REPLACE in a definition
	// counts as one.
	Triggers string
	// TriggersHidden is set if there may be triggers that can't be seen: MySQL
	// hides them from a user without the TRIGGER privilege.
	TriggersHidden bool
	// FoldedIndex is set if a unique index of SQLite compares otherwise than
	// byte by byte, so that rows may conflict which its columns tell apart.
	FoldedIndex bool
	// ForeignKeys are the keys to this table that act.
	ForeignKeys []*ForeignKey
	// DeleteTouches and UpdateTouches are the tables whose rows a DELETE and an
	// UPDATE may change by foreign keys' actions, transitively and sorted; the
	// table itself is among them if a cascade leads back.
	DeleteTouches, UpdateTouches []Ref
	// Referencing are the tables that a TRUNCATE ... CASCADE empties, too.
	Referencing []Ref

	onUpdate   []bool
	referenced []bool
}

// Fills reports whether the database gives the column a value of its own when
// an INSERT does not.
func (t *Table) Fills(column int) bool { return t.Defaults[column] != DefaultNull }

// Generated reports whether the column is computed from others.
func (t *Table) Generated(column int) bool { return t.Defaults[column] == Generated }

// OnUpdate reports whether the database sets the column when an UPDATE does not
// name it (MySQL's ON UPDATE CURRENT_TIMESTAMP).
func (t *Table) OnUpdate(column int) bool { return t.onUpdate[column] }

// Referenced reports whether an UPDATE of the column may change rows of
// UpdateTouches: a foreign key that acts refers to it.
func (t *Table) Referenced(column int) bool { return t.referenced[column] }

// Catalog remembers tables. It is safe for concurrent use. No lock is held
// while a query runs: callers may hold the only connection there is.
type Catalog struct {
	// Own, if set before the first call, returns what queries are sent through in
	// place of the Querier that a caller gives.
	Own func(Querier) Querier

	dialect conj.Dialect

	mu        sync.Mutex
	version   uint64
	names     map[conj.TableName]*Table
	tables    map[conj.TableName]*Table // one Table for all names of a table
	keys      *foreignKeys
	functions *Functions // nil before they are read
	server    *Server
}

// New returns an empty Catalog of a database of a dialect.
func New(d conj.Dialect) *Catalog {
	c := &Catalog{dialect: d}
	c.forget()
	return c
}

// Table returns the table that a name means, or nil if the database has none,
// which is not remembered. Temporary tables are not remembered either. With
// keep false the table is read anew and not remembered: a transaction that
// has changed definitions sees its own.
func (c *Catalog) Table(ctx context.Context, q Querier, name conj.TableName, keep bool) (*Table, error) {
	if keep {
		c.mu.Lock()
		t := c.names[name]
		c.mu.Unlock()
		if t != nil {
			return t, nil
		}
	}
	version := c.Version()
	q = c.own(q)
	def, err := c.read(ctx, q, name)
	if err != nil {
		return nil, fmt.Errorf("catalog: read table %s: %w", name, err)
	}
	if def == nil {
		return nil, nil
	}
	if def.own.Name == "" {
		def.own = def.name
	}
	keys, err := c.foreignKeys(ctx, q, keep)
	if err != nil {
		return nil, fmt.Errorf("catalog: read foreign keys: %w", err)
	}
	t := def.table(keys)
	if !keep || def.temporary {
		return t, nil
	}
	return c.remember(name, def.own, t, version), nil
}

// remember keeps a table unless definitions were dropped since it was read.
func (c *Catalog) remember(name, own conj.TableName, t *Table, version uint64) *Table {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.version != version {
		return t
	}
	if known := c.tables[own]; known != nil {
		t = known
	}
	c.tables[own] = t
	c.names[name] = t
	return t
}

// Drop forgets everything, after a statement that changed definitions.
func (c *Catalog) Drop() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.version++
	c.forget()
}

func (c *Catalog) forget() {
	c.names = make(map[conj.TableName]*Table)
	c.tables = make(map[conj.TableName]*Table)
	c.keys = nil
	c.functions = nil
}

// Version is a number that each Drop raises: what was derived from tables of
// an older version is out of date.
func (c *Catalog) Version() uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.version
}

func (c *Catalog) own(q Querier) Querier {
	if c.Own == nil {
		return q
	}
	return c.Own(q)
}

// read reads a table's definition, nil if there is none.
func (c *Catalog) read(ctx context.Context, q Querier, name conj.TableName) (*definition, error) {
	if !queryable(name.Name) || name.Schema != "" && !queryable(name.Schema) {
		return nil, nil
	}
	switch c.dialect {
	case conj.PostgreSQL:
		return readPostgres(ctx, q, name)
	case conj.MySQL:
		return readMySQL(ctx, q, name)
	default:
		return readSQLite(ctx, q, name)
	}
}

// foreignKeys returns the database's foreign keys that act on other tables.
func (c *Catalog) foreignKeys(ctx context.Context, q Querier, keep bool) (*foreignKeys, error) {
	if keep {
		c.mu.Lock()
		keys := c.keys
		c.mu.Unlock()
		if keys != nil {
			return keys, nil
		}
	}
	version := c.Version()
	var (
		list []keyColumn
		err  error
	)
	switch c.dialect {
	case conj.PostgreSQL:
		list, err = readPostgresKeys(ctx, q)
	case conj.MySQL:
		list, err = readMySQLKeys(ctx, q)
	default:
		list, err = readSQLiteKeys(ctx, q)
	}
	if err != nil {
		return nil, err
	}
	keys := newForeignKeys(list)
	c.mu.Lock()
	defer c.mu.Unlock()
	if keep && c.version == version {
		c.keys = keys
	}
	return keys, nil
}
