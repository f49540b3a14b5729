// Package process starts the servers of tests: it finds their programs, runs
// them in directories and on ports of their own, and ends them, also when the
// test process dies. It stands outside the flow of a read and a write.
package process

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"time"
)

// startTimeout bounds how long a server may take until it answers. It is long
// because a first start on a loaded machine reads everything from disk.
const startTimeout = 2 * time.Minute

// ErrNotInstalled says that a server's program is not on this machine.
var ErrNotInstalled = errors.New("not installed")

// Process is a server that this process has started and must end.
type Process struct {
	cmd    *exec.Cmd
	log    string
	exited chan struct{} // closed once the server has ended and was reaped
	guard  *watchdog
}

// Launch starts a server in dir, its output in dir/<name>.log. cleanup is the
// directory to remove should this process die before it can do so itself.
func Launch(name, dir, cleanup string, owner *Account, bin string, args ...string) (*Process, error) {
	logPath := filepath.Join(dir, name+".log")
	logFile, err := os.OpenFile(logPath, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, fmt.Errorf("%s: log: %w", name, err)
	}
	defer logFile.Close()

	cmd := exec.Command(bin, args...)
	cmd.Dir = dir
	cmd.Stdout, cmd.Stderr = logFile, logFile
	owner.apply(cmd)
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	p := &Process{cmd: cmd, log: logPath, exited: make(chan struct{})}
	go func() {
		_ = cmd.Wait() // how it ended is in its log
		close(p.exited)
	}()
	p.guard, err = watch(cmd.Process.Pid, cleanup)
	if err != nil {
		p.End(Kill)
		return nil, fmt.Errorf("watchdog of %s: %w", name, err)
	}
	return p, nil
}

// PID is the server's process id.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Signal sends sig to the server and does not wait for what it does.
func (p *Process) Signal(sig Signal) error { return sendSignal(p.cmd.Process, sig) }

// End sends sig, waits until the server is gone, and insists if it takes long.
func (p *Process) End(sig Signal) {
	_ = sendSignal(p.cmd.Process, sig)
	select {
	case <-p.exited:
	case <-time.After(15 * time.Second):
		_ = sendSignal(p.cmd.Process, Kill)
		<-p.exited
	}
	p.guard.release()
}

// Running reports whether the server has not ended.
func (p *Process) Running() bool {
	select {
	case <-p.exited:
		return false
	default:
		return true
	}
}

// Ready waits until probe succeeds. It fails as soon as the server ends, and
// quotes its log.
func (p *Process) Ready(probe func(ctx context.Context) error) error {
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	for {
		attempt, done := context.WithTimeout(ctx, 5*time.Second)
		err := probe(attempt)
		done()
		if !p.Running() {
			return fmt.Errorf("the server ended: %s", p.tail())
		}
		if err == nil {
			return nil
		}
		select {
		case <-p.exited:
		case <-ctx.Done():
			return fmt.Errorf("no answer within %s: %w: %s", startTimeout, err, p.tail())
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// tail is the end of the server's log.
func (p *Process) tail() string {
	content, err := os.ReadFile(p.log)
	if err != nil {
		return err.Error()
	}
	content = bytes.TrimSpace(content)
	if limit := 2000; len(content) > limit {
		content = content[len(content)-limit:]
	}
	return string(content)
}

// Run runs a program to its end and quotes its output when it fails.
func Run(dir string, owner *Account, bin string, args ...string) error {
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, bin, args...)
	cmd.Dir = dir
	owner.apply(cmd)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w: %s", filepath.Base(bin), err, bytes.TrimSpace(out))
	}
	return nil
}

// Dir makes a temporary directory that owner may write to.
func Dir(name string, owner *Account) (string, error) {
	parent := os.TempDir()
	if owner != nil && !enterable(parent) {
		parent = "/tmp" // root's own TMPDIR is of no use to another user
	}
	dir, err := os.MkdirTemp(parent, "cacheplugin-"+name+"-")
	if err != nil {
		return "", err
	}
	if err := owner.own(dir); err != nil {
		_ = os.RemoveAll(dir)
		return "", err
	}
	return dir, nil
}

// enterable reports whether any user may enter dir, through all that lies above it.
func enterable(dir string) bool {
	for {
		info, err := os.Stat(dir)
		if err != nil || info.Mode()&0o001 == 0 {
			return false
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return true
		}
		dir = parent
	}
}

// FreePort finds a port of the loopback interface that nobody listens on. It
// looks below the range from which systems take the ports of outgoing
// connections: a server that restarts must find its port free.
func FreePort() (int, error) {
	var last error
	for range 100 {
		port := 12000 + rand.IntN(20000)
		listener, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
		if err != nil {
			last = err
			continue
		}
		return port, listener.Close()
	}
	return 0, fmt.Errorf("no free port: %w", last)
}

// OnFreePort calls start with a free port, and again with another one when the
// server did not come up: a process next to us may have taken the port between
// the look and the start.
func OnFreePort[T any](start func(port int) (T, error)) (T, error) {
	var failures []error
	var none T
	for range 3 {
		port, err := FreePort()
		if err != nil {
			return none, err
		}
		server, err := start(port)
		if err == nil {
			return server, nil
		}
		failures = append(failures, err)
	}
	return none, errors.Join(failures...)
}

// Program finds a server's binary: in the PATH, then in the further places
// given as glob patterns, the last match (the newest version) first.
func Program(names []string, places ...string) (string, error) {
	for _, place := range places {
		for _, name := range names {
			matches, err := filepath.Glob(filepath.Join(place, name))
			if err != nil || len(matches) == 0 {
				continue
			}
			newest := matches[0]
			for _, match := range matches[1:] {
				if newer(match, newest) {
					newest = match
				}
			}
			return newest, nil
		}
	}
	for _, name := range names {
		if path, err := exec.LookPath(name); err == nil {
			return path, nil
		}
	}
	return "", fmt.Errorf("%s: %w", names[0], ErrNotInstalled)
}

// newer orders paths by the first number in them, so that
// /usr/lib/postgresql/15 counts as newer than /usr/lib/postgresql/9.6.
func newer(a, b string) bool { return versionIn(a) > versionIn(b) }

var versionNumber = regexp.MustCompile(`\d+(\.\d+)?`)

func versionIn(path string) float64 {
	version, err := strconv.ParseFloat(versionNumber.FindString(path), 64)
	if err != nil {
		return 0
	}
	return version
}
