//go:build !unix

package process

import (
	"errors"
	"os"
	"os/exec"
)

type Signal int

const (
	Kill Signal = iota
	Interrupt
	Terminate
	Quit
	Stop
	Continue
)

// Without signals a server can only be killed.
func sendSignal(p *os.Process, sig Signal) error {
	if sig == Stop || sig == Continue {
		return errors.ErrUnsupported
	}
	return p.Kill()
}

type Account struct{}

// Ordinary refuses: servers are started on Unix systems only, elsewhere they
// are named in the environment.
func Ordinary(...string) (*Account, error) {
	return nil, errors.New("starting servers is not supported on this system")
}

func (*Account) own(string) error { return nil }
func (*Account) apply(*exec.Cmd)  {}

type watchdog struct{}

func watch(int, string) (*watchdog, error) { return &watchdog{}, nil }

func (*watchdog) release() {}
