//go:build !unix

package testenv

import (
	"errors"
	"os"
	"os/exec"
)

type signal int

const (
	signalKill signal = iota
	signalTerminate
	signalQuit
	signalStop
	signalContinue
)

// Without signals a server can only be killed.
func sendSignal(p *os.Process, sig signal) error {
	if sig == signalStop || sig == signalContinue {
		return errors.ErrUnsupported
	}
	return p.Kill()
}

type account struct{}

// ordinary refuses: servers are started on Unix systems only, elsewhere they
// are named in the environment.
func ordinary(...string) (*account, error) {
	return nil, errors.New("starting servers is not supported on this system")
}

func (*account) own(string) error { return nil }
func (*account) apply(*exec.Cmd)  {}

type watchdog struct{}

func watch(int, string) (*watchdog, error) { return &watchdog{}, nil }

func (*watchdog) release() {}
