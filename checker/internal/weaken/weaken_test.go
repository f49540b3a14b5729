package weaken_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cacheplugin/cacheplugin/checker/internal/weaken"
)

// A weakness that does not apply any more would let its control find nothing,
// or something else.
func TestEachWeaknessAppliesToTheScriptsAsTheyAre(t *testing.T) {
	for _, name := range weaken.All() {
		_, err := weaken.New(name)
		require.NoError(t, err, name)
	}
	_, err := weaken.New("none")
	require.Error(t, err)
}
