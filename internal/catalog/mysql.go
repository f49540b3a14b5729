package catalog

import (
	"context"
	"database/sql"
	"slices"
	"strings"

	"github.com/cacheplugin/cacheplugin/conj"
)

// mysqlTable reads a table and its columns, DB standing for its database.
// Every part has the names as constants and none is joined by them: otherwise
// MariaDB opens all tables of all databases. The server may match names
// without regard to case; the reader does not leave it at that.
const mysqlTable = `
SELECT t.TABLE_SCHEMA, t.TABLE_NAME, t.TABLE_TYPE, t.ENGINE, @@lower_case_table_names, VERSION() LIKE '%MariaDB%',
       @@character_set_client, @@character_set_connection, @@character_set_results,
       (SELECT GROUP_CONCAT(g.TRIGGER_NAME ORDER BY 1 SEPARATOR ', ') FROM information_schema.TRIGGERS g
        WHERE g.EVENT_OBJECT_SCHEMA = DB AND g.EVENT_OBJECT_TABLE = ?),
       c.COLUMN_NAME, c.DATA_TYPE, c.IS_NULLABLE, c.COLUMN_DEFAULT, c.COLLATION_NAME, c.EXTRA
FROM information_schema.TABLES t
JOIN information_schema.COLUMNS c
  ON c.TABLE_SCHEMA = DB AND c.TABLE_NAME = ? AND CAST(c.TABLE_NAME AS BINARY) = CAST(t.TABLE_NAME AS BINARY)
WHERE t.TABLE_SCHEMA = DB AND t.TABLE_NAME = ?
ORDER BY c.ORDINAL_POSITION`

// mysqlUnique reads the columns of the unique indexes. An expression has no
// column's name, a part of a column has a length.
const mysqlUnique = `
SELECT INDEX_NAME, COLUMN_NAME, SEQ_IN_INDEX, SUB_PART FROM information_schema.STATISTICS
WHERE TABLE_SCHEMA = ? AND TABLE_NAME = ? AND NON_UNIQUE = 0 AND CAST(TABLE_NAME AS BINARY) = CAST(? AS BINARY)
ORDER BY INDEX_NAME, SEQ_IN_INDEX`

var (
	mysqlOwnTable   = strings.ReplaceAll(mysqlTable, "= DB ", "= DATABASE() ")
	mysqlOtherTable = strings.ReplaceAll(mysqlTable, "= DB ", "= ? ")
)

func readMySQL(ctx context.Context, q Querier, name conj.TableName) (*definition, error) {
	query, args := mysqlOwnTable, []any{name.Name, name.Name, name.Name}
	if name.Schema != "" {
		query, args = mysqlOtherTable, []any{name.Schema, name.Name, name.Schema, name.Name, name.Schema, name.Name}
	}
	var (
		def *definition
		in  string // its database

		isView bool
	)
	err := each(ctx, q, func(rows *sql.Rows) error {
		var (
			schema, table, tableType            string
			engine, client, connection, results sql.NullString
			lowerCase                           int
			mariaDB                             bool
			triggers                            sql.NullString
			column, dataType, nullable          string
			deflt, collation, extraText         sql.NullString
		)
		if err := rows.Scan(&schema, &table, &tableType, &engine, &lowerCase, &mariaDB, &client, &connection, &results, &triggers,
			&column, &dataType, &nullable, &deflt, &collation, &extraText); err != nil {
			return err
		}
		if lowerCase == 0 && (table != name.Name || name.Schema != "" && schema != name.Schema) {
			return nil // another table, whose name differs in case
		}
		if def == nil {
			def = &definition{
				id: tableID(schema, table), name: conj.TableName{Schema: schema, Name: table}, triggers: triggers.String,
			}
			in = schema
			if lowerCase != 0 {
				def.id = strings.ToLower(def.id)
			}
			def.uncacheable = mysqlUncacheable(schema, tableType, engine.String)
			isView = tableType == "VIEW" && def.uncacheable == ""
			def.base = def.uncacheable == "" && !isView
		}
		extra := strings.ToLower(extraText.String)
		c := columnDefinition{
			name: column, autoIncrement: strings.Contains(extra, "auto_increment"),
			onUpdate: strings.Contains(extra, "on update"),
			kind: mysqlKind(strings.ToLower(dataType), collation.String,
				mysqlConnection{client.String, connection.String, results.String}),
		}
		switch {
		case strings.Contains(extra, "virtual"), strings.Contains(extra, "stored"), strings.Contains(extra, "persistent"):
			c.deflt = Generated
		case nullable != "YES", deflt.Valid && !(mariaDB && deflt.String == "NULL"), extra != "":
			c.deflt = HasDefault // NOT NULL: outside of strict mode there is an implicit one
		}
		def.columns = append(def.columns, c)
		return nil
	}, query, args...)
	if err == nil && def != nil && isView {
		err = readMySQLView(ctx, q, in, def)
	}
	if err != nil || def == nil || !def.base {
		return def, err
	}
	if err := readMySQLUnique(ctx, q, in, def); err != nil || def.triggers != "" {
		return def, err
	}
	def.hidden, err = mysqlHidesTriggers(ctx, q, in, def.name.Name)
	return def, err
}

const mysqlView = `SELECT VIEW_DEFINITION, TABLE_NAME FROM information_schema.VIEWS WHERE TABLE_SCHEMA = ? AND TABLE_NAME = ?`

// readMySQLView reads a view's definition, in which all names have their
// database.
func readMySQLView(ctx context.Context, q Querier, schema string, def *definition) error {
	def.uncacheable = unreadableView
	return each(ctx, q, func(rows *sql.Rows) error {
		var (
			query sql.NullString
			name  string
		)
		if err := rows.Scan(&query, &name); err != nil {
			return err
		}
		switch {
		case name != def.name.Name, query.String == "":
		case strings.Contains(query.String, `\`):
			def.uncacheable = backslashedView
		default:
			def.uncacheable, def.view = "", &conj.View{Query: query.String, Schema: schema}
		}
		return nil
	}, mysqlView, schema, def.name.Name)
}

func readMySQLUnique(ctx context.Context, q Querier, schema string, def *definition) error {
	partial := map[string]bool{}
	err := each(ctx, q, func(rows *sql.Rows) error {
		var (
			name     string
			column   sql.NullString
			position int
			part     sql.NullInt64
		)
		if err := rows.Scan(&name, &column, &position, &part); err != nil {
			return err
		}
		i := slices.IndexFunc(def.columns, func(c columnDefinition) bool { return column.Valid && c.name == column.String })
		if name == "PRIMARY" && i >= 0 {
			def.columns[i].key = position
		}
		partial[name] = partial[name] || i < 0 || part.Valid
		if n := len(def.unique); n == 0 || def.unique[n-1].Name != name {
			def.unique = append(def.unique, UniqueIndex{Name: name})
		}
		last := &def.unique[len(def.unique)-1]
		last.Columns = append(last.Columns, i)
		return nil
	}, mysqlUnique, schema, def.name.Name, def.name.Name)
	def.unique = slices.DeleteFunc(def.unique, func(index UniqueIndex) bool { return partial[index.Name] })
	return err
}

func mysqlUncacheable(schema, tableType, engine string) string {
	switch strings.ToLower(schema) {
	case "mysql", "information_schema", "performance_schema", "sys":
		return "is a system table"
	}
	switch tableType {
	case "BASE TABLE":
	case "VIEW":
		return ""
	case "SYSTEM VERSIONED":
		return "is system-versioned"
	default:
		return "is a " + strings.ToLower(tableType)
	}
	switch strings.ToLower(engine) {
	case "innodb", "myisam", "aria", "memory", "rocksdb":
		return ""
	}
	return "has the storage engine " + engine // it may keep its rows elsewhere
}

// mysqlConnection holds a connection's character sets.
type mysqlConnection struct{ client, connection, results string }

// all reports whether each of the three is one of the given.
func (c mysqlConnection) all(charsets ...string) bool {
	for _, have := range []string{c.client, c.connection, c.results} {
		ok := false
		for _, charset := range charsets {
			ok = ok || have == charset
		}
		if !ok {
			return false
		}
	}
	return true
}

func mysqlKind(dataType, collation string, conn mysqlConnection) conj.Kind {
	switch dataType {
	case "tinyint", "smallint", "mediumint", "int", "bigint":
		return conj.Integer
	case "decimal":
		return conj.Decimal
	case "uuid":
		return conj.UUID
	case "binary", "varbinary", "tinyblob", "blob", "mediumblob", "longblob":
		return conj.Bytes
	case "char", "varchar", "tinytext", "text", "mediumtext", "longtext":
		return mysqlText(collation, conn)
	}
	return conj.Opaque
}

// mysqlText tells how text of a collation compares. A connection that can't
// carry all of a column's characters shows a question mark for the others:
// then rows are not readable.
func mysqlText(collation string, conn mysqlConnection) conj.Kind {
	charset, order, _ := strings.Cut(collation, "_")
	if charset == "utf8" {
		charset = "utf8mb3"
	}
	kind := conj.Opaque
	switch {
	case mysqlFolded[charset+"_"+order]:
		kind = conj.FoldedText
	case mysqlPadded[charset+"_"+order]:
		kind = conj.PaddedText
	}
	switch {
	case kind == conj.Opaque, conn.all("utf8mb4"):
		return kind
	case kind == conj.FoldedText && charset != "utf8mb4" && conn.all("utf8mb4", "utf8mb3", "utf8"):
		return kind
	}
	return conj.Unreadable
}

// mysqlPadded are the collations that compare code points, with or without
// regard to trailing blanks.
var mysqlPadded = map[string]bool{
	"utf8mb4_bin": true, "utf8mb4_nopad_bin": true, "utf8mb4_0900_bin": true,
	"utf8mb3_bin": true, "utf8mb3_nopad_bin": true,
}

// mysqlFolded are the collations in which printable ASCII differs by more
// than case and trailing blanks, or by less: none has rules of one language.
var mysqlFolded = map[string]bool{
	"utf8mb4_general_ci": true, "utf8mb4_general_nopad_ci": true,
	"utf8mb4_unicode_ci": true, "utf8mb4_unicode_nopad_ci": true,
	"utf8mb4_unicode_520_ci": true, "utf8mb4_unicode_520_nopad_ci": true,
	"utf8mb4_0900_ai_ci": true, "utf8mb4_0900_as_ci": true, "utf8mb4_0900_as_cs": true,
	"utf8mb4_uca1400_ai_ci": true, "utf8mb4_uca1400_as_ci": true,
	"utf8mb4_uca1400_ai_cs": true, "utf8mb4_uca1400_as_cs": true,
	"utf8mb4_uca1400_nopad_ai_ci": true, "utf8mb4_uca1400_nopad_as_ci": true,
	"utf8mb4_uca1400_nopad_ai_cs": true, "utf8mb4_uca1400_nopad_as_cs": true,

	"utf8mb3_general_ci": true, "utf8mb3_general_nopad_ci": true, "utf8mb3_general_mysql500_ci": true,
	"utf8mb3_unicode_ci": true, "utf8mb3_unicode_nopad_ci": true,
	"utf8mb3_unicode_520_ci": true, "utf8mb3_unicode_520_nopad_ci": true,
	"utf8mb3_uca1400_ai_ci": true, "utf8mb3_uca1400_as_ci": true,

	"latin1_swedish_ci": true, "latin1_general_ci": true, "ascii_general_ci": true,
}
