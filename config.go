package cacheplugin

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/cacheplugin/cacheplugin/internal/near"
)

// ErrorPolicy says what a caller gets when Redis fails. The zero value is the
// default of the field.
type ErrorPolicy uint8

// The policies.
const (
	// Fallback, for reads, asks the database. For fences it commits without
	// one, as Consistency: Returned does.
	Fallback ErrorPolicy = iota + 1
	// Queue, for invalidations, returns nil although Redis could not be told
	// within RetryFor of a write that the database has committed: the
	// invalidation is queued and retried in the background, this process
	// bypasses the cache for those tables meanwhile, and a loud log line and
	// an Observer event say so. Other processes may see older results until
	// the queue has drained.
	Queue
	// Return returns the error: for reads, that of Redis; for writes,
	// ErrCommittedNotInvalidated, with the invalidation queued all the same;
	// for fences ErrNotFenced, with nothing committed.
	Return
)

// Mode says how results are found when rows change; see the constants.
type Mode uint8

// The modes. All processes of one Prefix should use the same.
const (
	// ConjunctionSets keeps for each conjunction the set of the results that
	// depend on it, and drops these one by one: what is dropped is gone from
	// memory at once.
	ConjunctionSets Mode = iota
	// InsideOut keeps a random stamp for each conjunction and repeats the
	// stamps in the results: a write costs the same however many results it
	// drops, and these take up memory until they expire.
	InsideOut
)

// String returns the constant's name.
func (m Mode) String() string {
	switch m {
	case ConjunctionSets:
		return "ConjunctionSets"
	case InsideOut:
		return "InsideOut"
	}
	return fmt.Sprintf("Mode(%d)", uint8(m))
}

// UnknownWritePolicy says what happens on a statement that may write tables
// which its text doesn't tell: CALL, DO, a text that isn't understood.
type UnknownWritePolicy uint8

// The policies.
const (
	// InvalidateEverything drops all that is cached in the namespace.
	InvalidateEverything UnknownWritePolicy = iota
	// Warn drops nothing and logs a warning: what the statement changed stays
	// cached until its timeout.
	Warn
)

// Consistency says what reads may see of a write whose Commit has not returned,
// or never will because its process died.
type Consistency uint8

// The consistency levels. All processes that write through one Prefix should use the same:
// each speaks for its own writes only. Reads cost the same in both.
const (
	// Returned promises that a read is not older than any commit that has
	// returned before it started, as far as that commit itself changed the
	// result. A process that dies between COMMIT and the invalidation leaves
	// results that may be served until their timeout. A commit takes one round
	// trip to Redis.
	Returned Consistency = iota
	// Strict promises that a read is not older than anything that was
	// committed in the database when it started, even if the writer was killed
	// right after its COMMIT or could not reach Redis then. What a transaction
	// changes is dropped before its COMMIT as well as after it, and in between
	// its tables take no new results. A commit takes two round trips, and
	// fails with ErrNotFenced while Redis can't be reached; see OnFenceError.
	Strict
)

// String returns the constant's name.
func (c Consistency) String() string {
	switch c {
	case Returned:
		return "Returned"
	case Strict:
		return "Strict"
	}
	return fmt.Sprintf("Consistency(%d)", uint8(c))
}

// NearCache configures the process's own memory of results; see
// Config.NearCache. The zero value is fine.
type NearCache struct {
	// MaxBytes bounds the memory that it takes, for all namespaces and handles
	// together. Which results give way is decided by how often and how lately
	// they were asked for.
	//
	// Defaults to 64 MiB.
	MaxBytes int64
}

func (c *NearCache) options() near.Options {
	if c == nil {
		return near.Options{}
	}
	return near.Options{MaxBytes: c.MaxBytes}
}

// QueryInfo is what Config.PrefixFunc is told of a query, or of a write's
// table.
type QueryInfo struct {
	// Database identifies the database, as the server and its name. Empty for
	// one in memory.
	Database string
	// Tables are the names of the tables that are read, each once, or the one
	// that is written. There are none when all is to be dropped.
	Tables []string

	several *bool
}

// Table is the one table of the query, for a prefix by table. A query that
// reads several has no such prefix: it is not cached, and Explain and the
// Observer's skip event say so.
func (q QueryInfo) Table() string {
	if len(q.Tables) == 1 {
		return q.Tables[0]
	}
	if q.several != nil {
		*q.several = true
	}
	return ""
}

// Config configures the plugin. The zero value of every field but Redis and
// Profiles is a sensible default.
type Config struct {
	// Redis is the client of the server or cluster that holds the cache.
	// Required. It is never closed by the plugin, and must not route reads to
	// replicas.
	Redis redis.UniversalClient

	// Profiles says per table what is cached, and for how long. See Profiles
	// for how patterns match.
	Profiles Profiles

	// Defaults fills what a profile leaves out.
	Defaults Profile

	// Prefix keeps several programs that share a Redis apart. All processes
	// of one program, and only they, must use the same. It must not contain
	// braces.
	//
	// Defaults to "cacheplugin".
	Prefix string

	// PrefixFunc adds to Prefix by context and query, for tenants that share a
	// Redis: none can read or drop another's results. It must be a function of
	// the context and of what QueryInfo says, give reads and the writes that
	// change them the same, and be fast. An empty string adds nothing.
	PrefixFunc func(ctx context.Context, query QueryInfo) string

	// DBSpecific keeps the invalidation of databases that share a Prefix
	// apart. Their results always are; without it a write to a table drops
	// results of the table of that name in each of them. SQLite's databases in
	// memory can't be told apart, and count as one.
	DBSpecific bool

	// Mode says how results are found when rows change.
	//
	// Defaults to ConjunctionSets.
	Mode Mode

	// Spread distributes what is cached over all nodes of a Redis Cluster,
	// where else a Prefix lives in one slot of one node. It needs Mode
	// InsideOut, and costs a miss one more round trip. All processes of a Prefix
	// must agree: a process that finds others that don't refuses to start.
	Spread bool

	// DirectConnections affirms that Redis is reached directly: that a connection
	// to it ends when the server restarts. This holds for a single server and for
	// Sentinel, also through NAT and proxies of TCP, but not through those that
	// speak Redis' protocol and keep a client's connection when the server
	// behind it changes (Envoy, Twemproxy, Redis Enterprise): there results would be
	// stale after a failover. In return the server is asked who it is once per
	// connection and not in each look-up, and a hit is a few plain reads in one
	// round trip where otherwise it is a script: a server serves about twice as many.
	// A miss costs one round trip more. Redis must be a *redis.Client with
	// PipelinePoolSize -1, so that all of its connections are in one pool; what the
	// server has told is added to their names ("@cacheplugin:..."). Not with Spread.
	DirectConnections bool

	// OnReadError says what a query gets when Redis fails.
	//
	// Defaults to Fallback: the database answers.
	OnReadError ErrorPolicy

	// OnInvalidateError says what a write's caller gets when Redis could not
	// be told of a committed write.
	//
	// Defaults to Queue.
	OnInvalidateError ErrorPolicy

	// Consistency says what reads may see of a write whose Commit has not
	// returned, or never will. See the constants for promises and costs.
	//
	// Defaults to Returned.
	Consistency Consistency

	// FenceTTL is, under Strict, how long at most COMMIT may take from leaving
	// this process to its effect for the promise to hold even if the process
	// dies meanwhile. When it dies, its tables take no new results for that
	// long.
	//
	// Defaults to 5 seconds.
	FenceTTL time.Duration

	// OnFenceError says what a write's caller gets under Strict when Redis
	// can't be told beforehand: Return aborts the transaction, Fallback goes on
	// as Returned does.
	//
	// Defaults to Return: ErrNotFenced.
	OnFenceError ErrorPolicy

	// Outbox, if set, keeps what a transaction has changed in a table of the
	// database until Redis has been told, so that an invalidation that is lost
	// with its process, or with Redis, is made up for by another process.
	//
	// Defaults to nil: no outbox.
	Outbox *Outbox

	// OnUnknownWrite says what happens on a statement that may write tables
	// which its text doesn't tell.
	//
	// Defaults to InvalidateEverything.
	OnUnknownWrite UnknownWritePolicy

	// LeaseTTL is how long the computation of a missing result may take and
	// still be stored.
	//
	// Defaults to 10 seconds.
	LeaseTTL time.Duration

	// LockWait is how long a query with Lock waits for another process's
	// result before it asks the database itself.
	//
	// Defaults to 1 second.
	LockWait time.Duration

	// RedisTimeout bounds each look-up and each store.
	//
	// Defaults to 500 milliseconds.
	RedisTimeout time.Duration

	// RetryFor is how long a commit tries to reach Redis before
	// OnInvalidateError applies.
	//
	// Defaults to 1 second.
	RetryFor time.Duration

	// MaxInValues is the number of values up to which an IN list is kept
	// as that many conjunctions; a longer one doesn't narrow. Each costs a hit
	// about half a microsecond of Redis' time, and an entry 140 to 240 bytes. A
	// query may have twice as many on one table, and 256 in any case: several
	// lists are multiplied, and beyond that the longest is left out.
	//
	// Defaults to 128.
	MaxInValues int

	// MaxRows and MaxBytes bound a result that is cached. A larger one is
	// streamed through.
	//
	// Default to 10,000 rows and 4 MiB.
	MaxRows, MaxBytes int

	// MaxImages is the number of rows up to which a write is invalidated row
	// by row; one that changes more drops the whole table.
	//
	// Defaults to 1,000.
	MaxImages int

	// StoreQueue is how many results may wait to be stored, so that the reader of
	// a missing result doesn't wait for Redis to take it: a goroutine sends them,
	// several in one round trip. They take up four times MaxBytes at most. What
	// finds no room is not stored (ReasonQueueFull). Until a result is stored,
	// queries for the same are misses. Plugin.Close stores what waits.
	//
	// Defaults to 0: a result is stored before its reader has its end.
	StoreQueue int

	// ShadowReads is the share of the hits, from 0 to 1, that are checked: the
	// database is asked for the result as well, in the background, and a
	// difference that is still there after ShadowDelay is reported as EventStale,
	// with the query, and in the log; the result is dropped. It finds writes that
	// the plugin doesn't see. Queries whose result the rows don't determine, such
	// as a LIMIT without a total order, are not checked, nor is the order of
	// rows. 1e-4 costs the database one query for 10,000 hits; at most four run
	// at a time.
	//
	// Defaults to 0: none.
	ShadowReads float64

	// ShadowDelay is for how long a result must have been out of date to count
	// as stale. It must be longer than invalidations take to arrive.
	//
	// Defaults to 1 second.
	ShadowDelay time.Duration

	// ReplicaLag lets results be read from replicas of the database, where
	// dbresolver sends the query to one, and says by how much these may lag
	// behind. For so long after each invalidation its tables take no new results,
	// and queries of them are answered by a source. The promise is as good as
	// this bound: what a replica that lags behind further answers may be stored,
	// and stay until its timeout. All processes of a Prefix must use the same.
	//
	// Defaults to 0: what is stored is read from sources.
	ReplicaLag time.Duration

	// NearCache, if set, keeps results in the process's memory, too, in front of
	// Redis. By default one that is kept is served when Redis has confirmed that
	// it is valid still: the promise is the same, and the payload need not travel
	// again. Where Profile.MaxStale, or cache.MaxStale, permits it, it is served
	// for that long without asking Redis.
	//
	// Defaults to nil: nothing is kept in the process.
	NearCache *NearCache

	// ReportEvery is how often the process publishes its numbers in Redis, for
	// Report of all processes: up to 200 shapes of queries, compressed, as a rule
	// some ten kilobytes. They expire after six times as long, and a minute at least.
	//
	// Defaults to 10 seconds. Negative: nothing is published.
	ReportEvery time.Duration

	// RequireRedis makes db.Use fail when Redis does not answer. Otherwise
	// the plugin warns and works without the cache until it does.
	RequireRedis bool

	// Disabled makes the plugin a no-op, for tests: nothing is cached, and
	// invalidation by hand does nothing.
	Disabled bool

	// Logger is told of lost servers, of queued invalidations and of writes
	// that could not be understood.
	//
	// Defaults to slog.Default().
	Logger *slog.Logger

	// Observer is told of every hit, miss, store, skip, invalidation and
	// error. It is called synchronously and must be fast and safe for
	// concurrent use.
	Observer Observer
}
