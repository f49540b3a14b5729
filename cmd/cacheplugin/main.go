package main

import (
	"context"
	"errors"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/redis/go-redis/v9"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	redis.SetLogger(silent{}) // errors are returned, and told once
	code := run(ctx, os.Args[1:], os.Getenv, os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

type silent struct{}

func (silent) Printf(context.Context, string, ...any) {}

// The exit codes.
const (
	exitOK         = 0
	exitProblem    = 1
	exitUsage      = 2
	exitConnection = 3
)

// failure is an error that the program ends with.
type failure struct {
	code   int
	err    error
	remedy string // what to do about it
}

func (f *failure) Error() string { return f.err.Error() }
func (f *failure) Unwrap() error { return f.err }

// errReported ends the program with a code after all has been said.
var errReported = errors.New("reported")

func usage(err error, remedy string) error {
	return &failure{exitUsage, err, remedy}
}

func problem(err error, remedy string) error {
	return &failure{exitProblem, err, remedy}
}

// run executes the command line and returns the exit code.
func run(ctx context.Context, args []string, env func(string) string, out, errOut io.Writer) int {
	a := &app{out: out, errOut: errOut, env: env}
	root := a.command()
	root.SetArgs(args)
	root.SetOut(out)
	root.SetErr(errOut)
	err := root.ExecuteContext(ctx)
	if a.client != nil {
		err = errors.Join(err, a.client.Close())
	}
	if err == nil {
		return exitOK
	}
	// What cobra itself has to say is about how it was called.
	f := &failure{exitUsage, err, "see cacheplugin --help"}
	errors.As(err, &f)
	if !errors.Is(f.err, errReported) {
		a.fail(f)
	}
	return f.code
}
