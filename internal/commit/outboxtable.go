package commit

import (
	"strconv"
	"strings"

	"github.com/cacheplugin/cacheplugin/conj"
	"github.com/cacheplugin/cacheplugin/internal/dialect"
)

// rowsAtOnce is how many rows of the outbox are read, and deleted, at a time.
const rowsAtOnce = 500

// outboxColumns are the table's columns, by dialect. What is stored is ASCII but
// for the prefix; MySQL's types keep its character sets out of it.
var outboxColumns = map[conj.Dialect]string{
	conj.PostgreSQL: "id text PRIMARY KEY, prefix text NOT NULL, namespaces text NOT NULL, format text NOT NULL, changes text NOT NULL, created bigint NOT NULL)",
	conj.MySQL:      "id varbinary(32) PRIMARY KEY, prefix blob NOT NULL, namespaces mediumblob NOT NULL, format blob NOT NULL, changes mediumblob NOT NULL, created bigint NOT NULL) ENGINE=InnoDB",
	conj.SQLite:     "id text PRIMARY KEY, prefix text NOT NULL, namespaces text NOT NULL, format text NOT NULL, changes text NOT NULL, created integer NOT NULL)",
}

// outboxClock is the database's time in milliseconds since 1970. The clocks of
// the machines don't matter.
var outboxClock = map[conj.Dialect]string{
	conj.PostgreSQL: "(extract(epoch FROM clock_timestamp()) * 1000)::bigint",
	conj.MySQL:      "TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6)) DIV 1000",
	conj.SQLite:     "CAST((julianday('now') - 2440587.5) * 86400000 AS integer)",
}

// OutboxDDL returns the statement that makes the outbox's table where there is
// none.
func OutboxDDL(d conj.Dialect, table string) string {
	return "CREATE TABLE IF NOT EXISTS " + quoteTable(d, table) + " (" + outboxColumns[d]
}

// outboxTable are the statements on the outbox's table in a dialect.
type outboxTable struct {
	dialect             conj.Dialect
	name                string // quoted
	check, insert, read string
}

func newOutboxTable(d conj.Dialect, name string) outboxTable {
	table, clock := quoteTable(d, name), outboxClock[d]
	const columns = "id, prefix, namespaces, format, changes, created"
	return outboxTable{
		dialect: d,
		name:    table,
		check:   "SELECT " + columns + " FROM " + table + " WHERE 1 = 0",
		insert:  "INSERT INTO " + table + " (" + columns + ") VALUES (" + dialect.Placeholders(d, 5) + ", " + clock + ")",
		// A clock that was set back must not hide rows.
		read: "SELECT id, namespaces, format, changes FROM " + table + " WHERE prefix = " + dialect.Placeholder(d, 1) +
			" AND abs(" + clock + " - created) >= " + dialect.Placeholder(d, 2) + " LIMIT " + strconv.Itoa(rowsAtOnce),
	}
}

// remove deletes n rows by their ids.
func (t outboxTable) remove(n int) string {
	return "DELETE FROM " + t.name + " WHERE id IN (" + dialect.Placeholders(t.dialect, n) + ")"
}

// quoteTable writes a table's name, of which each part that a period ends is
// quoted by itself.
func quoteTable(d conj.Dialect, name string) string {
	parts := strings.Split(name, ".")
	for i, p := range parts {
		parts[i] = dialect.Quote(d, p)
	}
	return strings.Join(parts, ".")
}
