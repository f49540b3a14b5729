package dialect_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cacheplugin/cacheplugin/internal/dialect"
)

type sqlState string

func (s sqlState) Error() string    { return "state " + string(s) }
func (s sqlState) SQLState() string { return string(s) }

// Only the database's own word is a refusal.
func TestRefused(t *testing.T) {
	for name, c := range map[string]struct {
		err      error
		embedded bool
		want     bool
	}{
		"a_duplicate_key":            {err: sqlState("23505"), want: true},
		"a_serialization_failure":    {err: sqlState("40001"), want: true},
		"a_cancelled_statement":      {err: sqlState("57014"), want: true},
		"a_wrapped_answer":           {err: fmt.Errorf("create: %w", sqlState("23503")), want: true},
		"a_connection_that_failed":   {err: sqlState("08006")},
		"a_server_that_shuts_down":   {err: sqlState("57P01")},
		"a_broken_server":            {err: sqlState("XX000")},
		"an_error_of_its_disk":       {err: sqlState("58030")},
		"unknown_to_the_server":      {err: sqlState("40003")},
		"no_state":                   {err: sqlState("")},
		"the_end_of_the_connection":  {err: io.EOF},
		"a_cancelled_context":        {err: context.Canceled},
		"a_driver's_own_error":       {err: errors.New("bad connection")},
		"an_embedded_database":       {err: errors.New("UNIQUE constraint failed"), embedded: true, want: true},
		"an_embedded_one's_deadline": {err: context.DeadlineExceeded, embedded: true},
	} {
		t.Run(name, func(t *testing.T) {
			require.Equal(t, c.want, dialect.Refused(c.err, c.embedded))
		})
	}
}
