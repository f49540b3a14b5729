package scan_test

import (
	"testing"

	"github.com/cacheplugin/cacheplugin/internal/testenv"
)

func TestMain(m *testing.M) { testenv.Main(m) }
