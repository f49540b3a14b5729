//go:build unix

package process

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/user"
	"strconv"
	"syscall"
)

type Signal = syscall.Signal

const (
	Kill      = syscall.SIGKILL
	Interrupt = syscall.SIGINT
	Terminate = syscall.SIGTERM
	Quit      = syscall.SIGQUIT
	Stop      = syscall.SIGSTOP
	Continue  = syscall.SIGCONT
)

func sendSignal(p *os.Process, sig Signal) error { return p.Signal(sig) }

// Account is the user that a server runs as; nil: the one we run as.
type Account struct{ uid, gid int }

// Ordinary gives the first of the named users that exists when we are root
// (database servers refuse to run as root), else nil.
func Ordinary(names ...string) (*Account, error) {
	if os.Geteuid() != 0 {
		return nil, nil
	}
	for _, name := range names {
		u, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, errUID := strconv.Atoi(u.Uid)
		gid, errGID := strconv.Atoi(u.Gid)
		if err := errors.Join(errUID, errGID); err != nil {
			return nil, fmt.Errorf("user %s: %w", name, err)
		}
		return &Account{uid: uid, gid: gid}, nil
	}
	return nil, fmt.Errorf("running as root and none of the users %q exists", names)
}

func (a *Account) own(path string) error {
	if a == nil {
		return nil
	}
	return os.Chown(path, a.uid, a.gid)
}

// apply makes cmd run as a, in a process group of its own: an interrupt typed
// at the terminal must reach the tests and not the servers under them.
func (a *Account) apply(cmd *exec.Cmd) {
	attr := &syscall.SysProcAttr{Setpgid: true}
	if a != nil {
		attr.Credential = &syscall.Credential{Uid: uint32(a.uid), Gid: uint32(a.gid)}
	}
	cmd.SysProcAttr = attr
}

// watchdogScript waits for a line; an end of file instead means that the test
// process died, and the server and its directory are still there. A paused
// server must be continued to see its end; PostgreSQL takes QUIT as "stop at
// once" and frees its shared memory.
const watchdogScript = `trap '' INT HUP TERM
read -r line && exit 0
kill -CONT "$1"; kill -QUIT "$1"
n=0
while kill -0 "$1" && [ $n -lt 30 ]; do sleep 0.1; n=$((n+1)); done
kill -KILL "$1"
rm -rf -- "$2"`

// watchdog is a small process that ends a server when we can't.
type watchdog struct {
	cmd  *exec.Cmd
	life io.WriteCloser // its closing, also by our death, wakes the watchdog
}

func watch(pid int, cleanup string) (*watchdog, error) {
	cmd := exec.Command("/bin/sh", "-c", watchdogScript, "watchdog", strconv.Itoa(pid), cleanup)
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	life, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	return &watchdog{cmd: cmd, life: life}, nil
}

// release tells the watchdog that the server has ended.
func (w *watchdog) release() {
	if w == nil {
		return
	}
	_, _ = io.WriteString(w.life, "done\n")
	_ = w.life.Close()
	_ = w.cmd.Wait()
}
