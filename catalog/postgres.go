package catalog

import (
	"context"
	"database/sql"
	"fmt"
	"strings"

	"github.com/cacheplugin/cacheplugin/conj"
)

// postgresTable reads a table and its columns. A schema is matched by name:
// to_regclass fails on one that the user may not use.
const postgresTable = `
SELECT n.nspname::text, c.relname::text, c.relkind::text, c.relpersistence::text,
       c.relrowsecurity, c.relispartition,
       EXISTS (SELECT 1 FROM pg_catalog.pg_inherits h WHERE h.inhrelid = c.oid OR h.inhparent = c.oid),
       EXISTS (SELECT 1 FROM pg_catalog.pg_trigger g WHERE g.tgrelid = c.oid AND NOT g.tgisinternal AND g.tgenabled <> 'D'),
       EXISTS (SELECT 1 FROM pg_catalog.pg_rewrite r WHERE r.ev_class = c.oid AND r.ev_type <> '1' AND r.ev_enabled <> 'D'),
       pg_catalog.current_setting('client_encoding', true),
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
	var def *definition
	err := each(ctx, q, func(rows *sql.Rows) error {
		var (
			schema, table, kind, persistence, encoding string
			rls, partition, inherits, triggers, rules  bool
			column, typeName, typeType                 sql.NullString
			builtin, deterministic, hasDefault         sql.NullBool
			identity, generated, serial                sql.NullBool
			key                                        int
		)
		if err := rows.Scan(&schema, &table, &kind, &persistence, &rls, &partition, &inherits, &triggers, &rules, &encoding,
			&column, &typeName, &typeType, &builtin, &deterministic, &hasDefault, &identity, &generated, &serial, &key); err != nil {
			return err
		}
		if def == nil {
			def = &definition{
				id: tableID(schema, table), name: table,
				temporary: persistence == "t", triggers: triggers || rules,
			}
			def.uncacheable = postgresUncacheable(schema, kind, def.temporary, partition, inherits, rls)
			def.base = kind == "r" && !def.temporary && !partition && !inherits && !postgresSystem(schema)
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
	return def, err
}

func postgresUncacheable(schema, kind string, temporary, partition, inherits, rls bool) string {
	switch {
	case postgresSystem(schema):
		return "is a system table"
	case temporary:
		return "is temporary"
	case kind == "v":
		return "is a view"
	case kind == "m":
		return "is a materialized view"
	case kind == "f":
		return "is a foreign table"
	case kind == "p":
		return "is partitioned"
	case partition:
		return "is a partition"
	case inherits:
		return "is part of an inheritance"
	case kind != "r":
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

// postgresKeys reads the foreign keys that act. A partition's copies of its
// parent's keys are among them.
const postgresKeys = `
SELECT pn.nspname::text, p.relname::text, a.attname::text, cn.nspname::text, c.relname::text,
       k.confdeltype::text, k.confupdtype::text,
       EXISTS (SELECT 1 FROM pg_catalog.pg_trigger g WHERE g.tgrelid = c.oid AND NOT g.tgisinternal AND g.tgenabled <> 'D')
       OR EXISTS (SELECT 1 FROM pg_catalog.pg_rewrite r WHERE r.ev_class = c.oid AND r.ev_type <> '1' AND r.ev_enabled <> 'D')
FROM pg_catalog.pg_constraint k
JOIN pg_catalog.pg_class p ON p.oid = k.confrelid
JOIN pg_catalog.pg_namespace pn ON pn.oid = p.relnamespace
JOIN pg_catalog.pg_attribute a ON a.attrelid = k.confrelid AND a.attnum = ANY (k.confkey)
JOIN pg_catalog.pg_class c ON c.oid = k.conrelid
JOIN pg_catalog.pg_namespace cn ON cn.oid = c.relnamespace
WHERE k.contype = 'f' AND (k.confdeltype IN ('c', 'n', 'd') OR k.confupdtype IN ('c', 'n', 'd'))`

func readPostgresKeys(ctx context.Context, q Querier) ([]foreignKey, error) {
	var keys []foreignKey
	err := each(ctx, q, func(rows *sql.Rows) error {
		var (
			key                                      foreignKey
			parentSchema, parent, childSchema, child string
			onDelete, onUpdate                       string
		)
		if err := rows.Scan(&parentSchema, &parent, &key.column, &childSchema, &child, &onDelete, &onUpdate, &key.childTriggers); err != nil {
			return err
		}
		key.parent, key.child = tableID(parentSchema, parent), tableID(childSchema, child)
		var err error
		if key.onDelete, err = postgresAction(onDelete, remove); err != nil {
			return err
		}
		if key.onUpdate, err = postgresAction(onUpdate, change); err != nil {
			return err
		}
		keys = append(keys, key)
		return nil
	}, postgresKeys)
	return keys, err
}

func postgresAction(code string, cascade action) (action, error) {
	switch code {
	case "a", "r":
		return refuse, nil
	case "c":
		return cascade, nil
	case "n", "d":
		return change, nil
	}
	return refuse, fmt.Errorf("unknown foreign key action %q", code)
}
