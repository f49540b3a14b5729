package testenv

import (
	"flag"
	"os"
	"testing"
)

// fewChecks is how often a property is tried where the run need not be long.
const fewChecks = "20"

// Long reports whether random tests are to run at full length, which make test
// asks for by CACHEPLUGIN_TEST_LONG=1. Without it they take a share, so that go
// test is fast while one works.
func Long() bool { return os.Getenv("CACHEPLUGIN_TEST_LONG") != "" }

// NeedLong skips a test that takes too long for a run while one works: of servers
// that fail over, say.
func NeedLong(tb testing.TB) {
	tb.Helper()
	if !Long() {
		tb.Skip("takes long: set CACHEPLUGIN_TEST_LONG=1")
	}
}

// Times returns full where random tests run at full length, else few.
func Times(full, few int) int {
	if Long() {
		return full
	}
	return few
}

// limitProperties has rapid try each property less often, unless the run is to be
// long or says itself how often (-rapid.checks).
func limitProperties() {
	flag.Parse()
	if Long() || flag.Lookup("rapid.checks") == nil {
		return
	}
	if !given("rapid.checks") {
		_ = flag.Set("rapid.checks", fewChecks) // the flag is there, and 20 a number
	}
}

// given reports whether the command line sets a flag.
func given(name string) bool {
	found := false
	flag.Visit(func(f *flag.Flag) { found = found || f.Name == name })
	return found
}
