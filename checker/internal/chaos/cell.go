package chaos

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"gorm.io/gorm"
	"gorm.io/gorm/logger"

	"github.com/cacheplugin/cacheplugin"
	"github.com/cacheplugin/cacheplugin/checker/internal/history"
	"github.com/cacheplugin/cacheplugin/checker/internal/rules"
	"github.com/cacheplugin/cacheplugin/checker/internal/work"
	"github.com/cacheplugin/cacheplugin/integration/testdb"
	"github.com/cacheplugin/cacheplugin/internal/testenv"
)

// Cell is one run.
type Cell struct {
	Database    string // of package testenv
	Mode        cacheplugin.Mode
	Consistency cacheplugin.Consistency
	Direct      bool // DirectConnections; not with a cluster, nor where look-ups are watched
	Near        bool // NearCache, validated
	Fault       Fault

	Duration         time.Duration // at most; what comes first
	Reads            int64         // at most; 0: no matter
	Seed             uint64
	Readers, Writers int // processes
	Clients          int // goroutines of each
	Items, Groups    int
	Pause            time.Duration // between two transactions of a writer, on average
	Timeout          time.Duration // of results
	FenceTTL         time.Duration
	Keep             string // a directory where the histories are left; empty: nowhere
}

// Defaults fills what a cell leaves out.
func (c Cell) Defaults() Cell {
	or := func(n *int, d int) {
		if *n == 0 {
			*n = d
		}
	}
	or(&c.Readers, 4)
	or(&c.Writers, 4)
	or(&c.Clients, 3)
	or(&c.Items, 24)
	or(&c.Groups, 5)
	for d, fallback := range map[*time.Duration]time.Duration{
		&c.Duration: 10 * time.Second, &c.Pause: 15 * time.Millisecond, &c.Timeout: 5 * time.Second, &c.FenceTTL: 2 * time.Second,
	} {
		if *d == 0 {
			*d = fallback
		}
	}
	return c
}

// Promised is the grade that the cell's configuration promises.
func (c Cell) Promised() rules.Grade {
	if c.Consistency == cacheplugin.Strict {
		return rules.Committed
	}
	return rules.Told
}

// Result is what came out of a cell.
type Result struct {
	Cell      Cell
	Verdict   *rules.Verdict
	Registers rules.Registers
	Stats     work.Stats
	Commits   int
	Orphans   int
	Lag       rules.Lateness // of followers
	Faults    int            // how often the fault was done
	Elapsed   time.Duration  // of the reading
	Judging   time.Duration
	Stories   []string // how the first wrong reads came about
}

// Unexpected lists what is not as the fault says.
func (r *Result) Unexpected() []string {
	var all []string
	expect := r.Cell.Fault.expects(r.Cell.Consistency)
	for g, e := range expect {
		n := r.Verdict.ByGrade[g].Reads
		switch {
		case e == None && n > 0:
			all = append(all, fmt.Sprintf("%d reads are older than what was %v", n, rules.Grade(g)))
		case e == Some && n == 0:
			all = append(all, fmt.Sprintf("no read is older than what was %v, and some should be", rules.Grade(g)))
		}
	}
	if r.Cell.Fault.Weakness == "" {
		if r.Verdict.Never > 0 {
			all = append(all, fmt.Sprintf("%d reads show what never was", r.Verdict.Never))
		}
		if r.Verdict.Torn > 0 {
			all = append(all, fmt.Sprintf("%d reads show no single moment", r.Verdict.Torn))
		}
		if expect[r.Cell.Promised()] == None && r.Registers.Opinion == rules.NotLinearizable {
			all = append(all, "porcupine finds no order")
		}
	}
	if within := r.Cell.Fault.Within; within > 0 && r.Verdict.LastStale > within {
		all = append(all, fmt.Sprintf("a commit whose process died was not seen after %s", r.Verdict.LastStale))
	}
	if r.Cell.Fault.inject != nil && r.Faults == 0 {
		all = append(all, "the fault was never done: the run was too short")
	}
	if r.Cell.Fault.Followed && r.Lag.Reads == 0 {
		all = append(all, "followers told of nothing: the run was too short")
	}
	if r.Stats.Plugin.Hits == 0 {
		all = append(all, "there were no hits")
	}
	return all
}

// scene is a cell while it runs.
type scene struct {
	testing.TB
	cell             Cell
	dir              string
	job              work.Job    // what all processes' have in common
	database         *testdb.Own // if it is followed
	server, standby  *testenv.RedisServer
	cluster          *testenv.RedisCluster
	admin            *redis.Client
	proxy            *proxy
	random           *rand.Rand
	readers, writers []*process
	followers        []*process
	generation       int
	marks            []rules.Mark
	faults           int
	limited          bool // Redis' memory is
	deadline         time.Time
	killed           work.Stats // of processes that are gone; their reads only
}

// Run runs a cell and judges it. It fails tb where the cell can't be run at all.
func Run(tb testing.TB, cell Cell) *Result {
	tb.Helper()
	cell = cell.Defaults()
	s := &scene{TB: tb, cell: cell, dir: cell.Keep, random: rand.New(rand.NewPCG(cell.Seed, 1))}
	var env testenv.Database
	if cell.Fault.Followed {
		s.database = testdb.NewOwn(tb, cell.Database)
		env = s.database.Database
	} else {
		env = testdb.Need(tb, cell.Database)
	}
	if s.dir == "" {
		s.dir = tb.TempDir()
	}
	// Groups come and go whatever items they have.
	plain := env.Open(tb, &gorm.Config{Logger: logger.Discard, DisableForeignKeyConstraintWhenMigrating: true})
	initial, err := work.Setup(plain, cell.Items, cell.Groups)
	s.must(err)
	if cell.Fault.Followed {
		cell.Timeout = time.Minute
		s.must(work.Publish(plain))
	}
	if cell.Fault.Outbox {
		cell.Timeout = time.Minute
		s.must(cacheplugin.MigrateOutbox(plain, work.Outbox()))
	}
	s.serve()
	s.job = work.Job{
		Dir: s.dir, Clients: cell.Clients, Dialect: env.Dialect, DSN: env.DSN(tb, plain), Redis: s.address(), Cluster: cell.Fault.Cluster,
		Prefix: fmt.Sprintf("checker-%x", s.random.Uint64()), Mode: cell.Mode, Consistency: cell.Consistency, Direct: cell.Direct, Near: cell.Near,
		Weakness: cell.Fault.Weakness, Watched: cell.Fault.Watched, Outbox: cell.Fault.Outbox, Items: cell.Items, Groups: cell.Groups, Pause: cell.Pause,
		Timeout: cell.Timeout, FenceTTL: cell.FenceTTL, LeaseTTL: 5 * time.Second, Lock: cell.Fault.Lock,
	}
	s.people()
	began := time.Now()
	s.deadline = began.Add(cell.Duration)
	if cell.Fault.inject == nil {
		for s.pause(time.Second) {
		}
	} else {
		for s.pause(cell.Fault.every(s.random)) {
			cell.Fault.inject(s)
		}
	}
	r := &Result{Cell: cell, Elapsed: time.Since(began), Faults: s.faults}
	r.Stats = s.end()
	s.judge(r, plain, initial)
	return r
}

// must ends the cell on an error.
func (s *scene) must(err error) {
	s.Helper()
	if err != nil {
		s.Fatalf("%s: %v", s.cell.Fault.Name, err)
	}
}

// people starts the processes.
func (s *scene) people() {
	s.Cleanup(func() {
		for _, p := range s.everyone() {
			p.kill()
		}
	})
	if s.cell.Fault.Followed {
		for range followers {
			p := s.start(work.Follower, false)
			s.followers = append(s.followers, p)
			s.must(p.await())
			s.must(p.send(work.Command{Go: true}))
		}
		s.following()
	}
	for range s.cell.Readers {
		s.readers = append(s.readers, s.start(work.Reader, false))
	}
	for n := range s.cell.Writers {
		s.writers = append(s.writers, s.start(work.Writer, s.cell.Fault.Followed && n%2 == 0))
	}
	for _, p := range append(s.readers, s.writers...) {
		s.must(p.await())
	}
	for _, p := range append(s.readers, s.writers...) {
		s.must(p.send(work.Command{Go: true}))
	}
}

// followers is how many there are of a database that is followed.
const followers = 2

// everyone are all processes, those that end others' work last.
func (s *scene) everyone() []*process { return slices.Concat(s.writers, s.readers, s.followers) }

func (s *scene) start(role work.Role, foreign bool) *process {
	s.generation++
	job := s.job
	job.Role, job.Foreign, job.Seed = role, foreign, s.random.Uint64()
	job.Name = fmt.Sprintf("%s%d", role, s.generation)
	if role == work.Follower {
		job.Clients = 1
	}
	p, err := start(job)
	s.must(err)
	return p
}

// again starts a process in the place of one that was killed.
func (s *scene) again(p **process) {
	s.killed.Reads += (*p).reads.Load()
	*p = s.start((*p).job.Role, (*p).job.Foreign)
	s.must((*p).await())
	s.must((*p).send(work.Command{Go: true}))
}

// pause waits, and reports whether the cell goes on.
func (s *scene) pause(d time.Duration) bool {
	until := time.Now().Add(d)
	for {
		left := min(time.Until(until), time.Until(s.deadline))
		if s.over() {
			return false
		}
		if left <= 0 {
			return true
		}
		time.Sleep(min(left, 100*time.Millisecond))
	}
}

func (s *scene) over() bool {
	reads := s.killed.Reads
	for _, p := range s.readers {
		reads += p.reads.Load()
	}
	return !time.Now().Before(s.deadline) || s.cell.Reads > 0 && reads >= s.cell.Reads
}

// mark notes that a fault was done.
func (s *scene) mark(format string, args ...any) {
	s.faults++
	s.note(format, args...)
}

func (s *scene) note(format string, args ...any) {
	s.marks = append(s.marks, rules.Mark{At: history.Now(), Text: fmt.Sprintf(format, args...)})
}

// end ends the processes, the writers first, and sums up what they tell.
func (s *scene) end() work.Stats {
	s.heal()
	total := s.killed
	for _, p := range s.everyone() {
		stats, err := p.end()
		s.must(err)
		total.Add(stats)
	}
	return total
}

// judge holds the histories against each other.
func (s *scene) judge(r *Result, plain *gorm.DB, initial []history.State) {
	start := time.Now()
	final, err := work.States(plain)
	for n := 0; err != nil && n < 10; n++ { // connections of before the database's restart
		final, err = work.States(plain)
	}
	s.must(err)
	files := func(role work.Role) []string {
		names, err := filepath.Glob(filepath.Join(s.dir, string(role)+"*.log"))
		s.must(err)
		return names
	}
	x, err := rules.NewIndex(initial, final, files(work.Writer), files(work.Follower))
	s.must(err)
	promised := s.cell.Promised()
	// Under a weakness the promise is known to be broken, and the stories are
	// what it is for.
	r.Verdict, err = x.Judge(promised, files(work.Reader))
	s.must(err)
	r.Commits, r.Orphans, r.Lag = x.Commits, x.Orphans, x.Lag
	r.Registers, err = x.Registers(promised, files(work.Reader), 400, 5*time.Second)
	s.must(err)
	for _, w := range r.Verdict.First[:min(2, len(r.Verdict.First))] {
		story, err := x.Explain(w, files(work.Reader), s.marks)
		s.must(err)
		r.Stories = append(r.Stories, story)
	}
	r.Judging = time.Since(start)
}

// Label names a cell in a few words.
func (c Cell) Label() string {
	return strings.Join([]string{c.Database, c.Mode.String(), c.Consistency.String(), c.Fault.Name}, "/")
}

// errNoFault is returned for a name that no fault has.
var errNoFault = errors.New("chaos: no such fault")
