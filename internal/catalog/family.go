package catalog

import (
	"context"
	"database/sql"
	"strings"

	"github.com/cacheplugin/cacheplugin/conj"
)

// A query on a table of PostgreSQL reads the tables that inherit from it, too,
// its partitions among them, and a write of one is a write of the other. All
// tables that are connected by inheritance are one family with one ID: that
// of the first of its roots, of which there is one but for multiple
// inheritance. Each keeps its own columns; a condition on one is looked up by
// the column's name, which is the same in all of a family.

// postgresFamily lists the family of a table.
const postgresFamily = `
WITH RECURSIVE edges (a, b) AS (
  SELECT inhrelid, inhparent FROM pg_catalog.pg_inherits UNION ALL SELECT inhparent, inhrelid FROM pg_catalog.pg_inherits
), members (oid) AS (
  SELECT $1::bigint::oid UNION SELECT e.b FROM members m JOIN edges e ON e.a = m.oid
)
SELECT n.nspname::text, c.relname::text, c.relkind::text, c.relpersistence::text,
       EXISTS (SELECT 1 FROM pg_catalog.pg_inherits h WHERE h.inhrelid = c.oid),
       ` + postgresTriggers + `
FROM members m JOIN pg_catalog.pg_class c ON c.oid = m.oid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
ORDER BY 1, 2`

// readPostgresFamily makes a definition that of a member of its family.
func readPostgresFamily(ctx context.Context, q Querier, oid int64, def *definition) error {
	var root conj.TableName
	var triggers []string
	def.members = nil
	err := each(ctx, q, func(rows *sql.Rows) error {
		var (
			name              conj.TableName
			kind, persistence string
			inherits          bool
			triggersOf        string
		)
		if err := rows.Scan(&name.Schema, &name.Name, &kind, &persistence, &inherits, &triggersOf); err != nil {
			return err
		}
		def.members = append(def.members, name.Name)
		if triggersOf != "" {
			triggers = append(triggers, triggersOf)
		}
		switch {
		case def.uncacheable != "":
		case kind == "f":
			def.uncacheable = "has a foreign table in its family: " + name.Name
		case persistence == "t":
			def.uncacheable = "has a temporary table in its family: " + name.Name
		}
		if !inherits && (root.Name == "" || tableID(name.Schema, name.Name) < tableID(root.Schema, root.Name)) {
			root = name
		}
		return nil
	}, postgresFamily, oid)
	if err != nil || root.Name == "" {
		return err
	}
	def.own = def.name
	def.id, def.name = tableID(root.Schema, root.Name), root
	def.triggers = strings.Join(triggers, ", ")
	return nil
}

// postgresInheritance lists who inherits from whom in the whole database.
const postgresInheritance = `
SELECT cn.nspname::text, c.relname::text, pn.nspname::text, p.relname::text
FROM pg_catalog.pg_inherits h
JOIN pg_catalog.pg_class c ON c.oid = h.inhrelid AND c.relkind IN ('r', 'p', 'f')
JOIN pg_catalog.pg_namespace cn ON cn.oid = c.relnamespace
JOIN pg_catalog.pg_class p ON p.oid = h.inhparent
JOIN pg_catalog.pg_namespace pn ON pn.oid = p.relnamespace`

// readPostgresFamilies returns the family's ID of every table that has one.
func readPostgresFamilies(ctx context.Context, q Querier) (map[string]string, error) {
	neighbours := make(map[string][]string)
	inherits := make(map[string]bool)
	err := each(ctx, q, func(rows *sql.Rows) error {
		var child, parent conj.TableName
		if err := rows.Scan(&child.Schema, &child.Name, &parent.Schema, &parent.Name); err != nil {
			return err
		}
		a, b := tableID(child.Schema, child.Name), tableID(parent.Schema, parent.Name)
		neighbours[a], neighbours[b] = append(neighbours[a], b), append(neighbours[b], a)
		inherits[a] = true
		return nil
	}, postgresInheritance)
	if err != nil {
		return nil, err
	}
	family := make(map[string]string, len(neighbours))
	for start := range neighbours {
		if _, done := family[start]; done {
			continue
		}
		members, root := []string{start}, ""
		family[start] = ""
		for i := 0; i < len(members); i++ {
			id := members[i]
			if !inherits[id] && (root == "" || id < root) {
				root = id
			}
			for _, next := range neighbours[id] {
				if _, seen := family[next]; !seen {
					family[next] = ""
					members = append(members, next)
				}
			}
		}
		for _, id := range members {
			family[id] = root
		}
	}
	return family, nil
}
