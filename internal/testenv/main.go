package testenv

import (
	"flag"
	"fmt"
	"os"
	"testing"

	"go.uber.org/goleak"
)

// Main is what a package's TestMain calls. It runs the tests, stops the servers
// that they started, fails if a goroutine is left over, and exits.
func Main(m *testing.M) {
	code := m.Run()
	environment.stop()
	if code == 0 && !fuzzing() {
		if err := goleak.Find(); err != nil {
			fmt.Fprintf(os.Stderr, "testenv: goroutines left over after the tests: %v\n", err)
			code = 1
		}
	}
	os.Exit(code)
}

// fuzzing: the fuzzing engine's own goroutines would be taken for leaks.
func fuzzing() bool {
	for _, name := range []string{"test.fuzz", "test.fuzzworker"} {
		if f := flag.Lookup(name); f != nil && f.Value.String() != "" && f.Value.String() != "false" {
			return true
		}
	}
	return false
}
