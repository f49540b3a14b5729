package work

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
	"gorm.io/gorm"
	"gorm.io/gorm/logger"

	"github.com/cacheplugin/cacheplugin"
	"github.com/cacheplugin/cacheplugin/cache"
	"github.com/cacheplugin/cacheplugin/checker/internal/history"
	"github.com/cacheplugin/cacheplugin/checker/internal/weaken"
	"github.com/cacheplugin/cacheplugin/integration/testdb"
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
	beside *gorm.DB // on the same pool, without the plugin
	plugin *cacheplugin.Plugin
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
	defer p.client.Close()
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
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	_ = p.plugin.Close(ctx) // what it had to leave is told by the statistics
	p.stats.Reads = p.reads.Load()
	p.stats.Plugin = p.plugin.Stats()
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
	if p.job.Role == Reader {
		r := newReader(p.job, p.db, random, log)
		failures := int64(0)
		for !p.done.Load() {
			if err := r.one(); err != nil {
				failures++ // of the database, which killed processes may have locked
				if failures > 1000 {
					return fmt.Errorf("work: a reader of %s: %w", p.job.Name, err)
				}
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

// open opens the database with the plugin.
func (p *process) open() error {
	dsn := p.job.DSN
	if p.job.Dialect == "sqlite" && p.job.Role == Writer {
		// A transaction that has read before it writes would fail when another
		// one has written meanwhile.
		dsn += "&_txlock=immediate"
	}
	db, err := gorm.Open(testdb.OfDialect(p.job.Dialect).Dialector(dsn), &gorm.Config{Logger: logger.Discard})
	if err != nil {
		return fmt.Errorf("work: open the database: %w", err)
	}
	pool, err := db.DB()
	if err != nil {
		return fmt.Errorf("work: open the database: %w", err)
	}
	pool.SetMaxOpenConns(p.job.Clients + 2)
	pool.SetMaxIdleConns(p.job.Clients + 2)

	redis.SetLogger(silent{}) // which is the process's, and knows of outages that are on purpose
	var own *redis.Client
	if p.job.Cluster {
		p.client = redis.NewClusterClient(&redis.ClusterOptions{Addrs: strings.Split(p.job.Redis, ",")})
	} else {
		own = redis.NewClient(&redis.Options{Addr: p.job.Redis, PipelinePoolSize: -1}) // DirectConnections needs one pool
		p.client = own
	}
	p.wire = &wire{tell: p.tell}
	p.client.AddHook(p.wire)
	if p.job.Weakness != "" {
		weak, err := weaken.New(p.job.Weakness)
		if err != nil {
			return err
		}
		p.client.AddHook(weak)
	}
	client := p.client
	if p.job.Watched && own != nil {
		client = watched{own}
	}
	var outbox *cacheplugin.Outbox
	if p.job.Outbox {
		o := Outbox()
		outbox = &o
	}
	var kept *cacheplugin.NearCache
	if p.job.Near {
		kept = &cacheplugin.NearCache{}
	}
	p.plugin = cacheplugin.New(cacheplugin.Config{
		Outbox: outbox, NearCache: kept,
		Redis: client, Prefix: p.job.Prefix, Mode: p.job.Mode, Consistency: p.job.Consistency, DirectConnections: p.job.Direct,
		Profiles: cacheplugin.Profiles{
			"*":     {Ops: cache.All, Timeout: p.job.Timeout, Lock: p.job.Lock},
			"tombs": nil,
		},
		FenceTTL: p.job.FenceTTL, LeaseTTL: p.job.LeaseTTL,
		Logger: slog.New(slog.NewTextHandler(io.Discard, nil)),
		Observer: cacheplugin.ObserverFunc(func(ctx context.Context, e cacheplugin.Event) {
			if r, ok := ctx.Value(readingKey{}).(*reading); ok {
				r.observe(e)
			} else if t, ok := ctx.Value(transactionKey{}).(*transaction); ok {
				t.observe(e)
			}
		}),
	})
	if err := db.Use(p.plugin); err != nil {
		return fmt.Errorf("work: use the plugin: %w", err)
	}
	p.db = db
	p.beside, err = besideOf(db, p.job.Dialect, dsn)
	return err
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

// silent is a log of go-redis that says nothing.
type silent struct{}

// Printf implements go-redis's logger.
func (silent) Printf(context.Context, string, ...any) {}
