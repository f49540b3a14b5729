package testenv

import (
	"flag"
	"fmt"
	"os"
	"strconv"
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
		if err := goleak.Find(gormsOwn, fasthttpsDate, fasthttpsWorkers); err != nil {
			fmt.Fprintf(os.Stderr, "testenv: goroutines left over after the tests: %v\n", err)
			code = 1
		}
	}
	os.Exit(code)
}

// AtATime has up to n tests that say t.Parallel run at a time, unless the command
// line says how many (-parallel). For tests that mostly wait for servers, of which
// Go would run no more at a time than there are processors. Call it before Main.
func AtATime(n int) {
	if !flag.Parsed() {
		flag.Parse()
	}
	if !given("test.parallel") {
		_ = flag.Set("test.parallel", strconv.Itoa(n)) // the flag is there, and n a number
	}
}

// gormsOwn is a goroutine that GORM starts for each cache of prepared statements
// and has no way to end.
var gormsOwn = goleak.IgnoreAnyFunction("gorm.io/gorm/internal/lru.NewLRU[...].func1")

// What Fiber's servers leave behind: a clock for all of them, and a worker that ends
// when it next wakes up.
var (
	fasthttpsDate    = goleak.IgnoreAnyFunction("github.com/valyala/fasthttp.updateServerDate.func1")
	fasthttpsWorkers = goleak.IgnoreAnyFunction("github.com/valyala/fasthttp.(*workerPool).Start.func2")
)

// fuzzing: the fuzzing engine's own goroutines would be taken for leaks.
func fuzzing() bool {
	for _, name := range []string{"test.fuzz", "test.fuzzworker"} {
		if f := flag.Lookup(name); f != nil && f.Value.String() != "" && f.Value.String() != "false" {
			return true
		}
	}
	return false
}
