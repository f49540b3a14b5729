package store_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cacheplugin/cacheplugin/internal/store"
)

func TestAForgottenEntryIsMissingAndOthersStay(t *testing.T) {
	onEach(t, func(t *testing.T, b backend) {
		s := b.open(t)
		fill(t, s, "q", "unreadable", on("a", "1"))
		fill(t, s, "other", "kept", on("a", "1"))
		require.NoError(t, s.Forget(t.Context(), entry("q")))
		require.NoError(t, s.Forget(t.Context(), entry("q")))
		requireHit(t, s, "other", "kept", on("a", "1"))
		fill(t, s, "q", "new", on("a", "1"))
		invalidate(t, s, changed("a", row{"1", "1"}))
		require.Equal(t, store.Leased, acquire(t, s, "q", on("a", "1")).State)
	})
}
