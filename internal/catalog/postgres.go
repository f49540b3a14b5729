package catalog

import (
	"context"
	"database/sql"
	"fmt"
	"strings"

	"github.com/cacheplugin/cacheplugin/conj"
)

// postgresTriggers is the names of the triggers and rules of c.
const postgresTriggers = `pg_catalog.array_to_string(ARRAY(
         SELECT g.tgname::text FROM pg_catalog.pg_trigger g WHERE g.tgrelid = c.oid AND NOT g.tgisinternal AND g.tgenabled <> 'D'
         UNION ALL
         SELECT r.rulename::text FROM pg_catalog.pg_rewrite r WHERE r.ev_class = c.oid AND r.ev_type <> '1' AND r.ev_enabled <> 'D'
         ORDER BY 1), ', ')`

// postgresTable reads a table and its columns. A schema is matched by name:
// to_regclass fails on one that the user may not use.
const postgresTable = `
SELECT c.oid::bigint, n.nspname::text, c.relname::text, c.relkind::text, c.relpersistence::text, c.relrowsecurity,
       EXISTS (SELECT 1 FROM pg_catalog.pg_inherits h WHERE h.inhrelid = c.oid OR h.inhparent = c.oid),
       ` + postgresTriggers + `,
       pg_catalog.current_setting('client_encoding', true),
       CASE c.relkind WHEN 'v' THEN pg_catalog.pg_get_viewdef(c.oid) END,
       a.attname::text, COALESCE(b.typname, t.typname)::text, COALESCE(b.typtype, t.typtype)::text,
       COALESCE(b.typnamespace, t.typnamespace) = 'pg_catalog'::pg_catalog.regnamespace,
       COALESCE(l.collisdeterministic, true),
       a.atthasdef OR t.typdefault IS NOT NULL, a.attidentity <> '', a.attgenerated <> '',
       COALESCE(pg_catalog.pg_get_expr(d.adbin, d.adrelid) LIKE 'nextval(%', false),
       COALESCE(pg_catalog.array_position(i.indkey::int2[], a.attnum) - pg_catalog.array_lower(i.indkey::int2[], 1) + 1, 0)
FROM pg_catalog.pg_class c
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
LEFT JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
LEFT JOIN pg_catalog.pg_type t ON t.oid = a.atttypid
LEFT JOIN pg_catalog.pg_type b ON t.typtype = 'd' AND b.oid = t.typbasetype
LEFT JOIN pg_catalog.pg_collation l ON l.oid = a.attcollation
LEFT JOIN pg_catalog.pg_attrdef d ON d.adrelid = c.oid AND d.adnum = a.attnum
LEFT JOIN pg_catalog.pg_index i ON i.indrelid = c.oid AND i.indisprimary
WHERE `

const (
	postgresByPath = postgresTable + `c.oid = pg_catalog.to_regclass($1::text) ORDER BY a.attnum`

	postgresBySchema = postgresTable + `c.relname = $1::text::name
  AND (n.nspname = $2::text::name OR $2::text = 'pg_temp' AND n.oid = pg_catalog.pg_my_temp_schema())
  AND c.relkind IN ('r', 'p', 'v', 'm', 'f') ORDER BY a.attnum`
)

func readPostgres(ctx context.Context, q Querier, name conj.TableName) (*definition, error) {
	query, args := postgresByPath, []any{quotePostgres(name.Name)}
	if name.Schema != "" {
		query, args = postgresBySchema, []any{name.Name, name.Schema}
	}
	var (
		def    *definition
		oid    int64
		family bool
	)
	err := each(ctx, q, func(rows *sql.Rows) error {
		var (
			schema, table, kind, persistence, encoding string
			rls, inherits                              bool
			triggers                                   string
			view, column, typeName, typeType           sql.NullString
			builtin, deterministic, hasDefault         sql.NullBool
			identity, generated, serial                sql.NullBool
			key                                        int
		)
		if err := rows.Scan(&oid, &schema, &table, &kind, &persistence, &rls, &inherits, &triggers, &encoding,
			&view, &column, &typeName, &typeType, &builtin, &deterministic, &hasDefault, &identity, &generated, &serial, &key); err != nil {
			return err
		}
		if def == nil {
			def = &definition{
				id: tableID(schema, table), name: conj.TableName{Schema: schema, Name: table},
				temporary: persistence == "t", triggers: triggers,
			}
			family = inherits || kind == "p"
			def.uncacheable = postgresUncacheable(schema, kind, def.temporary, rls)
			if view.Valid {
				def.view = &conj.View{Query: view.String}
			}
			def.base = (kind == "r" || kind == "p") && !def.temporary && !postgresSystem(schema)
		}
		if !column.Valid {
			return nil // a table without columns
		}
		c := columnDefinition{
			name: column.String, key: key, autoIncrement: identity.Bool || serial.Bool,
			kind: postgresKind(typeName.String, typeType.String, builtin.Bool, deterministic.Bool, encoding),
		}
		switch {
		case generated.Bool:
			c.deflt = Generated
		case hasDefault.Bool, identity.Bool:
			c.deflt = HasDefault
		}
		def.columns = append(def.columns, c)
		return nil
	}, query, args...)
	if err == nil && family {
		err = readPostgresFamily(ctx, q, oid, def)
	}
	return def, err
}

func postgresUncacheable(schema, kind string, temporary, rls bool) string {
	switch {
	case postgresSystem(schema):
		return "is a system table"
	case temporary:
		return "is temporary"
	case kind == "v", kind == "m":
		return "" // of a materialized view only a REFRESH changes the rows
	case kind == "f":
		return "is a foreign table"
	case kind != "r" && kind != "p":
		return "is not a table"
	case rls:
		return "has row level security"
	}
	return ""
}

func postgresSystem(schema string) bool {
	return schema == "pg_catalog" || schema == "information_schema" || schema == "pg_toast"
}

// postgresKind tells how a column compares. Text goes through the client
// encoding; only in UTF-8 does everything have one form.
func postgresKind(typeName, typeType string, builtin, deterministic bool, encoding string) conj.Kind {
	if typeType == "e" {
		return postgresText(conj.Label, encoding)
	}
	if typeType != "b" || !builtin {
		return conj.Opaque
	}
	switch typeName {
	case "int2", "int4", "int8":
		return conj.Integer
	case "bool":
		return conj.Boolean
	case "numeric":
		return conj.Decimal
	case "uuid":
		return conj.UUID
	case "bytea":
		return conj.Bytes
	case "text", "varchar":
		if deterministic {
			return postgresText(conj.Text, encoding)
		}
	}
	return conj.Opaque
}

func postgresText(k conj.Kind, encoding string) conj.Kind {
	if encoding != "UTF8" {
		return conj.Unreadable
	}
	return k
}

// quotePostgres quotes an identifier.
func quotePostgres(name string) string {
	return `"` + strings.ReplaceAll(name, `"`, `""`) + `"`
}

// postgresKeys reads the foreign keys, but not the copies of them that
// partitions have. A user without USAGE of a schema can't read its tables.
const postgresKeys = `
SELECT k.oid::text, pn.nspname::text, p.relname::text, pa.attname::text, cn.nspname::text, c.relname::text, ca.attname::text,
       k.confdeltype::text, k.confupdtype::text,
       COALESCE(pg_catalog.to_jsonb(k) -> 'confdelsetcols' <> 'null'::jsonb, false),
       pg_catalog.has_schema_privilege(cn.oid, 'USAGE') AND pg_catalog.has_table_privilege(c.oid, 'SELECT')
       AND pg_catalog.has_table_privilege(c.oid, 'UPDATE')
FROM pg_catalog.pg_constraint k
JOIN pg_catalog.pg_class p ON p.oid = k.confrelid
JOIN pg_catalog.pg_namespace pn ON pn.oid = p.relnamespace
JOIN pg_catalog.pg_class c ON c.oid = k.conrelid
JOIN pg_catalog.pg_namespace cn ON cn.oid = c.relnamespace
CROSS JOIN LATERAL unnest(k.confkey, k.conkey) WITH ORDINALITY AS u (parent, child, n)
JOIN pg_catalog.pg_attribute pa ON pa.attrelid = k.confrelid AND pa.attnum = u.parent
JOIN pg_catalog.pg_attribute ca ON ca.attrelid = k.conrelid AND ca.attnum = u.child
WHERE k.contype = 'f' AND k.conparentid = 0
ORDER BY k.oid, u.n`

func readPostgresKeys(ctx context.Context, q Querier) ([]keyColumn, error) {
	families, err := readPostgresFamilies(ctx, q)
	if err != nil {
		return nil, err
	}
	id := func(schema, name string) string {
		id := tableID(schema, name)
		if family, ok := families[id]; ok {
			return family
		}
		return id
	}
	var keys []keyColumn
	err = each(ctx, q, func(rows *sql.Rows) error {
		var (
			key                  keyColumn
			parentSchema, parent string
			onDelete, onUpdate   string
			some                 bool // ON DELETE SET NULL of some of the columns
		)
		child := &key.child.Name
		if err := rows.Scan(&key.constraint, &parentSchema, &parent, &key.column, &child.Schema, &child.Name, &key.childColumn,
			&onDelete, &onUpdate, &some, &key.readable); err != nil {
			return err
		}
		key.parent, key.child.ID = id(parentSchema, parent), id(child.Schema, child.Name)
		var err error
		if key.onDelete, err = postgresAction(onDelete); err != nil {
			return err
		}
		if key.onDelete == SetNull && some {
			key.onDelete = SetDefault
		}
		if key.onUpdate, err = postgresAction(onUpdate); err != nil {
			return err
		}
		keys = append(keys, key)
		return nil
	}, postgresKeys)
	return keys, err
}

func postgresAction(code string) (Action, error) {
	switch code {
	case "a", "r":
		return Refuse, nil
	case "c":
		return Cascade, nil
	case "n":
		return SetNull, nil
	case "d":
		return SetDefault, nil
	}
	return Refuse, fmt.Errorf("unknown foreign key action %q", code)
}
