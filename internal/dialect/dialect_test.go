package dialect

import (
	"context"
	"errors"
	"fmt"
	"io"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cacheplugin/cacheplugin/conj"
)

type stateError string

func (s stateError) Error() string    { return "state " + string(s) }
func (s stateError) SQLState() string { return string(s) }

func TestOnlyTheDatabasesOwnWordIsARefusal(t *testing.T) {
	for _, err := range []error{stateError("23505"), stateError("40001"), stateError("57014"), fmt.Errorf("create: %w", stateError("23503"))} {
		require.True(t, Refused(err, false), "%v", err)
	}
	for _, err := range []error{
		stateError("08006"), stateError("57P01"), stateError("XX000"), stateError("58030"), stateError("40003"), stateError(""),
		io.EOF, context.Canceled, errors.New("bad connection"),
	} {
		require.False(t, Refused(err, false), "%v", err)
	}
	require.True(t, Refused(errors.New("UNIQUE constraint failed"), true))
	require.False(t, Refused(context.DeadlineExceeded, true))
}

func TestErrorsThatEndATransaction(t *testing.T) {
	for _, test := range []struct {
		name    string
		dialect conj.Dialect
		err     error
		ends    bool
	}{
		{"PostgreSQL after any error of its own", conj.PostgreSQL, fmt.Errorf("read: %w", stateError("42703")), true},
		{"PostgreSQL after an error of the connection", conj.PostgreSQL, io.EOF, false},
		{"MySQL after a deadlock", conj.MySQL, errors.New("Error 1213 (40001): Deadlock found"), true},
		{"MySQL after a lock that was waited for", conj.MySQL, errors.New("Error 1205: Lock wait timeout exceeded"), true},
		{"MySQL after an unknown column", conj.MySQL, errors.New("Error 1054 (42S22): Unknown column"), false},
		{"MySQL after a bad connection", conj.MySQL, errors.New("invalid connection"), false},
		{"SQLite never", conj.SQLite, errors.New("database is locked"), false},
	} {
		t.Run(test.name, func(t *testing.T) {
			require.Equal(t, test.ends, EndsTransaction(test.dialect, test.err))
		})
	}
}

func TestNamesAndParametersAsTheDatabasesWriteThem(t *testing.T) {
	require.Equal(t, `"a""b"`, Quote(conj.PostgreSQL, `a"b`))
	require.Equal(t, "`a``b`", Quote(conj.MySQL, "a`b"))
	require.Equal(t, `"s"."t"`, QuoteTable(conj.SQLite, SplitName("s.t")))
	require.Equal(t, `"t"`, QuoteTable(conj.SQLite, SplitName("t")))
	require.Equal(t, "$1, $2, $3", Placeholders(conj.PostgreSQL, 3))
	require.Equal(t, "?, ?", Placeholders(conj.MySQL, 2))
}
