// Package dialect holds what the databases differ in besides the meaning of
// their texts, which is package conj's: how names and parameters are written,
// and what their errors say of a transaction.
package dialect

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"strings"

	"github.com/cacheplugin/cacheplugin/conj"
)

// MaxParameters is the number of parameters that every one of the databases
// takes in a query; SQLite's is the smallest, 32,766.
const MaxParameters = 32_000

// Quote writes a name as an identifier.
func Quote(d conj.Dialect, name string) string {
	quote := `"`
	if d == conj.MySQL {
		quote = "`"
	}
	return quote + strings.ReplaceAll(name, quote, quote+quote) + quote
}

// QuoteTable writes a table's name, with its schema if it has one.
func QuoteTable(d conj.Dialect, name conj.TableName) string {
	if name.Schema == "" {
		return Quote(d, name.Name)
	}
	return Quote(d, name.Schema) + "." + Quote(d, name.Name)
}

// SplitName reads a table's name as users write it: with a schema before a
// period, or without.
func SplitName(name string) conj.TableName {
	if schema, rest, qualified := strings.Cut(name, "."); qualified {
		return conj.TableName{Schema: schema, Name: rest}
	}
	return conj.TableName{Name: name}
}

// Placeholder writes the n-th parameter of a query, counted from 1.
func Placeholder(d conj.Dialect, n int) string {
	if d == conj.PostgreSQL {
		return "$" + strconv.Itoa(n)
	}
	return "?"
}

// Placeholders writes n parameters from the first on, separated by commas.
func Placeholders(d conj.Dialect, n int) string {
	places := make([]string, n)
	for i := range places {
		places[i] = Placeholder(d, i+1)
	}
	return strings.Join(places, ", ")
}

// sqlState is implemented by the errors that a PostgreSQL server has answered.
type sqlState interface{ SQLState() string }

// Refused reports whether an error is the database's own word that a statement
// or a COMMIT did nothing. An embedded database, which is part of this process,
// can't fail to give it. In doubt it is not.
func Refused(err error, embedded bool) bool {
	var answer sqlState
	if !errors.As(err, &answer) {
		return embedded && !errors.Is(err, context.Canceled) && !errors.Is(err, context.DeadlineExceeded)
	}
	state := answer.SQLState()
	switch {
	case len(state) != 5,
		strings.HasPrefix(state, "08"),  // the connection failed
		strings.HasPrefix(state, "57P"), // the server shuts down
		strings.HasPrefix(state, "XX"),  // it is broken
		strings.HasPrefix(state, "58"),
		state == "40003": // unknown to the server, too
		return false
	}
	return true
}

// EndsTransaction reports whether an error leaves nothing of the transaction
// that it came in. PostgreSQL refuses everything after any error of its own.
// MySQL has rolled the transaction back after a few, and carries out what is
// sent next as a transaction of its own: nothing may be.
func EndsTransaction(d conj.Dialect, err error) bool {
	switch d {
	case conj.PostgreSQL:
		var answer sqlState
		return errors.As(err, &answer)
	case conj.MySQL:
		return slices.Contains(mysqlRollsBack, mysqlNumber(err))
	}
	return false
}

// mysqlRollsBack are the numbers of MySQL's and MariaDB's errors that may have
// rolled the transaction back: a row that changed since the snapshot, a lock
// that was waited for too long, deadlocks.
var mysqlRollsBack = []string{"1020", "1205", "1213", "1613", "1614", "3058"}

// mysqlNumber is the number of an error of MySQL's, which its driver's errors
// begin with.
func mysqlNumber(err error) string {
	_, text, ok := strings.Cut(err.Error(), "Error ")
	if !ok {
		return ""
	}
	return text[:len(text)-len(strings.TrimLeft(text, "0123456789"))]
}
