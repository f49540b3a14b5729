package cacheplugin

import (
	"context"
	"errors"
	"fmt"
	"io"
	"testing"

	"github.com/stretchr/testify/require"
)

type sqlState string

func (s sqlState) Error() string    { return "state " + string(s) }
func (s sqlState) SQLState() string { return string(s) }

func TestOnlyTheDatabasesOwnWordIsARefusal(t *testing.T) {
	for _, err := range []error{sqlState("23505"), sqlState("40001"), sqlState("57014"), fmt.Errorf("create: %w", sqlState("23503"))} {
		require.True(t, refused(err, false), "%v", err)
	}
	for _, err := range []error{
		sqlState("08006"), sqlState("57P01"), sqlState("XX000"), sqlState("58030"), sqlState("40003"), sqlState(""),
		io.EOF, context.Canceled, errors.New("bad connection"),
	} {
		require.False(t, refused(err, false), "%v", err)
	}
	require.True(t, refused(errors.New("UNIQUE constraint failed"), true))
	require.False(t, refused(context.DeadlineExceeded, true))
}
