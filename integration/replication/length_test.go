package replication

import (
	"os"

	"github.com/cacheplugin/cacheplugin/internal/testenv"
)

// length is how far a test goes: figures where those that the documents give are to be
// measured (CACHEPLUGIN_FIGURES=1, with -v), else long or few.
func length(figures, long, few int) int {
	if os.Getenv("CACHEPLUGIN_FIGURES") != "" {
		return figures
	}
	return testenv.Times(long, few)
}
