package catalog

import (
	"context"
	"database/sql"
	"regexp"
	"strings"
)

// mysqlGrant is a line of SHOW GRANTS about tables: privileges, database and
// table, each of the last two a star or quoted.
var mysqlGrant = regexp.MustCompile("^(GRANT|REVOKE) (.+?) ON (\\*|`(?:[^`]|``)+`)\\.(\\*|`(?:[^`]|``)+`) (?:TO|FROM) ")

// mysqlHidesTriggers reports whether information_schema may hide triggers of a
// table: it shows them to holders of the TRIGGER privilege only.
func mysqlHidesTriggers(ctx context.Context, q Querier, schema, table string) (bool, error) {
	granted, revoked := false, false
	err := each(ctx, q, func(rows *sql.Rows) error {
		var line string
		if err := rows.Scan(&line); err != nil {
			return err
		}
		m := mysqlGrant.FindStringSubmatch(line)
		if m == nil || !mysqlTriggerPrivilege(m[2]) {
			return nil
		}
		if m[1] == "REVOKE" {
			revoked = true // a partial revocation, of whatever
		} else if mysqlGrantCovers(m[3], schema, true) && mysqlGrantCovers(m[4], table, false) {
			granted = true
		}
		return nil
	}, "SHOW GRANTS")
	if err != nil && strings.Contains(err.Error(), "skip-grant-tables") {
		return false, nil // a server without privileges shows all
	}
	return !granted || revoked, err
}

func mysqlTriggerPrivilege(privileges string) bool {
	for _, p := range strings.Split(privileges, ",") {
		if p = strings.TrimSpace(p); p == "TRIGGER" || p == "ALL PRIVILEGES" {
			return true
		}
	}
	return false
}

// mysqlGrantCovers matches an object of a grant. A database's name is a
// pattern of LIKE.
func mysqlGrantCovers(object, name string, pattern bool) bool {
	if object == "*" {
		return true
	}
	object = strings.ReplaceAll(object[1:len(object)-1], "``", "`")
	if !pattern {
		return object == name
	}
	var expression strings.Builder
	expression.WriteString("(?s)^")
	for escaped, rest := false, []rune(object); len(rest) > 0; rest = rest[1:] {
		switch r := rest[0]; {
		case escaped:
			expression.WriteString(regexp.QuoteMeta(string(r)))
			escaped = false
		case r == '\\':
			escaped = true
		case r == '%':
			expression.WriteString(".*")
		case r == '_':
			expression.WriteString(".")
		default:
			expression.WriteString(regexp.QuoteMeta(string(r)))
		}
	}
	expression.WriteString("$")
	match, err := regexp.MatchString(expression.String(), name)
	return match && err == nil
}
