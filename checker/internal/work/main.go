package work

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
	"gorm.io/gorm"

	"github.com/cacheplugin/cacheplugin"
	"github.com/cacheplugin/cacheplugin/checker/internal/history"
	"github.com/cacheplugin/cacheplugin/lists"
)

// Env is set in the environment of the checker's processes.
const Env = "CACHEPLUGIN_CHECKER_PROCESS"

// Main is one process, from its job on standard input to the last line of what
// it tells on standard output. It ends early if its standard input does: then
// the checker has died.
func Main(in io.Reader, out io.Writer) error {
	lines := bufio.NewScanner(in)
	lines.Buffer(nil, 1<<20)
	if !lines.Scan() {
		return fmt.Errorf("work: no job: %w", errors.Join(lines.Err(), io.ErrUnexpectedEOF))
	}
	var job Job
	if err := json.Unmarshal(lines.Bytes(), &job); err != nil {
		return fmt.Errorf("work: the job: %w", err)
	}
	p := &process{job: job, begin: make(chan struct{}), out: json.NewEncoder(out)}
	if err := p.run(lines); err != nil {
		p.tell(Told{Error: err.Error()})
		return err
	}
	return nil
}

type process struct {
	job    Job
	db     *gorm.DB
	beside *gorm.DB            // on the same pool, without the plugin
	feeds  *lists.List[Item]   // of a reader
	plugin *cacheplugin.Plugin // nil in a foreign writer, as what follows
	client redis.UniversalClient
	wire   *wire

	begin chan struct{}
	done  atomic.Bool
	reads atomic.Int64

	mu    sync.Mutex // guards what follows
	out   *json.Encoder
	stats Stats
	err   error
}

func (p *process) tell(t Told) {
	p.mu.Lock()
	defer p.mu.Unlock()
	_ = p.out.Encode(t) // who reads it may be gone, and we are told so by our input
}

func (p *process) fail(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.err = errors.Join(p.err, err)
	p.done.Store(true)
}

func (p *process) run(commands *bufio.Scanner) error {
	if err := p.open(); err != nil {
		return err
	}
	if p.client != nil {
		defer p.client.Close()
	}
	var clients sync.WaitGroup
	for n := range p.job.Clients {
		log, err := history.Create(filepath.Join(p.job.Dir, fmt.Sprintf("%s-%d.log", p.job.Name, n)))
		if err != nil {
			return err
		}
		random := rand.New(rand.NewPCG(p.job.Seed, uint64(n)))
		clients.Go(func() {
			<-p.begin
			err := p.serve(random, log)
			p.failed(errors.Join(err, log.Close()))
		})
	}
	ended := make(chan struct{})
	go p.obey(commands, ended)
	p.tell(Told{Ready: true})

	stop := make(chan struct{})
	var progress sync.WaitGroup
	progress.Go(func() { p.progress(stop) })
	clients.Wait()
	close(stop)
	progress.Wait()
	p.stats.Reads = p.reads.Load()
	if p.plugin != nil {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		_ = p.plugin.Close(ctx) // what it had to leave is told by the statistics
		p.stats.Plugin = p.plugin.Stats()
	}
	if p.err != nil {
		return p.err
	}
	p.tell(Told{Final: &p.stats})
	<-ended
	return nil
}

func (p *process) failed(err error) {
	if err != nil {
		p.fail(err)
	}
}

// serve is one client's loop.
func (p *process) serve(random *rand.Rand, log *history.Writer) error {
	switch p.job.Role {
	case Follower:
		return p.follow(log)
	case Reader:
		r := newReader(p.job, p.db, p.feeds, random, log)
		failures := int64(0)
		for !p.done.Load() {
			if err := r.one(); err != nil {
				failures++ // of the database, which killed processes may have locked
				if failures > 1000 {
					return fmt.Errorf("work: a reader of %s: %w", p.job.Name, err)
				}
				time.Sleep(10 * time.Millisecond) // or it is gone for a while
				continue
			}
			p.reads.Add(1)
		}
		p.count(Stats{Failures: failures, Busy: max(0, r.tally.missed-r.tally.leased), Fenced: r.tally.fenced})
		return nil
	}
	w := &writer{job: p.job, db: p.db, beside: p.beside, random: random, log: log}
	var mine Stats
	for !p.done.Load() {
		o, err := w.one()
		if err != nil {
			return err
		}
		switch o {
		case committed:
			mine.Writes++
		case rolledBack:
			mine.Rollbacks++
		default:
			mine.Failures++
		}
		time.Sleep(time.Duration(random.ExpFloat64() * float64(p.job.Pause)))
	}
	p.count(mine)
	return nil
}

func (p *process) count(s Stats) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.stats.Add(s)
}

// progress tells how many reads there were.
func (p *process) progress(stop <-chan struct{}) {
	ticker := time.NewTicker(250 * time.Millisecond)
	defer ticker.Stop()
	for {
		select {
		case <-stop:
			return
		case <-ticker.C:
			p.tell(Told{Reads: p.reads.Load()})
		}
	}
}

// obey carries commands out, until the input ends.
func (p *process) obey(commands *bufio.Scanner, ended chan<- struct{}) {
	defer close(ended)
	var work sync.WaitGroup
	defer work.Wait()
	var once sync.Once
	begin := func() { once.Do(func() { close(p.begin) }) }
	for commands.Scan() {
		var c Command
		if err := json.Unmarshal(commands.Bytes(), &c); err != nil {
			p.fail(fmt.Errorf("work: a command: %w", err))
			break
		}
		switch {
		case c.Go:
			begin()
		case c.Arm != "":
			p.wire.arm(c)
		case c.Invalidate != "":
			for range 2 {
				work.Go(func() { p.invalidate(c.Invalidate) })
			}
		}
		if c.End {
			break
		}
	}
	p.done.Store(true)
	begin()
}

// invalidate drops by hand, which is only a cost.
func (p *process) invalidate(what string) {
	if what == "all" {
		_ = cacheplugin.InvalidateAll(p.db) // Redis may be down
		return
	}
	_ = cacheplugin.InvalidateModel(p.db, &Item{}, &Team{})
}

// Enter runs a process and exits if this program was started as one.
func Enter() {
	if os.Getenv(Env) == "" {
		return
	}
	if err := Main(os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, strings.TrimSpace(err.Error()))
		os.Exit(1)
	}
	os.Exit(0)
}
