package change

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestAWiderExtentIsTheLargerOne(t *testing.T) {
	order := []Extent{Nothing, Rows, Table, Everything}
	names := []string{"nothing", "rows", "table", "everything"}
	for i, e := range order {
		require.Equal(t, names[i], e.String())
		if i > 0 {
			require.Equal(t, e, max(order[i-1], e))
		}
	}
}
