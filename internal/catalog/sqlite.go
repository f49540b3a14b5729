package catalog

import (
	"context"
	"database/sql"
	"strings"

	"github.com/cacheplugin/cacheplugin/conj"
)

// sqliteObject is a table or view as sqlite_master has it.
type sqliteObject struct {
	schema, name, kind, sql string
	triggers                string
}

func readSQLite(ctx context.Context, q Querier, name conj.TableName) (*definition, error) {
	object, err := findSQLite(ctx, q, name)
	if err != nil || object == nil {
		return nil, err
	}
	def := &definition{
		id: foldSQLite(tableID(object.schema, object.name)), name: conj.TableName{Schema: object.schema, Name: object.name},
		triggers: object.triggers, temporary: object.schema == "temp",
	}
	ddl := parseSQLiteTable(object.sql)
	// A plain INSERT then deletes other rows and turns NULL into a default:
	// what a trigger could do.
	if def.triggers == "" && ddl.replace {
		def.triggers = "ON CONFLICT REPLACE"
	}
	switch {
	case def.temporary:
		def.uncacheable = "is temporary"
	case object.schema != "main":
		def.uncacheable = "is in an attached database"
	case object.kind == "view":
		if query, ok := sqliteViewQuery(object.sql); ok {
			def.view = &conj.View{Query: query, Schema: object.schema}
		} else {
			def.uncacheable = strangeView
		}
	case ddl.virtual:
		def.uncacheable = "is a virtual table"
	}
	def.base = def.uncacheable == "" && object.kind == "table"
	return def, readSQLiteColumns(ctx, q, object, ddl, def)
}

// findSQLite finds a table in the order that SQLite does: temporary tables,
// the database's, attached ones'. Names are one if only ASCII case differs.
func findSQLite(ctx context.Context, q Querier, name conj.TableName) (*sqliteObject, error) {
	schemas := []string{"temp", "main"}
	var attached []string
	if err := each(ctx, q, func(rows *sql.Rows) error {
		var schema string
		if err := rows.Scan(&schema); err != nil {
			return err
		}
		if schema != "temp" && schema != "main" {
			attached = append(attached, schema)
		}
		return nil
	}, `SELECT name FROM pragma_database_list ORDER BY seq`); err != nil {
		return nil, err
	}
	for _, schema := range append(schemas, attached...) {
		if name.Schema != "" && foldSQLite(name.Schema) != foldSQLite(schema) {
			continue
		}
		object, err := findSQLiteIn(ctx, q, schema, name.Name)
		if object != nil || err != nil {
			return object, err
		}
	}
	return nil, nil
}

func findSQLiteIn(ctx context.Context, q Querier, schema, name string) (*sqliteObject, error) {
	master := quoteSQLite(schema) + ".sqlite_master"
	var object *sqliteObject
	err := each(ctx, q, func(rows *sql.Rows) error {
		object = &sqliteObject{schema: schema}
		return rows.Scan(&object.name, &object.kind, &object.sql, &object.triggers)
	}, `SELECT m.name, m.type, coalesce(m.sql, ''),
       coalesce((SELECT group_concat(g.name, ', ') FROM (
         SELECT name, type, tbl_name FROM `+master+` UNION ALL SELECT name, type, tbl_name FROM temp.sqlite_master ORDER BY 1) g
         WHERE g.type = 'trigger' AND g.tbl_name = m.name COLLATE NOCASE), '')
FROM `+master+` m WHERE m.type IN ('table', 'view') AND m.name = ? COLLATE NOCASE`, name)
	return object, err
}

func readSQLiteColumns(ctx context.Context, q Querier, object *sqliteObject, ddl sqliteTable, def *definition) error {
	var keyed int // columns of the primary key
	rowid := -1
	err := each(ctx, q, func(rows *sql.Rows) error {
		var (
			c        columnDefinition
			declared string
			deflt    sql.NullString
			hidden   int
			keyIndex bool
		)
		if err := rows.Scan(&c.name, &declared, &deflt, &c.key, &hidden, &keyIndex, &def.foldedIndex); err != nil {
			return err
		}
		i := len(def.columns)
		c.kind = sqliteKind(declared, ddl.binary(i, c.name))
		switch {
		case hidden == 2 || hidden == 3:
			c.deflt = Generated
		case hidden != 0:
			c.kind = conj.Opaque
		case deflt.Valid && !strings.EqualFold(strings.TrimSpace(deflt.String), "null"):
			c.deflt = HasDefault
		}
		if c.key > 0 {
			keyed++
			if strings.EqualFold(declared, "integer") && !keyIndex {
				rowid = i
			}
		}
		def.columns = append(def.columns, c)
		return nil
	}, `SELECT x.name, x.type, x.dflt_value, x.pk, x.hidden,
       EXISTS (SELECT 1 FROM pragma_index_list(?1, ?2) i WHERE i.origin = 'pk'),
       EXISTS (SELECT 1 FROM pragma_index_list(?1, ?2) i, pragma_index_xinfo(i.name, ?2) k
               WHERE i."unique" AND k.key AND k.coll <> 'BINARY' COLLATE NOCASE)
FROM pragma_table_xinfo(?1, ?2) x ORDER BY x.cid`, object.name, object.schema)
	if rowid >= 0 && keyed == 1 && def.base {
		def.columns[rowid].autoIncrement = true
		def.columns[rowid].deflt = HasDefault
	}
	return err
}

// sqliteKind follows SQLite's rules of affinity (section 3.1 of "Datatypes In
// SQLite"). Columns declared as dates are Opaque: drivers turn their values
// into times.
func sqliteKind(declared string, binary bool) conj.Kind {
	declared = strings.ToUpper(declared)
	has := func(words ...string) bool {
		for _, w := range words {
			if strings.Contains(declared, w) {
				return true
			}
		}
		return false
	}
	switch {
	case has("DATE", "TIME"), declared == "ANY":
		return conj.Opaque
	case !binary:
		return conj.Opaque
	case declared == "BOOLEAN":
		return conj.Boolean
	case has("INT"):
		return conj.Integer
	case has("CHAR", "CLOB", "TEXT"):
		return conj.Text
	case has("BLOB"), declared == "":
		return conj.Bytes
	case has("REAL", "FLOA", "DOUB"):
		return conj.Opaque
	}
	return conj.Integer // NUMERIC affinity
}

const sqliteKeys = `
SELECT m.name || '.' || f.id, f."table", coalesce(f."to", ''), m.name, f."from", f.on_delete, f.on_update
FROM main.sqlite_master m, pragma_foreign_key_list(m.name, 'main') f WHERE m.type = 'table' ORDER BY f.seq`

// readSQLiteKeys reads the foreign keys of the database's own tables, whether
// or not the connection enforces them: others may.
func readSQLiteKeys(ctx context.Context, q Querier) ([]keyColumn, error) {
	var keys []keyColumn
	err := each(ctx, q, func(rows *sql.Rows) error {
		var (
			key                keyColumn
			parent             string
			onDelete, onUpdate string
		)
		child := &key.child.Name
		child.Schema = "main"
		if err := rows.Scan(&key.constraint, &parent, &key.column, &child.Name, &key.childColumn, &onDelete, &onUpdate); err != nil {
			return err
		}
		key.parent, key.child.ID = foldSQLite(tableID("main", parent)), foldSQLite(tableID("main", child.Name))
		key.onDelete, key.onUpdate, key.readable = ruleAction(onDelete), ruleAction(onUpdate), true
		keys = append(keys, key)
		return nil
	}, sqliteKeys)
	return keys, err
}

// foldSQLite folds a name as SQLite does: ASCII letters only.
func foldSQLite(name string) string {
	return strings.Map(func(r rune) rune {
		if r >= 'A' && r <= 'Z' {
			return r + 'a' - 'A'
		}
		return r
	}, name)
}

// quoteSQLite quotes an identifier.
func quoteSQLite(name string) string {
	return `"` + strings.ReplaceAll(name, `"`, `""`) + `"`
}
