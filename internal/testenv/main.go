package testenv

import (
	"flag"
	"fmt"
	"os"
	"testing"

	"go.uber.org/goleak"
)

// Main is what a package's TestMain calls. It runs the tests, stops the servers
// that they started (others than this package's by stops), fails if a goroutine
// is left over, and exits.
func Main(m *testing.M, stops ...func()) {
	limitProperties()
	code := m.Run()
	for _, stop := range append(stops, StopServers) {
		stop()
	}
	if code == 0 && !fuzzing() {
		if err := goleak.Find(gormsOwn); err != nil {
			fmt.Fprintf(os.Stderr, "testenv: goroutines left over after the tests: %v\n", err)
			code = 1
		}
	}
	os.Exit(code)
}

// gormsOwn is a goroutine that GORM starts for each cache of prepared statements
// and has no way to end.
var gormsOwn = goleak.IgnoreAnyFunction("gorm.io/gorm/internal/lru.NewLRU[...].func1")

// fuzzing: the fuzzing engine's own goroutines would be taken for leaks.
func fuzzing() bool {
	for _, name := range []string{"test.fuzz", "test.fuzzworker"} {
		if f := flag.Lookup(name); f != nil && f.Value.String() != "" && f.Value.String() != "false" {
			return true
		}
	}
	return false
}
