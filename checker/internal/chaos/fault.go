package chaos

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/cacheplugin/cacheplugin"
	"github.com/cacheplugin/cacheplugin/checker/internal/rules"
	"github.com/cacheplugin/cacheplugin/checker/internal/weaken"
	"github.com/cacheplugin/cacheplugin/checker/internal/work"
	"github.com/cacheplugin/cacheplugin/internal/testenv"
)

// Expect is how many reads may be older than what a grade owes.
type Expect uint8

// The expectations.
const (
	None Expect = iota // a single one fails the run
	May                // what the grade assumes does not hold
	Some               // none fails the run: the fault, or the checker, does nothing
)

func (e Expect) String() string { return [...]string{"none", "may", "some"}[e] }

// Expected is what may happen by grade: Told, Returned, Committed.
type Expected [3]Expect

// What Returned and Strict promise as long as their assumptions hold: the one
// nothing of what has not returned, the other everything.
var (
	asReturned = Expected{rules.Committed: May}
	asStrict   = Expected{}
)

// Fault is something that is done to the processes or to Redis while they work,
// and what may come of it.
type Fault struct {
	Name string
	What string // in a few words, for the report
	// Returned and Strict are what may come of it under each consistency.
	Returned, Strict Expected
	// Why says what assumption does not hold, where anything may be broken that
	// is promised otherwise.
	Why string

	// Within bounds how long a commit whose process died may stay unseen; 0: by
	// the timeout of results alone, which is not looked at.
	Within time.Duration

	// Interval is how often it is done, on average.
	Interval time.Duration
	inject   func(*scene)

	Arguments []string // of redis-server
	Proxy     bool     // between the processes and Redis
	Standby   bool     // a replica
	Cluster   bool     // of three masters, each with a replica
	Clock     bool     // Redis' can be set
	Lock      bool     // readers wait for each other
	Watched   bool     // see work.Job
	Outbox    bool     // Config.Outbox is set
	Followed  bool     // half of the writers have no plugin, and the database's log is followed
	Weakness  string   // of package weaken: a control
	Only      Only
}

// Only limits a fault to what it makes a difference for.
type Only struct {
	Consistency *cacheplugin.Consistency
	Mode        *cacheplugin.Mode
}

// Applies reports whether a fault makes a difference there.
func (f Fault) Applies(m cacheplugin.Mode, c cacheplugin.Consistency) bool {
	return (f.Only.Mode == nil || *f.Only.Mode == m) && (f.Only.Consistency == nil || *f.Only.Consistency == c)
}

func (f Fault) expects(c cacheplugin.Consistency) Expected {
	if c == cacheplugin.Strict {
		return f.Strict
	}
	return f.Returned
}

// Suits reports whether a fault can be done where there is a database of that name.
func (f Fault) Suits(database string) bool {
	return !f.Followed || database == testenv.Postgres || database == testenv.MariaDB
}

// Control reports whether the fault is there to show that the checker sees.
func (f Fault) Control() bool { return f.Weakness != "" }

// every is the time until the next one.
func (f Fault) every(random *rand.Rand) time.Duration {
	interval := f.Interval
	if interval == 0 {
		interval = time.Second
	}
	return interval/2 + time.Duration(random.Int64N(int64(interval)))
}

func only[T any](v T) *T { return &v }

var (
	onlyStrict   = Only{Consistency: only(cacheplugin.Strict)}
	onlyReturned = Only{Consistency: only(cacheplugin.Returned)}
)

// outage is what may happen while Redis can't be told of commits: those whose
// invalidation is queued bind nobody under Returned. Strict has announced them
// before.
var outage = Expected{rules.Returned: May, rules.Committed: May}

// asFollowed is what may happen where half of the writers leave it to followers: what
// others have committed binds nobody before it was told.
var asFollowed = outage

// grace is what a busy machine may take to do what is due.
const grace = 2 * time.Second

const queues = "what is queued is not seen by other processes until the queue has drained"

// Faults are all faults; the controls come last.
func Faults() []Fault {
	return []Fault{
		{Name: "none", What: "nothing", Returned: asReturned, Strict: asStrict},
		{Name: "lock", What: "nothing; readers wait for each other's results", Returned: asReturned, Strict: asStrict, Lock: true},
		{Name: "kill", What: "a writer is killed by SIGKILL at any moment", Returned: asReturned, Strict: asStrict, inject: killAnytime},
		{
			Name: "kill-committed", What: "a writer is killed between COMMIT and the invalidation",
			Returned: Expected{rules.Committed: Some}, Strict: asStrict, inject: at(work.Committed, die),
		},
		{
			Name: "kill-outbox", What: "the same with an outbox (After 1 s, Poll 250 ms) and results that live for a minute",
			Returned: Expected{rules.Committed: Some}, Strict: asStrict, inject: at(work.Committed, die), Outbox: true,
			Within: 1250*time.Millisecond + grace,
		},
		{
			Name: "down-outbox", What: "Redis refuses connections for 3 s, with an outbox", Proxy: true, Outbox: true,
			Returned: outage, Strict: asStrict, Why: queues, Interval: 1500 * time.Millisecond, inject: down,
		},
		{Name: "kill-fenced", What: "a writer is killed between the fence and COMMIT", Strict: asStrict, inject: at(work.Fenced, die), Only: onlyStrict},
		{Name: "kill-leased", What: "a reader is killed before it asks the database", Returned: asReturned, Strict: asStrict, inject: at(work.Leased, die), Watched: true},
		{
			Name: "stop-committed", What: "a writer is stopped between COMMIT and the invalidation for half a second",
			Returned: Expected{rules.Committed: Some}, Strict: asStrict, inject: at(work.Committed, stopFor(500*time.Millisecond)),
		},
		{
			Name: "stop-fenced", What: "a writer is stopped between the fence and COMMIT for half of FenceTTL",
			Strict: asStrict, inject: at(work.Fenced, stopForFence(1, 2)), Only: onlyStrict,
		},
		{
			Name: "stop-fenced-long", What: "a writer is stopped between the fence and COMMIT for one and a half FenceTTL",
			Strict: Expected{rules.Committed: May}, Why: "COMMIT takes effect after the fence has run out",
			inject: at(work.Fenced, stopForFence(3, 2)), Only: onlyStrict,
		},
		{Name: "stop-leased", What: "a reader is stopped before it asks the database for half a second", Returned: asReturned, Strict: asStrict, inject: at(work.Leased, stopFor(500*time.Millisecond)), Watched: true},
		{Name: "stop-saving", What: "a reader is stopped before it stores its result for half a second", Returned: asReturned, Strict: asStrict, inject: at(work.Saving, stopFor(500*time.Millisecond)), Watched: true},
		{Name: "stop", What: "a process is stopped at any moment for up to a second", Returned: asReturned, Strict: asStrict, inject: stopAnytime},
		{Name: "flushall", What: "FLUSHALL", Returned: asReturned, Strict: asStrict, Interval: 400 * time.Millisecond, inject: command("flushall")},
		{
			Name: "flushall-fenced", What: "FLUSHALL between a fence and its COMMIT",
			Strict: Expected{rules.Committed: May}, Why: "Redis loses the fence", Only: onlyStrict, Interval: 300 * time.Millisecond, inject: flushFenced,
		},
		{Name: "scriptflush", What: "SCRIPT FLUSH", Returned: asReturned, Strict: asStrict, Interval: 200 * time.Millisecond, inject: command("script", "flush")},
		{Name: "clientkill", What: "CLIENT KILL of all connections", Returned: outage, Strict: asStrict, Why: queues, Interval: 300 * time.Millisecond, inject: command("client", "kill", "type", "normal")},
		{Name: "restart-empty", What: "Redis is killed and restarts empty", Returned: outage, Strict: Expected{rules.Committed: May}, Why: queues + "; Redis loses the fence", Interval: 2 * time.Second, inject: restart},
		{
			Name: "restart-old", What: "Redis is killed and restarts from an older snapshot", Arguments: []string{"--save", "3600 1000000"},
			Returned: outage, Strict: Expected{rules.Committed: May}, Why: queues + "; Redis loses the fence", Interval: 2 * time.Second, inject: restartOld,
		},
		{
			Name: "failover", What: "a replica that is behind is promoted; failback the same way", Proxy: true, Standby: true,
			Returned: outage, Strict: Expected{rules.Committed: May}, Why: queues + "; Redis loses the fence", Interval: 2 * time.Second, inject: failover,
		},
		{Name: "cluster", What: "nothing; Redis is a cluster", Cluster: true, Returned: asReturned, Strict: asStrict},
		{
			Name: "cluster-failover", What: "a node of a cluster is killed, and comes back as a replica of the one that took over", Cluster: true,
			Returned: outage, Strict: Expected{rules.Committed: May}, Why: queues + "; Redis loses the fence", Interval: 1500 * time.Millisecond, inject: failNode,
		},
		{Name: "latency", What: "20 ms more, give or take 20", Proxy: true, Returned: asReturned, Strict: asStrict, Interval: 2 * time.Second, inject: poison("latency", `{"latency": 20, "jitter": 20}`, time.Second)},
		{Name: "slow", What: "700 ms more, which is longer than RedisTimeout", Proxy: true, Returned: outage, Strict: asStrict, Why: queues, Interval: 1500 * time.Millisecond, inject: poison("latency", `{"latency": 700}`, 2*time.Second)},
		{Name: "cut", What: "nothing gets through for a second", Proxy: true, Returned: outage, Strict: asStrict, Why: queues, Interval: 1500 * time.Millisecond, inject: poison("timeout", `{"timeout": 0}`, time.Second)},
		{Name: "reset", What: "connections are reset for a second", Proxy: true, Returned: outage, Strict: asStrict, Why: queues, Interval: 1500 * time.Millisecond, inject: poison("reset_peer", `{"timeout": 0}`, time.Second)},
		{Name: "down", What: "Redis refuses connections for 3 s", Proxy: true, Returned: outage, Strict: asStrict, Why: queues, Interval: 1500 * time.Millisecond, inject: down},
		{Name: "evict-allkeys-random", What: "Redis evicts any keys", Returned: asReturned, Strict: Expected{rules.Committed: May}, Why: "Redis loses the fence", Interval: 100 * time.Millisecond, inject: pressure("allkeys-random", 300*time.Millisecond)},
		{Name: "evict-volatile-lru", What: "Redis evicts keys that expire", Returned: asReturned, Strict: Expected{rules.Committed: May}, Why: "Redis loses the fence", Interval: 100 * time.Millisecond, inject: pressure("volatile-lru", 300*time.Millisecond)},
		{Name: "noeviction", What: "Redis is full", Returned: asReturned, Strict: asStrict, Interval: 200 * time.Millisecond, inject: pressure("noeviction", 50*time.Millisecond)},
		{Name: "clock", What: "Redis' clock jumps an hour forth and back", Clock: true, Returned: asReturned, Strict: Expected{rules.Committed: May}, Why: "the fence runs out", Interval: time.Second, inject: jump},
		{Name: "invalidate-model", What: "InvalidateModel twice at a time", Returned: asReturned, Strict: asStrict, Interval: 50 * time.Millisecond, inject: byHand("model")},
		{Name: "invalidate-all", What: "InvalidateAll twice at a time", Returned: asReturned, Strict: asStrict, Interval: 50 * time.Millisecond, inject: byHand("all")},

		{Name: "follow", What: "nothing; half of the writers have no plugin, and two followers read the database's log", Followed: true, Returned: asFollowed, Only: onlyReturned},
		{
			Name: "follow-kill", What: "the follower is killed when it is about to tell of changes", Followed: true,
			Returned: asFollowed, Only: onlyReturned, inject: amid(at(work.Telling, die)),
		},
		{
			Name: "follow-stop", What: "the follower is stopped when it is about to tell of changes, until another one has taken over", Followed: true,
			Returned: asFollowed, Only: onlyReturned, inject: amid(at(work.Telling, stopFor(beyondTheSeat))),
		},
		{
			Name: "follow-database", What: "the database is killed and recovers, with followers", Followed: true,
			Returned: asFollowed, Only: onlyReturned, Interval: 2 * time.Second, inject: amid(restartDatabase),
		},
		{
			Name: "follow-restart-old", What: "Redis is killed and restarts from an older snapshot, with followers", Followed: true, Arguments: []string{"--save", "3600 1000000"},
			Returned: asFollowed, Only: onlyReturned, Interval: 2 * time.Second, inject: restartOld,
		},
		{
			Name: "follow-failover", What: "a replica that is behind is promoted; failback the same way; with followers", Followed: true, Proxy: true, Standby: true,
			Returned: asFollowed, Only: onlyReturned, Interval: 2 * time.Second, inject: failover,
		},

		{
			Name: "control-late", What: "weakened: dependencies are registered when a result is stored, without a lease; a reader waits before it stores", Weakness: weaken.Late, Watched: true,
			Interval: 100 * time.Millisecond, inject: at(work.Saving, holdFor(50*time.Millisecond)),
			Returned: Expected{Some, Some, Some}, Strict: Expected{May, May, May}, Why: "the protocol is weakened", Only: onlyReturned,
		},
		{
			Name: "control-deaf", What: "weakened: nothing is dropped", Weakness: weaken.Deaf,
			Returned: Expected{Some, Some, Some}, Strict: Expected{May, May, May}, Why: "the protocol is weakened", Only: onlyReturned,
		},
		{
			Name: "control-unmarked", What: "weakened: lists are not told which rows were changed", Weakness: weaken.Unmarked,
			Returned: Expected{Some, Some, Some}, Strict: Expected{May, May, May}, Why: "the protocol is weakened", Only: onlyReturned,
		},
		{
			Name: "control-unfenced", What: "weakened: no fence is set; a writer is killed between COMMIT and the invalidation", Weakness: weaken.Unfenced,
			Strict: Expected{rules.Committed: Some}, Why: "the protocol is weakened", inject: at(work.Committed, die), Only: onlyStrict,
		},
		{
			Name: "control-unverified", What: "weakened: hits don't look at their conjunctions; Redis evicts any keys", Weakness: weaken.Unverified, Watched: true,
			Returned: Expected{Some, Some, Some}, Strict: Expected{May, May, May}, Why: "the protocol is weakened", Interval: 100 * time.Millisecond, inject: pressure("allkeys-random", 300*time.Millisecond),
			Only: Only{Mode: only(cacheplugin.ConjunctionSets), Consistency: only(cacheplugin.Returned)},
		},
		{
			Name: "control-faithful", What: "weakened: a restart is not noticed; Redis restarts from an older snapshot", Weakness: weaken.Faithful, Watched: true,
			Arguments: []string{"--save", "3600 1000000"}, Returned: Expected{Some, Some, Some}, Strict: Expected{May, May, May},
			Why: "the protocol is weakened", Interval: 2 * time.Second, inject: restartOld, Only: onlyReturned,
		},
		{
			Name: "control-hasty", What: "weakened: a follower spares what was leased up to 50 ms before a change could be seen", Weakness: weaken.Hasty, Followed: true,
			Returned: Expected{Some, Some, Some}, Strict: Expected{May, May, May}, Why: "the protocol is weakened", Only: onlyReturned,
		},
	}
}

// Find returns the faults that are named: by their names, "all" for those that
// are no controls, "controls" for those that are.
func Find(names string) ([]Fault, error) {
	var found []Fault
	for _, name := range strings.Split(names, ",") {
		before := len(found)
		for _, f := range Faults() {
			if f.Name == name || name == "all" && !f.Control() || name == "controls" && f.Control() {
				found = append(found, f)
			}
		}
		if len(found) == before {
			return nil, fmt.Errorf("%w: %q", errNoFault, name)
		}
	}
	return found, nil
}
