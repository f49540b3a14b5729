package catalog

import (
	"context"
	"database/sql"
	"slices"
	"strings"
)

// mysqlForeign are the foreign keys as MariaDB's InnoDB knows them, which are read
// without opening a table. Only those with the PROCESS privilege may. No other engine
// has foreign keys that act.
const (
	mysqlForeign = `
SELECT ID, FOR_NAME, REF_NAME, TYPE, @@lower_case_table_names FROM information_schema.INNODB_SYS_FOREIGN ORDER BY ID`
	mysqlForeignColumns = `
SELECT ID, FOR_COL_NAME, REF_COL_NAME FROM information_schema.INNODB_SYS_FOREIGN_COLS ORDER BY ID, POS`
)

// mysqlConstraints are the foreign keys as the standard has them. MariaDB opens every
// table of every database for them, and once more for their columns, unless a query
// names the schema and the table.
const (
	mysqlConstraints = `
SELECT CONSTRAINT_NAME, UNIQUE_CONSTRAINT_SCHEMA, REFERENCED_TABLE_NAME, CONSTRAINT_SCHEMA, TABLE_NAME, DELETE_RULE, UPDATE_RULE,
       @@lower_case_table_names
FROM information_schema.REFERENTIAL_CONSTRAINTS`
	mysqlConstraintColumns = `
SELECT CONSTRAINT_NAME, CONSTRAINT_SCHEMA, TABLE_NAME, REFERENCED_COLUMN_NAME, COLUMN_NAME
FROM information_schema.KEY_COLUMN_USAGE WHERE REFERENCED_COLUMN_NAME IS NOT NULL`
	mysqlOfTable = ` AND TABLE_SCHEMA = ? AND TABLE_NAME = ?`
	mysqlInOrder = ` ORDER BY CONSTRAINT_SCHEMA, TABLE_NAME, CONSTRAINT_NAME, ORDINAL_POSITION`
)

// mysqlTablesByName is for how many tables the columns of their keys are asked for
// one by one.
const mysqlTablesByName = 20

// mysqlKey is a foreign key without its columns.
type mysqlKey struct {
	name string // with those of its schema and table
	keyColumn
}

// readMySQLKeys reads the foreign keys. What they do fires no triggers.
func readMySQLKeys(ctx context.Context, q Querier) ([]keyColumn, error) {
	if keys, ok := readInnoDBKeys(ctx, q); ok {
		return keys, nil
	}
	return readMySQLConstraints(ctx, q)
}

// readInnoDBKeys reads the foreign keys from InnoDB. It reports false on MySQL, which
// has them in an index, without the privilege, and where a name has signs that InnoDB
// encodes.
func readInnoDBKeys(ctx context.Context, q Querier) ([]keyColumn, bool) {
	encoded := false
	var keys []mysqlKey
	err := each(ctx, q, func(rows *sql.Rows) error {
		var (
			id, child, parent string
			acts, lowerCase   int
		)
		if err := rows.Scan(&id, &child, &parent, &acts, &lowerCase); err != nil {
			return err
		}
		encoded = encoded || strings.Contains(child+parent, "@")
		childSchema, childName, _ := strings.Cut(child, "/")
		parentSchema, parentName, _ := strings.Cut(parent, "/")
		k := newMySQLKey(id, parentSchema, parentName, childSchema, childName, lowerCase)
		k.onDelete, k.onUpdate = innoDBAction(acts, 1, 2), innoDBAction(acts, 4, 8)
		keys = append(keys, k)
		return nil
	}, mysqlForeign)
	if err != nil || encoded {
		return nil, false
	}
	columns := map[string][][2]string{}
	err = each(ctx, q, func(rows *sql.Rows) error {
		var id, child, parent string
		if err := rows.Scan(&id, &child, &parent); err != nil {
			return err
		}
		columns[id] = append(columns[id], [2]string{parent, child})
		return nil
	}, mysqlForeignColumns)
	return withColumns(keys, columns), err == nil
}

// innoDBAction reads an action from InnoDB's flags.
func innoDBAction(flags, cascade, setNull int) Action {
	switch {
	case flags&cascade != 0:
		return Cascade
	case flags&setNull != 0:
		return SetNull
	}
	return Refuse
}

// readMySQLConstraints reads the foreign keys as the standard has them.
func readMySQLConstraints(ctx context.Context, q Querier) ([]keyColumn, error) {
	var (
		keys   []mysqlKey
		tables [][2]string
	)
	err := each(ctx, q, func(rows *sql.Rows) error {
		var (
			name, parentSchema, parent, schema, table, onDelete, onUpdate string
			lowerCase                                                     int
		)
		if err := rows.Scan(&name, &parentSchema, &parent, &schema, &table, &onDelete, &onUpdate, &lowerCase); err != nil {
			return err
		}
		k := newMySQLKey(tableID(schema, table)+"."+name, parentSchema, parent, schema, table, lowerCase)
		k.onDelete, k.onUpdate = ruleAction(onDelete), ruleAction(onUpdate)
		keys = append(keys, k)
		if t := [2]string{schema, table}; !slices.Contains(tables, t) {
			tables = append(tables, t)
		}
		return nil
	}, mysqlConstraints)
	if err != nil {
		return nil, err
	}
	columns := map[string][][2]string{}
	read := func(where string, args ...any) error {
		return each(ctx, q, func(rows *sql.Rows) error {
			var name, schema, table, parent, child string
			if err := rows.Scan(&name, &schema, &table, &parent, &child); err != nil {
				return err
			}
			id := tableID(schema, table) + "." + name
			columns[id] = append(columns[id], [2]string{parent, child})
			return nil
		}, mysqlConstraintColumns+where+mysqlInOrder, args...)
	}
	if len(tables) > mysqlTablesByName {
		err = read("")
	} else {
		for _, t := range tables {
			if err = read(mysqlOfTable, t[0], t[1]); err != nil {
				break
			}
		}
	}
	return withColumns(keys, columns), err
}

func newMySQLKey(name, parentSchema, parent, schema, table string, lowerCase int) mysqlKey {
	k := mysqlKey{name: name}
	k.child.Name.Schema, k.child.Name.Name = schema, table
	k.parent, k.child.ID, k.readable = tableID(parentSchema, parent), tableID(schema, table), true
	k.constraint = name
	if lowerCase != 0 {
		k.parent, k.child.ID = strings.ToLower(k.parent), strings.ToLower(k.child.ID)
	}
	return k
}

// withColumns gives keys their columns, which are pairs of the parent's and the
// child's. A key of which none is known stays, without their names.
func withColumns(keys []mysqlKey, columns map[string][][2]string) []keyColumn {
	var list []keyColumn
	for _, k := range keys {
		if len(columns[k.name]) == 0 {
			list = append(list, k.keyColumn)
		}
		for _, pair := range columns[k.name] {
			one := k.keyColumn
			one.column, one.childColumn = pair[0], pair[1]
			list = append(list, one)
		}
	}
	return list
}
