package chaos

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/cacheplugin/cacheplugin/checker/internal/work"
)

// process is one reader, writer or follower.
type process struct {
	job   work.Job
	cmd   *exec.Cmd
	in    io.WriteCloser
	reads atomic.Int64
	// follows reports whether it is the follower that follows.
	follows atomic.Bool

	ready  chan struct{}   // closed when it is
	at     chan work.Point // what it has reached
	exited chan struct{}   // closed when it is gone

	mu    sync.Mutex
	final *work.Stats
	err   string
}

// start starts this program again as a process with the given job.
func start(job work.Job) (*process, error) {
	program, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("chaos: %w", err)
	}
	p := &process{job: job, ready: make(chan struct{}), at: make(chan work.Point, 8), exited: make(chan struct{})}
	p.cmd = exec.Command(program)
	p.cmd.Env = append(os.Environ(), work.Env+"=1")
	p.cmd.Stderr = os.Stderr
	// An interrupt at the terminal is for us, who end them.
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if p.in, err = p.cmd.StdinPipe(); err != nil {
		return nil, fmt.Errorf("chaos: %w", err)
	}
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		return nil, fmt.Errorf("chaos: %w", err)
	}
	if err := p.cmd.Start(); err != nil {
		return nil, fmt.Errorf("chaos: start a process: %w", err)
	}
	go p.listen(out)
	if err := p.send(job); err != nil {
		p.kill()
		return nil, err
	}
	return p, nil
}

// listen notes what the process tells, until it has ended.
func (p *process) listen(out io.Reader) {
	defer close(p.exited)
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		var t work.Told
		if json.Unmarshal(lines.Bytes(), &t) != nil {
			continue // the last line of a killed process
		}
		switch {
		case t.Ready:
			close(p.ready)
		case t.Follows != nil:
			p.follows.Store(*t.Follows)
		case t.At != "":
			select {
			case p.at <- t.At:
			default:
			}
		case t.Reads > 0:
			p.reads.Store(t.Reads)
		case t.Final != nil || t.Error != "":
			p.mu.Lock()
			p.final, p.err = t.Final, t.Error
			p.mu.Unlock()
			_ = p.in.Close()
		}
	}
	_ = p.cmd.Wait() // how it ended is told, or was our doing
}

func (p *process) send(line any) error {
	b, err := json.Marshal(line)
	if err != nil {
		return fmt.Errorf("chaos: %w", err)
	}
	if _, err := p.in.Write(append(b, '\n')); err != nil {
		return fmt.Errorf("chaos: %s: %w", p.job.Name, err)
	}
	return nil
}

func (p *process) signal(s syscall.Signal) { _ = p.cmd.Process.Signal(s) }

// kill ends it as a crash would, and waits until it is gone.
func (p *process) kill() {
	p.signal(syscall.SIGKILL)
	<-p.exited
}

// await waits until it is ready.
func (p *process) await() error {
	select {
	case <-p.ready:
		return nil
	case <-p.exited:
		return fmt.Errorf("chaos: %s ended: %s", p.job.Name, p.failure())
	case <-time.After(time.Minute):
		return fmt.Errorf("chaos: %s is not ready within a minute", p.job.Name)
	}
}

func (p *process) failure() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.err
}

// end lets it end in order and returns what it has counted.
func (p *process) end() (work.Stats, error) {
	p.signal(syscall.SIGCONT)
	_ = p.send(work.Command{End: true}) // if it is gone we see that next
	select {
	case <-p.exited:
	case <-time.After(90 * time.Second):
		p.kill()
		return work.Stats{}, fmt.Errorf("chaos: %s did not end", p.job.Name)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.final == nil {
		return work.Stats{}, errors.New("chaos: " + p.job.Name + " ended by itself: " + p.err)
	}
	return *p.final, nil
}
