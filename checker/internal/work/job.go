package work

import (
	"time"

	"github.com/cacheplugin/cacheplugin"
)

// Role is what a process does.
type Role string

// The roles.
const (
	Reader   Role = "reader"
	Writer   Role = "writer"
	Follower Role = "follower" // of the database's log
)

// Job is what one process is to do. It is the first line on its standard
// input, as JSON; each further line is a Command.
type Job struct {
	Role    Role
	Name    string // begins the names of its histories' files
	Dir     string // where they are
	Seed    uint64
	Clients int // goroutines

	Dialect, DSN string
	Redis        string // its address, or those of a cluster's nodes, separated by commas
	Cluster      bool
	Prefix       string
	Mode         cacheplugin.Mode
	Consistency  cacheplugin.Consistency
	Direct       bool   // DirectConnections
	Near         bool   // NearCache
	Weakness     string // of package weaken; empty: the protocol as it is
	// Watched lets hooks see look-ups and stores: Leased and Saving, and the
	// weaknesses of look-ups, need it. The plugin then takes a way to Redis that
	// is slower and otherwise the same, see watched.
	Watched bool

	Items, Groups int           // how many rows there are
	Pause         time.Duration // between a writer's transactions, on average
	Timeout       time.Duration // of results
	FenceTTL      time.Duration
	LeaseTTL      time.Duration
	Lock          bool // readers wait for each other's results
	Outbox        bool // there is one, see Outbox
	// Foreign is a writer without the plugin. It notes where in the database's log its
	// transactions are, for it is up to followers to tell Redis of them.
	Foreign bool
}

// Point is a moment of the protocol at which a process can be made to act.
type Point string

// The points.
const (
	Leased     Point = "leased"     // a look-up has got a lease, the database was not asked
	Saving     Point = "saving"     // the result is about to be stored
	Fenced     Point = "fenced"     // the fence is set, COMMIT is about to be sent (Strict)
	Committed  Point = "committed"  // COMMIT was answered, the invalidation is about to be sent
	Invalidate Point = "invalidate" // the invalidation was answered, Commit is about to return
	Telling    Point = "telling"    // a follower has read changes and is about to tell Redis of them
)

// Action is what a process does at a point.
type Action string

// The actions.
const (
	Die  Action = "die"  // by SIGKILL
	Stop Action = "stop" // by SIGSTOP, until someone continues it
	Hold Action = "hold" // this one client waits; the others go on
)

// Command is a line to a process.
type Command struct {
	// Arm, if set, makes the next client that comes to Point do Arm; For is how
	// long it holds.
	Arm   Action        `json:",omitempty"`
	Point Point         `json:",omitempty"`
	For   time.Duration `json:",omitempty"`
	// Go starts the work, End ends it in order.
	Go, End bool `json:",omitempty"`
	// Invalidate drops "model" or "all", twice at the same time.
	Invalidate string `json:",omitempty"`
}

// Told is a line from a process.
type Told struct {
	Ready   bool   `json:",omitempty"`
	At      Point  `json:",omitempty"` // it is there and about to act
	Reads   int64  `json:",omitempty"` // so far
	Follows *bool  `json:",omitempty"` // whether it is the one that follows
	Error   string `json:",omitempty"` // it can't go on
	Final   *Stats `json:",omitempty"` // the last line
}

// Stats is what a process has counted.
type Stats struct {
	Reads, Writes, Rollbacks, Failures int64
	Busy, Fenced                       int64 // look-ups
	Plugin                             cacheplugin.Stats
}

// Add sums up.
func (s *Stats) Add(o Stats) {
	s.Reads += o.Reads
	s.Writes += o.Writes
	s.Rollbacks += o.Rollbacks
	s.Failures += o.Failures
	s.Busy += o.Busy
	s.Fenced += o.Fenced
	s.Plugin.Hits += o.Plugin.Hits
	s.Plugin.Misses += o.Plugin.Misses
	s.Plugin.Stores += o.Plugin.Stores
	s.Plugin.Refused += o.Plugin.Refused
	s.Plugin.Queued += o.Plugin.Queued
	s.Plugin.Errors += o.Plugin.Errors
}

// Outbox is the outbox of a Job that has one.
func Outbox() cacheplugin.Outbox {
	return cacheplugin.Outbox{After: time.Second, Poll: 250 * time.Millisecond}
}
