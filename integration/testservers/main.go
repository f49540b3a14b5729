// Command testservers runs a command with real servers under it:
//
//	go run ./integration/testservers -- go test ./...
//
// It starts Redis, PostgreSQL and MariaDB once, names them in the command's
// environment (see packages testenv and testdb), and ends them with the command, whose exit
// code it returns. Without a command it prints the environment for a shell and
// keeps the servers until it is interrupted. Production code has no part in it.
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/cacheplugin/cacheplugin/integration/testdb"
)

// grace is how long an interrupted command may take before it is killed.
const grace = 30 * time.Second

func main() {
	only := flag.String("only", "", "start these servers only, of redis,postgres,mariadb")
	flag.Usage = func() {
		fmt.Fprintln(flag.CommandLine.Output(), "usage: testservers [-only=redis,postgres,mariadb] [-- command argument...]")
		flag.PrintDefaults()
	}
	flag.Parse()
	os.Exit(serve(*only, flag.Args()))
}

// serve starts the servers, runs command and returns its exit code.
func serve(only string, command []string) int {
	// Before the servers start: an interrupt must not leave them behind.
	interrupts := make(chan os.Signal, 1)
	signal.Notify(interrupts, os.Interrupt, syscall.SIGTERM)
	defer signal.Stop(interrupts)

	started := testdb.StartServers(strings.FieldsFunc(only, func(r rune) bool { return r == ',' })...)
	defer testdb.StopServers()
	for _, err := range started.Missing {
		fmt.Fprintln(os.Stderr, "testservers:", err)
	}
	if len(command) == 0 {
		for _, variable := range started.Env {
			name, value, _ := strings.Cut(variable, "=")
			fmt.Printf("export %s='%s'\n", name, value)
		}
		fmt.Fprintln(os.Stderr, "testservers: running until interrupted")
		<-interrupts
		return 0
	}
	code, err := run(command, started.Env, interrupts)
	if err != nil {
		fmt.Fprintln(os.Stderr, "testservers:", err)
	}
	return code
}

// run runs command with env added to ours. An interrupt is passed on, and the
// command waited for, so that the servers outlive it.
func run(command, env []string, interrupts <-chan os.Signal) (int, error) {
	cmd := exec.Command(command[0], command[1:]...)
	cmd.Env = append(os.Environ(), env...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	if err := cmd.Start(); err != nil {
		return 127, fmt.Errorf("start %s: %w", command[0], err)
	}
	done := make(chan error, 1)
	go func() { done <- cmd.Wait() }()
	var kill <-chan time.Time
	for {
		select {
		case err := <-done:
			return exitCode(cmd, err)
		case <-interrupts:
			// Interrupt and not the signal that came: go test cleans up at this one.
			if err := cmd.Process.Signal(os.Interrupt); err != nil {
				_ = cmd.Process.Kill()
			}
			kill = time.After(grace)
		case <-kill:
			_ = cmd.Process.Kill()
		}
	}
}

// exitCode maps how the command ended as a shell does.
func exitCode(cmd *exec.Cmd, err error) (int, error) {
	var exit *exec.ExitError
	switch {
	case err == nil:
		return 0, nil
	case !errors.As(err, &exit):
		return 1, fmt.Errorf("%s: %w", cmd.Path, err)
	case exit.ExitCode() < 0: // ended by a signal
		return 1, fmt.Errorf("%s: %w", cmd.Path, err)
	default:
		return exit.ExitCode(), nil
	}
}
