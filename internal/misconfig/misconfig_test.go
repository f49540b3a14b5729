package misconfig

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestAnErrorNamesFieldValueAndRemedy(t *testing.T) {
	err := New("LeaseTTL", -time.Second, "use a positive duration")
	require.ErrorIs(t, err, Err)
	require.EqualError(t, err, "cacheplugin: configuration: LeaseTTL is -1s: use a positive duration")
	require.ErrorContains(t, New("Prefix", "{", "leave braces out"), `Prefix is "{": leave`)
}
