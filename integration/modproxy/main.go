// Command modproxy makes a directory a module proxy that has this checkout's
// modules as the given version, for scripts/tidy:
//
//	go run ./modproxy <directory> <checkout> <version>
package main

import (
	"fmt"
	"os"

	"github.com/cacheplugin/cacheplugin/integration/internal/modproxy"
)

func main() {
	if len(os.Args) != 4 {
		fmt.Fprintln(os.Stderr, "usage: modproxy directory checkout version")
		os.Exit(2)
	}
	if err := modproxy.Write(os.Args[1], os.Args[2], os.Args[3]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
