package replication

import (
	"testing"

	"github.com/cacheplugin/cacheplugin/integration/testdb"
)

func TestMain(m *testing.M) { testdb.Main(m) }
