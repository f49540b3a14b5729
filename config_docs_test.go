package cacheplugin_test

import (
	"os"
	"reflect"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cacheplugin/cacheplugin"
)

// TestTheDocumentationNamesWhatCanBeSet: a field that a page leaves out is one
// that nobody finds.
func TestTheDocumentationNamesWhatCanBeSet(t *testing.T) {
	for page, types := range map[string][]any{
		"docs/configuration.md": {cacheplugin.Config{}, cacheplugin.Profile{}, cacheplugin.Outbox{}},
		"docs/metrics.md":       {cacheplugin.Stats{}},
	} {
		text, err := os.ReadFile(page)
		require.NoError(t, err)
		for _, v := range types {
			for _, field := range reflect.VisibleFields(reflect.TypeOf(v)) {
				require.Contains(t, string(text), "`"+field.Name+"`", "%s does not name %T.%s", page, v, field.Name)
			}
		}
	}
}
